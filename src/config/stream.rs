//! One `[[stream]]` with the settings that hold for it: the common sections, and what it has of its own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Config, ConfigError};
use crate::overlay::OverlayConfig;
use crate::score::ScoreConfig;
use crate::sink::{OutputConfig, is_stream_name};
use crate::source::SourceConfig;

/// What holds for one stream.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamConfig {
    /// Its name, if it has one: its mount points, and what events call it.
    pub name: Option<Arc<str>>,
    /// What is read and how.
    pub source: SourceConfig,
    /// Threshold, region of interest, events.
    pub score: ScoreConfig,
    /// How findings are drawn.
    pub overlay: OverlayConfig,
    /// How its video is encoded and where it is recorded.
    pub output: OutputConfig,
}

impl StreamConfig {
    /// What a stream without a name is called.
    pub const UNNAMED: &str = "stream";

    /// Its name, or [`StreamConfig::UNNAMED`].
    pub fn called(&self) -> &str {
        self.name.as_deref().unwrap_or(StreamConfig::UNNAMED)
    }
}

impl Config {
    /// All streams, each with the settings that hold for it. Of several, each records to a file of its own:
    /// `drive-front.mp4` where `output.record` is `drive.mp4`.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`]: names that are missing, no names, or taken twice; keys of its own that cannot be.
    pub fn each_stream(&self) -> Result<Vec<StreamConfig>, ConfigError> {
        let several = self.streams.len() > 1;
        let mut names = BTreeSet::new();
        let invalid = |why: String| ConfigError::Invalid(why);
        let mut found = Vec::new();
        for (at, source) in self.streams.iter().enumerate() {
            if let Some(name) = &source.name {
                if !is_stream_name(name) {
                    return Err(invalid(format!(
                        "stream.name is {name:?}, give 1 to 64 letters, digits, - and _, a letter or digit first, such as \
                         \"front\""
                    )));
                }
                if !names.insert(name) {
                    return Err(invalid(format!("stream.name is {name:?} twice: give each stream its own")));
                }
            } else if several {
                return Err(invalid(format!(
                    "stream {} of {} has no name: of several streams each needs one, such as name = \"front\"",
                    at + 1,
                    self.streams.len()
                )));
            }
            let mut stream = StreamConfig {
                name: source.name.as_deref().map(Arc::from),
                score: own(&self.score, &source.score, Some(ScoreConfig::OF_STREAM))
                    .map_err(|why| of(source, "score", &why))?,
                overlay: own(&self.overlay, &source.overlay, None)
                    .map_err(|why| of(source, "overlay", &why))?,
                output: own(&self.output, &source.output, Some(OutputConfig::OF_STREAM))
                    .map_err(|why| of(source, "output", &why))?,
                source: source.clone(),
            };
            if let (true, Some(path), Some(name)) = (several, &self.output.record, &source.name)
                && !source.output.contains_key("record")
            {
                stream.output.record = Some(beside(path, name));
            }
            let checked = stream.score.check().and_then(|()| stream.overlay.check());
            checked
                .and_then(|()| stream.output.check())
                .map_err(|why| invalid(format!("stream {:?}: {why}", stream.called())))?;
            found.push(stream);
        }
        Ok(found)
    }

    /// Leaves only the stream with this name.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with the names that there are.
    pub fn only(&mut self, name: &str) -> Result<(), ConfigError> {
        let known: Vec<_> = self.streams.iter().filter_map(|stream| stream.name.clone()).collect();
        self.streams.retain(|stream| stream.name.as_deref() == Some(name));
        match self.streams.is_empty() {
            false => Ok(()),
            true if known.is_empty() => {
                Err(ConfigError::Invalid(format!("there is no stream {name:?}: no [[stream]] has a name")))
            }
            true => Err(ConfigError::Invalid(format!(
                "there is no stream {name:?}; the configuration has {}",
                known.join(", ")
            ))),
        }
    }

    /// The stream to be watched, where a command watches one.
    ///
    /// # Errors
    /// As [`Config::each_stream`]; [`ConfigError::Invalid`] if there are several.
    pub fn one_stream(&self, command: &str) -> Result<StreamConfig, ConfigError> {
        let mut streams = self.each_stream()?;
        match (streams.pop(), streams.len()) {
            (Some(stream), 0) => Ok(stream),
            (None, _) => Err(ConfigError::Invalid("nothing to watch: there is no [[stream]]".into())),
            (Some(last), others) => Err(ConfigError::Invalid(format!(
                "{} [[stream]] tables, and farout {command} takes one: choose it with --stream NAME, such as {}",
                others + 1,
                last.called()
            ))),
        }
    }
}

/// What is wrong with a section that a stream has of its own.
fn of(stream: &SourceConfig, section: &str, why: &str) -> ConfigError {
    let called = stream.name.as_deref().unwrap_or("stream");
    ConfigError::Invalid(format!("stream {called:?}: {section}: {}", why.trim()))
}

/// The `common` section with the keys of `own` in their places; if `allowed` says which, only those may be there.
fn own<T: Clone + Serialize + DeserializeOwned>(
    common: &T,
    own: &toml::Table,
    allowed: Option<&[&str]>,
) -> Result<T, String> {
    if own.is_empty() {
        return Ok(common.clone());
    }
    if let Some(allowed) = allowed
        && let Some(key) = own.keys().find(|key| !allowed.contains(&key.as_str()))
    {
        return Err(format!("a stream has no {key} of its own; it may have {}", allowed.join(", ")));
    }
    let mut table = toml::Table::try_from(common).map_err(|why| why.to_string())?;
    table.extend(own.clone());
    table.try_into().map_err(|why: toml::de::Error| why.to_string())
}

/// `drive-front.mp4` for `drive.mp4` and `front`.
fn beside(path: &Path, name: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let ending = path.extension().map(|e| format!(".{}", e.to_string_lossy())).unwrap_or_default();
    path.with_file_name(format!("{stem}-{name}{ending}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::ThresholdSetting;

    fn read(text: &str) -> Config {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn a_stream_has_the_common_settings_but_for_its_own() {
        let config = read(
            r#"
            [[stream]]
            name = "front"
            source = "rtsp://front/1"
            [stream.score]
            threshold = 12.5
            roi = [[0.0, 1.0], [0.5, 0.5], [1.0, 1.0]]
            [stream.output]
            bitrate_kbps = 900

            [[stream]]
            name = "rear"
            source = "rtsp://rear/1"
            [stream.overlay]
            colormap = "viridis"
            [stream.output]
            record = "behind.mp4"

            [score]
            event_frames = 3
            [output]
            record = "drives/drive.mp4"
            bitrate_kbps = 2000
            "#,
        );
        config.check().unwrap();
        let streams = config.each_stream().unwrap();
        let [front, rear] = &streams[..] else { panic!("{streams:?}") };
        assert_eq!((front.called(), rear.called()), ("front", "rear"));
        assert_eq!(front.score.threshold, ThresholdSetting::Fixed(12.5));
        assert_eq!(rear.score.threshold, ThresholdSetting::Auto);
        assert!(front.score.roi.is_some() && rear.score.roi.is_none());
        assert_eq!((front.score.event_frames, rear.score.event_frames), (3, 3));
        assert_eq!((front.output.bitrate_kbps, rear.output.bitrate_kbps), (900, 2000));
        assert_ne!(front.overlay.colormap, rear.overlay.colormap);
        let record = |stream: &StreamConfig| stream.output.record.clone().unwrap();
        assert_eq!(record(front), Path::new("drives/drive-front.mp4"));
        assert_eq!(record(rear), Path::new("behind.mp4"));
        let why = config.one_stream("replay").unwrap_err().to_string();
        assert!(why.contains("--stream NAME"), "{why}");
        let mut rear = config;
        rear.only("rear").unwrap();
        assert_eq!(rear.one_stream("replay").unwrap().called(), "rear");
    }

    #[test]
    fn what_cannot_be_is_named() {
        let two = |first: &str, second: &str| {
            format!("[[stream]]\nname = \"front\"\n{first}\n[[stream]]\n{second}\n")
        };
        for (text, want) in [
            (two("", ""), "stream 2 of 2 has no name"),
            (two("", "name = \"front\""), "is \"front\" twice"),
            (two("", "name = \"a b\""), "letters, digits"),
            (two("", "name = \"\""), "letters, digits"),
            (two("[stream.score]\nmethod = \"lse\"", "name = \"b\""), "has no method of its own"),
            (two("[stream.score]\ntreshold = 1", "name = \"b\""), "has no treshold of its own"),
            (two("[stream.score]\nthreshold = []", "name = \"b\""), "stream \"front\": score: "),
            (two("[stream.score]\nroi_margin = nan", "name = \"b\""), "roi_margin"),
            (two("[stream.output]\nrtsp = \"off\"", "name = \"b\""), "has no rtsp of its own"),
            (two("[stream.output]\nwidth = 99999", "name = \"b\""), "output.width"),
            (two("[stream.overlay]\nopacity = 7", "name = \"b\""), "opacity"),
        ] {
            let why = read(&text).check().unwrap_err().to_string();
            assert!(why.contains(want), "{text}: {why}");
        }
        let mut config = read(&two("", "name = \"rear\""));
        let why = config.only("left").unwrap_err().to_string();
        assert!(why.contains("there is no stream \"left\"; the configuration has front, rear"), "{why}");
    }
}
