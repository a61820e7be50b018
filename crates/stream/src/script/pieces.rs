//! Text that comes whole, or cut anywhere: the reader must find the same in it.

use super::{Contents, Inside, Lost, Script, Unchecked};

/// What `pg_dump` writes, and what is easily misread. They are put together at random.
const FRAGMENTS: &[&[u8]] = &[
    b"INSERT INTO public.t VALUES (1, 'a');\n",
    b"INSERT INTO public.t VALUES (1, 'a');\n",
    b"INSERT INTO public.t VALUES\n\t(1, 'it''s'),\n\t(-2.5, NULL);\n",
    b"INSERT INTO public.\"T;\" (a, \"b)\") OVERRIDING SYSTEM VALUE VALUES (",
    b"INSERT INTO t DEFAULT VALUES;\n",
    b"insert into t values ((1), (2)), (3, array[4, 5]), (",
    b"INSERT INTO public.t VALUES (",
    b"INSERT INTO public.t VALUES",
    b"INSERT INTO public.t VALUES_ (1);\n",
    b"INSERT INTO ",
    b"VALUES ",
    b"COPY t (a) FROM stdin;\n1\n2\n\\.\n",
    b"COPY s.\"T\" FROM stdin WITH (FORMAT csv); SELECT 1;\n",
    b"COPY t FROM stdin",
    b"\\.\n",
    b"SELECT pg_catalog.lowrite(0, '\\x6b6b');\n",
    b"SELECT pg_catalog.lo_open('16385', 131072);\n",
    b"SELECT pg_catalog.set_config('standard_conforming_strings', 'off', false);\n",
    b"SET standard_conforming_strings = off;\n",
    b"SET standard_conforming_strings = on;\n",
    b"SET standard_conforming_strings = off;",
    b"SET client_encoding = 'SJIS';\n",
    b"SET client_encoding = 'GB18030';\n",
    b"SET client_encoding = 'UTF8';\n",
    b"RESET ALL;\n",
    b"CREATE TABLE public.t (\n    a integer DEFAULT '1'::text NOT NULL\n);\n",
    b"CREATE FUNCTION f(a integer) RETURNS integer LANGUAGE sql AS $_$ SELECT $1; $_$;\n",
    b"CREATE OR REPLACE PROCEDURE p() BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END; END;\n",
    b"CREATE FUNCTION f() ",
    b"create or ",
    b"replace ",
    b"function",
    b"BEGIN ATOMIC ",
    b"begin ",
    b"case",
    b" END",
    b"ALTER TABLE ONLY public.t\n    ADD CONSTRAINT c CHECK ((a > 0)) NOT VALID;\n",
    b"ALTER DOMAIN d ADD CONSTRAINT \"C\"\"\" CHECK (VALUE > 0) NOT ",
    b"VALID",
    b"COMMENT ON TABLE t IS 'a \\ '';COPY y FROM stdin;';\n",
    b"GRANT SELECT(a),UPDATE ON TABLE t TO \"web-1\";\n",
    b"--\n-- Name: t; Type: TABLE; Schema: public; Owner: o'\n--\n\n",
    b"-- Dumped from database version 17.1\n",
    b"--\n-- PostgreSQL database dump\n--\n",
    b"COMMIT;",
    b"\\restrict k\n",
    b"\\foo 'x",
    b"\\;",
    b"\\:",
    b"\\\\",
    b"\\",
    b" ",
    b" ",
    b"\n",
    b"\n",
    b"\r",
    b"\r\n",
    b"\t",
    b"\x0c",
    b";",
    b";",
    b";\n",
    b"(",
    b")",
    b"), (",
    b");\n",
    b",",
    b"'",
    b"'",
    b"''",
    b"'a'",
    b"'a;'",
    b"\\'",
    b"E'",
    b"e'a\\'",
    b"E'a'\r'\\''",
    b"'a'\n'b\\'",
    b"'a'--x\r'",
    b"U&'",
    b"u&\"a\"\"",
    b"u&",
    b"n'",
    b"B'101'",
    b"x'1''",
    b"\"",
    b"\"\"",
    b"\"a;\"",
    b"$$",
    b"$$",
    b"$a$",
    b"$a$;$b$",
    b"$a",
    b"$_$",
    b"a$b",
    b"$1",
    b"$",
    b"/*",
    b"/* ; /* */",
    b"*/",
    b"--",
    b"-- ;'\n",
    b"-",
    b"/",
    b"*",
    b":",
    b"::",
    b":a",
    b":'a'",
    b":\"b\"",
    b":=",
    b".",
    b"..",
    b".5",
    b"1",
    b"1.",
    b"1e",
    b"1e-",
    b"1.5e-07",
    b"-1",
    b"0x1f",
    b"1_0",
    b"e",
    b"b",
    b"u",
    b"_",
    b"a",
    b"NULL",
    b"true",
    b"&",
    b"=",
    b"[",
    b"@-",
    b"||",
    b"\xc3\xa9",
    b"\x81'",
    b"\x81\\",
    b"\x840\x81'",
    b"\xfe\"",
];

fn text(random: &mut fastrand::Rng) -> Vec<u8> {
    let fragments = (0..random.usize(1..12)).flat_map(|_| *random.choice(FRAGMENTS).unwrap());
    fragments.copied().collect()
}

/// Everything that the reader says of a text.
#[derive(Debug, PartialEq)]
struct Said {
    contents: Contents,
    /// Where statements ended, with their rows.
    ends: Vec<usize>,
    transaction_statements: u64,
    client_commands: u64,
    definitions: u64,
    beginnings: u64,
    unchecked: Vec<Unchecked>,
    has_nameless_rows: bool,
    is_between_statements: bool,
    is_inside_quote: bool,
    dumped_from: Option<String>,
}

/// Reads a text in pieces of these lengths, over and over.
fn said(text: &[u8], lengths: &[usize]) -> Said {
    let mut script = Script::default();
    let mut rest = text;
    for length in lengths.iter().cycle().take(text.len()) {
        let (piece, after) = rest.split_at((*length).min(rest.len()));
        rest = after;
        script.read(piece);
    }
    said_by(&script, Vec::new())
}

/// Reads a text statement by statement.
fn said_of_statements(text: &[u8], length: usize) -> Said {
    let mut script = Script::default();
    let mut ends = Vec::new();
    let (mut at, mut ended) = (0, 0);
    for piece in text.chunks(length) {
        let mut rest = piece;
        while !rest.is_empty() {
            let taken = script.read_statement(rest);
            at += taken;
            rest = &rest[taken..];
            if script.is_between_statements() && script.statements() > ended {
                ended = script.statements();
                ends.push(at);
            }
        }
    }
    said_by(&script, ends)
}

fn said_by(script: &Script, ends: Vec<usize>) -> Said {
    Said {
        contents: script.contents(),
        ends,
        transaction_statements: script.transaction_statements(),
        client_commands: script.client_commands(),
        definitions: script.definitions(),
        beginnings: script.beginnings(),
        unchecked: script.unchecked_constraints().to_vec(),
        has_nameless_rows: script.has_nameless_rows,
        is_between_statements: script.is_between_statements(),
        is_inside_quote: script.is_inside_quote(),
        dumped_from: script.dumped_from().map(str::to_owned),
    }
}

#[test]
fn the_same_is_found_in_a_text_however_it_is_cut() {
    let mut random = fastrand::Rng::with_seed(20_261_127);
    for _ in 0..100_000 {
        let text = text(&mut random);
        let whole = said(&text, &[text.len()]);
        let cuts: Vec<usize> = (0..3).map(|_| random.usize(1..20)).collect();
        let shown = text.escape_ascii();
        assert_eq!(said(&text, &cuts), whole, "{cuts:?} {shown}");
        let statements = said_of_statements(&text, text.len());
        assert_eq!(said_of_statements(&text, 1), statements, "{shown}");
        assert_eq!(
            Said {
                ends: Vec::new(),
                ..statements
            },
            whole,
            "{shown}"
        );
    }
}

#[test]
fn a_zero_byte_is_found_however_the_text_is_cut() {
    let mut random = fastrand::Rng::with_seed(20_261_128);
    for _ in 0..10_000 {
        let mut text = text(&mut random);
        text.insert(random.usize(..=text.len()), 0);
        for length in [1, 7, text.len()] {
            let inside = said(&text, &[length]).contents.ends_inside;
            assert_eq!(
                inside,
                Some(Inside::Lost(Lost::Nul)),
                "{}",
                text.escape_ascii()
            );
        }
    }
}

#[test]
fn statements_that_begin_alike_are_counted_as_if_each_was_read_alone() {
    for (text, rows, tables) in [
        (&b"INSERT INTO t VALUES (1);\nINSERT INTO t VALUES (2), (3);\nINSERT INTO t VALUES\n(4);\n"[..], 4, 1),
        (b"INSERT INTO t (a) VALUES (1);\nINSERT INTO u (a) VALUES (2);INSERT INTO u (a) VALUES (3);", 3, 2),
        // Another word, no INSERT for a server, and one that is not whole yet.
        (b"INSERT INTO t VALUES (1);\nINSERT INTO t VALUES_ (2);\nINSERT INTO t VALUES$ (2);\n", 1, 1),
        (b"INSERT INTO t VALUES(1);\nINSERT INTO t VALUES(2);\nINSERT INTO t VALUES", 2, 1),
        // A second statement, and a command to the client.
        (b"SELECT 1\\; INSERT INTO t VALUES (1);\nSELECT 1\\; INSERT INTO t VALUES (2);\n", 2, 1),
        (b"INSERT INTO t VALUES (1)\\; INSERT INTO u VALUES (2);\nINSERT INTO t VALUES (3);\n", 3, 2),
        (b"INSERT INTO t \\foo\nVALUES (1);\nINSERT INTO t \\foo\nVALUES (2);\n", 2, 1),
        (b"INSERT INTO t (a; INSERT INTO u VALUES (1));\nINSERT INTO t (a; INSERT INTO u VALUES (1));\n", 0, 0),
        // Words that would begin a function if no others came before them.
        (b"INSERT INTO t VALUES (1);\nINSERT INTO t VALUES (2) create function f begin; INSERT INTO t VALUES (3);\n", 3, 1),
        // A setting that counts from the line on which the values stand.
        (
            b"INSERT INTO t\nVALUES (1);\nSET standard_conforming_strings = off; INSERT INTO t\nVALUES ('\\'');\n",
            2,
            1,
        ),
        // With the second setting, the quote behind the letter belongs to it, and the name goes on.
        (
            b"INSERT INTO \"\x81\" VALUES (1);\nSET client_encoding = 'SJIS';\nINSERT INTO \"\x81\" VALUES (2);\n\" VALUES (3);\n",
            2,
            2,
        ),
        (
            b"INSERT INTO t ('\\') VALUES (1);\nSET standard_conforming_strings = off;\nINSERT INTO t ('\\') VALUES (2);\n') VALUES (3);\n",
            2,
            1,
        ),
    ] {
        let whole = said(text, &[text.len()]);
        let shown = text.escape_ascii();
        assert_eq!(said(text, &[1]), whole, "{shown}");
        let contents = whole.contents;
        assert_eq!((contents.rows, contents.tables.len()), (rows, tables), "{shown}");
    }
}
