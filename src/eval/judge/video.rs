//! Sequences: frames in order, with the motion between them, judged at one threshold.

use anyhow::{Context, Result};

use super::Case;
use super::pixels::at_size;
use crate::eval::metrics::video::motion::estimate;
use crate::eval::metrics::video::{Judge, Motion, Settings, VideoFrame};
use crate::eval::result::{MethodResult, SequenceResult};
use crate::eval::truth::Truth;
use crate::frame::Frame;
use crate::pool::Pool;
use crate::score::Upsampler;
use crate::source::images;

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
        gap_frames: score.event_gap_frames,
        ..Settings::at(threshold)
    };
    let sequence_of = |index: &usize| case.dataset.samples[*index].sequence.clone().unwrap_or_default();
    let mut reports = Vec::new();
    for frames in case.indices.chunk_by(|a, b| sequence_of(a) == sequence_of(b)) {
        let mut judge = Judge::new(settings);
        let mut previous: Option<Luma> = None;
        let (pool, mut upsampler) = (Pool::new(), Upsampler::new());
        for (number, index) in frames.iter().enumerate() {
            let sample = &case.dataset.samples[*index];
            let path = sample.truth.as_ref().with_context(|| format!("{} has no mask", sample.name))?;
            let truth = Truth::read(path, &case.dataset.values)?;
            let maps = (case.load)(*index)?;
            let map = maps.get(method).context("a map is missing")?;
            let scores = at_size(&mut upsampler, map, truth.width, truth.height);
            let luma = Luma::read(&sample.image, &pool)?;
            let motion = match &previous {
                // Motion is told in the pixels of the scores.
                Some(before)
                    if [(before.width, before.height), (truth.width, truth.height)]
                        .iter()
                        .all(|size| *size == (luma.width, luma.height)) =>
                {
                    estimate(&before.pixels, &luma.pixels, luma.width, luma.height)
                }
                _ => Motion::Still,
            };
            let frame = VideoFrame {
                time_secs: number as f64 / case.dataset.fps,
                width: truth.width,
                height: truth.height,
                scores: &scores.data,
                truth: Some(&truth),
                motion: &motion,
            };
            judge.push(frame).with_context(|| sample.name.clone())?;
            previous = Some(luma);
        }
        let sequence = frames.first().map(sequence_of).unwrap_or_default();
        reports.push(SequenceResult { sequence, report: judge.finish(None) });
    }
    Ok(reports)
}

/// The brightness of a picture.
struct Luma {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Luma {
    fn read(path: &std::path::Path, pool: &Pool<Vec<u8>>) -> Result<Luma> {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let frame: Frame = images::decode(&bytes, pool)
            .map_err(|why| anyhow::anyhow!("cannot read {}: {why}", path.display()))?;
        // BT.601 weights in 256ths.
        let luma =
            |p: &[u8; 3]| ((u32::from(p[0]) * 77 + u32::from(p[1]) * 150 + u32::from(p[2]) * 29) >> 8) as u8;
        let pixels = frame.pixels.as_chunks::<3>().0.iter().map(luma).collect();
        Ok(Luma { width: frame.width, height: frame.height, pixels })
    }
}
