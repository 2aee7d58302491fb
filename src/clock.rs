//! The one clock of a run: the time of day of moments that are measured by the monotonic clock.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use jiff::{SignedDuration, Timestamp};

/// Seconds from 1900, where NTP begins, to 1970 (RFC 5905).
pub const NTP_TO_UNIX: u32 = 2_208_988_800;

/// A time (RFC 3339) as it stands in names.
pub fn compact(utc: &str) -> String {
    utc.chars().filter(|c| !matches!(c, '-' | ':')).collect()
}

/// A time of day in the standard library's words; one before 1970 is 1970.
pub fn system_time(utc: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(utc.as_nanosecond()).unwrap_or_default())
}

/// What the time of day was at a moment: enough to tell it for all others of a run, however the system's clock is set
/// meanwhile.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    instant: Instant,
    utc: Timestamp,
}

impl Clock {
    /// By the system's clock as it stands now.
    pub fn now() -> Clock {
        Clock { instant: Instant::now(), utc: Timestamp::now() }
    }

    /// The clock that all parts of this process share: what one writes is found in what the others write. It begins
    /// with the first call.
    pub fn of_run() -> Clock {
        static CLOCK: OnceLock<Clock> = OnceLock::new();
        *CLOCK.get_or_init(Clock::now)
    }

    /// The time of day at `moment`.
    pub fn at(&self, moment: Instant) -> Timestamp {
        let shift = match moment.checked_duration_since(self.instant) {
            Some(later) => signed(later),
            None => -signed(self.instant.saturating_duration_since(moment)),
        };
        self.utc.saturating_add(shift).unwrap_or(self.utc)
    }

    /// By how much the system's clock, which tells `system` at `moment`, has been set since: forward is positive.
    pub fn step(&self, moment: Instant, system: Timestamp) -> SignedDuration {
        system.duration_since(self.at(moment))
    }
}

fn signed(length: Duration) -> SignedDuration {
    SignedDuration::try_from(length).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_before_and_after_have_their_time() {
        let clock = Clock::now();
        let second = SignedDuration::from_secs(1);
        assert_eq!(clock.at(clock.instant), clock.utc);
        assert_eq!(clock.at(clock.instant + Duration::from_secs(1)), clock.utc + second);
        assert_eq!(clock.at(clock.instant - Duration::from_secs(1)), clock.utc - second);
    }

    /// The system's clock is an input here: setting it would take rights, and other tests along.
    #[test]
    fn a_step_of_the_systems_clock_changes_nothing_and_is_told() {
        let clock = Clock::now();
        let (hour, second) = (SignedDuration::from_hours(1), SignedDuration::from_secs(1));
        let moments = [0, 40, 80, 120].map(|ms| clock.instant + Duration::from_millis(ms));
        for step in [SignedDuration::ZERO, hour, -hour, second] {
            for pair in moments.windows(2) {
                let system = clock.at(pair[1]) + step;
                assert_eq!(clock.step(pair[1], system), step);
                let apart = clock.at(pair[1]).duration_since(clock.at(pair[0]));
                assert_eq!(apart, SignedDuration::from_millis(40));
            }
        }
    }

    #[test]
    fn the_clock_of_the_run_is_one() {
        let moment = Instant::now();
        let elsewhere = std::thread::spawn(move || Clock::of_run().at(moment));
        assert_eq!(Clock::of_run().at(moment), elsewhere.join().unwrap());
    }
}
