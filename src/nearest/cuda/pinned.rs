//! Page-locked memory of the host, which copies to and from a GPU go through.

use cudarc::driver::result;

use super::super::device::NoCuda;
use super::fault::failed;

/// Plain page-locked memory: copies to and from it need no help of the processor, and reading it back is
/// not slow, as it is from write-combined memory.
pub(super) struct Pinned {
    start: *mut u8,
    bytes: usize,
}

impl Pinned {
    /// Nothing yet.
    pub(super) const NONE: Pinned = Pinned { start: std::ptr::null_mut(), bytes: 0 };

    /// At least `bytes`; a context is current.
    ///
    /// # Errors
    /// [`NoCuda`] if the driver has none.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<&mut [u8], NoCuda> {
        if self.bytes < bytes {
            self.free();
            // SAFETY: a context is current; the memory is freed by `free`, once.
            let start = unsafe { result::malloc_host(bytes, 0) }.map_err(failed("page-locked memory"))?;
            // SAFETY: that many bytes were given; from here on they are initialised.
            unsafe { std::ptr::write_bytes(start.cast::<u8>(), 0, bytes) };
            *self = Pinned { start: start.cast(), bytes };
        }
        if bytes == 0 {
            return Ok(&mut []);
        }
        // SAFETY: `start` holds at least `bytes` initialised bytes, and nobody else refers to them.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.start, bytes) })
    }

    /// Gives it back; a context is current.
    pub(super) fn free(&mut self) {
        if !self.start.is_null() {
            // SAFETY: given by the driver and freed once. There is nobody to tell of a failure.
            let _ = unsafe { result::free_host(self.start.cast()) };
        }
        *self = Pinned::NONE;
    }
}
