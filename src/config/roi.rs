//! The `[roi]` section: a second, small model that tells where alarms count.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::{Channels, InputSize, ModelConfig};
use crate::ranges::within;
use crate::score::Class;

/// The `[roi]` section. What is left out of the model's input comes from the section that a prepared file carries inside
/// itself (metadata key `farout.model`), else from the defaults of `[model]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoiConfig {
    /// The ONNX file of a model that tells the road; empty, the default, for none.
    pub model: PathBuf,
    /// Its output, or inner tensor, that holds the class scores, before any softmax. Default: what a prepared file says,
    /// else the only output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// Classes (numbers from 0, or names if the file tells them) that are road.
    pub classes: Vec<Class>,
    /// By how much of the picture's height the road is widened. Default 0.05.
    pub margin: f32,
    /// It runs on every n-th judged frame of a stream; between, the road is carried along the motion of the picture.
    /// Default 5.
    pub every: u32,
    /// As `model.size`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<InputSize>,
    /// As `model.height`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<usize>,
    /// As `model.multiple`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multiple: Option<usize>,
    /// As `model.channels`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<Channels>,
    /// As `model.scale`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<f32>,
    /// As `model.mean`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<[f32; 3]>,
    /// As `model.std`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub std: Option<[f32; 3]>,
}

impl Default for RoiConfig {
    fn default() -> Self {
        RoiConfig {
            model: PathBuf::new(),
            output: None,
            classes: Vec::new(),
            margin: 0.05,
            every: 5,
            size: None,
            height: None,
            multiple: None,
            channels: None,
            scale: None,
            mean: None,
            std: None,
        }
    }
}

impl RoiConfig {
    /// Whether there is such a model.
    pub fn has_model(&self) -> bool {
        !self.model.as_os_str().is_empty()
    }

    /// The model as a `[model]` section.
    pub fn model_config(&self) -> ModelConfig {
        ModelConfig {
            path: self.model.clone(),
            size: self.size,
            height: self.height,
            multiple: self.multiple,
            channels: self.channels,
            scale: self.scale,
            mean: self.mean,
            std: self.std,
            logits: self.output.clone(),
            ..ModelConfig::default()
        }
    }

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The key and what it may be.
    pub fn check(&self) -> Result<(), String> {
        within(
            "roi",
            &[("margin", f64::from(self.margin), 0.0, 1.0), ("every", self.every.into(), 1.0, 1e6)],
        )?;
        self.model_config().check().map_err(|why| why.replacen("model.", "roi.", 1))?;
        match (self.has_model(), self.classes.is_empty()) {
            (true, true) => {
                Err("roi.classes is empty: say which classes of roi.model are road, by number from 0 or, if \
                                 the file tells them, by name"
                    .into())
            }
            (false, false) => {
                Err("roi.classes are those of roi.model, which is not given: name its file".into())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn what_cannot_be_is_named() {
        let base = "[roi]\nmodel = \"road.onnx\"\nclasses = [\"road\"]\n";
        let check = |text: &str| -> Result<(), String> {
            let config: Config = toml::from_str(text).map_err(|why| why.to_string())?;
            config.check().map_err(|why| why.to_string())
        };
        assert_eq!(check(base), Ok(()));
        assert_eq!(check(&format!("{base}[score]\nroi = [[0, 1], [0.5, 0.5], [1, 1]]")), Ok(()));
        for (text, want) in [
            ("[roi]\nmodel = \"road.onnx\"".to_owned(), "roi.classes is empty"),
            ("[roi]\nclasses = [1]".to_owned(), "roi.model"),
            (format!("{base}every = 0"), "roi.every"),
            (format!("{base}margin = 2.0"), "roi.margin"),
            (format!("{base}std = [1.0, 0.0, 1.0]"), "roi.std"),
            (format!("{base}height = 0"), "roi.height"),
            (format!("{base}features = \"x\""), "features"),
            (format!("{base}[score]\nroi_classes = [1]"), "score.roi_classes"),
            (
                format!("{base}[[stream]]\nname = \"a\"\nsource = \"x\"\n[stream.score]\nroi_classes = [1]"),
                "score.roi_classes",
            ),
        ] {
            let why = check(&text).unwrap_err();
            assert!(why.contains(want), "{text}: {why}");
        }
    }
}
