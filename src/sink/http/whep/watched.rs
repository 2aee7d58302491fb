//! A stream as its viewers over WebRTC know it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::sink::outlet::KeyWanted;

/// A stream that can be watched over WebRTC.
pub(in crate::sink::http) struct Watched {
    pub(super) key_wanted: Arc<KeyWanted>,
    viewers: AtomicUsize,
    /// Whether pictures were lost since it was last asked.
    lost: AtomicBool,
}

impl Watched {
    pub(in crate::sink::http) fn new(key_wanted: Arc<KeyWanted>) -> Arc<Watched> {
        Arc::new(Watched { key_wanted, viewers: AtomicUsize::new(0), lost: AtomicBool::new(false) })
    }

    /// How many watch.
    pub(in crate::sink::http) fn viewers(&self) -> usize {
        self.viewers.load(Ordering::Relaxed)
    }

    /// Pictures were lost: viewers wait for the next key picture.
    pub(super) fn lose(&self) {
        self.lost.store(true, Ordering::Relaxed);
        self.key_wanted.ask();
    }

    /// Whether pictures were lost since the last call.
    pub(super) fn lost_any(&self) -> bool {
        self.lost.swap(false, Ordering::Relaxed)
    }
}

/// A place among the viewers of a stream; free again when dropped.
pub(super) struct Place(Arc<Watched>);

impl Place {
    pub(super) fn take(stream: &Arc<Watched>) -> Place {
        stream.viewers.fetch_add(1, Ordering::Relaxed);
        Place(Arc::clone(stream))
    }

    pub(super) fn stream(&self) -> &Arc<Watched> {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.viewers.fetch_sub(1, Ordering::Relaxed);
    }
}
