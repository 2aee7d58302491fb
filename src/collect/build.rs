//! `farout bank build`: a bank, or a part of one, of images taken as normal.

use super::config::BuildConfig;
use super::error::BuildError;
use super::extract::Extract;
use super::gather::gather;
use super::inputs::{Input, Open};
use super::outliers::Outliers;
use super::part::Built;
use super::progress::Progress;
use super::recipe::RecipeConfig;
use crate::bank::{ShardNumber, StepKind};
use crate::stop::Stop;

/// Builds a bank of `inputs`, or the shard of one that `config` asks for, with the known `outliers`. Memory is bounded
/// by the sample and the held-out frames, whatever the number of images; the result depends on the set of files, the
/// model, the outliers and `config` only. `inputs` are those of all shards: all of them decide which frames are held
/// out, only its own are looked at for a shard.
///
/// # Errors
/// [`BuildError`] at the first file that cannot be used. A video that is cut off counts up to its
/// last good frame, with a warning.
pub fn build(
    inputs: &[Input],
    outliers: Option<Outliers>,
    config: &BuildConfig,
    (open, extractor): (&mut Open, &mut dyn Extract),
    progress: &mut dyn Progress,
    stop: &Stop,
) -> Result<Built, BuildError> {
    config.check(inputs, outliers.is_some(), &extractor.identity(), extractor.has_logits())?;
    gather(inputs, outliers, config, (open, extractor), progress, stop)
}

/// The shard of a sample of `size` patches of `inputs` that more than half of whose pixels have one of the label `values`;
/// of all patches if `values` is empty. Everything else is as `config` builds the bank that they are for.
///
/// # Errors
/// As [`build`]; [`BuildError::Empty`] if there is no such patch.
pub fn gather_outliers(
    inputs: &[Input],
    (size, values): (usize, &[u16]),
    config: &BuildConfig,
    (open, extractor): (&mut Open, &mut dyn Extract),
    progress: &mut dyn Progress,
    stop: &Stop,
) -> Result<Built, BuildError> {
    let transform =
        config.recipe.transform.iter().copied().filter(|step| *step == StepKind::CenterImage).collect();
    let config = BuildConfig {
        size,
        only: values.to_vec(),
        void: Vec::new(),
        held_out_share: 0.0,
        shard: Some(ShardNumber { number: 1, of: 1 }),
        plan: None,
        classes: None,
        thumbnails: false,
        // The rows stay as they are; all that the bank's recipe wants of them is the means of the pictures.
        recipe: RecipeConfig { transform, ..RecipeConfig::default() },
        ..config.clone()
    };
    let built = gather(inputs, None, &config, (open, extractor), progress, stop)?;
    let build = &built.contents.metadata.build;
    if built.contents.origins.is_empty() {
        let why = format!(
            "{} pictures of known outliers have {} patches and none that the label values {values:?} cover by half; see \
             --outlier-labels and --outlier-values",
            build.frames, build.patches
        );
        return Err(BuildError::Empty { why });
    }
    Ok(built.known_by_its_files())
}
