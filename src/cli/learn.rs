//! `farout learn`: flags.

use std::path::PathBuf;

use clap::Args;

use super::{ConfigArgs, at_least_one};

/// The usual calls, for the help.
const EXAMPLES: &str = "Examples:
  farout learn drives/ -o road                       a detector from a folder of normal driving
  farout learn 'drives/*.mp4' -o road --pictures 300  from videos, from fewer pictures
  farout learn drives/ -o road --model my.onnx --recipe my.toml
Then:
  farout run road --source rtsp://camera/stream
  farout replay clip.mp4 --detector road --video out.mp4
Interrupted, the same command goes on where it was.";

/// `farout learn`
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct LearnArgs {
    /// Normal driving: folders, globs, pictures, videos
    #[arg(value_name = "FOOTAGE", num_args = 1.., required = true)]
    pub footage: Vec<String>,
    /// The folder to write the detector into
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// How to learn: a shipped recipe (road, plain), or a TOML file
    #[arg(long, value_name = "NAME|FILE", default_value = "road")]
    pub recipe: String,
    /// Most pictures to learn from; of more, every n-th is taken
    #[arg(long, value_name = "N", default_value_t = 600, value_parser = at_least_one)]
    pub pictures: usize,
    /// Folder of label masks with the stems of the pictures
    #[arg(long, value_name = "DIR")]
    pub labels: Option<PathBuf>,
    /// Label values that mean "void": such patches are left out
    #[arg(long, value_name = "V,V", value_delimiter = ',', default_value = "255", requires = "labels")]
    pub void: Vec<u8>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub config: ConfigArgs,
    /// Report in JSON
    #[arg(long)]
    pub json: bool,
}
