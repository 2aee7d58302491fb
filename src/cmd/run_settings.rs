//! What `farout run` is told, by file and flags.

use std::collections::BTreeSet;

use super::apart::{apart, real};
use super::{settings, unread};
use crate::cli::RunArgs;
use crate::config::{Config, ConfigError, StreamConfig};
use crate::source;

/// Refuses to write over what is read, or twice to one file.
///
/// # Errors
/// The two that meet.
pub(super) fn refuse_overwriting(config: &Config, streams: &[StreamConfig]) -> Result<(), ConfigError> {
    let records: Vec<_> =
        streams.iter().filter_map(|stream| Some(("--record", stream.output.record.as_deref()?))).collect();
    // Streams may share an event log.
    let logs: BTreeSet<_> =
        streams.iter().filter_map(|stream| stream.output.events.as_deref()).map(real).collect();
    let logs = logs.iter().map(|path| ("the event log", path.as_path()));
    let written: Vec<_> = records.iter().copied().chain(logs).collect();
    for stream in streams {
        apart(stream.source.source.secret(), &written)?;
    }
    for read in [&config.model.path, &config.bank.path, &config.roi.model] {
        apart(&read.to_string_lossy(), &written)?;
    }
    Ok(())
}

/// The configuration with the flags of `run`.
pub(super) fn read(args: &RunArgs) -> Result<Config, ConfigError> {
    let mut detect = args.detect.clone();
    detect.config.detector = args.folder.clone().or(detect.config.detector);
    let mut config = settings::read_detect(&detect, args.source.as_deref(), ("run", unread::RUN))?;
    for stream in &mut config.streams {
        stream.repeat |= args.looped;
        if args.fast {
            stream.pace = source::Pace::Fast;
        }
    }
    for (flag, address) in [(&args.rtsp, &mut config.output.rtsp), (&args.http, &mut config.output.http)] {
        if let Some(flag) = flag {
            address.clone_from(flag);
        }
    }
    let banks = config.flow.ladder.iter().filter_map(|rung| rung.bank.as_ref());
    if let Some(absent) = banks.into_iter().find(|bank| !bank.exists()) {
        let why = format!("flow.ladder: there is no bank {}", absent.display());
        return Err(ConfigError::Invalid(why));
    }
    if let Some(path) = &args.record {
        config.output.record = Some(path.clone());
        config.streams.iter_mut().for_each(|stream| drop(stream.output.remove("record")));
    }
    Ok(config)
}
