//! `farout dataset check`: what a data set's masks hold, and whether it may be scored.

use anyhow::Result;

use super::answer::answer;
use super::progress;
use crate::cli::DatasetCheckArgs;
use crate::eval::dataset::{Check, Dataset};

/// Prints what was found.
///
/// # Errors
/// A data set that is not laid out as its kind, or must not be scored.
pub fn check(args: &DatasetCheckArgs) -> Result<()> {
    let dataset = Dataset::open(&args.dataset)?;
    let bar = progress::bar(Some(dataset.samples.len() as u64), "images");
    let check = Check::run(&dataset, args.allow_missing, &|| bar.inc(1));
    bar.finish_and_clear();
    answer(args.json, &check)?;
    check.passed()?;
    Ok(())
}
