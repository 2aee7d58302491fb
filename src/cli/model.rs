//! `farout model ...`: subcommands and flags.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::ConfigArgs;
use crate::model::constant::ConstantInput;
use crate::model::{InputSize, Layout};

/// `farout model ...`
#[derive(Debug, Subcommand)]
pub enum ModelCommand {
    /// Tell what an ONNX file is and which tensors in it can serve as features
    Inspect(ModelInspectArgs),
    /// Write a model that gives features (1 x h x w x C) and logits (1 x K x h x w) and says how it is fed
    Prepare(Box<ModelPrepareArgs>),
    /// Download a known model, verify it and prepare it: dinov2-s
    Fetch(ModelFetchArgs),
    /// Open a model as run will: build TensorRT's engine ahead of time, compare with the CPU, and tell what runs it
    Warm(ModelWarmArgs),
}

/// `farout model warm`
#[derive(Debug, Clone, Args)]
pub struct ModelWarmArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub config: ConfigArgs,
    /// Runs of the model, of which the median is told
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub runs: u16,
    /// Report in JSON
    #[arg(long)]
    pub json: bool,
}

/// `farout bench`
#[derive(Debug, Clone, Args)]
pub struct BenchArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub config: ConfigArgs,
    /// Heights of the model's input to try besides the configured one
    #[arg(long, value_name = "PIXELS,PIXELS", value_delimiter = ',')]
    pub heights: Vec<usize>,
    /// Runs of the model in each round, of which the median counts
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub runs: u16,
    /// Rounds: each opens and times every way once
    #[arg(long, value_name = "N", default_value = "2", value_parser = clap::value_parser!(u16).range(1..=100))]
    pub rounds: u16,
    /// Report in JSON
    #[arg(long)]
    pub json: bool,
}

/// `farout model fetch`
#[derive(Debug, Clone, Args)]
pub struct ModelFetchArgs {
    /// Which: dinov2-s
    #[arg(value_name = "NAME")]
    pub name: String,
    /// The prepared file to write (default: in the cache)
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// What to take as features; several are put side by side (default: keys of the last block)
    #[arg(long, value_name = "SELECTOR,SELECTOR", value_delimiter = ',')]
    pub features: Vec<String>,
    /// Size of the input (default: one of 16 to 9 near 640x360)
    #[arg(long, value_name = "WxH")]
    pub size: Option<InputSize>,
    /// Folder that keeps what was fetched (default: $FAROUT_CACHE, $XDG_CACHE_HOME/farout or ~/.cache/farout)
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// The ONNX Runtime library, or the folder that holds it, overrides ORT_DYLIB_PATH
    #[arg(long, value_name = "FILE")]
    pub library: Option<PathBuf>,
    /// Report in JSON
    #[arg(long)]
    pub json: bool,
}

/// `farout model inspect`
#[derive(Debug, Clone, Args)]
pub struct ModelInspectArgs {
    /// The model (ONNX)
    #[arg(value_name = "FILE")]
    pub model: PathBuf,
    /// Size of the picture to look at it with (default: what the file declares, or about 640x360)
    #[arg(long, value_name = "WxH")]
    pub size: Option<InputSize>,
    /// An input besides the picture that is the same for every picture, and the number that it is filled with
    #[arg(long, value_name = "NAME=VALUE")]
    pub constant: Vec<ConstantInput>,
    /// Order of the axes of the model's input, where the file leaves it open (default: nchw)
    #[arg(long, value_enum, value_name = "LAYOUT")]
    pub layout: Option<AxisOrder>,
    /// The ONNX Runtime library, or the folder that holds it, overrides ORT_DYLIB_PATH
    #[arg(long, value_name = "FILE")]
    pub library: Option<PathBuf>,
    /// Report in JSON
    #[arg(long)]
    pub json: bool,
}

/// `farout model prepare`
#[derive(Debug, Clone, Args)]
#[command(group = clap::ArgGroup::new("what").args(["features", "concat"]))]
pub struct ModelPrepareArgs {
    /// The model (ONNX)
    #[arg(value_name = "FILE")]
    pub model: PathBuf,
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// What to take as features, as `farout model inspect` lists it: key:12, value:9, tokens:12, norm, stage:4, or a
    /// tensor's own name; queries and keys before any rotation by position (RoPE). Left out, only the class logits are
    /// taken: for roi.model
    #[arg(long, value_name = "SELECTOR")]
    pub features: Option<String>,
    /// Several of them side by side, all of one grid
    #[arg(long, value_name = "SELECTOR,SELECTOR", value_delimiter = ',')]
    pub concat: Vec<String>,
    /// Class logits to give out too: "auto" (those found, if any; of several heads that with the most classes), "none",
    /// a head as `farout model inspect` lists it (logits:2), an output's name, or any tensor's name; of probabilities
    /// the scores that they are made of are taken
    #[arg(long, value_name = "HEAD", default_value = "auto")]
    pub logits: String,
    /// A segmentation head (tools/train_head.py) that makes the logits from the features it was trained on
    #[arg(long, value_name = "HEAD.safetensors", conflicts_with = "logits")]
    pub head: Option<PathBuf>,
    /// Take products with constant weights in 8-bit integers, and tell what that does to features, distances and
    /// speed (CPU)
    #[arg(long)]
    pub quantize: bool,
    /// Size of the input, fixed from then on (default: what the file declares, or about 640x360)
    #[arg(long, value_name = "WxH")]
    pub size: Option<InputSize>,
    /// Subtracted from each channel after scaling (default: ImageNet's)
    #[arg(long, value_name = "R,G,B", value_delimiter = ',', num_args = 1, allow_hyphen_values = true)]
    pub mean: Vec<f32>,
    /// Divides each channel after that (default: ImageNet's)
    #[arg(long, value_name = "R,G,B", value_delimiter = ',', num_args = 1)]
    pub std: Vec<f32>,
    /// Factor of the 8-bit values before mean and std (default: 1/255)
    #[arg(long, value_name = "FACTOR")]
    pub scale: Option<f32>,
    /// Order of the channels that the model was trained with; mean and std follow it (default: rgb)
    #[arg(long, value_enum, value_name = "ORDER")]
    pub channels: Option<ChannelOrder>,
    /// Order of the axes of the model's input, where the file leaves it open; the prepared file takes channels first
    /// (default: what the file declares, else nchw)
    #[arg(long, value_enum, value_name = "LAYOUT")]
    pub layout: Option<AxisOrder>,
    /// An input besides the picture that is the same for every picture, and the number that it is filled with
    #[arg(long, value_name = "NAME=VALUE")]
    pub constant: Vec<ConstantInput>,
    /// Names of the classes in the order of the logits, or a file with one per line
    #[arg(long, value_name = "NAME,NAME|FILE")]
    pub classes: Option<String>,
    /// Real pictures to compare the prepared model with the original on, besides noise and a rendered road
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub images: Vec<String>,
    /// The ONNX Runtime library, or the folder that holds it, overrides ORT_DYLIB_PATH
    #[arg(long, value_name = "FILE")]
    pub library: Option<PathBuf>,
    /// Report in JSON
    #[arg(long)]
    pub json: bool,
}

/// Orders of colour channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ChannelOrder {
    /// Red first
    Rgb,
    /// Blue first
    Bgr,
}

/// Orders of an image's axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AxisOrder {
    /// Channels, rows, columns
    Nchw,
    /// Rows, columns, channels
    Nhwc,
}

impl From<AxisOrder> for Layout {
    fn from(order: AxisOrder) -> Layout {
        match order {
            AxisOrder::Nchw => Layout::Nchw,
            AxisOrder::Nhwc => Layout::Nhwc,
        }
    }
}
