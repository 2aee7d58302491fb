//! A GPU's stream that is none: its memory is the host's or an emulator's, and what it is given is done at once. It can
//! fail, and lie.
#![allow(dead_code, reason = "each test uses what it needs")]

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard};
use std::thread::ThreadId;

use farout::gpu_stream::GpuStream;

/// Memory that the host can reach, too.
pub trait HostMemory: Send + Sync + std::fmt::Debug {
    /// A new piece, aligned for floats.
    fn allocate(&self, bytes: usize) -> u64;

    /// Gives a piece back.
    fn free(&self, address: u64);

    /// The host has written there.
    fn written(&self, _address: u64, _bytes: usize) {}
}

/// The host's own: what was allocated and not freed, by address.
pub type Pieces = Mutex<HashMap<u64, Box<[f32]>>>;

impl HostMemory for Pieces {
    fn allocate(&self, bytes: usize) -> u64 {
        let piece = vec![f32::NAN; bytes.div_ceil(4)].into_boxed_slice();
        let address = piece.as_ptr() as u64;
        self.lock().unwrap().insert(address, piece);
        address
    }

    fn free(&self, address: u64) {
        self.lock().unwrap().remove(&address).unwrap();
    }
}

/// The stream.
#[derive(Debug, Default)]
pub struct HostStream<M = Pieces> {
    memory: M,
    turn: Mutex<()>,
    /// Inputs that were copied in.
    pub uploads: AtomicUsize,
    /// Outputs that were copied out.
    pub downloads: AtomicUsize,
    /// The threads that have copied in.
    pub threads: Mutex<Vec<ThreadId>>,
    /// Copies in fail from now on.
    pub broken: AtomicBool,
    /// Copies in are forgotten from now on.
    pub forgetful: AtomicBool,
}

impl HostStream {
    /// Pieces of memory that nobody has freed.
    pub fn pieces(&self) -> usize {
        self.memory.lock().unwrap().len()
    }
}

impl<M> HostStream<M> {
    /// A stream on this memory.
    pub fn on(memory: M) -> HostStream<M> {
        let HostStream { turn, uploads, downloads, threads, broken, forgetful, .. } =
            HostStream::<()>::default();
        HostStream { memory, turn, uploads, downloads, threads, broken, forgetful }
    }
}

// SAFETY: the handle is used by nobody; memory is aligned for floats, and stays until it is freed.
unsafe impl<M: HostMemory> GpuStream for HostStream<M> {
    fn gpu(&self) -> usize {
        0
    }

    fn handle(&self) -> *mut c_void {
        (&raw const *self).cast_mut().cast()
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap()
    }

    fn allocate(&self, bytes: usize) -> Result<u64, String> {
        Ok(self.memory.allocate(bytes))
    }

    unsafe fn free(&self, address: u64) {
        self.memory.free(address);
    }

    unsafe fn upload(&self, numbers: &[f32], to: u64) -> Result<(), String> {
        self.uploads.fetch_add(1, SeqCst);
        self.threads.lock().unwrap().push(std::thread::current().id());
        if self.broken.load(SeqCst) {
            return Err("the cable is out".to_owned());
        }
        if self.forgetful.load(SeqCst) {
            return Ok(());
        }
        // SAFETY: the caller vouches for the room.
        unsafe { self.copy(numbers.as_ptr() as u64, to, numbers.len()) }
    }

    unsafe fn copy(&self, from: u64, to: u64, count: usize) -> Result<(), String> {
        // SAFETY: the caller vouches for both places.
        unsafe { std::ptr::copy_nonoverlapping(from as *const f32, to as *mut f32, count) };
        self.memory.written(to, count * size_of::<f32>());
        Ok(())
    }

    unsafe fn download(&self, from: u64, numbers: &mut [f32]) -> Result<(), String> {
        self.downloads.fetch_add(1, SeqCst);
        // SAFETY: the caller vouches for the source.
        unsafe { std::ptr::copy_nonoverlapping(from as *const f32, numbers.as_mut_ptr(), numbers.len()) };
        Ok(())
    }
}
