//! Flags of the verbs that judge: metrics, eval, compare, dataset.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::ConfigArgs;
use crate::eval::dataset::DatasetSpec;
use crate::eval::folder::InstancesBy;
use crate::eval::protocol::Protocol;
use crate::eval::region::Region;
use crate::eval::settings::Shard;
use crate::score::Method;

/// `farout eval`
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true, after_help = SHORT, after_long_help = DATASETS)]
pub struct EvalArgs {
    #[command(subcommand)]
    #[allow(missing_docs)]
    pub command: Option<EvalCommand>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub run: EvalRunArgs,
}

/// `farout eval ...`
#[derive(Debug, Clone, Subcommand)]
pub enum EvalCommand {
    /// Put the parts of a run together that were made with --shard
    Merge(EvalMergeArgs),
}

/// For the short help.
const SHORT: &str = "Data sets: KIND:DIR, where KIND is roadanomaly, smiyc-anomaly, smiyc-obstacle, lostandfound, fishyscapes-laf, \
                     streethazards or video-ood; or folder:FILE.toml. See --help.";

/// The kinds of data sets, for the help.
const DATASETS: &str = "Data sets:
  roadanomaly:DIR               frame_list.json, frames/NAME.jpg, frames/NAME.labels/labels_semantic.png
  smiyc-anomaly:DIR             images/, labels_masks/ (the validation frames; so for smiyc-obstacle)
  lostandfound:DIR              leftImg8bit/test, gtCoarse/test (lostandfound-testnoknown: without known objects)
  fishyscapes-laf:DIR           NNNN_ID_labels.png anywhere below DIR, with LostAndFound's images
  streethazards:DIR             test/images/test/TOWN, test/annotations/test/TOWN
  video-ood:DIR                 raw_data/SEQUENCE, semantic_ood/SEQUENCE (SOS, WOS, CARLA-WildLife)
  folder:FILE                   a TOML file: images = DIR, masks = DIR, normal = [0], anomaly = [1], void = [255]
Without --protocol, each is judged as it was published.";

/// A run of `farout eval`.
#[derive(Debug, Clone, Default, Args)]
pub struct EvalRunArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub config: ConfigArgs,
    /// Data set to judge on; the kinds are listed below
    #[arg(long, value_name = "KIND:PATH", required_unless_present = "from", help_heading = "Input")]
    pub dataset: Option<DatasetSpec>,
    /// Bank of reference features; overrides bank.path
    #[arg(long, value_name = "FILE", conflicts_with = "detector", help_heading = "Search and score")]
    pub bank: Option<PathBuf>,
    /// Score methods, from one pass over the model [default: all that model and bank allow]
    #[arg(
        long,
        value_name = "M,M",
        value_delimiter = ',',
        conflicts_with = "from",
        help_heading = "Search and score"
    )]
    pub methods: Vec<Method>,
    /// Judge by these protocols, too: pooled, per-image, smiyc-anomaly, smiyc-obstacle, video
    #[arg(
        long,
        value_name = "P,P",
        value_delimiter = ',',
        conflicts_with = "from",
        help_heading = "Protocol"
    )]
    pub protocol: Vec<Protocol>,
    /// Pixels to judge: all, road, below-horizon:SHARE, a mask, or a folder of masks
    ///
    /// All others are void. "road": as roi.model or, with score.roi_classes, the main model's logits see it, and what
    /// the truth calls anomaly. Of masks, what is not 0 is judged.
    #[arg(
        long,
        value_name = "WHAT",
        default_value = "all",
        conflicts_with = "from",
        help_heading = "Protocol"
    )]
    pub region: Region,
    /// Leave images without a mask out instead of refusing the data set
    #[arg(long, conflicts_with = "from", help_heading = "Input")]
    pub allow_missing: bool,
    /// Repeat the run that wrote this JSON
    ///
    /// --dataset, --model and --bank say where things lie now.
    #[arg(long, value_name = "JSON", conflicts_with_all = ["config", "detector", "features", "input_height", "device"], help_heading = "Input")]
    pub from: Option<PathBuf>,
    /// Judge the i-th of n parts of the images; farout eval merge joins them
    #[arg(long, value_name = "i/n", requires = "json", conflicts_with_all = ["report", "scores"], help_heading = "Input")]
    pub shard: Option<Shard>,
    /// Draws of the bootstrap for confidence intervals; 0 for none
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1000,
        conflicts_with = "from",
        help_heading = "Protocol",
        hide_short_help = true
    )]
    pub replicates: u32,
    /// Seed of the bootstrap
    #[arg(
        long,
        value_name = "SEED",
        default_value_t = 0,
        conflicts_with = "from",
        help_heading = "Protocol",
        hide_short_help = true
    )]
    pub seed: u64,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub out: EvalOutArgs,
    /// Folder for what is half done [default: beside the JSON or the report]
    #[arg(long, value_name = "DIR", help_heading = "Output", hide_short_help = true)]
    pub work: Option<PathBuf>,
}

/// What `farout eval` and its merging write.
#[derive(Debug, Clone, Default, Args)]
pub struct EvalOutArgs {
    /// Write the numbers and everything that made them to this file; "-" for standard output
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub json: Option<PathBuf>,
    /// Write a report into this folder: index.html, and the curves as SVG
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub report: Option<PathBuf>,
    /// Write the score maps at the truth's size: DIR/METHOD/NAME.npy
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub scores: Option<PathBuf>,
}

/// `farout eval merge`
#[derive(Debug, Clone, Args)]
pub struct EvalMergeArgs {
    /// The JSON files of all parts; their .maps files lie beside them
    #[arg(value_name = "JSON", required = true)]
    pub parts: Vec<PathBuf>,
    /// Where the data set lies on this machine, if elsewhere
    #[arg(long, value_name = "KIND:PATH")]
    pub dataset: Option<DatasetSpec>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub out: EvalOutArgs,
}

/// `farout compare`
#[derive(Debug, Clone, Args)]
pub struct CompareArgs {
    /// Results of farout eval on the same data set; or, with --truth, score maps of several methods. The others are compared with
    /// the first
    ///
    /// Score maps: for each method a folder, or a file of all its maps, as for farout metrics. They are judged as by --protocol
    /// pooled there. Intervals are of 95 %, by a paired bootstrap over the images.
    #[arg(value_name = "RESULT|MAPS", required = true)]
    pub results: Vec<PathBuf>,
    /// Compare score maps: the folder of their truth masks
    #[arg(long, value_name = "DIR", help_heading = "Score maps")]
    pub truth: Option<PathBuf>,
    #[command(flatten, next_help_heading = "Score maps")]
    #[allow(missing_docs)]
    pub truth_is: TruthArgs,
    /// Report in JSON
    #[arg(long)]
    pub json: bool,
}

/// What the masks of score maps mean, how intervals are drawn, and what memory there is.
#[derive(Debug, Clone, Args)]
pub struct TruthArgs {
    /// Values of normal pixels in the masks
    #[arg(long, requires = "truth", value_name = "V,A-B", value_delimiter = ',', default_value = "0", value_parser = values)]
    pub normal: Vec<std::ops::RangeInclusive<u16>>,
    /// Values of anomalous pixels
    #[arg(long, requires = "truth", value_name = "V,A-B", value_delimiter = ',', default_value = "1", value_parser = values)]
    pub anomaly: Vec<std::ops::RangeInclusive<u16>>,
    /// Values of pixels that do not count
    #[arg(long, requires = "truth", value_name = "V,A-B", value_delimiter = ',', default_value = "255", value_parser = values)]
    pub void: Vec<std::ops::RangeInclusive<u16>>,
    /// Draws of images for the confidence intervals
    #[arg(long, requires = "truth", value_name = "N", default_value_t = 1000, hide_short_help = true)]
    pub replicates: u32,
    /// Seed of the draws
    #[arg(long, requires = "truth", value_name = "SEED", default_value_t = 0, hide_short_help = true)]
    pub seed: u64,
    /// Memory for sorted scores; while they are merged twice as much is in use
    #[arg(long, requires = "truth", value_name = "MIB", default_value_t = 384, value_parser = clap::value_parser!(u32).range(1..=1 << 20), hide_short_help = true)]
    pub memory: u32,
    /// Folder for what does not fit [default: the system's folder for temporary files]
    #[arg(long, requires = "truth", value_name = "DIR", hide_short_help = true)]
    pub scratch: Option<PathBuf>,
}

/// `farout metrics`
#[derive(Debug, Clone, Args)]
pub struct MetricsArgs {
    /// Folder of score maps, or a file of all of them; higher is more anomalous
    ///
    /// A folder: one file per picture, of the mask's stem: .npy or .npz (f16, f32, f64), TIFF, HDF5, 16-bit grey PNG or
    /// .safetensors. A file: .npz or HDF5, whose arrays are called as the masks; or a stack in .npy, whose maps come in the order of
    /// the masks' paths as text.
    #[arg(long, value_name = "PATH")]
    pub scores: PathBuf,
    /// Folder of truth masks with the stems of the maps (or stem + _labels_semantic, _labelIds ...)
    #[arg(long, value_name = "DIR")]
    pub truth: PathBuf,
    /// Protocol: pooled, per-image, smiyc-anomaly, smiyc-obstacle, pro, pimo, risk or instances
    ///
    /// pooled: all pixels in one list (RoadAnomaly, Fishyscapes). per-image: each alone, then the mean over those with
    /// an anomaly (StreetHazards). smiyc-*: SegmentMeIfYouCan. pro: AUPRO, every anomalous region counting the same.
    /// pimo: AUPIMO, at the false positive rates of images without anomaly. risk: what is missed among the pixels that a
    /// threshold lets pass. instances: AP of instances (OoDIS), of the regions above --threshold, or of lists NAME.txt.
    #[arg(long, value_name = "PROTOCOL", value_parser = of_folders, required_unless_present = "explain")]
    pub protocol: Option<Protocol>,
    /// Judge pooled under the conventions that papers differ in, as one table
    #[arg(long, conflicts_with_all = ["protocol", "threshold", "streaming"])]
    pub explain: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub truth_is: TruthArgs,
    /// Tell false alarm rate and recall at this threshold, too
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    pub threshold: Option<f64>,
    /// False positive rate up to which AUPRO integrates
    #[arg(long, value_name = "RATE", default_value_t = 0.3, value_parser = rate, hide_short_help = true)]
    pub fpr_limit: f64,
    /// Shared false positive rates over which AUPIMO integrates
    #[arg(long, value_name = "LOW,HIGH", default_value = "1e-5,1e-4", value_parser = rates, hide_short_help = true)]
    pub fpr_range: Rates,
    /// What of a mask is one instance: components (pixels that touch) or values
    #[arg(long, value_name = "BY", default_value = "components", hide_short_help = true)]
    pub instances: InstancesBy,
    /// Judge each frame by the newest map that has left by then, at this rate of the camera; folders are sequences
    #[arg(long, value_name = "FPS", value_parser = frames_per_second, requires = "latency")]
    pub streaming: Option<f64>,
    /// Time from a frame to its map in milliseconds, or a file with a line NAME MILLISECONDS per map
    #[arg(long, value_name = "MS|FILE", requires = "streaming", allow_negative_numbers = true)]
    pub latency: Option<String>,
    /// Report in JSON, with the points of the curves and a histogram
    #[arg(long)]
    pub json: bool,
}

/// A rate above 0, at most 1.
fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.trim().parse().map_err(|e| format!("{e}"))?;
    if rate > 0.0 && rate <= 1.0 { Ok(rate) } else { Err("give a rate above 0, at most 1".to_owned()) }
}

/// Two rates, the lower first.
#[derive(Debug, Clone, Copy)]
pub struct Rates(pub [f64; 2]);

fn rates(text: &str) -> Result<Rates, String> {
    let (low, high) = text.split_once(',').ok_or("give LOW,HIGH")?;
    match (rate(low)?, rate(high)?) {
        (low, high) if low < high => Ok(Rates([low, high])),
        (low, high) => Err(format!("{low} is not below {high}")),
    }
}

/// Frames per second.
fn frames_per_second(text: &str) -> Result<f64, String> {
    let fps: f64 = text.parse().map_err(|e| format!("{e}"))?;
    if fps > 0.0 && fps.is_finite() { Ok(fps) } else { Err("give a number above 0".to_owned()) }
}

/// A protocol that judges folders.
fn of_folders(text: &str) -> Result<Protocol, String> {
    let Ok(protocol) = text.parse::<Protocol>() else {
        let of_folders = Protocol::ALL.into_iter().filter(|protocol| protocol.is_of_folders());
        let names: Vec<&str> = of_folders.map(Protocol::name).collect();
        return Err(format!("unknown protocol {text:?}: choose from {}", names.join(", ")));
    };
    match protocol.is_of_folders() {
        true => Ok(protocol),
        false => Err(format!("{text} needs sequences, see farout eval")),
    }
}

/// `farout dataset ...`
#[derive(Debug, Subcommand)]
pub enum DatasetCommand {
    /// Read every image and mask: values seen, sizes, share of anomaly and void, and whether it may be scored
    #[command(after_help = DATASETS)]
    Check(DatasetCheckArgs),
}

/// `farout dataset check`
#[derive(Debug, Clone, Args)]
pub struct DatasetCheckArgs {
    /// The data set; the kinds are listed below
    #[arg(value_name = "KIND:PATH")]
    pub dataset: DatasetSpec,
    /// Images without a mask are no reason to refuse
    #[arg(long)]
    pub allow_missing: bool,
    /// Report in JSON, file by file
    #[arg(long)]
    pub json: bool,
}

/// A value of a mask, or several in a row.
fn values(text: &str) -> Result<std::ops::RangeInclusive<u16>, String> {
    let number = |part: &str| part.trim().parse::<u16>().map_err(|why| format!("{part:?}: {why}"));
    match text.split_once('-') {
        Some((first, last)) => match (number(first)?, number(last)?) {
            (first, last) if first <= last => Ok(first..=last),
            (first, last) => Err(format!("{first} is above {last}")),
        },
        None => number(text).map(|value| value..=value),
    }
}
