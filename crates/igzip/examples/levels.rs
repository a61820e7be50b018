//! What each level makes of a dump, block by block, and what libdeflate's fastest makes of it:
//!
//!     pg_dump … | cargo run --release -p igzip --example levels
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a measurement"
)]
#![expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "figures are rounded"
)]

use std::io::Read as _;
use std::time::Duration;

use igzip::{BEHIND, Compressor, Level, bound};
use libdeflater::CompressionLvl;
use rustix::time::{ClockId, clock_gettime};

const BLOCK: usize = 1024 * 1024;

fn processor_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

/// The compressor is given what is left of the text, and how much of it is the block.
fn measure(name: &str, text: &[u8], mut compress: impl FnMut(&[u8], usize, &mut [u8]) -> usize) {
    let mut room = vec![0; bound(BLOCK) + 64];
    let mut bytes = 0;
    let began = processor_time();
    let length = text.len() - BEHIND;
    for begin in (0..length).step_by(BLOCK) {
        bytes += compress(&text[begin..], BLOCK.min(length - begin), &mut room);
    }
    let compressing = (processor_time() - began).as_secs_f64();
    let megabytes = length as f64 / 1e6;
    println!(
        "{name:14} {:7.0} MB/s  ratio {:.3}",
        megabytes / compressing,
        length as f64 / bytes as f64,
    );
}

fn main() {
    let mut text = Vec::new();
    std::io::stdin().read_to_end(&mut text).unwrap();
    text.extend([0; BEHIND]);
    for level in [Level::Zero, Level::One, Level::Two, Level::Three] {
        let mut compressor = Compressor::new(level);
        measure(&format!("ISA-L {level:?}"), &text, |rest, bytes, room| {
            compressor.gzip_member(rest, bytes, room).unwrap()
        });
    }
    for level in [1, 4, 6] {
        let mut compressor = libdeflater::Compressor::new(CompressionLvl::new(level).unwrap());
        measure(
            &format!("libdeflate {level}"),
            &text,
            |rest, bytes, room| compressor.gzip_compress(&rest[..bytes], room).unwrap(),
        );
    }
}
