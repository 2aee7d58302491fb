//! Subcommands and flags; the doc comments are the help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::eval::dataset::DatasetSpec;
use crate::eval::settings::Shard;
use crate::score::Method;

/// Marks, live, what road video shows and the training data never did.
///
/// farout measures how far each patch of a frame lies from a bank of features of normal driving,
/// lays the anomaly scores over the picture and serves it over RTSP.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    /// Say more: -v for debugging, -vv for everything (RUST_LOG is honoured too)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Say only what went wrong
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// How log lines are written to standard error
    #[arg(long, global = true, value_enum, default_value = "text", value_name = "FORMAT")]
    pub log_format: LogFormat,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// Every way to end, for the help and for whoever restarts the daemon.
const EXIT_CODES: &str = "Exit codes:
  0    done, or stopped on request
  1    failed; the last line says what, where and what to try
  2    wrong arguments or configuration
  3    the recording is cut off or damaged: all that could be decoded was processed
  130  stopped at once by a second signal";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch a camera, a stream or a recording and serve the overlay live
    Run(RunArgs),
    /// Process a recording or a folder of images from end to end, dropping nothing
    Replay(ReplayArgs),
    /// Build and look at banks of reference features
    #[command(subcommand)]
    Bank(BankCommand),
    /// Judge detection on a data set with truth: metrics, report, everything that made the numbers
    Eval(EvalArgs),
    /// Put results of farout eval side by side: differences, gains and losses, time
    Compare(CompareArgs),
    /// Look at data sets with truth
    #[command(subcommand)]
    Dataset(DatasetCommand),
    /// Judge score maps of any program against truth masks
    Metrics(MetricsArgs),
    /// Tell what this machine has: ONNX Runtime, devices, codecs, cameras, ports, with remedies
    Doctor(DoctorArgs),
}

/// `farout bank ...`
#[derive(Debug, Subcommand)]
pub enum BankCommand {
    /// Build a bank from images or videos of normal driving
    Build(BuildArgs),
    /// Tell what a bank file holds
    Inspect(InspectArgs),
}

/// The configuration file and the flags that override its common keys.
#[derive(Debug, Clone, Default, Args)]
pub struct ConfigArgs {
    /// Configuration file (TOML); paths in it are relative to its folder
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Model file (ONNX), overrides model.path
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// Tensor that holds the features, overrides model.features
    #[arg(long, value_name = "TENSOR")]
    pub features: Option<String>,
    /// Height of the model's input in pixels (the width follows the picture), overrides model.height
    #[arg(long, value_name = "PIXELS")]
    pub input_height: Option<usize>,
    /// Where the model and the search run, overrides runtime.device and search.device
    #[arg(long, value_enum, value_name = "DEVICE")]
    pub device: Option<Device>,
}

/// Where to compute. All but `auto` insist: they fail instead of falling back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Device {
    /// The best that works, saying why better ones do not
    Auto,
    /// The processor
    Cpu,
    /// An NVIDIA GPU through CUDA
    Cuda,
    /// An NVIDIA GPU through TensorRT
    Tensorrt,
}

/// What `run` and `replay` have in common.
#[derive(Debug, Clone, Default, Args)]
pub struct DetectArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub config: ConfigArgs,
    /// Bank of reference features, overrides bank.path
    #[arg(long, value_name = "FILE")]
    pub bank: Option<PathBuf>,
    /// Anomaly score above which a region alarms ("auto": from the bank), overrides score.threshold
    #[arg(long, value_name = "SCORE")]
    pub threshold: Option<String>,
    /// Switch inference and search off: pictures pass through unmarked
    #[arg(long)]
    pub bypass: bool,
    /// Append (run) or write (replay) events as JSON lines ("-" for standard output)
    #[arg(long, value_name = "FILE")]
    pub events: Option<PathBuf>,
    /// End after this many frames from the source
    #[arg(long, value_name = "N")]
    pub frames: Option<u64>,
    /// Report in JSON at the end
    #[arg(long)]
    pub json: bool,
}

/// `farout run`
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub detect: DetectArgs,
    /// Video file, rtsp://, v4l2:///dev/videoN, csi://N, http(s)://, image folder or glob,
    /// gst:PIPELINE or synthetic:KEY=VALUE,...; overrides stream.source
    #[arg(long, value_name = "SOURCE")]
    pub source: Option<String>,
    /// Play a file again from its start when it ends
    #[arg(long = "loop")]
    pub looped: bool,
    /// Take frames from files as fast as they are processed, not in real time
    #[arg(long)]
    pub fast: bool,
    /// Stop by itself after this many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub seconds: Option<f64>,
    /// Record the overlay to this MP4 file, playable even after a power cut
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Address to serve RTSP at, e.g. rtsp://0.0.0.0:8554/farout, or "off"; overrides output.rtsp
    #[arg(long, value_name = "URL")]
    pub rtsp: Option<String>,
    /// Address to serve MPEG-TS over HTTP at, or "off"; overrides output.http
    #[arg(long, value_name = "URL")]
    pub http: Option<String>,
}

/// `farout replay`
#[derive(Debug, Clone, Args)]
pub struct ReplayArgs {
    /// What to process, as for `farout run --source`; without it, the stream of the configuration
    #[arg(value_name = "SOURCE", conflicts_with = "source")]
    pub input: Option<String>,
    /// The same as SOURCE
    #[arg(long, value_name = "SOURCE")]
    pub source: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub detect: DetectArgs,
    /// Write the annotated video to this MP4 file
    #[arg(long, value_name = "FILE")]
    pub video: Option<PathBuf>,
    /// Write a score map per frame into this folder
    #[arg(long, value_name = "DIR")]
    pub scores: Option<PathBuf>,
    /// Format of the score maps
    #[arg(long, value_enum, default_value = "npy", value_name = "FORMAT")]
    pub scores_format: ScoresFormat,
    /// Write annotated pictures (PNG) into this folder
    #[arg(long, value_name = "DIR")]
    pub pictures: Option<PathBuf>,
    /// Write the unmarked frames (PNG) into this folder
    #[arg(long, value_name = "DIR")]
    pub frames_out: Option<PathBuf>,
    /// Write the truth of a synthetic source (class and stranger masks, PNG) into this folder
    #[arg(long, value_name = "DIR")]
    pub truth: Option<PathBuf>,
}

/// Formats of score maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ScoresFormat {
    /// NumPy array, float32, height x width: exact
    Npy,
    /// 16-bit grey PNG, scaled linearly; the scale stands in the file's text
    Png16,
}

/// `farout bank build`
#[derive(Debug, Clone, Args)]
pub struct BuildArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub config: ConfigArgs,
    /// Folders, globs, pictures or videos of normal driving
    #[arg(long, value_name = "PATH", num_args = 1.., required = true)]
    pub images: Vec<String>,
    /// Folder of label masks with the stems of the images
    #[arg(long, value_name = "DIR")]
    pub labels: Option<PathBuf>,
    /// Label values that mean "void": such patches are left out
    #[arg(long, value_name = "V,V", value_delimiter = ',', default_value = "255", requires = "labels")]
    pub void: Vec<u8>,
    /// Reference features in the bank
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = at_least_one)]
    pub size: usize,
    /// Seed of the sample and of the held-out split
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub seed: u64,
    /// Take every n-th frame of videos
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub every: u32,
    /// Number format of the stored features
    #[arg(long, value_enum, default_value = "f16", value_name = "TYPE")]
    pub dtype: Dtype,
    /// Neighbours for which the calibration's distances are computed
    #[arg(short, long, value_name = "K", default_value_t = 3, value_parser = at_least_one)]
    pub k: usize,
    /// Report in JSON
    #[arg(long)]
    pub json: bool,
    /// The bank to write
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
}

/// Number formats of stored features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Dtype {
    /// IEEE half precision
    F16,
    /// IEEE single precision
    F32,
}

/// `farout bank inspect`
#[derive(Debug, Clone, Args)]
pub struct InspectArgs {
    /// The bank
    #[arg(value_name = "BANK")]
    pub bank: PathBuf,
    /// Report in JSON
    #[arg(long)]
    pub json: bool,
}

/// `farout eval`
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = DATASETS)]
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
    Merge(MergeArgs),
}

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
    /// What to judge on; the kinds are listed below
    #[arg(long, value_name = "KIND:PATH", required_unless_present = "from")]
    pub dataset: Option<DatasetSpec>,
    /// Bank of reference features, overrides bank.path
    #[arg(long, value_name = "FILE")]
    pub bank: Option<PathBuf>,
    /// Score methods, from one pass over the model; default: all that model and bank allow
    #[arg(long, value_name = "M,M", value_delimiter = ',', conflicts_with = "from")]
    pub methods: Vec<Method>,
    /// Judge by these protocols too: pooled, per-image, smiyc-anomaly, smiyc-obstacle, video
    #[arg(long, value_name = "P,P", value_delimiter = ',', conflicts_with = "from")]
    pub protocol: Vec<crate::eval::settings::Protocol>,
    /// Leave images without a mask out instead of refusing the data set
    #[arg(long, conflicts_with = "from")]
    pub allow_missing: bool,
    /// Repeat the run that wrote this JSON; --dataset, --model and --bank only say where things lie now
    #[arg(long, value_name = "JSON", conflicts_with_all = ["config", "features", "input_height", "device"])]
    pub from: Option<PathBuf>,
    /// Only the i-th of n parts of the images; farout eval merge puts the parts together
    #[arg(long, value_name = "i/n", requires = "json", conflicts_with_all = ["report", "scores"])]
    pub shard: Option<Shard>,
    /// Draws of the bootstrap for confidence intervals; 0 for none
    #[arg(long, value_name = "N", default_value_t = 1000, conflicts_with = "from")]
    pub replicates: u32,
    /// Seed of the bootstrap
    #[arg(long, value_name = "SEED", default_value_t = 0, conflicts_with = "from")]
    pub seed: u64,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub out: EvalOutArgs,
    /// Folder for what is half done [default: beside the JSON or the report, else the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    pub work: Option<PathBuf>,
}

/// What `farout eval` and its merging write.
#[derive(Debug, Clone, Default, Args)]
pub struct EvalOutArgs {
    /// Write the numbers and everything that made them to this file ("-" for standard output)
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write a report into this folder: index.html, and the curves as SVG and PNG
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
    /// Write the score maps at the truth's size: DIR/METHOD/NAME.npy
    #[arg(long, value_name = "DIR")]
    pub scores: Option<PathBuf>,
}

/// `farout eval merge`
#[derive(Debug, Clone, Args)]
pub struct MergeArgs {
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
    /// Results of farout eval on the same data set; the others are compared with the first
    #[arg(value_name = "RESULT", required = true)]
    pub results: Vec<PathBuf>,
    /// Report in JSON
    #[arg(long)]
    pub json: bool,
}

/// `farout metrics`
#[derive(Debug, Clone, Args)]
pub struct MetricsArgs {
    /// Folder of score maps: .npy (f16, f32, f64), 16-bit grey PNG or .safetensors; higher is more anomalous
    #[arg(long, value_name = "DIR")]
    pub scores: PathBuf,
    /// Folder of truth masks with the stems of the maps (or stem + _labels_semantic, _labelIds ...)
    #[arg(long, value_name = "DIR")]
    pub truth: PathBuf,
    /// How to judge
    #[arg(long, value_enum, value_name = "PROTOCOL")]
    pub protocol: Protocol,
    /// Values of normal pixels in the masks
    #[arg(long, value_name = "V,A-B", value_delimiter = ',', default_value = "0", value_parser = values)]
    pub normal: Vec<std::ops::RangeInclusive<u16>>,
    /// Values of anomalous pixels
    #[arg(long, value_name = "V,A-B", value_delimiter = ',', default_value = "1", value_parser = values)]
    pub anomaly: Vec<std::ops::RangeInclusive<u16>>,
    /// Values of pixels that do not count
    #[arg(long, value_name = "V,A-B", value_delimiter = ',', default_value = "255", value_parser = values)]
    pub void: Vec<std::ops::RangeInclusive<u16>>,
    /// Tell false alarm rate and recall at this threshold too, as taken from normal driving alone (pooled,
    /// per-image)
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    pub threshold: Option<f64>,
    /// Draws of images for the confidence intervals
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub replicates: u32,
    /// Seed of the draws
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub seed: u64,
    /// Memory for sorted scores; while they are merged twice as much is in use
    #[arg(long, value_name = "MIB", default_value_t = 384, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub memory: u32,
    /// Folder for what does not fit [default: the system's folder for temporary files]
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
    /// Report in JSON, with the points of the curves and a histogram
    #[arg(long)]
    pub json: bool,
}

/// Ways to judge score maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// All pixels in one list (RoadAnomaly, Fishyscapes)
    Pooled,
    /// SegmentMeIfYouCan, RoadAnomaly21
    SmiycAnomaly,
    /// SegmentMeIfYouCan, RoadObstacle21
    SmiycObstacle,
    /// Each image alone, then averaged over those with an anomaly (StreetHazards)
    PerImage,
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

/// `farout doctor`
#[derive(Debug, Clone, Args)]
pub struct DoctorArgs {
    /// Configuration whose library, devices and ports are looked at
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Report in JSON
    #[arg(long)]
    pub json: bool,
}

/// A number of things of which there must be some.
fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("give at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(why) => Err(format!("{why}")),
    }
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

/// A time that passes.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() && seconds >= 0.0 => Ok(seconds),
        _ => Err("give a number of seconds".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}
