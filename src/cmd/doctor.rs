//! `farout doctor`: what this machine has and lacks, on one screen, with remedies.

use anyhow::{Result, bail};

use super::answer::{print, print_json};
use crate::cli::{DoctorArgs, OwnConfigArgs};
use crate::finding::{Finding, Standing};
use crate::{features, nearest, sink, source};

/// Prints every finding.
///
/// # Errors
/// If something is missing that farout cannot run without.
pub fn doctor(args: &DoctorArgs) -> Result<()> {
    let given = OwnConfigArgs { config: args.config.clone(), ..Default::default() };
    let config = super::settings::read_own(&given, None, ("doctor", super::unread::DOCTOR))?;
    let mut findings = features::findings(&config.runtime);
    findings.extend(nearest::findings(config.runtime.gpu));
    findings.extend(source::findings());
    findings.extend(sink::findings(&config.output));
    match args.json {
        true => print_json(&findings)?,
        false => print(screen(&findings))?,
    }
    let bad: Vec<_> =
        findings.iter().filter(|f| f.standing == Standing::Bad).map(|f| f.name.as_str()).collect();
    if !bad.is_empty() {
        bail!("{} cannot work here: see the remedies above", bad.join(", "));
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
