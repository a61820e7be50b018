//! Members of every kind of block are read, whatever is done to them, and nothing outside the slices is touched.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use fastrand::Rng;
use inflate::{Decompressor, Error, Read};
use libdeflater::{CompressionLvl, Compressor};

#[path = "../../igzip/tests/fenced.rs"]
mod fenced;
use fenced::Fenced;

const MIB: usize = 1024 * 1024;

fn member(block: &[u8], level: i32) -> Vec<u8> {
    let mut compressor = Compressor::new(CompressionLvl::new(level).unwrap());
    let mut member = vec![0; compressor.gzip_compress_bound(block.len())];
    let written = compressor.gzip_compress(block, &mut member).unwrap();
    member.truncate(written);
    member
}

fn block(random: &mut Rng, kind: usize, bytes: usize) -> Vec<u8> {
    match kind {
        0 => vec![random.u8(..); bytes],
        1 => (0..bytes).map(|_| random.u8(..)).collect(),
        2 => (0..bytes).map(|_| b'a' + random.u8(..3)).collect(),
        _ => (0..bytes)
            .map(|at| u8::try_from(at % (11 + kind)).unwrap())
            .collect(),
    }
}

#[test]
fn a_member_is_read_to_its_end_and_no_further() {
    let mut random = Rng::with_seed(5);
    let (mut input, mut output) = (Fenced::new(3 * MIB), Fenced::new(2 * MIB));
    let mut decompressor = Decompressor::new().unwrap();
    for (number, bytes) in [0, 1, 2, 257, 258, 65_535, 65_536, 300_000, MIB]
        .into_iter()
        .cycle()
        .take(200)
        .enumerate()
    {
        let block = block(&mut random, number % 5, bytes);
        let member = member(&block, 1 + i32::try_from(number % 9).unwrap());
        let read = Read {
            taken: member.len(),
            written: bytes,
        };
        let text = output.last(bytes);
        let answer = decompressor.gzip_member(input.holding(&member), text);
        assert_eq!(answer, Ok(read));
        assert!(text == block, "{number}");
        assert!(output.is_untouched_before(bytes));

        // The same with anything behind it.
        for more in [&member[..], b"\0", b"and more"] {
            let both = [&member[..], more].concat();
            let answer = decompressor.gzip_member(input.holding(&both), output.last(bytes));
            assert_eq!(answer, Ok(read));
        }
        if bytes > 0 {
            let answer = decompressor.gzip_member(&member, output.last(bytes - 1));
            assert_eq!(answer, Err(Error::NoRoom));
            assert!(output.is_untouched_before(bytes - 1));
        }
    }
    assert_eq!(
        decompressor.gzip_member(&[], &mut []),
        Err(Error::NotAMember)
    );
}

/// What a store may hold in place of a member: it is cut off anywhere, and any of its bytes is another one.
#[test]
fn a_damaged_member_is_an_error_and_nothing_outside_the_slices_is_touched() {
    let mut random = Rng::with_seed(11);
    let (mut input, mut output) = (Fenced::new(MIB), Fenced::new(MIB));
    let mut decompressor = Decompressor::new().unwrap();
    for round in 0..60 {
        let bytes = 1 + random.usize(..2000);
        let block = block(&mut random, round % 5, bytes);
        let member = member(&block, 1 + i32::try_from(round % 9).unwrap());
        for end in 0..member.len() {
            let answer =
                decompressor.gzip_member(input.holding(&member[..end]), output.last(bytes));
            assert!(answer.is_err(), "{round} {end}");
        }
        // The bytes 4 to 9 of the header say nothing about the text.
        for at in (0..member.len()).filter(|at| !(4..10).contains(at)) {
            let mut flipped = member.clone();
            flipped[at] ^= 1 << random.u8(..8);
            let text = output.last(bytes);
            let answer = decompressor.gzip_member(input.holding(&flipped), text);
            assert!(answer.is_err() || text == block, "{round} {at}");
            assert!(output.is_untouched_before(bytes));
        }
    }
    // A header, and then noise.
    for _ in 0..100_000 {
        let mut noise = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
        noise.extend((0..random.usize(..300)).map(|_| random.u8(..)));
        let room = random.usize(..5000);
        let answer = decompressor.gzip_member(input.holding(&noise), output.last(room));
        assert!(answer.is_err());
        assert!(output.is_untouched_before(room));
    }
}

#[test]
fn a_decompressor_goes_to_another_thread() {
    let mut decompressor = Decompressor::new().unwrap();
    let text = std::thread::spawn(move || {
        let mut text = [0; 4];
        let read = decompressor.gzip_member(&member(b"text", 6), &mut text);
        (read.map(|read| read.written), text)
    });
    assert_eq!(text.join().unwrap(), (Ok(4), *b"text"));
}
