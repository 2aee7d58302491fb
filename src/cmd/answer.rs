//! What a subcommand answers on standard output: for people, or with `--json` for programs.

use std::fmt::Display;
use std::io::Write;

use serde::Serialize;

/// Writes `answer` as it is displayed, or as indented JSON with a line's end.
///
/// # Errors
/// If standard output does not take it.
pub(super) fn answer<T: Serialize + Display>(json: bool, answer: &T) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, answer)?;
        writeln!(out)?;
    } else {
        write!(out, "{answer}")?;
    }
    Ok(())
}
