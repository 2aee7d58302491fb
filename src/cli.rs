//! Subcommands and flags; the doc comments are the help.

mod bank;
mod judging;
mod kernels;
mod learn;
mod model;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use bank::*;
pub use judging::{
    CompareArgs, DatasetCheckArgs, DatasetCommand, EvalArgs, EvalCommand, EvalMergeArgs, EvalOutArgs,
    EvalRunArgs, MetricsArgs,
};
pub use kernels::*;
pub use learn::LearnArgs;
pub use model::*;

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
  4    run: a part failed for good or stood still; start it again
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
    /// Learn a detector from footage of normal driving
    Learn(Box<LearnArgs>),
    /// Process a recording or a folder of images from end to end, dropping nothing
    Replay(ReplayArgs),
    /// Build and look at banks of reference features
    #[command(subcommand)]
    Bank(BankCommand),
    /// Make ready GPU code, for machines without NVIDIA's compiler
    #[command(subcommand)]
    Kernels(KernelsCommand),
    /// Look into models and prepare them: any ONNX file becomes one that needs no configuration
    #[command(subcommand)]
    Model(ModelCommand),
    /// Judge detection on a data set with truth: metrics, report, everything that made the numbers
    Eval(EvalArgs),
    /// Put results of farout eval side by side: differences, gains and losses, time
    Compare(CompareArgs),
    /// Look at data sets with truth
    #[command(subcommand)]
    Dataset(DatasetCommand),
    /// Judge score maps of any program against truth masks
    Metrics(MetricsArgs),
    /// Time the model on every execution provider and precision, and tell which to configure
    Bench(BenchArgs),
    /// Tell what this machine has: ONNX Runtime, devices, codecs, cameras, ports, with remedies
    Doctor(DoctorArgs),
}

/// The configuration file and the flags that override its common keys.
#[derive(Debug, Clone, Default, Args)]
pub struct ConfigArgs {
    /// Configuration file (TOML); paths in it are relative to its folder
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Detector folder, made by farout learn: model, bank, search and scores are those in it
    #[arg(long, value_name = "DIR")]
    pub detector: Option<PathBuf>,
    /// Model file (ONNX), overrides model.path
    #[arg(long, value_name = "FILE", conflicts_with = "detector")]
    pub model: Option<PathBuf>,
    /// Tensor that holds the features, overrides model.features
    #[arg(long, value_name = "TENSOR", conflicts_with = "detector")]
    pub features: Option<String>,
    /// Height of the model's input in pixels (the width follows the picture), overrides model.height
    #[arg(long, value_name = "PIXELS", conflicts_with = "detector")]
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
    /// The processor through OpenVINO, or what [runtime.provider.openvino] names
    Openvino,
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
    #[arg(long, value_name = "FILE", conflicts_with = "detector")]
    pub bank: Option<PathBuf>,
    /// Of several streams in the configuration, take only the one with this name
    #[arg(long, value_name = "NAME")]
    pub stream: Option<String>,
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
    /// Detector folder, as --detector
    #[arg(value_name = "DETECTOR", conflicts_with_all = ["detector", "model", "features", "input_height", "bank"])]
    pub folder: Option<PathBuf>,
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
