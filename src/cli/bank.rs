//! `farout bank ...`: subcommands and flags.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{ConfigArgs, LabelArgs, at_least_one};
use crate::bank::{ClassSource, Combine, DataType, OutlierUse, ShardNumber, StepKind};

/// `farout bank ...`
#[derive(Debug, Subcommand)]
pub enum BankCommand {
    /// Build a bank from images or videos of normal driving
    Build(Box<BuildArgs>),
    /// Cut the work on a bank into shards, for machines that have only their own inputs
    Plan(PlanArgs),
    /// Mark kept events as normal, beside the bank
    Add(AddArgs),
    /// Join the shards of a bank, or what was marked as normal to a bank
    Merge(Box<MergeArgs>),
    /// Make a bank smaller, so that the search is faster
    Prune(PruneArgs),
    /// Tell what a bank file holds
    Inspect(InspectArgs),
}

/// `farout bank build`
#[derive(Debug, Clone, Args)]
pub struct BuildArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub config: ConfigArgs,
    /// Folders, globs, pictures or videos of normal driving
    #[arg(long, value_name = "PATH", num_args = 0.., required = true, help_heading = "Input")]
    pub images: Vec<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub labels: LabelArgs,
    /// Shipped recipe (road, road-fine, plain) or TOML file; other flags override its keys
    #[arg(long, value_name = "NAME|FILE", help_heading = "Recipe")]
    pub recipe: Option<String>,
    /// Number of reference features [default: 100000]
    #[arg(long, value_name = "N", value_parser = at_least_one, help_heading = "Recipe")]
    pub size: Option<usize>,
    /// Seed of the sample and of the held-out split [default: 0]
    #[arg(long, value_name = "SEED", help_heading = "Recipe", hide_short_help = true)]
    pub seed: Option<u64>,
    /// Take every n-th frame of videos [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Input")]
    pub every: Option<u32>,
    /// Number format of the stored features [default: f16]
    #[arg(long, value_enum, value_name = "TYPE", help_heading = "Recipe", hide_short_help = true)]
    pub dtype: Option<Dtype>,
    /// Build shard I of N; give every machine all images, or a --plan
    #[arg(long, value_name = "I/N", help_heading = "Calibration and shards")]
    pub shard: Option<ShardNumber>,
    /// Plan of all images, made by farout bank plan: then --images are those of this shard only
    #[arg(
        long,
        value_name = "FILE",
        requires = "shard",
        help_heading = "Calibration and shards",
        hide_short_help = true
    )]
    pub plan: Option<PathBuf>,
    /// Keep the held-out frames in the bank, for prune and merge
    ///
    /// A shard always does.
    #[arg(long, help_heading = "Calibration and shards")]
    pub keep_held_out: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub how: RecipeArgs,
    /// Give each patch a class: that of its label, or that of the model's logits
    #[arg(long, value_enum, value_name = "FROM", help_heading = "Recipe", hide_short_help = true)]
    pub classes: Option<ClassesFrom>,
    /// Keep small pictures of the images in the bank: `run` then shows what a region is compared with
    #[arg(long, help_heading = "Output", hide_short_help = true)]
    pub thumbnails: bool,
    /// Pictures or videos with known outliers, for --outlier-use
    #[arg(long, value_name = "PATH", num_args = 1.., help_heading = "Input")]
    pub outliers: Vec<String>,
    /// Folder of label masks of the outliers
    #[arg(long, value_name = "DIR", requires = "outliers", help_heading = "Input")]
    pub outlier_labels: Option<PathBuf>,
    /// Label values of outliers: take patches that they cover by more than half
    #[arg(
        long,
        value_name = "V,V",
        value_delimiter = ',',
        default_value = "1",
        requires = "outlier_labels",
        help_heading = "Input",
        hide_short_help = true
    )]
    pub outlier_values: Vec<u8>,
    /// Most outlier features in the bank [default: 10000]
    #[arg(long, value_name = "N", value_parser = at_least_one, help_heading = "Recipe", hide_short_help = true)]
    pub outlier_size: Option<usize>,
    /// Neighbours of the calibration [default: search.k, else 3]
    #[arg(short, long, value_name = "K", value_parser = at_least_one, help_heading = "Calibration and shards")]
    pub k: Option<usize>,
    /// Report in JSON
    #[arg(long, help_heading = "Output")]
    pub json: bool,
    /// Bank to write
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub output: PathBuf,
}

/// What becomes of features before they are compared.
#[derive(Debug, Clone, Args)]
pub struct RecipeArgs {
    /// Parts of the features to take, each transformed for itself [default: every part]
    ///
    /// By the names that the prepared model gives them (value:9,norm); "all" takes the whole width as one part.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', help_heading = "Recipe")]
    pub parts: Vec<String>,
    /// Split each part into N of equal width, such as attention heads [default: 1]
    #[arg(long, value_name = "N", value_parser = at_least_one, help_heading = "Recipe", hide_short_help = true)]
    pub split_heads: Option<usize>,
    /// Steps to transform each part by, fitted to the sample
    ///
    /// l2, center, center:image, pca:N, whiten or whiten:P (by the covariance of all features), whiten:within or whiten:within:P (by that
    /// within --classes)
    #[arg(long, value_name = "STEP,...", value_delimiter = ',', help_heading = "Recipe")]
    pub transform: Vec<StepKind>,
    /// Smallest eigenvalue of whitening, as a share of their mean [default: 0.01]
    #[arg(long, value_name = "SHARE", help_heading = "Recipe", hide_short_help = true)]
    pub whiten_floor: Option<f64>,
    /// How to combine the parts [default: concat]
    #[arg(long, value_enum, value_name = "HOW", help_heading = "Recipe")]
    pub combine: Option<CombineBy>,
    /// Use of the distance to --outliers: off, ratio, difference:W [default: off]
    ///
    /// With d the distance to the references and o that to the outliers: ratio is d / o, difference:W is d - W o.
    #[arg(long, value_name = "HOW", help_heading = "Recipe")]
    pub outlier_use: Option<OutlierUse>,
    /// Average over the K nearest outliers [default: 1]
    #[arg(long, value_name = "K", value_parser = at_least_one, help_heading = "Recipe", hide_short_help = true)]
    pub outlier_k: Option<usize>,
    /// Weight of a linear discriminant between references and --outliers
    ///
    /// Adds W times what its z-score has above 1, for parts combined by sum or max.
    #[arg(long, value_name = "W", help_heading = "Recipe")]
    pub discriminant: Option<f64>,
    /// Shrinkage of the discriminant's covariance, in mean variances [default: 1]
    #[arg(long, value_name = "RIDGE", help_heading = "Recipe", hide_short_help = true)]
    pub discriminant_ridge: Option<f64>,
    /// Search each patch among the references of its class only; needs --classes
    ///
    /// Classes with fewer references than k are searched among all.
    #[arg(long, help_heading = "Recipe", hide_short_help = true)]
    pub by_class: bool,
    /// Smooth distances among patches that look alike in this part
    #[arg(long, value_name = "PART", help_heading = "Recipe")]
    pub affinity: Option<String>,
    /// Temperature of the cosines that say how alike patches look [default: 0.2]
    #[arg(long, value_name = "T", help_heading = "Recipe", hide_short_help = true)]
    pub affinity_temperature: Option<f64>,
    /// Reach of --affinity, in patches [default: 3]
    #[arg(long, value_name = "PATCHES", help_heading = "Recipe", hide_short_help = true)]
    pub affinity_radius: Option<f64>,
    /// Weight of the other patches, 0 to 1 [default: 0.7]
    #[arg(long, value_name = "SHARE", help_heading = "Recipe", hide_short_help = true)]
    pub affinity_share: Option<f64>,
}

/// How the distances of parts become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CombineBy {
    /// One search over all columns
    Concat,
    /// The sum of the parts' z-scores
    Sum,
    /// The largest z-score
    Max,
}

/// Where classes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ClassesFrom {
    /// The label mask at the patch's centre
    Labels,
    /// The largest logit of the model
    Model,
}

/// Number formats of stored features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Dtype {
    /// IEEE half precision
    F16,
    /// IEEE single precision
    F32,
}

impl From<CombineBy> for Combine {
    fn from(by: CombineBy) -> Combine {
        match by {
            CombineBy::Concat => Combine::Concat,
            CombineBy::Sum => Combine::Sum,
            CombineBy::Max => Combine::Max,
        }
    }
}

impl From<ClassesFrom> for ClassSource {
    fn from(from: ClassesFrom) -> ClassSource {
        match from {
            ClassesFrom::Labels => ClassSource::Labels,
            ClassesFrom::Model => ClassSource::Model,
        }
    }
}

impl From<Dtype> for DataType {
    fn from(dtype: Dtype) -> DataType {
        match dtype {
            Dtype::F16 => DataType::F16,
            Dtype::F32 => DataType::F32,
        }
    }
}

/// `farout bank plan`
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Which frames are held out depends on all inputs. With a plan, a machine that builds a shard needs its own inputs and this \
                  file:\n\n  \
                  farout bank plan --list all.txt --shards 100 -o plan.json\n  \
                  farout bank build --plan plan.json --shard 7/100 --images share-7/ ... -o 7.shard\n\n\
                  Every input must be in one share; it does not matter in which. --recipe, --every and --seed must be those of the build."
)]
pub struct PlanArgs {
    /// Folders, globs, pictures or videos of normal driving
    #[arg(long, value_name = "PATH", num_args = 1.., required_unless_present = "list", conflicts_with = "list")]
    pub images: Vec<String>,
    /// Text file with one path, name or address per line, for inputs that are not here
    ///
    /// The folder and the name of each file count. After a video stand a tab and its number of frames.
    #[arg(long, value_name = "FILE")]
    pub list: Option<PathBuf>,
    /// Number of shards
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub shards: u32,
    /// Recipe of the build
    #[arg(long, value_name = "NAME|FILE")]
    pub recipe: Option<String>,
    /// Take every n-th frame of videos [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub every: Option<u32>,
    /// Seed of the sample and of the held-out split [default: 0]
    #[arg(long, value_name = "SEED")]
    pub seed: Option<u64>,
    /// Report in JSON
    #[arg(long)]
    pub json: bool,
    /// Plan to write
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
}

/// `farout bank add`
#[derive(Debug, Clone, Args)]
pub struct AddArgs {
    /// Event to mark as normal, by its id; can be given again
    #[arg(long, value_name = "ID", required = true)]
    pub event: Vec<String>,
    /// Configuration file that names the folders (events.folder, supplement.folder)
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Folder of the events
    #[arg(long, value_name = "DIR")]
    pub events: Option<PathBuf>,
    /// Folder of what is marked as normal
    #[arg(long, value_name = "DIR")]
    pub supplement: Option<PathBuf>,
    /// Report in JSON
    #[arg(long)]
    pub json: bool,
}

/// `farout bank merge`
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "--recipe and the flags of a recipe replace what the shards were built with: the same features make other banks without \
                  running the model again. Pictures can only be centred (center:image) if the shards were built so.\n\n\
                  A bank and supplements (files, or folders of them) become a bank that holds what was marked as normal; supplements \
                  alone become one supplement."
)]
pub struct MergeArgs {
    /// All shards, in any order; or a bank and supplements, or supplements alone
    #[arg(value_name = "FILE", num_args = 1.., required = true)]
    pub shards: Vec<PathBuf>,
    /// Join some shards to one that stands for them, so that many are merged in a tree
    #[arg(long, help_heading = "Calibration and shards")]
    pub partial: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub how: RecipeArgs,
    /// Shipped recipe (road, road-fine, plain) or TOML file with [bank.build]; other flags override its keys
    #[arg(long, value_name = "NAME|FILE", help_heading = "Recipe")]
    pub recipe: Option<String>,
    /// Number of reference features [default: as the shards were built for, which is the most]
    #[arg(long, value_name = "N", value_parser = at_least_one, help_heading = "Recipe")]
    pub size: Option<usize>,
    /// Neighbours of the calibration [default: as the shards were built for]
    #[arg(short, long, value_name = "K", value_parser = at_least_one, help_heading = "Calibration and shards")]
    pub k: Option<usize>,
    /// Keep the held-out frames in the bank, for prune and merge
    ///
    /// A shard always does.
    #[arg(long, help_heading = "Calibration and shards")]
    pub keep_held_out: bool,
    /// Report in JSON
    #[arg(long, help_heading = "Output")]
    pub json: bool,
    /// Bank to write
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub output: PathBuf,
}

/// `farout bank prune`
#[derive(Debug, Clone, Args)]
pub struct PruneArgs {
    /// Bank to make smaller
    #[arg(short, long, value_name = "FILE")]
    pub input: PathBuf,
    /// Number of features to keep
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub to: usize,
    /// How to choose them
    #[arg(long, value_enum, default_value = "kcenter", value_name = "METHOD")]
    pub method: PruneBy,
    /// Seed of the first centre, or of the draw
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub seed: u64,
    /// Keep the held-out frames in the bank, for prune and merge
    ///
    /// A shard always does.
    #[arg(long)]
    pub keep_held_out: bool,
    /// Report in JSON
    #[arg(long)]
    pub json: bool,
    /// Bank to write
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
}

/// How the features that stay are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PruneBy {
    /// Greedy k-centre coreset: the farthest feature is added, again and again
    #[value(name = "kcenter")]
    KCenter,
    /// Drawn uniformly, for comparison
    Random,
}

/// `farout bank inspect`
#[derive(Debug, Clone, Args)]
pub struct InspectArgs {
    /// The bank, the folder of a detector, or what was marked as normal
    #[arg(value_name = "BANK")]
    pub bank: PathBuf,
    /// Report in JSON
    #[arg(long)]
    pub json: bool,
}
