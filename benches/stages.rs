//! What one core does in a second in each stage that touches every byte: reading the dump, compressing it, and cutting it
//! into parts. The seconds are processor time, so that other work on the machine does not matter.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::io::Cursor;
use std::time::Duration;

use bytes::Bytes;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rustix::time::{ClockId, clock_gettime};
use stream::gzip::{BEHIND, Encoder, decompress};
use stream::part::{Buffers, Cutter};
use stream::script::Script;

/// The processor time of this process: one thread of it is busy, or two if one decompresses ahead.
struct ProcessorTime;

impl Measurement for ProcessorTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap()
    }

    fn end(&self, began: Duration) -> Duration {
        self.start().saturating_sub(began)
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        one.saturating_add(*other)
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        static SAME_UNITS: WallTime = WallTime;
        SAME_UNITS.formatter()
    }
}

/// A MiB of rows as an app has them, with a key, a time, words and a number.
fn rows() -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(20_260_125);
    let words: Vec<String> = (0..4000)
        .map(|_| {
            (0..random.usize(2..11))
                .map(|_| random.lowercase())
                .collect()
        })
        .collect();
    let mut text = Vec::new();
    while text.len() < 1024 * 1024 + BEHIND {
        let key = random.u128(..);
        let line: Vec<&str> = (0..random.usize(4..40))
            .filter_map(|_| {
                let most = random.usize(1..words.len());
                words.get(random.usize(..most)).map(String::as_str)
            })
            .collect();
        let second = random.u32(10..60);
        text.extend_from_slice(
            format!(
                "{key:032x}\t2026-01-25 03:{second}:00+00\t{}\t{}\n",
                line.join(" "),
                random.f64()
            )
            .as_bytes(),
        );
    }
    text
}

/// The same rows as `pg_dump --inserts` writes them, with this many in a statement.
fn inserts(rows: &[u8], in_a_statement: usize) -> Vec<u8> {
    let rows: Vec<String> = String::from_utf8_lossy(rows)
        .lines()
        .map(|row| {
            let values: Vec<String> = row.split('\t').map(|value| format!("'{value}'")).collect();
            format!("({})", values.join(", "))
        })
        .collect();
    let statements = rows.chunks(in_a_statement).map(|rows| match rows {
        [row] => format!("INSERT INTO public.t VALUES {row};\n"),
        rows => format!("INSERT INTO public.t VALUES\n\t{};\n", rows.join(",\n\t")),
    });
    statements.collect::<String>().into_bytes()
}

/// A MiB of text that is made of pieces like this one, each with a number of its own.
fn mebibyte(piece: impl Fn(usize) -> String) -> Vec<u8> {
    let mut text = String::new();
    for number in 0.. {
        if text.len() >= 1024 * 1024 {
            break;
        }
        text += &piece(number);
    }
    text.into_bytes()
}

/// Rows with a few short values, each in a statement of its own.
fn short_inserts() -> Vec<u8> {
    mebibyte(|number| format!("INSERT INTO public.t VALUES ({number}, 'a');\n"))
}

/// Rows of numbers, of which some are negative, fractions or missing.
fn numbers() -> Vec<u8> {
    mebibyte(|number| {
        format!(
            "INSERT INTO public.measurements VALUES ({number}, -{number}, {number}.25, NULL, true, 1.5e-07);\n"
        )
    })
}

/// Large objects, each in as many calls of `lowrite` as `pg_dump` makes of it.
fn large_objects() -> Vec<u8> {
    let write = format!(
        "SELECT pg_catalog.lowrite(0, '\\x{}');\n",
        "6b".repeat(16 * 1024)
    );
    mebibyte(|number| {
        let calls = write.repeat(4);
        format!(
            "SELECT pg_catalog.lo_open('{number}', 131072);\n{calls}SELECT pg_catalog.lo_close(0);\n\n"
        )
    })
}

/// Functions. Their bodies are between dollar signs, and hold quotes, comments and statements.
fn functions() -> Vec<u8> {
    mebibyte(|number| {
        format!(
            "CREATE FUNCTION public.f{number}(amount integer) RETURNS integer\n    LANGUAGE plpgsql\n    AS $$\n\
             BEGIN\n  -- Nobody's balance may fall below zero.\n\
             \x20 IF amount > (SELECT balance FROM public.accounts WHERE id = {number}) THEN\n\
             \x20   RAISE EXCEPTION 'account % has less than %', {number}, amount;\n  END IF;\n\
             \x20 UPDATE public.accounts SET balance = balance - amount WHERE id = {number};\n\
             \x20 RETURN amount;\nEND;\n$$;\n\n\n"
        )
    })
}

/// Tables with all that belongs to them, and the comments of `pg_dump` between them.
fn definitions() -> Vec<u8> {
    let heading = |name: &str, kind: &str| {
        format!("--\n-- Name: {name}; Type: {kind}; Schema: public; Owner: app\n--\n\n")
    };
    mebibyte(|number| {
        let table = format!("orders_{number}");
        [
            heading(&table, "TABLE"),
            format!(
                "CREATE TABLE public.{table} (\n    id bigint NOT NULL,\n    customer_id bigint NOT NULL,\n\
                 \x20   state character varying(20) DEFAULT 'new'::character varying NOT NULL,\n\
                 \x20   total numeric(12,2) DEFAULT 0.00 NOT NULL,\n    \"Note\" text,\n\
                 \x20   created_at timestamp with time zone DEFAULT now() NOT NULL,\n\
                 \x20   CONSTRAINT {table}_total_check CHECK ((total >= (0)::numeric))\n);\n\n\n\
                 ALTER TABLE public.{table} OWNER TO app;\n\n"
            ),
            heading(&format!("TABLE {table}"), "COMMENT"),
            format!("COMMENT ON TABLE public.{table} IS 'What a customer''s basket became';\n\n\n"),
            heading(&format!("{table}_id_seq"), "SEQUENCE"),
            format!(
                "CREATE SEQUENCE public.{table}_id_seq\n    START WITH 1\n    INCREMENT BY 1\n    NO MINVALUE\n\
                 \x20   NO MAXVALUE\n    CACHE 1;\n\n\n\
                 ALTER SEQUENCE public.{table}_id_seq OWNED BY public.{table}.id;\n\n\n"
            ),
            heading(&format!("{table} {table}_pkey"), "CONSTRAINT"),
            format!(
                "ALTER TABLE ONLY public.{table}\n    ADD CONSTRAINT {table}_pkey PRIMARY KEY (id);\n\n\n"
            ),
            heading(&format!("{table}_customer_id_idx"), "INDEX"),
            format!(
                "CREATE INDEX {table}_customer_id_idx ON public.{table} USING btree (customer_id) WHERE (state <> 'paid'::text);\n\n\n"
            ),
            heading(&format!("{table} {table}_customer_id_fkey"), "FK CONSTRAINT"),
            format!(
                "ALTER TABLE ONLY public.{table}\n    ADD CONSTRAINT {table}_customer_id_fkey FOREIGN KEY (customer_id) \
                 REFERENCES public.customers(id) ON DELETE CASCADE;\n\n\n"
            ),
        ]
        .concat()
    })
}

/// Rights: many short statements, and as many comments.
fn rights() -> Vec<u8> {
    mebibyte(|number| {
        format!(
            "--\n-- Name: TABLE orders_{number}; Type: ACL; Schema: public; Owner: app\n--\n\n\
             REVOKE ALL ON TABLE public.orders_{number} FROM app;\n\
             GRANT SELECT,INSERT,UPDATE ON TABLE public.orders_{number} TO \"web-1\";\n\
             GRANT SELECT(id),UPDATE(state) ON TABLE public.orders_{number} TO reporting WITH GRANT OPTION;\n\n\n"
        )
    })
}

fn tap(criterion: &mut Criterion<ProcessorTime>) {
    let rows = rows();
    let short = b"1\t2\n".repeat(rows.len() / 4);
    let literal = vec![b'0'; rows.len()];
    let mut group = criterion.benchmark_group("tap");
    for (name, head, piece) in [
        ("rows", "COPY public.t (a) FROM stdin;\n", &rows),
        ("short rows", "COPY public.t (a) FROM stdin;\n", &short),
        (
            "large object",
            "SELECT pg_catalog.lowrite(0, '\\x",
            &literal,
        ),
        ("large objects", "", &large_objects()),
        ("inserts", "", &inserts(&rows, 1)),
        ("inserts of 100 rows", "", &inserts(&rows, 100)),
        ("short inserts", "", &short_inserts()),
        ("inserts of numbers", "", &numbers()),
        ("functions", "", &functions()),
        ("definitions", "", &definitions()),
        ("rights", "", &rights()),
    ] {
        group.throughput(Throughput::Bytes(piece.len().try_into().unwrap()));
        let mut script = Script::default();
        script.read(head.as_bytes());
        group.bench_function(name, |bencher| bencher.iter(|| script.read(piece)));
    }
    group.finish();
}

fn compressor(criterion: &mut Criterion<ProcessorTime>) {
    let rows = rows();
    let bytes = rows.len() - BEHIND;
    let mut group = criterion.benchmark_group("compressor");
    group.throughput(Throughput::Bytes(bytes.try_into().unwrap()));
    for level in 1..=9 {
        let mut encoder = Encoder::new(level);
        let mut member = vec![0; encoder.room_for(bytes)];
        group.bench_function(BenchmarkId::from_parameter(level), |bencher| {
            bencher.iter(|| encoder.compress(&rows, bytes, &mut member).unwrap());
        });
    }
    group.finish();
}

/// Reading back what the compressor made, and a file of another program, whose members have a file's name in their header.
fn decompressor(criterion: &mut Criterion<ProcessorTime>) {
    // The most that a member of ours holds.
    const BLOCK: usize = 1024 * 1024;
    let mut encoder = Encoder::new(1);
    let mut own = vec![0; encoder.room_for(BLOCK)];
    let bytes = encoder.compress(&rows(), BLOCK, &mut own).unwrap();
    own.truncate(bytes);
    let mut foreign = own.clone();
    // The flag for a name, and a name of one letter behind the header.
    foreign.splice(3..4, [8]);
    foreign.splice(10..10, *b"a\0");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let _context = runtime.enter();
    let mut group = criterion.benchmark_group("decompressor");
    group.throughput(Throughput::Bytes((16 * BLOCK).try_into().unwrap()));
    for (name, member) in [("own", own), ("of another program", foreign)] {
        let file = Bytes::from(member.repeat(16));
        group.bench_function(name, |bencher| {
            bencher.iter(|| decompress(Cursor::new(file.clone()), async |_| Ok(())).unwrap());
        });
    }
    group.finish();
}

/// Copying into a part, and the MD5 of it, for each byte that is sent.
fn parts(criterion: &mut Criterion<ProcessorTime>) {
    let member = rows();
    let mut group = criterion.benchmark_group("parts");
    group.throughput(Throughput::Bytes(member.len().try_into().unwrap()));
    group.bench_function("cut and hash", |bencher| {
        let (mut cutter, mut parts) = Cutter::new(&Buffers::new(8 * member.len(), 4));
        bencher.iter(|| {
            cutter.write(&member).unwrap();
            drop(parts.try_recv());
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(ProcessorTime).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = tap, compressor, decompressor, parts
}
criterion_main!(benches);
