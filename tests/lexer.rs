//! Compares the reader of dumps with `psql`: both must split the same text in the same places.
//!
//! What `psql` does with a script is observed between it and a real server, which decides what is a `COPY` and what fails.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use stream::script::{Inside, Script};

use crate::common::postgres::{PASSWORD, Postgres, USER};
use crate::common::service::{Service, Variables};
use crate::common::{postgres, seaweedfs, unique};
use crate::restore::{dump, gunzip, gzip, on_bucket};

const LONG: Duration = Duration::from_secs(300);

/// A server, and the `psql` of its major version.
struct Oracle {
    major: u16,
    server: Postgres,
}

/// What `psql` sent.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    queries: Vec<Vec<u8>>,
    /// The rows of each `COPY`, without the line that ends them.
    copies: Vec<Vec<u8>>,
}

impl Oracle {
    fn start(major: u16) -> Self {
        let server = Postgres::start(major);
        server.create_database("lexer", "");
        server.psql(
            "lexer",
            "CREATE TABLE t (a text); CREATE TABLE \"T;\n\"\"T\" (a text); CREATE SCHEMA s; CREATE TABLE s.\"from\" (a text, b text);",
        );
        Self { major, server }
    }

    /// Lets `psql` run a script. It goes on after errors, and commands to the client fail.
    fn hear(&self, script: &[u8]) -> Heard {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut child = Command::new(Postgres::bin(self.major).join("psql"))
            .env_clear()
            .envs([
                ("LC_ALL", "C"),
                ("PGPASSWORD", PASSWORD),
                ("PGSSLMODE", "disable"),
                ("PGGSSENCMODE", "disable"),
            ])
            .args([
                "-X",
                "-q",
                "-h",
                "127.0.0.1",
                "-p",
                &port.to_string(),
                "-U",
                USER,
                "-d",
                "lexer",
                "-f",
                "-",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let sent = std::thread::scope(|scope| {
            scope.spawn(move || {
                stdin.write_all(b"\\restrict k\n").unwrap();
                stdin.write_all(script).unwrap();
            });
            let (client, _) = listener.accept().unwrap();
            let server = TcpStream::connect(("127.0.0.1", self.server.port())).unwrap();
            let (mut to_client, mut from_server) =
                (client.try_clone().unwrap(), server.try_clone().unwrap());
            scope.spawn(move || {
                drop(std::io::copy(&mut from_server, &mut to_client));
                drop(to_client.shutdown(Shutdown::Write));
            });
            let (mut client, mut server) = (client, server);
            let mut sent = Vec::new();
            let mut buffer = [0; 65536];
            loop {
                let read = client.read(&mut buffer).unwrap_or(0);
                if read == 0 {
                    break;
                }
                sent.extend_from_slice(&buffer[..read]);
                server.write_all(&buffer[..read]).unwrap();
            }
            drop(server.shutdown(Shutdown::Both));
            child.wait().unwrap();
            sent
        });
        Heard::from(&sent)
    }
}

impl Heard {
    /// Splits a session into its messages.
    fn from(sent: &[u8]) -> Self {
        let mut heard = Self::default();
        let length = |at: usize| {
            let bytes = sent[at..at + 4].try_into().unwrap();
            usize::try_from(u32::from_be_bytes(bytes)).unwrap()
        };
        let mut at = length(0);
        let mut copying = false;
        while at < sent.len() {
            let kind = sent[at];
            let body = &sent[at + 5..at + 1 + length(at + 1)];
            match kind {
                b'Q' => heard.queries.push(body[..body.len() - 1].to_vec()),
                b'd' if copying => heard.copies.last_mut().unwrap().extend_from_slice(body),
                b'd' | b'c' if !copying => {
                    heard.copies.push(if kind == b'd' {
                        body.to_vec()
                    } else {
                        Vec::new()
                    });
                }
                _ => {}
            }
            copying = match kind {
                b'd' => true,
                b'c' | b'f' | b'Q' => false,
                _ => copying,
            };
            at += 1 + length(at + 1);
        }
        for rows in &mut heard.copies {
            // At the end of the script, this line needs no line end for the server.
            for end in [&b"\\.\n"[..], b"\\.\r\n", b"\\."] {
                let is_line = rows.len() == end.len() || rows.ends_with(&[b"\n", end].concat());
                if rows.ends_with(end) && is_line {
                    rows.truncate(rows.len() - end.len());
                    break;
                }
            }
        }
        heard
    }
}

/// How the service reads a script: where its statements end, and how the text ends.
struct Cut {
    ends: Vec<usize>,
    inside: Option<Inside>,
    script: Script,
}

fn cut(text: &[u8], step: usize) -> Cut {
    let mut script = Script::default();
    let mut ends = Vec::new();
    for (at, piece) in text.chunks(step).enumerate() {
        let before = script.statements();
        script.read(piece);
        let ended = usize::try_from(script.statements() - before).unwrap();
        ends.extend(std::iter::repeat_n(
            (at * step + piece.len()).min(text.len()),
            ended,
        ));
    }
    Cut {
        ends,
        inside: script.ends_inside(),
        script,
    }
}

/// A text without what `psql` and this reader may spell differently: blanks at the ends of lines, and backslashes before
/// semicolons.
fn bare(text: &[u8]) -> Vec<u8> {
    let kept = |byte: &u8| !byte.is_ascii_whitespace() && !matches!(*byte, b'\\' | 0x0b);
    text.iter().copied().filter(kept).collect()
}

/// Compares the two: the number of statements, their texts, and the rows.
fn compare(oracle: &Oracle, text: &[u8]) -> Result<(), String> {
    let heard = oracle.hear(text);
    let cut_at = cut(text, 1);
    let fail = |what: &str| {
        let queries: Vec<_> = heard
            .queries
            .iter()
            .map(|query| String::from_utf8_lossy(query))
            .collect();
        Err(format!(
            "{what}, psql {}: {}\n{:?}\npsql heard {queries:#?}\nthis reader cut at {:?}, ends inside {:?}",
            oracle.major,
            text.escape_ascii(),
            String::from_utf8_lossy(text),
            cut_at.ends,
            cut_at.inside
        ))
    };
    for step in [3, 64, text.len().max(1)] {
        let other = cut(text, step);
        if (other.ends.len(), other.script.contents())
            != (cut_at.ends.len(), cut_at.script.contents())
        {
            return fail(&format!("other pieces, other outcome: {step}"));
        }
    }
    let mut whole = heard.queries.as_slice();
    // psql also sends what is left at the end. To this reader, a comment alone is nothing.
    let left = whole.len().checked_sub(cut_at.ends.len());
    match left {
        Some(0) if matches!(cut_at.inside, None | Some(Inside::Rows)) => {}
        Some(1) if matches!(cut_at.inside, Some(Inside::Quote | Inside::Statement)) => {
            whole = &whole[..whole.len() - 1];
        }
        Some(1) if whole.last().unwrap().starts_with(b"/*") => whole = &whole[..whole.len() - 1],
        _ => return fail("another number of statements"),
    }
    // Not compared are the effect of a failing client command on its line, and the text between statements on a line with
    // rows. Besides, psql 14 removes comments.
    let has_comments = memchr::memmem::find(text, b"--").is_some();
    let exactly = cut_at.script.client_commands() == 0
        && heard.copies.is_empty()
        && !(has_comments && oracle.major == 14);
    let mut begin = 0;
    for (query, end) in whole.iter().zip(&cut_at.ends) {
        let statement = &text[begin..*end];
        begin = *end;
        if exactly && !bare(statement).ends_with(&bare(query)) {
            return fail(&format!(
                "another statement {:?}",
                String::from_utf8_lossy(query)
            ));
        }
    }
    let contents = cut_at.script.contents();
    let lines = |rows: &Vec<u8>| u64::try_from(memchr::memchr_iter(b'\n', rows).count()).unwrap();
    let mut rows: Vec<u64> = heard.copies.iter().map(lines).collect();
    let mut counted: Vec<u64> = contents.tables.values().copied().collect();
    if cut_at.inside.is_some() && rows.len() > counted.len() {
        // A table whose rows have no end is not counted as one.
        rows.pop();
    } else if contents.rows != rows.iter().sum::<u64>() {
        return fail(&format!("other rows: {} and {rows:?}", contents.rows));
    }
    rows.sort_unstable();
    counted.sort_unstable();
    if rows != counted {
        return fail(&format!("other tables: {counted:?} and {rows:?}"));
    }
    Ok(())
}

fn check(oracle: &Oracle, texts: impl IntoIterator<Item = Vec<u8>>) {
    let failures: Vec<String> = texts
        .into_iter()
        .filter_map(|text| compare(oracle, &text).err())
        .collect();
    let shown: Vec<&str> = failures.iter().take(5).map(String::as_str).collect();
    assert!(
        failures.is_empty(),
        "{} differ:\n{}",
        failures.len(),
        shown.join("\n\n")
    );
}

/// Scripts that are easily misread.
const AWKWARD: [&str; 58] = [
    "select type'x\\'; select 1;\n",
    "select date'2026-01-01', name'a\\', 1e'; select 2;\n",
    "select e'a\\'; select 1;', E'\\\\'; select 2;\n",
    "select b'0\\', x'1f\\', n'\\', u&'\\', U&\"a\\\"; select 1;\n",
    "select u&e'\\'; select ';';\n",
    "select a$b$c; $b$; select 1; $b$;\n",
    "select $1$; select $1e'\\'; select 2;\n",
    "select $a$ $b$ $$ $a; $a$; select $$;$$; select $a;\n$a$;$a$;\n",
    "select $é$;$e$;$é$; select $1a$;$1a$;\n",
    "select $a$;$b$a$; select 1; $a$;\n",
    "select 'a'\n'\\'; select 1;\n",
    "select e'a'\n'\\'; select 1;\n",
    "select e'a'\r'\\'; select 1;';\n",
    "select e'a' \t\r \r '\\'; select 1;';\n",
    "select e'a' -- '\r'\\'; select 1;';\n",
    "select e'a' -- '\n'\\'; select 1;\n",
    "select e'a'\n\n\r'\\'; select 1;';\n",
    "select e'a' \n\r'\\'; select 1;\n",
    "select e'a'-'\\'; select 1;\n",
    "select e'a'--\r--\r'\\';';\n",
    "select e'a'\r--x\n'\\'; select 1;\n",
    "select 1 -- ; it's\r; select 2;\n",
    "select 1 -- ; it's\n; select 2;\n",
    "select 1 --; \r\n; select 2;\r\n",
    "select 1 /* ; /* ; */ ; */; select 2 /*/ ; */; select /**/ 3; /***/ select 4; /* * / ; **/ select 5;\n",
    "select 1 +-- ;\n; select 1 */* ; */ 2; select 1 /-- ;\n 2; select 1 //* ;*/ 2; select 1 @---;\n;\n",
    "select 1 -\n- 2; select 1 /\n* 2; select 1 /* *\n/ ; */;\n",
    "select 1\\; select 2; select 3 \\: 4;\n",
    "select (1; 2); select 3; select ); select (; ); select 4;\n",
    "create function f(begin date, \"end\" date) returns int language sql return 1; select 1;\n",
    "create function f() returns table (begin int) language sql begin atomic select 1; select case when true then 1 end; end; select 1;\n",
    "create or replace procedure p() begin atomic select begin.begin from begin; end; end; end; select 1;\n",
    "Create Or Replace Function f() begin atomic; case; end; end; select 1;\n",
    "create or function f() begin; end; create replace function f() begin; end; select 1;\n",
    "create /* or */ function f() begin atomic; end; select 1;\n",
    "create temp function f() begin; select 1;\n",
    "create \"or\" function f() begin; end; select 1;\n",
    "create e'' function f() begin; end; select 1;\n",
    "create b'' function f() begin; end; create u&function f() begin; end; select 1;\n",
    ":create function f() begin; create :function procedure f() begin; end; select 1;\n",
    "create 1e function f() begin; end; create $a function f() begin; end; select 1;\n",
    "create function begin() returns int; select 1; end; select 2;\n",
    "create function a$begin() begin$ $begin end$; select 1;\n",
    "\\; create function f() begin; end; select 1 \\; create function f() begin; end; select 1;\n",
    "select a[1:b$c$;$c$]; select ::a$b$;$b$; select :::a$b$;$b$;\n",
    "select :'a', :\"b\", :'a;b', :\"b;\", :;:; select :=1;\n",
    "select 1.e'\\'; select .5e'\\'; select 1..e'\\'; '; select 1e+5e'\\'; select 1$a$;$a$;\n",
    "select \"a\"\"b;\", \"c\n;\n\"; select \"a\\\";\n",
    "select 'a\n\n;\n'; select 1;\n",
    "set standard_conforming_strings = off; select 'a\\'; select 1;\nselect 'b\\'; c'; set standard_conforming_strings to on;\nselect 'a\\'; select 1;\n",
    "set session standard_conforming_strings to 'off';\nselect 'b\\'; c', b'\\', u&'\\'; select e'' '\\';'; select b'1''\\';';\n",
    "SET Standard_Conforming_Strings = 0;\nselect 'b\\'; c';\nset \"standard_conforming_strings\" = tr;\nselect '\\';\n",
    "set standard_conforming_strings = \"off\";\nselect 'b\\'; c';\nreset standard_conforming_strings;\nselect '\\';\n",
    "select pg_catalog.set_config('standard_conforming_strings', 'off', false);\nselect 'b\\'; c';\nreset all;\nselect '\\';\n",
    "set standard_conforming_strings = bogus;\nselect '\\';\nset standard_conforming_strings = f;\nselect '\\';';\nset standard_conforming_strings to default;\nselect '\\';\n",
    "select 1 \\foo ; ' \" (\n; select 2 \\\\ ; select 3;\n'\n\\foo'\n';\n",
    ";;\n ; -- ;\n/* ; */ ;\n",
    "select 1; select 2",
];

/// Rows, and what is none.
const COPIES: [&str; 44] = [
    "copy t from stdin;\n1\n\\.\nselect 1;\n",
    "COPY t (a) FROM STDIN WITH (FORMAT csv, HEADER false);\n1\n\\.\nselect 1;\n",
    "Copy\n--x;\n t /* ; */ (\na\n) From\tStdin csv ;\n1\n2\n\\.\nselect 1;\n",
    "/* c */ -- d\ncopy t from stdout;\n1\n\\.\nselect 1;\n",
    "copy s /* */ . \"from\" ( a , b ) from stdin using delimiters ',' with null as 'x';\n1,2\n\\.\nselect 1;\n",
    "copy \"T;\n\"\"T\" from stdin;\n1\n\\.\nselect 1;\n",
    "copy \"T;\n\"\"T\"(\"a\")from stdin;\n1\n\\.\nselect 1;\n",
    "copy t from stdin where a <> ';' ;\n1\n\\.\nselect 1;\n",
    "copy t from stdin; select 1; select 'x\n1\n2\n\\.\n;'; select 2;\n",
    "copy t from stdin; select 1; create function f() begin\n1\n2\n\\.\n; end; select 2;\n",
    "copy t from stdin; copy s.\"from\" from stdin;\n1\n2\n\\.\n1\t2\n\\.\nselect 1;\n",
    "copy t from stdin\\; copy s.\"from\" from stdin\\; select 1;\n1\n2\n\\.\n1\t2\n\\.\nselect 1;\n",
    "copy t from stdin\\; select 1; copy s.\"from\" from stdin; select (\n1\n2\n\\.\n1\t2\n\\.\n1;); select 1;\n",
    "select 1; copy t from stdin; -- copy t from stdin; '\n1\n\\.\nselect 1;\n",
    "copy t from stdin; /* \n1\n\\.\n; */ select 1;\n",
    "copy t from stdin;\r\n1\r\n\\.\r\nselect 1;\r\n",
    "copy t from stdin;\r select 2;\n1\n\\.\nselect 1;\n",
    "copy t from stdin;\n1\n\\.\r\r\n\\.\nselect 1;\n",
    "copy t from stdin;\nselect 1;\n \\.\n\\. \n\\..\n\\\\.\n.\n\\\n\n\\.\nselect 1;\n",
    "copy t from stdin;\n\n\n\\.\nselect 1;\n",
    "copy t from stdin;\n\\.\n\\.\nselect 1;\n",
    "copy t from stdin;\n\\.\n\ncopy s.\"from\" from stdin;\n\\.\nselect 1;\n",
    "copy t from stdin;\n1\n\\.",
    "copy t from stdin;\n1\n\\.\r",
    "copy t from stdin;\n1\n2",
    "copy t from stdin;",
    "copy t from stdin",
    "copy t from stdin; select 1\n1\n\\.\n",
    "copy t from stdin (format binary);\n1\n\\.\nselect 1;\n",
    "copy t from stdin with (header false, \"format\" 'binary');\n1\n\\.\nselect 1;\n",
    "copy t from stdin (Format Binary, encoding 'utf8');\n1\n\\.\nselect 1;\n",
    "copy binary t from stdin;\n1\n\\.\nselect 1;\n",
    "copy t from stdin with binary;\n1\n\\.\nselect 1;\n",
    "copy t from stdin (format csv, null 'binary');\n1\n\\.\nselect 1;\n",
    "copy t from stdin where a = 'format' or (a = 'binary');\n1\n\\.\nselect 1;\n",
    "copy t to stdout;\nselect 1;\n\\.\nselect 2;\n",
    "copy t to stdin;\nselect 1;\n",
    "copy (select 'from stdin') to stdout;\nselect 1;\n",
    "copy t from '/dev/null';\nselect 1;\n",
    "copy t from program 'true';\nselect 1;\n",
    "select 'copy t from stdin;';\n1;\n",
    "select $$\ncopy t from stdin;\n1\n\\.\n$$;\nselect 1;\n",
    "explain copy t from stdin;\nselect 1;\n",
    "set client_encoding = SJIS; copy t from stdin;\n1\n\\.\nselect '\u{3042}\u{3042};'; select 1;\nset standard_conforming_strings = off; copy s.\"from\" from stdin;\n1\\t2\n\\.\nselect '\\';';\n",
];

/// The server takes these for `COPY … FROM stdin`, and so did `psql`. Since 2026 it looks for itself too, does not find it
/// here, and breaks off.
const ODD_COPIES: [&str; 2] = [
    "copy s.from from stdin;\n1\t2\n\\.\nselect 1;\n",
    "create function begin() returns int language sql as 'select 1'; copy t from stdin; end;\n1\n\\.\ndrop function begin();\n",
];

#[test]
fn rows_are_taken_for_rows_where_the_server_does() {
    for major in [14, 17, 18] {
        let oracle = Oracle::start(major);
        let long = |length: usize| {
            format!(
                "copy t from stdin;\n{}\\.\n\\.\nselect 1;\n",
                "x".repeat(length)
            )
        };
        // psql reads rows in pieces of 8 KiB, and lines of SQL in pieces of 1 KiB.
        let odd = ODD_COPIES.into_iter().filter(|_| major == 14);
        let lengths = (8180..8200).chain([20_000, 1020, 1021, 1022, 1023, 1024]);
        check(
            &oracle,
            COPIES
                .into_iter()
                .chain(odd)
                .map(str::to_owned)
                .chain(lengths.map(long))
                .map(String::into_bytes),
        );
    }
}

#[test]
fn awkward_scripts_are_cut_where_psql_cuts_them() {
    for major in [14, 17, 18] {
        let oracle = Oracle::start(major);
        let texts = AWKWARD.iter().filter(|text| {
            // Version 14 reads a number with letters directly after it as two tokens. Every later server refuses that.
            major > 14 || !(text.contains("1e") || text.contains("1.e"))
        });
        check(&oracle, texts.map(|text| text.as_bytes().to_vec()));
    }
}

#[test]
fn random_scripts_are_cut_where_psql_cuts_them() {
    const PIECES: [&str; 84] = [
        "select",
        " ",
        " ",
        "\n",
        "\n",
        ";",
        ";",
        ";\n",
        ";\n",
        "'",
        "'",
        "\"",
        "''",
        "\"\"",
        "'a'",
        "'it''s'",
        "'a\\'",
        "e'",
        "E'\\''",
        "e'\\\\'",
        "type'x\\'",
        "name'",
        "b'01'",
        "b'",
        "x'1f'",
        "n'\\'",
        "u&'\\'",
        "U&\"a\\\"",
        "u&",
        "e",
        "x",
        "U",
        "n",
        "\"a;b\"",
        "$$",
        "$$",
        "$a$",
        "$a$",
        "$b$",
        "$1",
        "$",
        "a$b$c",
        "$é$",
        "--",
        "-",
        "-- x\r",
        "--\n",
        "/*",
        "*/",
        "/* /* */ */",
        "/",
        "*",
        "(",
        ")",
        "(",
        ")",
        "\r",
        "\t",
        "\u{c}",
        "create function f()",
        "create or replace procedure p()",
        "CREATE",
        "FUNCTION",
        "or",
        "replace",
        " begin ",
        " begin atomic ",
        " END ",
        " case ",
        "\\;",
        "\\:",
        "::",
        ":",
        ":a",
        ":'a'",
        ":\"b\"",
        "'a'\r'b\\'",
        "E'a'\r'\\''",
        "E'a'\n'b\\'",
        "e'a'--x\r'\\''",
        "é",
        "@-",
        "\\\\",
        "\\foo 'x",
    ];
    const NUMBERS: [&str; 8] = ["1e", "1e+", "1.", ".5", "..", "1_0", "0x1f", "7"];
    for (seed, major) in (1..).zip([14, 16, 18]) {
        let oracle = Oracle::start(major);
        let mut random = fastrand::Rng::with_seed(seed);
        let texts: Vec<_> = (0..250)
            .map(|_| {
                let mut text = String::new();
                for _ in 0..random.usize(1..40) {
                    let at = random.usize(..PIECES.len() + NUMBERS.len());
                    match PIECES.get(at) {
                        Some(piece) => text += piece,
                        None if major > 15 => text += NUMBERS[at - PIECES.len()],
                        None => text += " 7 ",
                    }
                }
                text.into_bytes()
            })
            .collect();
        check(&oracle, texts);
    }
}

#[test]
fn settings_and_encodings_decide_how_a_line_is_cut() {
    const PIECES: [&[u8]; 35] = [
        b"select ",
        b" ",
        b"\n",
        b"\n",
        b";",
        b";",
        b";\n",
        b"'",
        b"'",
        b"e'",
        b"\"",
        b"$$",
        b"$a$",
        b"\\'",
        b"''",
        b"\\",
        b"\x81",
        b"\x81'",
        b"\x8f",
        b"\x8f''",
        b"\x8e",
        b"\xa1",
        b"\xb1'",
        b"\xfe",
        b"\xfe\"",
        b"\x81\\",
        b"\x840",
        b"\x840\x81'",
        b"0",
        b"9'",
        b"-",
        b"$\x81a$",
        b"$\x81b$",
        b"a",
        b"u&'",
    ];
    const SETTINGS: [&str; 14] = [
        "set client_encoding = 'SJIS';\n",
        "set client_encoding to sjis;\n",
        "set names 'BIG5';\n",
        "set client_encoding = gbk;\n",
        "set client_encoding = UHC;\n",
        "set client_encoding = 'gb 18030';\n",
        "set client_encoding = 'GB18030';\n",
        "set client_encoding = 'Johab';\n",
        "set client_encoding = SHIFT_JIS_2004;\n",
        "set client_encoding = UTF8;\n",
        "reset client_encoding;\n",
        "set standard_conforming_strings = off;\n",
        "set standard_conforming_strings = on;\n",
        "select set_config('client_encoding', 'SJIS', false);\n",
    ];
    for (seed, major) in (4..).zip([14, 17, 18]) {
        let oracle = Oracle::start(major);
        let mut random = fastrand::Rng::with_seed(seed);
        let texts: Vec<_> = (0..250)
            .map(|_| {
                let mut text = Vec::new();
                for _ in 0..random.usize(1..4) {
                    text.extend_from_slice(random.choice(SETTINGS).unwrap().as_bytes());
                    for _ in 0..random.usize(1..20) {
                        text.extend_from_slice(random.choice(PIECES).unwrap());
                    }
                }
                text
            })
            .collect();
        // A statement that is joined to a setting by `\;` can fail, and then the setting fails with it.
        let texts = texts
            .into_iter()
            .filter(|text| memchr::memmem::find(text, b"\\;").is_none());
        check(&oracle, texts);
    }
}

/// Makes a database with this SQL. Returns a bucket, and the variables to back the database up into it.
fn database(sql: &str) -> (String, Variables) {
    let database = unique("lexer").replace('-', "_");
    postgres().create_database(&database, "");
    postgres().psql(&database, sql);
    on_bucket(postgres(), &database)
}

#[test]
fn honest_dumps_that_look_odd_are_counted() {
    let (_, variables) = database(
        "CREATE TABLE public.begin (\"end\" int, \"case\" text DEFAULT 'x' || E'\\\\' || $a$;$a$); INSERT INTO public.begin VALUES (1, 'a');
         CREATE TABLE c (\"end\" int); CREATE FUNCTION f(begin date, \"end\" date) RETURNS TABLE (begin int) LANGUAGE sql BEGIN ATOMIC
            SELECT CASE WHEN true THEN c.\"end\" END FROM public.c; SELECT 2; END;
         CREATE PROCEDURE p() LANGUAGE sql BEGIN ATOMIC INSERT INTO public.c VALUES (2); SELECT ';'; END;
         CREATE TABLE \"copy x from stdin;\" (a text); INSERT INTO \"copy x from stdin;\" VALUES (E'\\\\.'), (''), ('COMMIT;');
         CREATE DOMAIN d AS int; CREATE TABLE t (a d); INSERT INTO t VALUES (-1); ALTER DOMAIN d ADD CHECK (VALUE > 0) NOT VALID;
         SELECT lo_from_bytea(0, 'BEGIN;'); COMMENT ON TABLE t IS E'it''s \\\\';",
    );
    let key = "k".repeat(400);
    for options in [
        "",
        "--encoding=SQL_ASCII --create",
        &format!("--restrict-key={key}"),
    ] {
        let variables = variables.clone().with("BACKUP_OPTIONS", options);
        let ended = Service::backup(&variables);
        assert_eq!(ended.code(), Some(0), "{options}: {}", ended.text());
        let finished = ended.event("backup finished");
        assert_eq!(
            (&finished["rows"], &finished["tables"]),
            (&5.into(), &4.into())
        );
        assert_eq!(
            ended.events("backup out of the ordinary"),
            [""; 0],
            "{}",
            ended.text()
        );
        let name = finished["name"].as_str().unwrap();
        let server = Service::start(&variables, &["verify", name]).end(LONG);
        assert_eq!(server.code(), Some(0), "{options}: {}", server.text());
        assert!(!server.text().contains("WARN"), "{}", server.text());
    }
}

#[test]
fn a_dump_that_psql_swallows_is_kept_and_told_of() {
    // psql takes the name for the beginning of a body, and everything after it for that body.
    let (bucket, variables) = database(
        "CREATE FUNCTION begin() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE TABLE t (a int)",
    );
    let ended = Service::backup(&variables);
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    let odd = ended.event("backup out of the ordinary");
    assert_eq!(odd["found"], "the dump ends inside a statement", "{odd}");
    assert!(
        odd["hint"].as_str().unwrap().contains("verify --into"),
        "{odd}"
    );
    let name = ended.event("backup finished")["name"].clone();
    let verified = Service::start(&variables, &["verify", name.as_str().unwrap()]).end(LONG);
    assert_eq!(verified.code(), Some(0), "{}", verified.text());
    let told = verified.event("backup ends inside of something");
    assert_eq!(
        (&told["level"], &told["inside"]),
        (&"WARN".into(), &"a statement".into())
    );
    // And so it is: psql itself can't restore it.
    let object = seaweedfs().get(&bucket, name.as_str().unwrap());
    let text = String::from_utf8(gunzip(&object)).unwrap();
    let target = unique("target").replace('-', "_");
    postgres().create_database(&target, "");
    postgres().try_psql(&target, &text).unwrap_err();
}

#[test]
fn verify_tells_what_no_dump_holds() {
    let (bucket, variables) = database("CREATE TABLE t (a int)");
    let ended = Service::backup(&variables);
    let name = ended.event("backup finished")["name"]
        .as_str()
        .unwrap()
        .to_owned();
    let text = dump(&seaweedfs().get(&bucket, &name));
    let with = |more: &[u8]| {
        let at = memchr::memmem::find(&text, b"--\n-- PostgreSQL database dump complete").unwrap();
        let text = [&text[..at], more, &text[at..]].concat();
        seaweedfs().put(&bucket, &name, &gzip(&text));
        Service::start(&variables, &["verify", &name]).end(LONG)
    };
    let ended = with(b"SELECT 1; COMMIT; SELECT 2; /* */ BEGIN;\n\\! true\nBEGIN;\nCOMMIT;\n");
    assert_eq!(ended.code(), Some(0), "{}", ended.text());
    let told = ended.event("backup holds what no dump of pg_dump holds");
    assert_eq!(told["level"], "WARN");
    assert_eq!(
        (&told["transaction_statements"], &told["client_commands"]),
        (&2.into(), &1.into())
    );
    for (more, said) in [
        (&b"SELECT 1;\0\n"[..], "zero byte"),
        (b"COPY t (a) FROM stdin;\n1\n", "has no end"),
        (
            &[
                b"COPY ",
                &b"x"[..].repeat(2000)[..],
                b" FROM stdin;\n1\n\\.\n",
            ]
            .concat(),
            "has no end",
        ),
    ] {
        let ended = with(more);
        assert_eq!(ended.code(), Some(1), "{}", ended.text());
        let error = ended.errors()[0]["error"].as_str().unwrap().to_owned();
        assert!(error.contains(said), "{error}");
    }
}

/// The most memory that `verify` ever had while it read this text, without the pages of its program.
fn peak_of_verify(text: &[u8]) -> (u64, String) {
    let (bucket, variables) = on_bucket(postgres(), "postgres");
    let name = "vlvt_backup_2026-01-25_03-00-00.sql.gz";
    seaweedfs().put(&bucket, name, &gzip(text));
    let mut service = Service::start(&variables, &["verify", name]);
    let mut peak = 0;
    while service.running() {
        peak = peak.max(service.peak_kib().unwrap_or(0));
        std::thread::yield_now();
    }
    (peak / 1024, service.end(LONG).text())
}

#[test]
fn whatever_an_object_holds_verify_keeps_little_of_it() {
    let lines =
        |line: &dyn Fn(u32) -> String| (0..400_000).map(line).collect::<String>().into_bytes();
    let long = |before: &str, with: &[u8], after: &str| {
        [
            before.as_bytes(),
            &with.repeat(100_000_000 / with.len()),
            after.as_bytes(),
        ]
        .concat()
    };
    let end = "--\n-- PostgreSQL database dump complete\n--\n";
    let name = "x".repeat(150);
    let mut tables = lines(&|n| format!("COPY {name}{n} FROM stdin;\n\\.\n"));
    tables.splice(..0, *b"-- Dumped by pg_dump version 17.1\n");
    tables.extend_from_slice(end.as_bytes());
    for (what, text, most) in [
        ("an unclosed tag", long("SELECT $", b"a", "$"), 40),
        ("a line", long("", b"a", "\n"), 40),
        (
            "a comment",
            long("-- Dumped by pg_dump version ", b"a", "\n"),
            40,
        ),
        ("a key", long("\\restrict ", b"a", "\n"), 40),
        ("a table's name", long("COPY ", b"a", " FROM stdin;\n"), 40),
        (
            "a quoted name",
            long("COPY \"", b"a", "\" FROM stdin;\n"),
            40,
        ),
        (
            "a literal",
            long("SET client_encoding = '", b"a", "';\n"),
            40,
        ),
        (
            "roles",
            lines(&|n| format!("ALTER TABLE t OWNER TO {name}{n};\n")),
            60,
        ),
        ("tables", tables, 140),
    ] {
        let (peak, said) = peak_of_verify(&text);
        assert!(peak > 0 && peak <= most, "{what}: {peak} MiB\n{said}");
        if what == "tables" {
            assert!(said.contains("too many tables to count"), "{said}");
        }
    }
}
