//! Distances and logits of a frame -> its score map.

use super::fusion::{Fuser, Fusion};
use super::{Finish, Method, Normalise, Parametric, ScoreConfig, ScoreError, ScoreInputs};
use crate::bank::{Bank, Calibration};
use crate::grid::{Distances, Logits, LogitsKind, ScoreMap};

/// Scores frames by one method.
#[derive(Debug, Clone)]
pub struct Scorer {
    rule: Rule,
    normalise: Normalise,
    finish: Finish,
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
            finish: Finish::of(&config.recipe()),
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
        let Scorer { rule, normalise, finish, uncertainty, relative, spare } = self;
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
        finish.apply(out.grid, &mut out.data);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
