//! A note of something that was marked as normal.

use serde::{Deserialize, Serialize};

use crate::region::Rect;

/// Something that was marked as normal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    /// Its name among all marks: the event's, or when and where it was seen.
    pub id: String,
    /// The stream in which it was seen, if that has a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// Whether `id` is that of an event.
    #[serde(default)]
    pub event: bool,
    /// When it was seen (RFC 3339, UTC), if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
    /// When it was marked; absent in the features of an event that nobody has marked yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marked: Option<String>,
    /// Where it lay, in pixels of the frame.
    #[serde(rename = "box")]
    pub rect: Rect,
    /// Width and height of the frame in pixels.
    pub frame_size: (usize, usize),
    /// Rows and columns of its patches.
    pub grid: (usize, usize),
    /// Its highest score then; absent where something could not be judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak: Option<f32>,
    /// Rows that it has.
    pub rows: usize,
}

impl Mark {
    /// What it is called among the sources of a bank that it was merged into.
    pub fn source_name(&self) -> String {
        format!("marked as normal: {}", self.id)
    }
}
