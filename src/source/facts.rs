//! What the streaming threads find out about a stream.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::damage::Watch;
use super::turn::Turn;

/// What is known of a stream once its first frame has come.
#[derive(Clone, Default)]
pub(super) struct Facts {
    /// The element that decodes, if the stream was encoded.
    pub(super) decoder: Option<String>,
    /// Width and height of the first frame in pixels.
    pub(super) size: Option<(u32, u32)>,
    /// Frames per second if they are constant.
    pub(super) rate: Option<f64>,
    /// Whether the container holds pictures, decodable or not.
    pub(super) has_video: bool,
    /// Whether the container holds sound.
    pub(super) has_sound: bool,
    /// Whether the container's reader has no name for the codec of its pictures, so that no decoder can be found.
    pub(super) nameless: bool,
    /// How pictures are turned before they are given out.
    pub(super) turn: Turn,
    /// Which pictures are whole, if the stream was encoded.
    pub(super) watch: Option<Arc<Watch>>,
}

/// Facts that the streaming threads find and the reader asks for.
pub(super) type SharedFacts = Arc<Mutex<Facts>>;

/// The facts, whatever happened to a thread that held them.
pub(super) fn lock(facts: &SharedFacts) -> MutexGuard<'_, Facts> {
    facts.lock().unwrap_or_else(PoisonError::into_inner)
}
