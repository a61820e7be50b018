//! Compares what was restored with what was dumped.

use super::DrillError;
use super::obstacle::Obstacle;
use super::scratch::{DrillHost, LIMIT, Scratch};
use crate::postgres::Sql;
use crate::reader::Summary;
use stream::script::{TableName, Unchecked};

/// Counts the rows of every table and compares them with the rows in the dump. Then every constraint and every index must be
/// valid.
pub(super) async fn compare(
    host: &DrillHost<'_>,
    scratch: &Scratch,
    summary: &Summary,
) -> Result<usize, DrillError> {
    let mut differences = Vec::new();
    let encoding = summary.needs.encoding.as_deref();
    let tables: Vec<(&TableName, u64)> = summary
        .contents
        .tables
        .iter()
        .map(|(name, rows)| (name, *rows))
        .collect();
    let mut hidden = Vec::new();
    let mut compared: usize = 0;
    if !host.is_superuser {
        show_owners_their_rows(host, scratch).await;
    }
    // The tables are counted in groups, so that a database with many tables does not need a statement of many megabytes.
    for tables in tables.chunks(500) {
        let counts = scratch
            .ask(host, &counts_question(tables, encoding))
            .await?;
        for line in counts.lines() {
            let mut fields = line.split('\t');
            let at = fields.next().and_then(|at| at.parse::<usize>().ok());
            let (Some((name, rows)), Some(found)) =
                (at.and_then(|at| tables.get(at)), fields.next())
            else {
                continue;
            };
            match found.parse::<u64>() {
                Ok(count) => {
                    compared = compared.saturating_add(1);
                    if count != *rows {
                        differences.push(format!("{name} holds {count} rows, {rows} were dumped"));
                    }
                }
                Err(_) if found == "extension" => {}
                Err(_) if found == "hidden" => hidden.push(name.to_string()),
                Err(_) => differences.push(format!("{name} is {found}, {rows} rows were dumped")),
            }
        }
    }
    let question = unchecked_constraints(&summary.unchecked_constraints, encoding);
    let unchecked = scratch.names(host, &question).await?;
    if !unchecked.is_empty() {
        differences.push(format!(
            "constraints that are not valid: {}",
            unchecked.join(", ")
        ));
    }
    let invalid = scratch.names(host, &invalid_indexes()).await?;
    if !invalid.is_empty() {
        differences.push(format!(
            "indexes that are not valid: {}",
            invalid.join(", ")
        ));
    }
    if !differences.is_empty() {
        return Err(DrillError::Unequal(some(differences, "; ")));
    }
    if !hidden.is_empty() {
        return Err(Obstacle::hidden(&some(hidden, ", ")).into());
    }
    match uncounted(summary, compared) {
        Some(what) => Err(Obstacle::uncounted(what).into()),
        None => Ok(compared),
    }
}

/// The part of a dump that is not counted, and so not proven.
fn uncounted(summary: &Summary, compared: usize) -> Option<String> {
    let contents = &summary.contents;
    let named = contents
        .tables
        .values()
        .fold(0, |sum: u64, rows| sum.saturating_add(*rows));
    if contents.has_more_tables {
        return Some("it holds more tables than are counted one by one".to_owned());
    }
    if summary.has_more_unchecked {
        return Some("it declares more constraints NOT VALID than are kept in mind".to_owned());
    }
    if contents.rows > named {
        let rows = contents.rows.saturating_sub(named);
        return Some(format!(
            "{rows} rows in the dump are of no table that is counted"
        ));
    }
    (contents.rows > 0 && compared == 0)
        .then(|| format!("none of its {} rows could be counted", contents.rows))
}

/// The first ten entries, and how many more there are.
fn some(mut list: Vec<String>, between: &str) -> String {
    let more = list.len().saturating_sub(10);
    list.truncate(10);
    let mut text = list.join(between);
    if more > 0 {
        text.push_str(&format!("{between}and {more} more"));
    }
    text
}

/// Lets the owners of tables see all rows, as they do without `FORCE ROW LEVEL SECURITY`. In the scratch database, the
/// drill's user owns the tables. If rows are still hidden, the count notices that.
async fn show_owners_their_rows(host: &DrillHost<'_>, scratch: &Scratch) {
    let statements = Sql::new(
        "DO $force$\nDECLARE\n    statement pg_catalog.text;\nBEGIN\n    FOR statement IN\n        SELECT pg_catalog.format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY', oid::pg_catalog.regclass) FROM pg_catalog.pg_class WHERE relrowsecurity AND relforcerowsecurity AND pg_catalog.pg_has_role(relowner, 'USAGE')\n    LOOP\n        EXECUTE statement;\n    END LOOP;\nEND\n$force$;",
    );
    if let Err(error) = scratch.database(host).change(&statements, LIMIT).await {
        tracing::debug!(%error, "row-level security stays as it is");
    }
}

/// The constraints that are not valid although the dump does not declare them NOT VALID, nor a constraint that they inherit:
/// partitions and children have the constraints of their parents, and a foreign key has a part for each partition on either
/// side. A constraint that is not enforced at all (since 18) can't be valid.
///
/// An inherited constraint has the same name, except for `NOT NULL`, which is recognized by its column.
fn unchecked_constraints(declared: &[Unchecked], encoding: Option<&str>) -> Sql {
    let encoding = encoding.unwrap_or("UTF8");
    let mut question = Sql::new(
        r"
WITH RECURSIVE expected AS (
    SELECT c.oid FROM declared d JOIN pg_catalog.pg_constraint c ON conrelid OPERATOR(pg_catalog.=) class AND contypid OPERATOR(pg_catalog.=) type AND conname OPERATOR(pg_catalog.=) name
  UNION
    SELECT h.child FROM expected e JOIN heir h ON h.parent OPERATOR(pg_catalog.=) e.oid),
heir AS (
    SELECT conparentid AS parent, c.oid AS child FROM pg_catalog.pg_constraint c WHERE conparentid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
  UNION ALL
    SELECT p.oid, c.oid FROM pg_catalog.pg_inherits
    JOIN pg_catalog.pg_constraint p ON p.conrelid OPERATOR(pg_catalog.=) inhparent
    JOIN pg_catalog.pg_constraint c ON c.conrelid OPERATOR(pg_catalog.=) inhrelid AND c.contype OPERATOR(pg_catalog.=) p.contype
    WHERE p.contype OPERATOR(pg_catalog.=) 'c' AND c.conname OPERATOR(pg_catalog.=) p.conname
       OR p.contype OPERATOR(pg_catalog.=) 'n' AND EXISTS (
          SELECT FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_attribute b ON a.attname OPERATOR(pg_catalog.=) b.attname
          WHERE a.attrelid OPERATOR(pg_catalog.=) p.conrelid AND a.attnum OPERATOR(pg_catalog.=) p.conkey[1]
            AND b.attrelid OPERATOR(pg_catalog.=) c.conrelid AND b.attnum OPERATOR(pg_catalog.=) c.conkey[1])),
found AS (
    SELECT pg_catalog.json_agg(CASE WHEN conrelid OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN pg_catalog.format('%s.%I', contypid::pg_catalog.regtype, conname) ELSE pg_catalog.format('%s.%I', conrelid::pg_catalog.regclass, conname) END ORDER BY conrelid, contypid, conname)
    FROM pg_catalog.pg_constraint c
    WHERE NOT convalidated AND COALESCE(pg_catalog.to_jsonb(c) OPERATOR(pg_catalog.->>) 'conenforced', 'true') OPERATOR(pg_catalog.<>) 'false'
      AND NOT EXISTS (SELECT FROM expected e WHERE e.oid OPERATOR(pg_catalog.=) c.oid)),
declared AS (
    SELECT CASE WHEN is_domain THEN 0::pg_catalog.oid ELSE pg_catalog.to_regclass(pg_catalog.convert_from(pg_catalog.decode(object, 'hex'), ",
    )
    .text(encoding)
    .sql("))::pg_catalog.oid END AS class, CASE WHEN is_domain THEN pg_catalog.to_regtype(pg_catalog.convert_from(pg_catalog.decode(object, 'hex'), ")
    .text(encoding)
    .sql("))::pg_catalog.oid ELSE 0::pg_catalog.oid END AS type, pg_catalog.convert_from(pg_catalog.decode(name, 'hex'), ")
    .text(encoding)
    // A list of values needs at least one row.
    .sql(")::pg_catalog.name AS name FROM (VALUES (false, NULL::pg_catalog.text, NULL::pg_catalog.text)");
    for unchecked in declared {
        question = question
            .sql(if unchecked.is_of_domain {
                ", (true, "
            } else {
                ", (false, "
            })
            .hex(unchecked.of.as_bytes())
            .sql(", ")
            .hex(&unchecked.name)
            .sql(")");
    }
    question.sql(") AS v (is_domain, object, name)) TABLE found;")
}

/// The index of a partitioned table is only a parent, and is invalid while a partition lacks its part, so it is left out.
fn invalid_indexes() -> Sql {
    Sql::new(
        "SELECT pg_catalog.json_agg(indexrelid::pg_catalog.regclass::pg_catalog.text ORDER BY indexrelid) FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) indexrelid WHERE NOT indisvalid AND relkind OPERATOR(pg_catalog.=) 'i';",
    )
}

/// Counts the rows of each of these tables. In place of a number, the answer can be `missing`, `hidden`, or `extension` for
/// a table whose rows need not all come from the dump. Only a parent's own rows are counted, not those of its children,
/// except that a partitioned table has no rows of its own.
///
/// The names are sent as the dump spells them, in its encoding. The server looks up the tables, and spells the names itself
/// in the statements that count.
fn counts_question(tables: &[(&TableName, u64)], encoding: Option<&str>) -> Sql {
    let encoding = encoding.unwrap_or("UTF8");
    let mut question = Sql::new(
        "SELECT v.at, CASE WHEN c.oid IS NULL THEN 'missing' WHEN EXISTS (SELECT FROM pg_catalog.pg_depend WHERE classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass AND objid OPERATOR(pg_catalog.=) c.oid AND deptype OPERATOR(pg_catalog.=) 'e') THEN 'extension' WHEN pg_catalog.row_security_active(c.oid) THEN 'hidden' ELSE pg_catalog.substring(pg_catalog.query_to_xml(pg_catalog.format('SELECT pg_catalog.count(*) AS c FROM %s %s', CASE WHEN relkind OPERATOR(pg_catalog.=) 'p' THEN '' ELSE 'ONLY' END, c.oid::pg_catalog.regclass), false, true, '')::pg_catalog.text, '<c>([0-9]+)</c>') END FROM (VALUES ",
    );
    for (at, (name, _)) in (0_u64..).zip(tables) {
        question = question
            .sql(if at > 0 { ", (" } else { "(" })
            .number(at)
            .sql(", ")
            .hex(name.as_bytes())
            .sql(")");
    }
    question
        .sql(") AS v (at, name) LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(pg_catalog.convert_from(pg_catalog.decode(v.name, 'hex'), ")
        .text(encoding)
        .sql("))::pg_catalog.oid;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use stream::script::Script;

    #[test]
    fn what_is_not_counted_is_told() {
        let check = |text: &str, compared, expected: Option<&str>| {
            let mut script = Script::default();
            script.read(text.as_bytes());
            let summary = Summary {
                contents: script.contents(),
                ..Summary::default()
            };
            assert_eq!(uncounted(&summary, compared).as_deref(), expected, "{text}");
        };
        let rows = "COPY public.t (a) FROM stdin;\n1\n2\n\\.\n";
        check("SELECT 1;\n", 0, None);
        check("COPY public.t (a) FROM stdin;\n\\.\n", 0, None);
        check(rows, 1, None);
        check(rows, 0, Some("none of its 2 rows could be counted"));
        let mut summary = Summary::default();
        summary.contents.rows = 5;
        let said = uncounted(&summary, 3).unwrap();
        assert!(said.starts_with("5 rows in the dump"), "{said}");
        summary.contents.has_more_tables = true;
        assert!(uncounted(&summary, 3).unwrap().contains("more tables"));
    }

    #[test]
    fn tables_are_counted_by_what_they_are() {
        let mut script = Script::default();
        script.read(b"COPY public.t (a) FROM stdin;\n\\.\nCOPY public.\"it's\xe9\" (a) FROM stdin;\n\\.\nCOPY x.x (a) FROM stdin;\n\\.\n");
        let contents = script.contents();
        let tables: Vec<(&TableName, u64)> = contents
            .tables
            .iter()
            .map(|(name, rows)| (name, *rows))
            .collect();
        let question = counts_question(&tables, Some("LATIN1"));
        let question = String::from_utf8(question.as_bytes().to_vec()).unwrap();
        assert!(
            question.contains("(0, '7075626c69632e226974277320e922')")
                || question.contains("(0, '7075626c69632e2269742773e922')"),
            "{question}"
        );
        assert!(question.contains("'LATIN1'"), "{question}");
    }
}
