//! The result of a run: the numbers and everything that made them, as JSON.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::breakdown::Breakdown;
use super::metrics::smiyc::SmiycReport;
use super::metrics::video::VideoReport;
use super::metrics::{CalibrationReport, Curve, Detection, Histogram, Intervals, PerImageReport};
use super::partial::{SessionTime, StageTime};
use super::region::RegionRecord;
use super::settings::{Settings, Shard};
use super::truth::Share;
use crate::file::{WriteError, write_whole};
use crate::identity::ModelIdentity;
use crate::score::Method;

/// Version of the JSON; a reader refuses others.
pub const FORMAT: u32 = 1;

/// Why a result cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ResultError {
    /// The file cannot be read.
    #[error("cannot read the result {path}: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no result of `farout eval`.
    #[error("{path} is no result of farout eval: {why}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        why: serde_json::Error,
    },
    /// It was written by another version.
    #[error("{path} has format {found}, this farout reads format {FORMAT}; run farout eval again", path = path.display())]
    OtherFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// It is one part of a run.
    #[error("{path} is part {shard} of a run and has no numbers yet; put the parts together with: farout eval merge", path = path.display())]
    IsShard {
        /// The file.
        path: PathBuf,
        /// Which part.
        shard: Shard,
    },
}

/// A whole result, or one shard's part of it (then without `methods`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvalResult {
    /// [`FORMAT`].
    pub format: u32,
    /// Version of farout.
    pub farout: String,
    /// When it was made, UTC.
    pub made: String,
    /// What the run was told.
    pub settings: Settings,
    /// What was judged.
    pub dataset: DatasetRecord,
    /// What lies in the region of judging; older results judged all, and do not say it.
    #[serde(default)]
    pub region: Option<RegionRecord>,
    /// What gave the scores.
    pub model: ModelRecord,
    /// What they were measured against.
    pub bank: Option<BankRecord>,
    /// What it ran on.
    pub machine: MachineRecord,
    /// How long it took.
    pub time: TimeRecord,
    /// SHA-256 of everything that the score maps depend on.
    pub maps_key: String,
    /// The daemon's threshold of each method, in the methods' order.
    pub thresholds: Vec<ThresholdRecord>,
    /// Which part of a run this is, if it is one.
    pub shard: Option<ShardRecord>,
    /// The numbers, one entry per method.
    pub methods: Vec<MethodResult>,
}

/// What was judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetRecord {
    /// Images that were scored.
    pub images: usize,
    /// Names of images without a mask, left out by --allow-missing.
    pub without_mask: Vec<String>,
    /// SHA-256 over names, images and masks in order.
    pub sha256: String,
    /// Their pixels.
    pub share: Share,
    /// Masks with an anomalous pixel.
    pub with_anomaly: usize,
    /// What was left out on purpose.
    pub notes: Vec<String>,
}

/// The model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelRecord {
    /// SHA-256, tensor, input, normalisation.
    #[serde(flatten)]
    pub identity: ModelIdentity,
}

/// The bank.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BankRecord {
    /// The file.
    pub path: PathBuf,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Reference features.
    pub rows: usize,
    /// Frames that they come from.
    pub frames: usize,
    /// Seed of its sample.
    pub seed: u64,
    /// Version of farout that made it.
    pub farout: String,
}

/// What it ran on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MachineRecord {
    /// Execution provider of the model.
    pub provider: String,
    /// Model, provider, threads and ONNX Runtime in one line.
    pub session: String,
    /// The search engine.
    pub search: Option<String>,
    /// Why better devices were passed over.
    pub fallbacks: Vec<String>,
    /// Operating system and architecture.
    pub system: String,
    /// Name of the processor, if the system tells.
    pub processor: String,
    /// Cores that may be used.
    pub cores: usize,
}

/// How long it took.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TimeRecord {
    /// Wall-clock seconds from images to score maps, over all sessions and shards.
    pub measuring_seconds: f64,
    /// Wall-clock seconds from score maps to numbers.
    pub judging_seconds: f64,
    /// Each stage, over all sessions and shards.
    pub stages: Vec<StageTime>,
    /// Sessions that it took (a run that was interrupted has several).
    pub sessions: usize,
}

impl TimeRecord {
    /// All sessions together.
    pub fn of(sessions: &[SessionTime]) -> TimeRecord {
        let mut time = TimeRecord { sessions: sessions.len(), ..TimeRecord::default() };
        for session in sessions {
            time.measuring_seconds += session.seconds;
            time.add_stages(&session.stages);
        }
        time
    }

    /// Adds what another shard took.
    pub fn add(&mut self, other: &TimeRecord) {
        self.measuring_seconds += other.measuring_seconds;
        self.judging_seconds += other.judging_seconds;
        self.sessions += other.sessions;
        self.add_stages(&other.stages);
    }

    fn add_stages(&mut self, stages: &[StageTime]) {
        for stage in stages {
            match self.stages.iter_mut().find(|known| known.name == stage.name) {
                Some(known) => {
                    known.images += stage.images;
                    known.seconds += stage.seconds;
                }
                None => self.stages.push(stage.clone()),
            }
        }
    }
}

/// One part of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShardRecord {
    /// Which.
    #[serde(flatten)]
    pub shard: Shard,
    /// File of its score maps, beside the JSON.
    pub maps: PathBuf,
    /// SHA-256 of that file.
    pub maps_sha256: String,
}

/// The numbers of one method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MethodResult {
    /// The method.
    pub method: Method,
    /// All pixels in one list.
    pub pooled: Option<PooledResult>,
    /// Each image by itself.
    pub per_image: PerImageReport,
    /// SegmentMeIfYouCan's protocols.
    pub smiyc: Vec<SmiycReport>,
    /// Sequences, one report each.
    pub video: Vec<SequenceResult>,
    /// What the daemon's own threshold is worth here, if it has one.
    pub calibration: Option<CalibrationReport>,
    /// By object size and image region.
    pub breakdown: Option<Breakdown>,
}

/// The pooled numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PooledResult {
    /// The metrics.
    #[serde(flatten)]
    pub detection: Detection,
    /// Their confidence intervals, images drawn anew.
    pub intervals: Option<Intervals>,
    /// Operating points.
    pub curve: Curve,
    /// Scores inside and outside of anomalies.
    pub histogram: Histogram,
    /// AP, AUROC, FPR95 first and closest and best F1 of each draw of the bootstrap: with the same seed
    /// and data set, the r-th draw of two results holds the same images.
    pub draws: Vec<[f64; 5]>,
}

impl PooledResult {
    /// AP, AUROC, FPR95 first and closest, best F1.
    pub fn headline(&self) -> [f64; 5] {
        self.detection.headline()
    }
}

/// A video.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SequenceResult {
    /// Its name.
    pub sequence: String,
    /// Its numbers.
    #[serde(flatten)]
    pub report: VideoReport,
}

/// The threshold that the daemon would take, from in-distribution data alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ThresholdRecord {
    /// Scores above it are anomalous; absent if there is none.
    pub value: Option<f32>,
    /// Where it comes from, or why there is none.
    pub basis: String,
}

impl EvalResult {
    /// Reads a result, whole or part.
    ///
    /// # Errors
    /// [`ResultError`].
    pub fn read(path: &Path) -> Result<EvalResult, ResultError> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let bytes = std::fs::read(path)
            .map_err(|source| ResultError::Unreadable { path: path.to_owned(), source })?;
        let malformed = |why| ResultError::Malformed { path: path.to_owned(), why };
        let head: Head = serde_json::from_slice(&bytes).map_err(malformed)?;
        if head.format != FORMAT {
            return Err(ResultError::OtherFormat { path: path.to_owned(), found: head.format });
        }
        serde_json::from_slice(&bytes).map_err(malformed)
    }

    /// Reads a result that has numbers.
    ///
    /// # Errors
    /// [`ResultError`], also for one part of a run.
    pub fn read_whole(path: &Path) -> Result<EvalResult, ResultError> {
        let result = EvalResult::read(path)?;
        match &result.shard {
            Some(part) => Err(ResultError::IsShard { path: path.to_owned(), shard: part.shard }),
            None => Ok(result),
        }
    }

    /// Writes it whole.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn write(&self, path: &Path) -> Result<(), WriteError> {
        write_whole(path, |out| {
            serde_json::to_writer_pretty(&mut *out, self).map_err(std::io::Error::from)?;
            std::io::Write::write_all(out, b"\n")
        })
    }
}

impl MachineRecord {
    /// This machine, with what runs model and search.
    pub fn here(setup: &crate::detector::Setup) -> MachineRecord {
        let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = processor.lines().find_map(|line| {
            line.strip_prefix("model name")?.split_once(':').map(|(_, name)| name.trim().to_owned())
        });
        MachineRecord {
            provider: setup.provider.clone(),
            session: setup.description.clone(),
            search: setup.engine.clone(),
            fallbacks: setup.fallbacks.clone(),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            processor: processor.unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        }
    }
}
