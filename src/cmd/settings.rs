//! From flags and configuration file to checked settings: flags win.

use std::path::Path;

use super::unread::{self, Reads};
use crate::bank::Bank;
use crate::cli::{ConfigArgs, DetectArgs, Device, OwnConfigArgs};
use crate::config::{Config, ConfigError};
use crate::features::{Device as Wanted, Provider};

/// The configuration with its common keys overridden by flags. What `command` does not read of the file is said.
///
/// # Errors
/// [`ConfigError`], naming file, line and key.
pub fn read(args: &ConfigArgs, command: (&str, &Reads)) -> Result<Config, ConfigError> {
    read_own(&args.own, args.detector.as_deref(), command)
}

/// As [`read`], with this bank. Neighbours that nobody has named are those that the bank was calibrated for.
///
/// # Errors
/// As [`read`].
pub fn read_with_bank(
    args: &ConfigArgs,
    bank: Option<&Path>,
    command: (&str, &Reads),
) -> Result<Config, ConfigError> {
    let (mut config, says_k) = told(&args.own, args.detector.as_deref(), command)?;
    if let Some(bank) = bank {
        if config.detector.is_some() {
            let why = "the configuration names a detector, which has a bank: leave --bank out, or take detector out of the file";
            return Err(ConfigError::Invalid(why.into()));
        }
        config.bank.path = bank.to_owned();
    }
    if !says_k && !config.bank.path.as_os_str().is_empty() {
        // A bank that does not open is told where it is needed.
        let calibration = Bank::open_any(&config.bank.path).ok().and_then(|bank| bank.calibrated_k());
        config.search.k = calibration.unwrap_or(config.search.k);
    }
    Ok(config)
}

/// As [`read`], of a command for which the detector is no flag.
///
/// # Errors
/// As [`read`].
pub fn read_own(
    args: &OwnConfigArgs,
    detector: Option<&Path>,
    command: (&str, &Reads),
) -> Result<Config, ConfigError> {
    told(args, detector, command).map(|(config, _)| config)
}

/// As [`read_own`] without a detector, and whether the file names the neighbours.
///
/// # Errors
/// As [`read`].
pub fn read_own_and_k(args: &OwnConfigArgs, command: (&str, &Reads)) -> Result<(Config, bool), ConfigError> {
    told(args, None, command)
}

/// The configuration, and whether file or detector name the neighbours.
fn told(
    args: &OwnConfigArgs,
    detector: Option<&Path>,
    (command, reads): (&str, &Reads),
) -> Result<(Config, bool), ConfigError> {
    let (mut config, mut told) = (Config::default(), None);
    if let Some(path) = &args.config {
        let (read, table) = Config::read_as_written(path)?;
        unread::say(command, path, &table, reads);
        config = read;
        told = Some((path.as_path(), table));
    }
    let own = config.detector_folder.clone().filter(|_| reads.contains(&"detector"));
    if let (Some(_), None, Some(flag)) = (&own, detector, decided_by_detector(args)) {
        return Err(ConfigError::Invalid(format!(
            "the configuration names a detector, which decides what {flag} says: leave {flag} out, or take detector out of the file"
        )));
    }
    if let Some(folder) = detector.or(own.as_deref()) {
        config.take_detector(folder, told.as_ref().map(|(path, table)| (*path, table)))?;
        tracing::info!(detector = %folder.display(), "detector");
    }
    if let Some(model) = &args.model {
        config.model.path.clone_from(model);
    }
    if let Some(features) = &args.features {
        config.model.features = Some(features.clone());
    }
    if let Some(height) = args.input_height {
        config.model.height = Some(height);
        config.model.size = None;
    }
    if let Some(device) = args.device {
        (config.runtime.device, config.search.device) = match device {
            Device::Auto => (Wanted::Auto, crate::nearest::Device::Auto),
            Device::Cpu => (Wanted::CPU, crate::nearest::Device::Cpu),
            Device::Openvino => (Wanted::Only(Provider::OpenVino), crate::nearest::Device::Auto),
            Device::Cuda => (Wanted::Only(Provider::Cuda), crate::nearest::Device::Cuda),
            Device::Tensorrt => (Wanted::Only(Provider::TensorRt), crate::nearest::Device::Cuda),
        };
    }
    config.check()?;
    let in_file =
        told.is_some_and(|(_, table)| table.get("search").is_some_and(|keys| keys.get("k").is_some()));
    Ok((config, in_file || detector.is_some() || own.is_some()))
}

/// A flag that a detector has no room for.
fn decided_by_detector(args: &OwnConfigArgs) -> Option<&'static str> {
    let OwnConfigArgs { model, features, input_height, .. } = args;
    let given = [
        ("--model", model.is_some()),
        ("--features", features.is_some()),
        ("--input-height", input_height.is_some()),
    ];
    given.into_iter().find(|(_, given)| *given).map(|(flag, _)| flag)
}

/// As [`read`], with what `run` and `replay` share.
///
/// # Errors
/// As [`read`], and if the threshold is neither a number nor `auto`, or the model or the bank
/// that detection needs is not named.
pub fn read_detect(
    args: &DetectArgs,
    source: Option<&str>,
    command: (&str, &Reads),
) -> Result<Config, ConfigError> {
    let mut config = read_with_bank(&args.config, args.bank.as_deref(), command)?;
    if let Some(name) = &args.stream {
        config.only(name)?;
    }
    if let Some(threshold) = &args.threshold {
        config.score.threshold = threshold.parse().map_err(ConfigError::Invalid)?;
        config.streams.iter_mut().for_each(|stream| drop(stream.score.remove("threshold")));
    }
    if let Some(events) = &args.events {
        config.output.events = Some(events.clone());
        config.streams.iter_mut().for_each(|stream| drop(stream.output.remove("events")));
    }
    if let Some(source) = source {
        match &mut config.streams[..] {
            // The password is that of the source in the file.
            [stream] => (stream.source, stream.password_file) = (source.into(), None),
            [] => config
                .streams
                .push(crate::source::SourceConfig { source: source.into(), ..Default::default() }),
            several => {
                return Err(ConfigError::Invalid(format!(
                    "the configuration has {} streams: choose with --stream NAME the one that the source replaces",
                    several.len()
                )));
            }
        }
    }
    if config.streams.is_empty() {
        return Err(ConfigError::Invalid(
            "nothing to watch: name a source (see --help), or a [[stream]] in the file given with --config"
                .into(),
        ));
    }
    if !args.bypass {
        named(&config.model.path, "model", "--model FILE", "model.path")?;
        if config.score.method.searches() {
            named(&config.bank.path, "bank", "--bank FILE (made by farout bank build)", "bank.path")?;
        }
    }
    Ok(config)
}

/// Refuses an empty path.
///
/// # Errors
/// [`ConfigError::Invalid`] with the flag and the key that name it.
pub fn named(path: &Path, what: &str, flag: &str, key: &str) -> Result<(), ConfigError> {
    if path.as_os_str().is_empty() {
        return Err(ConfigError::Invalid(format!(
            "no {what} given: use {flag}, or set {key} in the file given with --config"
        )));
    }
    Ok(())
}
