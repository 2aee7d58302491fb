//! `farout bank merge`: from shards to the bank that one run would have built.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::apart;
use super::bank_build::{BankProgress, recipe, tell};
use crate::bank::Bank;
use crate::cli::MergeArgs;
use crate::collect::{self, MergeConfig, RecipeConfig};
use crate::config::ConfigError;
use crate::file;

/// Merges shards and writes the bank whole.
///
/// # Errors
/// The first file that is no shard or does not fit the others, by name.
pub fn merge(args: &MergeArgs) -> Result<()> {
    let inputs: Vec<&Path> = args.shards.iter().map(PathBuf::as_path).collect();
    apart::from_inputs(&inputs, &args.output)?;
    file::try_place(&args.output)?;
    if let Some(missing) = args.shards.iter().find(|path| !path.exists()) {
        anyhow::bail!("cannot open {}: there is no such file or folder", missing.display());
    }
    if has_supplements(&args.shards) {
        return with_supplements(args);
    }
    let mut progress = BankProgress::new("shards", "shards");
    if args.partial {
        if asks_for_a_bank(args)? {
            let why = "--partial makes a shard: the flags of a recipe, --size, -k and --keep-held-out are for the bank at the end";
            return Err(ConfigError::Invalid(why.into()).into());
        }
        let built = collect::merge_some(&args.shards, &mut progress);
        progress.end();
        built?.write(&args.output)?;
        return tell(&args.output, args.json);
    }
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

/// Whether any of these is a supplement, or a folder of them. What cannot be opened is told later.
fn has_supplements(paths: &[PathBuf]) -> bool {
    paths.iter().any(|path| path.is_dir() || Bank::open_any(path).is_ok_and(|bank| bank.is_supplement()))
}

/// Whether a flag says how the bank at the end is to be.
fn asks_for_a_bank(args: &MergeArgs) -> Result<bool> {
    let built = recipe(args.recipe.as_deref(), &args.how)?.recipe() != RecipeConfig::default();
    Ok(built || args.recipe.is_some() || args.size.is_some() || args.k.is_some() || args.keep_held_out)
}

/// Joins supplements, to a bank if there is one.
fn with_supplements(args: &MergeArgs) -> Result<()> {
    if args.partial || asks_for_a_bank(args)? {
        let why = "supplements are joined to a bank as it is: the flags of a recipe, --size, -k, --keep-held-out and --partial are for \
                   shards";
        return Err(ConfigError::Invalid(why.into()).into());
    }
    // It would be read with the others from now on, and all of it would count twice.
    let inside = |path: &&PathBuf| path.is_dir() && apart::real(&args.output).starts_with(apart::real(path));
    if let Some(folder) = args.shards.iter().find(inside) {
        let why =
            format!("--output lies in {}, which is read: choose another place for it", folder.display());
        return Err(ConfigError::Invalid(why).into());
    }
    let is_bank =
        |path: &&PathBuf| !path.is_dir() && Bank::open_any(path).is_ok_and(|bank| !bank.is_supplement());
    let (banks, supplements): (Vec<&PathBuf>, Vec<&PathBuf>) = args.shards.iter().partition(is_bank);
    let mut all = Vec::new();
    for path in &supplements {
        all.extend(collect::supplements_at(path)?);
    }
    let Some(joined) = collect::join_supplements(&all)? else { return Ok(()) };
    match banks[..] {
        [] => joined.write(&args.output)?,
        [path] => {
            let bank = Bank::open(path, 1)?;
            collect::supplemented(&bank, (supplements[0], &joined))?.write(&args.output)?;
        }
        [first, second, ..] => {
            let why = format!(
                "{} and {} are both banks: supplements are joined to one; merge shards first",
                first.display(),
                second.display()
            );
            return Err(ConfigError::Invalid(why).into());
        }
    }
    tell(&args.output, args.json)
}
