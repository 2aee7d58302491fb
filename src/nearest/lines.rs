//! Bytes that start on a cache line.

/// One cache line.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code, reason = "seen as bytes")] [u8; 64]);

/// Bytes that start on a cache line.
#[derive(Default)]
pub(super) struct Lines {
    lines: Vec<Line>,
    length: usize,
}

impl Lines {
    /// Makes it `length` bytes long; new ones are zero.
    pub(super) fn resize(&mut self, length: usize) {
        self.lines.resize(length.div_ceil(64), Line([0; 64]));
        self.length = length;
    }

    /// All bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: there are at least `length` bytes, all initialised.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.length) }
    }

    /// All bytes, to write.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and borrowed for writing.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.length) }
    }

    /// All bytes as signed numbers, to write.
    pub(super) fn numbers_mut(&mut self) -> &mut [i8] {
        bytemuck::cast_slice_mut(self.bytes_mut())
    }

    /// All bytes as signed numbers.
    pub(super) fn numbers(&self) -> &[i8] {
        bytemuck::cast_slice(self.bytes())
    }
}
