//! `farout bank inspect`: what a bank file holds.

use anyhow::Result;

use super::bank_build::tell;
use crate::cli::InspectArgs;
use crate::config::DetectorFile;

/// Prints the summary of a bank.
///
/// # Errors
/// If the file is no whole bank, or the folder no detector.
pub fn inspect(args: &InspectArgs) -> Result<()> {
    match args.bank.is_dir() {
        true => tell(&DetectorFile::read(&args.bank)?.bank.path, args.json),
        false => tell(&args.bank, args.json),
    }
}
