//! Times counted by length, as a monitor that draws histograms wants them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Upper bounds of the classes in seconds; the last class has none.
pub const BOUNDS: [f64; 14] =
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

/// Counts times by length; shared by threads.
#[derive(Debug, Default)]
pub struct Times {
    classes: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Counted {
    /// All times added up, in seconds.
    pub sum_secs: f64,
    /// How many there were in each class of [`BOUNDS`], and of those above.
    pub classes: [u64; BOUNDS.len() + 1],
}

impl Counted {
    /// How many there were in all.
    pub fn count(&self) -> u64 {
        self.classes.iter().sum()
    }
}

impl Times {
    /// One more.
    pub fn add(&self, time: Duration) {
        let secs = time.as_secs_f64();
        // A bound belongs to the class below it.
        let class = BOUNDS.partition_point(|bound| *bound < secs);
        self.classes[class].fetch_add(1, Relaxed);
        self.nanos.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// All so far, added up.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Relaxed))
    }

    /// All so far.
    pub fn counted(&self) -> Counted {
        let classes = std::array::from_fn(|class| self.classes[class].load(Relaxed));
        Counted { sum_secs: self.sum().as_secs_f64(), classes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fall_into_their_classes() {
        let times = Times::default();
        for ms in [0, 1, 3, 20, 21, 30_000, 99_000] {
            times.add(Duration::from_millis(ms));
        }
        let counted = times.counted();
        assert_eq!(counted.count(), 7);
        let filled: Vec<_> = (0..15).filter(|class| counted.classes[*class] > 0).collect();
        assert_eq!(filled, [0, 2, 4, 5, 13, 14]);
        assert_eq!(counted.classes[0], 2);
        assert!((counted.sum_secs - 129.045).abs() < 1e-9);
    }
}
