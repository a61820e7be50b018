//! Reads one gzip member with libdeflate, and says where it ends.
//!
//! The crate `libdeflater` has a safe call for this, but that call does not say how much of the input it has read. What lies
//! between the end of a member and the end of the input would then be passed over in silence, although `gunzip` reads it. So
//! the one call that says it is bound here.
//!
//! **What is trusted**: that libdeflate stays within the lengths that it is given, whatever the bytes are. `tests/members.rs`
//! checks that with damaged members, in buffers that end where a page begins that nobody may touch.
//!
//! **What it accepts, and others refuse**: the two symbols for lengths that RFC 1951 reserves, 286 and 287. libdeflate reads them
//! as a length of 258. So a member that `gunzip` refuses can be read here, but never as a wrong text: its checksum and its length
//! are compared. One flipped bit can make such a symbol out of that of the length 258 in a block with fixed Huffman codes, which
//! compressors only use for very short blocks.

use std::fmt;
use std::ptr::NonNull;

use libdeflate_sys as c;

/// A member that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// The length of the member. What follows it may be the next one.
    pub taken: usize,
    /// The length of its text.
    pub written: usize,
}

/// Why no member was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// The text is longer than the buffer for it.
    NoRoom,
    /// The input does not begin with a gzip member, or the member is damaged or cut off.
    NotAMember,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRoom => "there is too little room for the text of the gzip member",
            Self::NotAMember => "this is not a gzip member, or it is damaged or cut off",
        })
    }
}

impl std::error::Error for Error {}

/// Reads gzip members.
pub struct Decompressor(NonNull<c::libdeflate_decompressor>);

// SAFETY: libdeflate's decompressor belongs to no thread: it is memory for the tables of the call that uses it, and refers to
// nothing else.
unsafe impl Send for Decompressor {}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressor").finish_non_exhaustive()
    }
}

impl Decompressor {
    /// A decompressor with its memory, which is about 11 KiB. There is none if the system has no memory left.
    #[must_use]
    pub fn new() -> Option<Self> {
        // SAFETY: the call has no contract. It returns memory for `libdeflate_free_decompressor`, or a null pointer.
        let decompressor = unsafe { c::libdeflate_alloc_decompressor() };
        NonNull::new(decompressor).map(Self)
    }

    /// Reads the member that `input` begins with, and compares its checksum and its length. What follows the member is not
    /// looked at.
    ///
    /// # Errors
    /// See [`Error`]. Part of the text may be in `room` even then.
    pub fn gzip_member(&mut self, input: &[u8], room: &mut [u8]) -> Result<Read, Error> {
        let (mut taken, mut written) = (0, 0);
        // SAFETY: `libdeflate_gzip_decompress_ex` asks for
        // - a decompressor that `libdeflate_alloc_decompressor` returned, that is not freed and that nobody else uses during the
        //   call: only `drop` frees it, and it is borrowed exclusively;
        // - `in` with `in_nbytes` bytes that can be read and do not change: the shared slice, with its own length;
        // - `out` with `out_nbytes_avail` bytes that can be written: the exclusive slice, with its own length; because it is
        //   exclusive, it does not overlap the input;
        // - two places for numbers.
        // It keeps none of these pointers.
        let result = unsafe {
            c::libdeflate_gzip_decompress_ex(
                self.0.as_ptr(),
                input.as_ptr().cast(),
                input.len(),
                room.as_mut_ptr().cast(),
                room.len(),
                &raw mut taken,
                &raw mut written,
            )
        };
        match result {
            c::libdeflate_result_LIBDEFLATE_SUCCESS => Ok(Read { taken, written }),
            c::libdeflate_result_LIBDEFLATE_INSUFFICIENT_SPACE => Err(Error::NoRoom),
            _ => Err(Error::NotAMember),
        }
    }
}

impl Drop for Decompressor {
    fn drop(&mut self) {
        // SAFETY: `libdeflate_alloc_decompressor` returned it, and nobody can use it any more.
        unsafe { c::libdeflate_free_decompressor(self.0.as_ptr()) }
    }
}
