//! A stream as its viewers over WebRTC know it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::sink::outlet::KeyWanted;

/// A stream that can be watched over WebRTC.
pub(in crate::sink::http) struct Watched {
    pub(super) key_wanted: Arc<KeyWanted>,
    viewers: AtomicUsize,
    ended: AtomicBool,
}

impl Watched {
    pub(in crate::sink::http) fn new(key_wanted: Arc<KeyWanted>) -> Arc<Watched> {
        Arc::new(Watched { key_wanted, viewers: AtomicUsize::new(0), ended: AtomicBool::new(false) })
    }

    /// How many have come through and watch.
    pub(in crate::sink::http) fn viewers(&self) -> usize {
        self.viewers.load(Ordering::Relaxed)
    }

    /// No more comes.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Whether no more comes.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

/// A place among the viewers of a stream; free again when dropped.
pub(super) struct Place(Arc<Watched>);

impl Place {
    pub(super) fn take(stream: &Arc<Watched>) -> Place {
        stream.viewers.fetch_add(1, Ordering::Relaxed);
        Place(Arc::clone(stream))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.viewers.fetch_sub(1, Ordering::Relaxed);
    }
}
