//! `farout doctor`: what this machine has and lacks, on one screen, with remedies.

use anyhow::Result;

use super::screen;
use crate::cli::{DoctorArgs, OwnConfigArgs};
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
    screen::answer(&findings, args.json, "cannot work here: see the remedies above")
}
