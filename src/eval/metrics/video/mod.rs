//! What matters over time: flicker, how soon an object is found, how it is held, and false alarms.
//!
//! Regions are 8-connected pixels above the threshold, as the daemon's are. The daemon's own tracker follows them, so
//! that an alarm is what it would write to its event log, and true objects, which count from their first frame.

mod alarms;
mod flicker;
mod tracking;

use serde::{Deserialize, Serialize};

pub use crate::motion::Motion;
pub use alarms::{FalseAlarms, SpeedSample};
pub use flicker::Flicker;
pub use tracking::{ObjectRow, Tracking};

use super::components::Components;
use crate::eval::truth::{ANOMALY, Truth, VOID};
use crate::motion::Reduced;
use crate::region::least_area;
use crate::score::{EventRules, Followed, Tracker};
use alarms::Alarms;
use flicker::FlickerMeter;
use tracking::Matcher;

/// What counts as region, object and match.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Pixels with a higher score belong to regions.
    pub threshold: f64,
    /// Regions with fewer pixels of a 640x360 picture (scaled with the frame's area) do not count.
    pub min_region_px: u32,
    /// True objects with fewer pixels of the frame are void.
    pub min_object_px: u64,
    /// An object is found in a frame if regions cover this share of its pixels.
    pub cover: f64,
    /// A region and an object match if they share this part of their union.
    pub match_iou: f64,
    /// A region is an alarm once there is evidence of so many frames ([`EventRules`]).
    pub event_frames: u32,
    /// Over so many frames evidence adds up.
    #[serde(default)]
    pub event_window: u32,
    /// So far below the threshold, regions are evidence in part.
    #[serde(default)]
    pub event_reach: f32,
    /// An alarm or object is lost after so many frames without it.
    pub gap_frames: u32,
}

impl Settings {
    /// At a threshold, all else as usual.
    pub fn at(threshold: f64) -> Settings {
        Settings {
            threshold,
            min_region_px: 100,
            min_object_px: 10,
            cover: 0.25,
            match_iou: 0.25,
            event_frames: 5,
            event_window: 0,
            event_reach: 0.0,
            gap_frames: 5,
        }
    }

    /// When regions are alarms.
    fn rules(&self) -> EventRules {
        let Settings { event_frames, event_window, event_reach, gap_frames, .. } = *self;
        EventRules { frames: event_frames, window: event_window, gap: gap_frames, reach: event_reach }
    }
}

/// Why a frame cannot be judged.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum VideoError {
    /// Sizes that do not fit.
    #[error(
        "frame {frame}: {scores} scores, {width}x{height} pixels and a truth of {truth} labels do not fit"
    )]
    Size {
        /// Number of the frame, from 0.
        frame: u64,
        /// Scores given.
        scores: usize,
        /// Width given.
        width: usize,
        /// Height given.
        height: usize,
        /// Labels given; as many as pixels if there is no truth.
        truth: usize,
    },
    /// NaN or infinite.
    #[error("frame {frame}: the score at x {x}, y {y} is not finite")]
    NotFinite {
        /// Number of the frame, from 0.
        frame: u64,
        /// Column.
        x: usize,
        /// Row.
        y: usize,
    },
    /// Times that do not rise, or frames that change their size.
    #[error("frame {frame}: {what}")]
    Sequence {
        /// Number of the frame, from 0.
        frame: u64,
        /// What is wrong.
        what: &'static str,
    },
}

/// A frame of a clip.
#[derive(Debug, Clone, Copy)]
pub struct VideoFrame<'a> {
    /// Presentation time in seconds.
    pub time_secs: f64,
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// `height x width` scores, row by row.
    pub scores: &'a [f32],
    /// Of each pixel, whether alarms count there; without, they count everywhere.
    pub counted: Option<&'a [bool]>,
    /// Its truth, of the same size, if it has one.
    pub truth: Option<&'a Truth>,
    /// Where its pixels were in the frame before.
    pub motion: &'a Motion,
    /// What it looks like, for following what moves; without, all is taken for unmoved.
    pub look: Option<&'a Reduced>,
}

/// What a clip gives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VideoReport {
    /// What counted as what.
    pub settings: Settings,
    /// Frames.
    pub frames: u64,
    /// Frames with truth.
    pub frames_with_truth: u64,
    /// Length in seconds: from the first frame to the last, and one frame more.
    pub seconds: f64,
    /// How much the map flickers; `None` for fewer than two frames.
    pub flicker: Option<Flicker>,
    /// Each true object; empty without truth.
    pub objects: Vec<ObjectRow>,
    /// How objects are held; `None` without truth.
    pub tracking: Option<Tracking>,
    /// Alarms where nothing was; without truth, all alarms.
    pub false_alarms: FalseAlarms,
}

/// Judges the frames of one clip.
#[derive(Debug)]
pub struct Judge {
    settings: Settings,
    times: Vec<f64>,
    size: (usize, usize),
    frames_with_truth: u64,
    flicker: FlickerMeter,
    /// What alarms.
    raised: Tracker,
    regions: Tracker,
    objects: Tracker,
    matcher: Matcher,
    alarms: Alarms,
}

impl Judge {
    /// Before the first frame.
    pub fn new(settings: Settings) -> Judge {
        Judge {
            settings,
            times: Vec::new(),
            size: (0, 0),
            frames_with_truth: 0,
            flicker: FlickerMeter::default(),
            raised: Tracker::new(settings.rules()),
            regions: Tracker::new(EventRules { reach: 0.0, ..settings.rules() }),
            // They count from their first frame.
            objects: Tracker::new(EventRules { frames: 1, window: 0, reach: 0.0, ..settings.rules() }),
            matcher: Matcher::new(settings),
            alarms: Alarms::default(),
        }
    }

    /// Takes the next frame.
    ///
    /// # Errors
    /// [`VideoError`]; the frame is then not counted.
    pub fn push(&mut self, frame: VideoFrame<'_>) -> Result<(), VideoError> {
        self.check(&frame)?;
        let number = self.times.len() as u64;
        self.size = (frame.width, frame.height);
        self.times.push(frame.time_secs);
        let labels = frame.truth.map(|truth| truth.labels.as_slice());
        self.flicker.step(&frame, labels);
        let void = |i: usize| {
            let outside = frame.counted.is_some_and(|counted| !counted.get(i).copied().unwrap_or(false));
            outside || labels.is_some_and(|labels| labels[i] == VOID)
        };
        let least = least_area(self.settings.min_region_px, frame.scores.len() as u64);
        let regions_above = |threshold: f64| {
            let above = |(i, score): (usize, &f32)| f64::from(*score) > threshold && !void(i);
            let mask: Vec<bool> = frame.scores.iter().enumerate().map(above).collect();
            let mut regions = Components::of(&mask, frame.width);
            regions.retain(|_, area| area >= least, |_| ());
            regions
        };
        let Settings { threshold, event_reach, .. } = self.settings;
        let regions = regions_above(threshold);
        let mut evidence = regions.clone();
        if event_reach > 0.0 {
            let weak = regions_above(threshold - f64::from(event_reach));
            let [strong_ones, weak_ones] =
                [&regions, &weak].map(|found| found.regions(frame.scores, frame.width));
            evidence.add(&weak, EventRules::beside(&strong_ones, &weak_ones).map(|number| number + 1));
        }
        if let Some(look) = frame.look {
            for tracker in [&mut self.raised, &mut self.regions, &mut self.objects] {
                tracker.see(look);
            }
        }
        let time = (number, frame.time_secs);
        let follow =
            |tracker, components: &Components| follow(tracker, time, (components, threshold), &frame);
        let followed = follow(&mut self.raised, &evidence);
        self.alarms.raised(followed.iter().filter(|one| one.event.is_some()).map(|one| one.track));
        let region_ids = ids(&follow(&mut self.regions, &regions));
        if let Some(labels) = labels {
            self.frames_with_truth += 1;
            let mask: Vec<bool> = labels.iter().map(|label| *label == ANOMALY).collect();
            let mut objects = Components::of(&mask, frame.width);
            objects.retain(|_, area| area >= self.settings.min_object_px, |_| ());
            let object_ids = ids(&follow(&mut self.objects, &objects));
            self.matcher.step(time, (&regions, &region_ids), (&objects, &object_ids), &mask);
            self.alarms.excuse(&touching(&evidence, &followed, &mask));
            self.matcher.alarmed(time, (&evidence, &followed), (&objects, &object_ids));
        }
        Ok(())
    }

    fn check(&self, frame: &VideoFrame<'_>) -> Result<(), VideoError> {
        let number = self.times.len() as u64;
        let (width, height) = (frame.width, frame.height);
        let pixels = width * height;
        let truth = frame.truth.map_or(pixels, |truth| truth.labels.len());
        let same = frame.truth.is_none_or(|truth| (truth.width, truth.height) == (width, height));
        if pixels == 0 || frame.scores.len() != pixels || truth != pixels || !same {
            let scores = frame.scores.len();
            return Err(VideoError::Size { frame: number, scores, width, height, truth });
        }
        if let Some(at) = frame.scores.iter().position(|score| !score.is_finite()) {
            return Err(VideoError::NotFinite { frame: number, x: at % width, y: at / width });
        }
        let wrong = |what| Err(VideoError::Sequence { frame: number, what });
        if number > 0 && self.size != (width, height) {
            return wrong("it has another size than the frames before");
        }
        match self.times.last() {
            Some(last) if frame.time_secs <= *last => wrong("its time is not after that of the frame before"),
            _ if !frame.time_secs.is_finite() => wrong("its time is not finite"),
            _ => Ok(()),
        }
    }

    /// What the clip gives; with samples of the vehicle's speed, also per kilometre.
    pub fn finish(self, speed: Option<&[SpeedSample]>) -> VideoReport {
        let seconds = match self.times.as_slice() {
            [first, .., last] => (last - first) * self.times.len() as f64 / (self.times.len() - 1) as f64,
            _ => 0.0,
        };
        let metres = speed.map(|samples| alarms::metres(samples, &self.times, seconds));
        let with_truth = self.frames_with_truth > 0;
        VideoReport {
            settings: self.settings,
            frames: self.times.len() as u64,
            frames_with_truth: self.frames_with_truth,
            seconds,
            flicker: self.flicker.finish(),
            tracking: with_truth.then(|| self.matcher.tracking()),
            objects: self.matcher.objects(),
            false_alarms: self.alarms.finish(seconds, metres),
        }
    }
}

/// What each component of a frame goes on, the first being that of number 1.
fn follow(
    tracker: &mut Tracker,
    time: (u64, f64),
    (components, threshold): (&Components, f64),
    frame: &VideoFrame<'_>,
) -> Vec<Followed> {
    let regions = components.regions(frame.scores, frame.width);
    tracker.step(time, (&regions, threshold as f32), &mut Vec::new());
    tracker.followed().to_vec()
}

/// The tracks of the components that touch any of the pixels of `mask`.
fn touching(components: &Components, followed: &[Followed], mask: &[bool]) -> Vec<u64> {
    let mut touches = vec![false; followed.len()];
    for (component, _) in components.of_pixel.iter().zip(mask).filter(|(of, inside)| **of > 0 && **inside) {
        touches[*component as usize - 1] = true;
    }
    followed.iter().zip(touches).filter(|(_, touches)| *touches).map(|(one, _)| one.track).collect()
}

fn ids(followed: &[Followed]) -> Vec<u64> {
    followed.iter().map(|one| one.track).collect()
}

#[cfg(test)]
mod tests;
