//! What is known of an event, as `event.json` holds it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::region::{Event, EventKind, Rect};

/// The file that holds it, in the event's folder.
pub const FILE: &str = "event.json";
/// The frame in which the event began.
pub const SNAPSHOT: &str = "snapshot.jpg";
/// The same with its marks.
pub const MARKED: &str = "marked.jpg";
/// The video around it.
pub const CLIP: &str = "clip.mp4";

/// What it looks like to the model: a supplement of the bank, should somebody mark it as normal.
pub const FEATURES: &str = "features.safetensors";

/// An event that is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its name among all events of all runs: when it began, the stream, its number.
    pub id: String,
    /// The stream's name, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// Its number in the stream's part of the run.
    pub event: u64,
    /// Whether it goes on.
    pub open: bool,
    /// Whether it stays, however old and large.
    #[serde(default)]
    pub protected: bool,
    /// When the frame was captured in which there was enough evidence for it (RFC 3339, UTC).
    pub utc: String,
    /// Presentation time of that frame, in seconds.
    pub time_secs: f64,
    /// When the frame was captured in which it ended; absent while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_utc: Option<String>,
    /// Presentation time of that frame, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time_secs: Option<f64>,
    /// Where the region lay when its score peaked, in pixels of the frame.
    #[serde(rename = "box")]
    pub rect: Rect,
    /// Its largest area in pixels.
    pub area: u32,
    /// Its highest score; absent where something could not be judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak: Option<f32>,
    /// Whether there is a snapshot, and one with marks.
    #[serde(default)]
    pub snapshot: bool,
    /// Whether it is kept what it looks like to the model.
    #[serde(default)]
    pub features: bool,
    /// The clip, once it is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<Clip>,
    /// Why there is no clip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_clip: Option<String>,
    /// Presentation time at which the clip begins that is being written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_from: Option<f64>,
    /// Bytes of its files, as last seen.
    #[serde(skip)]
    pub bytes: u64,
}

/// A clip's place in time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Clip {
    /// Presentation time of its first picture, on the axis of the event's times, in seconds.
    pub start_secs: f64,
    /// Its length in seconds; absent where the run was cut off in the middle of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secs: Option<f64>,
}

impl Record {
    /// An event that begins.
    pub(super) fn new(id: String, event: &Event, utc: String) -> Record {
        Record {
            id,
            stream: event.stream.as_deref().map(str::to_owned),
            event: event.event,
            open: true,
            protected: false,
            utc,
            time_secs: event.time_secs,
            end_utc: None,
            end_time_secs: None,
            rect: event.rect,
            area: event.area,
            peak: Some(event.peak).filter(|peak| peak.is_finite()),
            snapshot: false,
            features: false,
            clip: None,
            no_clip: None,
            clip_from: None,
            bytes: 0,
        }
    }

    /// It has ended.
    pub(super) fn end(&mut self, event: &Event, utc: String) {
        debug_assert_eq!(event.kind, EventKind::End);
        self.open = false;
        (self.end_utc, self.end_time_secs) = (Some(utc), Some(event.time_secs));
        (self.rect, self.area) = (event.rect, event.area);
        self.peak = Some(event.peak).filter(|peak| peak.is_finite());
    }

    /// Reads that of an event's folder; nothing if there is none, or it is none.
    pub(super) fn read(folder: &Path) -> Option<Record> {
        let text = std::fs::read(folder.join(FILE)).ok()?;
        let mut record: Record = serde_json::from_slice(&text).ok()?;
        // A run that was cut off has left it open, and its clip without an end.
        record.open = false;
        let clip = folder.join(CLIP).is_file();
        match (clip, &record.clip, record.clip_from) {
            (true, None, Some(start_secs)) => record.clip = Some(Clip { start_secs, secs: None }),
            (true, None, None) => record.clip = Some(Clip { start_secs: record.time_secs, secs: None }),
            (false, _, _) => {
                record.clip = None;
                record.no_clip.get_or_insert_with(|| "the run was cut off before it".to_owned());
            }
            _ => {}
        }
        record.clip_from = None;
        record.bytes = size(folder);
        // Files are looked up by it: it must be the folder's own name.
        (folder.file_name()?.to_str()? == record.id && is_id(&record.id)).then_some(record)
    }
}

/// Bytes of the files in a folder; of a file that several events have, each bears its part.
pub(super) fn size(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|file| file.len() / file.nlink().max(1)).sum()
}

/// Whether an event can be called so: a name for a folder and for an address.
pub fn is_id(id: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    (1..=160).contains(&id.len()) && !id.starts_with('.') && id.bytes().all(plain)
}
