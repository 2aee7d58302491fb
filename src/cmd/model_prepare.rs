//! `farout model prepare`: from an ONNX file of anywhere to one that needs no configuration.

use std::path::Path;

use anyhow::{Context, Result};

use super::answer::answer;
use super::progress;
use crate::cli::{ChannelOrder, ModelPrepareArgs};
use crate::config::ConfigError;
use crate::features::RuntimeConfig;
use crate::model::{Channels, ModelConfig};
use crate::prepare::{self, LogitsChoice, Request};

/// Prepares a model and tells what came of it.
///
/// # Errors
/// What was asked for and cannot be had; nothing is written then.
pub fn prepare(args: &ModelPrepareArgs) -> Result<()> {
    let request = Request {
        path: args.model.clone(),
        features: args.features.iter().chain(&args.concat).cloned().collect(),
        logits: match args.logits.as_str() {
            "auto" => LogitsChoice::Auto,
            "none" => LogitsChoice::None,
            name => LogitsChoice::Tensor(name.to_owned()),
        },
        head: args.head.clone(),
        quantize: args.quantize,
        size: args.size,
        layout: args.layout.map(Into::into),
        constants: args.constant.clone(),
        preprocessing: ModelConfig {
            channels: args.channels.map(|order| match order {
                ChannelOrder::Rgb => Channels::Rgb,
                ChannelOrder::Bgr => Channels::Bgr,
            }),
            scale: args.scale,
            mean: triple(&args.mean, "--mean")?,
            std: triple(&args.std, "--std")?,
            ..ModelConfig::default()
        },
        classes: args.classes.as_deref().map(classes).transpose()?.unwrap_or_default(),
        pictures: args.images.clone(),
    };
    let runtime = RuntimeConfig { library: args.library.clone(), ..RuntimeConfig::default() };
    let bar = progress::bar(None, "");
    bar.set_message("preparing and comparing with the original");
    let prepared = prepare::prepare(&request, &args.output, &runtime);
    bar.finish_and_clear();
    let prepared = prepared?;
    answer(args.json, &prepared)
}

/// None, one for all channels, or three numbers.
fn triple(numbers: &[f32], flag: &str) -> Result<Option<[f32; 3]>, ConfigError> {
    match *numbers {
        [] => Ok(None),
        [all] => Ok(Some([all; 3])),
        [a, b, c] => Ok(Some([a, b, c])),
        _ => Err(ConfigError::Invalid(format!(
            "{flag} takes one number or three (red, green, blue), not {}",
            numbers.len()
        ))),
    }
}

/// The names in a list or in a file.
fn classes(given: &str) -> Result<Vec<String>> {
    let path = Path::new(given);
    let text = match path.is_file() {
        true => std::fs::read_to_string(path).with_context(|| format!("--classes {given}"))?,
        false => given.replace(',', "\n"),
    };
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_and_classes_are_read() {
        assert_eq!(triple(&[0.5], "--mean").unwrap(), Some([0.5; 3]));
        assert!(triple(&[0.5, 0.5], "--mean").unwrap_err().to_string().contains("--mean takes"));
        assert_eq!(classes("road, car").unwrap(), ["road", "car"]);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("classes.txt");
        std::fs::write(&path, "road\n\ntraffic light\n").unwrap();
        assert_eq!(classes(path.to_str().unwrap()).unwrap(), ["road", "traffic light"]);
    }
}
