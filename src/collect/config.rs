//! The keys of building a bank.

use super::error::BuildError;
use super::inputs::Input;
use super::plan::Plan;
use super::recipe::RecipeConfig;
use super::split::SplitKeys;
use crate::bank::{ClassSource, DataType, ShardNumber};
use crate::identity::ModelIdentity;
use crate::score::MapRecipe;
use crate::views::ViewsConfig;

/// How a bank is built.
#[derive(Debug, Clone, PartialEq)]
pub struct BuildConfig {
    /// Features to keep. Default 100000.
    pub size: usize,
    /// Seed of the sample and the held-out split. Default 0.
    pub seed: u64,
    /// How they are stored: "f16" (default) or "f32".
    pub data_type: DataType,
    /// Label values whose patches are left out. Default none.
    pub void: Vec<u16>,
    /// If not empty, only patches that these label values cover by more than half are taken. Default empty.
    pub only: Vec<u16>,
    /// Of a video, every n-th frame is looked at. Default 10.
    pub video_step: u32,
    /// Share of the blocks that is held out for calibration. Default 0.2.
    pub held_out_share: f64,
    /// Length of a block in frame numbers (of the file name, or of the video). Default 300.
    pub held_out_block: u64,
    /// Frames this many numbers from a held-out block are left out of the bank. Default 30.
    pub held_out_guard: u64,
    /// At most so many held-out frames are measured. Default 300.
    pub held_out_frames: usize,
    /// Size from which a false region counts, in pixels of a 640x360 picture; should be that of the
    /// scores' configuration. Default 100.
    pub min_region_px: u32,
    /// Neighbours of the calibration; must be those of the search. Default 3.
    pub k: usize,
    /// How the score maps come about that are calibrated; should be that of the scores' configuration.
    pub maps: MapRecipe,
    /// The views that are calibrated; should be those of the detector's configuration. Default: the whole picture only.
    pub views: ViewsConfig,
    /// Threads of the calibration's search, 0 for one per processor. Default 0.
    pub threads: usize,
    /// Look at this part of the inputs only, and make a shard. Default none: all.
    pub shard: Option<ShardNumber>,
    /// The plan that the shard is one of: then the inputs are its own, all of them. Default none: the inputs are those of all
    /// shards, and its own are found among them.
    pub plan: Option<Plan>,
    /// Keep the held-out frames beside the bank, so that it can be calibrated again when it is pruned or
    /// merged; a shard always does. Default false.
    pub keep_held_out: bool,
    /// What the rows are made of and how they are compared. Default: features as they are.
    pub recipe: RecipeConfig,
    /// Where the classes of patches come from, for those who want them. Default none.
    pub classes: Option<ClassSource>,
    /// Whether the bank has small pictures of the images that its rows come from. Default false.
    pub thumbnails: bool,
}

impl Default for BuildConfig {
    fn default() -> Self {
        BuildConfig {
            size: 100_000,
            seed: 0,
            data_type: DataType::F16,
            void: Vec::new(),
            only: Vec::new(),
            video_step: 10,
            held_out_share: 0.2,
            held_out_block: 300,
            held_out_guard: 30,
            held_out_frames: 300,
            min_region_px: 100,
            k: 3,
            maps: MapRecipe::default(),
            views: ViewsConfig::default(),
            threads: 0,
            shard: None,
            plan: None,
            keep_held_out: false,
            recipe: RecipeConfig::default(),
            classes: None,
            thumbnails: false,
        }
    }
}

impl BuildConfig {
    /// By what frames are held out.
    pub fn split_keys(&self) -> SplitKeys {
        SplitKeys {
            seed: self.seed,
            share: self.held_out_share,
            block: self.held_out_block,
            guard: self.held_out_guard,
        }
    }

    /// Refuses at once what would fail when all features are there.
    ///
    /// # Errors
    /// [`BuildError::Recipe`].
    pub(super) fn check(
        &self,
        inputs: &[Input],
        knows_outliers: bool,
        model: &ModelIdentity,
        has_logits: bool,
    ) -> Result<(), BuildError> {
        self.recipe.smoothing(&self.recipe.resolve(model)?)?;
        let wrong = |why: String| Err(BuildError::Recipe { why });
        let complete = self.shard.is_none_or(|shard| shard.number == 1);
        if !knows_outliers && !self.recipe.outliers.is_off() && complete {
            return wrong("--outlier-use and --discriminant need known outliers: pass --outliers DIR".into());
        }
        if self.recipe.by_class && !has_logits {
            return wrong(
                "the search by class needs a model that gives logits; name them in model.logits".into(),
            );
        }
        match self.classes {
            None if self.recipe.needs_classes() => wrong(
                "whitening within classes and the search by class need the patches' classes: give --classes labels or model".into(),
            ),
            Some(ClassSource::Model) if !has_logits => wrong(
                "--classes model needs logits: name them in model.logits".into(),
            ),
            Some(ClassSource::Labels) => match inputs.iter().find(|input| input.label.is_none()) {
                Some(input) => wrong(format!(
                    "--classes labels needs a label for every image, and {} has none: pass --labels DIR",
                    input.name
                )),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}
