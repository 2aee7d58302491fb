//! `farout compare`: results of `farout eval`, or score maps of any methods, side by side.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::answer::answer;
use super::metrics::plain_request;
use super::progress::bar;
use crate::cli::CompareArgs;
use crate::config::ConfigError;
use crate::eval::compare::{Comparison, compare_maps, compare_results};
use crate::eval::result::EvalResult;

/// Prints how the others differ from the first.
///
/// # Errors
/// A file that is no result, or results on different data sets; score maps that cannot be judged.
pub fn compare(args: &CompareArgs) -> Result<()> {
    let comparison = match &args.truth {
        Some(truth) => of_maps(args, truth)?,
        None if !args.truth_is.is_default() => bail!(ConfigError::Invalid(
            "results of farout eval are compared as they were judged; values, draws and memory go with --truth".to_owned()
        )),
        None => of_results(&args.results)?,
    };
    answer(args.json, &comparison)
}

fn of_results(paths: &[PathBuf]) -> Result<Comparison> {
    if let Some(folder) = paths.iter().find(|path| path.is_dir()) {
        bail!(ConfigError::Invalid(format!(
            "{} is a folder: to compare score maps, give --truth DIR, the folder of their masks",
            folder.display()
        )));
    }
    let read = |path: &PathBuf| Ok((path.clone(), EvalResult::read_whole(path)?));
    let results: Vec<(PathBuf, EvalResult)> = paths.iter().map(read).collect::<Result<_>>()?;
    compare_results(&results)
}

fn of_maps(args: &CompareArgs, truth: &Path) -> Result<Comparison> {
    let Some(first) = args.results.first() else { bail!("give folders or files of score maps") };
    let request = plain_request(first, truth, &args.truth_is)?;
    let bar = bar(None, "maps");
    bar.set_message("judging");
    let compared = compare_maps(&request, &args.results, |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    compared
}
