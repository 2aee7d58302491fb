//! The whole TOML file, made of each part's own section; flags override its common keys.

pub mod detector_file;
mod roi;
mod stream;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::bank::SupplementConfig;
use crate::features::RuntimeConfig;
use crate::foxglove::FoxgloveConfig;
use crate::model::ModelConfig;
use crate::mqtt::MqttConfig;
use crate::nearest::SearchConfig;
use crate::overlay::OverlayConfig;
use crate::ranges::within;
use crate::score::ScoreConfig;
use crate::secret::is_credential;
use crate::sink::{AccessConfig, EventsConfig, OutputConfig};
use crate::source::{SourceConfig, masked};
use crate::views::ViewsConfig;

pub use detector_file::{DetectorFile, DetectorSearch, Horizon, Provenance};
pub use roi::RoiConfig;
pub use stream::StreamConfig;

/// Everything that a run can be told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `[[stream]]`: what is watched, any number.
    #[serde(rename = "stream")]
    pub streams: Vec<SourceConfig>,
    /// `[model]`: the segmentation model and the tensors to take from it.
    pub model: ModelConfig,
    /// `[views]`: what is looked at besides the whole picture.
    pub views: ViewsConfig,
    /// `[runtime]`: ONNX Runtime, its devices and threads.
    pub runtime: RuntimeConfig,
    /// `[bank]`: the reference features.
    pub bank: BankConfig,
    /// `[search]`: the nearest-neighbour search.
    pub search: SearchConfig,
    /// `[score]`: scores, threshold, regions and events.
    pub score: ScoreConfig,
    /// `[roi]`: a second model that tells where alarms count.
    pub roi: RoiConfig,
    /// `[overlay]`: how findings are drawn.
    pub overlay: OverlayConfig,
    /// `[output]`: servers, encoder, files.
    pub output: OutputConfig,
    /// `[access]`: who may watch and steer over the network.
    pub access: AccessConfig,
    /// `[events]`: clips and snapshots.
    pub events: EventsConfig,
    /// `[supplement]`: what was marked as normal.
    pub supplement: SupplementConfig,
    /// `[mqtt]`: a broker that is told of state and events.
    pub mqtt: MqttConfig,
    /// `[foxglove]`: topics for the tools of robotics.
    pub foxglove: FoxgloveConfig,
    /// `[flow]`: the pipeline itself.
    pub flow: FlowConfig,
    /// `detector`: a folder made by `farout learn`, as `--detector` names one. A key of the file alone: what it brings is in the
    /// sections.
    #[serde(rename = "detector", skip_serializing)]
    pub detector_folder: Option<PathBuf>,
    /// The name of the detector's folder, if all that scores depend on comes from one ([`Config::take_detector`]).
    #[serde(skip)]
    pub detector: Option<String>,
}

/// The `[bank]` section.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BankConfig {
    /// The bank file, made by `farout bank build`.
    pub path: PathBuf,
}

/// The `[flow]` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlowConfig {
    /// Most frames under way at once in `run`, 1 to 32. Once the stages' times are known, only as many are
    /// let in as keep the slowest stage busy, since others would only wait before it. Default 3.
    pub in_flight: usize,
    /// How long files are given to be finished after a stop was asked, in seconds. Default 10.
    pub drain_secs: f64,
    /// By how much threads of model and search give way to those of pictures, encoder and network: steps of `nice`, 0 to 19.
    /// Default 10.
    pub detection_nice: u32,
    /// `run`: verdicts per second that the streams should get on average. With fewer for 10 seconds, though pictures wait, the
    /// detector goes down the `ladder`. Default 0: it stays as configured.
    pub least_verdicts: f64,
    /// What a detector that is too slow works with instead, best first; it goes back up when it can. Default: nothing.
    pub ladder: Vec<Rung>,
}

/// One step of the ladder: what differs from the configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rung {
    /// Input height of the model instead of `model.size` and `model.height`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<usize>,
    /// Another bank: built at this height, or with fewer references.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bank: Option<PathBuf>,
}

impl std::fmt::Display for Rung {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let height = self.height.map(|height| format!("height {height}"));
        let bank = self.bank.as_ref().map(|bank| format!("bank {}", bank.display()));
        f.write_str(&height.into_iter().chain(bank).collect::<Vec<_>>().join(", "))
    }
}

impl Default for FlowConfig {
    fn default() -> Self {
        FlowConfig {
            in_flight: 3,
            drain_secs: 10.0,
            detection_nice: 10,
            least_verdicts: 0.0,
            ladder: Vec::new(),
        }
    }
}

impl FlowConfig {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The key and what it may be.
    pub fn check(&self) -> Result<(), String> {
        let in_flight = ("in_flight", self.in_flight as f64, 1.0, 32.0);
        let nice = ("detection_nice", f64::from(self.detection_nice), 0.0, 19.0);
        let least = ("least_verdicts", self.least_verdicts, 0.0, 1000.0);
        within("flow", &[in_flight, ("drain_secs", self.drain_secs, 0.0, 3600.0), nice, least])?;
        match self.ladder.iter().any(|rung| *rung == Rung::default()) {
            true => {
                Err("flow.ladder has a step that changes nothing: give it a height, a bank or both".into())
            }
            false => Ok(()),
        }
    }
}

/// What is wrong with a configuration, and where.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {why}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: std::io::Error,
    },
    /// The file is no TOML, has an unknown key or a value of a wrong type.
    #[error("{path}: {why}", path = path.display(), why = masked(&why.to_string()))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The parser's words: line, column, key. They quote the line: passwords are hidden when shown.
        why: Box<toml::de::Error>,
    },
    /// A value that cannot be, or a key that is missing; names the key and what it may be.
    #[error("{0}")]
    Invalid(String),
}

impl Config {
    /// Reads `path`; paths in the file are relative to its folder.
    ///
    /// # Errors
    /// [`ConfigError`], naming file, line and key.
    pub fn read(path: &Path) -> Result<Config, ConfigError> {
        Config::read_as_written(path).map(|(config, _)| config)
    }

    /// As [`Config::read`], with what stands in the file.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub fn read_as_written(path: &Path) -> Result<(Config, toml::Table), ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|why| ConfigError::Unreadable { path: path.to_owned(), why })?;
        let wrong = |why| ConfigError::Malformed { path: path.to_owned(), why: Box::new(why) };
        let mut config: Config = toml::from_str(&text).map_err(wrong)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        config.resolve(folder);
        Ok((config, toml::from_str(&text).map_err(wrong)?))
    }

    /// Makes the relative paths of the file relative to `folder`.
    fn resolve(&mut self, folder: &Path) {
        let below = |path: &mut PathBuf| {
            if !path.as_os_str().is_empty() && path.is_relative() && !is_credential(path) {
                *path = folder.join(&*path);
            }
        };
        self.detector_folder.iter_mut().for_each(below);
        below(&mut self.model.path);
        below(&mut self.bank.path);
        below(&mut self.roi.model);
        self.search.kernels.iter_mut().for_each(below);
        self.runtime.library.iter_mut().for_each(below);
        self.runtime.engines.iter_mut().for_each(below);
        self.runtime.provider.values_mut().filter_map(|one| one.library.as_mut()).for_each(below);
        self.output.events.iter_mut().filter(|path| path.as_os_str() != "-").for_each(below);
        self.output.record.iter_mut().for_each(below);
        self.access.paths_mut().for_each(below);
        self.events.folder.iter_mut().for_each(below);
        self.supplement.folder.iter_mut().for_each(below);
        let MqttConfig { password_file, authorities, .. } = &mut self.mqtt;
        password_file.iter_mut().chain(authorities).for_each(below);
        self.foxglove.record.iter_mut().for_each(below);
        self.flow.ladder.iter_mut().filter_map(|rung| rung.bank.as_mut()).for_each(below);
        for stream in &mut self.streams {
            for key in ["events", "record"] {
                if let Some(toml::Value::String(own)) = stream.output.get_mut(key)
                    && own != "-"
                {
                    let mut path = PathBuf::from(&*own);
                    below(&mut path);
                    *own = path.to_string_lossy().into_owned();
                }
            }
            stream.password_file.iter_mut().for_each(below);
            // Anything without a scheme is a path or a glob of files.
            let source = stream.source.secret();
            if !source.contains(':') && Path::new(source).is_relative() {
                stream.source = folder.join(source).to_string_lossy().into_owned().into();
            }
        }
    }

    /// The configuration that many steps down the ladder; 0 is the configuration itself, and so is what lies below the
    /// last step.
    pub fn at_rung(&self, rung: usize) -> Config {
        let mut config = self.clone();
        if let Some(rung) = rung.checked_sub(1).and_then(|at| self.flow.ladder.get(at)) {
            if let Some(height) = rung.height {
                (config.model.size, config.model.height) = (None, Some(height));
            }
            config.bank.path = rung.bank.clone().unwrap_or(config.bank.path);
        }
        config
    }

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with the key and what it may be.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.flow.check().map_err(ConfigError::Invalid)?;
        self.search.check().map_err(ConfigError::Invalid)?;
        self.streams.iter().try_for_each(SourceConfig::check).map_err(ConfigError::Invalid)?;
        self.model.check().map_err(ConfigError::Invalid)?;
        self.output.check().map_err(ConfigError::Invalid)?;
        self.access.check().map_err(ConfigError::Invalid)?;
        self.events.check().map_err(ConfigError::Invalid)?;
        self.supplement.check().map_err(ConfigError::Invalid)?;
        self.mqtt.check().map_err(ConfigError::Invalid)?;
        self.foxglove.check(self.access.anyone).map_err(ConfigError::Invalid)?;
        self.overlay.check().map_err(ConfigError::Invalid)?;
        self.runtime.check().map_err(ConfigError::Invalid)?;
        self.score.check().map_err(ConfigError::Invalid)?;
        self.views.check().map_err(ConfigError::Invalid)?;
        self.roi.check().map_err(ConfigError::Invalid)?;
        let streams = self.each_stream()?;
        let mut scores = std::iter::once(&self.score).chain(streams.iter().map(|stream| &stream.score));
        match self.roi.has_model() && scores.any(|score| !score.roi_classes.is_empty()) {
            true => Err(ConfigError::Invalid(
                "score.roi_classes takes the road from the main model's logits and roi.model from a second one: keep one \
                 of them"
                    .into(),
            )),
            false => Ok(()),
        }
    }
}
