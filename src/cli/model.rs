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
    /// Open the models as run will: build TensorRT's engines ahead of time, compare with the CPU, and tell what runs them
    Warm(ModelWarmArgs),
}

/// `farout model warm`
#[derive(Debug, Clone, Args)]
pub struct ModelWarmArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub config: ConfigArgs,
    /// Runs of the model; the median is told
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
    /// Model to fetch: dinov2-s
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Prepared file to write [default: in the cache]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Features to take, several side by side [default: keys of the last block]
    #[arg(long, value_name = "SELECTOR,SELECTOR", value_delimiter = ',')]
    pub features: Vec<String>,
    /// Size of the input [default: 644x364]
    #[arg(long, value_name = "WxH")]
    pub size: Option<InputSize>,
    /// The model's wheel as a file that you brought, or the address of a mirror [default: its public address]
    #[arg(long, value_name = "FILE|URL")]
    pub from: Option<String>,
    /// Folder of what was fetched [default: $FAROUT_CACHE, $XDG_CACHE_HOME/farout or ~/.cache/farout]
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// ONNX Runtime library, or its folder; overrides ORT_DYLIB_PATH
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
    /// Size of the picture to look at it with [default: what the file declares, or about 640x360]
    #[arg(long, value_name = "WxH")]
    pub size: Option<InputSize>,
    /// Fill an input besides the picture with this number
    #[arg(long, value_name = "NAME=VALUE")]
    pub constant: Vec<ConstantInput>,
    /// Axes of the model's input where the file leaves them open [default: nchw]
    #[arg(long, value_enum, value_name = "LAYOUT")]
    pub layout: Option<AxisOrder>,
    /// ONNX Runtime library, or its folder; overrides ORT_DYLIB_PATH
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
    /// File to write
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub output: PathBuf,
    /// Features to take: key:12, value:9, tokens:12, norm, stage:4, or a tensor's name
    ///
    /// As farout model inspect lists them; queries and keys are taken before RoPE. Left out, only the class logits are
    /// taken: for roi.model.
    #[arg(long, value_name = "SELECTOR", help_heading = "Features and logits")]
    pub features: Option<String>,
    /// Several features side by side, all of one grid
    #[arg(
        long,
        value_name = "SELECTOR,SELECTOR",
        value_delimiter = ',',
        help_heading = "Features and logits"
    )]
    pub concat: Vec<String>,
    /// Class logits: "auto", "none", a head (logits:2), or a tensor's name
    ///
    /// "auto" takes those found, if any; of several heads that with the most classes. Of probabilities, the scores that
    /// they are made of are taken.
    #[arg(long, value_name = "HEAD", default_value = "auto", help_heading = "Features and logits")]
    pub logits: String,
    /// Segmentation head (tools/train_head.py) that makes logits from the features it was trained on
    #[arg(
        long,
        value_name = "HEAD.safetensors",
        conflicts_with = "logits",
        help_heading = "Features and logits"
    )]
    pub head: Option<PathBuf>,
    /// Quantize constant weights to int8 (CPU), and tell what that does to features and speed
    #[arg(long, help_heading = "Features and logits")]
    pub quantize: bool,
    /// Size of the input, fixed from then on [default: what the file declares, or about 640x360]
    #[arg(long, value_name = "WxH", help_heading = "Preprocessing")]
    pub size: Option<InputSize>,
    /// Subtracted from each channel after scaling [default: ImageNet's]
    #[arg(
        long,
        value_name = "R,G,B",
        value_delimiter = ',',
        num_args = 1,
        allow_hyphen_values = true,
        help_heading = "Preprocessing"
    )]
    pub mean: Vec<f32>,
    /// Divides each channel after that [default: ImageNet's]
    #[arg(long, value_name = "R,G,B", value_delimiter = ',', num_args = 1, help_heading = "Preprocessing")]
    pub std: Vec<f32>,
    /// Factor of the 8-bit values before mean and std [default: 1/255]
    #[arg(long, value_name = "FACTOR", help_heading = "Preprocessing")]
    pub scale: Option<f32>,
    /// Order of the channels that the model was trained with; mean and std follow it [default: rgb]
    #[arg(long, value_enum, value_name = "ORDER", help_heading = "Preprocessing")]
    pub channels: Option<ChannelOrder>,
    /// Axes of the model's input where the file leaves them open [default: as declared, else nchw]
    #[arg(long, value_enum, value_name = "LAYOUT", help_heading = "Preprocessing")]
    pub layout: Option<AxisOrder>,
    /// Fill an input besides the picture with this number
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Preprocessing")]
    pub constant: Vec<ConstantInput>,
    /// Names of the classes in the order of the logits, or a file with one per line
    #[arg(long, value_name = "NAME,NAME|FILE", help_heading = "Features and logits")]
    pub classes: Option<String>,
    /// Pictures to compare the prepared model with the original on, besides noise and a rendered road
    #[arg(long, value_name = "PATH", num_args = 1.., help_heading = "Check")]
    pub images: Vec<String>,
    /// ONNX Runtime library, or its folder; overrides ORT_DYLIB_PATH
    #[arg(long, value_name = "FILE", help_heading = "Check")]
    pub library: Option<PathBuf>,
    /// Report in JSON
    #[arg(long, help_heading = "Output")]
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
