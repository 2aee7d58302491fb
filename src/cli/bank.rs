//! `farout bank ...`: subcommands and flags.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{ConfigArgs, at_least_one};
use crate::bank::{ClassSource, Combine, DataType, OutlierUse, ShardNumber, StepKind};

/// `farout bank ...`
#[derive(Debug, Subcommand)]
pub enum BankCommand {
    /// Build a bank from images or videos of normal driving
    Build(Box<BuildArgs>),
    /// Join the shards of a bank that was built in parts
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
    #[arg(long, value_name = "PATH", num_args = 1.., required = true)]
    pub images: Vec<String>,
    /// Folder of label masks with the stems of the images
    #[arg(long, value_name = "DIR")]
    pub labels: Option<PathBuf>,
    /// Label values that mean "void": such patches are left out
    #[arg(long, value_name = "V,V", value_delimiter = ',', default_value = "255", requires = "labels")]
    pub void: Vec<u8>,
    /// Recipe: a shipped one (road), or a TOML file with a section [bank.build]; the flags below override its keys
    #[arg(long, value_name = "NAME|FILE")]
    pub recipe: Option<String>,
    /// Reference features in the bank [default: 100000]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub size: Option<usize>,
    /// Seed of the sample and of the held-out split [default: 0]
    #[arg(long, value_name = "SEED")]
    pub seed: Option<u64>,
    /// Take every n-th frame of videos [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub every: Option<u32>,
    /// Number format of the stored features [default: f16]
    #[arg(long, value_enum, value_name = "TYPE")]
    pub dtype: Option<Dtype>,
    /// Build shard I of N (from 1): every machine is given all images, and looks at its share only
    #[arg(long, value_name = "I/N")]
    pub shard: Option<ShardNumber>,
    /// Keep the held-out frames in the bank, so that prune and merge can calibrate anew (a shard always does)
    #[arg(long)]
    pub keep_held_out: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub how: RecipeArgs,
    /// Give each patch a class: that of its label, or the one that the model's logits say
    #[arg(long, value_enum, value_name = "FROM")]
    pub classes: Option<ClassesFrom>,
    /// Folders, globs, pictures or videos with known outliers, kept beside the reference features (see --outlier-use)
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub outliers: Vec<String>,
    /// Folder of label masks that say where in these pictures the outliers are; everywhere if not given
    #[arg(long, value_name = "DIR", requires = "outliers")]
    pub outlier_labels: Option<PathBuf>,
    /// Label values of outliers: patches are taken that they cover by more than half
    #[arg(long, value_name = "V,V", value_delimiter = ',', default_value = "1", requires = "outlier_labels")]
    pub outlier_values: Vec<u8>,
    /// Most outlier features in the bank [default: 10000]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub outlier_size: Option<usize>,
    /// Neighbours for which the calibration's distances are computed [default: search.k of the configuration, else 3]
    #[arg(short, long, value_name = "K", value_parser = at_least_one)]
    pub k: Option<usize>,
    /// Report in JSON
    #[arg(long)]
    pub json: bool,
    /// The bank to write
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
}

/// What becomes of features before they are compared.
#[derive(Debug, Clone, Args)]
pub struct RecipeArgs {
    /// Take these parts of the features, as the prepared model names them (value:9,norm), and transform each for
    /// itself; "all" is the whole width as one part; every part if not given
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub parts: Vec<String>,
    /// Split each part into so many of equal width, such as its attention heads [default: 1]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub split_heads: Option<usize>,
    /// Transform each part by these steps in turn, fitted to the sample: l2, center, pca:N, whiten (by the
    /// covariance of all features), whiten:within (by that within --classes)
    #[arg(long, value_name = "STEP,...", value_delimiter = ',')]
    pub transform: Vec<StepKind>,
    /// Whitening takes no eigenvalue for smaller than this share of their mean [default: 0.01]
    #[arg(long, value_name = "SHARE")]
    pub whiten_floor: Option<f64>,
    /// How the distances of the parts become one: of all columns at once (concat), or each part searched for itself
    /// and the z-scores against held-out normal frames summed (sum) or the largest taken (max) [default: concat]
    #[arg(long, value_enum, value_name = "HOW")]
    pub combine: Option<CombineBy>,
    /// What distances to --outliers do to those of each part: off, ratio (d / o), difference (d - o) or difference:W
    /// (d - W o) [default: off]
    #[arg(long, value_name = "HOW")]
    pub outlier_use: Option<OutlierUse>,
    /// Average the distance o over the K nearest outliers [default: 1]
    #[arg(long, value_name = "K", value_parser = at_least_one)]
    pub outlier_k: Option<usize>,
    /// Add this weight times what the z-score of a linear discriminant between references and --outliers has above 1 to the
    /// distance, which has to be that of parts combined by sum or max
    #[arg(long, value_name = "W")]
    pub discriminant: Option<f64>,
    /// How far the discriminant's covariance is drawn to that of equal, independent numbers, in mean variances [default: 1]
    #[arg(long, value_name = "RIDGE")]
    pub discriminant_ridge: Option<f64>,
    /// Search each patch among the references of the class that the model sees there only (needs --classes; all where
    /// a class has fewer references than k)
    #[arg(long)]
    pub by_class: bool,
    /// Smooth the distances among patches of a frame that look alike by this part's transformed features
    #[arg(long, value_name = "PART")]
    pub affinity: Option<String>,
    /// How alike patches must look to count: cosines are divided by this [default: 0.2]
    #[arg(long, value_name = "T")]
    pub affinity_temperature: Option<f64>,
    /// How near they must be, in patches [default: 3]
    #[arg(long, value_name = "PATCHES")]
    pub affinity_radius: Option<f64>,
    /// How much the others count beside the patch itself, from 0 to 1 [default: 0.7]
    #[arg(long, value_name = "SHARE")]
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

/// `farout bank merge`
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "If --recipe or a flag of a recipe (--parts to --affinity-share) is given, they replace what the shards were built with: the same features make other banks without running the model again. Pictures \
                  can only be centred (center:image) if the shards were built so."
)]
pub struct MergeArgs {
    /// All shards, in any order
    #[arg(value_name = "SHARD", num_args = 1.., required = true)]
    pub shards: Vec<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub how: RecipeArgs,
    /// Recipe: a shipped one (road), or a TOML file with a section [bank.build]; the flags above override its keys
    #[arg(long, value_name = "NAME|FILE")]
    pub recipe: Option<String>,
    /// Reference features in the bank, at most as many as the shards were built for; as many if not given
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub size: Option<usize>,
    /// Neighbours for which the calibration's distances are computed, if others than the shards were built for
    #[arg(short, long, value_name = "K", value_parser = at_least_one)]
    pub k: Option<usize>,
    /// Keep the held-out frames in the bank, so that prune can calibrate anew
    #[arg(long)]
    pub keep_held_out: bool,
    /// Report in JSON
    #[arg(long)]
    pub json: bool,
    /// The bank to write
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
}

/// `farout bank prune`
#[derive(Debug, Clone, Args)]
pub struct PruneArgs {
    /// The bank to make smaller
    #[arg(short, long, value_name = "FILE")]
    pub input: PathBuf,
    /// Features that stay
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub to: usize,
    /// How they are chosen
    #[arg(long, value_enum, default_value = "kcenter", value_name = "METHOD")]
    pub method: PruneBy,
    /// Seed of the first centre, or of the draw
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub seed: u64,
    /// Keep the held-out frames in the smaller bank too
    #[arg(long)]
    pub keep_held_out: bool,
    /// Report in JSON
    #[arg(long)]
    pub json: bool,
    /// The bank to write
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
    /// The bank, or the folder of a detector
    #[arg(value_name = "BANK")]
    pub bank: PathBuf,
    /// Report in JSON
    #[arg(long)]
    pub json: bool,
}
