//! Score maps of one folder judged against the truth masks of another, by one of the protocols.

use half::f16;

use super::folder::{
    FoldersError, FoldersReport, PooledReport, Request, any_wide, in_order, located, lowest, one_class,
    scores_of, widened,
};
use super::maps::{self, ScoreImage, Scores};
use super::metrics::smiyc::{self, Track};
use super::metrics::{Bootstrap, Calibration, Counts, PerImage, Pooled};
use super::protocol::Protocol;
use super::regional;
use super::streaming::Shown;
use super::truth::{Share, Truth, ValueMap};

/// Bins of the histogram.
const BINS: usize = 200;

/// Judges all maps; `progress` is told how many of how many files are done.
///
/// # Errors
/// [`FoldersError`].
pub fn judge(request: &Request, progress: impl Fn(usize, usize)) -> Result<FoldersReport, FoldersError> {
    if !request.protocol.is_of_folders() {
        return Err(FoldersError::NeedsSequences(request.protocol.name()));
    }
    if request.protocol == Protocol::Instances && request.threshold.is_none() {
        let lists = maps::lists(&request.scores)?;
        if lists.is_empty() || request.streaming.is_some() {
            return Err(FoldersError::NoThreshold);
        }
        return regional::judge_predicted(request, &lists, progress);
    }
    let pairs = maps::pairs(&request.scores, &request.truth)?;
    let (pairs, streaming) = match &request.streaming {
        Some(streaming) => {
            let (mut shown, report) = streaming.shown(&pairs)?;
            if report.before_first > 0 {
                let lowest = lowest(&shown)?;
                shown.iter_mut().for_each(|one| one.lowest = lowest);
            }
            (shown, Some(report))
        }
        None => (pairs.into_iter().map(Shown::from).collect(), None),
    };
    let mut report = FoldersReport { streaming, ..FoldersReport::new(request, pairs.len()) };
    let nothing_to_tell = |pixels: Share| one_class(request, pixels, pairs.len());
    let track = match request.protocol {
        Protocol::SmiycAnomaly => Some(Track::Anomaly),
        Protocol::SmiycObstacle => Some(Track::Obstacle),
        _ => None,
    };
    if !request.protocol.is_of_runs() {
        regional::judge(request, &pairs, &mut report, progress)?;
        return Ok(report);
    }
    if let Some(track) = track {
        let mut judge = smiyc::Judge::new(track, request.limits.clone());
        let load = |shown: &Shown| load(shown, &request.values, false);
        in_order(&pairs, load, progress, |shown, (image, truth)| {
            report.pixels += truth.share();
            let scores = narrow(image.scores);
            judge.push(&shown.place().to_string(), (image.width, image.height), &scores, &truth)?;
            Ok(())
        })?;
        let judged = judge.finish(&request.bootstrap)?;
        report.smiyc = Some(judged.ok_or_else(|| nothing_to_tell(report.pixels))?);
        return Ok(report);
    }
    let mut pooled = Pooled::new(request.limits.clone());
    let (mut bootstrap, mut per_image) = (Bootstrap::new(request.bootstrap), PerImage::new());
    let mut calibration = request.threshold.map(Calibration::new);
    count_all(request, &pairs, progress, |shown, counts, share| {
        report.pixels += share;
        if let Some(calibration) = &mut calibration {
            calibration.push(&counts);
        }
        if request.protocol == Protocol::PerImage {
            per_image.push(shown.pair.name.clone(), &counts);
            return Ok(());
        }
        bootstrap.push(&counts);
        Ok(pooled.push(counts)?)
    })?;
    report.calibration = calibration.map(|calibration| calibration.finish(&request.bootstrap));
    if request.protocol == Protocol::PerImage {
        let judged = per_image.finish(&request.bootstrap);
        if judged.images == 0 {
            return Err(nothing_to_tell(report.pixels));
        }
        report.per_image = Some(judged);
        return Ok(report);
    }
    let overview = pooled.overview(BINS)?.ok_or_else(|| nothing_to_tell(report.pixels))?;
    report.pooled = Some(PooledReport {
        intervals: bootstrap.intervals(&overview.detection),
        detection: overview.detection,
        curve: overview.curve,
        histogram: overview.histogram,
        spilled_bytes: pooled.spilled_bytes(),
    });
    Ok(report)
}

/// Counts the scores of all `pairs` by class, and gives them to `take` in their order.
///
/// # Errors
/// As [`judge`].
pub(super) fn count_all(
    request: &Request,
    pairs: &[Shown],
    progress: impl Fn(usize, usize),
    mut take: impl FnMut(&Shown, Counts, Share) -> Result<(), FoldersError>,
) -> Result<(), FoldersError> {
    let wide = any_wide(pairs)?;
    let count = |shown: &Shown| {
        let (image, truth) = load(shown, &request.values, true)?;
        let counted = match widened(image.scores, wide) {
            Scores::F32(scores) => Counts::of(&scores, &truth.labels),
            Scores::F64(scores) => Counts::of(&scores, &truth.labels),
        };
        let counts = counted.map_err(|e| located(shown.place(), image.width, &e))?;
        Ok((counts, truth.share()))
    };
    in_order(pairs, count, progress, |shown, (counts, share)| take(shown, counts, share))
}

/// Reads both files of a pair.
fn load(shown: &Shown, values: &ValueMap, same_size: bool) -> Result<(ScoreImage, Truth), String> {
    let truth = Truth::read(&shown.pair.truth, values).map_err(|e| e.to_string())?;
    let image = scores_of(shown, (truth.width, truth.height), same_size)?;
    Ok((image, truth))
}

/// Scores as the SMIYC protocol takes them. It rounds them to float16: those of 64 bits at once, since rounding
/// twice is not the same. What float16 cannot hold is left for the protocol to refuse.
fn narrow(scores: Scores) -> Vec<f32> {
    let round = |score: f64| match f16::from_f64(score) {
        rounded if rounded.is_finite() => rounded.to_f32(),
        _ => score as f32,
    };
    match scores {
        Scores::F32(scores) => scores,
        Scores::F64(scores) => scores.into_iter().map(round).collect(),
    }
}
