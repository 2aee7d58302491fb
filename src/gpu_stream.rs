//! A GPU, a stream of it that ONNX Runtime and the search share, and numbers in its memory: the words by which features
//! pass from one to the other without leaving the GPU.

use std::ffi::c_void;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What its driver says of a GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// Its name.
    pub name: String,
    /// Its architecture, e.g. `sm_87`.
    pub architecture: String,
    /// The version of CUDA that the driver supports, as NVIDIA counts: 12060 is 12.6.
    pub driver: i32,
}

/// Who knows the GPUs of this machine, by the numbers that the CUDA driver counts them with.
pub trait Gpus {
    /// The GPU with this number.
    ///
    /// # Errors
    /// Why there is none.
    fn gpu(&self, number: usize) -> Result<Gpu, String>;

    /// A new stream of it.
    ///
    /// # Errors
    /// Why there is none.
    fn stream(&self, number: usize) -> Result<Arc<dyn GpuStream>, String>;
}

/// A stream of a GPU: work that is given to it is done in that order. Whoever works on it holds it, so that it outlives
/// them.
///
/// # Safety
/// The handle is a stream of the GPU's primary context that lives as long as `self`, and [`GpuStream::allocate`] gives
/// memory of that GPU, aligned for any number, that nobody else uses until it is freed.
pub unsafe trait GpuStream: Send + Sync + std::fmt::Debug {
    /// The GPU's number as the CUDA driver counts.
    fn gpu(&self) -> usize;

    /// The stream for the driver (`CUstream`) and for CUDA's runtime (`cudaStream_t`): they are the same.
    fn handle(&self) -> *mut c_void;

    /// Work that has to follow one another, and during whose giving nobody may give other work, is given in one turn.
    fn turn(&self) -> MutexGuard<'_, ()>;

    /// Memory for so many bytes.
    ///
    /// # Errors
    /// What the driver says.
    fn allocate(&self, bytes: usize) -> Result<u64, String>;

    /// Gives memory back, once all that was given to the stream so far is done with it.
    ///
    /// # Safety
    /// It came from [`GpuStream::allocate`] and is not used after this.
    unsafe fn free(&self, address: u64);

    /// Copies `numbers` to `to`; they may change once this returns.
    ///
    /// # Errors
    /// What the driver says.
    ///
    /// # Safety
    /// `to` has room for as many.
    unsafe fn upload(&self, numbers: &[f32], to: u64) -> Result<(), String>;

    /// Copies `count` numbers within the GPU.
    ///
    /// # Errors
    /// What the driver says.
    ///
    /// # Safety
    /// Both places hold as many, and do not overlap.
    unsafe fn copy(&self, from: u64, to: u64, count: usize) -> Result<(), String>;

    /// Copies numbers to the host, and waits for them.
    ///
    /// # Errors
    /// What the driver says of this or of work that was given before.
    ///
    /// # Safety
    /// `from` holds as many.
    unsafe fn download(&self, from: u64, numbers: &mut [f32]) -> Result<(), String>;
}

/// A piece of a GPU's memory.
#[derive(Debug)]
struct Block {
    stream: Arc<dyn GpuStream>,
    address: u64,
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated by `GpuStock::take`, and nobody has the address any more.
        unsafe { self.stream.free(self.address) };
    }
}

/// A stock of places for `len` numbers each in a GPU's memory, which go round like those of [`crate::pool::Pool`].
#[derive(Debug)]
pub struct GpuStock {
    stream: Arc<dyn GpuStream>,
    len: usize,
    free: Arc<Mutex<Vec<Block>>>,
}

impl GpuStock {
    /// An empty stock; it grows to as many places as are ever in use at once.
    pub fn new(stream: Arc<dyn GpuStream>, len: usize) -> GpuStock {
        GpuStock { stream, len, free: Arc::default() }
    }

    /// A copy of the numbers at `from`, made in the order of the stream.
    ///
    /// # Errors
    /// What the driver says: of too little memory above all.
    ///
    /// # Safety
    /// `from` holds as many numbers in memory of the stream's GPU.
    pub unsafe fn copy_of(&self, from: u64) -> Result<GpuNumbers, String> {
        let used = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let block = match used {
            Some(block) => block,
            None => Block {
                address: self.stream.allocate(self.len * size_of::<f32>())?,
                stream: Arc::clone(&self.stream),
            },
        };
        // SAFETY: the block has this room and is its own; the caller vouches for the source.
        unsafe { self.stream.copy(from, block.address, self.len) }?;
        Ok(GpuNumbers { block: Some(block), len: self.len, home: Arc::clone(&self.free) })
    }
}

/// Numbers in a GPU's memory. Their place goes back to its [`GpuStock`] when dropped.
#[derive(Debug)]
pub struct GpuNumbers {
    /// There until it is dropped.
    block: Option<Block>,
    len: usize,
    home: Arc<Mutex<Vec<Block>>>,
}

impl GpuNumbers {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where they are. They are there for all work that is given to their stream from now on, while `self` lives.
    pub fn address(&self) -> u64 {
        self.block.as_ref().map_or(0, |block| block.address)
    }

    /// The stream in whose order they are written.
    pub fn stream(&self) -> Option<&dyn GpuStream> {
        self.block.as_ref().map(|block| &*block.stream)
    }

    /// Reads them back to the host.
    ///
    /// # Errors
    /// What the driver says.
    pub fn read(&self, out: &mut Vec<f32>) -> Result<(), String> {
        out.resize(self.len, 0.0);
        match &self.block {
            // SAFETY: the block holds as many.
            Some(block) => unsafe { block.stream.download(block.address, out) },
            None => Ok(()),
        }
    }
}

impl Drop for GpuNumbers {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            self.home.lock().unwrap_or_else(PoisonError::into_inner).push(block);
        }
    }
}
