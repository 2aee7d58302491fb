//! Score maps of one folder judged against the truth masks of another, by one of the protocols.

use std::path::{Path, PathBuf};

use half::f16;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::maps::{self, Pair, PairError, ScoreImage, Scores};
use super::metrics::smiyc::{self, SmiycError, SmiycReport, Track};
use super::metrics::{
    Bootstrap, BootstrapSettings, Calibration, CalibrationReport, CountError, Counts, Curve, Detection,
    Histogram, Intervals, Limits, PerImage, PerImageReport, Pooled, PooledError,
};
use super::protocol::Protocol;
use super::truth::{Share, Truth, ValueMap};

/// Faults told at once.
const MOST_FAULTS: usize = 8;
/// Bins of the histogram.
const BINS: usize = 200;

/// What is to be judged, and how.
#[derive(Debug, Clone)]
pub struct Request {
    /// Folder of score maps.
    pub scores: PathBuf,
    /// Folder of truth masks.
    pub truth: PathBuf,
    /// The protocol.
    pub protocol: Protocol,
    /// What the values of the masks mean.
    pub values: ValueMap,
    /// A threshold from in-distribution data, to be judged too (not by the SMIYC protocols).
    pub threshold: Option<f64>,
    /// How intervals are found.
    pub bootstrap: BootstrapSettings,
    /// Memory and scratch folder.
    pub limits: Limits,
}

/// Why they cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum FoldersError {
    /// Files without partner.
    #[error(transparent)]
    Pair(#[from] PairError),
    /// Files that cannot be judged, all that were found until there were too many.
    #[error("{}", faults.join("\n"))]
    Faults {
        /// One sentence each, with the file.
        faults: Vec<String>,
    },
    /// No class to tell from another.
    #[error("{truth} marks {anomaly} pixels as anomaly and {normal} as normal in {files} files; both are needed (are the labels of this data set hidden, or the values others?)", truth = truth.display())]
    OneClass {
        /// The folder of masks.
        truth: PathBuf,
        /// Anomalous pixels in all.
        anomaly: u64,
        /// Normal pixels in all.
        normal: u64,
        /// Masks.
        files: usize,
    },
    /// A protocol that follows objects over time.
    #[error(
        "the protocol \"{0}\" needs sequences; farout eval --protocol {0} judges data sets of kind video-ood"
    )]
    NeedsSequences(&'static str),
    /// Pooling failed.
    #[error(transparent)]
    Pooled(#[from] PooledError),
    /// SMIYC's protocol failed.
    #[error(transparent)]
    Smiyc(#[from] SmiycError),
}

/// What comes out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoldersReport {
    /// The protocol.
    pub protocol: Protocol,
    /// Score maps judged.
    pub files: usize,
    /// What the values of the masks meant.
    pub values: ValueMap,
    /// Pixels of all masks.
    pub pixels: Share,
    /// By the protocol `pooled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pooled: Option<PooledReport>,
    /// By the protocol `per-image`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_image: Option<PerImageReport>,
    /// By one of SMIYC's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smiyc: Option<SmiycReport>,
    /// At the threshold given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<CalibrationReport>,
}

/// All pixels in one list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PooledReport {
    /// The metrics.
    pub detection: Detection,
    /// Their intervals; `None` for fewer than two images.
    pub intervals: Option<Intervals>,
    /// Operating points for plots.
    pub curve: Curve,
    /// Scores by class.
    pub histogram: Histogram,
    /// Bytes that went to the scratch folder.
    pub spilled_bytes: u64,
}

/// Judges all maps; `progress` is told how many of how many files are done.
///
/// # Errors
/// [`FoldersError`].
pub fn judge(request: &Request, progress: impl Fn(usize, usize)) -> Result<FoldersReport, FoldersError> {
    if !Protocol::OF_FOLDERS.contains(&request.protocol) {
        return Err(FoldersError::NeedsSequences(request.protocol.name()));
    }
    let pairs = maps::pairs(&request.scores, &request.truth)?;
    let mut report = FoldersReport {
        protocol: request.protocol,
        files: pairs.len(),
        values: request.values.clone(),
        pixels: Share::default(),
        pooled: None,
        per_image: None,
        smiyc: None,
        calibration: None,
    };
    let nothing_to_tell = |pixels: Share| FoldersError::OneClass {
        truth: request.truth.clone(),
        anomaly: pixels.anomaly,
        normal: pixels.normal,
        files: pairs.len(),
    };
    let track = match request.protocol {
        Protocol::SmiycAnomaly => Some(Track::Anomaly),
        Protocol::SmiycObstacle => Some(Track::Obstacle),
        Protocol::Pooled | Protocol::PerImage | Protocol::Video => None,
    };
    if let Some(track) = track {
        let mut judge = smiyc::Judge::new(track, request.limits.clone());
        let load = |pair: &Pair| load(pair, &request.values, false);
        in_order(&pairs, load, progress, |pair, (image, truth)| {
            report.pixels += truth.share();
            let scores = narrow(image.scores);
            judge.push(&pair.scores.display().to_string(), (image.width, image.height), &scores, &truth)?;
            Ok(())
        })?;
        let judged = judge.finish(&request.bootstrap)?;
        report.smiyc = Some(judged.ok_or_else(|| nothing_to_tell(report.pixels))?);
        return Ok(report);
    }
    let wide = any_wide(&pairs)?;
    let count = |pair: &Pair| {
        let (image, truth) = load(pair, &request.values, true)?;
        let counted = match (image.scores, wide) {
            (Scores::F32(scores), false) => Counts::of(&scores, &truth.labels),
            (Scores::F32(scores), true) => {
                let scores: Vec<f64> = scores.into_iter().map(f64::from).collect();
                Counts::of(&scores, &truth.labels)
            }
            (Scores::F64(scores), _) => Counts::of(&scores, &truth.labels),
        };
        let counts = counted.map_err(|e| located(&pair.scores, image.width, &e))?;
        Ok((counts, truth.share()))
    };
    let mut pooled = Pooled::new(request.limits.clone());
    let (mut bootstrap, mut per_image) = (Bootstrap::new(request.bootstrap), PerImage::new());
    let mut calibration = request.threshold.map(Calibration::new);
    in_order(&pairs, count, progress, |pair, (counts, share)| {
        report.pixels += share;
        if let Some(calibration) = &mut calibration {
            calibration.push(&counts);
        }
        if request.protocol == Protocol::PerImage {
            per_image.push(pair.name.clone(), &counts);
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

/// Does `work` on all cores and gives the results to `take` in the order of the pairs. Faults of files are
/// collected until there are too many.
fn in_order<T: Send>(
    pairs: &[Pair],
    work: impl Fn(&Pair) -> Result<T, String> + Sync,
    progress: impl Fn(usize, usize),
    mut take: impl FnMut(&Pair, T) -> Result<(), FoldersError>,
) -> Result<(), FoldersError> {
    let mut faults = Vec::new();
    let at_once = rayon::current_num_threads() * 2;
    for (batch, some) in pairs.chunks(at_once).enumerate() {
        let done: Vec<Result<T, String>> = some.par_iter().map(&work).collect();
        for (pair, result) in some.iter().zip(done) {
            match result {
                Ok(result) if faults.is_empty() => take(pair, result)?,
                Ok(_) => {}
                Err(fault) => faults.push(fault),
            }
        }
        progress(batch * at_once + some.len(), pairs.len());
        if faults.len() >= MOST_FAULTS {
            faults.push("there may be more".to_owned());
            break;
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(FoldersError::Faults { faults }) }
}

/// Reads both files of a pair.
fn load(pair: &Pair, values: &ValueMap, same_size: bool) -> Result<(ScoreImage, Truth), String> {
    let truth = Truth::read(&pair.truth, values).map_err(|e| e.to_string())?;
    let image = maps::read(&pair.scores).map_err(|e| e.to_string())?;
    if same_size && (image.width, image.height) != (truth.width, truth.height) {
        return Err(format!(
            "{} is {}x{}, its truth {} is {}x{}; bring the scores to the size of the truth",
            pair.scores.display(),
            image.width,
            image.height,
            pair.truth.display(),
            truth.width,
            truth.height
        ));
    }
    Ok((image, truth))
}

/// Whether any map has scores of 64 bits: then all are judged as such, so that ties stay ties.
fn any_wide(pairs: &[Pair]) -> Result<bool, FoldersError> {
    let inspected: Vec<_> = pairs.par_iter().map(|pair| maps::inspect(&pair.scores)).collect();
    let (mut wide, mut faults) = (false, Vec::new());
    for info in inspected {
        match info {
            Ok(info) => wide |= info.wide,
            Err(fault) => faults.push(fault.to_string()),
        }
    }
    if faults.len() > MOST_FAULTS {
        let more = faults.len() - MOST_FAULTS;
        faults.truncate(MOST_FAULTS);
        faults.push(format!("and {more} more files"));
    }
    if faults.is_empty() { Ok(wide) } else { Err(FoldersError::Faults { faults }) }
}

/// The fault of a score with the place of its pixel.
fn located(path: &Path, width: usize, error: &CountError) -> String {
    match error {
        CountError::NotFinite { first, what, more } => format!(
            "{}: the score at x {}, y {} is {what}, and {more} more are not finite; a metric needs finite scores",
            path.display(),
            first % width,
            first / width
        ),
        other => format!("{}: {other}", path.display()),
    }
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
