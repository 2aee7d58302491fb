//! File descriptors that viewers may not take: camera, model and recordings need some at any moment.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};

/// So many are kept for farout itself, whatever the limit.
const KEPT: u64 = 16;
/// Of a high limit this share is kept.
const SHARE: u64 = 8;
/// How often it is said that viewers are turned away.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// Whether one more viewer would take what is kept. All open descriptors count, whoever has them.
pub(super) fn are_scarce() -> bool {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    match std::fs::read_dir("/proc/self/fd") {
        Ok(open) => !within(open.count() as u64, limit),
        // Without a free one the folder cannot be read; without that folder nobody counts.
        Err(why) => why.raw_os_error() == Some(libc::EMFILE),
    }
}

/// Says that a viewer was turned away, once in a while: there may be thousands.
pub(super) fn tell(server: &str) {
    static TOLD: Mutex<Option<Instant>> = Mutex::new(None);
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if told.is_none_or(|at| at.elapsed() >= TELL_AGAIN) {
        *told = Some(Instant::now());
        tracing::warn!(
            "{server} viewers are turned away: the last free file descriptors are kept for camera, model and recordings; raise \
             the limit (LimitNOFILE of the service, ulimit -n) if these are real viewers"
        );
    }
}

/// Whether so many open descriptors leave enough of `limit`.
fn within(open: u64, limit: u64) -> bool {
    let kept = KEPT.max(limit / SHARE).min(limit / 2);
    open <= limit - kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_are_kept_of_any_limit() {
        for (limit, last) in [(64, 48), (1024, 896), (1_048_576, 917_504), (16, 8)] {
            assert!(within(last, limit) && !within(last + 1, limit), "{limit}");
        }
        assert!(!are_scarce(), "a test uses few");
    }
}
