//! `farout bank inspect`: what a bank file holds.

use std::io::Write;

use anyhow::Result;

use crate::bank::{Bank, summary};
use crate::cli::InspectArgs;

/// Prints the summary of a bank.
///
/// # Errors
/// If the file is no whole bank.
pub fn inspect(args: &InspectArgs) -> Result<()> {
    let bank = Bank::open_any(&args.bank)?;
    let summary = summary(&bank);
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &summary)?;
        writeln!(out)?;
    } else {
        write!(out, "{summary}")?;
    }
    Ok(())
}
