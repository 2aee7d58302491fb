//! `farout compare`: results of `farout eval`, or score maps of any methods, side by side.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::answer::answer;
use super::metrics::plain_request;
use super::progress::bar;
use crate::cli::CompareArgs;
use crate::config::ConfigError;
use crate::eval::compare::{Comparison, compare_maps, compare_results};
use crate::eval::maps::is_of_maps;
use crate::eval::result::EvalResult;

/// Prints how the others differ from the first.
///
/// # Errors
/// A file that is no result, or results on different data sets; score maps that cannot be judged.
pub fn compare(args: &CompareArgs) -> Result<()> {
    let comparison = match &args.truth {
        Some(truth) => of_maps(args, truth)?,
        None => of_results(&args.results)?,
    };
    answer(args.json, &comparison)
}

fn of_results(paths: &[PathBuf]) -> Result<Comparison> {
    if let Some(maps) = paths.iter().find(|path| path.is_dir() || is_of_maps(path)) {
        bail!(ConfigError::Invalid(format!(
            "{} is no result of farout eval: to compare score maps, give --truth DIR, the folder of their masks",
            maps.display()
        )));
    }
    let read = |path: &PathBuf| Ok((path.clone(), EvalResult::read_whole(path)?));
    let results: Vec<(PathBuf, EvalResult)> = paths.iter().map(read).collect::<Result<_>>()?;
    compare_results(&results)
}

fn of_maps(args: &CompareArgs, truth: &Path) -> Result<Comparison> {
    let json = |path: &&PathBuf| path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json"));
    if let Some(result) = args.results.iter().find(json) {
        bail!(ConfigError::Invalid(format!(
            "{} looks like a result of farout eval: results are compared without --truth",
            result.display()
        )));
    }
    let first = args.results.first().map_or(Path::new("."), PathBuf::as_path);
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
