//! The `[events]` keys: where clips and snapshots of events are kept, and for how long.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ranges::within;

/// What is kept of events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EventsConfig {
    /// `run`: a folder that gets a folder for each event, with a snapshot, the same with its marks, a clip and
    /// `event.json`. Default: none.
    pub folder: Option<PathBuf>,
    /// A clip begins so many seconds before its event, at the key picture before that. Default 5.
    pub before_secs: f64,
    /// It ends so many seconds after its event. Default 5.
    pub after_secs: f64,
    /// It is no longer than this, in seconds. Default 60.
    pub most_secs: f64,
    /// Together the events take no more than this, in MiB: the oldest that is not protected goes first. Default 4096.
    pub most_mib: u64,
    /// An event that is not protected goes after so many days; 0, the default: never.
    pub most_days: f64,
    /// So many MiB of the disk stay free: events go for it, and where none may go no clip is begun. Default 1024.
    pub free_mib: u64,
}

impl Default for EventsConfig {
    fn default() -> Self {
        EventsConfig {
            folder: None,
            before_secs: 5.0,
            after_secs: 5.0,
            most_secs: 60.0,
            most_mib: 4096,
            most_days: 0.0,
            free_mib: 1024,
        }
    }
}

impl EventsConfig {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The key and what it may be.
    pub fn check(&self) -> Result<(), String> {
        let numbers = [
            ("before_secs", self.before_secs, 0.0, 60.0),
            ("after_secs", self.after_secs, 0.0, 600.0),
            ("most_secs", self.most_secs, 1.0, 3600.0),
            ("most_mib", self.most_mib as f64, 1.0, 1e9),
            ("most_days", self.most_days, 0.0, 36_500.0),
            ("free_mib", self.free_mib as f64, 0.0, 1e9),
        ];
        within("events", &numbers)
    }
}
