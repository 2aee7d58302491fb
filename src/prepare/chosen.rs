//! Which tensors are taken: the features that were asked for, and the class logits.

use std::path::Path;

use anyhow::{Result, anyhow, bail};

use super::request::{LogitsChoice, Request};
use crate::model::heads;
use crate::model::logits::Logits;
use crate::model::survey::{Candidate, Survey};
use crate::model::trace::Traced;

/// What is taken of a model.
pub(super) struct Chosen {
    /// The features, side by side.
    pub features: Vec<Candidate>,
    /// The logits, unless a head of its own makes them.
    pub logits: Option<Logits>,
    /// The operator that makes probabilities or a decision of them in the original, if one was asked past.
    pub logits_before: Option<String>,
}

/// What `request` asks for. A model of which nothing but classes is wanted, as one that tells the road, gives its class
/// scores as features, too.
///
/// # Errors
/// What is not there; neither features nor class scores.
pub(super) fn chosen(request: &Request, survey: &Survey, traced: &Traced) -> Result<Chosen> {
    let what = request.path.display();
    let found = match &request.logits {
        _ if request.head.is_some() => None,
        LogitsChoice::None => None,
        LogitsChoice::Auto => {
            heads::main(&survey.heads).map(|head| (head.logits.clone(), head.decided_by.clone()))
        }
        LogitsChoice::Tensor(name) => {
            let found = heads::named(&survey.web, &survey.cells, &survey.heads, traced.known_as(name));
            Some(found.map_err(|why| anyhow!("{what}: --logits: {why}"))?)
        }
    };
    let (logits, logits_before) = found.map_or((None, None), |(logits, before)| (Some(logits), before));
    let mut features: Vec<Candidate> = request
        .features
        .iter()
        .map(|selector| select(survey, traced.known_as(selector), selector, &request.path))
        .collect::<Result<_>>()?;
    if features.is_empty() {
        let Some(Logits::Classes { tensor, .. }) = &logits else {
            bail!(
                "{what}: name the features to take, e.g. --features key:12 (farout model inspect lists them); only a model \
                 whose class scores are found can do without"
            );
        };
        features.push(select(survey, tensor, tensor, &request.path)?);
    }
    Ok(Chosen { features, logits, logits_before })
}

fn select(survey: &Survey, tensor: &str, selector: &str, path: &Path) -> Result<Candidate> {
    let found = survey.select(tensor).map_err(|why| anyhow!("{}: {why}", path.display()))?;
    Ok(Candidate { selector: selector.to_owned(), ..found })
}
