//! What the search needs of a card: memory, copies, launches, in the order of one stream.

use super::super::device::NoCuda;
use super::geometry::Arch;
use super::problem::{Kernel, Problem};

/// A piece of a card's memory, owned by the card.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Memory {
    pub address: u64,
    pub bytes: usize,
}

/// A card with the kernels loaded. All calls take effect in their order.
pub(super) trait Card: Send {
    /// The architecture that its code was made for, which decides the launches.
    fn arch(&self) -> Arch;

    /// Multiprocessors.
    fn processors(&self) -> usize;

    /// Bytes of shared memory that a block may have: the code may be made for another architecture with more.
    fn shared_limit(&self) -> usize;

    /// Name and further detail, for people.
    fn describe(&self) -> String;

    /// Memory with arbitrary contents; `what` is for the error.
    fn allocate(&mut self, what: &'static str, bytes: usize) -> Result<Memory, NoCuda>;

    /// Gives memory back; it must not be used any more.
    fn free(&mut self, memory: Memory);

    /// Copies `bytes` to `offset` of `to`. They may change once this returns.
    fn upload(&mut self, to: Memory, offset: usize, bytes: &[u8]) -> Result<(), NoCuda>;

    /// Sets the first `bytes` to 0.
    fn zero(&mut self, memory: Memory, bytes: usize) -> Result<(), NoCuda>;

    /// Starts a kernel on a grid of blocks of [`super::geometry::THREADS`] threads.
    ///
    /// # Safety
    /// `problem` holds addresses and sizes of memory of this card that is not freed before the kernel ends.
    unsafe fn launch(
        &mut self,
        kernel: Kernel,
        grid: (usize, usize),
        shared_bytes: usize,
        problem: &Problem,
    ) -> Result<(), NoCuda>;

    /// Starts to copy the first `bytes` of `from` to the host.
    fn fetch(&mut self, from: Memory, bytes: usize) -> Result<(), NoCuda>;

    /// Waits for the last [`Card::fetch`], and with it for all that was started before, and copies what it brought.
    fn fetched(&mut self, to: &mut [u8]) -> Result<(), NoCuda>;

    /// Waits for all that was started, and copies the start of `from`.
    fn download(&mut self, from: Memory, to: &mut [u8]) -> Result<(), NoCuda> {
        self.fetch(from, to.len())?;
        self.fetched(to)
    }

    /// What is started from now on waits for what `stream` (a `CUstream`) has been given so far.
    ///
    /// # Safety
    /// `stream` is a stream of this card's device.
    unsafe fn follow(&mut self, stream: *mut std::ffi::c_void) -> Result<(), NoCuda>;

    /// Marks the moment at which all that was started so far is done, under this number.
    fn mark(&mut self, moment: usize) -> Result<(), NoCuda>;

    /// Milliseconds between two moments that were marked; waits for the later one.
    fn between(&mut self, from: usize, to: usize) -> Result<f32, NoCuda>;
}
