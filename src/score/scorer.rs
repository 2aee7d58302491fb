//! Distances and logits of a frame -> its score map.

use super::fusion::{Fuser, Fusion};
use super::{Method, Normalise, Parametric, ScoreConfig, Smoother};
use crate::bank::{Bank, BankError, Calibration};
use crate::grid::{Distances, Logits, LogitsKind, ScoreMap};

/// Why frames cannot be scored.
#[derive(Debug, thiserror::Error)]
pub enum ScoreError {
    /// The method needs what the model does not give.
    #[error(
        "score.method \"{0}\" needs logits, which this model does not give; name them in model.logits or use \"knn\""
    )]
    NoLogits(&'static str),
    /// The logits are not those of a mask classifier.
    #[error(
        "\"rba\" sums what the masks of a mask classifier reject, but the logits of this model are class scores (model.logits_kind is \"classes\"); use \"lse\", \"msp\", \"max-logit\" or \"entropy\""
    )]
    NotMasks,
    /// A fused method lacks the scales of its parts.
    #[error(
        "score.method \"{method}\" needs statistics that the bank does not hold: {what}; rebuild it with a model that gives logits: farout bank build"
    )]
    NoStatistics {
        /// The method.
        method: &'static str,
        /// What is missing.
        what: String,
    },
    /// A scale that the other key takes away.
    #[error(
        "score.method \"cdnp\" scales distances by those between reference features, which means nothing once score.normalise = \"spread\" has divided them; use \"median\", or the method \"zsum\""
    )]
    CdnpOfSpread,
    /// The automatic threshold belongs to maps that were treated otherwise.
    #[error(
        "the bank's thresholds were measured with {measured}, the configuration asks for {wanted}: rebuild the bank with this configuration (farout bank build -c), or give score.threshold as a number"
    )]
    OtherMaps {
        /// Keys of the calibration.
        measured: String,
        /// Keys of the configuration.
        wanted: String,
    },
    /// The automatic threshold belongs to other views of the picture.
    #[error(
        "the bank's thresholds were measured with {measured}, the configuration asks for {wanted}: rebuild the bank with this configuration (farout bank build -c), or give score.threshold as a number"
    )]
    OtherViews {
        /// Views of the calibration.
        measured: String,
        /// Views of the configuration.
        wanted: String,
    },
    /// No threshold can be had from the bank.
    #[error(transparent)]
    Bank(#[from] BankError),
    /// The statistics belong to another number of neighbours.
    #[error(
        "the bank was calibrated for k = {measured}, the search uses k = {k}: set search.k = {measured}, rebuild the bank with k = {k}, or give score.threshold as a number"
    )]
    OtherK {
        /// k of the calibration.
        measured: usize,
        /// k of the search.
        k: usize,
    },
    /// The automatic threshold belongs to another pair of scores.
    #[error(
        "the bank's threshold for \"{method}\" is that of a fusion with \"{measured}\", score.partner is \"{partner}\": set score.partner = \"{measured}\", rebuild the bank with this configuration, or give score.threshold as a number"
    )]
    OtherPartner {
        /// The fused method.
        method: &'static str,
        /// Partner of the calibration.
        measured: String,
        /// Partner of the configuration.
        partner: &'static str,
    },
}

/// What the scores of a run are made from.
#[derive(Debug, Clone, Copy)]
pub struct ScoreInputs<'a> {
    /// The bank that is searched.
    pub bank: Option<&'a Bank>,
    /// Neighbours of the search.
    pub k: usize,
    /// Whether the model gives logits.
    pub has_logits: bool,
    /// What these are, if that is known.
    pub logits_kind: Option<LogitsKind>,
    /// Whether the bank's statistics of distances were measured with the views that these distances come from.
    pub same_views: bool,
}

/// Scores frames by one method.
#[derive(Debug, Clone)]
pub struct Scorer {
    rule: Rule,
    normalise: Normalise,
    smoother: Option<Smoother>,
    uncertainty: Vec<f32>,
    relative: Vec<f32>,
    spare: Vec<f32>,
}

#[derive(Debug, Clone)]
enum Rule {
    Distance,
    Parametric(Parametric),
    Fused(Method, Box<Fuser>),
}

impl Scorer {
    /// A scorer by `method`, with the keys of `config` beside its method.
    ///
    /// # Errors
    /// [`ScoreError`]: the method does not go together with model and bank.
    pub fn open(
        method: Method,
        config: &ScoreConfig,
        at_hand: &ScoreInputs<'_>,
    ) -> Result<Scorer, ScoreError> {
        if method.needs_logits() && !at_hand.has_logits {
            return Err(ScoreError::NoLogits(method.name()));
        }
        let uncertainty = match method {
            Method::Knn => None,
            Method::Parametric(one) => Some(one),
            Method::Cdnp | Method::Zsum => Some(config.partner),
        };
        if uncertainty == Some(Parametric::Rba) && at_hand.logits_kind == Some(LogitsKind::Classes) {
            return Err(ScoreError::NotMasks);
        }
        if (method, config.normalise) == (Method::Cdnp, Normalise::Spread) {
            return Err(ScoreError::CdnpOfSpread);
        }
        let fused = |fusion: Fusion| Rule::Fused(method, Box::new(Fuser::new(fusion)));
        let rule = match method {
            Method::Knn => Rule::Distance,
            Method::Parametric(one) => Rule::Parametric(one),
            Method::Cdnp => {
                let reference = at_hand.bank.and_then(|bank| bank.metadata().build.reference.as_ref());
                fused(Fusion::cdnp(config.partner, reference, at_hand.k)?)
            }
            Method::Zsum => {
                // Their z-scores are those of distances treated alike.
                let wanted = config.recipe().changes(method);
                let alike = |c: &&Calibration| {
                    at_hand.same_views && c.maps.get("normalise") == wanted.get("normalise")
                };
                let known = at_hand.bank.and_then(Bank::calibration).filter(alike);
                let methods = known.map_or(&[][..], |calibration| &calibration.methods);
                fused(Fusion::zsum(config.partner, methods, at_hand.k)?)
            }
        };
        Ok(Scorer {
            rule,
            normalise: if method.searches() { config.normalise } else { Normalise::Off },
            smoother: Smoother::new(config.smooth),
            uncertainty: Vec::new(),
            relative: Vec::new(),
            spare: Vec::new(),
        })
    }

    /// The method.
    pub fn method(&self) -> Method {
        match &self.rule {
            Rule::Distance => Method::Knn,
            Rule::Parametric(one) => Method::Parametric(*one),
            Rule::Fused(method, _) => *method,
        }
    }

    /// Fills `out` with the scores of one frame: on the features' grid for `knn`, on the logits' own for
    /// parametric scores, on the finer of both for fused ones; distances normalised before, the map smoothed
    /// after, as configured. A cell that cannot be judged (NaN or infinite
    /// input) is `f32::INFINITY`.
    ///
    /// # Errors
    /// [`ScoreError::NoLogits`].
    pub fn step(
        &mut self,
        distances: &Distances,
        logits: Option<&Logits>,
        out: &mut ScoreMap,
    ) -> Result<(), ScoreError> {
        let missing = ScoreError::NoLogits(self.method().name());
        let Scorer { rule, normalise, smoother, uncertainty, relative, spare } = self;
        let mut measured = &distances.data[..];
        if *normalise != Normalise::Off {
            relative.clear();
            relative.extend_from_slice(measured);
            normalise.apply(relative, spare);
            measured = relative;
        }
        match rule {
            Rule::Distance => {
                out.grid = distances.grid;
                out.data.clear();
                out.data.extend(measured.iter().map(|d| if d.is_finite() { *d } else { f32::INFINITY }));
            }
            Rule::Parametric(one) => {
                let logits = logits.ok_or(missing)?;
                out.grid = logits.grid;
                one.scores(logits, &mut out.data);
            }
            Rule::Fused(_, fuser) => {
                let logits = logits.ok_or(missing)?;
                fuser.fusion().partner.scores(logits, uncertainty);
                fuser.step((distances.grid, measured), (logits.grid, uncertainty), out);
            }
        }
        if let Some(smoother) = smoother {
            smoother.apply(out.grid, &mut out.data);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
