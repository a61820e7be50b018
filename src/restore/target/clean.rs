//! How a target is emptied, and what of it is not the user's to drop (pure).

use crate::postgres::Sql;

/// Everything that emptying a database drops, in this order, and whether the user may drop it: `number`, `sql`, `name`, `may`.
///
/// What belongs to an extension goes or stays with it. A schema is dropped whole if it is the user's own and holds nothing of
/// an extension that is somebody else's; else what the user may drop in it is dropped piece by piece. What belongs to a
/// provider's own roles is never the user's, also where the provider lets its users be members of them.
fn steps() -> Sql {
    Sql::new(
        r"
WITH owning AS (
    SELECT oid FROM pg_catalog.pg_roles WHERE pg_catalog.pg_has_role(oid, 'USAGE')
      AND (rolname OPERATOR(pg_catalog.=) CURRENT_USER OR NOT rolname OPERATOR(pg_catalog.~) '^(supabase_.*admin|rdsadmin|cloudsqladmin|alloydbadmin|azuresu|cloud_admin)$'
        OR (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) CURRENT_USER))),
member AS (SELECT classid, objid, refobjid AS extension FROM pg_catalog.pg_depend WHERE deptype OPERATOR(pg_catalog.=) 'e'),
foreign_extension AS (SELECT oid, extnamespace FROM pg_catalog.pg_extension WHERE NOT EXISTS (SELECT FROM owning r WHERE r.oid OPERATOR(pg_catalog.=) extowner)),
occupied AS (
    SELECT extnamespace AS oid FROM foreign_extension
  UNION ALL
    SELECT relnamespace FROM pg_catalog.pg_class c JOIN member m ON m.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass AND m.objid OPERATOR(pg_catalog.=) c.oid JOIN foreign_extension e ON e.oid OPERATOR(pg_catalog.=) m.extension
  UNION ALL
    SELECT pronamespace FROM pg_catalog.pg_proc p JOIN member m ON m.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass AND m.objid OPERATOR(pg_catalog.=) p.oid JOIN foreign_extension e ON e.oid OPERATOR(pg_catalog.=) m.extension
  UNION ALL
    SELECT typnamespace FROM pg_catalog.pg_type t JOIN member m ON m.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass AND m.objid OPERATOR(pg_catalog.=) t.oid JOIN foreign_extension e ON e.oid OPERATOR(pg_catalog.=) m.extension),
schema AS (
    SELECT n.oid, nspname, EXISTS (SELECT FROM owning r WHERE r.oid OPERATOR(pg_catalog.=) nspowner) AS mine,
           EXISTS (SELECT FROM owning r WHERE r.oid OPERATOR(pg_catalog.=) nspowner) AND NOT EXISTS (SELECT FROM occupied o WHERE o.oid OPERATOR(pg_catalog.=) n.oid) AS whole
    FROM pg_catalog.pg_namespace n WHERE NOT nspname OPERATOR(pg_catalog.~) '^pg_' AND nspname OPERATOR(pg_catalog.<>) 'information_schema'),
owned AS (
    SELECT 'pg_catalog.pg_class'::pg_catalog.regclass AS class, oid, relnamespace AS namespace, relowner AS owner, 1 AS position FROM pg_catalog.pg_class c
    WHERE relkind OPERATOR(pg_catalog.=) ANY ('{r,p,v,m,S,f,c}') AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid OPERATOR(pg_catalog.=) c.oid AND relkind OPERATOR(pg_catalog.=) 'S' AND deptype OPERATOR(pg_catalog.=) ANY ('{a,i}'))
  UNION ALL
    SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, oid, typnamespace, typowner, 3 FROM pg_catalog.pg_type WHERE typtype OPERATOR(pg_catalog.=) ANY ('{d,e,r}') OR typtype OPERATOR(pg_catalog.=) 'b' AND typcategory OPERATOR(pg_catalog.<>) 'A'
  UNION ALL
    SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, oid, pronamespace, proowner, 2 FROM pg_catalog.pg_proc p WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid OPERATOR(pg_catalog.=) p.oid AND deptype OPERATOR(pg_catalog.=) 'i')
  UNION ALL
    SELECT 'pg_catalog.pg_operator'::pg_catalog.regclass, oid, oprnamespace, oprowner, 4 FROM pg_catalog.pg_operator
  UNION ALL
    SELECT 'pg_catalog.pg_opclass'::pg_catalog.regclass, oid, opcnamespace, opcowner, 4 FROM pg_catalog.pg_opclass
  UNION ALL
    SELECT 'pg_catalog.pg_opfamily'::pg_catalog.regclass, oid, opfnamespace, opfowner, 5 FROM pg_catalog.pg_opfamily
  UNION ALL
    SELECT 'pg_catalog.pg_collation'::pg_catalog.regclass, oid, collnamespace, collowner, 4 FROM pg_catalog.pg_collation
  UNION ALL
    SELECT 'pg_catalog.pg_conversion'::pg_catalog.regclass, oid, connamespace, conowner, 4 FROM pg_catalog.pg_conversion
  UNION ALL
    SELECT 'pg_catalog.pg_ts_config'::pg_catalog.regclass, oid, cfgnamespace, cfgowner, 4 FROM pg_catalog.pg_ts_config
  UNION ALL
    SELECT 'pg_catalog.pg_ts_dict'::pg_catalog.regclass, oid, dictnamespace, dictowner, 5 FROM pg_catalog.pg_ts_dict
  UNION ALL
    SELECT 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass, oid, stxnamespace, stxowner, 4 FROM pg_catalog.pg_statistic_ext),
piece AS (
    SELECT class, o.oid, position, s.mine OR EXISTS (SELECT FROM owning r WHERE r.oid OPERATOR(pg_catalog.=) owner) AS may, s.mine OR nspname OPERATOR(pg_catalog.=) 'public' AS is_told, (pg_catalog.pg_identify_object(class, o.oid, 0)).type AS type, (pg_catalog.pg_identify_object(class, o.oid, 0)).identity AS identity
    FROM owned o JOIN schema s ON s.oid OPERATOR(pg_catalog.=) namespace AND NOT whole),
step AS (
    SELECT 10 AS number, pg_catalog.format('DROP EVENT TRIGGER %I', evtname) AS sql, pg_catalog.format('event trigger %I', evtname) AS name, EXISTS (SELECT FROM owning r WHERE r.oid OPERATOR(pg_catalog.=) evtowner) AS may, 'pg_catalog.pg_event_trigger'::pg_catalog.regclass AS class, oid FROM pg_catalog.pg_event_trigger
  UNION ALL
    SELECT 20, pg_catalog.format('DROP PUBLICATION %I', pubname), pg_catalog.format('publication %I', pubname), EXISTS (SELECT FROM owning r WHERE r.oid OPERATOR(pg_catalog.=) pubowner), 'pg_catalog.pg_publication'::pg_catalog.regclass, oid FROM pg_catalog.pg_publication
  UNION ALL
    SELECT 30, pg_catalog.format('DROP EXTENSION IF EXISTS %I CASCADE', extname), pg_catalog.format('extension %I', extname), EXISTS (SELECT FROM owning r WHERE r.oid OPERATOR(pg_catalog.=) extowner), 0, oid FROM pg_catalog.pg_extension WHERE extname OPERATOR(pg_catalog.<>) 'plpgsql'
  UNION ALL
    SELECT 40, pg_catalog.format('DROP SCHEMA IF EXISTS %I CASCADE', nspname), pg_catalog.format('schema %I', nspname), true, 'pg_catalog.pg_namespace'::pg_catalog.regclass, oid FROM schema WHERE whole
  UNION ALL
    SELECT 41, NULL, pg_catalog.format('schema %I', nspname), false, 'pg_catalog.pg_namespace'::pg_catalog.regclass, oid FROM schema WHERE NOT whole AND nspname OPERATOR(pg_catalog.<>) 'public'
  UNION ALL
    SELECT 50 OPERATOR(pg_catalog.+) position, pg_catalog.format('DROP %s IF EXISTS %s CASCADE', CASE WHEN type OPERATOR(pg_catalog.=) 'composite type' THEN 'TYPE' WHEN type OPERATOR(pg_catalog.=) 'statistics object' THEN 'STATISTICS' ELSE type END, identity), CASE WHEN is_told THEN pg_catalog.format('%s %s', type, identity) END, may, class, oid FROM piece
  UNION ALL
    SELECT 60, pg_catalog.format('DROP SERVER IF EXISTS %I CASCADE', srvname), pg_catalog.format('foreign server %I', srvname), EXISTS (SELECT FROM owning r WHERE r.oid OPERATOR(pg_catalog.=) srvowner), 'pg_catalog.pg_foreign_server'::pg_catalog.regclass, oid FROM pg_catalog.pg_foreign_server
  UNION ALL
    SELECT 61, pg_catalog.format('DROP FOREIGN DATA WRAPPER IF EXISTS %I CASCADE', fdwname), pg_catalog.format('foreign-data wrapper %I', fdwname), EXISTS (SELECT FROM owning r WHERE r.oid OPERATOR(pg_catalog.=) fdwowner), 'pg_catalog.pg_foreign_data_wrapper'::pg_catalog.regclass, oid FROM pg_catalog.pg_foreign_data_wrapper
  UNION ALL
    SELECT 70, pg_catalog.format('DROP CAST IF EXISTS (%s AS %s)', pg_catalog.format_type(castsource, NULL), pg_catalog.format_type(casttarget, NULL)), pg_catalog.format('cast (%s AS %s)', pg_catalog.format_type(castsource, NULL), pg_catalog.format_type(casttarget, NULL)), (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) CURRENT_USER), 'pg_catalog.pg_cast'::pg_catalog.regclass, c.oid
    FROM pg_catalog.pg_cast c
    WHERE c.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
      AND EXISTS (SELECT FROM pg_catalog.pg_type WHERE oid OPERATOR(pg_catalog.=) castsource AND typnamespace OPERATOR(pg_catalog.=) 'pg_catalog'::pg_catalog.regnamespace)
      AND EXISTS (SELECT FROM pg_catalog.pg_type WHERE oid OPERATOR(pg_catalog.=) casttarget AND typnamespace OPERATOR(pg_catalog.=) 'pg_catalog'::pg_catalog.regnamespace)
  UNION ALL
    SELECT 80, pg_catalog.format('DROP LANGUAGE IF EXISTS %I CASCADE', lanname), pg_catalog.format('language %I', lanname), EXISTS (SELECT FROM owning r WHERE r.oid OPERATOR(pg_catalog.=) lanowner), 'pg_catalog.pg_language'::pg_catalog.regclass, oid FROM pg_catalog.pg_language WHERE lanispl AND lanname OPERATOR(pg_catalog.<>) 'plpgsql'
  UNION ALL
    SELECT 81, pg_catalog.format('DROP ACCESS METHOD IF EXISTS %I CASCADE', amname), pg_catalog.format('access method %I', amname), (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) CURRENT_USER), 'pg_catalog.pg_am'::pg_catalog.regclass, oid FROM pg_catalog.pg_am WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid
  UNION ALL
    SELECT 90, pg_catalog.format('SELECT pg_catalog.lo_unlink(%s)', oid), pg_catalog.format('large object %s', oid), EXISTS (SELECT FROM owning r WHERE r.oid OPERATOR(pg_catalog.=) lomowner), 0, oid FROM pg_catalog.pg_largeobject_metadata)
SELECT number, sql, name, may FROM step
WHERE NOT EXISTS (SELECT FROM member m WHERE m.classid OPERATOR(pg_catalog.=) step.class::pg_catalog.oid AND m.objid OPERATOR(pg_catalog.=) step.oid)",
    )
}

/// What stays when this user empties the database: an object with the `names` of everything else than schemas, the names of
/// the `schemas`, and how many there are of both (`count`).
pub(super) fn stays() -> Sql {
    Sql::new("SELECT pg_catalog.json_build_object('count', pg_catalog.count(*), 'names', COALESCE(pg_catalog.json_agg(name ORDER BY number, name), '[]')) FROM (SELECT number, name FROM (")
        .piece(&steps())
        .sql(") steps WHERE NOT may AND name IS NOT NULL ORDER BY number, name LIMIT 20000) few")
}

/// Empties a database within the transaction of the restore: either the backup is there afterwards, or what was there. What
/// the user may not drop stays.
#[must_use]
pub fn clean() -> Sql {
    Sql::new(
        r"
SET lock_timeout = '60s';
SET client_min_messages = warning;
DO $clean$
DECLARE
    statement pg_catalog.text;
BEGIN
    FOR statement IN
        SELECT sql FROM (",
    )
    .piece(&steps())
    .sql(
        r") steps WHERE may AND sql IS NOT NULL ORDER BY number
    LOOP
        EXECUTE statement;
    END LOOP;
    -- As initdb leaves it, which is what a dump takes for granted. One that is somebody else's is still there.
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname OPERATOR(pg_catalog.=) 'public') THEN
        CREATE SCHEMA public;
        COMMENT ON SCHEMA public IS 'standard public schema';
        IF pg_catalog.current_setting('server_version_num')::integer OPERATOR(pg_catalog.<) 150000 THEN
            GRANT ALL ON SCHEMA public TO PUBLIC;
        ELSE
            IF pg_catalog.pg_has_role('pg_database_owner', 'MEMBER') THEN
                ALTER SCHEMA public OWNER TO pg_database_owner;
            END IF;
            GRANT USAGE ON SCHEMA public TO PUBLIC;
        END IF;
    END IF;
END
$clean$;
RESET client_min_messages;
",
    )
}
