-- Everything that is awkward to dump, for PostgreSQL 14 to 18, in a UTF8 database. No roles: they belong to the cluster,
-- and a dump of one database does not hold them.
\set ON_ERROR_STOP on
\set QUIET on
SET client_encoding = 'UTF8';
SET client_min_messages = error;
SET timezone = 'UTC';
SET check_function_bodies = off;
SELECT current_setting('server_version_num')::int / 10000 >= 15 AS since_15,
       current_setting('server_version_num')::int / 10000 >= 17 AS since_17,
       current_setting('server_version_num')::int / 10000 >= 18 AS since_18 \gset

CREATE SCHEMA awkward;
CREATE SCHEMA extensions;
CREATE SCHEMA "Schéma with ""quotes"", 100% \ and 🐘";
COMMENT ON SCHEMA awkward IS 'awkward';
-- pg_dump 14 leaves this one out.
\if :since_15
COMMENT ON SCHEMA public IS E'public, with a line\n-- PostgreSQL database dump complete\nand more';
\endif

CREATE EXTENSION hstore SCHEMA extensions;
CREATE EXTENSION citext SCHEMA extensions;
CREATE EXTENSION ltree SCHEMA extensions;
CREATE EXTENSION pg_trgm SCHEMA extensions;
CREATE EXTENSION btree_gist SCHEMA extensions;
CREATE EXTENSION pgcrypto SCHEMA extensions;
CREATE EXTENSION unaccent SCHEMA extensions;
CREATE EXTENSION cube SCHEMA extensions;
CREATE EXTENSION isn SCHEMA extensions;
CREATE EXTENSION intarray SCHEMA extensions;
CREATE EXTENSION file_fdw SCHEMA extensions;
CREATE EXTENSION postgres_fdw SCHEMA extensions;
COMMENT ON EXTENSION hstore IS 'ours: it''s a map';

SET search_path = awkward, extensions, public;

-- Types of our own.
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy', '', 'it''s', 'a,b', '日本語', 'back\slash');
ALTER TYPE mood ADD VALUE 'between' BEFORE 'happy';
CREATE TYPE address AS (street text, "house no." integer, tags text[], at point);
CREATE TYPE person AS (name text, home address, moods mood[]);
CREATE DOMAIN percentage AS numeric(5, 2) DEFAULT 50 NOT NULL CONSTRAINT "between 0 and 100%" CHECK (VALUE BETWEEN 0 AND 100);
CREATE DOMAIN emails AS text[] CHECK (array_to_string(VALUE, '') LIKE '%@%');
CREATE DOMAIN somebody AS person CHECK ((VALUE).name <> '');
CREATE DOMAIN trimmed AS text COLLATE "C" CONSTRAINT trimmed CHECK (VALUE = btrim(VALUE));
CREATE TYPE float_range AS RANGE (subtype = float8, subtype_diff = float8mi, multirange_type_name = float_ranges);
CREATE TYPE trimmed_range AS RANGE (subtype = trimmed, collation = "C");
CREATE TYPE forward;
COMMENT ON TYPE mood IS 'how one feels';
COMMENT ON TYPE address IS E'a composite\twith a tab';
COMMENT ON COLUMN address."house no." IS 'may be NULL';
COMMENT ON DOMAIN percentage IS '0 to 100 %';
COMMENT ON CONSTRAINT "between 0 and 100%" ON DOMAIN percentage IS 'inclusive';

-- Not every build of PostgreSQL has ICU.
SELECT EXISTS (SELECT FROM pg_collation WHERE collname = 'und-x-icu') AS icu \gset
\if :icu
CREATE COLLATION german (provider = icu, locale = 'de-u-co-phonebk');
CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
\else
CREATE COLLATION german FROM "C";
CREATE COLLATION nocase (locale = 'C');
\endif
COMMENT ON COLLATION german IS 'Ärger';
CREATE ACCESS METHOD heap_again TYPE TABLE HANDLER heap_tableam_handler;
COMMENT ON ACCESS METHOD heap_again IS 'the usual one';
CREATE CONVERSION latin FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
COMMENT ON CONVERSION latin IS 'as built in';

-- Every built-in type that a column may have.
CREATE TABLE numbers (
  id integer PRIMARY KEY, i2 smallint, i4 integer, i8 bigint, n numeric, n1000 numeric(1000, 500), f4 real, f8 double precision,
  m money, b boolean, o oid, bits bit(9), varbits bit varying(70), lsn pg_lsn, x xid, x8 xid8, t tid, c cid
);
INSERT INTO numbers VALUES
  (1, -32768, -2147483648, -9223372036854775808, 'NaN', 'NaN', 'NaN', 'NaN', '-92233720368547758.08', true, 0, B'000000000', B'', '0/0', '0', '0', '(0,0)', '0'),
  (2, 32767, 2147483647, 9223372036854775807, 'Infinity', 0, 'Infinity', 'Infinity', '92233720368547758.07', false, 4294967295, B'111111111', B'1', 'FFFFFFFF/FFFFFFFF', '4294967295', '18446744073709551615', '(4294967295,65535)', '4294967295'),
  (3, 0, 0, 0, '-Infinity', -0.5, '-Infinity', '-Infinity', 0, NULL, 1, B'101010101', repeat('10', 35)::varbit, '16/B374D848', '1', '4294967296', '(1,1)', '1'),
  (4, NULL, NULL, NULL, 1e131071, 1e499, 3.4028235e38, 1.7976931348623157e308, 0.01, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (5, NULL, NULL, NULL, 1e-16383, 1e-500, 1e-45, 5e-324, -0.01, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (6, 1, 1, 1, 0.1000, 1 / 3.0, '-0', '-0', 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (7, 1, 1, 1, repeat('9', 1000)::numeric, NULL, 0.1, 0.1, 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (8, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

CREATE TABLE times (
  id integer PRIMARY KEY, d date, ts timestamp, ts3 timestamp(3), tz timestamptz, t time, t0 time(0), ttz timetz, i interval, iym interval year to month, i2 interval(2)
);
INSERT INTO times VALUES
  (1, '-infinity', '-infinity', '-infinity', '-infinity', '00:00', '00:00', '00:00+15:59:59', '0', '0', '0'),
  (2, 'infinity', 'infinity', 'infinity', 'infinity', '24:00', '24:00', '24:00-15:59:59', '178000000 years', '178000000 years', '0.01 s'),
  (3, '4714-11-24 BC', '4714-11-24 00:00:00 BC', '0001-01-01 BC', '4714-11-24 00:00:00+00 BC', '23:59:59.999999', '23:59:59', '23:59:59.999999+00', '-178000000 years', '-1 month', '-0.01 s'),
  (4, '5874897-12-31', '294276-12-31 23:59:59.999999', '1999-12-31 23:59:59.999', '294276-12-31 23:59:59.999999+00', '12:34:56.789', '12:34:56', '12:34:56.789+05:45', '1 mon -1 day +00:00:00.000001', '1 year', '1 s'),
  (5, '2000-02-29', '2026-03-29 02:30', '2026-03-29 02:30', '2026-03-29 02:30 Europe/Berlin', NULL, NULL, NULL, '-1 years +2 mons -3 days +04:05:06.7', NULL, NULL),
  (6, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
\if :since_17
INSERT INTO times (id, i) VALUES (7, 'infinity'), (8, '-infinity');
\endif

CREATE TABLE texts (
  id integer GENERATED ALWAYS AS IDENTITY (START 100 INCREMENT 7) PRIMARY KEY,
  t text, v varchar(20), c char(10), n name, one "char", ci citext, g text COLLATE german, nc text COLLATE nocase
);
INSERT INTO texts (t) VALUES
  (''), (NULL), ('NULL'), ('\N'), ('\.'), (E'\n'), (E'\r'), (E'\r\n'), (E'\t'), ('\'), ('\\'), (E'a\\\nb'), (E'\\.\n\\.\n'),
  (E'line\n\\.\nline'), (E'\n\\.'), (E'\n\\.\r\n'), ('-- comment'), ('/* */'), (';'), ('''quoted'''), ('"double"'), ('$$'), ('$1'), ('%s %d %%'),
  (E'\b\f\v\x01\x02\x1b\x7f'), (' leading'), ('trailing '), (E'tab\tend\t'), (E'\\t not a tab \\x41 \\101'), (E'COPY t FROM stdin;\n1\n\\.\n'),
  ('Ünïcödé'), ('日本語'), ('🐘👩‍👩‍👧‍👦'), (U&'\FFFD\FFFE\FEFF'), (U&'\+10FFFF'), (U&'\0061\0301 combining'), (U&'\202Ertl\202C'), (U&'\2028\2029\0085');
INSERT INTO texts (t) SELECT 'control ' || i || ' ' || chr(i) || ' end' FROM generate_series(1, 31) i;
INSERT INTO texts (t) SELECT repeat(E'\\', n) || E'\n' FROM generate_series(1, 5) n;
INSERT INTO texts (t) SELECT repeat('x', n) FROM unnest(ARRAY[8190, 8191, 8192, 8193, 65535, 65536, 1048576]) n;
INSERT INTO texts (v, c, n, one, ci, g, nc) VALUES
  ('', '', '', '', '', '', ''), ('twenty characters äö', 'padded', repeat('n', 63), 'c', 'CaSe', 'Öl', 'X'), (' ', ' ', ' ', ' ', ' ', ' ', ' ');

-- Rows that look like the end of a dump, each a line of its own.
CREATE TABLE "looks like the end" (line text);
INSERT INTO "looks like the end" VALUES
  ('--'), ('-- PostgreSQL database dump complete'), ('--'), (''), ('\unrestrict x'), (''), ('--'), ('-- PostgreSQL database dump'), ('--'),
  ('\restrict x'), ('\.'), ('COPY awkward.texts (t) FROM stdin;'), ('\connect postgres'), ('\! false'), ('\q');

CREATE TABLE documents (id integer PRIMARY KEY, j json, jb jsonb, x xml, p jsonpath, b bytea, u uuid, v tsvector, q tsquery, s pg_snapshot, ts txid_snapshot, r refcursor, a aclitem, i2v int2vector, ov oidvector);
INSERT INTO documents VALUES
  (1, E'{"a" :  1,\n\t"a":2, "u":"\\u00e9\\ud83d\\ude00", "n":1e400}', '{"a": 1, "b": [null, true, 1e30, "\\", "\"", "\n", "日本語"], "": {}}', '<a b="1">text &amp; <![CDATA[<raw>]]></a>', '$.a[*] ? (@ > 1)', '\x', '00000000-0000-0000-0000-000000000000', '', '', '1:1:', '10:20:10,14,15', 'cursor', 'postgres=r/postgres', '1 2 3', '1 2 3'),
  (2, 'null', 'null', 'several <b/> nodes, no root', 'strict $', '\x00', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '''a'':1A,2B ''it''''s'':3C ''b c'':4', '''a'' & !''b'':* | ''c'' <-> ''d''', NULL, NULL, '', NULL, '', ''),
  (3, '[]', '[]', E'<?xml version="1.0"?>\n<!DOCTYPE d [<!ELEMENT d ANY>]>\n<d>\r\n</d>', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (4, '" "', '-0.0', '', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (5, NULL, NULL, NULL, NULL, (SELECT string_agg(set_byte('\x00', 0, i), '') FROM generate_series(0, 255) i), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (6, NULL, NULL, NULL, NULL, convert_to(E'\\.\n--\n', 'UTF8'), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (7, NULL, jsonb_build_object('deep', repeat('[', 200)::text || repeat(']', 200)), NULL, NULL, decode(repeat('00ff', 100000), 'hex'), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

CREATE TABLE networks (id integer PRIMARY KEY, i inet, c cidr, m macaddr, m8 macaddr8);
INSERT INTO networks VALUES
  (1, '0.0.0.0/0', '0.0.0.0/0', '00:00:00:00:00:00', '00:00:00:00:00:00:00:00'),
  (2, '192.168.1.5/24', '192.168.0.0/16', 'ff:ff:ff:ff:ff:ff', 'ff:ff:ff:ff:ff:ff:ff:ff'),
  (3, '::1', '2001:db8::/32', NULL, NULL), (4, '::ffff:1.2.3.4/128', '::/0', NULL, NULL), (5, NULL, NULL, NULL, NULL);

CREATE TABLE shapes (id integer PRIMARY KEY, p point, l line, s lseg, b box, open path, closed path, poly polygon, c circle);
INSERT INTO shapes VALUES
  (1, '(0,0)', '{1,2,3}', '[(0,0),(1,1)]', '(1,1),(0,0)', '[(0,0),(1,1),(2,0)]', '((0,0),(1,1),(2,0))', '((0,0),(1,1),(2,0))', '<(0,0),1>'),
  (2, '(NaN,Infinity)', '{0.1,-1,0}', '[(-1e308,1e-308),(0.1,0.2)]', '(Infinity,1),(-Infinity,0)', '[(0.1,0.2)]', '((0.1,0.2))', '((0.1,0.2))', '<(NaN,0),Infinity>'),
  (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

CREATE TABLE ranges (
  id integer PRIMARY KEY, i4 int4range, i8 int8range, n numrange, ts tsrange, tz tstzrange, d daterange, f float_range, tr trimmed_range,
  mi4 int4multirange, mi8 int8multirange, mn nummultirange, mts tsmultirange, mtz tstzmultirange, md datemultirange, mf float_ranges
);
INSERT INTO ranges VALUES
  (1, 'empty', 'empty', 'empty', 'empty', 'empty', 'empty', 'empty', 'empty', '{}', '{}', '{}', '{}', '{}', '{}', '{}'),
  (2, '(,)', '(,)', '(,)', '(,)', '(,)', '(,)', '(,)', '(,)', '{(,)}', '{(,)}', '{(,)}', '{(,)}', '{(,)}', '{(,)}', '{(,)}'),
  (3, '[1,5]', '(1,5)', '[1.5,NaN]', '[-infinity,infinity]', '[2026-01-01 00:00+00,)', '[2026-01-01,2026-02-01]', '(-Infinity,0.1]', '["a,b","c""d")',
   '{[1,2),[5,6)}', '{(,1),(9,)}', '{[1.0,2.50]}', '{["2026-01-01 00:00","2026-01-02 00:00")}', '{["2026-01-01 00:00+00","2026-01-02 00:00+00")}', '{[2026-01-01,2026-01-02)}', '{[0,1],(2,NaN]}'),
  (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

CREATE TABLE arrays (id integer PRIMARY KEY, i integer[], t text[], b bytea[], d double precision[], tz timestamptz[], j jsonb[], m mood[], a address[], r int4range[], e emails, fixed integer[3][3]);
INSERT INTO arrays VALUES
  (1, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{@}', '{}'),
  (2, '{NULL}', '{NULL,"NULL","",null,"null"}', '{"\\x00",NULL}', '{NaN,Infinity,-Infinity,-0}', '{infinity,-infinity}', '{"{\"a\": \"\\\\\"}",NULL}', '{sad,"","it''s","a,b"}', ARRAY[ROW('a "b"', NULL, '{x}', '(1,2)')::address, NULL], '{"[1,2)",empty}', '{a@b,"c,d@e"}', '{{1,2},{3,4}}'),
  (3, '[-2:0]={1,2,3}', E'{"a,b","c\\"d","e\\\\f","g\nh","{}"," "}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '[0:1][5:6]={{1,2},{3,NULL}}'),
  (4, '{{{1,2},{3,4}},{{5,6},{7,NULL}}}', '{{a,b},{c,d}}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

CREATE TABLE composites (id integer PRIMARY KEY, a address, p person, s somebody, pct percentage, pcts percentage[], trimmed trimmed, m mood DEFAULT 'ok');
INSERT INTO composites VALUES
  (1, ROW(NULL, NULL, NULL, NULL), ROW('', ROW('', 0, '{}', NULL), '{}'), NULL, 0, '{}', '', 'sad'),
  (2, ROW(E'it''s "x", (y)\\\n', -1, ARRAY['a', NULL, '']::text[], '(1,2)'), ROW('n', ROW('s', 1, '{a}', NULL), '{sad,NULL}'), ROW('n', NULL, NULL), 100, '{1.5,2}', 'x', '日本語'),
  (3, NULL, NULL, NULL, 99.99, NULL, NULL, NULL);

CREATE TABLE identifiers (id integer PRIMARY KEY, c regclass, p regproc, pd regprocedure, o regoper, od regoperator, t regtype, r regrole, n regnamespace, cf regconfig, d regdictionary, co regcollation);
INSERT INTO identifiers VALUES
  (1, 'awkward.numbers', 'now', 'abs(integer)', 'pg_catalog.||/', '+(integer,integer)', 'awkward.mood[]', 'postgres', 'awkward', 'english', 'simple', '"C"'),
  (2, '"awkward"."looks like the end"', '0', '0', '0', '0', '0', '0', '"Schéma with ""quotes"", 100% \ and 🐘"', NULL, NULL, 'awkward.german'), (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

CREATE TABLE from_extensions (id integer PRIMARY KEY, h hstore, l ltree, lq lquery, c cube, i isbn13, ints integer[]);
INSERT INTO from_extensions VALUES
  (1, '', '', '*', '(0)', '978-0-11-000222-4', '{1}'), (2, '"a b"=>NULL, "c\"d"=>"", é=>"\\"', 'Top.Science.Astronomy', 'a.*{1,2}.b|c', '(1,2),(3,4)', NULL, '{}'), (3, NULL, NULL, NULL, NULL, NULL, NULL);
CREATE INDEX ON from_extensions USING gist (l);
CREATE INDEX ON from_extensions USING gin (ints gin__int_ops);
CREATE INDEX trigrams ON texts USING gist (v gist_trgm_ops);

-- Names.
CREATE TABLE "Schéma with ""quotes"", 100% \ and 🐘"."Tablé ""x"" 100% 'y' \ 🐘" (
  " " integer PRIMARY KEY, "select" text, "UPPER" text, "a""b" text, "a'b" text, "a\b" text, "%s%d" text, "日本語" text, "🐘" text, "tab	tab" text, "a.b" text, "$1" text, ";--" text, "[]{}()" text
);
INSERT INTO "Schéma with ""quotes"", 100% \ and 🐘"."Tablé ""x"" 100% 'y' \ 🐘" VALUES (1, 's', 'u', 'q', 'a', 'b', 'p', '日', '🐘', E'\t', '.', '$', ';', '{}');
CREATE TABLE "new
line
\! touch /nowhere
-- PostgreSQL database dump complete
" ("column
with a new line" serial PRIMARY KEY, "\." text DEFAULT E'\\.\n');
INSERT INTO "new
line
\! touch /nowhere
-- PostgreSQL database dump complete
" SELECT FROM generate_series(1, 3);
COMMENT ON TABLE "new
line
\! touch /nowhere
-- PostgreSQL database dump complete
" IS E'--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict x\n';
CREATE VIEW "Schéma with ""quotes"", 100% \ and 🐘"."view of ""x""" AS SELECT "a""b" AS "b""a", '\.' AS "\." FROM "Schéma with ""quotes"", 100% \ and 🐘"."Tablé ""x"" 100% 'y' \ 🐘";
CREATE TABLE public."CamelCase" ("Id" bigserial PRIMARY KEY, "createdAt" timestamptz DEFAULT now());
INSERT INTO public."CamelCase" ("createdAt") SELECT timestamptz '2026-01-01' + i * interval '1 day' FROM generate_series(1, 10) i;
CREATE TABLE digest_row_ (digest_row_ text, h text);
INSERT INTO digest_row_ VALUES ('a', 'b');

-- Generated columns, identities and sequences.
CREATE TABLE generated (
  id integer GENERATED BY DEFAULT AS IDENTITY (MINVALUE -10 MAXVALUE 1000 START 5 INCREMENT -3 CACHE 5 CYCLE) PRIMARY KEY,
  a integer, b integer GENERATED ALWAYS AS (a * 2) STORED, c text GENERATED ALWAYS AS ('x' || coalesce(a, 0)) STORED, d text DEFAULT 'quote '' and \', e integer DEFAULT 1 + 2
);
INSERT INTO generated (a) VALUES (1), (NULL), (3);
INSERT INTO generated (id, a) VALUES (500, 4);
CREATE TABLE serials (s2 smallserial, s4 serial, s8 bigserial, t text);
INSERT INTO serials (t) VALUES ('a'), ('b');
SELECT setval('serials_s2_seq', 32000), setval('serials_s8_seq', 9223372036854775806), setval('serials_s4_seq', 7, false) \g /dev/null
CREATE SEQUENCE down AS smallint INCREMENT -1 START -1 MINVALUE -100 CYCLE;
SELECT nextval('down'), nextval('down') \g /dev/null
CREATE SEQUENCE untouched START 42;
CREATE SEQUENCE "Séquence ""x""" OWNED BY serials.t;
ALTER TABLE serials ALTER COLUMN t SET DEFAULT 'n' || nextval('untouched');
COMMENT ON SEQUENCE down IS 'counts down';
\if :since_15
CREATE UNLOGGED SEQUENCE unlogged_sequence;
\endif
\if :since_18
CREATE TABLE generated_virtual (a integer, b integer GENERATED ALWAYS AS (a + 1) VIRTUAL, CONSTRAINT unenforced CHECK (a > 100) NOT ENFORCED);
INSERT INTO generated_virtual VALUES (1), (NULL);
CREATE TABLE temporal (id integer, valid daterange, PRIMARY KEY (id, valid WITHOUT OVERLAPS));
INSERT INTO temporal VALUES (1, '[2026-01-01,2026-02-01)'), (1, '[2026-02-01,)');
\endif

-- Partitions and inheritance.
CREATE TABLE events (at timestamptz NOT NULL, kind text NOT NULL, id bigint GENERATED BY DEFAULT AS IDENTITY, body jsonb, PRIMARY KEY (at, kind, id)) PARTITION BY RANGE (at);
CREATE TABLE events_old PARTITION OF events FOR VALUES FROM (MINVALUE) TO ('2026-01-01');
CREATE TABLE events_2026 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01') PARTITION BY LIST (kind);
CREATE TABLE events_2026_a PARTITION OF events_2026 FOR VALUES IN ('a', 'it''s');
CREATE TABLE events_2026_rest PARTITION OF events_2026 DEFAULT PARTITION BY HASH (id);
CREATE TABLE events_2026_rest_0 PARTITION OF events_2026_rest FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE events_2026_rest_1 PARTITION OF events_2026_rest FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE events_future PARTITION OF events DEFAULT;
-- Attached, with its columns in another order and one dropped.
CREATE TABLE events_2027 (gone integer, body jsonb, kind text NOT NULL, at timestamptz NOT NULL, id bigint NOT NULL);
ALTER TABLE events_2027 DROP COLUMN gone;
ALTER TABLE events ATTACH PARTITION events_2027 FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');
CREATE INDEX events_body ON events USING gin (body);
INSERT INTO events (at, kind, body)
  SELECT timestamptz '2025-12-01' + i * interval '3 hours', (ARRAY['a', 'b', 'it''s', 'ä'])[1 + i % 4], jsonb_build_object('i', i) FROM generate_series(1, 8000) i;
COMMENT ON TABLE events_2026 IS 'partitioned again';
CREATE TABLE no_partitions (a integer) PARTITION BY LIST (a);

CREATE TABLE animals (id serial PRIMARY KEY, name text NOT NULL DEFAULT 'x', CHECK (name <> ''));
CREATE TABLE vehicles (wheels integer);
CREATE TABLE horses (colour text, wheels integer) INHERITS (animals, vehicles);
INSERT INTO animals (name) VALUES ('cat');
INSERT INTO horses (name, colour, wheels) VALUES ('bucephalus', 'black', 0);
CREATE TABLE typed OF address (PRIMARY KEY (street), "house no." WITH OPTIONS DEFAULT 1);
INSERT INTO typed VALUES ('street', 2, '{a}', '(0,0)');
CREATE TABLE dropped (a integer, b text, c integer DEFAULT 3);
INSERT INTO dropped VALUES (1, 'b', 2);
ALTER TABLE dropped DROP COLUMN a;
ALTER TABLE dropped ADD COLUMN d text DEFAULT 'added later';

-- Sizes.
CREATE TABLE no_columns ();
INSERT INTO no_columns SELECT FROM generate_series(1, 5);
CREATE TABLE no_rows (a integer);
SELECT 'CREATE TABLE wide (' || string_agg(format('c%s integer', i), ', ' ORDER BY i) || ')' FROM generate_series(1, 1600) i \gexec
SELECT 'INSERT INTO wide VALUES (' || string_agg(i::text, ', ' ORDER BY i) || ')' FROM generate_series(1, 1600) i \gexec
INSERT INTO wide DEFAULT VALUES;
CREATE UNLOGGED TABLE unlogged (a integer);
INSERT INTO unlogged VALUES (1), (2);
CREATE TABLE again (a text) USING heap_again WITH (fillfactor = 70, autovacuum_enabled = false);
INSERT INTO again SELECT md5(i::text) FROM generate_series(1, 20000) i;
ALTER TABLE again ALTER COLUMN a SET STORAGE EXTERNAL, ALTER COLUMN a SET COMPRESSION pglz, ALTER COLUMN a SET (n_distinct = -0.5), ALTER COLUMN a SET STATISTICS 500;

-- Constraints and indexes.
CREATE TABLE parents (id integer PRIMARY KEY, favourite integer, code text UNIQUE DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE children (id integer PRIMARY KEY, parent integer NOT NULL REFERENCES parents ON DELETE CASCADE ON UPDATE SET NULL DEFERRABLE INITIALLY DEFERRED);
ALTER TABLE parents ADD CONSTRAINT favourite FOREIGN KEY (favourite) REFERENCES children DEFERRABLE INITIALLY DEFERRED;
BEGIN;
INSERT INTO parents VALUES (1, 10, 'a'), (2, 20, NULL);
INSERT INTO children VALUES (10, 1), (20, 2), (30, 1);
COMMIT;
CREATE TABLE tree (id integer PRIMARY KEY, up integer REFERENCES tree);
INSERT INTO tree VALUES (2, NULL), (1, 2), (3, 1);
ALTER TABLE children ADD CONSTRAINT "not valid: 100%" CHECK (id < 15) NOT VALID;
ALTER TABLE children ADD CONSTRAINT orphan FOREIGN KEY (id) REFERENCES tree NOT VALID;
COMMENT ON CONSTRAINT orphan ON children IS 'never checked';
CREATE TABLE bookings (room integer, during tstzrange, note text, EXCLUDE USING gist (room WITH =, during WITH &&) WHERE (note IS NULL) DEFERRABLE);
INSERT INTO bookings VALUES (1, '[2026-01-01,2026-01-02)', NULL), (1, '[2026-01-02,2026-01-03)', NULL), (1, '[2026-01-02,2026-01-03)', 'double');
CREATE INDEX "index ""of"" 100%" ON parents (lower(code) COLLATE "C" text_pattern_ops DESC NULLS LAST, (favourite + 1)) INCLUDE (id) WHERE code <> E'\\.\n';
CREATE INDEX ON again USING hash (a);
CREATE INDEX ON again USING brin (a) WITH (pages_per_range = 4);
CREATE INDEX ON again USING spgist (a);
CREATE UNIQUE INDEX clustered ON tree (up, id);
ALTER TABLE tree CLUSTER ON clustered;
ALTER TABLE tree REPLICA IDENTITY FULL;
ALTER TABLE parents REPLICA IDENTITY USING INDEX parents_pkey;
ALTER INDEX "index ""of"" 100%" ALTER COLUMN 2 SET STATISTICS 300;
COMMENT ON INDEX clustered IS 'clustered';
CREATE STATISTICS again_statistics (ndistinct, dependencies, mcv) ON id, up FROM tree;
CREATE STATISTICS expression_statistics ON (lower(a)), (length(a)) FROM again;
COMMENT ON STATISTICS again_statistics IS 'three kinds';
\if :since_15
CREATE TABLE nulls (a integer UNIQUE NULLS NOT DISTINCT, n numeric(2, -3));
INSERT INTO nulls VALUES (NULL, 12345);
\endif

-- Functions.
CREATE FUNCTION "fn ""x"" 100%"(a integer DEFAULT 1, VARIADIC rest text[] DEFAULT '{}') RETURNS text LANGUAGE plpgsql STRICT PARALLEL SAFE COST 7 SET search_path = '' AS $outer$
BEGIN
  -- COPY t FROM stdin;
  EXECUTE $inner$
COPY t FROM stdin;
1	2
\.
$inner$;
--
-- PostgreSQL database dump complete
--

  RETURN $$ $not closed$ '$$ || '\unrestrict x';
END $outer$;
CREATE FUNCTION "lines like a dump's end"() RETURNS text LANGUAGE sql AS $_$
SELECT $$
--
-- PostgreSQL database dump complete
--

\unrestrict x

$$::text || '$1 $_X$'
$_$;
CREATE FUNCTION quoted_body() RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ''it''''s $$ $_$ \''::text';
CREATE FUNCTION atomic(a integer, OUT b integer, OUT c text) LANGUAGE sql BEGIN ATOMIC
  SELECT a + 1 AS n, 'x;y'::text AS t;
  SELECT max(id) AS n, E'\\.\n'::text AS t FROM awkward.tree WHERE id > a;
END;
CREATE FUNCTION doubled(a integer) RETURNS integer LANGUAGE sql IMMUTABLE RETURN a * 2;
CREATE FUNCTION rows_of() RETURNS TABLE (id integer, "na me" text) LANGUAGE sql STABLE ROWS 5 AS 'SELECT 1, ''a''';
CREATE FUNCTION security() RETURNS SETOF tree LANGUAGE sql SECURITY DEFINER LEAKPROOF AS 'TABLE awkward.tree';
CREATE PROCEDURE procedure_(INOUT a integer) LANGUAGE plpgsql AS 'BEGIN COMMIT; END';
CREATE FUNCTION add_up(state integer, value integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT coalesce($1, 0) + coalesce($2, 0)';
CREATE AGGREGATE total(integer) (SFUNC = add_up, STYPE = integer, INITCOND = '0', COMBINEFUNC = add_up, PARALLEL = SAFE);
CREATE FUNCTION same(a address, b address) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT ($1).street = ($2).street';
CREATE OPERATOR === (LEFTARG = address, RIGHTARG = address, FUNCTION = same, COMMUTATOR = ===);
CREATE FUNCTION address_text(address) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ($1).street';
CREATE CAST (address AS text) WITH FUNCTION address_text(address) AS ASSIGNMENT;
CREATE OPERATOR CLASS backwards FOR TYPE integer USING btree AS OPERATOR 1 >, OPERATOR 2 >=, OPERATOR 3 =, OPERATOR 4 <=, OPERATOR 5 <, FUNCTION 1 btint4cmp(integer, integer);
COMMENT ON FUNCTION quoted_body() IS E'multi\nline';
COMMENT ON PROCEDURE procedure_(integer) IS 'commits';
COMMENT ON AGGREGATE total(integer) IS 'a sum';
COMMENT ON OPERATOR === (address, address) IS 'same street';
COMMENT ON CAST (address AS text) IS 'the street';
COMMENT ON OPERATOR CLASS backwards USING btree IS 'down';
CREATE TABLE with_functions (a integer DEFAULT doubled(21), b text DEFAULT quoted_body(), CHECK (doubled(a) > 0));
INSERT INTO with_functions DEFAULT VALUES;
CREATE TEXT SEARCH DICTIONARY stems (TEMPLATE = snowball, language = german, stopwords = german);
CREATE TEXT SEARCH CONFIGURATION search (PARSER = default);
ALTER TEXT SEARCH CONFIGURATION search ADD MAPPING FOR word, asciiword WITH unaccent, stems;
COMMENT ON TEXT SEARCH CONFIGURATION search IS 'German';

-- Views.
CREATE VIEW barrier WITH (security_barrier) AS SELECT * FROM tree WHERE id > 0 WITH LOCAL CHECK OPTION;
CREATE RECURSIVE VIEW ancestors (id, up) AS SELECT id, up FROM tree UNION ALL SELECT a.id, t.up FROM ancestors a JOIN tree t ON t.id = a.up;
CREATE VIEW joined AS
  SELECT p.id, c.id AS child, count(*) OVER (PARTITION BY p.id ORDER BY c.id ROWS 1 PRECEDING) AS n, ARRAY(SELECT up FROM tree ORDER BY 1) AS ups,
    CASE WHEN p.code ~ '^\\.$' THEN E'\n' END AS "case", (SELECT jsonb_agg(t) FROM tree t) AS all_trees
  FROM parents p LEFT JOIN LATERAL (SELECT * FROM children WHERE parent = p.id) c ON true;
CREATE MATERIALIZED VIEW summary WITH (fillfactor = 80) AS SELECT kind, count(*) AS n, max(at) AS newest FROM events GROUP BY kind;
CREATE UNIQUE INDEX ON summary (kind);
CREATE MATERIALIZED VIEW of_summary AS SELECT max(n) AS n FROM summary;
CREATE MATERIALIZED VIEW unpopulated AS SELECT * FROM again WITH NO DATA;
COMMENT ON VIEW barrier IS 'a barrier';
COMMENT ON COLUMN joined."case" IS 'a case';
COMMENT ON MATERIALIZED VIEW summary IS 'populated';
\if :since_15
CREATE VIEW invoker WITH (security_invoker = true) AS SELECT 1 AS one;
\endif

-- Triggers and rules. While data is restored none of them may fire: each would change or refuse rows.
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'refused: %', TG_ARGV[0]; END$$;
CREATE TRIGGER "refuse 100%" BEFORE INSERT OR UPDATE OF id OR DELETE ON tree FOR EACH ROW WHEN (pg_trigger_depth() < 1) EXECUTE FUNCTION refuse('it''s \ 100%');
CREATE TRIGGER disabled AFTER TRUNCATE ON tree EXECUTE FUNCTION refuse();
ALTER TABLE tree DISABLE TRIGGER disabled;
CREATE TRIGGER always AFTER INSERT ON tree REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION refuse();
ALTER TABLE tree ENABLE ALWAYS TRIGGER always;
CREATE CONSTRAINT TRIGGER later AFTER INSERT ON parents DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse();
CREATE TRIGGER on_partitions AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION refuse();
CREATE TRIGGER instead INSTEAD OF INSERT ON joined FOR EACH ROW EXECUTE FUNCTION refuse();
CREATE RULE "nothing ""x""" AS ON INSERT TO no_rows DO INSTEAD NOTHING;
CREATE RULE also AS ON UPDATE TO again WHERE OLD.a <> NEW.a DO ALSO (INSERT INTO no_rows VALUES (1); DELETE FROM no_rows);
ALTER TABLE again DISABLE RULE also;
COMMENT ON TRIGGER "refuse 100%" ON tree IS 'refuses';
COMMENT ON RULE also ON again IS 'also';
CREATE FUNCTION on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM 1; END';
CREATE EVENT TRIGGER "on ddl" ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'DROP TABLE') EXECUTE FUNCTION on_ddl();
CREATE EVENT TRIGGER on_drop ON sql_drop EXECUTE FUNCTION on_ddl();
ALTER EVENT TRIGGER on_drop DISABLE;
COMMENT ON EVENT TRIGGER "on ddl" IS 'does nothing';

-- Privileges and row security.
ALTER TABLE composites ENABLE ROW LEVEL SECURITY;
ALTER TABLE arrays ENABLE ROW LEVEL SECURITY;
ALTER TABLE arrays FORCE ROW LEVEL SECURITY;
CREATE POLICY "own ""rows"" 100%" ON composites FOR UPDATE TO PUBLIC USING (id = 1 AND current_user <> '\') WITH CHECK (pct > 0);
CREATE POLICY strict ON composites AS RESTRICTIVE FOR SELECT TO pg_monitor, pg_read_all_stats USING (EXISTS (SELECT FROM tree WHERE tree.id = composites.id));
CREATE POLICY nobody ON arrays USING (false);
COMMENT ON POLICY strict ON composites IS 'restrictive';
GRANT SELECT, INSERT (a), UPDATE (a, pct) ON composites TO PUBLIC;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO pg_monitor WITH GRANT OPTION;
GRANT USAGE ON SCHEMA awkward TO PUBLIC;
REVOKE EXECUTE ON FUNCTION security() FROM PUBLIC;
GRANT USAGE ON TYPE mood TO pg_monitor;
ALTER DEFAULT PRIVILEGES IN SCHEMA awkward GRANT SELECT ON TABLES TO pg_monitor;

-- Foreign data and replication.
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
CREATE SERVER "else where" FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'db.invalid', dbname 'it''s \ x', fetch_size '7');
CREATE USER MAPPING FOR PUBLIC SERVER "else where" OPTIONS (user 'u', password 'p''w');
CREATE FOREIGN TABLE empty_file (a text OPTIONS (force_not_null 'true')) SERVER files OPTIONS (filename '/dev/null', format 'csv', delimiter ';');
CREATE FOREIGN TABLE far_away (a integer OPTIONS (column_name 'A "b"'), b text NOT NULL DEFAULT 'x') SERVER "else where" OPTIONS (schema_name 's', table_name 't');
COMMENT ON SERVER files IS 'local files';
COMMENT ON FOREIGN TABLE empty_file IS 'empty';
CREATE PUBLICATION "pub ""x""" FOR TABLE tree, events WITH (publish = 'insert, update', publish_via_partition_root = true);
COMMENT ON PUBLICATION "pub ""x""" IS 'two tables';
\if :since_15
CREATE PUBLICATION filtered FOR TABLE animals (id) WHERE (id > 5);
CREATE PUBLICATION of_schema FOR TABLES IN SCHEMA public;
\endif

-- Large objects: an empty one, one with a comment, one of more than a mebibyte, one with a hole.
SELECT lo_create(90001), lo_from_bytea(90002, '\x00ff5c2e0a'), lo_from_bytea(90004, 'x'),
  lo_from_bytea(90003, (SELECT string_agg(decode(md5(i::text), 'hex'), '' ORDER BY i) FROM generate_series(1, 70000) i)) \g /dev/null
SELECT lo_put(90004, 1500000, 'end') \g /dev/null
COMMENT ON LARGE OBJECT 90002 IS E'a large object\nwith a comment';
GRANT SELECT ON LARGE OBJECT 90002 TO PUBLIC;
CREATE TABLE attachments (id integer PRIMARY KEY, content oid);
INSERT INTO attachments VALUES (1, 90001), (2, 90002), (3, 90003), (4, 90004);

COMMENT ON TABLE numbers IS 'numbers: it''s \ 100% "quoted" 🐘';
COMMENT ON COLUMN numbers.n IS E'line 1\nline 2\n\\.\n';
COMMENT ON COLUMN summary.n IS 'how many';
ANALYZE;
