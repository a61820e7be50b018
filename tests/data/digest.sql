-- Prints every row and every definition of a database as text, one fact a line, in an order that depends on nothing but
-- the facts: two databases that hold the same print the same. Run it with psql -X -q -At.
\set ON_ERROR_STOP on
SET search_path = '';
SET client_min_messages = warning;
SET row_security = off;
SET datestyle = 'ISO, MDY';
SET intervalstyle = 'postgres';
SET timezone = 'UTC';
SET bytea_output = 'hex';
SET extra_float_digits = 1;
SET lc_monetary = 'C';

SELECT 'database|' || pg_catalog.getdatabaseencoding();

-- Rows, with their columns in the order of the names: a child table gets its columns back in another order, if its parent
-- gained one later.
SELECT CASE WHEN c.relkind = 'm' AND NOT c.relispopulated THEN
    format('SELECT %L', format('rows|%I.%I|not populated', n.nspname, c.relname))
  ELSE
    format('SELECT %L || count(*) || ''|'' || coalesce(md5(string_agg(h, '''' ORDER BY h COLLATE pg_catalog."C")), '''')'
      ' FROM (SELECT md5(ROW(%s)::text) AS h FROM ONLY %I.%I AS digest_row_) AS rows_',
      format('rows|%I.%I|', n.nspname, c.relname),
      (SELECT string_agg(format('digest_row_.%I', a.attname), ', ' ORDER BY a.attname COLLATE pg_catalog."C")
       FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
      n.nspname, c.relname)
  END
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_t'
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
\gexec

SELECT format('SELECT %L || last_value || ''|'' || is_called FROM %I.%I',
  format('sequence|%I.%I|', n.nspname, c.relname), n.nspname, c.relname)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND c.relpersistence <> 't'
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
\gexec

SELECT format('large object|%s|%s|%s|%s', oid, length(lo_get(oid)), md5(lo_get(oid)),
  md5(obj_description(oid, 'pg_largeobject')))
FROM pg_catalog.pg_largeobject_metadata ORDER BY oid;

-- Definitions, without what belongs to an extension. Names come from regclass and its like, quoted and with their schema.
WITH own AS (
  SELECT oid FROM pg_catalog.pg_namespace
  WHERE nspname NOT IN ('pg_catalog', 'information_schema') AND nspname !~ '^pg_t'
), of_extension AS (
  SELECT classid, objid FROM pg_catalog.pg_depend WHERE deptype = 'e'
), relation AS (
  SELECT c.* FROM pg_catalog.pg_class c
  WHERE c.relnamespace IN (SELECT oid FROM own)
    AND NOT EXISTS (SELECT FROM of_extension e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid)
)
SELECT replace(fact, E'\n', '\n') FROM (

SELECT format('schema|%I|%s', nspname, pg_get_userbyid(nspowner))
FROM pg_catalog.pg_namespace WHERE oid IN (SELECT oid FROM own)

UNION ALL
SELECT format('extension|%I|%s|%s', extname, extversion, extnamespace::regnamespace) FROM pg_catalog.pg_extension

UNION ALL
SELECT format('relation|%s|%s|%s|%s|%s|%s|rls %s %s|identity %s|%s|%s|%s', c.oid::regclass, c.relkind, c.relpersistence,
  pg_get_userbyid(c.relowner), array_to_string(c.reloptions, ','), am.amname, c.relrowsecurity, c.relforcerowsecurity,
  c.relreplident, pg_get_partkeydef(c.oid), pg_get_expr(c.relpartbound, c.oid),
  CASE WHEN c.reloftype <> 0 THEN c.reloftype::regtype END)
FROM relation c LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam

UNION ALL
SELECT format('inherits|%s|%s|%s', inhrelid::regclass, inhseqno, inhparent::regclass)
FROM pg_catalog.pg_inherits WHERE inhrelid IN (SELECT oid FROM relation)

-- Dropped columns leave gaps in attnum that a restored table does not have.
UNION ALL
SELECT format('column|%s|%s|%I|%s|null %s|identity %s|generated %s|default %s|%s|%s|%s|%s|%s|%s', a.attrelid::regclass,
  row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum), a.attname,
  format_type(a.atttypid, a.atttypmod), NOT a.attnotnull, a.attidentity, a.attgenerated,
  pg_get_expr(d.adbin, d.adrelid), a.attcollation::regcollation, a.attstorage, a.attcompression,
  array_to_string(a.attoptions, ','), array_to_string(a.attfdwoptions, ','), a.attislocal)
FROM pg_catalog.pg_attribute a JOIN relation c ON c.oid = a.attrelid AND c.relkind NOT IN ('i', 'I', 'S')
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped

UNION ALL
SELECT format('sequence|%s|%s|%s|%s|%s|%s|%s|%s|%s', s.seqrelid::regclass, s.seqtypid::regtype, s.seqstart, s.seqincrement,
  s.seqmin, s.seqmax, s.seqcache, s.seqcycle, d.refobjid::regclass)
FROM pg_catalog.pg_sequence s JOIN relation c ON c.oid = s.seqrelid
LEFT JOIN pg_catalog.pg_depend d
  ON d.classid = 'pg_class'::regclass AND d.objid = s.seqrelid AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')

UNION ALL
SELECT format('constraint|%s|%s|%I|%s|%s|%s|%s', NULLIF(conrelid, 0)::regclass, NULLIF(contypid, 0)::regtype, conname,
  pg_get_constraintdef(oid), convalidated, conislocal, coninhcount)
FROM pg_catalog.pg_constraint WHERE connamespace IN (SELECT oid FROM own)

UNION ALL
SELECT format('index|%s|%s|%s|%s|%s|%s|%s', i.indexrelid::regclass, pg_get_indexdef(i.indexrelid), i.indisclustered,
  i.indisreplident, i.indisvalid, i.indimmediate,
  (SELECT string_agg(a.attnum || '=' || a.attstattarget, ',' ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
   WHERE a.attrelid = i.indexrelid AND a.attstattarget >= 0))
FROM pg_catalog.pg_index i JOIN relation c ON c.oid = i.indexrelid

UNION ALL
SELECT format('view|%s|%s', c.oid::regclass, md5(pg_get_viewdef(c.oid)))
FROM relation c WHERE c.relkind IN ('v', 'm')

UNION ALL
SELECT format('rule|%s|%I|%s|%s', ev_class::regclass, rulename, ev_enabled, md5(pg_get_ruledef(oid)))
FROM pg_catalog.pg_rewrite WHERE rulename <> '_RETURN' AND ev_class IN (SELECT oid FROM relation)

UNION ALL
SELECT format('trigger|%s|%s|%s', tgrelid::regclass, tgenabled, pg_get_triggerdef(oid))
FROM pg_catalog.pg_trigger WHERE NOT tgisinternal AND tgrelid IN (SELECT oid FROM relation)

UNION ALL
SELECT format('event trigger|%I|%s|%s|%s|%s', evtname, evtevent, evtenabled, array_to_string(evttags, ','), evtfoid::regproc)
FROM pg_catalog.pg_event_trigger

UNION ALL
SELECT format('policy|%s|%I|%s|%s|%s|%s|%s', polrelid::regclass, polname, polcmd, polpermissive,
  (SELECT string_agg(CASE r WHEN 0 THEN 'public' ELSE pg_get_userbyid(r) END, ',' ORDER BY r) FROM unnest(polroles) r),
  pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
FROM pg_catalog.pg_policy

UNION ALL
SELECT format('statistics|%s|%s', stxrelid::regclass, pg_get_statisticsobjdef(oid)) FROM pg_catalog.pg_statistic_ext

UNION ALL
SELECT format('function|%s|%s|%s|%s', p.oid::regprocedure, p.prokind, pg_get_userbyid(p.proowner),
  CASE WHEN p.prokind = 'a' THEN
    (SELECT format('%s|%s|%s|%s|%s|%s', g.aggkind, g.aggtransfn, g.aggfinalfn, g.aggcombinefn, g.aggtranstype::regtype, g.agginitval)
     FROM pg_catalog.pg_aggregate g WHERE g.aggfnoid = p.oid)
  ELSE md5(pg_get_functiondef(p.oid)) END)
FROM pg_catalog.pg_proc p
WHERE p.pronamespace IN (SELECT oid FROM own)
  AND NOT EXISTS (SELECT FROM of_extension e WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid)

UNION ALL
SELECT format('type|%s|%s|%s|%s|%s|%s|%s|%s|%s', t.oid::regtype, t.typtype, t.typcategory, t.typdefault, t.typnotnull,
  CASE WHEN t.typbasetype <> 0 THEN format_type(t.typbasetype, t.typtypmod) END, NULLIF(t.typcollation, 0)::regcollation,
  (SELECT string_agg(quote_literal(l.enumlabel), ',' ORDER BY l.enumsortorder) FROM pg_catalog.pg_enum l WHERE l.enumtypid = t.oid),
  (SELECT format('%s|%s|%s|%s', r.rngsubtype::regtype, r.rngmultitypid::regtype, r.rngsubdiff, r.rngcanonical)
   FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid))
FROM pg_catalog.pg_type t
WHERE t.typnamespace IN (SELECT oid FROM own) AND t.typtype IN ('d', 'e', 'r', 'p', 'b') AND NOT (t.typtype = 'b' AND t.typcategory = 'A')
  AND NOT EXISTS (SELECT FROM of_extension e WHERE e.classid = 'pg_type'::regclass AND e.objid = t.oid)

UNION ALL
SELECT format('operator|%s|%s|%s|%s|%s', o.oid::regoperator, o.oprresult::regtype, o.oprcode, o.oprcom::regoperator,
  o.oprnegate::regoperator)
FROM pg_catalog.pg_operator o
WHERE o.oprnamespace IN (SELECT oid FROM own)
  AND NOT EXISTS (SELECT FROM of_extension e WHERE e.classid = 'pg_operator'::regclass AND e.objid = o.oid)

UNION ALL
SELECT format('operator class|%s|%I|%s|%s', o.opcnamespace::regnamespace, o.opcname, o.opcintype::regtype, o.opcdefault)
FROM pg_catalog.pg_opclass o
WHERE o.opcnamespace IN (SELECT oid FROM own)
  AND NOT EXISTS (SELECT FROM of_extension e WHERE e.classid = 'pg_opclass'::regclass AND e.objid = o.oid)

UNION ALL
SELECT format('cast|%s|%s|%s|%s|%s', castsource::regtype, casttarget::regtype, NULLIF(castfunc, 0)::regprocedure, castcontext, castmethod)
FROM pg_catalog.pg_cast c
WHERE c.oid >= 16384
  AND NOT EXISTS (SELECT FROM of_extension e WHERE e.classid = 'pg_cast'::regclass AND e.objid = c.oid)

UNION ALL
SELECT format('collation|%s|%s|%s', oid::regcollation, collprovider, collisdeterministic)
FROM pg_catalog.pg_collation WHERE collnamespace IN (SELECT oid FROM own)

UNION ALL
SELECT format('conversion|%s|%I|%s|%s|%s|%s', connamespace::regnamespace, conname, pg_encoding_to_char(conforencoding),
  pg_encoding_to_char(contoencoding), conproc, condefault)
FROM pg_catalog.pg_conversion WHERE connamespace IN (SELECT oid FROM own)

UNION ALL
SELECT format('text search configuration|%s|%s', c.oid::regconfig,
  (SELECT string_agg(m.maptokentype || ':' || m.mapdict::regdictionary, ',' ORDER BY m.maptokentype, m.mapseqno)
   FROM pg_catalog.pg_ts_config_map m WHERE m.mapcfg = c.oid))
FROM pg_catalog.pg_ts_config c WHERE c.cfgnamespace IN (SELECT oid FROM own)

UNION ALL
SELECT format('text search dictionary|%s|%s', d.oid::regdictionary, d.dictinitoption)
FROM pg_catalog.pg_ts_dict d
WHERE d.dictnamespace IN (SELECT oid FROM own)
  AND NOT EXISTS (SELECT FROM of_extension e WHERE e.classid = 'pg_ts_dict'::regclass AND e.objid = d.oid)

UNION ALL
SELECT format('access method|%I|%s|%s', amname, amtype, amhandler) FROM pg_catalog.pg_am WHERE oid >= 16384

UNION ALL
SELECT format('server|%I|%I|%s', s.srvname, w.fdwname, (SELECT string_agg(o, ',' ORDER BY o) FROM unnest(s.srvoptions) o))
FROM pg_catalog.pg_foreign_server s JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = s.srvfdw

UNION ALL
SELECT format('user mapping|%I|%s|%s', srvname, usename, (SELECT string_agg(o, ',' ORDER BY o) FROM unnest(umoptions) o)) FROM pg_catalog.pg_user_mappings

UNION ALL
SELECT format('foreign table|%s|%s', ftrelid::regclass, (SELECT string_agg(o, ',' ORDER BY o) FROM unnest(ftoptions) o)) FROM pg_catalog.pg_foreign_table

-- Publications gain columns from major to major, and so do the lines here.
UNION ALL
SELECT format('publication|%s', to_jsonb(p) - 'oid' - 'pubowner') FROM pg_catalog.pg_publication p
UNION ALL
SELECT format('published|%s', to_jsonb(t)) FROM pg_catalog.pg_publication_tables t

UNION ALL
SELECT format('privilege|%s|%s|%s', o.object,
  CASE a.grantee WHEN 0 THEN 'public' ELSE pg_get_userbyid(a.grantee) END,
  string_agg(a.privilege_type || CASE WHEN a.is_grantable THEN '*' ELSE '' END, ',' ORDER BY a.privilege_type))
FROM (
  SELECT oid::regclass::text, relacl FROM relation
  UNION ALL SELECT oid::regprocedure::text, proacl FROM pg_catalog.pg_proc WHERE pronamespace IN (SELECT oid FROM own)
  UNION ALL SELECT oid::regtype::text, typacl FROM pg_catalog.pg_type WHERE typnamespace IN (SELECT oid FROM own)
  UNION ALL SELECT oid::regnamespace::text, nspacl FROM pg_catalog.pg_namespace WHERE oid IN (SELECT oid FROM own)
  UNION ALL SELECT 'large object ' || oid, lomacl FROM pg_catalog.pg_largeobject_metadata
) o (object, acl) CROSS JOIN LATERAL pg_catalog.aclexplode(o.acl) a
GROUP BY o.object, a.grantee

UNION ALL
SELECT format('privilege|%s.%I|%s', c.oid::regclass, a.attname, a.attacl)
FROM pg_catalog.pg_attribute a JOIN relation c ON c.oid = a.attrelid WHERE a.attacl IS NOT NULL

UNION ALL
SELECT format('default privilege|%s|%s|%s', d.defaclnamespace::regnamespace, d.defaclobjtype, d.defaclacl)
FROM pg_catalog.pg_default_acl d

UNION ALL
-- Those on extensions are not restored.
SELECT format('comment|%s|%s', pg_describe_object(classoid, objoid, objsubid), md5(description))
FROM pg_catalog.pg_description
WHERE (objoid >= 16384 OR objoid = 'public'::regnamespace) AND classoid <> 'pg_extension'::regclass

) facts (fact) ORDER BY fact COLLATE "C";
