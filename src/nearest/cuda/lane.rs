//! A stream of the driver's that ONNX Runtime and the search share. Not yet run on a machine with a GPU.

use std::collections::VecDeque;
use std::ffi::c_void;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cudarc::driver::{result, sys};

use super::super::device::NoCuda;
use super::driver::{context_of, find_number};
use super::fault::{failed, patiently};
use super::moments::event;
use super::pinned::Pinned;
use crate::gpu_stream::GpuStream;

/// A new stream of the GPU with this number, in its primary context.
///
/// # Errors
/// Why there is none.
pub fn stream(gpu: usize) -> Result<Arc<dyn GpuStream>, NoCuda> {
    let device = find_number(gpu)?.device;
    let context = context_of(device)?;
    let mut lane = Lane {
        gpu,
        device,
        context,
        stream: std::ptr::null_mut(),
        outgoing: Mutex::default(),
        incoming: Mutex::default(),
        turn: Mutex::new(()),
    };
    lane.enter()?;
    lane.stream =
        result::stream::create(result::stream::StreamKind::NonBlocking).map_err(failed("making a stream"))?;
    Ok(Arc::new(lane))
}

/// The stream, and what copies need.
struct Lane {
    gpu: usize,
    device: sys::CUdevice,
    context: sys::CUcontext,
    stream: sys::CUstream,
    /// Memory that copies to the device go through, the longest unused first, and such for copies from it. Nobody waits for
    /// the device while the list is locked.
    outgoing: Mutex<VecDeque<Stage>>,
    incoming: Mutex<VecDeque<Stage>>,
    turn: Mutex<()>,
}

/// Memory of the host that copies go through, and when the last of them is done.
struct Stage {
    memory: Pinned,
    done: sys::CUevent,
}

/// So many copies may be on their way before another waits for the oldest.
const STAGES: usize = 2;

// SAFETY: the driver's handles may be used by any thread in whose context they are, and every method makes the
// context current first; the page-locked memory is reached through a lock.
unsafe impl Send for Lane {}
// SAFETY: as above.
unsafe impl Sync for Lane {}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "stream {:p} of GPU {}", self.stream, self.gpu)
    }
}

impl Lane {
    fn enter(&self) -> Result<(), NoCuda> {
        // SAFETY: the context is retained until `drop`.
        unsafe { result::ctx::set_current(self.context) }.map_err(failed("entering the context"))
    }

    /// The oldest of `stages`, or a new one if there are fewer than `enough`. A context is current.
    fn take(&self, stages: &Mutex<VecDeque<Stage>>, enough: usize) -> Result<Stage, NoCuda> {
        let mut free = stages.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = if free.len() >= enough { free.pop_front() } else { None };
        drop(free);
        match oldest {
            Some(stage) => Ok(stage),
            None => Ok(Stage { memory: Pinned::NONE, done: event()? }),
        }
    }

    /// Works with one of `stages`, which goes back whatever comes of it.
    fn with<T>(
        &self,
        stages: &Mutex<VecDeque<Stage>>,
        enough: usize,
        work: impl FnOnce(&mut Stage) -> Result<T, NoCuda>,
    ) -> Result<T, NoCuda> {
        self.enter()?;
        let mut stage = self.take(stages, enough)?;
        let done = work(&mut stage);
        stages.lock().unwrap_or_else(PoisonError::into_inner).push_back(stage);
        done
    }

    /// # Safety
    /// `to` has room for the numbers.
    unsafe fn send(&self, numbers: &[f32], to: u64) -> Result<(), NoCuda> {
        self.with(&self.outgoing, STAGES, |stage| {
            // What was copied before may still be on its way.
            // SAFETY: the event is alive; one that was never recorded counts as passed.
            unsafe { result::event::synchronize(stage.done) }.map_err(failed("copying to the device"))?;
            let bytes: &[u8] = bytemuck::cast_slice(numbers);
            let staged = stage.memory.grow(bytes.len())?;
            staged.copy_from_slice(bytes);
            // SAFETY: the caller vouches for the room; the source is only written to again after the event.
            unsafe {
                result::memcpy_htod_async(to, staged, self.stream)
                    .map_err(failed("copying to the device"))?;
                result::event::record(stage.done, self.stream).map_err(failed("marking a stream"))
            }
        })
    }

    /// # Safety
    /// `from` holds as many numbers.
    unsafe fn receive(&self, from: u64, numbers: &mut [f32]) -> Result<(), NoCuda> {
        self.with(&self.incoming, 1, |stage| {
            let bytes: &mut [u8] = bytemuck::cast_slice_mut(numbers);
            let staged = stage.memory.grow(bytes.len())?;
            // SAFETY: the caller vouches for the source; the destination is left alone until the event has passed.
            unsafe {
                result::memcpy_dtoh_async(staged, from, self.stream)
                    .map_err(failed("copying from the device"))?;
                result::event::record(stage.done, self.stream).map_err(failed("marking a stream"))?;
                result::event::synchronize(stage.done).map_err(failed("running the model"))?;
            }
            bytes.copy_from_slice(staged);
            Ok(())
        })
    }
}

/// Does `work`, in what a capture elsewhere does not allow again and again; what the driver says as text.
fn told<T>(work: impl FnMut() -> Result<T, NoCuda>) -> Result<T, String> {
    patiently(work, |why| Some(why)).map_err(|why| why.to_string())
}

// SAFETY: the stream was made in the device's primary context, which is retained, and both last until `drop`; cuMemAlloc
// aligns to 256 bytes.
unsafe impl GpuStream for Lane {
    fn gpu(&self) -> usize {
        self.gpu
    }

    fn handle(&self) -> *mut c_void {
        self.stream.cast()
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn allocate(&self, bytes: usize) -> Result<u64, String> {
        told(|| {
            self.enter()?;
            // SAFETY: freed by `free`.
            unsafe { result::malloc_sync(bytes.max(16)) }.map_err(failed("memory for features"))
        })
    }

    unsafe fn free(&self, address: u64) {
        // After a loss of the device there is nobody to tell of a failure.
        let _ = told(|| {
            self.enter()?;
            // SAFETY: the caller vouches for the address; cuMemFree waits for work that uses it.
            unsafe { result::free_sync(address) }.map_err(failed("giving memory back"))
        });
    }

    unsafe fn upload(&self, numbers: &[f32], to: u64) -> Result<(), String> {
        // SAFETY: passed on.
        told(|| unsafe { self.send(numbers, to) })
    }

    unsafe fn copy(&self, from: u64, to: u64, count: usize) -> Result<(), String> {
        let bytes = count * size_of::<f32>();
        told(|| {
            self.enter()?;
            // SAFETY: the caller vouches for both places.
            unsafe { result::memcpy_dtod_async(to, from, bytes, self.stream) }
                .map_err(failed("copying on the device"))
        })
    }

    unsafe fn download(&self, from: u64, numbers: &mut [f32]) -> Result<(), String> {
        // SAFETY: passed on.
        told(|| unsafe { self.receive(from, numbers) })
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        if self.enter().is_err() {
            return;
        }
        let [outgoing, incoming] = [&mut self.outgoing, &mut self.incoming]
            .map(|stages| std::mem::take(stages.get_mut().unwrap_or_else(PoisonError::into_inner)));
        // SAFETY: each was made by `stream` and is destroyed once, after all work; after a loss of the device there is
        // nobody to tell of failures.
        unsafe {
            if !self.stream.is_null() {
                let _ = result::stream::synchronize(self.stream);
            }
            for mut stage in outgoing.into_iter().chain(incoming) {
                stage.memory.free();
                let _ = result::event::destroy(stage.done);
            }
            if !self.stream.is_null() {
                let _ = result::stream::destroy(self.stream);
            }
            let _ = result::primary_ctx::release(self.device);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Driver;
    use super::*;
    use crate::gpu_stream::Gpus;

    #[test]
    fn without_a_gpu_there_is_a_reason() {
        match stream(99) {
            Ok(stream) => panic!("a stream of a hundredth GPU: {stream:?}"),
            Err(why) => assert!(matches!(why, NoCuda::NoDriver | NoCuda::NoDevice(_)), "{why}"),
        }
        assert_eq!(Driver.gpu(99).err(), stream(99).err().map(|why| why.to_string()));
    }
}
