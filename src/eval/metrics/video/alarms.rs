//! False alarms: regions that lasted and never touched a true object; per minute, and per kilometre driven.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// The vehicle's speed at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SpeedSample {
    /// Presentation time in seconds, rising from sample to sample.
    pub time_secs: f64,
    /// Speed in metres per second.
    pub metres_per_sec: f64,
}

/// How often something is alarmed about that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FalseAlarms {
    /// Alarms in all: regions that lasted.
    pub alarms: u64,
    /// Of those, false ones.
    pub false_alarms: u64,
    /// False alarms per minute; `None` for clips without length.
    pub per_minute: Option<f64>,
    /// Kilometres driven, if the speed is known.
    pub kilometres: Option<f64>,
    /// False alarms per kilometre; `None` if the speed is not known or the vehicle stood.
    pub per_km: Option<f64>,
}

/// Counts alarms by the ids of their tracks.
#[derive(Debug, Default)]
pub struct Alarms {
    raised: BTreeSet<u64>,
    excused: BTreeSet<u64>,
}

impl Alarms {
    /// Takes the ids of a frame's regions that have lasted.
    pub fn raised(&mut self, ids: impl Iterator<Item = u64>) {
        self.raised.extend(ids);
    }

    /// Takes the ids of regions that touch a true object: no false alarms, whatever they do later.
    pub fn excuse(&mut self, ids: &[u64]) {
        self.excused.extend(ids);
    }

    /// Counts the alarms, in so many seconds and metres.
    pub fn finish(self, seconds: f64, metres: Option<f64>) -> FalseAlarms {
        let wrong = self.raised.difference(&self.excused).count();
        let rate = |per: f64| (per > 0.0).then(|| wrong as f64 / per);
        let kilometres = metres.map(|metres| metres / 1000.0);
        FalseAlarms {
            alarms: self.raised.len() as u64,
            false_alarms: wrong as u64,
            per_minute: rate(seconds / 60.0),
            kilometres,
            per_km: kilometres.and_then(rate),
        }
    }
}

/// Metres driven in the `seconds` after the first of `times`: speed interpolated linearly between samples,
/// constant before the first and after the last.
pub fn metres(samples: &[SpeedSample], times: &[f64], seconds: f64) -> f64 {
    let (Some(start), false) = (times.first(), samples.is_empty()) else { return 0.0 };
    let end = start + seconds;
    let mut moments = vec![*start, end];
    moments.extend(samples.iter().map(|sample| sample.time_secs).filter(|t| *t > *start && *t < end));
    moments.sort_unstable_by(f64::total_cmp);
    let pieces = moments
        .windows(2)
        .map(|pair| (pair[1] - pair[0]) * (speed(samples, pair[0]) + speed(samples, pair[1])) / 2.0);
    pieces.sum()
}

fn speed(samples: &[SpeedSample], time: f64) -> f64 {
    let after = samples.partition_point(|sample| sample.time_secs <= time);
    match (after.checked_sub(1).and_then(|before| samples.get(before)), samples.get(after)) {
        (Some(a), Some(b)) => {
            let share = (time - a.time_secs) / (b.time_secs - a.time_secs);
            a.metres_per_sec + (b.metres_per_sec - a.metres_per_sec) * share
        }
        (Some(only), None) | (None, Some(only)) => only.metres_per_sec,
        (None, None) => 0.0,
    }
}
