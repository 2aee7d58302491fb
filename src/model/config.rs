//! The `[model]` section: which file, what goes in, which tensors come out.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::grid::LogitsKind;
use crate::identity::FeaturePart;
use crate::ranges::within;
use crate::written::stored_as_written;

/// Mean of ImageNet's pixels, red, green, blue, after scaling to 0..=1.
pub const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// Deviation of ImageNet's pixels, red, green, blue, after scaling to 0..=1.
pub const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// The `[model]` section. Whatever is left out comes from the section that a prepared file
/// carries inside itself (metadata key `farout.model`), else from the default named here.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// The ONNX file.
    pub path: PathBuf,
    /// Input size `"WxH"` in pixels: frames are scaled to fit, aspect ratio kept, and padded.
    /// Default: what the file declares, or the frame's own size if it declares none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<InputSize>,
    /// Input height in pixels; the width follows the frame's aspect ratio. Excludes `size`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<usize>,
    /// Input sides are multiples of this many pixels. Default: the patch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multiple: Option<usize>,
    /// Order of the colour channels: `"rgb"` or `"bgr"`. Default: rgb.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<Channels>,
    /// Factor of the 8-bit values before mean and std. Default: 1/255.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<f32>,
    /// Subtracted from each channel after `scale`, in the order of `channels`. Default: ImageNet's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<[f32; 3]>,
    /// Divides each channel after `mean`, in the order of `channels`. Default: ImageNet's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub std: Option<[f32; 3]>,
    /// Name of the tensor that holds the features, output or not: tokens `[1,N,C]` or a map
    /// `[1,C,h,w]`. Default: the only output besides `logits`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub features: Option<String>,
    /// Order of the axes of features with four of them: `"nchw"`, `[1,C,h,w]`, or `"nhwc"`,
    /// `[1,h,w,C]`. Default: nchw; a prepared file says nhwc.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
    /// Class and register tokens at the front that are no patches: a number or `"auto"`.
    /// Default: auto, what exceeds the grid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skip_tokens: Option<SkipTokens>,
    /// Name of the tensor that holds class logits, `[1,K,h,w]` or tokens `[1,N,K]`: scores before any softmax.
    /// Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logits: Option<String>,
    /// What they are: `"classes"` (a softmax makes probabilities of them) or `"masks"` (of a mask classifier:
    /// sums over its queries of class probability times mask, as `farout model prepare` makes them). Default: not
    /// known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logits_kind: Option<LogitsKind>,
    /// Side of a feature's patch in input pixels. Default: found by running the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<usize>,
    /// What the columns of the features are, from the first on: `[{ name = "value:9", width = 384 }, ...]`. A bank
    /// can transform and search the parts one by one. Default: what a prepared file says, else one part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parts: Option<Vec<FeaturePart>>,
}

impl ModelConfig {
    /// This section with `defaults` wherever it says nothing. `size` and `height` are one choice.
    pub fn or(self, defaults: ModelConfig) -> ModelConfig {
        let sized = self.size.is_some() || self.height.is_some();
        ModelConfig {
            path: self.path,
            size: if sized { self.size } else { defaults.size },
            height: if sized { self.height } else { defaults.height },
            multiple: self.multiple.or(defaults.multiple),
            channels: self.channels.or(defaults.channels),
            scale: self.scale.or(defaults.scale),
            mean: self.mean.or(defaults.mean),
            std: self.std.or(defaults.std),
            features: self.features.or(defaults.features),
            layout: self.layout.or(defaults.layout),
            skip_tokens: self.skip_tokens.or(defaults.skip_tokens),
            // What the file says of its own tensor is not true of another one.
            logits_kind: self.logits_kind.or(match &self.logits {
                Some(name) if Some(name) != defaults.logits.as_ref() => None,
                _ => defaults.logits_kind,
            }),
            logits: self.logits.or(defaults.logits),
            patch: self.patch.or(defaults.patch),
            parts: self.parts.or(defaults.parts),
        }
    }

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The key and what it may be.
    pub fn check(&self) -> Result<(), String> {
        let Normalisation { scale, mean, std, .. } = self.normalisation();
        if !scale.is_finite() || scale == 0.0 {
            return Err(format!("model.scale is {scale}, give a number other than 0"));
        }
        if !mean.iter().all(|value| value.is_finite()) {
            return Err(format!("model.mean is {mean:?}, give three numbers"));
        }
        if !std.iter().all(|value| value.is_finite() && *value > 0.0) {
            return Err(format!("model.std is {std:?}, give three numbers above 0"));
        }
        let pixels = [("height", self.height), ("multiple", self.multiple), ("patch", self.patch)];
        for (key, value) in pixels {
            within("model", &[(key, value.unwrap_or(1) as f64, 1.0, 32_768.0)])?;
        }
        Ok(())
    }

    /// How pixels become numbers, defaults filled in.
    pub fn normalisation(&self) -> Normalisation {
        Normalisation {
            channels: self.channels.unwrap_or_default(),
            scale: self.scale.unwrap_or(1.0 / 255.0),
            mean: self.mean.unwrap_or(IMAGENET_MEAN),
            std: self.std.unwrap_or(IMAGENET_STD),
        }
    }
}

/// Order of the colour channels in the model's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    /// Red first.
    #[default]
    Rgb,
    /// Blue first.
    Bgr,
}

/// Order of the axes of an image or a map: batch, channels, height, width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Channels before rows and columns.
    #[default]
    Nchw,
    /// Channels last.
    Nhwc,
}

/// How many tokens at the front are no patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SkipTokens {
    /// As many as exceed the grid.
    #[default]
    Auto,
    /// Exactly this many.
    Count(usize),
}

impl Serialize for SkipTokens {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            SkipTokens::Auto => serializer.serialize_str("auto"),
            SkipTokens::Count(n) => serializer.serialize_u64(*n as u64),
        }
    }
}

impl<'de> Deserialize<'de> for SkipTokens {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = SkipTokens;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("\"auto\" or a number of tokens")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<SkipTokens, E> {
                if text == "auto" {
                    return Ok(SkipTokens::Auto);
                }
                Err(E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
            fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<SkipTokens, E> {
                usize::try_from(n)
                    .map(SkipTokens::Count)
                    .map_err(|_negative| E::invalid_value(serde::de::Unexpected::Signed(n), &self))
            }
            fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<SkipTokens, E> {
                usize::try_from(n)
                    .map(SkipTokens::Count)
                    .map_err(|_huge| E::invalid_value(serde::de::Unexpected::Unsigned(n), &self))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A size in pixels, written `"WxH"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InputSize {
    /// Pixels per row.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl std::fmt::Display for InputSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl std::str::FromStr for InputSize {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let side = |text: &str| text.trim().parse::<usize>().ok().filter(|side| (1..=1 << 15).contains(side));
        let parsed = text
            .split_once(['x', 'X'])
            .and_then(|(width, height)| Some(InputSize { width: side(width)?, height: side(height)? }));
        parsed
            .ok_or_else(|| format!("{text:?} is not a size in pixels such as \"1024x512\" (width x height)"))
    }
}

stored_as_written!(InputSize);

/// How 8-bit pixels become the model's numbers: `(value * scale - mean) / std` per channel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normalisation {
    /// Order of the channels; `mean` and `std` follow it.
    pub channels: Channels,
    /// Factor of the 8-bit value.
    pub scale: f32,
    /// Subtracted after scaling.
    pub mean: [f32; 3],
    /// Divides last.
    pub std: [f32; 3],
}

impl std::fmt::Display for Normalisation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let order = match self.channels {
            Channels::Rgb => "rgb",
            Channels::Bgr => "bgr",
        };
        write!(f, "{order} x {:.7} - {:?} / {:?}", self.scale, self.mean, self.std)
    }
}

/// The rule by which a frame's size gives the size of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizeRule {
    /// Always this size; frames are fitted in and padded.
    Fixed(InputSize),
    /// This height; the width follows the frame's aspect ratio.
    Height(usize),
    /// The frame's own size, rounded.
    Frame,
}

impl std::fmt::Display for SizeRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SizeRule::Fixed(size) => write!(f, "fixed {size}"),
            SizeRule::Height(height) => write!(f, "height {height}"),
            SizeRule::Frame => f.write_str("frame"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_read_and_faults_named() {
        let text = "path='m.onnx'\nsize='1024x512'\nskip_tokens=5\nchannels='bgr'\nmean=[0.5,0.5,0.5]";
        let config: ModelConfig = toml::from_str(text).unwrap();
        assert_eq!(config.size, Some(InputSize { width: 1024, height: 512 }));
        assert_eq!(config.skip_tokens, Some(SkipTokens::Count(5)));
        let again: ModelConfig = toml::from_str(&toml::to_string(&config).unwrap()).unwrap();
        assert_eq!(again, config);
        for (text, word) in [
            ("size='12'", "width x height"),
            ("size='0x4'", "width x height"),
            ("skip_tokens='some'", "auto"),
            ("skip_tokens=-1", "auto"),
            ("channels='yuv'", "rgb"),
            ("mean=[1.0]", "3"),
            ("layer=1", "layer"),
        ] {
            let fault = toml::from_str::<ModelConfig>(text).unwrap_err().to_string();
            assert!(fault.contains(word), "{text}: {fault}");
        }
    }

    #[test]
    fn what_the_file_says_fills_gaps_only() {
        let own = ModelConfig { height: Some(364), patch: Some(14), ..Default::default() };
        let file = ModelConfig {
            size: "8x8".parse().ok(),
            patch: Some(16),
            features: Some("f".into()),
            ..Default::default()
        };
        let both = own.or(file);
        assert_eq!((both.size, both.height, both.patch), (None, Some(364), Some(14)));
        assert_eq!(both.features.as_deref(), Some("f"));
    }
}
