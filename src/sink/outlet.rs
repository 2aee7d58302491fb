//! What an encoded picture is, and what everything that takes encoded pictures has in common.

use std::sync::atomic::{AtomicBool, Ordering};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::SinkError;

/// One encoded picture: H.264 byte stream, with parameter sets before each key picture.
#[derive(Clone)]
pub(super) struct AccessUnit {
    /// The bytes; times are on the axis of the frames' presentation times.
    pub(super) buffer: gst::Buffer,
    /// `video/x-h264` with size, profile and stream format.
    pub(super) caps: gst::Caps,
    /// Whether decoding can start here.
    pub(super) key: bool,
}

/// Takes encoded pictures somewhere.
pub(super) trait Outlet: Send {
    /// Takes the next picture, at once or after a bounded wait.
    ///
    /// # Errors
    /// If nothing more can be taken; the outlet is then given up.
    fn take(&mut self, unit: &AccessUnit) -> Result<(), SinkError>;

    /// Whether it is the recording that the configuration asks for.
    fn is_recording(&self) -> bool {
        false
    }

    /// Ends the stream and writes what is left, in bounded time.
    ///
    /// # Errors
    /// If the end could not be written.
    fn finish(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Set by whoever needs a key picture soon, taken by whoever drives the encoder.
#[derive(Debug, Default)]
pub(super) struct KeyWanted(AtomicBool);

impl KeyWanted {
    /// Asks for a key picture.
    pub(super) fn ask(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether one was asked for since the last call.
    pub(super) fn take(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}

/// Buffers that wait in a pipeline's entry. By name, because the typed getter would raise the
/// GStreamer version that is needed to build.
pub(super) fn waiting(entry: &gst_app::AppSrc) -> u64 {
    entry.property("current-level-buffers")
}

/// The first error that a pipeline reported, with the element's name.
pub(super) fn bus_error(bus: &gst::Bus) -> Option<String> {
    let message = bus.pop_filtered(&[gst::MessageType::Error])?;
    let gst::MessageView::Error(error) = message.view() else {
        return None;
    };
    let element = error.src().map(|s| s.name().to_string()).unwrap_or_default();
    let debug = error.debug().map(|d| d.lines().last().unwrap_or_default().to_owned()).unwrap_or_default();
    Some(format!("{element}: {} ({debug})", error.error()))
}
