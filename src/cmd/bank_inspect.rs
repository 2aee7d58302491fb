//! `farout bank inspect`: what a bank file holds.

use anyhow::Result;

use super::bank_build::tell;
use crate::cli::InspectArgs;

/// Prints the summary of a bank.
///
/// # Errors
/// If the file is no whole bank.
pub fn inspect(args: &InspectArgs) -> Result<()> {
    tell(&args.bank, args.json)
}
