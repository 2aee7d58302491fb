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
    EvalRunArgs, MetricsArgs, TruthArgs,
};
pub use kernels::*;
pub use learn::LearnArgs;
pub use model::*;

/// Real-time out-of-distribution detection for road video
///
/// farout measures how far each patch of a frame lies from a bank of features of normal driving,
/// lays the anomaly scores over the picture and serves it over RTSP.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    /// Say more: -v for debugging, -vv for everything; RUST_LOG works, too
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Logging")]
    pub verbose: u8,
    /// Say only what went wrong
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Logging")]
    pub quiet: bool,
    /// Format of log lines on standard error
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "text",
        value_name = "FORMAT",
        help_heading = "Logging",
        hide_short_help = true
    )]
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
    /// Build, merge, prune and inspect banks of reference features
    #[command(subcommand)]
    Bank(BankCommand),
    /// Compile GPU code ahead of time
    #[command(subcommand)]
    Kernels(KernelsCommand),
    /// Inspect, prepare and fetch models
    #[command(subcommand)]
    Model(ModelCommand),
    /// Judge a detector on a data set with truth: metrics and report
    Eval(EvalArgs),
    /// Compare results of farout eval, or score maps of any methods: differences, gains and losses, time
    Compare(CompareArgs),
    /// Check data sets with truth
    #[command(subcommand)]
    Dataset(DatasetCommand),
    /// Judge score maps of any program
    Metrics(MetricsArgs),
    /// Time the model on every execution provider and precision
    Bench(BenchArgs),
    /// Tell what run would do with a configuration, without doing it
    Check(CheckArgs),
    /// Check this machine: ONNX Runtime, devices, codecs, cameras, ports
    Doctor(DoctorArgs),
}

/// What labels of the footage say.
#[derive(Debug, Clone, Default, Args)]
pub struct LabelArgs {
    /// Folder of label masks with the stems of the images
    #[arg(long, value_name = "DIR", help_heading = "Input")]
    pub labels: Option<PathBuf>,
    /// Label values that mean "void": leave such patches out
    #[arg(
        long,
        value_name = "V,V",
        value_delimiter = ',',
        default_value = "255",
        requires = "labels",
        help_heading = "Input"
    )]
    pub void: Vec<u8>,
}

/// The configuration file, the detector, and the flags that override common keys.
#[derive(Debug, Clone, Default, Args)]
pub struct ConfigArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub own: OwnConfigArgs,
    /// Detector folder, made by farout learn: model, bank, search and scores
    #[arg(long, value_name = "DIR", conflicts_with_all = ["model", "features", "input_height"], help_heading = "Configuration")]
    pub detector: Option<PathBuf>,
}

/// The configuration file and the flags that override its common keys, for what makes a detector itself.
#[derive(Debug, Clone, Default, Args)]
pub struct OwnConfigArgs {
    /// Configuration file (TOML); paths in it are relative to its folder
    #[arg(short, long, value_name = "FILE", help_heading = "Configuration")]
    pub config: Option<PathBuf>,
    /// Model file (ONNX); overrides model.path
    #[arg(long, value_name = "FILE", help_heading = "Model")]
    pub model: Option<PathBuf>,
    /// Tensor that holds the features; overrides model.features
    #[arg(long, value_name = "TENSOR", help_heading = "Model", hide_short_help = true)]
    pub features: Option<String>,
    /// Height of the model's input, the width follows the picture; overrides model.height
    #[arg(long, value_name = "PIXELS", help_heading = "Model", hide_short_help = true)]
    pub input_height: Option<usize>,
    /// Device of model and search; overrides both their keys
    #[arg(long, value_enum, value_name = "DEVICE", help_heading = "Model")]
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
    /// Bank of reference features; overrides bank.path
    #[arg(long, value_name = "FILE", conflicts_with = "detector", help_heading = "Search and score")]
    pub bank: Option<PathBuf>,
    /// Take only this stream of the configuration
    #[arg(long, value_name = "NAME", help_heading = "Input")]
    pub stream: Option<String>,
    /// Score above which a region alarms, or "auto"; overrides score.threshold
    #[arg(long, value_name = "SCORE", help_heading = "Search and score")]
    pub threshold: Option<String>,
    /// Switch model and search off: pictures pass through unmarked
    #[arg(long, help_heading = "Model")]
    pub bypass: bool,
    /// Write events as JSON lines, run appends them; "-" for standard output
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub events: Option<PathBuf>,
    /// End after this many frames of the source
    #[arg(long, value_name = "N", help_heading = "Input")]
    pub frames: Option<u64>,
    /// Report in JSON at the end
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// `farout run`
#[derive(Debug, Clone, Default, Args)]
pub struct RunArgs {
    /// Detector folder, as --detector
    #[arg(value_name = "DETECTOR", conflicts_with_all = ["detector", "model", "features", "input_height", "bank"])]
    pub folder: Option<PathBuf>,
    /// Camera, stream or recording; overrides stream.source
    ///
    /// A video file, rtsp://, v4l2:///dev/videoN, csi://N, http(s)://, a folder of images or a glob, gst:PIPELINE, or
    /// synthetic:KEY=VALUE,...
    #[arg(long, value_name = "SOURCE", help_heading = "Input")]
    pub source: Option<String>,
    /// Play a file again from its start when it ends
    #[arg(long = "loop", help_heading = "Input")]
    pub looped: bool,
    /// Take frames from files as fast as they are processed, not in real time
    #[arg(long, help_heading = "Input")]
    pub fast: bool,
    /// Stop after this many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds, help_heading = "Input")]
    pub seconds: Option<f64>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub detect: DetectArgs,
    /// Record the video to this MP4 file, playable even after a power cut
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub record: Option<PathBuf>,
    /// Address of the RTSP server, or "off"; overrides output.rtsp
    ///
    /// With host 0.0.0.0, as in rtsp://0.0.0.0:8554/farout, other machines can watch.
    #[arg(long, value_name = "URL", help_heading = "Output")]
    pub rtsp: Option<String>,
    /// Address of the HTTP server (page, API, streams), or "off"; overrides output.http
    #[arg(long, value_name = "URL", help_heading = "Output")]
    pub http: Option<String>,
}

/// `farout replay`
#[derive(Debug, Clone, Args)]
pub struct ReplayArgs {
    /// Recording, pictures or stream, as for farout run --source [default: the configuration's]
    #[arg(value_name = "SOURCE", conflicts_with = "source")]
    pub input: Option<String>,
    /// The same as SOURCE
    #[arg(long, value_name = "SOURCE", help_heading = "Input")]
    pub source: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub detect: DetectArgs,
    /// Write the annotated video to this MP4 file
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub video: Option<PathBuf>,
    /// Write a score map per frame into this folder
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub scores: Option<PathBuf>,
    /// Format of the score maps
    #[arg(long, value_enum, default_value = "npy", value_name = "FORMAT", help_heading = "Output")]
    pub scores_format: ScoresFormat,
    /// Write annotated pictures (PNG) into this folder
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub pictures: Option<PathBuf>,
    /// Write the unmarked frames (PNG) into this folder
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub frames_out: Option<PathBuf>,
    /// Write the truth of a synthetic source (class and stranger masks, PNG) into this folder
    #[arg(long, value_name = "DIR", help_heading = "Output")]
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

/// `farout check`
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// Configuration file (TOML)
    #[arg(value_name = "FILE")]
    pub config: PathBuf,
    /// Detector folder that the run would have
    #[arg(long, value_name = "DIR")]
    pub detector: Option<PathBuf>,
    /// As of a run with --bypass: without model and search
    #[arg(long)]
    pub bypass: bool,
    /// Report in JSON
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

    /// All commands below `command`, by their whole names.
    fn all(name: &str, command: &mut clap::Command, found: &mut Vec<(String, String)>) {
        found.push((name.to_owned(), command.render_help().to_string()));
        for below in command.get_subcommands_mut() {
            let name = format!("{name} {}", below.get_name());
            all(&name, below, found);
        }
    }

    #[test]
    fn the_short_help_of_every_command_fits_a_screen() {
        let mut command = super::Cli::command();
        command.build();
        let mut found = Vec::new();
        all("farout", &mut command, &mut found);
        assert!(found.len() > 15, "{} commands", found.len());
        for (name, help) in found {
            let lines = help.lines().count();
            assert!(lines <= 50, "{name} -h has {lines} lines:\n{help}");
        }
    }
}
