//! Distances and logits of a frame -> its score map.

use super::fusion::{Fuser, Fusion};
use super::{Method, Parametric, ScoreConfig};
use crate::bank::{Bank, BankError};
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
pub struct Grounds<'a> {
    /// The bank that is searched.
    pub bank: Option<&'a Bank>,
    /// Neighbours of the search.
    pub k: usize,
    /// Whether the model gives logits.
    pub has_logits: bool,
    /// What these are, if that is known.
    pub logits_kind: Option<LogitsKind>,
}

/// Scores frames by one method.
#[derive(Debug, Clone)]
pub struct Scorer {
    rule: Rule,
    uncertainty: Vec<f32>,
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
    pub fn open(method: Method, config: &ScoreConfig, grounds: &Grounds<'_>) -> Result<Scorer, ScoreError> {
        if method.needs_logits() && !grounds.has_logits {
            return Err(ScoreError::NoLogits(method.name()));
        }
        let uncertainty = match method {
            Method::Knn => None,
            Method::Parametric(one) => Some(one),
            Method::Cdnp | Method::Zsum => Some(config.partner),
        };
        if uncertainty == Some(Parametric::Rba) && grounds.logits_kind == Some(LogitsKind::Classes) {
            return Err(ScoreError::NotMasks);
        }
        let fused = |fusion: Fusion| Rule::Fused(method, Box::new(Fuser::new(fusion)));
        let rule = match method {
            Method::Knn => Rule::Distance,
            Method::Parametric(one) => Rule::Parametric(one),
            Method::Cdnp => {
                let reference = grounds.bank.and_then(|bank| bank.metadata().build.reference.as_ref());
                fused(Fusion::cdnp(config.partner, reference, grounds.k)?)
            }
            Method::Zsum => {
                let known = grounds.bank.and_then(Bank::calibration);
                let methods = known.map_or(&[][..], |calibration| &calibration.methods);
                fused(Fusion::zsum(config.partner, methods, grounds.k)?)
            }
        };
        Ok(Scorer { rule, uncertainty: Vec::new() })
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
    /// parametric scores, on the finer of both for fused ones. A cell that cannot be judged (NaN or infinite
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
        match &mut self.rule {
            Rule::Distance => {
                out.grid = distances.grid;
                out.data.clear();
                out.data
                    .extend(distances.data.iter().map(|d| if d.is_finite() { *d } else { f32::INFINITY }));
            }
            Rule::Parametric(one) => {
                let logits = logits.ok_or(missing)?;
                out.grid = logits.grid;
                one.scores(logits, &mut out.data);
            }
            Rule::Fused(_, fuser) => {
                let logits = logits.ok_or(missing)?;
                fuser.fusion().partner.scores(logits, &mut self.uncertainty);
                let uncertainty = (logits.grid, &self.uncertainty[..]);
                fuser.step((distances.grid, &distances.data), uncertainty, out);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
