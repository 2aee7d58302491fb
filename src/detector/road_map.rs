//! The road of single pictures as a map: for judging on it alone.

use anyhow::Result;
use serde::Serialize;

use super::classes::ClassNames;
use super::road::RoadModel;
use crate::config::{Config, ConfigError};
use crate::features::Session;
use crate::frame::Frame;
use crate::grid::{Logits, ScoreMap};
use crate::identity::ModelIdentity;
use crate::pool::Pooled;
use crate::score::Road;

/// What tells the road: all that its map depends on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RoadRecord {
    /// A model of its own; none where it is the main model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelIdentity>,
    /// Which classes are road.
    pub classes: Vec<usize>,
}

/// Makes a map of the road.
pub struct RoadMap {
    /// What looks at the picture, if not the main model.
    model: Option<RoadModel>,
    road: Road,
}

impl RoadMap {
    /// By the model of `[roi]`, or else by the logits of the main one and `score.roi_classes`.
    ///
    /// # Errors
    /// A configuration with neither; a model that cannot be opened; classes that it does not give or name.
    pub(super) fn open(config: &Config, session: &Session) -> Result<RoadMap> {
        let (model, classes) = match config.roi.has_model() {
            true => {
                let model = RoadModel::open(config)?;
                let classes = model.classes().to_vec();
                (Some(model), classes)
            }
            false if config.score.roi_classes.is_empty() => {
                let why = "nothing tells the road: name a model and its classes in [roi], or classes of the main model's \
                           logits in score.roi_classes";
                return Err(ConfigError::Invalid(why.into()).into());
            }
            false => {
                let known = ClassNames { classes: session.classes(), names: session.class_names().to_vec() };
                (None, known.numbers("score.roi_classes", &config.score.roi_classes)?)
            }
        };
        Ok(RoadMap { model, road: Road::new(classes) })
    }

    /// Whether it looks at the main model's logits.
    pub(super) fn needs_logits(&self) -> bool {
        self.model.is_none()
    }

    /// What it depends on.
    pub(super) fn record(&self) -> RoadRecord {
        let model = self.model.as_ref().map(|model| model.identity().clone());
        RoadRecord { model, classes: self.road.classes().to_vec() }
    }

    /// 1 where the road is, things on it included, else 0, on the grid of the class scores.
    ///
    /// # Errors
    /// If the model fails.
    pub(super) fn of(&mut self, frame: &Frame, logits: Option<&Logits>) -> Result<ScoreMap> {
        let own = self.model.as_mut().map(|model| model.look(frame)).transpose()?;
        let Some(seen) = own.as_ref().or(logits) else { return Ok(ScoreMap::default()) };
        let data = self.road.step(seen).iter().map(|cell| f32::from(u8::from(*cell))).collect();
        Ok(ScoreMap { grid: seen.grid, data: Pooled::unpooled(data) })
    }
}
