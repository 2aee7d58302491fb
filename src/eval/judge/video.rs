//! Sequences: frames in order, with the motion between them, judged at one threshold.

use anyhow::{Context, Result};

use super::Case;
use super::pixels::{at_size, luma, read};
use crate::eval::metrics::video::{Judge, Motion, Settings, VideoFrame};
use crate::eval::region::two_classes;
use crate::eval::result::{MethodResult, SequenceResult};
use crate::luma::Luma;
use crate::motion::{Reduced, estimate};
use crate::pool::Pool;
use crate::score::{Enlarger, Roi};

/// Judges each sequence of the data set by method number `method`, at the daemon's threshold, or at that
/// of the best F1 if it has none.
///
/// # Errors
/// An image that cannot be read, by name; no threshold at all.
pub fn judge(case: &Case<'_>, method: usize, result: &MethodResult) -> Result<Vec<SequenceResult>> {
    let best = result.pooled.as_ref().map(|pooled| pooled.detection.best_f1_threshold);
    let known = case.thresholds.get(method).and_then(|known| known.value).map(f64::from);
    let threshold = known.or(best).context(
        "video metrics need a threshold: give a bank with a calibration, --threshold, or --protocol pooled",
    )?;
    let score = &case.settings.config.score;
    let settings = Settings {
        min_region_px: score.min_region_px,
        event_frames: score.event_frames,
        event_window: score.event_window,
        event_reach: score.event_reach,
        gap_frames: score.event_gap_frames,
        ..Settings::at(threshold)
    };
    // Alarms count where the daemon's do.
    let roi = &case.settings.config.roi;
    let margin = if roi.has_model() { roi.margin } else { score.roi_margin };
    let road = case.settings.wants_road() && (roi.has_model() || !score.roi_classes.is_empty());
    let polygons = score.roi.as_ref().map_or(&[][..], |roi| roi.all());
    let mut roi = (road || !polygons.is_empty()).then(|| Roi::new(polygons, road.then(|| (vec![1], margin))));
    let sequence_of = |index: &usize| case.dataset.samples[*index].sequence.clone().unwrap_or_default();
    let mut reports = Vec::new();
    for frames in case.indices.chunk_by(|a, b| sequence_of(a) == sequence_of(b)) {
        let mut judge = Judge::new(settings);
        let mut previous: Option<Luma> = None;
        let mut look = Reduced::default();
        let (pool, mut enlarger) = (Pool::new(), Enlarger::new(score));
        for (number, index) in frames.iter().enumerate() {
            let sample = &case.dataset.samples[*index];
            let (truth, maps, road) = read(case, *index)?;
            let map = maps.get(method).context("a map is missing")?;
            let brightness = luma(&sample.image, &pool)?;
            let scores = at_size(&mut enlarger, map, &brightness, (truth.width, truth.height));
            let same_size = (brightness.width, brightness.height) == (truth.width, truth.height);
            look.take(&brightness.pixels, brightness.width, brightness.height);
            let motion = match &previous {
                // Motion is told in the pixels of the scores.
                Some(before)
                    if [(before.width, before.height), (truth.width, truth.height)]
                        .iter()
                        .all(|size| *size == (brightness.width, brightness.height)) =>
                {
                    estimate(&before.pixels, &brightness.pixels, brightness.width, brightness.height)
                }
                _ => Motion::Still,
            };
            let frame = VideoFrame {
                time_secs: number as f64 / case.dataset.fps,
                width: truth.width,
                height: truth.height,
                scores: &scores.data,
                counted: roi.as_mut().map(|roi| {
                    let road = road.as_ref().map(two_classes);
                    roi.step(road.as_ref(), truth.width, truth.height)
                }),
                truth: Some(&truth),
                motion: &motion,
                look: same_size.then_some(&look),
            };
            judge.push(frame).with_context(|| sample.name.clone())?;
            previous = Some(brightness);
        }
        let sequence = frames.first().map(sequence_of).unwrap_or_default();
        reports.push(SequenceResult { sequence, report: judge.finish(None) });
    }
    Ok(reports)
}
