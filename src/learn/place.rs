//! The detector's files, put into its folder.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;

use anyhow::Result;

use super::work::Work;
use crate::config::{DetectorFile, detector_file};
use crate::file::{also_at, write_whole};

/// The files of a detector, beside `detector.toml`.
pub(super) const MODEL: &str = "model.onnx";
/// See [`MODEL`]; that of a later set has its number in the name.
pub(super) const BANK: &str = "references.bank";
/// See [`MODEL`].
pub(super) const REPORT: &str = "REPORT.html";

/// The name of the bank of all footage up to this set, 1 for the first: another each time, so that the old one stays until the
/// detector names the new one.
pub(super) fn bank_name(set: usize) -> String {
    if set == 1 { BANK.to_owned() } else { BANK.replace('.', &format!("-{set}.")) }
}

/// Puts the detector's files into its folder, `detector.toml` last. They stay among the work, too: what is interrupted here finds
/// them again.
///
/// # Errors
/// What cannot be written.
pub(super) fn place(out: &Path, work: &Work, page: &str, file: &DetectorFile) -> Result<()> {
    for (name, to) in [(MODEL, Path::new(MODEL)), (BANK, &file.bank.path)] {
        let from = work.path(name);
        // A model that the detector has already is not among the work.
        if from.exists() {
            also_at(&from, &out.join(to))?;
        }
    }
    write_whole(&out.join(REPORT), |to| to.write_all(page.as_bytes()))?;
    let head = "# A detector, made by farout learn. A run takes all that a score depends on from here: farout run FOLDER.\n\
                # What a vehicle decides (thresholds, events, regions of interest, outputs) belongs into its own configuration.\n\n";
    let text = format!("{head}{}", toml::to_string(file)?);
    write_whole(&out.join(detector_file::FILE), |to| to.write_all(text.as_bytes()))?;
    Ok(())
}

/// Removes the banks of former sets from `out`, if its detector `file` names another; says so if that fails, since the detector is
/// whole. A bank of any other name is somebody's own and stays.
pub(super) fn tidy(out: &Path, file: &DetectorFile) {
    // By name: the path may be relative to the folder or not.
    let named = file.bank.path.file_name();
    let old = (1..file.detector.sets).map(bank_name).filter(|name| named != Some(OsStr::new(name)));
    for old in old.map(|name| out.join(name)).filter(|old| old.exists()) {
        if let Err(why) = std::fs::remove_file(&old) {
            tracing::warn!("{} is no longer needed and cannot be removed: {why}", old.display());
        }
    }
}
