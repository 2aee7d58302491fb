//! What is found in a score map: regions in one frame, and events that last over several.

use serde::{Deserialize, Serialize};

/// A rectangle in frame pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rect {
    /// Left edge.
    pub x: u32,
    /// Top edge.
    pub y: u32,
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

impl Rect {
    /// Shared area over the area of the smaller one, 0 to 1: what grows or splits stays itself.
    pub fn share_of_smaller(&self, other: &Rect) -> f64 {
        let side = |a: u32, a_len: u32, b: u32, b_len: u32| {
            let end = (u64::from(a) + u64::from(a_len)).min(u64::from(b) + u64::from(b_len));
            end.saturating_sub(u64::from(a.max(b)))
        };
        let shared =
            side(self.x, self.width, other.x, other.width) * side(self.y, self.height, other.y, other.height);
        let area = |r: &Rect| u64::from(r.width) * u64::from(r.height);
        shared as f64 / area(self).min(area(other)).max(1) as f64
    }
}

impl Rect {
    /// Whether all of `other` lies in it.
    pub fn holds(&self, other: &Rect) -> bool {
        let inside = |from: u32, length: u32, other_from: u32, other_length: u32| {
            other_from >= from && other_from + other_length <= from + length
        };
        inside(self.x, self.width, other.x, other.width) && inside(self.y, self.height, other.y, other.height)
    }
}

/// Pixels of the picture that sizes of regions are told for: 640x360.
pub const REFERENCE_AREA: u64 = 640 * 360;

/// The smallest area that counts in a picture of `pixels`, where `min_region_px` pixels of a 640x360 one do; at least 1.
pub fn least_area(min_region_px: u32, pixels: u64) -> u64 {
    (u64::from(min_region_px) * pixels).div_ceil(REFERENCE_AREA).max(1)
}

/// A connected set of pixels whose score exceeds the threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Region {
    /// The smallest rectangle around it, in frame pixels.
    pub rect: Rect,
    /// Its size in frame pixels.
    pub area: u32,
    /// The highest score inside.
    pub peak: f32,
}

/// A region that lasted: written to the event log when it starts and when it ends.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// "start" or "end".
    pub kind: EventKind,
    /// The name of the stream, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<std::sync::Arc<str>>,
    /// Number of the event within the stream's part of the run, from 1; the same at its start and its end.
    pub event: u64,
    /// Frame at which this happened.
    pub frame: u64,
    /// Presentation time of that frame in seconds.
    pub time_secs: f64,
    /// Live: when that frame was captured, as a time of day (RFC 3339, UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utc: Option<String>,
    /// Frame in which the region was first seen.
    pub first_frame: u64,
    /// Last frame in which it was seen, up to now.
    pub last_frame: u64,
    /// The region's rectangle where its score peaked, in frame pixels.
    #[serde(rename = "box")]
    pub rect: Rect,
    /// Largest area so far in frame pixels.
    pub area: u32,
    /// Highest score so far.
    pub peak: f32,
}

/// Which end of an [`Event`] is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// The region has lasted long enough to count.
    Start,
    /// The region has not been seen for as long.
    End,
}
