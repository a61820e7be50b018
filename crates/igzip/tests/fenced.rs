//! Memory that ends where the process may neither read nor write.

use std::ptr;
use std::slice;

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

const PAGE: usize = 4096;
/// What lies in front of the bytes in use.
const UNTOUCHED: u8 = 0xa5;

/// A place for bytes whose last one is the last before a page that can't be touched.
pub(super) struct Fenced {
    start: *mut u8,
    bytes: usize,
}

impl Fenced {
    pub(super) fn new(bytes: usize) -> Self {
        let bytes = bytes.next_multiple_of(PAGE);
        // SAFETY: a new mapping at a place of the kernel's choice overlaps nothing.
        let start = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                bytes + PAGE,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        }
        .unwrap()
        .cast::<u8>();
        let mut fenced = Self { start, bytes };
        // SAFETY: the last page of that mapping, which no slice is ever made of.
        unsafe {
            mprotect(
                start.wrapping_add(bytes).cast(),
                PAGE,
                MprotectFlags::empty(),
            )
        }
        .unwrap();
        fenced.all().fill(UNTOUCHED);
        fenced
    }

    fn all(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is ours, zeroed by the kernel and readable and writable for this length; it lives as long as
        // `self`, which the slice borrows exclusively.
        unsafe { slice::from_raw_parts_mut(self.start, self.bytes) }
    }

    /// The last bytes before the fence, as they are.
    pub(super) fn last(&mut self, bytes: usize) -> &mut [u8] {
        let before = self.bytes - bytes;
        let (untouched, last) = self.all().split_at_mut(before);
        let near = before.saturating_sub(PAGE);
        untouched[near..].fill(UNTOUCHED);
        last
    }

    /// The last bytes, made these.
    pub(super) fn holding(&mut self, bytes: &[u8]) -> &[u8] {
        let last = self.last(bytes.len());
        last.copy_from_slice(bytes);
        last
    }

    /// Whether the page in front of the last so many bytes is as it was.
    pub(super) fn is_untouched_before(&mut self, bytes: usize) -> bool {
        let before = self.bytes - bytes;
        let near = before.saturating_sub(PAGE);
        self.all()[near..before]
            .iter()
            .all(|byte| *byte == UNTOUCHED)
    }
}

impl Drop for Fenced {
    fn drop(&mut self) {
        // SAFETY: the mapping of `new`, whole, of which no slice is left.
        unsafe { munmap(self.start.cast(), self.bytes + PAGE) }.unwrap();
    }
}
