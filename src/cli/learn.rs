//! `farout learn`: flags.

use std::path::PathBuf;

use clap::Args;

use super::{LabelArgs, OwnConfigArgs, at_least_one};

/// The usual calls, for the help.
const EXAMPLES: &str = "Examples:
  farout learn drives/ -o road                          from a folder of normal driving
  farout learn 'drives/*.mp4' -o road --pictures 300    from videos, from fewer pictures
  farout learn drives/ -o road --model my.onnx --recipe my.toml
  farout learn --more night/ road                       add footage to the detector road
Then:
  farout run road --source rtsp://camera/stream
  farout replay clip.mp4 --detector road --video out.mp4
Interrupted, the same command goes on where it was.";

/// `farout learn`
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct LearnArgs {
    /// Normal driving: folders, globs, pictures, videos; with --more, last the detector
    #[arg(value_name = "FOOTAGE", num_args = 1.., required = true)]
    pub footage: Vec<String>,
    /// Folder to write the detector into
    #[arg(short, long, value_name = "DIR", required_unless_present = "more", help_heading = "Output")]
    pub output: Option<PathBuf>,
    /// Add footage to a detector, the last argument
    ///
    /// Its model, recipe and former footage stay.
    #[arg(long, help_heading = "Input")]
    pub more: bool,
    /// Shipped recipe (road, road-fine, plain) or TOML file [default: road]
    #[arg(long, value_name = "NAME|FILE", conflicts_with = "more", help_heading = "Recipe")]
    pub recipe: Option<String>,
    /// Row of the horizon as a share of the height, 0 above [default: measured in videos]
    ///
    /// For recipes with a closer look (road-fine), which is moved to it.
    #[arg(long, value_name = "SHARE", conflicts_with = "more", help_heading = "Recipe")]
    pub horizon: Option<f64>,
    /// Learn from at most N pictures; of more, take every n-th
    #[arg(long, value_name = "N", default_value_t = 600, value_parser = at_least_one, help_heading = "Input")]
    pub pictures: usize,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub labels: LabelArgs,
    /// Folder with images/ and labels/: hazards to paste in as known outliers
    ///
    /// Masks mark objects with 1.
    #[arg(long, value_name = "DIR", help_heading = "Recipe")]
    pub objects: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub config: OwnConfigArgs,
    /// Report in JSON
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}
