//! Moments of a stream, and the time between them.

use cudarc::driver::{result, sys};

use super::super::device::NoCuda;
use super::fault::failed;

/// A mark in a stream, whose waiter sleeps.
///
/// # Errors
/// [`NoCuda`] if the driver refuses.
pub(super) fn event() -> Result<sys::CUevent, NoCuda> {
    let (still, sleep) = (
        sys::CUevent_flags::CU_EVENT_DISABLE_TIMING as u32,
        sys::CUevent_flags::CU_EVENT_BLOCKING_SYNC as u32,
    );
    let mut event = std::ptr::null_mut();
    // SAFETY: the place lives through the call.
    unsafe { sys::cuEventCreate(&raw mut event, still | sleep) }
        .result()
        .map_err(failed("making an event"))?;
    Ok(event)
}

/// Events that are made when first needed, by number.
pub(super) struct Moments(Vec<sys::CUevent>);

impl Moments {
    /// Nothing yet.
    pub(super) const NONE: Moments = Moments(Vec::new());

    /// Marks where `stream` is.
    ///
    /// # Errors
    /// [`NoCuda`] if the driver refuses.
    ///
    /// # Safety
    /// The context of `stream`, which is alive, is current.
    pub(super) unsafe fn mark(&mut self, moment: usize, stream: sys::CUstream) -> Result<(), NoCuda> {
        while self.0.len() <= moment {
            let event = result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT);
            self.0.push(event.map_err(failed("making an event"))?);
        }
        // SAFETY: the caller vouches for the stream; the event lives until `free`.
        unsafe { result::event::record(self.0[moment], stream) }.map_err(failed("marking a stream"))
    }

    /// Milliseconds between two of them; waits for the later one.
    ///
    /// # Errors
    /// [`NoCuda`] if one was not marked, or the work before it failed.
    pub(super) fn between(&self, from: usize, to: usize) -> Result<f32, NoCuda> {
        let (Some(from), Some(to)) = (self.0.get(from), self.0.get(to)) else {
            return Err(NoCuda::Failed { what: "timing", why: "a moment was not marked".to_owned() });
        };
        // SAFETY: the events live until `free`.
        unsafe {
            result::event::synchronize(*to).map_err(failed("timing"))?;
            result::event::elapsed(*from, *to).map_err(failed("timing"))
        }
    }

    /// Gives the events back; their context is current.
    pub(super) fn free(&mut self) {
        for event in self.0.drain(..) {
            // SAFETY: made by `mark`, destroyed once. There is nobody to tell of a failure.
            let _ = unsafe { result::event::destroy(event) };
        }
    }
}
