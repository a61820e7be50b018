//! What one core does in a second in each stage that touches every byte: reading the dump, compressing it, and cutting it
//! into parts. The seconds are processor time, so that other work on the machine does not matter.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::io::Cursor;
use std::time::Duration;

use bytes::Bytes;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rustix::time::{ClockId, clock_gettime};
use stream::gzip::{Encoder, decompress};
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
    while text.len() < 1024 * 1024 {
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

/// The same rows as `pg_dump --inserts` writes them, with a statement for each.
fn inserts(rows: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for row in String::from_utf8_lossy(rows).lines() {
        let values: Vec<String> = row.split('\t').map(|value| format!("'{value}'")).collect();
        let line = format!("INSERT INTO public.t VALUES ({});\n", values.join(", "));
        text.extend_from_slice(line.as_bytes());
    }
    text
}

/// A MiB of functions. Their bodies are between dollar signs, and hold quotes, comments and statements.
fn functions() -> Vec<u8> {
    let mut text = Vec::new();
    while text.len() < 1024 * 1024 {
        let number = text.len();
        text.extend_from_slice(
            format!(
                "CREATE FUNCTION public.f{number}(amount integer) RETURNS integer\n    LANGUAGE plpgsql\n    AS $$\n\
                 BEGIN\n  -- Nobody's balance may fall below zero.\n\
                 \x20 IF amount > (SELECT balance FROM public.accounts WHERE id = {number}) THEN\n\
                 \x20   RAISE EXCEPTION 'account % has less than %', {number}, amount;\n  END IF;\n\
                 \x20 UPDATE public.accounts SET balance = balance - amount WHERE id = {number};\n\
                 \x20 RETURN amount;\nEND;\n$$;\n\n\n"
            )
            .as_bytes(),
        );
    }
    text
}

fn tap(criterion: &mut Criterion<ProcessorTime>) {
    let rows = rows();
    let (inserts, functions) = (inserts(&rows), functions());
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
        ("inserts", "", &inserts),
        ("functions", "", &functions),
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
    let mut group = criterion.benchmark_group("compressor");
    group.throughput(Throughput::Bytes(rows.len().try_into().unwrap()));
    for level in 1..=9 {
        let mut encoder = Encoder::new(level);
        let mut member = vec![0; encoder.room_for(rows.len())];
        group.bench_function(BenchmarkId::from_parameter(level), |bencher| {
            bencher.iter(|| encoder.compress(&rows, &mut member).unwrap());
        });
    }
    group.finish();
}

/// Reading back what the compressor made, and a file of another program, whose members have a file's name in their header.
fn decompressor(criterion: &mut Criterion<ProcessorTime>) {
    let mut rows = rows();
    // A block, which is the most that a member of ours holds.
    rows.truncate(1024 * 1024);
    let mut encoder = Encoder::new(1);
    let mut own = vec![0; encoder.room_for(rows.len())];
    let bytes = encoder.compress(&rows, &mut own).unwrap();
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
    group.throughput(Throughput::Bytes((16 * rows.len()).try_into().unwrap()));
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
