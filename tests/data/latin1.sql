-- For a database with ENCODING 'LATIN1': every character it has, in rows, names and comments. The file itself is ASCII.
\set ON_ERROR_STOP on
CREATE TABLE characters (code integer PRIMARY KEY, character text, context text);
INSERT INTO characters SELECT i, chr(i), 'x' || chr(i) || E'\t' || chr(i) || E'\n' FROM generate_series(1, 255) i;
CREATE TABLE U&"caf\00E9 \00A0 \00FF" (U&"\00FCber" text, ascii text DEFAULT U&'\00E6');
INSERT INTO U&"caf\00E9 \00A0 \00FF" SELECT U&'\00E9l\00E8ve \00BF', i::text FROM generate_series(1, 1000) i;
INSERT INTO U&"caf\00E9 \00A0 \00FF" (ascii) VALUES (E'\\.'), (NULL), (E'\xC3\xA9 would be one character in UTF8');
COMMENT ON TABLE characters IS U&'\00E9\00FF';
CREATE TYPE mood AS ENUM (U&'tr\00E8s bien', 'ok');
CREATE TABLE moods (m mood);
INSERT INTO moods VALUES (U&'tr\00E8s bien');
CREATE FUNCTION price() RETURNS text LANGUAGE plpgsql AS U&'BEGIN RETURN ''\00A3 1''; END';
CREATE TABLE documents (j jsonb, x xml);
INSERT INTO documents VALUES (jsonb_build_object('k', chr(233)), xmlelement(name a, chr(233)));
SELECT lo_from_bytea(90001, '\x00e9ff') \g /dev/null
