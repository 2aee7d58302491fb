//! A trained head for a model: the features it wants are found, and it is held against the example that its
//! training left.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use prost::Message;
use serde::Serialize;

use super::look::Facts;
use crate::features::{BareSession, RuntimeConfig};
use crate::grid::Grid;
use crate::model::head::{self, Head, HeadKind};
use crate::model::survey::{Candidate, Survey};

/// Allowed difference from what PyTorch computed, as part of the largest number.
const TOLERANCE: f32 = 1e-4;

/// What is told of a head that was attached.
#[derive(Debug, Clone, Serialize)]
pub struct HeadTold {
    /// The file.
    pub file: String,
    /// What kind it is.
    #[serde(flatten)]
    pub kind: HeadKind,
    /// Number of classes.
    pub classes: usize,
    /// Selectors of the features that it takes.
    pub features: Vec<String>,
    /// Mean intersection over union on held-out images, as its training measured it.
    pub held_out_miou: Option<String>,
    /// Largest difference from PyTorch's logits for the example in the file, as part of the largest.
    pub differs_from_training: f32,
}

/// What a file that was prepared before says of where it comes from.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct FormerOrigin {
    /// The file's name.
    pub file: String,
    /// Its SHA-256.
    pub sha256: String,
    /// Who wrote it.
    #[serde(default)]
    pub producer: String,
    /// Selectors and tensors of the features.
    pub features: Vec<(String, String)>,
    /// Names of the classes.
    #[serde(default)]
    pub classes: Vec<String>,
}

impl FormerOrigin {
    /// What `facts` say, if the file is a prepared one.
    pub fn of(facts: &Facts) -> Option<FormerOrigin> {
        serde_json::from_str(facts.origin.as_deref()?).ok()
    }
}

/// The features of this model that `head` takes.
///
/// # Errors
/// If the head was trained on features of another model, or on features that are not in this file.
pub fn wanted(head: &Head, facts: &Facts, survey: &Survey) -> Result<Vec<Candidate>> {
    let former = FormerOrigin::of(facts);
    let same_selectors =
        |one: &FormerOrigin| one.features.iter().map(|(selector, _)| selector).eq(&head.features);
    let selectors: Vec<&str> = if facts.sha256 == head.origin_sha256 {
        head.features.iter().map(String::as_str).collect()
    } else if facts.sha256 == head.model_sha256 {
        vec![crate::model::assemble::FEATURES]
    } else {
        match &former {
            Some(one) if one.sha256 == head.origin_sha256 && same_selectors(one) => {
                vec![crate::model::assemble::FEATURES]
            }
            Some(one) if one.sha256 == head.origin_sha256 => bail!(
                "the head was trained on {}, this file was prepared with {}; prepare the original {} again with --head",
                head.features.join(" + "),
                one.features.iter().map(|(selector, _)| selector.as_str()).collect::<Vec<_>>().join(" + "),
                one.file
            ),
            _ => bail!(
                "the head was trained on features of the model with SHA-256 {}, this one is {}; train a head for it, or give the model that it was trained on",
                head.origin_sha256,
                facts.sha256
            ),
        }
    };
    let found: Vec<Candidate> = selectors
        .iter()
        .map(|selector| survey.select(selector).map_err(|why| anyhow!("the head needs {selector}: {why}")))
        .collect::<Result<_>>()?;
    let width: usize = found.iter().map(|one| one.plan.width()).sum();
    if width != head.width {
        bail!("the head takes {} channels, {} has {width}", head.width, selectors.join(" + "));
    }
    Ok(found)
}

/// Runs the head alone on the example that its training left; how far it is off, as part of the largest
/// logit.
///
/// # Errors
/// If it is off by more than rounding.
pub fn check(head: &Head, path: &Path, runtime: &RuntimeConfig) -> Result<f32> {
    let what = path.display();
    let (features, logits) = head.golden().ok_or_else(|| anyhow!("{what}: it holds no example"))?;
    let &[1, rows, cols, width] = &features.dims[..] else {
        bail!("{what}: its example is {:?}", features.dims);
    };
    let model = head::graph::alone(head, Grid { rows, cols }).map_err(|why| anyhow!("{what}: {why}"))?;
    let mut session = BareSession::open(&model.encode_to_vec(), runtime, true)
        .with_context(|| format!("{what}: the head alone"))?;
    let got = session.run(Some(("features", [1, rows, cols, width], &features.data)))?;
    let got = got.first().and_then(crate::model::onnx::TensorProto::floats).unwrap_or_default();
    let largest = logits.data.iter().fold(f32::MIN_POSITIVE, |most, number| most.max(number.abs()));
    if got.len() != logits.data.len() {
        bail!("{what}: the head gives {} numbers, {} are expected", got.len(), logits.data.len());
    }
    let off = got.iter().zip(&logits.data).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs())) / largest;
    if off.is_nan() || off > TOLERANCE {
        bail!(
            "{what}: for the example in it the head gives other logits than the training did (by {off:e} of the largest); the file is damaged or of another version"
        );
    }
    Ok(off)
}
