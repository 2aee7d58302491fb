//! A detector as a folder: `detector.toml` with all that a score depends on, the model, the bank.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{BankConfig, Config, ConfigError, RoiConfig};
use crate::model::ModelConfig;
use crate::score::ScoreConfig;
use crate::views::ViewsConfig;
use crate::written::is_default;

/// The name of the file in the folder.
pub const FILE: &str = "detector.toml";

/// `detector.toml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DetectorFile {
    /// `[detector]`: where it comes from.
    pub detector: Provenance,
    /// `[model]`.
    pub model: ModelConfig,
    /// `[bank]`.
    pub bank: BankConfig,
    /// `[search]`.
    pub search: DetectorSearch,
    /// `[views]`.
    #[serde(skip_serializing_if = "is_default")]
    pub views: ViewsConfig,
    /// `[score]`.
    pub score: ScoreConfig,
    /// `[roi]`.
    #[serde(skip_serializing_if = "is_default")]
    pub roi: RoiConfig,
}

/// `[detector]`: for people and for `farout learn --more`; no score depends on it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Provenance {
    /// Version of farout that learnt it.
    pub farout: String,
    /// When, in UTC.
    pub made: String,
    /// The recipe.
    pub recipe: String,
    /// What was given as footage.
    pub footage: Vec<String>,
    /// Pictures that were learnt from, held-out ones included.
    pub pictures: u64,
    /// In how many calls: the first, and one for each `farout learn --more`.
    pub sets: usize,
    /// SHA-256 of the model file.
    pub model_sha256: String,
    /// SHA-256 of the bank file.
    pub bank_sha256: String,
    /// `[detector.horizon]`: to which horizon the recipe's views were moved, if it asks for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub horizon: Option<Horizon>,
}

/// The horizon of a detector's footage, and how it is known.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Horizon {
    /// Its row as a share of the height, 0 above.
    pub row: f64,
    /// Whether it was neither given nor found: it is where the recipe's views expect it.
    pub assumed: bool,
    /// How it is known, or why it is not, in words.
    pub basis: String,
}

impl std::fmt::Display for Horizon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Horizon { row, assumed, basis } = self;
        match assumed {
            true => write!(f, "{row} of the height (assumed: {basis})"),
            false => write!(f, "{row} of the height ({basis})"),
        }
    }
}

/// The part of `[search]` that scores depend on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DetectorSearch {
    /// Neighbours. Default 3.
    pub k: usize,
}

impl Default for DetectorSearch {
    fn default() -> Self {
        DetectorSearch { k: 3 }
    }
}

/// Takes `key` of `[score]` from `from`, if it is one that a vehicle's configuration may set otherwise: those that decide what
/// is done about a score, not what it is. Says whether it is.
fn take_free(key: &str, from: &ScoreConfig, to: &mut ScoreConfig) -> bool {
    match key {
        "threshold" => to.threshold = from.threshold,
        "false_frame_rate" => to.false_frame_rate = from.false_frame_rate,
        "min_region_px" => to.min_region_px = from.min_region_px,
        "scene_share" => to.scene_share = from.scene_share,
        "scene_frames" => to.scene_frames = from.scene_frames,
        "event_frames" => to.event_frames = from.event_frames,
        "event_window" => to.event_window = from.event_window,
        "event_reach" => to.event_reach = from.event_reach,
        "event_gap_frames" => to.event_gap_frames = from.event_gap_frames,
        "roi" => to.roi.clone_from(&from.roi),
        "roi_classes" => to.roi_classes.clone_from(&from.roi_classes),
        "roi_margin" => to.roi_margin = from.roi_margin,
        _ => return false,
    }
    true
}

impl DetectorFile {
    /// Reads the file in `folder`; paths become relative to nothing but the working folder.
    ///
    /// # Errors
    /// [`ConfigError`]: no such file, or what is wrong with it, with line and key.
    pub fn read(folder: &Path) -> Result<DetectorFile, ConfigError> {
        let path = folder.join(FILE);
        let text = std::fs::read_to_string(&path).map_err(|why| match folder.is_dir() {
            true if why.kind() == std::io::ErrorKind::NotFound => ConfigError::Invalid(format!(
                "{} is no detector: it has no {FILE}. farout learn makes one from footage of normal driving",
                folder.display()
            )),
            _ => ConfigError::Unreadable { path: path.clone(), why },
        })?;
        let mut file: DetectorFile =
            toml::from_str(&text).map_err(|why| ConfigError::Malformed { path, why: Box::new(why) })?;
        for path in [&mut file.model.path, &mut file.bank.path, &mut file.roi.model] {
            if !path.as_os_str().is_empty() && path.is_relative() {
                *path = folder.join(&*path);
            }
        }
        Ok(file)
    }
}

impl Config {
    /// Takes all that a score depends on from the detector in `folder`. `told` is the configuration as it was written, with
    /// the name of its file: what contradicts the detector there is refused; thresholds, least areas, events and regions of
    /// interest in it win.
    ///
    /// # Errors
    /// [`ConfigError`]: a detector that cannot be read; the key that contradicts it.
    pub fn take_detector(
        &mut self,
        folder: &Path,
        told: Option<(&Path, &toml::Table)>,
    ) -> Result<(), ConfigError> {
        let detector = DetectorFile::read(folder)?;
        let known = toml::Value::try_from(&detector.score)
            .map_err(|why| ConfigError::Invalid(format!("{}: {why}", folder.display())))?;
        let mut score = detector.score;
        if let Some((path, table)) = told {
            let refuse = |key: &str| {
                ConfigError::Invalid(format!(
                    "{} sets {key}, which the detector {} decides: take it out of the file, or leave the detector out",
                    path.display(),
                    folder.display()
                ))
            };
            let section = |name: &str| table.get(name).and_then(toml::Value::as_table);
            for name in ["model", "bank", "views"] {
                if let Some(key) = section(name).and_then(|keys| keys.keys().next()) {
                    return Err(refuse(&format!("{name}.{key}")));
                }
            }
            let k = section("search").and_then(|keys| keys.get("k")).and_then(toml::Value::as_integer);
            if k.is_some_and(|k| usize::try_from(k) != Ok(detector.search.k)) {
                return Err(refuse("search.k"));
            }
            let contradicts = |keys: &toml::Table| {
                let other = |(key, value): &(&String, &toml::Value)| {
                    let mut scratch = ScoreConfig::default();
                    !take_free(key, &self.score, &mut scratch) && !same(known.get(key.as_str()), value)
                };
                keys.iter().find(other).map(|(key, _)| format!("score.{key}"))
            };
            if let Some(key) = section("score").and_then(contradicts) {
                return Err(refuse(&key));
            }
            let streams = table.get("stream").and_then(toml::Value::as_array).into_iter().flatten();
            for stream in streams {
                let own = stream.get("score").and_then(toml::Value::as_table);
                if let Some(key) = own.and_then(contradicts) {
                    return Err(refuse(&format!("stream.{key}")));
                }
            }
            for key in section("score").into_iter().flat_map(toml::Table::keys) {
                take_free(key, &self.score, &mut score);
            }
        }
        let real = std::fs::canonicalize(folder).ok();
        let name = real.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        self.detector = name;
        if !self.roi.has_model() {
            self.roi = detector.roi;
        }
        self.score = score;
        self.model = detector.model;
        self.bank = detector.bank;
        self.views = detector.views;
        self.search.k = detector.search.k;
        Ok(())
    }
}

/// Whether two values are equal, 1 and 1.0 included.
fn same(known: Option<&toml::Value>, told: &toml::Value) -> bool {
    let number = |value: &toml::Value| match value {
        toml::Value::Integer(whole) => Some(*whole as f64),
        // Single precision, as the detector's own was read.
        toml::Value::Float(float) => Some(f64::from(*float as f32)),
        _ => None,
    };
    known.is_some_and(|known| {
        known == told || number(known).zip(number(told)).is_some_and(|(known, told)| known == told)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::ThresholdSetting;

    fn detector() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let text = "[detector]\nrecipe = \"road\"\n[model]\npath = \"model.onnx\"\n[bank]\npath = \"references.bank\"\n\
                    [search]\nk = 5\n[score]\nsmooth = 0.5\nfalse_frame_rate = 0.1\n";
        std::fs::write(dir.path().join(FILE), text).unwrap();
        dir
    }

    fn taken(folder: &Path, text: &str) -> Result<Config, String> {
        let mut config: Config = toml::from_str(text).map_err(|why| why.to_string())?;
        let table: toml::Table = text.parse().map_err(|why: toml::de::Error| why.to_string())?;
        config.take_detector(folder, Some((Path::new("car.toml"), &table))).map_err(|why| why.to_string())?;
        Ok(config)
    }

    #[test]
    fn a_detector_decides_scores_and_a_vehicle_what_is_done_about_them() {
        let dir = detector();
        let config = taken(
            dir.path(),
            "[score]\nthreshold = 4.0\nsmooth = 0.5\nevent_frames = 2\n[search]\nk = 5\nthreads = 1\n[output]\nrtsp = \"off\"\n",
        )
        .unwrap();
        assert_eq!(config.model.path, dir.path().join("model.onnx"));
        assert_eq!(config.bank.path, dir.path().join("references.bank"));
        assert_eq!((config.search.k, config.search.threads), (5, 1));
        assert_eq!(config.score.threshold, ThresholdSetting::Fixed(4.0));
        assert_eq!((config.score.smooth, config.score.event_frames), (0.5, 2));
        assert_eq!(config.score.false_frame_rate, 0.1);
        let mut alone = Config::default();
        alone.take_detector(dir.path(), None).unwrap();
        assert_eq!(alone.detector.as_deref(), dir.path().file_name().and_then(|name| name.to_str()));
        assert_eq!((alone.search.k, alone.score.smooth), (5, 0.5));
    }

    #[test]
    fn what_contradicts_a_detector_is_refused_with_its_key() {
        let dir = detector();
        for (text, key) in [
            ("[model]\nheight = 364", "model.height"),
            ("[bank]\npath = \"other.bank\"", "bank.path"),
            ("[views]\ncombine = \"max\"", "views.combine"),
            ("[search]\nk = 3", "search.k"),
            ("[score]\nsmooth = 1.0", "score.smooth"),
            ("[[stream]]\nsource = \"x\"\n[stream.score]\nhysteresis = 1", "stream.score.hysteresis"),
        ] {
            let why = taken(dir.path(), text).unwrap_err();
            assert!(why.contains(&format!("car.toml sets {key},")), "{text}: {why}");
        }
        let none = tempfile::tempdir().unwrap();
        assert!(taken(none.path(), "").unwrap_err().contains("farout learn"));
        std::fs::write(none.path().join(FILE), "[scores]").unwrap();
        assert!(taken(none.path(), "").unwrap_err().contains("scores"));
    }
}
