//! `farout check`: what `farout run` would do with a configuration, without doing it.

mod detector;
mod places;
mod streams;

use anyhow::Result;

use super::{run_settings, screen};
use crate::cli::{CheckArgs, ConfigArgs, DetectArgs, OwnConfigArgs, RunArgs};
use crate::config::Config;
use crate::finding::{Finding, Standing};
use crate::sink;

/// Prints what would be watched, judged, served, written and told.
///
/// # Errors
/// [`crate::config::ConfigError`] for what cannot be a configuration; else if something would keep `farout run` from starting
/// or from doing what the configuration asks for.
pub fn check(args: &CheckArgs) -> Result<()> {
    let own = OwnConfigArgs { config: Some(args.config.clone()), ..OwnConfigArgs::default() };
    let config = ConfigArgs { own, detector: args.detector.clone() };
    let detect = DetectArgs { config, bypass: args.bypass, ..DetectArgs::default() };
    let config = run_settings::read(&RunArgs { detect, ..RunArgs::default() })?;
    let streams = config.each_stream()?;
    run_settings::refuse_overwriting(&config, &streams)?;
    let mut findings: Vec<_> = streams.iter().map(|stream| streams::finding(stream, &config)).collect();
    if args.bypass {
        let detail = "switched off: pictures pass through unmarked";
        findings.push(Finding::new("detector", "detection", Standing::Absent, detail));
    } else {
        findings.extend(detector::findings(&config, &streams));
    }
    findings.extend(sink::planned(&config.output, &config.access));
    findings.extend(places::findings(&config, &streams));
    findings.extend(broker(&config));
    screen::answer(&findings, args.json, "would not work: see above")
}

/// Who would be told over MQTT.
fn broker(config: &Config) -> Option<Finding> {
    let broker = config.mqtt.broker().ok().flatten()?;
    let files = crate::mqtt::files(&broker, &config.mqtt);
    let detail = match &files {
        Ok(()) => {
            let tls = if broker.tls { " over TLS" } else { "" };
            let commands = if config.mqtt.commands { "; its commands are taken" } else { "" };
            format!("would be told at {}:{}{tls} (not asked now){commands}", broker.host, broker.port)
        }
        Err(why) => why.clone(),
    };
    let standing = if files.is_ok() { Standing::Good } else { Standing::Bad };
    Some(Finding::new("network", "MQTT broker", standing, detail))
}
