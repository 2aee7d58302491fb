//! `farout bank merge`: from shards to the bank that one run would have built.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::apart;
use super::bank_build::{Shown, tell};
use crate::cli::MergeArgs;
use crate::{collect, file};

/// Merges shards and writes the bank whole.
///
/// # Errors
/// The first file that is no shard or does not fit the others, by name.
pub fn merge(args: &MergeArgs) -> Result<()> {
    let inputs: Vec<&Path> = args.shards.iter().map(PathBuf::as_path).collect();
    apart::from_inputs(&inputs, &args.output)?;
    file::try_place(&args.output)?;
    let mut shown = Shown::new("shards", "shards");
    let built = collect::merge(&args.shards, args.keep_held_out, 0, &mut shown);
    shown.end();
    built?.write(&args.output)?;
    tell(&args.output, args.json)
}
