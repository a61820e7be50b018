//! A dump on its way back into a database: what must not reach `psql` is left out, and what it needs is noted.
//!
//! A restore is one transaction only as long as the script does not end it. `pg_dump` wraps the data of
//! large objects into `BEGIN;` and `COMMIT;` of their own, and with `--create` it connects to another database: either would
//! commit half a restore. So single lines are left out, and a script that holds more of that kind is refused.

use std::collections::BTreeSet;

use crate::script::Script;

/// A line longer than this is passed on without a look: those that matter are short.
const LINE_BYTES: usize = 64 * 1024;

/// What is left out of a dump besides what would end the transaction.
#[derive(Debug, Clone, Copy, Default)]
pub struct Omit {
    /// `ALTER … OWNER TO …`
    pub owners: bool,
    /// `GRANT`, `REVOKE` and `ALTER DEFAULT PRIVILEGES`
    pub privileges: bool,
    /// `SET transaction_timeout`, which `pg_dump` 17 and newer writes and servers before 17 refuse.
    pub transaction_timeout: bool,
}

/// What a dump asks of the server it is restored into.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Roles that own something or are granted something.
    pub roles: BTreeSet<String>,
    /// Roles that something else than an owner or a grant names, such as a policy.
    pub named_roles: BTreeSet<String>,
    /// Extensions it creates.
    pub extensions: BTreeSet<String>,
    /// The encoding of the database it came from.
    pub encoding: Option<String>,
}

/// Why a dump can't be restored by this service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A command to `psql` itself.
    #[error("the dump holds a command to psql itself ({0}…), which no dump of pg_dump does there")]
    ClientCommand(String),
    /// A statement that would end the restore's own transaction.
    #[error("the dump holds a statement about transactions, which would commit a part of it")]
    Transaction,
}

/// Reads a dump piece by piece and passes on what may reach `psql`.
#[derive(Debug, Default)]
pub struct Replay {
    script: Script,
    omit: Omit,
    needs: Needs,
    /// The beginning of a line between two statements, until the line is whole.
    held: Vec<u8>,
    inside_line: bool,
}

/// What becomes of a line.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Pass,
    LeaveOut,
    Refuse(Refusal),
}

impl Replay {
    /// A replay that leaves this out.
    #[must_use]
    pub fn new(omit: Omit) -> Self {
        Self {
            omit,
            ..Self::default()
        }
    }

    /// Takes the next piece and appends what of it may reach `psql`.
    ///
    /// # Errors
    /// At the first thing that may not.
    pub fn read(&mut self, mut piece: &[u8], passed: &mut Vec<u8>) -> Result<(), Refusal> {
        while !piece.is_empty() {
            let allowed = (
                self.script.transaction_statements(),
                self.script.client_commands(),
            );
            let read = if self.inside_line || !self.script.is_between_statements() {
                let taken = self.script.read_statement(piece);
                let (read, rest) = piece.split_at(taken.min(piece.len()));
                piece = rest;
                self.inside_line = read.last() != Some(&b'\n');
                passed.extend_from_slice(read);
                allowed
            } else {
                let end = memchr::memchr(b'\n', piece).map(|end| end.saturating_add(1));
                let (read, rest) = piece.split_at(end.unwrap_or(piece.len()));
                piece = rest;
                self.held.extend_from_slice(read);
                if end.is_none() && self.held.len() < LINE_BYTES {
                    return Ok(());
                }
                self.read_line(end.is_some(), passed)?
            };
            self.check(read)?;
        }
        Ok(())
    }

    /// Compares what the script holds with what it may hold.
    fn check(&self, (transactions, commands): (u64, u64)) -> Result<(), Refusal> {
        if self.script.transaction_statements() != transactions {
            return Err(Refusal::Transaction);
        }
        if self.script.client_commands() != commands {
            return Err(Refusal::ClientCommand("\\".to_owned()));
        }
        Ok(())
    }

    /// Ends the replay: what was held goes on.
    ///
    /// # Errors
    /// When the last line may not be passed on.
    pub fn end(&mut self, passed: &mut Vec<u8>) -> Result<(), Refusal> {
        if !self.held.is_empty() {
            let allowed = self.read_line(true, passed)?;
            self.check(allowed)?;
        }
        Ok(())
    }

    /// The script as far as it was read.
    #[must_use]
    pub const fn script(&self) -> &Script {
        &self.script
    }

    /// What the dump was found to need so far.
    #[must_use]
    pub const fn needs(&self) -> &Needs {
        &self.needs
    }

    /// Judges the held line, and returns the counts that the script may have after it.
    fn read_line(&mut self, is_whole: bool, passed: &mut Vec<u8>) -> Result<(u64, u64), Refusal> {
        let line = std::mem::take(&mut self.held);
        let before = (
            self.script.transaction_statements(),
            self.script.client_commands(),
        );
        self.script.read(&line);
        self.inside_line = line.last() != Some(&b'\n');
        let verdict = if is_whole && self.script.is_between_statements() {
            let line = String::from_utf8_lossy(&line);
            judge(line.trim(), self.omit, &mut self.needs)
        } else if is_whole && self.script.copying().is_none() {
            // The first line of a longer statement can name a role too.
            note_names(
                &words(String::from_utf8_lossy(&line).trim()),
                &mut self.needs,
            );
            Verdict::Pass
        } else {
            Verdict::Pass
        };
        let after = (
            self.script.transaction_statements(),
            self.script.client_commands(),
        );
        match verdict {
            Verdict::Refuse(refusal) => Err(refusal),
            Verdict::LeaveOut => Ok(after),
            Verdict::Pass => {
                passed.extend_from_slice(&line);
                // \restrict and \unrestrict are the commands that may pass.
                let restricts = line.starts_with(b"\\");
                Ok((before.0, if restricts { after.1 } else { before.1 }))
            }
        }
    }
}

/// Decides about a line that is one whole statement, comment or command.
fn judge(line: &str, omit: Omit, needs: &mut Needs) -> Verdict {
    if line.starts_with('\\') {
        let command = line.split_whitespace().next().unwrap_or_default();
        return match command {
            "\\restrict" | "\\unrestrict" => Verdict::Pass,
            // The second comes before the first where the database's name is an odd one.
            "\\connect" | "\\encoding" => Verdict::LeaveOut,
            other => Verdict::Refuse(Refusal::ClientCommand(other.chars().take(20).collect())),
        };
    }
    let words = words(line);
    let leave_out = match words.as_slice() {
        ["BEGIN" | "COMMIT", ";"]
        // Of a dump made with --create: the target was chosen by the one who restores.
        | ["CREATE" | "DROP" | "ALTER", "DATABASE", ..]
        | ["COMMENT", "ON", "DATABASE", ..]
        | ["GRANT" | "REVOKE", _, "ON", "DATABASE", ..] => true,
        ["SET", "client_encoding", "=", name, ";"] => {
            needs.encoding = Some(name.trim_matches('\'').to_owned());
            false
        }
        ["SET", "transaction_timeout", ..] => omit.transaction_timeout,
        ["ALTER", .., "OWNER", "TO", role, ";"] => {
            note(role, &mut needs.roles);
            omit.owners
        }
        ["GRANT" | "REVOKE", ..] | ["ALTER", "DEFAULT", "PRIVILEGES", ..] => {
            note_grantees(&words, needs);
            omit.privileges
        }
        ["SET", "SESSION", "AUTHORIZATION", role, ";"] => {
            // Around grants that somebody else than the owner made.
            if *role != "DEFAULT" {
                note(role.trim_matches('\''), &mut needs.roles);
            }
            omit.privileges
        }
        ["RESET", "SESSION", "AUTHORIZATION", ";"] => omit.privileges,
        _ => {
            note_names(&words, needs);
            false
        }
    };
    if leave_out {
        Verdict::LeaveOut
    } else {
        Verdict::Pass
    }
}

/// Notes the roles of a `GRANT`, `REVOKE` or `ALTER DEFAULT PRIVILEGES`.
fn note_grantees(words: &[&str], needs: &mut Needs) {
    let after = |keyword: &str| {
        words
            .iter()
            .rposition(|word| *word == keyword)
            .and_then(|at| words.get(at.saturating_add(1)..))
            .unwrap_or_default()
    };
    let grantees = after(if words.contains(&"TO") { "TO" } else { "FROM" });
    let grantees = grantees
        .iter()
        .take_while(|word| !["WITH", "GRANTED", ";", "CASCADE"].contains(word));
    let by = after("BY").first();
    let for_role = words
        .windows(3)
        .find(|three| matches!(three, ["FOR", "ROLE", _]))
        .and_then(|three| three.last());
    for role in grantees.chain(by).chain(for_role) {
        note(role, &mut needs.roles);
    }
}

/// Notes the extension or the roles of another statement.
fn note_names(words: &[&str], needs: &mut Needs) {
    match words {
        ["CREATE", "EXTENSION", "IF", "NOT", "EXISTS", name, ..]
        | ["CREATE", "EXTENSION", name, ..] => note(name, &mut needs.extensions),
        ["CREATE", "POLICY", ..] => {
            let roles = words
                .iter()
                .skip_while(|word| **word != "TO")
                .skip(1)
                .take_while(|word| !["USING", "WITH", ";"].contains(word));
            roles.for_each(|role| note(role, &mut needs.named_roles));
        }
        ["CREATE", "USER", "MAPPING", "FOR", role, ..] => note(role, &mut needs.named_roles),
        _ => {}
    }
}

fn note(name: &str, names: &mut BTreeSet<String>) {
    let plain = name
        .strip_prefix('"')
        .and_then(|name| name.strip_suffix('"'));
    let is_nobody = ["PUBLIC", "CURRENT_USER", "CURRENT_ROLE", "SESSION_USER"].contains(&name);
    if plain.is_none() && is_nobody || name == "public" {
        return;
    }
    names.insert(plain.map_or_else(|| name.to_owned(), |name| name.replace("\"\"", "\"")));
}

/// The words of a line: cut at blanks, commas and the semicolon outside quotes and parentheses; the semicolon is a word.
fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut start = None;
    let (mut quote, mut depth) = (None, 0_u32);
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '(') => depth = depth.saturating_add(1),
            (None, ')') => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
        let cuts = quote.is_none() && depth == 0 && (c.is_whitespace() || c == ',' || c == ';');
        if cuts {
            words.extend(start.take().and_then(|start: usize| line.get(start..at)));
            if c == ';' {
                words.push(";");
            }
        } else {
            start.get_or_insert(at);
        }
    }
    words.extend(start.and_then(|start| line.get(start..)));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replay(text: &str, omit: Omit, step: usize) -> Result<(String, Needs), Refusal> {
        let mut replay = Replay::new(omit);
        let mut passed = Vec::new();
        for piece in text.as_bytes().chunks(step) {
            replay.read(piece, &mut passed)?;
        }
        replay.end(&mut passed)?;
        assert_eq!(
            replay.script().position().0,
            u64::try_from(text.len()).unwrap()
        );
        Ok((String::from_utf8(passed).unwrap(), replay.needs))
    }

    fn check(text: &str, omit: Omit, expected: &str) -> Needs {
        let mut found = None;
        for step in [1, 2, 7, 100_000] {
            let (passed, needs) = replay(text, omit, step).unwrap();
            assert_eq!(passed, expected, "step {step}");
            found = Some(needs);
        }
        found.unwrap()
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_would_end_the_transaction_is_left_out() {
        let text = "\\restrict k\n-- BEGIN;\nSET x = 0;\nBEGIN;\n\nSELECT pg_catalog.lo_open('1', 131072);\nCOMMIT;\n\
            COPY public.t (a) FROM stdin;\nBEGIN;\nCOMMIT;\n\\connect x\n\\.\n\nSELECT 'a\nCOMMIT;\n';\nSELECT $$\nBEGIN;\n$$;\n\\unrestrict k\n";
        let expected = text
            .replacen("SET x = 0;\nBEGIN;\n", "SET x = 0;\n", 1)
            .replacen("131072);\nCOMMIT;\n", "131072);\n", 1);
        check(text, Omit::default(), &expected);
    }

    #[test]
    fn another_database_is_not_entered() {
        let text = "\\restrict k\nDROP DATABASE shop;\nCREATE DATABASE shop WITH TEMPLATE = template0;\nALTER DATABASE shop OWNER TO o;\n\
            \\unrestrict k\n\\encoding SQL_ASCII\n\\connect shop\n\\restrict k\nCOMMENT ON DATABASE shop IS 'a';\nGRANT ALL ON DATABASE shop TO o;\nSELECT 1;\n";
        let needs = check(
            text,
            Omit::default(),
            "\\restrict k\n\\unrestrict k\n\\restrict k\nSELECT 1;\n",
        );
        assert_eq!(needs, Needs::default());
    }

    #[test]
    fn anything_else_of_that_kind_is_refused() {
        for (text, refusal) in [
            ("\\! true\n", Refusal::ClientCommand("\\!".to_owned())),
            (
                "  \\copy t from program 'true'\n",
                Refusal::ClientCommand("\\copy".to_owned()),
            ),
            (
                "SELECT 1 \\gexec\n",
                Refusal::ClientCommand("\\".to_owned()),
            ),
            (
                "SELECT 1\n\\! true\n;\n",
                Refusal::ClientCommand("\\".to_owned()),
            ),
            ("SELECT 1; COMMIT;\n", Refusal::Transaction),
            ("COMMIT; SELECT 1;\n", Refusal::Transaction),
            ("commit;\n", Refusal::Transaction),
            ("ROLLBACK;\n", Refusal::Transaction),
            ("COMMIT\n;\n", Refusal::Transaction),
            (
                "BEGIN ISOLATION LEVEL SERIALIZABLE;\n",
                Refusal::Transaction,
            ),
        ] {
            for step in [1, 5, 1000] {
                assert_eq!(
                    replay(text, Omit::default(), step),
                    Err(refusal.clone()),
                    "{text:?} step {step}"
                );
            }
        }
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
    fn a_long_line_is_passed_on() {
        let text = format!(
            "INSERT INTO t VALUES ('{}');\nCOMMIT;\nSELECT 1;\n",
            "x\n".repeat(3) + &"y".repeat(200_000)
        );
        check(&text, Omit::default(), &text.replace("COMMIT;\n", ""));
    }
}
