//! A stream of the driver's that ONNX Runtime and the search share. Not yet run on a machine with a GPU.

use std::ffi::c_void;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cudarc::driver::{result, sys};

use super::super::device::NoCuda;
use super::driver::find_number;
use super::fault::failed;
use super::pinned::Pinned;
use crate::gpu_stream::GpuStream;

/// A new stream of the GPU with this number, in its primary context.
///
/// # Errors
/// Why there is none.
pub fn stream(gpu: usize) -> Result<Arc<dyn GpuStream>, NoCuda> {
    let device = find_number(gpu)?.device;
    // SAFETY: the driver gave the device; released by `drop`.
    let context = unsafe { result::primary_ctx::retain(device) }.map_err(failed("opening the device"))?;
    let mut lane = Lane {
        gpu,
        device,
        context,
        stream: std::ptr::null_mut(),
        copies: Mutex::new(Copies {
            outgoing: Pinned::NONE,
            incoming: Pinned::NONE,
            gone: std::ptr::null_mut(),
            come: std::ptr::null_mut(),
        }),
        turn: Mutex::new(()),
    };
    lane.enter()?;
    lane.stream =
        result::stream::create(result::stream::StreamKind::NonBlocking).map_err(failed("making a stream"))?;
    let copies = lane.copies.get_mut().unwrap_or_else(PoisonError::into_inner);
    let event = || {
        result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING).map_err(failed("making an event"))
    };
    (copies.gone, copies.come) = (event()?, event()?);
    Ok(Arc::new(lane))
}

/// The stream, and what copies need.
struct Lane {
    gpu: usize,
    device: sys::CUdevice,
    context: sys::CUcontext,
    stream: sys::CUstream,
    copies: Mutex<Copies>,
    turn: Mutex<()>,
}

/// Memory of the host that copies go through, and when they are done.
struct Copies {
    outgoing: Pinned,
    incoming: Pinned,
    gone: sys::CUevent,
    come: sys::CUevent,
}

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

    fn copies(&self) -> MutexGuard<'_, Copies> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// # Safety
    /// `to` has room for the numbers.
    unsafe fn send(&self, numbers: &[f32], to: u64) -> Result<(), NoCuda> {
        self.enter()?;
        let mut copies = self.copies();
        // What was copied before may still be on its way.
        // SAFETY: the event is alive; one that was never recorded counts as passed.
        unsafe { result::event::synchronize(copies.gone) }.map_err(failed("copying to the device"))?;
        let bytes: &[u8] = bytemuck::cast_slice(numbers);
        let gone = copies.gone;
        let staged = copies.outgoing.grow(bytes.len())?;
        staged.copy_from_slice(bytes);
        // SAFETY: the caller vouches for the room; the source is only written to again after the event.
        unsafe {
            result::memcpy_htod_async(to, staged, self.stream).map_err(failed("copying to the device"))?;
            result::event::record(gone, self.stream).map_err(failed("marking a stream"))
        }
    }

    /// # Safety
    /// `from` holds as many numbers.
    unsafe fn receive(&self, from: u64, numbers: &mut [f32]) -> Result<(), NoCuda> {
        self.enter()?;
        let mut copies = self.copies();
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(numbers);
        let come = copies.come;
        let staged = copies.incoming.grow(bytes.len())?;
        // SAFETY: the caller vouches for the source; the destination is left alone until the event has passed.
        unsafe {
            result::memcpy_dtoh_async(staged, from, self.stream)
                .map_err(failed("copying from the device"))?;
            result::event::record(come, self.stream).map_err(failed("marking a stream"))?;
            result::event::synchronize(come).map_err(failed("running the model"))?;
        }
        bytes.copy_from_slice(staged);
        Ok(())
    }
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
        let given = self.enter().and_then(|()| {
            // SAFETY: freed by `free`.
            unsafe { result::malloc_sync(bytes.max(16)) }.map_err(failed("memory for features"))
        });
        given.map_err(|why| why.to_string())
    }

    unsafe fn free(&self, address: u64) {
        if self.enter().is_ok() {
            // SAFETY: the caller vouches for the address; cuMemFree waits for work that uses it. After a loss of the
            // device there is nobody to tell of a failure.
            let _ = unsafe { result::free_sync(address) };
        }
    }

    unsafe fn upload(&self, numbers: &[f32], to: u64) -> Result<(), String> {
        // SAFETY: passed on.
        unsafe { self.send(numbers, to) }.map_err(|why| why.to_string())
    }

    unsafe fn copy(&self, from: u64, to: u64, count: usize) -> Result<(), String> {
        let bytes = count * size_of::<f32>();
        let copied = self.enter().and_then(|()| {
            // SAFETY: the caller vouches for both places.
            unsafe { result::memcpy_dtod_async(to, from, bytes, self.stream) }
                .map_err(failed("copying on the device"))
        });
        copied.map_err(|why| why.to_string())
    }

    unsafe fn download(&self, from: u64, numbers: &mut [f32]) -> Result<(), String> {
        // SAFETY: passed on.
        unsafe { self.receive(from, numbers) }.map_err(|why| why.to_string())
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        if self.enter().is_err() {
            return;
        }
        let copies = self.copies.get_mut().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: each was made by `stream` and is destroyed once, after all work; after a loss of the device there is
        // nobody to tell of failures.
        unsafe {
            if !self.stream.is_null() {
                let _ = result::stream::synchronize(self.stream);
            }
            copies.outgoing.free();
            copies.incoming.free();
            for event in [copies.gone, copies.come] {
                if !event.is_null() {
                    let _ = result::event::destroy(event);
                }
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
