//! Known outliers: features of things that are strange for sure, gathered as those of normal driving are.

use super::build::{Extract, Open, Progress, gather};
use super::config::BuildConfig;
use super::error::BuildError;
use super::inputs::Input;
use super::recipe::RecipeConfig;
use crate::bank::{OutlierRecord, OutlierRows, ShardNumber, StepKind};
use crate::stop::Stop;

/// Features of known outliers as they come from the model, and where they come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Outliers {
    /// The features.
    pub rows: OutlierRows,
    /// Pictures, patches and label values.
    pub record: OutlierRecord,
}

/// A sample of `size` patches of `inputs` that more than half of whose pixels have one of the label `values`; of all
/// patches if `values` is empty. Everything else is as `config` builds the bank that they are for.
///
/// # Errors
/// As [`super::build_part`]; [`BuildError::Empty`] if there is no such patch.
pub fn outliers(
    inputs: &[Input],
    (size, values): (usize, &[u16]),
    config: &BuildConfig,
    (open, extractor): (&mut Open, &mut dyn Extract),
    progress: &mut dyn Progress,
    stop: &Stop,
) -> Result<Outliers, BuildError> {
    let transform =
        config.recipe.transform.iter().copied().filter(|step| *step == StepKind::CenterImage).collect();
    let config = BuildConfig {
        size,
        only: values.to_vec(),
        void: Vec::new(),
        held_out_share: 0.0,
        shard: Some(ShardNumber { number: 1, of: 1 }),
        classes: None,
        outliers: None,
        // The rows stay as they are; all that the bank's recipe wants of them is the means of the pictures.
        recipe: RecipeConfig { transform, ..RecipeConfig::default() },
        ..config.clone()
    };
    let contents = gather(inputs, &config, open, extractor, progress, stop)?.contents;
    let (build, rows) = (&contents.metadata.build, contents.origins.len());
    let record = OutlierRecord {
        frames: build.frames,
        patches: build.patches - build.void_patches,
        rows,
        values: values.to_vec(),
    };
    if rows == 0 {
        let why = format!(
            "{} pictures of known outliers have {} patches and none that the label values {values:?} cover by half; see \
             --outlier-labels and --outlier-values",
            build.frames, build.patches
        );
        return Err(BuildError::Empty { why });
    }
    Ok(Outliers { rows: OutlierRows { rows: contents.features, means: contents.extras.means }, record })
}
