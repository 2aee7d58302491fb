//! The end of the picture lane: each picture is offered to the detection lane, and the newest verdict is laid over it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::carry::{Carrier, shift};
use super::handover::Handover;
use super::verdicts::{LaneState, Scored, Verdicts};
use crate::detector::Judged;
use crate::flow::Stage;
use crate::frame::{Frame, FrameId};
use crate::grid::PixelScores;
use crate::health::Health;
use crate::luma::Luma;
use crate::overlay::{Overlay, OverlayConfig, ScoreScale};
use crate::pending::Pending;
use crate::region::Region;

/// How long an old mask takes to fade once it is too old.
const FADES: Duration = Duration::from_millis(500);
/// Before the first verdict nothing is drawn but the status line.
const UNKNOWN: ScoreScale = ScoreScale { threshold: f32::NAN, spread: 1.0 };
/// How often the figures of the status line change: often enough to be live, seldom enough to be read.
const REFRESH: Duration = Duration::from_millis(500);

/// Draws live pictures.
pub(super) struct Show {
    /// Where pictures are offered, and what comes back, if there is a detection lane.
    judged: Option<(Handover, Arc<Verdicts>)>,
    pictures: Arc<Health>,
    overlay: Overlay,
    /// Another way to draw, from the next picture on.
    restyled: Pending<OverlayConfig>,
    max_age: Duration,
    carrier: Carrier,
    luma: Luma,
    scores: PixelScores,
    regions: Vec<Region>,
    /// The last frame whose verdict was shown.
    shown: Option<FrameId>,
    status: LiveStatus,
}

impl Stage for Show {
    type In = Frame;
    type Out = Judged;

    fn step(&mut self, mut frame: Frame) -> Result<Judged> {
        if let Some(config) = self.restyled.take() {
            self.overlay = Overlay::new(&config);
            self.max_age = Duration::from_secs_f64(config.max_age_secs);
        }
        if let Some(lost) = frame.no_signal.clone() {
            self.overlay.card(&mut frame, &lost.to_string())?;
        } else if let Some((handover, verdicts)) = &self.judged {
            handover.offer(&frame);
            verdicts.detection.offered();
            let verdicts = Arc::clone(verdicts);
            self.luma.take(&frame);
            self.carrier.see(frame.id, &self.luma.pixels, self.luma.width, self.luma.height);
            self.lay_over(&mut frame, &verdicts)?;
        }
        Ok(Judged { frame, verdict: None, features: None })
    }

    fn finish(&mut self) -> Result<()> {
        // Nothing more is offered.
        self.judged = None;
        Ok(())
    }
}

impl Show {
    /// Draws by `config`, and by what is put into `restyled` later; pictures are counted in `pictures`.
    pub(super) fn new(
        config: &OverlayConfig,
        restyled: Pending<OverlayConfig>,
        judged: Option<(Handover, Arc<Verdicts>)>,
        pictures: Arc<Health>,
    ) -> Show {
        Show {
            judged,
            pictures,
            overlay: Overlay::new(config),
            restyled,
            max_age: Duration::from_secs_f64(config.max_age_secs),
            carrier: Carrier::default(),
            luma: Luma::default(),
            scores: PixelScores::default(),
            regions: Vec::new(),
            shown: None,
            status: LiveStatus::default(),
        }
    }

    fn lay_over(&mut self, frame: &mut Frame, verdicts: &Verdicts) -> Result<()> {
        let summary = verdicts.detection.summary();
        let summary = summary.as_deref().unwrap_or("opening the detector");
        let newest = verdicts.newest();
        if let Some(scored) = newest.as_ref().filter(|scored| self.shown != Some(scored.frame)) {
            // Counted however old it is: a machine that is too slow must show as one.
            self.shown = Some(scored.frame);
            verdicts.shown(scored);
        }
        let age = newest.as_ref().map(|scored| frame.captured.saturating_duration_since(scored.captured));
        let strength = age.map_or(0.0, |age| strength(age, self.max_age));
        let age = age.map(|age| (age, strength < 1.0));
        let status = self.status.line(&self.pictures, verdicts, age, summary);
        let scale = newest.as_ref().map_or(UNKNOWN, |scored| scored.verdict.scale);
        self.scores.data.clear();
        self.regions.clear();
        let fits = |scored: &&Arc<Scored>| {
            let scores = &scored.verdict.scores;
            (scores.width, scores.height) == (frame.width, frame.height)
        };
        if let Some(scored) = newest.as_ref().filter(fits).filter(|_| strength > 0.0) {
            let verdict = &scored.verdict;
            let moved = self.carrier.moved(scored.frame, &verdict.regions);
            let from = (&verdict.scores, &verdict.regions[..], &moved[..]);
            shift(from, f32::NEG_INFINITY, (&mut self.scores, &mut self.regions));
            self.overlay.count_only(&verdict.counted);
            self.overlay.fade(strength);
        }
        self.overlay.draw(frame, &self.scores, &self.regions, scale, status)?;
        Ok(())
    }
}

/// How strongly a mask of this age is drawn, 1 to 0: an old one must never look current.
fn strength(age: Duration, most: Duration) -> f32 {
    let over = age.saturating_sub(most).as_secs_f32();
    (1.0 - over / FADES.as_secs_f32()).clamp(0.0, 1.0)
}

/// Composes the status line of a live picture, reusing its memory.
#[derive(Default)]
pub(super) struct LiveStatus {
    line: String,
    figures: String,
    refreshed: Option<Instant>,
}

impl LiveStatus {
    /// Time, rate and latency of pictures and verdicts, the age of the verdict shown and whether it is too old, device,
    /// model and bank.
    fn line(
        &mut self,
        pictures: &Health,
        verdicts: &Verdicts,
        age: Option<(Duration, bool)>,
        summary: &str,
    ) -> &str {
        if self.refreshed.is_none_or(|then| then.elapsed() > REFRESH) {
            self.refreshed = Some(Instant::now());
            let judged = verdicts.health.recent();
            let lane = match (verdicts.detection.lane(), age) {
                (LaneState::Failed { why }, _) => format!("NO DETECTION: {why}"),
                (_, None) => "no verdict yet".to_owned(),
                (_, Some((age, true))) => format!("NO VERDICT FOR {:.1} s", age.as_secs_f64()),
                (_, Some((age, false))) => {
                    format!("verdicts {:.1}/s, {:.0} ms old", judged.fps, age.as_secs_f64() * 1e3)
                }
            };
            let wrong: String = pictures
                .problems()
                .iter()
                .chain(&verdicts.detection.health.problems())
                .map(|(part, why)| format!("  {}: {why}", part.to_uppercase()))
                .collect();
            self.figures = format!("{}  {lane}{wrong}", pictures.recent().fields());
        }
        let now = jiff::ZonedDateTime::now().strftime("%F %T").to_string();
        self.line = format!("{now}  {}  {summary}", self.figures);
        &self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_mask_fades_and_goes() {
        let second = Duration::from_secs(1);
        for (ms, want) in [(0, 1.0), (1000, 1.0), (1250, 0.5), (1500, 0.0), (9000, 0.0)] {
            assert_eq!(strength(Duration::from_millis(ms), second), want, "{ms} ms");
        }
    }
}
