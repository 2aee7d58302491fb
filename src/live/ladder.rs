//! What a detection lane that is too slow gives up, step by step, and when it takes it back.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::frame::StreamId;

/// Over how long verdicts are counted before anything changes.
const WINDOW: Duration = Duration::from_secs(10);
/// A lane that waits for pictures longer than this share of the time is not too slow, however few it gets.
const WAITS: f64 = 0.1;
/// How long a rung is kept at least before the next better one is tried ...
const HOLD: Duration = Duration::from_secs(60);
/// ... and at most, after it failed again and again.
const LONGEST_HOLD: Duration = Duration::from_secs(960);

/// Where the lane stands on its ladder: at 0 it works as configured.
pub(super) struct Ladder {
    /// Verdicts per second that each stream should get at least; 0: whatever comes.
    least: f64,
    rungs: usize,
    at: usize,
    /// Since when it stands there.
    since: Instant,
    hold: Duration,
    /// Whether it came there from a lower rung.
    climbed: bool,
    window: Option<Window>,
}

/// Verdicts since a moment.
struct Window {
    begun: Instant,
    verdicts: u32,
    streams: BTreeSet<StreamId>,
    /// How long the lane had waited for pictures before.
    waited: Duration,
}

/// What a window of verdicts led to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Finding {
    /// They are enough, or no more pictures come.
    Enough,
    /// So many per second and stream were too few, and there is nothing left to give up.
    TooFew(f64),
    /// So many per second and stream were too few: the lane goes down to this rung.
    Down(usize, f64),
    /// It tries this better rung again.
    Up(usize),
}

impl Ladder {
    /// A ladder of `rungs` below the configuration, for at least so many verdicts per second and stream.
    pub(super) fn new(least: f64, rungs: usize, now: Instant) -> Ladder {
        Ladder { least, rungs, at: 0, since: now, hold: HOLD, climbed: false, window: None }
    }

    /// The rung.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// A detector is opened: what was counted before says nothing about it.
    pub(super) fn begin(&mut self) {
        self.window = None;
    }

    /// This rung cannot be stood on. Who came from below goes back there, for longer; who came from above goes back up,
    /// and the rungs from this one down are given up. False if there is nowhere to go.
    pub(super) fn refuse(&mut self, now: Instant) -> bool {
        if self.climbed {
            self.hold = (self.hold * 2).min(LONGEST_HOLD);
            self.go(self.at + 1, false, now);
        } else if self.at > 0 {
            self.rungs = self.at - 1;
            self.go(self.rungs, false, now);
        } else {
            return false;
        }
        true
    }

    /// Counts a verdict of `stream`; `waited` is how long the lane has waited for pictures in all. Now and then it finds
    /// something.
    pub(super) fn verdict(&mut self, stream: StreamId, waited: Duration, now: Instant) -> Option<Finding> {
        if self.least <= 0.0 {
            return None;
        }
        // The first verdict begins the window, and is not counted.
        let window = self.window.get_or_insert_with(|| Window {
            begun: now,
            verdicts: 0,
            streams: BTreeSet::new(),
            waited,
        });
        let span = now.saturating_duration_since(window.begun);
        if !span.is_zero() {
            window.verdicts += 1;
            window.streams.insert(stream);
        }
        if span < WINDOW {
            return None;
        }
        let rate = f64::from(window.verdicts) / span.as_secs_f64() / window.streams.len().max(1) as f64;
        let waits = waited.saturating_sub(window.waited).as_secs_f64() / span.as_secs_f64();
        self.window = None;
        let stood = now.saturating_duration_since(self.since);
        Some(if rate < self.least && waits < WAITS {
            if self.at == self.rungs {
                return Some(Finding::TooFew(rate));
            }
            // What was too slow a moment ago is tried again later and later.
            self.hold = if self.climbed { (self.hold * 2).min(LONGEST_HOLD) } else { HOLD };
            self.go(self.at + 1, false, now);
            Finding::Down(self.at, rate)
        } else if self.at > 0 && stood >= self.hold {
            self.go(self.at - 1, true, now);
            Finding::Up(self.at)
        } else {
            if stood >= self.hold {
                self.climbed = false;
            }
            Finding::Enough
        })
    }

    fn go(&mut self, rung: usize, climbed: bool, now: Instant) {
        (self.at, self.climbed, self.since, self.window) = (rung, climbed, now, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A lane whose rungs reach these verdicts per second, from `begun` on for so many seconds; where it stands at the
    /// end of each minute. It waits for pictures for this share of the time.
    fn minutes(ladder: &mut Ladder, begun: Instant, rates: &[f64], waits: f64, secs: u64) -> Vec<usize> {
        let mut time = Duration::ZERO;
        let mut stands = Vec::new();
        while time < Duration::from_secs(secs) {
            time += Duration::from_secs_f64(1.0 / rates[ladder.at()]);
            ladder.verdict(0, time.mul_f64(waits), begun + time);
            if time.as_secs() / 60 > stands.len() as u64 {
                stands.push(ladder.at());
            }
        }
        stands
    }

    #[test]
    fn a_lane_that_is_too_slow_goes_down_and_comes_back_when_it_can() {
        let begun = Instant::now();
        let mut ladder = Ladder::new(2.0, 2, begun);
        // Only the lowest rung is fast enough: the one above is tried again after 1, 2, 4 ... minutes.
        let stands = minutes(&mut ladder, begun, &[0.5, 1.0, 3.0], 0.0, 3600);
        assert!(stands.iter().filter(|rung| **rung == 2).count() >= 50, "{stands:?}");
        // The load has gone.
        let stands = minutes(&mut ladder, begun + Duration::from_secs(3600), &[4.0, 6.0, 8.0], 0.0, 3600);
        assert_eq!(stands.last(), Some(&0), "{stands:?}");
        let stands = minutes(&mut ladder, begun + Duration::from_secs(7200), &[4.0, 6.0, 8.0], 0.0, 3600);
        assert!(stands.iter().all(|rung| *rung == 0), "{stands:?}");
    }

    #[test]
    fn each_rung_is_tried_in_turn_and_what_cannot_be_is_left_out() {
        let begun = Instant::now();
        let mut ladder = Ladder::new(2.0, 3, begun);
        let mut found = Vec::new();
        for tenth in 0..400_u32 {
            let now = begun + Duration::from_millis(100) * tenth;
            // Two streams, one verdict a second each.
            if tenth % 5 == 0 {
                found.extend(ladder.verdict(tenth / 5 % 2, Duration::ZERO, now));
            }
            if ladder.at() == 2 {
                assert!(ladder.refuse(now));
            }
        }
        let rung = |finding: &Finding| match finding {
            Finding::Down(rung, rate) if (*rate - 1.0).abs() < 0.1 => Some(*rung),
            Finding::TooFew(rate) if (*rate - 1.0).abs() < 0.1 => None,
            other => panic!("{other:?}"),
        };
        let rungs: Vec<_> = found.iter().map(rung).collect();
        assert_eq!(rungs, [Some(1), Some(2), None], "{found:?}");
        assert_eq!(ladder.at(), 1);
    }

    #[test]
    fn a_climb_that_fails_goes_back_and_loses_nothing() {
        let begun = Instant::now();
        let mut ladder = Ladder::new(2.0, 1, begun);
        assert!(!ladder.refuse(begun), "there is nothing else");
        let mut tried = 0;
        for second in 0..7200_u32 {
            // One verdict a second is too few, four are enough.
            let now = begun + Duration::from_secs(1) * second;
            let times = if ladder.at() == 0 { 1 } else { 4 };
            for part in 0..times {
                ladder.verdict(0, Duration::ZERO, now + Duration::from_millis(250) * part);
            }
            if ladder.at() == 0 && second > 60 {
                tried += 1;
                assert!(ladder.refuse(now));
                assert_eq!(ladder.at(), 1);
            }
        }
        // After 1, 2, 4, 8 and every 16 minutes.
        assert!((6..=12).contains(&tried), "{tried}");
    }

    #[test]
    fn a_lane_that_waits_for_pictures_is_not_too_slow() {
        let begun = Instant::now();
        let mut slow_camera = Ladder::new(10.0, 1, begun);
        assert!(minutes(&mut slow_camera, begun, &[5.0, 5.0], 0.5, 600).iter().all(|rung| *rung == 0));
        let mut off = Ladder::new(0.0, 1, begun);
        assert_eq!(off.verdict(0, Duration::ZERO, begun + WINDOW * 2), None);
    }
}
