//! A dump on its way back into a database. Lines that would disturb the restore are left out, and what the dump needs of the
//! server is noted.
//!
//! `pg_dump` wraps the data of large objects into `BEGIN;` and `COMMIT;` of their own, and with `--create` it connects to
//! another database; since August 2025 it switches off `psql`'s own commands with `\restrict`, which a restore does itself.
//! Such lines are left out if they are one whole statement or command between two others. So are statements of several lines,
//! if they begin at the beginning of a line, end at the end of one, and are short. Everything else is passed on, even if no
//! dump would hold it: a restore does not rely on this reader to find dangerous text, because a reader can be wrong.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::script::Script;

mod handling;
mod needs;
pub mod skip;

use handling::{Handling, clashes, handling_of, words};
pub use needs::Needs;
use needs::{NAME_BYTES, note_names};
pub use skip::Skip;

/// A longer line is passed on without being examined: the lines that matter are short.
const LINE_BYTES: usize = 64 * 1024;

/// A longer statement of several lines is passed on without being examined.
const STATEMENT_BYTES: usize = 1024 * 1024;

/// What else is left out of a dump, besides the lines that would disturb the restore.
#[derive(Debug, Clone, Default)]
pub struct Omit {
    /// `ALTER … OWNER TO …`
    pub owners: bool,
    /// `GRANT`, `REVOKE` and `ALTER DEFAULT PRIVILEGES`
    pub privileges: bool,
    /// `SET transaction_timeout`, which `pg_dump` 17 and newer writes and servers before 17 refuse.
    pub transaction_timeout: bool,
    /// Kinds of objects that are left out with all the statements about them.
    pub skip: Skip,
    /// `CREATE SCHEMA public`, because this schema already exists.
    pub public_schema: bool,
    /// The comment on the schema `public`, which only its owner may set.
    pub public_comment: bool,
    /// The tablespaces that may be used. In place of any other, the default one is used. `None` means that all may be used.
    pub tablespaces: Option<Arc<BTreeSet<String>>>,
    /// The line that empties the search path, because another one was set before the dump.
    pub search_path: bool,
    /// Whether the `BEGIN` and `COMMIT` around the data of large objects are kept, because the restore has no transaction
    /// around them.
    pub keeps_transactions: bool,
}

/// Reads a dump piece by piece, and passes on the text that may reach `psql`.
#[derive(Debug, Default)]
pub struct Replay {
    script: Script,
    omit: Omit,
    needs: Needs,
    /// The beginning of a line that follows a whole statement, until the line is whole.
    held: Vec<u8>,
    /// A statement of more than one line, until it is whole.
    longer: Option<Longer>,
    inside_line: bool,
    /// How many statements about transactions and client commands were left out.
    left_out: (u64, u64),
    /// The schema of TimescaleDB, as the dump spells it, as soon as the dump has created the extension.
    timescaledb: Option<String>,
}

/// A statement of more than one line that may be left out, and the rest of its last line.
#[derive(Debug)]
struct Longer {
    text: Vec<u8>,
    /// The counts before it.
    before: Counts,
    is_ended: bool,
}

/// How many statements, commands and so on there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    statements: u64,
    transaction_statements: u64,
    client_commands: u64,
}

impl Counts {
    const fn of(script: &Script) -> Self {
        Self {
            statements: script.statements(),
            transaction_statements: script.transaction_statements(),
            client_commands: script.client_commands(),
        }
    }

    const fn since(self, before: Self) -> Self {
        Self {
            statements: self.statements.saturating_sub(before.statements),
            transaction_statements: self
                .transaction_statements
                .saturating_sub(before.transaction_statements),
            client_commands: self.client_commands.saturating_sub(before.client_commands),
        }
    }
}

impl Replay {
    /// A replay that leaves these things out.
    #[must_use]
    pub fn new(omit: Omit) -> Self {
        Self {
            omit,
            ..Self::default()
        }
    }

    /// A replay of what `pg_dumpall --globals-only` wrote.
    #[must_use]
    pub fn of_globals() -> Self {
        Self {
            script: Script::of_globals(),
            ..Self::default()
        }
    }

    /// Takes the next piece, and appends the text that may reach `psql` to `passed`.
    pub fn read(&mut self, mut piece: &[u8], passed: &mut Vec<u8>) {
        if !self.needs.has_letters_beyond_ascii {
            self.needs.has_letters_beyond_ascii = !piece.is_ascii();
        }
        while !piece.is_empty() {
            if let Some(longer) = self.longer.take() {
                let taken = self.read_longer(longer, piece, passed);
                piece = piece.get(taken..).unwrap_or_default();
            } else if self.inside_line || !self.script.is_between_statements() {
                let taken = self.script.read_statement(piece);
                let (read, rest) = piece.split_at(taken.min(piece.len()));
                piece = rest;
                self.inside_line = read.last() != Some(&b'\n');
                passed.extend_from_slice(read);
            } else {
                let end = memchr::memchr(b'\n', piece).map(|end| end.saturating_add(1));
                let (read, rest) = piece.split_at(end.unwrap_or(piece.len()));
                piece = rest;
                self.held.extend_from_slice(read);
                if end.is_none() && self.held.len() < LINE_BYTES {
                    return;
                }
                self.read_line(end.is_some(), passed);
            }
        }
    }

    /// Ends the replay: text that was held back is passed on.
    pub fn end(&mut self, passed: &mut Vec<u8>) {
        if !self.held.is_empty() {
            self.read_line(true, passed);
        }
        if let Some(longer) = self.longer.take() {
            self.handle_longer(longer, passed);
        }
        if let Some(schema) = self.timescaledb.take() {
            let after = format!("\nSELECT {schema}.timescaledb_post_restore();\n");
            passed.extend_from_slice(after.as_bytes());
        }
    }

    /// The script, as far as it was read.
    #[must_use]
    pub const fn script(&self) -> &Script {
        &self.script
    }

    /// What the dump needs, as far as it was read.
    #[must_use]
    pub const fn needs(&self) -> &Needs {
        &self.needs
    }

    /// How many statements about transactions were passed on. A dump by `pg_dump` holds none.
    #[must_use]
    pub const fn transaction_statements(&self) -> u64 {
        let all = self.script.transaction_statements();
        all.saturating_sub(self.left_out.0)
    }

    /// How many commands to `psql` itself were passed on. A dump by `pg_dump` holds none.
    #[must_use]
    pub const fn client_commands(&self) -> u64 {
        let all = self.script.client_commands();
        all.saturating_sub(self.left_out.1)
    }

    /// Reads the line that was held back, and decides whether it is passed on.
    fn read_line(&mut self, is_whole: bool, passed: &mut Vec<u8>) {
        let line = std::mem::take(&mut self.held);
        let before = Counts::of(&self.script);
        self.script.read(&line);
        let found = Counts::of(&self.script).since(before);
        self.inside_line = line.last() != Some(&b'\n');
        let text = String::from_utf8_lossy(&line);
        let verdict = if self.script.is_between_statements() {
            match (found.statements, found.client_commands) {
                (0, 1) if is_whole && clashes(&text) => Handling::LeftOut,
                (1, 0) if is_whole => handling_of(text.trim(), &self.omit, &mut self.needs),
                _ => Handling::Passed,
            }
        } else {
            if self.script.copying().is_none() {
                let words = words(text.trim());
                let is_one = found == Counts::default() && !self.inside_line;
                if is_whole && is_one && skip::may_be_left_out(&words) {
                    self.longer = Some(Longer {
                        text: line,
                        before,
                        is_ended: false,
                    });
                    return;
                }
                // The first line of a longer statement can name a role too.
                note_names(&words, &mut self.needs);
            }
            Handling::Passed
        };
        let is_statement = verdict == Handling::Passed && found.statements == 1;
        self.carry_out(verdict, found, &line, passed);
        if is_whole && is_statement && self.script.is_between_statements() {
            self.prepare_timescaledb(text.trim(), passed);
        }
    }

    /// Continues to read a statement of several lines, and returns how much of the piece that took.
    fn read_longer(&mut self, mut longer: Longer, piece: &[u8], passed: &mut Vec<u8>) -> usize {
        let end = memchr::memchr(b'\n', piece).map(|end| end.saturating_add(1));
        let taken = if longer.is_ended {
            let rest = end.unwrap_or(piece.len());
            self.script.read(piece.get(..rest).unwrap_or_default());
            rest
        } else {
            self.script.read_statement(piece)
        };
        longer
            .text
            .extend_from_slice(piece.get(..taken).unwrap_or_default());
        if longer.is_ended && end.is_some() || longer.text.len() > STATEMENT_BYTES {
            self.handle_longer(longer, passed);
        } else {
            longer.is_ended |= self.script.is_between_statements();
            self.longer = Some(longer);
        }
        taken
    }

    /// Decides whether a statement of several lines that was held back is passed on.
    fn handle_longer(&mut self, longer: Longer, passed: &mut Vec<u8>) {
        let found = Counts::of(&self.script).since(longer.before);
        let is_one = (found.statements, found.client_commands) == (1, 0);
        self.inside_line = longer.text.last() != Some(&b'\n');
        let text = String::from_utf8_lossy(&longer.text);
        let verdict = if is_one && longer.is_ended && self.script.is_between_statements() {
            handling_of(text.trim(), &self.omit, &mut self.needs)
        } else {
            Handling::Passed
        };
        self.carry_out(verdict, found, &longer.text, passed);
    }

    fn carry_out(&mut self, verdict: Handling, found: Counts, text: &[u8], passed: &mut Vec<u8>) {
        match verdict {
            Handling::Passed => passed.extend_from_slice(text),
            Handling::Replaced(other) => passed.extend_from_slice(other.as_bytes()),
            Handling::LeftOut => {
                self.left_out.0 = self.left_out.0.saturating_add(found.transaction_statements);
                self.left_out.1 = self.left_out.1.saturating_add(found.client_commands);
            }
        }
    }

    /// Prepares TimescaleDB for its tables, which it wants before and after their restore: otherwise it takes the rows of its
    /// catalog for new ones, and finds no hypertable. Its functions are in its own schema.
    fn prepare_timescaledb(&mut self, line: &str, passed: &mut Vec<u8>) {
        let schema = match words(line).as_slice() {
            [
                "CREATE",
                "EXTENSION",
                "IF",
                "NOT",
                "EXISTS",
                "timescaledb",
                "WITH",
                "SCHEMA",
                schema,
                ";",
            ] => (*schema).to_owned(),
            _ => return,
        };
        if self.timescaledb.is_none() && schema.len() <= NAME_BYTES {
            let before = format!("SELECT {schema}.timescaledb_pre_restore();\n");
            passed.extend_from_slice(before.as_bytes());
            self.timescaledb = Some(schema);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::handling::EMPTY_SEARCH_PATH;
    use super::needs::NAMES;
    use super::*;

    fn replay(text: &[u8], omit: Omit, step: usize) -> (Vec<u8>, Replay) {
        let mut replay = Replay::new(omit);
        let mut passed = Vec::new();
        for piece in text.chunks(step) {
            replay.read(piece, &mut passed);
        }
        replay.end(&mut passed);
        assert_eq!(
            replay.script().position().0,
            u64::try_from(text.len()).unwrap()
        );
        (passed, replay)
    }

    fn check(text: &str, omit: Omit, expected: &str) -> Needs {
        let mut found = None;
        for step in [1, 2, 7, 100_000] {
            let (passed, replay) = replay(text.as_bytes(), omit.clone(), step);
            assert_eq!(String::from_utf8(passed).unwrap(), expected, "step {step}");
            found = Some(replay.needs);
        }
        found.unwrap()
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_would_end_the_transaction_is_left_out() {
        let text = "\\restrict k\n-- BEGIN;\nSET x = 0;\nBEGIN;\n\nSELECT pg_catalog.lo_open('1', 131072);\nCOMMIT;\n\
            COPY public.t (a) FROM stdin;\nBEGIN;\nCOMMIT;\n\\connect x\n\\restrict y\n\\.\n\nSELECT 'a\nCOMMIT;\n\\restrict z\n';\nSELECT $$\nBEGIN;\n$$;\n\\unrestrict k\n";
        let expected = text
            .replacen("\\restrict k\n", "", 1)
            .replacen("SET x = 0;\nBEGIN;\n", "SET x = 0;\n", 1)
            .replacen("131072);\nCOMMIT;\n", "131072);\n", 1)
            .replacen("\\unrestrict k\n", "", 1);
        check(text, Omit::default(), &expected);
        for step in [1, 7, 1000] {
            let (_, replay) = replay(text.as_bytes(), Omit::default(), step);
            assert_eq!(replay.transaction_statements(), 0);
            assert_eq!(replay.client_commands(), 0);
        }
    }

    #[test]
    fn another_database_is_not_entered() {
        let text = "\\restrict k\nDROP DATABASE shop;\nCREATE DATABASE shop WITH TEMPLATE = template0;\nALTER DATABASE shop OWNER TO o;\n\
            \\unrestrict k\n\\encoding SQL_ASCII\n\\connect shop\n\\restrict k\nCOMMENT ON DATABASE shop IS 'a';\nGRANT ALL ON DATABASE shop TO o;\n\
            REVOKE CONNECT,TEMPORARY ON DATABASE shop FROM PUBLIC;\nALTER ROLE o IN DATABASE shop SET work_mem TO '8MB';\nSELECT 1;\n";
        let needs = check(text, Omit::default(), "SELECT 1;\n");
        assert_eq!(needs, Needs::default());
    }

    #[test]
    fn everything_else_is_passed_on_and_counted() {
        for (text, transactions, commands) in [
            ("\\! true\n", 0, 1),
            ("  \\copy t from program 'true'\n", 0, 1),
            ("SELECT 1 \\gexec\n", 0, 1),
            ("SELECT 1\n\\! true\n;\n", 0, 1),
            ("SELECT 1\n\\restrict k\n;\n", 0, 1),
            (
                " \\restrict k\n\\restrict k l\n\\restrict\n\\restrictk k\n",
                0,
                4,
            ),
            ("SELECT 1; COMMIT;\n", 1, 0),
            ("COMMIT; SELECT 1;\n", 1, 0),
            ("BEGIN; -- x\n", 1, 0),
            ("commit;\n", 1, 0),
            ("ROLLBACK;\n", 1, 0),
            ("COMMIT\n;\n", 1, 0),
            ("/* */ COMMIT;\n", 1, 0),
            ("BEGIN ISOLATION LEVEL SERIALIZABLE;\n", 1, 0),
            // A statement beside it would be lost with it.
            ("DROP DATABASE x; INSERT INTO t VALUES (1);\n", 0, 0),
            ("CREATE DATABASE x\n;\n", 0, 0),
            // A line that a reader who lost his way takes for a statement.
            ("SELECT 1 \0;\nBEGIN;\n\\restrict k\n", 0, 0),
        ] {
            for step in [1, 5, 1000] {
                let (passed, replay) = replay(text.as_bytes(), Omit::default(), step);
                assert_eq!(passed, text.as_bytes(), "{text:?} step {step}");
                assert_eq!(
                    replay.transaction_statements(),
                    transactions,
                    "{text:?} step {step}"
                );
                assert_eq!(replay.client_commands(), commands, "{text:?} step {step}");
            }
        }
    }

    #[test]
    fn names_are_kept_up_to_a_limit() {
        let text: String = (0..NAMES + 1)
            .map(|n| format!("CREATE EXTENSION e{n};\nALTER TABLE t OWNER TO r{n};\n"))
            .collect();
        let (passed, Replay { needs, .. }) = replay(text.as_bytes(), Omit::default(), 10_000);
        assert_eq!(passed, text.as_bytes());
        assert_eq!((needs.extensions.len(), needs.roles.len()), (NAMES, NAMES));
        assert!(needs.has_more);
        let text = format!("ALTER TABLE t OWNER TO {};\n", "r".repeat(NAME_BYTES + 1));
        let needs = check(&text, Omit::default(), &text);
        assert!(needs.roles.is_empty() && needs.has_more);
    }

    #[test]
    fn owners_privileges_and_the_timeout_are_left_out_on_demand() {
        let kept = "SET lock_timeout = 0;\nCREATE TABLE public.t (\n    a text DEFAULT 'x OWNER TO y;'\n);\n";
        let text = format!(
            "SET transaction_timeout = 0;\n{kept}ALTER TABLE public.t OWNER TO app;\nALTER FUNCTION public.f(a text, b text) OWNER TO \"My \"\"Role\";\n\
             GRANT SELECT(a, b),UPDATE(a) ON TABLE public.t TO reader WITH GRANT OPTION;\nREVOKE ALL ON SCHEMA public FROM PUBLIC;\n\
             SET SESSION AUTHORIZATION granter;\nGRANT SELECT ON TABLE public.t TO \"PUBLIC\";\nRESET SESSION AUTHORIZATION;\n\
             ALTER DEFAULT PRIVILEGES FOR ROLE maker IN SCHEMA public GRANT SELECT ON TABLES TO user_of_it;\n"
        );
        let needs = check(
            &text,
            Omit {
                owners: true,
                privileges: true,
                transaction_timeout: true,
                ..Omit::default()
            },
            kept,
        );
        assert_eq!(
            needs.roles,
            names(&[
                "My \"Role",
                "PUBLIC",
                "app",
                "granter",
                "maker",
                "reader",
                "user_of_it"
            ])
        );
        assert_eq!(check(&text, Omit::default(), &text), needs);
    }

    #[test]
    fn the_search_path_is_left_out_on_demand_and_limits_always() {
        let limits = "SET statement_timeout = 0;\nSET statement_timeout = 5000;\nSET lock_timeout TO '5s';\nSET idle_session_timeout = '0';\n";
        let kept = "SET statement_timeout = 0;\nSET idle_session_timeout = '0';\n";
        let path = format!("{EMPTY_SEARCH_PATH}\n");
        // Exactly this line, where it is a statement of its own.
        let others = "SELECT pg_catalog.set_config('search_path', 'x', false);\nSELECT $$\nSELECT pg_catalog.set_config('search_path', '', false);\n$$;\n";
        let text = format!("{limits}{path}{others}");
        check(&text, Omit::default(), &format!("{kept}{path}{others}"));
        let without = Omit {
            search_path: true,
            ..Omit::default()
        };
        check(&text, without, &format!("{kept}{others}"));
    }

    #[test]
    fn extensions_and_other_names_are_noted() {
        let text = "SET client_encoding = 'LATIN1';\nCREATE EXTENSION IF NOT EXISTS \"uuid-ossp\" WITH SCHEMA public;\nCREATE EXTENSION vector;\n\
            CREATE POLICY p ON public.t FOR SELECT TO reader, \"x y\" USING (true);\nCREATE POLICY q ON public.t TO late USING ((a =\n 'x'));\n\
            CREATE USER MAPPING FOR mapped SERVER s OPTIONS (\n    \"user\" 'x'\n);\nCREATE USER MAPPING FOR PUBLIC SERVER s;\nCOPY public.t (a) FROM stdin;\nCREATE EXTENSION fake;\n\\.\n";
        let needs = check(text, Omit::default(), text);
        assert_eq!(needs.encoding.as_deref(), Some("LATIN1"));
        assert_eq!(needs.extensions, names(&["uuid-ossp", "vector"]));
        assert_eq!(
            needs.named_roles,
            names(&["late", "mapped", "reader", "x y"])
        );
    }

    #[test]
    fn what_the_target_has_or_lacks_is_left_out() {
        let kept = "CREATE SCHEMA app;\nCOMMENT ON SCHEMA app IS 'a\nb';\nCREATE EXTENSION IF NOT EXISTS x WITH SCHEMA public;\n";
        let text = format!(
            "CREATE SCHEMA public;\nCOMMENT ON SCHEMA public IS 'two\nlines';\n{kept}COMMENT ON EXTENSION x IS 'one';\nCOMMENT ON EXTENSION y IS 'it''s\nCOMMIT;\nlong';\nALTER TABLE public.\"a\nb\" OWNER TO app;\n\
             SET default_tablespace = fast;\nSET default_tablespace = '';\nSET default_tablespace = \"Slow one\";\n"
        );
        let there = BTreeSet::from(["Slow one".to_owned()]);
        let omit = Omit {
            owners: true,
            public_schema: true,
            public_comment: true,
            tablespaces: Some(Arc::new(there)),
            ..Omit::default()
        };
        let tablespaces = "SET default_tablespace = '';\nSET default_tablespace = '';\nSET default_tablespace = \"Slow one\";\n";
        let needs = check(&text, omit, &format!("{kept}{tablespaces}"));
        assert_eq!(needs.schemas, names(&["app"]));
        assert_eq!(needs.tablespaces, names(&["Slow one", "fast"]));
        assert_eq!(needs.owners, names(&["app"]));
        let comments =
            "COMMENT ON EXTENSION x IS 'one';\nCOMMENT ON EXTENSION y IS 'it''s\nCOMMIT;\nlong';\n";
        check(&text, Omit::default(), &text.replace(comments, ""));
    }

    #[test]
    fn kinds_are_left_out_with_all_the_statements_about_them() {
        use skip::ObjectKind::{EventTriggers, Extensions, Publications, Subscriptions};
        let parts = [
            (
                EventTriggers,
                "DROP EVENT TRIGGER IF EXISTS e;\nCREATE EVENT TRIGGER e ON ddl_command_end\n         WHEN TAG IN ('CREATE TABLE')\n   EXECUTE FUNCTION public.f();\n\
                ALTER EVENT TRIGGER e DISABLE;\nALTER EVENT TRIGGER e OWNER TO boss;\nCOMMENT ON EVENT TRIGGER e IS 'a\nb;\nc';\n",
            ),
            (
                Publications,
                "CREATE PUBLICATION p FOR ALL TABLES WITH (publish = 'insert');\nALTER PUBLICATION p OWNER TO boss;\nALTER PUBLICATION p ADD TABLE ONLY public.t WHERE ((a =\n'x'));\n\
                SECURITY LABEL FOR x ON PUBLICATION p IS 'a';\nCREATE PUBLICATION q WITH (publish = 'insert');\nALTER PUBLICATION q ADD TABLES IN SCHEMA s;\nCREATE PUBLICATION r WITH (publish = '');\n",
            ),
            (
                Subscriptions,
                "CREATE SUBSCRIPTION s CONNECTION 'host=x\npassword=y' PUBLICATION p WITH (connect = false);\nALTER SUBSCRIPTION s OWNER TO boss;\nCOMMENT ON SUBSCRIPTION s IS 'x';\n",
            ),
            (
                Extensions,
                "CREATE EXTENSION IF NOT EXISTS x WITH SCHEMA public;\nALTER FUNCTION public.f() DEPENDS ON EXTENSION x;\nDROP EXTENSION IF EXISTS x;\n",
            ),
        ];
        let table = "CREATE TABLE public.t (\n    a text\n);\nCREATE TRIGGER e AFTER INSERT ON public.t EXECUTE FUNCTION public.f();\nCOPY public.t (a) FROM stdin;\nCREATE PUBLICATION x;\n\\.\n";
        let text: String = parts
            .iter()
            .map(|(_, part)| format!("{part}{table}"))
            .collect();
        for (kind, part) in parts {
            let omit = Omit {
                skip: Skip::default().and(kind),
                ..Omit::default()
            };
            let needs = check(&text, omit, &text.replace(part, ""));
            assert_eq!(needs.event_triggers, names(&["e"]));
            assert_eq!(needs.publications, names(&["p", "q", "r"]));
            assert_eq!(needs.subscriptions, names(&["s"]));
            assert_eq!(needs.extensions, names(&["x"]));
        }
        let needs = check(&text, Omit::default(), &text);
        assert_eq!(needs.wide_publications, names(&["p", "q"]));
        assert_eq!(needs.owners, names(&["boss"]));
        let all = Omit {
            skip: [EventTriggers, Publications, Subscriptions, Extensions]
                .into_iter()
                .collect(),
            ..Omit::default()
        };
        let needs = check(&text, all, &table.repeat(4));
        assert_eq!(needs.owners, names(&[]));
    }

    #[test]
    fn a_statement_of_several_lines_is_left_out_only_if_it_stands_alone() {
        let omit = || Omit {
            owners: true,
            privileges: true,
            skip: Skip::default().and(skip::ObjectKind::Publications),
            ..Omit::default()
        };
        for text in [
            // Something else stands on its last line, or on its first.
            "CREATE PUBLICATION p\n; SELECT 1;\n",
            "CREATE PUBLICATION p\n; COMMIT;\n",
            "CREATE PUBLICATION p\n; SELECT 1\n;\n",
            "SELECT 1; CREATE PUBLICATION p\n;\n",
            "CREATE PUBLICATION p; CREATE PUBLICATION q\n;\n",
            "CREATE PUBLICATION p\n; COPY t FROM stdin;\n1\n\\.\n",
            // A command to psql stands within it.
            "CREATE PUBLICATION p\n\\! true\n;\n",
            "CREATE PUBLICATION p\n\\gexec\n",
            // It has no end.
            "CREATE PUBLICATION p\n",
            "ALTER TABLE t\n  OWNER TO 'x\n",
            // Nobody can tell what it is.
            "ALTER TABLE t\n OWNER TO \0 x;\nGRANT ALL ON t TO x;\n",
            // It begins like one, and is another.
            "ALTER TABLE ONLY public.t\n    ADD CONSTRAINT c CHECK ((a <> 'x OWNER TO y;\n'));\n",
        ] {
            check(text, omit(), text);
        }
        let long = format!(
            "ALTER TABLE t\n{}OWNER TO x;\nSELECT 1;\n",
            " \n".repeat(STATEMENT_BYTES)
        );
        let (passed, _) = replay(long.as_bytes(), omit(), 100_000);
        assert_eq!(passed, long.as_bytes());
    }

    #[test]
    fn timescaledb_is_told_before_and_after() {
        let text = "CREATE EXTENSION IF NOT EXISTS timescaledb WITH SCHEMA \"My schema\";\nSELECT 1;\nSELECT 'a\nCREATE EXTENSION IF NOT EXISTS timescaledb WITH SCHEMA x;\n';\n";
        let expected = text.replacen(
            "schema\";\n",
            "schema\";\nSELECT \"My schema\".timescaledb_pre_restore();\n",
            1,
        ) + "\nSELECT \"My schema\".timescaledb_post_restore();\n";
        check(text, Omit::default(), &expected);
        let other = "CREATE EXTENSION IF NOT EXISTS timescaledb_toolkit WITH SCHEMA public;\n";
        check(other, Omit::default(), other);
    }

    #[test]
    fn a_long_line_is_passed_on() {
        let text = format!(
            "INSERT INTO t VALUES ('{}');\nCOMMIT;\nSELECT 1;\n",
            "x\n".repeat(3) + &"y".repeat(200_000)
        );
        check(&text, Omit::default(), &text.replace("COMMIT;\n", ""));
    }
}
