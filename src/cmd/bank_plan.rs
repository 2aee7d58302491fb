//! `farout bank plan`: how the work on a bank is cut, for machines that have only their own inputs.

use anyhow::Result;

use super::answer::answer;
use super::bank_build::{BankProgress, opening, take};
use super::signals;
use crate::cli::PlanArgs;
use crate::collect::{self, BuildConfig, BuildOptions, Listed, Plan, Progress as _};
use crate::file;
use crate::learn::Recipe;
use crate::stop::Stop;

/// Writes a plan and tells what it holds.
///
/// # Errors
/// The first input or line of the list that cannot be used, by name.
pub fn plan(args: &PlanArgs) -> Result<()> {
    file::try_place(&args.output)?;
    let mut options = match &args.recipe {
        Some(named) => Recipe::find(named)?.bank.build,
        None => BuildOptions::default(),
    };
    take(&mut options.every, args.every);
    take(&mut options.seed, args.seed);
    let listed = match &args.list {
        Some(list) => collect::read_list(list)?,
        None => counted(&args.images)?,
    };
    let config = BuildConfig { seed: options.seed, ..BuildConfig::default() };
    let plan = Plan::of(&listed, args.shards, config.split_keys(), options.every);
    plan.write(&args.output)?;
    answer(args.json, &plan)
}

/// The inputs at these places; the frames of videos are counted.
fn counted(images: &[String]) -> Result<Vec<Listed>> {
    let stop = Stop::new();
    signals::listen(&stop)?;
    let inputs = collect::list(images)?;
    let (mut shown, mut open) = (BankProgress::new("inputs", "inputs"), opening(&stop));
    shown.begin(inputs.len() as u64);
    let mut all = Vec::with_capacity(inputs.len());
    for input in &inputs {
        all.push(collect::listed(input, &mut open, &stop)?);
        shown.frames(all.len() as u64);
    }
    shown.end();
    Ok(all)
}
