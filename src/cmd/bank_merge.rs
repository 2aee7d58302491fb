//! `farout bank merge`: from shards to the bank that one run would have built.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::apart;
use super::bank_build::{BankProgress, recipe, tell};
use crate::cli::MergeArgs;
use crate::collect::{self, MergeConfig, RecipeConfig};
use crate::file;

/// Merges shards and writes the bank whole.
///
/// # Errors
/// The first file that is no shard or does not fit the others, by name.
pub fn merge(args: &MergeArgs) -> Result<()> {
    let inputs: Vec<&Path> = args.shards.iter().map(PathBuf::as_path).collect();
    apart::from_inputs(&inputs, &args.output)?;
    file::try_place(&args.output)?;
    let mut progress = BankProgress::new("shards", "shards");
    let recipe = recipe(args.recipe.as_deref(), &args.how)?.recipe();
    let config = MergeConfig {
        keep_held_out: args.keep_held_out,
        threads: 0,
        recipe: (recipe != RecipeConfig::default()).then_some(recipe),
        size: args.size,
        k: args.k,
        outliers: None,
    };
    let built = collect::merge(&args.shards, &config, &mut progress);
    progress.end();
    built?.write(&args.output)?;
    tell(&args.output, args.json)
}
