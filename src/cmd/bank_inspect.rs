//! `farout bank inspect`: what a bank file holds, or what was marked as normal.

use anyhow::Result;

use super::answer::{print, print_json};
use super::bank_build::tell;
use crate::bank::{Bank, summary, supplement_files_in};
use crate::cli::InspectArgs;
use crate::config::{ConfigError, DetectorFile};

/// Prints the summary of a bank, or of each supplement in a folder.
///
/// # Errors
/// If the file is no whole bank, or the folder neither a detector nor that of what was marked as normal.
pub fn inspect(args: &InspectArgs) -> Result<()> {
    let path = &args.bank;
    if !path.is_dir() {
        return tell(path, args.json);
    }
    let read = DetectorFile::read(path);
    let supplements = supplement_files_in(path)?;
    match read {
        Err(_) if !supplements.is_empty() => {
            let all = supplements.iter().map(|file| Ok(summary(&Bank::open_any(file)?)));
            let all = all.collect::<Result<Vec<_>>>()?;
            match args.json {
                true => print_json(&all),
                false => all.iter().try_for_each(|one| print(one.to_string())),
            }
        }
        Err(why) => {
            let why = format!("{why}; nor was anything marked as normal there");
            Err(ConfigError::Invalid(why).into())
        }
        Ok(detector) => tell(&detector.bank.path, args.json),
    }
}
