//! What a synthetic drive is asked for: `key=value` pairs separated by commas.

use std::str::FromStr;

use super::stranger::{KINDS, Kind};

/// The wishes behind one synthetic drive; the same wishes give the same frames, bit for bit.
#[derive(Debug, Clone, PartialEq)]
pub struct SyntheticConfig {
    /// Chooses the road, everything beside it and the weather.
    pub seed: u64,
    /// Picture width in pixels, 64 to 4096, even.
    pub width: usize,
    /// Picture height in pixels, 64 to 4096, even.
    pub height: usize,
    /// Frames per second of the drive.
    pub fps: u32,
    /// Whether things appear that the normal world does not have.
    pub strangers: bool,
    /// Of what kinds these are; empty: of all.
    pub kinds: Vec<Kind>,
    /// How many frames until the drive ends; endless if absent.
    pub frames: Option<u64>,
    /// Frame n of the source is frame `n * stride` of the drive: more variety in fewer frames.
    pub stride: u64,
}

impl Default for SyntheticConfig {
    fn default() -> Self {
        SyntheticConfig {
            seed: 1,
            width: 640,
            height: 360,
            fps: 30,
            strangers: true,
            kinds: Vec::new(),
            frames: None,
            stride: 1,
        }
    }
}

/// What is wrong with a `synthetic:` source's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SyntheticError {
    /// Not of the form `key=value`.
    #[error("synthetic source: {0:?} is not key=value; write for example synthetic:seed=7,strangers=off")]
    NotAPair(String),
    /// A key that does not exist.
    #[error(
        "synthetic source: unknown key {0:?}; there are seed, width, height, fps, strangers, kinds, frames and stride"
    )]
    UnknownKey(String),
    /// A value that the key cannot have.
    #[error("synthetic source: {key}={value} is not possible; {key} is {wants}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// The value as written.
        value: String,
        /// What the key takes.
        wants: &'static str,
    },
}

impl SyntheticConfig {
    /// Reads what follows `synthetic:`, such as `seed=7,width=640,height=360,strangers=off,frames=600`.
    /// Nothing at all means the defaults.
    pub fn parse(spec: &str) -> Result<Self, SyntheticError> {
        let mut config = SyntheticConfig::default();
        for pair in spec.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let Some((key, value)) = pair.split_once('=') else {
                return Err(SyntheticError::NotAPair(pair.to_string()));
            };
            let value = value.trim();
            match key.trim() {
                "seed" => config.seed = number("seed", value, "a whole number from 0", |_| true)?,
                "width" => config.width = number("width", value, SIDE, side)?,
                "height" => config.height = number("height", value, SIDE, side)?,
                "fps" => {
                    config.fps =
                        number("fps", value, "a whole number from 1 to 240", |n| (1..=240).contains(n))?
                }
                "strangers" => config.strangers = switch("strangers", value)?,
                "kinds" => config.kinds = kinds(value)?,
                "frames" => {
                    config.frames = Some(number("frames", value, "a whole number from 1", |n| *n > 0)?)
                }
                "stride" => {
                    config.stride = number("stride", value, "a whole number from 1 to 1000000", |n| {
                        (1..=1_000_000).contains(n)
                    })?
                }
                other => return Err(SyntheticError::UnknownKey(other.to_string())),
            }
        }
        Ok(config)
    }
}

const SIDE: &str = "an even number from 64 to 4096";

fn side(n: &usize) -> bool {
    (64..=4096).contains(n) && n.is_multiple_of(2)
}

fn number<T: FromStr>(
    key: &'static str,
    value: &str,
    wants: &'static str,
    fits: impl Fn(&T) -> bool,
) -> Result<T, SyntheticError> {
    match value.parse() {
        Ok(n) if fits(&n) => Ok(n),
        _ => Err(SyntheticError::BadValue { key, value: value.to_string(), wants }),
    }
}

/// Kinds joined by `+`.
fn kinds(value: &str) -> Result<Vec<Kind>, SyntheticError> {
    let kind = |name: &str| KINDS.into_iter().find(|kind| kind.name() == name);
    let wants = "animal, tyre, sofa, ladder, ball, carton, barrel, trolley, log, rubble or tent, or several joined by +";
    let wrong = || SyntheticError::BadValue { key: "kinds", value: value.to_string(), wants };
    value.split('+').map(|name| kind(name.trim()).ok_or_else(wrong)).collect()
}

fn switch(key: &'static str, value: &str) -> Result<bool, SyntheticError> {
    match value {
        "on" | "true" => Ok(true),
        "off" | "false" => Ok(false),
        _ => Err(SyntheticError::BadValue { key, value: value.to_string(), wants: "on or off" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_means_the_defaults() {
        assert_eq!(SyntheticConfig::parse(""), Ok(SyntheticConfig::default()));
    }

    #[test]
    fn every_key_is_read() {
        let read = SyntheticConfig::parse(
            "seed=7, width=320,height=180,fps=25,strangers=off,kinds=tyre+log,frames=600,stride=11",
        );
        let want = SyntheticConfig {
            seed: 7,
            width: 320,
            height: 180,
            fps: 25,
            strangers: false,
            kinds: vec![Kind::Tyre, Kind::Log],
            frames: Some(600),
            stride: 11,
        };
        assert_eq!(read, Ok(want));
    }

    #[test]
    fn errors_name_the_key() {
        for (spec, word) in [
            ("sed=7", "sed"),
            ("width=63", "width"),
            ("height=99999", "height"),
            ("fps=0", "fps"),
            ("strangers=maybe", "strangers"),
            ("kinds=tyre+tire", "kinds"),
            ("kinds=", "kinds"),
            ("frames=0", "frames"),
            ("stride=0", "stride"),
            ("seed", "seed"),
        ] {
            let error = SyntheticConfig::parse(spec).unwrap_err().to_string();
            assert!(error.contains(word), "{spec}: {error}");
        }
    }
}
