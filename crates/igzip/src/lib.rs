//! ISA-L's one-shot gzip compressor, as a safe call.
//!
//! A block becomes one whole gzip member in the caller's buffer, or the call says that the buffer is too small. The library
//! is the system's (`libisal`), which has assembly code for several processors and chooses the right one when it is loaded.
//!
//! **Why not the crate `isal-rs`** (0.5.3 was read): its `ZStream::new` calls `assume_init` on a Huffman table that nobody
//! fills (ISA-L does not touch it when the default table is asked for), and on a stream of 80 KiB of which the initializer sets
//! eleven fields. That is undefined behaviour, whatever the compiler makes of it today. It also cuts the length of a slice
//! to 32 bits without an error, so that only a part of a longer slice would be stored; it copies the state and allocates
//! 280 KiB for each call; and it brings its own copy of the header, which may differ from that of the library.
//!
//! **What is trusted**: that ISA-L stays within the lengths that it is given, but for [`BEHIND`]. `tests/members.rs` checks that
//! with buffers that end where a page begins that nobody may touch.

use std::fmt;

/// How hard ISA-L tries: 0 is the fastest, 3 the smallest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// One fixed Huffman table for everything.
    Zero,
    /// Huffman tables made for each block of the data.
    One,
    /// As [`Level::One`], with a larger table of what was seen before.
    Two,
    /// As [`Level::Two`], and the better of two matches is taken.
    Three,
}

impl Level {
    const fn number(self) -> u32 {
        match self {
            Self::Zero => 0,
            Self::One => 1,
            Self::Two => 2,
            Self::Three => 3,
        }
    }
}

/// Why there is no member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// The room given is too small for what would have to be written.
    NoRoom,
    /// The input is longer than [`LONGEST`].
    TooLong,
    /// Fewer bytes than [`BEHIND`] follow the block.
    NothingBehind,
    /// An answer of the library that this call does not lead to: its code, or 0 with a length beyond the slice.
    Library(i32),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoom => f.write_str("there is too little room for the gzip member"),
            Self::TooLong => write!(f, "more than {LONGEST} bytes at once"),
            Self::NothingBehind => write!(f, "fewer than {BEHIND} bytes follow the block"),
            Self::Library(code) => write!(f, "ISA-L answered with its code {code}"),
        }
    }
}

impl std::error::Error for Error {}

/// The longest input of one call, 1 GiB. ISA-L counts in 32 bits and adds to the length.
pub const LONGEST: usize = 1 << 30;

/// How many bytes have to follow a block in its buffer. ISA-L's code for arm64 compares eight bytes at a time, so that it reads
/// up to seven behind the last one (2.30 to 2.32 do). They do not become part of a member.
pub const BEHIND: usize = 8;

/// How much room a block of this length needs at most: what can't be compressed is stored in pieces of 65,535 bytes, with
/// five bytes before each and eighteen around the whole.
#[must_use]
pub const fn bound(block_bytes: usize) -> usize {
    const PIECE: usize = 65_535;
    let pieces = if block_bytes == 0 {
        1
    } else {
        block_bytes.div_ceil(PIECE)
    };
    block_bytes
        .saturating_add(pieces.saturating_mul(5))
        .saturating_add(18)
}

/// Memory for ISA-L's structure, which has to begin at a line of the processor's cache. Nothing in it is kept from one call to
/// the next, so it may be moved and sent to other threads.
struct Memory(Vec<Line>);

#[derive(Clone)]
#[repr(C, align(64))]
struct Line([u8; 64]);

impl Memory {
    fn new(bytes: usize) -> Self {
        Self(vec![Line([0; 64]); bytes.div_ceil(size_of::<Line>())])
    }
}

/// Makes gzip members.
pub struct Compressor {
    level: Level,
    memory: Memory,
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor")
            .field("level", &self.level)
            .finish_non_exhaustive()
    }
}

impl Compressor {
    /// A compressor with the memory that this level needs: 80 to 400 KiB.
    #[must_use]
    pub fn new(level: Level) -> Self {
        Self {
            level,
            memory: Memory::new(c::psb_igzip_compressor_bytes(level.number())),
        }
    }

    /// Makes one gzip member of the first bytes of the buffer, and says how long it is. At least [`BEHIND`] bytes have to follow
    /// them. Nothing behind `room` is touched; within it, anything may be left behind the member.
    ///
    /// # Errors
    /// [`Error::NoRoom`], never if there is as much as [`bound`] says; [`Error::TooLong`]; [`Error::NothingBehind`].
    pub fn gzip_member(
        &mut self,
        buffer: &[u8],
        block_bytes: usize,
        room: &mut [u8],
    ) -> Result<usize, Error> {
        let block_bytes = length(buffer, block_bytes)?;
        // More room than can be counted is as good as all that can.
        let room_bytes = u32::try_from(room.len()).unwrap_or(u32::MAX);
        let mut written = 0;
        // SAFETY: `psb_igzip_compress` asks for
        // - memory that is aligned to 64 bytes, has `psb_igzip_compressor_bytes(level)` bytes and is nobody else's during the
        //   call: `new` made it for this very level, `Line` has the alignment, and it is borrowed exclusively;
        // - `in` with `in_bytes` and eight more bytes that can be read and do not change: the shared slice, of which `length`
        //   says that it is longer than the block by as much;
        // - `out` with `out_bytes` bytes that can be written: the exclusive slice, with its own length or less; being
        //   exclusive, it does not overlap the input;
        // - a place for a number.
        // It keeps none of these pointers: the next call sets them all anew.
        let code = unsafe {
            c::psb_igzip_compress(
                self.memory.0.as_mut_ptr().cast(),
                self.level.number(),
                buffer.as_ptr(),
                block_bytes,
                room.as_mut_ptr(),
                room_bytes,
                &raw mut written,
            )
        };
        match code {
            c::COMP_OK => within(written, room),
            c::STATELESS_OVERFLOW => Err(Error::NoRoom),
            other => Err(Error::Library(other)),
        }
    }
}

/// The length of a block at the beginning of this buffer, if it may be compressed.
fn length(buffer: &[u8], block_bytes: usize) -> Result<u32, Error> {
    if block_bytes > LONGEST {
        return Err(Error::TooLong);
    }
    if buffer.len() < block_bytes.saturating_add(BEHIND) {
        return Err(Error::NothingBehind);
    }
    u32::try_from(block_bytes).map_err(|_| Error::TooLong)
}

/// A length that the library answered, held against the slice that it is about.
fn within(bytes: u32, slice: &[u8]) -> Result<usize, Error> {
    usize::try_from(bytes)
        .ok()
        .filter(|bytes| *bytes <= slice.len())
        .ok_or(Error::Library(0))
}

/// `igzip.c`
mod c {
    use std::ffi::{c_int, c_void};

    // ISA-L's codes, from igzip_lib.h.
    pub(super) const COMP_OK: c_int = 0;
    pub(super) const STATELESS_OVERFLOW: c_int = -1;

    // SAFETY: these are the signatures in igzip.c, which build.rs compiles and links. The one that is called safe reads
    // nothing but its argument.
    unsafe extern "C" {
        pub(super) safe fn psb_igzip_compressor_bytes(level: u32) -> usize;
        pub(super) fn psb_igzip_compress(
            memory: *mut c_void,
            level: u32,
            block: *const u8,
            block_bytes: u32,
            room: *mut u8,
            room_bytes: u32,
            written: *mut u32,
        ) -> c_int;
    }
}
