//! The keys of `[score]`, and how they become a threshold.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Method, Parametric, ScoreError};
use crate::bank::{Bank, Threshold};

/// Where the threshold comes from: `"auto"` or a number.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum ThresholdSetting {
    /// From the bank's held-out frames and [`ScoreConfig::false_frame_rate`].
    #[default]
    Auto,
    /// This score.
    Fixed(f32),
}

impl std::str::FromStr for ThresholdSetting {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(ThresholdSetting::Auto);
        }
        match text.parse::<f32>() {
            Ok(value) if value.is_finite() => Ok(ThresholdSetting::Fixed(value)),
            _ => Err(format!("threshold {text:?} is neither \"auto\" nor a number")),
        }
    }
}

impl Serialize for ThresholdSetting {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            ThresholdSetting::Auto => to.serialize_str("auto"),
            ThresholdSetting::Fixed(value) => to.serialize_f32(*value),
        }
    }
}

impl<'de> Deserialize<'de> for ThresholdSetting {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "threshold is \"auto\" or a number")]
        enum Raw {
            Number(f32),
            Text(String),
        }
        match Raw::deserialize(from)? {
            Raw::Number(value) if value.is_finite() => Ok(ThresholdSetting::Fixed(value)),
            Raw::Number(value) => Err(D::Error::custom(format!("threshold {value} is no finite number"))),
            Raw::Text(text) => text.parse().map_err(D::Error::custom),
        }
    }
}

/// How scores become regions and events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScoreConfig {
    /// Score of a patch: "knn" (distance to the reference features); of the logits "lse", "msp",
    /// "max-logit", "entropy" or, for mask classifiers, "rba"; of both "cdnp" or "zsum". Default "knn".
    pub method: Method,
    /// The score of the logits in a fusion: "lse", "msp", "max-logit", "entropy" or "rba". Default "lse".
    pub partner: Parametric,
    /// Scores above it are anomalous: "auto" (from the bank's held-out frames) or a number in
    /// units of the score. Default "auto".
    pub threshold: ThresholdSetting,
    /// With threshold = "auto": share of frames of normal driving that may show a false region.
    /// Default 0.01.
    pub false_frame_rate: f64,
    /// Smaller regions are dropped: area in pixels of a 640x360 picture, scaled with the area of the
    /// frame (100 are 400 at 1280x720). Default 100, about half a 14-pixel patch at 360 lines.
    pub min_region_px: u32,
    /// A region is an event after so many consecutive frames. Default 5.
    pub event_frames: u32,
    /// An event ends when its region was missing for so many consecutive frames. Default 5.
    pub event_gap_frames: u32,
}

impl Default for ScoreConfig {
    fn default() -> Self {
        ScoreConfig {
            method: Method::Knn,
            partner: Parametric::Lse,
            threshold: ThresholdSetting::Auto,
            false_frame_rate: 0.01,
            min_region_px: 100,
            event_frames: 5,
            event_gap_frames: 5,
        }
    }
}

impl ScoreConfig {
    /// The threshold to use with `bank`, searched for `k` neighbours, and where it comes from.
    ///
    /// # Errors
    /// [`ScoreError::Bank`] if it should come from the bank and the bank was not calibrated for
    /// this method; [`ScoreError::OtherK`], [`ScoreError::OtherPartner`] if for another k or fusion.
    pub fn resolve(&self, bank: &Bank, k: usize) -> Result<Threshold, ScoreError> {
        if let ThresholdSetting::Fixed(value) = self.threshold {
            return Ok(Threshold { value, basis: "set by hand".to_owned() });
        }
        let Some(calibration) = bank.calibration() else {
            let why = format!("bank {} was built without held-out frames", bank.path().display());
            return Err(crate::bank::BankError::NotCalibrated { why }.into());
        };
        let name = self.method.name();
        let found = calibration.method(name)?;
        if let Some(measured) = found.k.filter(|measured| *measured != k) {
            return Err(ScoreError::OtherK { measured, k });
        }
        let partner = self.partner.name();
        if let Some(measured) = found.partner.clone().filter(|measured| measured != partner) {
            return Err(ScoreError::OtherPartner { method: name, measured, partner });
        }
        Ok(calibration.threshold(name, self.false_frame_rate)?)
    }
}
