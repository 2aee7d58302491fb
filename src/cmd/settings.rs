//! From flags and configuration file to checked settings: flags win.

use std::path::Path;

use super::unread::{self, Reads};
use crate::cli::{ConfigArgs, DetectArgs, Device};
use crate::config::{Config, ConfigError};
use crate::features::{Device as Wanted, Provider};

/// The configuration with its common keys overridden by flags. What `command` does not read of the file is said.
///
/// # Errors
/// [`ConfigError`], naming file, line and key.
pub fn read(args: &ConfigArgs, (command, reads): (&str, &Reads)) -> Result<Config, ConfigError> {
    let mut config = match &args.config {
        Some(path) => {
            let config = Config::read(path)?;
            unread::say(command, path, reads);
            config
        }
        None => Config::default(),
    };
    if let Some(folder) = &args.detector {
        let text = args.config.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
        let table: Option<toml::Table> = text.and_then(|text| text.parse().ok());
        config.take_detector(folder, args.config.as_deref().zip(table.as_ref()))?;
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
    Ok(config)
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
    let mut config = read(&args.config, command)?;
    if let Some(bank) = &args.bank {
        config.bank.path.clone_from(bank);
    }
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
            [stream] => stream.source = source.into(),
            [] => config
                .streams
                .push(crate::source::SourceConfig { source: source.into(), ..Default::default() }),
            several => {
                return Err(ConfigError::Invalid(format!(
                    "the configuration has {} streams: say with --stream NAME which one the source takes the place of",
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
