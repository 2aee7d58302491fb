//! Whether another detector fits into memory beside the one that judges.

use std::path::Path;

use anyhow::{Context, Result, anyhow};

use crate::config::Config;

/// Whether another model and bank fit into memory beside those that are there: twice the model's file, whose weights are
/// laid out anew, and the bank's.
///
/// # Errors
/// If they do not.
pub(super) fn room_for(config: &Config) -> Result<()> {
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    let needed = 2 * size(&config.model.path) + size(&config.bank.path);
    let told = std::fs::read_to_string("/proc/meminfo").context("how much memory is free is not known");
    // Where the system does not tell, it is tried.
    let Some(free) = told.ok().as_deref().and_then(available) else { return Ok(()) };
    let mib = |bytes: u64| bytes / (1 << 20);
    match needed > free {
        true => Err(anyhow!(
            "model and bank need about {} MiB beside those that are in use, and {} MiB are free: restart farout",
            mib(needed),
            mib(free)
        )),
        false => Ok(()),
    }
}

/// Bytes that can be had without swapping, by what `/proc/meminfo` tells.
fn available(told: &str) -> Option<u64> {
    let line = told.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}
