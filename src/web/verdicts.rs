//! Verdicts in figures, of one stream or of all.

use serde::Serialize;
use utoipa::ToSchema;

use crate::health::Health;

/// Verdicts that were shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct Verdicts {
    /// Since the start.
    count: u64,
    /// Per second, lately.
    per_second: f64,
    /// Median age in milliseconds when first shown, lately.
    age_p50_ms: f64,
    /// 95th percentile of that age.
    age_p95_ms: f64,
}

impl Verdicts {
    pub(super) fn of(health: &Health) -> Verdicts {
        let recent = health.recent();
        Verdicts {
            count: health.frames_done(),
            per_second: recent.fps,
            age_p50_ms: recent.p50_ms,
            age_p95_ms: recent.p95_ms,
        }
    }
}
