//! Findings on one screen: what `doctor` and `check` answer.

use anyhow::{Result, bail};

use super::answer::{print, print_json};
use crate::finding::{Finding, Standing};

/// Prints `findings`, for people or as JSON.
///
/// # Errors
/// If one of them is bad; `conclusion` is what is said of those that are.
pub(super) fn answer(findings: &[Finding], json: bool, conclusion: &str) -> Result<()> {
    match json {
        true => print_json(&findings)?,
        false => print(screen(findings))?,
    }
    let bad: Vec<_> =
        findings.iter().filter(|f| f.standing == Standing::Bad).map(|f| f.name.as_str()).collect();
    if !bad.is_empty() {
        bail!("{} {conclusion}", bad.join(", "));
    }
    Ok(())
}

/// The findings under their headings, one line each and the remedy below.
fn screen(findings: &[Finding]) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    let mut topic = "";
    let width = findings.iter().map(|f| f.name.chars().count()).max().unwrap_or(0).min(32);
    for finding in findings {
        if finding.topic != topic {
            topic = finding.topic;
            let _ = writeln!(text, "{}{topic}", if text.is_empty() { "" } else { "\n" });
        }
        let sign = match finding.standing {
            Standing::Good => "+",
            Standing::Absent => "-",
            Standing::Bad => "!",
        };
        let _ = writeln!(text, "  {sign} {:width$}  {}", finding.name, finding.detail);
        if let Some(remedy) = &finding.remedy {
            let _ = writeln!(text, "    {:width$}  -> {remedy}", "");
        }
    }
    text
}
