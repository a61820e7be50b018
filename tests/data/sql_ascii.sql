-- For a database with ENCODING 'SQL_ASCII': the server takes any byte but NUL, so rows and names hold bytes that are no
-- valid text in UTF8 or anything else. The file itself is ASCII.
\set ON_ERROR_STOP on
CREATE TABLE bytes (code integer PRIMARY KEY, byte text, context text);
INSERT INTO bytes SELECT i, chr(i), 'x' || chr(i) || E'\t' || chr(i) || E'\n' FROM generate_series(1, 255) i;
CREATE TABLE mixed (id serial PRIMARY KEY, t text);
INSERT INTO mixed (t) VALUES
  (E'caf\xC3\xA9 in UTF8'), (E'caf\xE9 in LATIN1'), (E'\xFF\xFE'), (E'\xC0\x80 overlong'), (E'\xED\xA0\x80 surrogate'), (E'\xF4\x90\x80\x80 too high'),
  (E'\xE2\x82'), (E'\xC3'), (E'\xC3\n'), (E'\xC3\\'), (E'\xC3\\.\n'), (E'\x83\x5C backslash as the second byte in Shift JIS'), (E'\xA4\x40'), ('\.'), (''), (NULL);
SELECT format('CREATE TABLE %I (%I text); INSERT INTO %1$I VALUES (%L)', E'caf\xE9 \xC3', E'\xFF', E'\x80\x81') \gexec
SELECT format('COMMENT ON TABLE mixed IS %L', E'\xE9\xFF') \gexec
SELECT lo_from_bytea(90001, '\x00e9ff') \g /dev/null
