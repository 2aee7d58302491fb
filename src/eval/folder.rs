//! What is judged of two folders, and how: the request, the report, what may be wrong, and reading pair by pair.

use std::path::PathBuf;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::maps::{self, PairError, Place, ScoreImage, Scores};
use super::metrics::instances::InstanceReport;
use super::metrics::smiyc::{SmiycError, SmiycReport};
use super::metrics::{
    BootstrapSettings, CalibrationReport, CountError, Curve, Detection, Histogram, Intervals, Limits,
    PerImageReport, PimoReport, PooledError, ProReport, RiskReport,
};
use super::protocol::Protocol;
use super::streaming::{LatencyError, Shown, Streaming, StreamingReport};
use super::truth::{Share, ValueMap};

/// Faults told at once.
const MOST_FAULTS: usize = 8;

/// What is to be judged, and how.
#[derive(Debug, Clone)]
pub struct Request {
    /// Folder of score maps, or a file of several.
    pub scores: PathBuf,
    /// Folder of truth masks.
    pub truth: PathBuf,
    /// The protocol.
    pub protocol: Protocol,
    /// What the values of the masks mean.
    pub values: ValueMap,
    /// A threshold from in-distribution data, to be judged too (not by the SMIYC protocols).
    pub threshold: Option<f64>,
    /// Up to which false positive rate `pro` integrates, 0 to 1.
    pub fpr_limit: f64,
    /// Over which shared false positive rates `pimo` does.
    pub fpr_range: [f64; 2],
    /// What of the masks is an instance.
    pub instances: InstancesBy,
    /// Whether each frame is judged by the map that has left by then.
    pub streaming: Option<Streaming>,
    /// How intervals are found.
    pub bootstrap: BootstrapSettings,
    /// Memory and scratch folder.
    pub limits: Limits,
}

impl Request {
    /// All pixels in one list, by nothing but that.
    pub fn pooled(
        scores: PathBuf,
        truth: PathBuf,
        values: ValueMap,
        bootstrap: BootstrapSettings,
        limits: Limits,
    ) -> Request {
        Request {
            scores,
            truth,
            protocol: Protocol::Pooled,
            values,
            threshold: None,
            fpr_limit: 0.3,
            fpr_range: [1e-5, 1e-4],
            instances: InstancesBy::default(),
            streaming: None,
            bootstrap,
            limits,
        }
    }
}

/// What of a mask is one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InstancesBy {
    /// Anomalous pixels that touch, by a side or a corner.
    #[default]
    Components,
    /// All pixels of one anomalous value, as in masks of instances.
    Values,
}

impl std::str::FromStr for InstancesBy {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "components" => Ok(InstancesBy::Components),
            "values" => Ok(InstancesBy::Values),
            _ => Err(format!("{text:?} is neither components nor values")),
        }
    }
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
    /// A file of latencies makes no sense.
    #[error(transparent)]
    Latency(#[from] LatencyError),
    /// No image without anomaly, or none with one.
    #[error("{truth} has {normal} images without anomaly and {anomalous} with; AUPIMO takes the false positive rates of the former and judges the latter, so add images of normal driving with masks that are all normal", truth = truth.display())]
    NoNormalImages {
        /// The folder of masks.
        truth: PathBuf,
        /// Images without anomaly.
        normal: usize,
        /// Images with.
        anomalous: usize,
    },
    /// Nothing says which pixels are an instance.
    #[error(
        "score maps become instances by a threshold: give --threshold SCORE, or a folder of predicted instances (NAME.txt as of Cityscapes) as --scores"
    )]
    NoThreshold,
}

/// What comes out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoldersReport {
    /// The protocol.
    pub protocol: Protocol,
    /// Version of farout.
    pub farout: String,
    /// The threshold given, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// What of the masks is an instance, by the protocol `instances`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances_by: Option<InstancesBy>,
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
    /// By the protocol `pro`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pro: Option<ProReport>,
    /// By the protocol `pimo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pimo: Option<PimoReport>,
    /// By the protocol `risk`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<RiskReport>,
    /// By the protocol `instances`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<InstanceReport>,
    /// What became of the frames, judged as a live viewer has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streaming: Option<StreamingReport>,
}

impl FoldersReport {
    /// Of so many files, without numbers yet.
    pub(super) fn new(request: &Request, files: usize) -> FoldersReport {
        FoldersReport {
            protocol: request.protocol,
            farout: env!("CARGO_PKG_VERSION").to_owned(),
            threshold: request.threshold,
            instances_by: (request.protocol == Protocol::Instances).then_some(request.instances),
            files,
            values: request.values.clone(),
            pixels: Share::default(),
            pooled: None,
            per_image: None,
            smiyc: None,
            calibration: None,
            pro: None,
            pimo: None,
            risk: None,
            instances: None,
            streaming: None,
        }
    }
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

/// Does `work` on all cores and gives the results to `take` in the order of the pairs. Faults of files are
/// collected until there are too many.
pub(super) fn in_order<P: Sync, T: Send>(
    pairs: &[P],
    work: impl Fn(&P) -> Result<T, String> + Sync,
    progress: impl Fn(usize, usize),
    mut take: impl FnMut(&P, T) -> Result<(), FoldersError>,
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

/// What to say of truth with one class alone.
pub(super) fn one_class(request: &Request, pixels: Share, files: usize) -> FoldersError {
    let (truth, anomaly, normal) = (request.truth.clone(), pixels.anomaly, pixels.normal);
    FoldersError::OneClass { truth, anomaly, normal, files }
}

/// The lowest of all scores that are numbers.
pub(super) fn lowest(pairs: &[Shown]) -> Result<f64, FoldersError> {
    let of = |shown: &Shown| {
        let image = maps::read(&shown.pair.scores).map_err(|e| e.to_string())?;
        Ok(match image.scores {
            Scores::F32(scores) => f64::from(scores.into_iter().fold(f32::INFINITY, f32::min)),
            Scores::F64(scores) => scores.into_iter().fold(f64::INFINITY, f64::min),
        })
    };
    let found: Result<Vec<f64>, String> = pairs.par_iter().map(of).collect();
    let found = found.map_err(|fault| FoldersError::Faults { faults: vec![fault] })?;
    Ok(found.into_iter().fold(f64::INFINITY, f64::min))
}

/// The scores of a pair; of a frame before the first map, the lowest of all.
pub(super) fn scores_of(
    shown: &Shown,
    (width, height): (usize, usize),
    same_size: bool,
) -> Result<ScoreImage, String> {
    let Some(place) = &shown.scores else {
        let scores = Scores::F32(vec![shown.lowest as f32; width * height]);
        return Ok(ScoreImage { width, height, scores });
    };
    let image = maps::read(place).map_err(|e| e.to_string())?;
    if same_size && (image.width, image.height) != (width, height) {
        return Err(format!(
            "{place} is {}x{}, its truth {} is {width}x{height}; bring the scores to the size of the truth",
            image.width,
            image.height,
            shown.pair.truth.display(),
        ));
    }
    Ok(image)
}

/// Scores as 64 bits if any map has them.
pub(super) fn widened(scores: Scores, wide: bool) -> Scores {
    match scores {
        Scores::F32(scores) if wide => Scores::F64(scores.into_iter().map(f64::from).collect()),
        other => other,
    }
}

/// Whether any map has scores of 64 bits: then all are judged as such, so that ties stay ties.
pub(super) fn any_wide(pairs: &[Shown]) -> Result<bool, FoldersError> {
    let inspected: Vec<_> = pairs.par_iter().map(|shown| maps::inspect(&shown.pair.scores)).collect();
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
pub(super) fn located(place: &Place, width: usize, error: &CountError) -> String {
    match error {
        CountError::NotFinite { first, what, more } => format!(
            "{place}: the score at x {}, y {} is {what}, and {more} more are not finite; a metric needs finite scores",
            first % width,
            first / width
        ),
        other => format!("{place}: {other}"),
    }
}
