//! The time of day of moments that were measured by the monotonic clock.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

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

    /// The time of day at `moment`.
    pub fn at(&self, moment: Instant) -> Timestamp {
        let signed = |length: std::time::Duration| SignedDuration::try_from(length).unwrap_or_default();
        let shift = match moment.checked_duration_since(self.instant) {
            Some(later) => signed(later),
            None => -signed(self.instant.saturating_duration_since(moment)),
        };
        self.utc.saturating_add(shift).unwrap_or(self.utc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn moments_before_and_after_have_their_time() {
        let clock = Clock::now();
        let second = SignedDuration::from_secs(1);
        assert_eq!(clock.at(clock.instant), clock.utc);
        assert_eq!(clock.at(clock.instant + Duration::from_secs(1)), clock.utc + second);
        assert_eq!(clock.at(clock.instant - Duration::from_secs(1)), clock.utc - second);
    }
}
