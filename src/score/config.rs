//! The keys of `[score]`, and how they become a threshold.

use std::collections::BTreeMap;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::roi::Polygons;
use super::{Method, Normalise, Parametric, ScoreError};
use crate::bank::{Bank, Threshold};
use crate::ranges::within;
use crate::region::REFERENCE_AREA;

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

/// How a score map becomes as large as the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Upsampling {
    /// Bilinear interpolation between cells.
    #[default]
    Bilinear,
    /// Along the edges of the picture: a guided filter.
    Guided,
}

/// A class of the logits, by number from 0 or by the name that the model file tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a class is a number or a name")]
pub enum Class {
    /// Its number.
    Number(usize),
    /// Its name.
    Name(String),
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
    /// What is taken off the distances of each frame before they are scored: "off", "median" (their median),
    /// "spread" (divided by their spread, too). Default "off".
    pub normalise: Normalise,
    /// Sigma in cells of a Gaussian that smooths the score map; 0, the default, for none.
    pub smooth: f32,
    /// How far below the threshold, in units of the score, what is joined to a region still belongs to it; 0, the
    /// default, for not at all.
    pub hysteresis: f32,
    /// How the map becomes as large as the picture: "bilinear" (default) or "guided" (along its edges).
    pub upsample: Upsampling,
    /// Guided: reach of the windows in cells of the map. Default 0.5.
    pub guided_radius: f32,
    /// Guided: variance of the brightness (0 to 1) from which on the score follows the picture. Default 0.0001.
    pub guided_epsilon: f32,
    /// Weight of past frames, carried along the motion of the picture; 0, the default, for none, at most 0.95.
    pub temporal: f32,
    /// Polygon, or list of polygons, outside of which nothing alarms: corners as shares of the picture's width and
    /// height. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roi: Option<Polygons>,
    /// Classes (numbers, or names if the model file tells them) outside of whose predicted area nothing alarms,
    /// such as ["road"]. Default none.
    pub roi_classes: Vec<Class>,
    /// By how much of the picture's height that area is widened. Default 0.05.
    pub roi_margin: f32,
    /// Scores above it are anomalous: "auto" (from the bank's held-out frames) or a number in
    /// units of the score. Default "auto".
    pub threshold: ThresholdSetting,
    /// With threshold = "auto": share of frames of normal driving that may show a false region.
    /// Default 0.01.
    pub false_frame_rate: f64,
    /// Smaller regions are dropped: area in pixels of a 640x360 picture, scaled with the area of the
    /// frame (100 are 400 at 1280x720). Default 100, about half a 14-pixel patch at 360 lines.
    pub min_region_px: u32,
    /// From this share of the pixels that count on, anomalous in `scene_frames` verdicts in a row, the scene as a whole is unlike
    /// the bank (a covered lens, night, glare): one region then stands for all, and the state says so. Default 0.5; 1: never.
    pub scene_share: f64,
    /// See `scene_share`. Default 10.
    pub scene_frames: u32,
    /// A region is an event once there is evidence of so many frames. Default 5.
    pub event_frames: u32,
    /// Over so many frames evidence adds up; 0, the default, for `event_frames`: they must be consecutive.
    pub event_window: u32,
    /// How far below the threshold, in units of the score, a region is evidence in part: of nothing there, of a whole frame
    /// at the threshold. 0, the default, for not at all.
    pub event_reach: f32,
    /// An event ends when its region was missing for so many consecutive frames. Default 5.
    pub event_gap_frames: u32,
}

impl Default for ScoreConfig {
    fn default() -> Self {
        ScoreConfig {
            method: Method::Knn,
            partner: Parametric::Lse,
            normalise: Normalise::Off,
            smooth: 0.0,
            hysteresis: 0.0,
            upsample: Upsampling::Bilinear,
            guided_radius: 0.5,
            guided_epsilon: 0.0001,
            temporal: 0.0,
            roi: None,
            roi_classes: Vec::new(),
            roi_margin: 0.05,
            threshold: ThresholdSetting::Auto,
            false_frame_rate: 0.01,
            min_region_px: 100,
            scene_share: 0.5,
            scene_frames: 10,
            event_frames: 5,
            event_window: 0,
            event_reach: 0.0,
            event_gap_frames: 5,
        }
    }
}

impl ScoreConfig {
    /// Keys that a stream may have of its own; the rest shapes score maps, which one model and one bank make.
    pub const OF_STREAM: &[&str] = &[
        "threshold",
        "false_frame_rate",
        "roi",
        "roi_classes",
        "roi_margin",
        "min_region_px",
        "scene_share",
        "scene_frames",
        "event_frames",
        "event_window",
        "event_reach",
        "event_gap_frames",
    ];

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The key and what it may be.
    pub fn check(&self) -> Result<(), String> {
        let numbers = [
            ("smooth", f64::from(self.smooth), 0.0, 32.0),
            ("hysteresis", f64::from(self.hysteresis), 0.0, 1e6),
            ("guided_radius", f64::from(self.guided_radius), 0.1, 32.0),
            ("guided_epsilon", f64::from(self.guided_epsilon), 9.9e-7, 1.0),
            ("temporal", f64::from(self.temporal), 0.0, 0.951),
            ("roi_margin", f64::from(self.roi_margin), 0.0, 1.0),
            // No region of a picture is larger.
            ("min_region_px", f64::from(self.min_region_px), 0.0, REFERENCE_AREA as f64),
            ("scene_share", self.scene_share, 0.01, 1.0),
            ("scene_frames", f64::from(self.scene_frames), 1.0, 1e6),
            ("event_frames", f64::from(self.event_frames), 0.0, 1000.0),
            ("event_window", f64::from(self.event_window), 0.0, 1000.0),
            ("event_reach", f64::from(self.event_reach), 0.0, 1e6),
            ("event_gap_frames", f64::from(self.event_gap_frames), 0.0, 1e6),
        ];
        within("score", &numbers)?;
        if (1..self.event_frames).contains(&self.event_window) {
            return Err(format!(
                "score.event_window is {}, fewer than the {} of score.event_frames, which could never add up: give {} or more, or 0",
                self.event_window, self.event_frames, self.event_frames
            ));
        }
        if !(self.false_frame_rate > 0.0 && self.false_frame_rate < 1.0) {
            return Err(format!(
                "score.false_frame_rate is {}, give a share above 0 and below 1",
                self.false_frame_rate
            ));
        }
        self.roi.as_ref().map_or(Ok(()), Polygons::check)
    }

    /// What of it decides the score map of a single frame, and so its statistics.
    pub fn recipe(&self) -> MapRecipe {
        let ScoreConfig { partner, normalise, smooth, hysteresis, .. } = *self;
        MapRecipe { partner, normalise, smooth, hysteresis }
    }

    /// The threshold to use with `bank`, searched for `k` neighbours in the picture and these `views` beside it
    /// ([`crate::views::ViewsConfig::describe`]), and where it comes from.
    ///
    /// # Errors
    /// [`ScoreError::Bank`] if it should come from the bank and the bank was not calibrated for
    /// this method; [`ScoreError::OtherK`], [`ScoreError::OtherPartner`], [`ScoreError::OtherMaps`],
    /// [`ScoreError::OtherViews`] if for another k, fusion, treatment of the map or views.
    pub fn resolve(&self, bank: &Bank, k: usize, views: &str) -> Result<Threshold, ScoreError> {
        if let ThresholdSetting::Fixed(value) = self.threshold {
            return Ok(Threshold { value, basis: "set by hand".to_owned() });
        }
        let Some(calibration) = bank.calibration() else {
            let why = format!("bank {} was built without held-out frames", bank.path().display());
            return Err(crate::bank::BankError::NotCalibrated { why }.into());
        };
        if self.method.searches() && bank.views() != views {
            return Err(ScoreError::OtherViews {
                measured: told_views(bank.views()),
                wanted: told_views(views),
            });
        }
        let name = self.method.name();
        let found = calibration.method(name)?;
        if let Some(measured) = found.k.filter(|measured| *measured != k) {
            return Err(ScoreError::OtherK { measured, k });
        }
        let partner = self.partner.name();
        if let Some(measured) = found.partner.clone().filter(|measured| measured != partner) {
            return Err(ScoreError::OtherPartner { method: name, measured, partner });
        }
        let (measured, wanted) = (calibration.maps.clone(), self.recipe().changes(self.method));
        if measured.iter().filter(|(key, _)| self.method.searches() || *key != NORMALISE).ne(&wanted) {
            return Err(ScoreError::OtherMaps { measured: told(&measured), wanted: told(&wanted) });
        }
        let mut threshold = calibration.threshold(name, self.false_frame_rate)?;
        if self.temporal > 0.0 || self.upsample != Upsampling::Bilinear {
            threshold.basis.push_str("; measured on single frames, interpolated bilinearly");
        }
        Ok(threshold)
    }
}

fn told_views(views: &str) -> String {
    match views {
        "" => "no further views".to_owned(),
        some => format!("the views \"{some}\""),
    }
}

/// The key of [`ScoreConfig::normalise`].
const NORMALISE: &str = "normalise";

/// Keys of `[score]` and their values, for people.
fn told(keys: &BTreeMap<String, String>) -> String {
    match keys.is_empty() {
        true => "none of score.normalise, score.smooth and score.hysteresis".to_owned(),
        false => keys.iter().map(|(k, v)| format!("score.{k} = {v}")).collect::<Vec<_>>().join(", "),
    }
}

/// What decides the score map of a single frame beside its method.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MapRecipe {
    /// The score of the logits in a fusion.
    pub partner: Parametric,
    /// What is taken off the distances of each frame.
    pub normalise: Normalise,
    /// Sigma of the smoothing in cells.
    pub smooth: f32,
    /// As [`ScoreConfig::hysteresis`].
    pub hysteresis: f32,
}

impl MapRecipe {
    /// What it changes in the maps of `method`, by key of `[score]`, beside the partner.
    pub fn changes(&self, method: Method) -> BTreeMap<String, String> {
        let mut keys = BTreeMap::new();
        if self.normalise != Normalise::Off && method.searches() {
            keys.insert(NORMALISE.to_owned(), format!("\"{}\"", self.normalise.name()));
        }
        if self.smooth > 0.0 {
            keys.insert("smooth".to_owned(), self.smooth.to_string());
        }
        if self.hysteresis > 0.0 {
            keys.insert("hysteresis".to_owned(), self.hysteresis.to_string());
        }
        keys
    }
}
