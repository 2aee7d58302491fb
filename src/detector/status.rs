//! The status line of the picture: time, rate, latency, devices, model, bank, drops.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::items::Verdict;
use crate::frame::Frame;
use crate::health::Health;

/// How often the figures of a live status line change: often enough to be live, seldom enough to
/// be read.
const REFRESH: Duration = Duration::from_millis(500);

/// Composes the line, reusing its memory.
pub struct Status {
    line: String,
    figures: String,
    /// What does not change during a run: device, model, bank.
    fixed: String,
    live: Option<(Arc<Health>, Option<Instant>)>,
}

impl Status {
    /// With `health`, the line of a live stream; without, that of a recording, which depends on
    /// nothing but the recording.
    pub fn new(fixed: String, health: Option<Arc<Health>>) -> Self {
        Status {
            line: String::new(),
            figures: String::new(),
            fixed,
            live: health.map(|health| (health, None)),
        }
    }

    /// The line for `frame`, as fields set apart by two blanks.
    pub fn line(&mut self, frame: &Frame, verdict: &Verdict) -> &str {
        self.line.clear();
        // Writing to a string cannot fail.
        match &mut self.live {
            Some((health, refreshed)) => {
                if refreshed.is_none_or(|then| then.elapsed() > REFRESH) {
                    *refreshed = Some(Instant::now());
                    self.figures = health.recent().fields();
                }
                let now = jiff::ZonedDateTime::now();
                let _ = write!(self.line, "{}  {}  {}", now.strftime("%F %T"), self.figures, self.fixed);
            }
            None => {
                let secs = frame.pts.as_secs_f64();
                let top = verdict.scores.data.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let _ = write!(
                    self.line,
                    "{:02.0}:{:06.3}  frame {}  top {top:.2} of {:.2}  {}",
                    (secs / 60.0).floor(),
                    secs % 60.0,
                    frame.id,
                    verdict.scale.threshold,
                    self.fixed
                );
            }
        }
        &self.line
    }
}
