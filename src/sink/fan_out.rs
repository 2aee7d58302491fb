//! What comes out of the encoder, handed to every outlet and noted for the pusher.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use gstreamer as gst;

use super::SinkError;
use super::outlet::{AccessUnit, KeyWanted, Outlet};
use crate::frame::FrameId;

/// Called on the encoder's thread with each frame's number, `Frame::captured` and the bytes of its encoded picture when
/// that leaves the encoder.
pub type EncodedHook = Box<dyn FnMut(FrameId, Instant, usize) + Send>;

/// What the encoder's thread and the pusher share.
pub(super) struct FanOut {
    pub(super) outlets: Mutex<Vec<Box<dyn Outlet>>>,
    pub(super) key_wanted: Arc<KeyWanted>,
    pub(super) progress: Mutex<Progress>,
    pub(super) moved: Condvar,
    pub(super) hook: Mutex<Option<EncodedHook>>,
}

/// What has come out of the encoder.
#[derive(Default)]
pub(super) struct Progress {
    /// Frames inside: time, number, when captured.
    pub(super) inside: VecDeque<(gst::ClockTime, FrameId, Instant)>,
    pub(super) ended: bool,
    /// Errors of outlets that were given up, not yet told.
    pub(super) failures: VecDeque<SinkError>,
}

impl FanOut {
    pub(super) fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An encoded picture of the frame with this time is out, of so many bytes.
    pub(super) fn encoded(&self, time: gst::ClockTime, bytes: usize) {
        let mut progress = self.progress();
        while let Some(&(inside, id, captured)) = progress.inside.front()
            && inside <= time
        {
            progress.inside.pop_front();
            if inside == time
                && let Some(hook) = self.hook.lock().unwrap_or_else(PoisonError::into_inner).as_mut()
            {
                hook(id, captured, bytes);
            }
        }
    }

    /// Hands a picture to all outlets; those that fail are given up and reported.
    pub(super) fn distribute(&self, unit: &AccessUnit) {
        let mut outlets = self.outlets.lock().unwrap_or_else(PoisonError::into_inner);
        outlets.retain_mut(|outlet| match outlet.take(unit) {
            Ok(()) => true,
            Err(error) => {
                self.progress().failures.push_back(error);
                false
            }
        });
    }
}
