//! `farout compare`: results of `farout eval` side by side.

use std::path::PathBuf;

use anyhow::Result;

use super::answer::answer;
use crate::cli::CompareArgs;
use crate::eval::compare::compare as compare_results;
use crate::eval::result::EvalResult;

/// Prints how the others differ from the first.
///
/// # Errors
/// A file that is no result, or results on different data sets.
pub fn compare(args: &CompareArgs) -> Result<()> {
    let read = |path: &PathBuf| Ok((path.clone(), EvalResult::read_whole(path)?));
    let results: Vec<(PathBuf, EvalResult)> = args.results.iter().map(read).collect::<Result<_>>()?;
    let comparison = compare_results(&results)?;
    answer(args.json, &comparison)
}
