//! Every member is read back by five decoders, and nothing outside the slices is touched.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use fastrand::Rng;
use igzip::{BEHIND, Compressor, Error, Level, bound};

mod fenced;
use fenced::Fenced;

const LEVELS: [Level; 4] = [Level::Zero, Level::One, Level::Two, Level::Three];
const MIB: usize = 1024 * 1024;

/// Reads members, each after its length, and writes the text of each after its length. What follows a member, or a member
/// that is not whole, ends it with an error.
const PYTHON: &str = "
import struct, sys, zlib
source, sink = sys.stdin.buffer, sys.stdout.buffer
while head := source.read(4):
    member = source.read(struct.unpack('<I', head)[0])
    reader = zlib.decompressobj(31)
    text = reader.decompress(member) + reader.flush()
    assert reader.eof and not reader.unused_data
    sink.write(struct.pack('<I', len(text)) + text)
";

/// What the program answers to the input. It reads and writes at the same time.
fn filter(program: &str, arguments: &[&str], input: Vec<u8>) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let mut output = Vec::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_end(&mut output)
        .unwrap();
    writer.join().unwrap().unwrap();
    assert!(child.wait().unwrap().success(), "{program}");
    output
}

/// Members of one batch and what each must give, for the programs.
#[derive(Default)]
struct Batch {
    members: Vec<u8>,
    text: Vec<u8>,
    framed_members: Vec<u8>,
    framed_text: Vec<u8>,
}

impl Batch {
    fn add(&mut self, block: &[u8], member: &[u8]) {
        for (plain, framed, piece) in [
            (&mut self.members, &mut self.framed_members, member),
            (&mut self.text, &mut self.framed_text, block),
        ] {
            plain.extend_from_slice(piece);
            framed.extend_from_slice(&u32::try_from(piece.len()).unwrap().to_le_bytes());
            framed.extend_from_slice(piece);
        }
    }

    /// The programs `gzip` and `bsdcat` read them as one file, and Python's zlib reads them one by one.
    fn read_by_the_programs(&mut self) {
        let batch = std::mem::take(self);
        assert!(filter("bsdcat", &[], batch.members.clone()) == batch.text);
        assert!(filter("gzip", &["-dc"], batch.members) == batch.text);
        assert!(filter("python3", &["-c", PYTHON], batch.framed_members) == batch.framed_text);
    }
}

fn rows(random: &mut Rng, bytes: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes + 100);
    while text.len() < bytes {
        let (id, seconds, amount) = (random.u32(..), random.u32(..60), random.f32());
        writeln!(
            text,
            "{id}\t2026-01-25 03:14:{seconds:02}+00\t\\N\tword{amount}\t{{\"a\": [{seconds}]}}\tt"
        )
        .unwrap();
    }
    text.truncate(bytes);
    text
}

/// A block of one of the kinds that a compressor treats each in its own way.
fn block(random: &mut Rng, kind: usize, bytes: usize) -> Vec<u8> {
    let noise = |random: &mut Rng, bytes: usize| -> Vec<u8> {
        let mut block = vec![0; bytes];
        random.fill(&mut block);
        block
    };
    match kind {
        // ISA-L writes runs of these two from a template.
        0 => vec![0; bytes],
        1 => vec![0xff; bytes],
        2 => vec![random.u8(..); bytes],
        3 => noise(random, bytes),
        4 | 5 => rows(random, bytes),
        // Such a run, then something else; and the other way round.
        6 | 7 => {
            let run = random.usize(..=bytes);
            let other = if random.bool() {
                noise(random, bytes - run)
            } else {
                rows(random, bytes - run)
            };
            let run = vec![if random.bool() { 0 } else { 0xff }; run];
            if kind == 6 {
                [run, other].concat()
            } else {
                [other, run].concat()
            }
        }
        // Few symbols; a period of any length, up to what lies outside the window.
        8 => (0..bytes).map(|_| b'a' + random.u8(..3)).collect(),
        9 => {
            let period = noise(random, 1 + random.clone().usize(..40_000.min(bytes.max(1))));
            period.iter().copied().cycle().take(bytes).collect()
        }
        // Text with noise strewn in, as a table with bytea has it.
        10 => {
            let mut block = rows(random, bytes);
            for _ in 0..bytes / 50 {
                let at = random.usize(..bytes);
                block[at] = random.u8(..);
            }
            block
        }
        _ => (0..bytes)
            .map(|at| u8::try_from(at % 256).unwrap())
            .collect(),
    }
}

/// A block and the bytes behind it, which are often what would make a match longer.
fn followed(random: &mut Rng, block: &[u8]) -> Vec<u8> {
    let behind: Vec<u8> = match random.u8(..3) {
        0 => (0..BEHIND).map(|_| random.u8(..)).collect(),
        1 => block.iter().copied().chain(0..).take(BEHIND).collect(),
        _ => vec![block.last().copied().unwrap_or_default(); BEHIND],
    };
    [block, &behind].concat()
}

/// Mostly short, with the lengths on both sides of the limits in the format; some are whole blocks of the pipeline.
fn length(random: &mut Rng, number: usize) -> usize {
    const EDGES: [usize; 12] = [0, 1, 2, 7, 8, 9, 257, 258, 259, 65_535, 65_536, 131_070];
    match number % 1000 {
        0 if number.is_multiple_of(10_000) => MIB,
        0..20 => EDGES[random.usize(..EDGES.len())] + random.usize(..2),
        20..30 => random.usize(..200_000),
        30..300 => random.usize(..64),
        _ => random.usize(..1500),
    }
}

/// What was made of a block is what each decoder of this process says it is.
fn read_here(block: &[u8], member: &[u8], input: &mut Fenced, output: &mut Fenced) {
    let text = output.last(block.len());
    let written = libdeflater::Decompressor::new().gzip_decompress(input.holding(member), text);
    assert_eq!(written, Ok(block.len()));
    assert!(text == block, "libdeflate");

    let mut text = Vec::with_capacity(block.len());
    let mut rest = member;
    flate2::bufread::GzDecoder::new(&mut rest)
        .read_to_end(&mut text)
        .unwrap();
    assert!(rest.is_empty() && text == block, "zlib-rs");
}

#[test]
fn a_hundred_thousand_members_are_read_back_by_five_decoders() {
    const BLOCKS: usize = 100_000;
    let mut random = Rng::with_seed(20_261_127);
    let mut compressors = LEVELS.map(Compressor::new);
    let room = 2 * MIB;
    let (mut input, mut output) = (Fenced::new(room), Fenced::new(room));
    let mut batch = Batch::default();
    let (mut refused, mut stored) = (0, 0);
    for number in 0..BLOCKS {
        let bytes = length(&mut random, number);
        let kind = random.usize(..12);
        let block = block(&mut random, kind, bytes);
        let followed = followed(&mut random, &block);
        let compressor = &mut compressors[random.usize(..4)];
        let context = format!("block {number}: {bytes} bytes of kind {kind}, {compressor:?}");

        // Exactly the room that it may need.
        let most = bound(bytes);
        let member = output.last(most);
        let written = compressor.gzip_member(input.holding(&followed), bytes, member);
        let written = written.unwrap_or_else(|error| panic!("{context}: {error}"));
        stored += usize::from(written == most);
        let member = member[..written].to_vec();
        assert!(output.is_untouched_before(most), "{context}");
        read_here(&block, &member, &mut input, &mut output);

        // Less than that: a member again, or no member, and never a byte outside.
        let less = match number % 3 {
            0 => written.saturating_sub(1 + random.usize(..9)),
            1 => random.usize(..=written),
            _ => written,
        };
        let place = output.last(less);
        match compressor.gzip_member(input.holding(&followed), bytes, place) {
            Ok(again) => {
                let again = place[..again].to_vec();
                assert!(output.is_untouched_before(less), "{context}");
                read_here(&block, &again, &mut input, &mut output);
            }
            Err(error) => {
                assert_eq!(error, Error::NoRoom, "{context}");
                assert!(output.is_untouched_before(less), "{context}");
                refused += 1;
            }
        }

        batch.add(&block, &member);
        if batch.text.len() > 16 * MIB || number + 1 == BLOCKS {
            batch.read_by_the_programs();
        }
    }
    // Otherwise the above would have shown little.
    assert!(refused > BLOCKS / 4, "{refused}");
    assert!(stored > BLOCKS / 20, "{stored}");
}

#[test]
fn a_whole_block_of_one_byte_and_one_of_noise_fit_at_every_level() {
    let mut random = Rng::with_seed(7);
    let (mut input, mut output) = (Fenced::new(2 * MIB), Fenced::new(2 * MIB));
    for level in LEVELS {
        let mut compressor = Compressor::new(level);
        let mut batch = Batch::default();
        for byte in 0..=255 {
            let buffer = vec![byte; MIB + BEHIND];
            let block = &buffer[..MIB];
            let place = output.last(bound(MIB));
            let written = compressor.gzip_member(&buffer, MIB, place).unwrap();
            assert!(written < MIB / 50, "{level:?} {byte}: {written}");
            let member = place[..written].to_vec();
            read_here(block, &member, &mut input, &mut output);
            if byte % 64 == 0 {
                batch.add(block, &member);
            }
        }
        let mut buffer = vec![0; MIB + BEHIND];
        random.fill(&mut buffer);
        let block = &buffer[..MIB];
        let place = output.last(bound(MIB));
        let written = compressor.gzip_member(&buffer, MIB, place).unwrap();
        assert_eq!(written, bound(MIB), "{level:?}");
        let member = place[..written].to_vec();
        read_here(block, &member, &mut input, &mut output);
        batch.add(block, &member);
        batch.read_by_the_programs();

        let place = output.last(bound(MIB) - 1);
        let written = compressor.gzip_member(&buffer, MIB, place);
        assert_eq!(written, Err(Error::NoRoom));
        assert!(output.is_untouched_before(bound(MIB) - 1));
        let written = compressor.gzip_member(&buffer, MIB, &mut []);
        assert_eq!(written, Err(Error::NoRoom));
    }
}

#[test]
fn a_block_must_be_followed_by_bytes_that_may_be_read() {
    let mut compressor = Compressor::new(Level::Two);
    let (buffer, mut room) = ([0; 100], [0; 200]);
    for (bytes, error) in [
        (100 - BEHIND, None),
        (100 - BEHIND + 1, Some(Error::NothingBehind)),
        (101, Some(Error::NothingBehind)),
        (usize::MAX, Some(Error::TooLong)),
    ] {
        let written = compressor.gzip_member(&buffer, bytes, &mut room);
        assert_eq!(written.err(), error, "{bytes}");
    }
}

#[test]
fn a_compressor_goes_to_another_thread() {
    let mut compressor = Compressor::new(Level::One);
    let member = std::thread::spawn(move || {
        let mut member = vec![0; bound(4)];
        let written = compressor.gzip_member(b"text, and what follows", 4, &mut member);
        let written = written.unwrap();
        member.truncate(written);
        member
    });
    assert_eq!(filter("gzip", &["-dc"], member.join().unwrap()), b"text");
}
