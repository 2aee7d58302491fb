//! What is said on the topics, in Foxglove's messages.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::foxglove::messages::points_annotation::Type;
use ::foxglove::messages::{
    Color, CompressedVideo, ImageAnnotations, Log, Point2, PointsAnnotation, RawImage, TextAnnotation,
    Timestamp, log,
};
use ::foxglove::{Channel, Context};

use crate::grid::PixelScores;
use crate::region::{Event, EventKind, Region};

/// What a region is drawn in: the overlay's contour.
const REGION: Color = Color { r: 1.0, g: 0.2, b: 0.0, a: 1.0 };
/// What stands behind its score.
const SHADE: Color = Color { r: 0.0, g: 0.0, b: 0.0, a: 0.6 };
/// Width of a region's line, and height of its text, as shares of the picture's height.
const LINE: f64 = 1.0 / 240.0;
const TEXT: f64 = 1.0 / 30.0;

/// The topics of a stream.
pub(super) struct Topics {
    stream: Arc<str>,
    video: Channel<CompressedVideo>,
    regions: Channel<ImageAnnotations>,
    scores: Channel<RawImage>,
    events: Channel<Log>,
}

/// A picture's width and height.
pub(super) type Size = (u32, u32);

impl Topics {
    pub(super) fn of(stream: &Arc<str>, context: &Arc<Context>) -> Topics {
        let topic = |what: &str| context.channel_builder(format!("/farout/{stream}/{what}"));
        Topics {
            stream: Arc::clone(stream),
            video: topic("video").build(),
            regions: topic("regions").build(),
            scores: topic("scores").build(),
            events: topic("events").build(),
        }
    }

    /// An encoded picture: H.264 byte stream, with parameter sets before each key picture.
    pub(super) fn video(&self, time: SystemTime, data: Vec<u8>) {
        let message = CompressedVideo {
            timestamp: Some(stamp(time)),
            frame_id: self.stream.to_string(),
            data: data.into(),
            format: "h264".into(),
        };
        self.video.log_with_time(&message, nanos(time));
    }

    /// What was found in a frame of one size, as it lies in pictures of another.
    pub(super) fn regions(&self, time: SystemTime, found: &[Region], judged: Size, shown: Size) {
        let place = Place::of(judged, shown);
        let timestamp = Some(stamp(time));
        let height = f64::from(shown.1);
        let points = found.iter().map(|region| PointsAnnotation {
            timestamp,
            r#type: Type::LineLoop.into(),
            points: place.corners(region).to_vec(),
            outline_color: Some(REGION),
            thickness: (LINE * height).max(1.0),
            ..PointsAnnotation::default()
        });
        let texts = found.iter().map(|region| TextAnnotation {
            timestamp,
            position: Some(place.corners(region)[0]),
            text: format!("{:.2}", region.peak),
            font_size: TEXT * height,
            text_color: Some(REGION),
            background_color: Some(SHADE),
            ..TextAnnotation::default()
        });
        let (points, texts) = (points.collect(), texts.collect());
        let message = ImageAnnotations { timestamp, points, texts, ..ImageAnnotations::default() };
        self.regions.log_with_time(&message, nanos(time));
    }

    /// A score map: the highest score of each point's pixels.
    pub(super) fn scores(&self, time: SystemTime, map: &Map) {
        let message = RawImage {
            timestamp: Some(stamp(time)),
            frame_id: self.stream.to_string(),
            width: map.width,
            height: map.height,
            encoding: "32FC1".into(),
            step: map.width * 4,
            data: map.scores.iter().flat_map(|score| score.to_le_bytes()).collect::<Vec<_>>().into(),
        };
        self.scores.log_with_time(&message, nanos(time));
    }

    /// An event, as the event log has it.
    pub(super) fn event(&self, time: SystemTime, event: &Event) {
        let level = match event.kind {
            EventKind::Start => log::Level::Warning,
            EventKind::End => log::Level::Info,
        };
        let message = Log {
            timestamp: Some(stamp(time)),
            level: level.into(),
            message: serde_json::to_string(event).unwrap_or_default(),
            name: self.stream.to_string(),
            ..Log::default()
        };
        self.events.log_with_time(&message, nanos(time));
    }
}

/// A smaller score map.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Map {
    width: u32,
    height: u32,
    scores: Vec<f32>,
}

impl Map {
    /// At most `width` points wide; nothing if that is 0 or the map is empty. Each point has the highest score of its
    /// pixels: what is small does not vanish.
    pub(super) fn of(scores: &PixelScores, width: u32) -> Option<Map> {
        let (wide, tall) = (scores.width, scores.height);
        let block = wide.checked_div(width as usize).map(|_| wide.div_ceil(width as usize).max(1))?;
        let (across, down) = (wide.div_ceil(block), tall.div_ceil(block));
        let mut map = vec![f32::NEG_INFINITY; across * down];
        for (y, row) in scores.data.chunks_exact(wide.max(1)).enumerate() {
            let points = map.get_mut(y / block * across..)?;
            for (point, pixels) in points.iter_mut().zip(row.chunks(block)) {
                *point = pixels.iter().copied().fold(*point, f32::max);
            }
        }
        let (width, height) = (u32::try_from(across).ok()?, u32::try_from(down).ok()?);
        (width > 0 && height > 0).then_some(Map { width, height, scores: map })
    }
}

/// Where a frame lies in encoded pictures of another size: as large as it fits, in the middle.
struct Place {
    scale: f64,
    left: f64,
    top: f64,
}

impl Place {
    fn of(judged: Size, shown: Size) -> Place {
        let [w, h, wide, tall] = [judged.0, judged.1, shown.0, shown.1].map(f64::from);
        let scale = (wide / w.max(1.0)).min(tall / h.max(1.0));
        Place { scale, left: (wide - w * scale) / 2.0, top: (tall - h * scale) / 2.0 }
    }

    /// The corners of a region, from the upper left one on.
    fn corners(&self, region: &Region) -> [Point2; 4] {
        let rect = region.rect;
        let (left, top) = (f64::from(rect.x), f64::from(rect.y));
        let (right, bottom) = (left + f64::from(rect.width), top + f64::from(rect.height));
        [(left, top), (right, top), (right, bottom), (left, bottom)]
            .map(|(x, y)| Point2 { x: self.left + x * self.scale, y: self.top + y * self.scale })
    }
}

fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn nanos(time: SystemTime) -> u64 {
    u64::try_from(since_1970(time).as_nanos()).unwrap_or(u64::MAX)
}

fn stamp(time: SystemTime) -> Timestamp {
    let since = since_1970(time);
    Timestamp::new(u32::try_from(since.as_secs()).unwrap_or(u32::MAX), since.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Pooled;
    use crate::region::Rect;

    #[test]
    fn a_smaller_map_keeps_what_is_small() {
        let mut data = vec![1.0; 10 * 5];
        (data[3 * 10 + 9], data[0]) = (7.0, 3.0);
        let scores = PixelScores { width: 10, height: 5, data: Pooled::unpooled(data) };
        let map = Map::of(&scores, 4).unwrap();
        assert_eq!((map.width, map.height), (4, 2));
        assert_eq!(map.scores, [3.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 7.0]);
        let whole = Map::of(&scores, 10).unwrap();
        assert_eq!((whole.width, whole.height, &whole.scores), (10, 5, &scores.data.to_vec()));
        assert_eq!(Map::of(&scores, 400).unwrap(), whole);
        assert_eq!(Map::of(&scores, 0), None);
        let empty = PixelScores { width: 0, height: 0, data: Pooled::unpooled(Vec::new()) };
        assert_eq!(Map::of(&empty, 4), None);
    }

    #[test]
    fn regions_lie_where_the_picture_shows_them() {
        let region = Region { rect: Rect { x: 10, y: 20, width: 30, height: 40 }, area: 9, peak: 1.0 };
        let at = |judged, shown| Place::of(judged, shown).corners(&region).map(|one| (one.x, one.y));
        assert_eq!(at((640, 360), (640, 360)), [(10.0, 20.0), (40.0, 20.0), (40.0, 60.0), (10.0, 60.0)]);
        assert_eq!(at((640, 360), (1280, 720))[2], (80.0, 120.0));
        // Borders left and right.
        assert_eq!(at((360, 360), (640, 360))[0], (150.0, 20.0));
        assert!(at((0, 0), (640, 360)).iter().all(|one| one.0.is_finite() && one.1.is_finite()));
    }

    #[test]
    fn times_before_1970_and_after_2106_are_no_fault() {
        assert_eq!(stamp(UNIX_EPOCH - Duration::from_secs(1)), Timestamp::new(0, 0));
        let late = UNIX_EPOCH + Duration::from_secs(1 << 33);
        assert_eq!(stamp(late).sec(), u32::MAX);
        assert_eq!(nanos(UNIX_EPOCH + Duration::new(1, 5)), 1_000_000_005);
    }
}
