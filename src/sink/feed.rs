//! Encoded pictures into a pipeline that may fall behind: it then loses whole groups of
//! pictures, never single ones, and never holds up anybody else.

use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gstreamer as gst;
use gstreamer_app as gst_app;

use super::outlet::{AccessUnit, KeyWanted, waiting};

/// Pictures that may wait in a pipeline before it counts as behind.
const BEHIND: u64 = 8;

/// One pipeline's entry.
struct Feed {
    entry: gst_app::AppSrc,
    started: bool,
    waits_for_key: bool,
    /// Pictures get the time of their arrival instead of their own.
    restamp: bool,
}

/// The entries of all pipelines that are watching just now.
#[derive(Clone, Default)]
pub(super) struct Feeds {
    list: Arc<Mutex<Vec<Feed>>>,
    key_wanted: Arc<KeyWanted>,
}

impl Feeds {
    /// No entries yet; who joins asks for a key picture through `key_wanted`.
    pub(super) fn new(key_wanted: Arc<KeyWanted>) -> Feeds {
        Feeds { list: Arc::default(), key_wanted }
    }

    fn list(&self) -> MutexGuard<'_, Vec<Feed>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on `entry` gets every picture, beginning with a key picture.
    pub(super) fn join(&self, entry: gst_app::AppSrc, restamp: bool) {
        self.list().push(Feed { entry, started: false, waits_for_key: true, restamp });
        self.key_wanted.ask();
    }

    /// `entry` gets nothing more.
    pub(super) fn leave(&self, entry: &gst_app::AppSrc) {
        self.list().retain(|feed| feed.entry != *entry);
    }

    /// The end for all who watch.
    pub(super) fn end(&self) {
        for feed in self.list().drain(..) {
            // Refused by a pipeline that is ending already.
            let _ = feed.entry.end_of_stream();
        }
    }

    /// Hands a picture to all who watch; thrown away if nobody does.
    pub(super) fn offer(&self, unit: &AccessUnit) {
        self.list().retain_mut(|feed| feed.offer(unit, &self.key_wanted));
    }
}

impl Feed {
    /// False once the pipeline is gone.
    fn offer(&mut self, unit: &AccessUnit, key_wanted: &KeyWanted) -> bool {
        if waiting(&self.entry) >= BEHIND {
            self.waits_for_key = true;
            return true;
        }
        if self.waits_for_key && !unit.key {
            key_wanted.ask();
            return true;
        }
        if !self.started {
            self.entry.set_caps(Some(&unit.caps));
        }
        let mut buffer = unit.buffer.clone();
        if self.restamp {
            // A shallow copy: the encoded bytes are shared.
            let own = buffer.make_mut();
            own.set_pts(gst::ClockTime::NONE);
            own.set_dts(gst::ClockTime::NONE);
        }
        let pushed = self.entry.push_buffer(buffer).is_ok();
        self.waits_for_key = !pushed;
        // Before its start a pipeline may refuse; afterwards a refusal is its end.
        let gone = !pushed && self.started;
        self.started |= pushed;
        !gone
    }
}
