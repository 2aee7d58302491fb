//! The original and the prepared graph, run on the same pictures and compared number by number.

use std::collections::HashMap;

use anyhow::{Context, Result, anyhow, bail};
use prost::Message;
use serde::Serialize;

use crate::features::{BareSession, RuntimeConfig};
use crate::model::assemble::{FEATURES, LOGITS};
use crate::model::head::{self, Attached};
use crate::model::logits::Logits;
use crate::model::onnx::{ModelProto, TensorProto, ValueInfoProto, node};
use crate::model::rewrite;
use crate::model::survey::{Candidate, Survey};

/// One picture as the model takes it: `[1, 3, height, width]`, normalised.
#[derive(Debug, Clone)]
pub struct Picture {
    /// For people.
    pub name: String,
    /// `3 x height x width` numbers.
    pub data: Vec<f32>,
    /// It shows nothing.
    pub is_noise: bool,
}

/// How far one output of the prepared model is from the original, over all pictures.
#[derive(Debug, Clone, Serialize)]
pub struct Compared {
    /// The output.
    pub output: String,
    /// Names of the pictures.
    pub pictures: Vec<String>,
    /// Numbers compared.
    pub numbers: usize,
    /// The largest difference.
    pub largest_difference: f32,
    /// The largest number, which differences are measured by.
    pub largest_number: f32,
}

/// What to hold against what.
pub struct Comparison<'a> {
    /// The graph of the file.
    pub whole: &'a ModelProto,
    /// The prepared model, as its bytes.
    pub prepared: &'a [u8],
    /// Where the features stand in the original.
    pub features: &'a [Candidate],
    /// Where the logits stand in it.
    pub logits: Option<&'a Logits>,
    /// A head that makes the logits instead.
    pub head: Option<Attached<'a>>,
    /// What is known of the original.
    pub survey: &'a Survey<'a>,
    /// True if both run node by node as they are written, not joined to faster ones: a kernel that joins roundings to
    /// integers may round the other way, which says nothing of the rewriting.
    pub as_written: bool,
    /// Largest difference allowed, as part of the largest number.
    pub tolerance: f32,
}

/// Runs both on all `pictures` of `width x height`.
///
/// # Errors
/// If one does not run, gives numbers that are not finite, or they differ by more than the tolerance.
pub fn compare(
    against: &Comparison,
    pictures: &[Picture],
    (width, height): (usize, usize),
    runtime: &RuntimeConfig,
) -> Result<Vec<Compared>> {
    let (reference, names) = reference(against);
    let open = |bytes: &[u8], what: &'static str| {
        BareSession::open(bytes, runtime, !against.as_written).context(what)
    };
    let mut original = open(&reference.encode_to_vec(), "the original graph")?;
    drop(reference);
    let mut prepared = open(against.prepared, "the prepared graph")?;
    let mut alone = against.head.map(|one| alone(one, runtime)).transpose()?;
    let input = against.survey.web.input;
    let mut results: Vec<Compared> = Vec::new();
    for picture in pictures {
        let image = Some((input, [1, 3, height, width], &picture.data[..]));
        let outputs =
            original.run(image).with_context(|| format!("the original graph on {}", picture.name))?;
        let numbers: HashMap<String, Vec<f32>> = names
            .iter()
            .zip(outputs)
            .filter_map(|(name, tensor)| Some((name.clone(), tensor.floats()?)))
            .collect();
        let outputs =
            prepared.run(image).with_context(|| format!("the prepared graph on {}", picture.name))?;
        for tensor in outputs {
            let got = tensor.floats().unwrap_or_default();
            let want = match tensor.name() {
                FEATURES => side_by_side(against.features, &numbers),
                LOGITS => match (&mut alone, against.head) {
                    (Some(session), Some(one)) => on_features(session, one, &numbers)?,
                    _ => against.logits.and_then(|l| l.gather(&against.survey.cells, &numbers)),
                },
                other => bail!("the prepared model gives an unexpected output {other:?}"),
            };
            let want = want.ok_or_else(|| anyhow!("the original gave no {}", tensor.name()))?;
            let one = judge(tensor.name(), &picture.name, &got, &want, against.tolerance)?;
            match results.iter_mut().find(|known| known.output == one.output) {
                Some(known) => {
                    known.pictures.extend(one.pictures);
                    known.numbers += one.numbers;
                    known.largest_difference = known.largest_difference.max(one.largest_difference);
                    known.largest_number = known.largest_number.max(one.largest_number);
                }
                None => results.push(one),
            }
        }
    }
    Ok(results)
}

/// The original with the tensors in question as float outputs. What only the folded graph has laid open
/// is taken from there.
fn reference(against: &Comparison) -> (ModelProto, Vec<String>) {
    let mut names: Vec<String> = against.features.iter().map(|one| one.plan.tensor.clone()).collect();
    match against.head {
        Some(one) => names.extend(one.features.iter().map(|feature| feature.plan.tensor.clone())),
        None => {
            names.extend(against.logits.iter().flat_map(|logits| logits.tensors()).map(str::to_owned));
        }
    }
    names.sort();
    names.dedup();
    let mut model = against.whole.clone();
    let graph = model.graph.get_or_insert_default();
    let mut outputs = Vec::new();
    for name in &names {
        let output = rewrite::fresh(graph, &format!("{name}/farout_float"));
        graph.node.push(node(
            "Cast",
            &[name],
            &output,
            vec![crate::model::onnx::int("to", i64::from(crate::model::onnx::data_type::FLOAT))],
        ));
        outputs.push(output);
    }
    graph.output = outputs
        .iter()
        .map(|name| ValueInfoProto { name: Some(name.clone()), ..Default::default() })
        .collect();
    let kept: Vec<&str> = outputs.iter().map(String::as_str).collect();
    rewrite::keep_only(graph, &kept);
    (model, names)
}

/// The head by itself, for features on the grid of this model.
fn alone(one: Attached, runtime: &RuntimeConfig) -> Result<BareSession> {
    let grid = one.features.first().map(|feature| feature.plan.grid).unwrap_or_default();
    let model = head::graph::alone(one.head, grid).map_err(|why| anyhow!(why))?;
    BareSession::open(&model.encode_to_vec(), runtime, true).context("the head alone")
}

/// The logits of the head for the original's features.
fn on_features(
    session: &mut BareSession,
    one: Attached,
    numbers: &HashMap<String, Vec<f32>>,
) -> Result<Option<Vec<f32>>> {
    let (Some(first), Some(cells)) = (one.features.first(), side_by_side(one.features, numbers)) else {
        return Ok(None);
    };
    let grid = first.plan.grid;
    let outputs = session.run(Some(("features", [1, grid.rows, grid.cols, one.head.width], &cells[..])))?;
    Ok(outputs.first().and_then(TensorProto::floats))
}

/// Features of several tensors, joined cell by cell.
fn side_by_side(features: &[Candidate], numbers: &HashMap<String, Vec<f32>>) -> Option<Vec<f32>> {
    let parts: Option<Vec<(Vec<f32>, usize)>> = features
        .iter()
        .map(|one| Some((one.plan.gather(numbers.get(&one.plan.tensor)?), one.plan.width())))
        .collect();
    let parts = parts?;
    let cells = features.first()?.plan.grid.len();
    let cell =
        |at: usize| parts.iter().flat_map(move |(data, width)| data[at * width..(at + 1) * width].to_vec());
    Some((0..cells).flat_map(cell).collect())
}

fn judge(output: &str, picture: &str, got: &[f32], want: &[f32], tolerance: f32) -> Result<Compared> {
    if got.len() != want.len() || got.is_empty() {
        bail!("the prepared {output} has {} numbers, the original {}", got.len(), want.len());
    }
    if want.iter().chain(got).any(|number| !number.is_finite()) {
        bail!(
            "on {picture}, {output} holds NaN or infinite numbers; the model is broken or fed wrongly (see --mean, --std)"
        );
    }
    let largest = want.iter().fold(0.0_f32, |most, number| most.max(number.abs()));
    let difference = got.iter().zip(want).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
    if difference > tolerance * largest.max(1e-6) {
        bail!(
            "on {picture}, the prepared {output} differs from the original by {difference:e} where the largest number is {largest:e}; nothing was written. Choose other features, or report this model"
        );
    }
    Ok(Compared {
        output: output.to_owned(),
        pictures: vec![picture.to_owned()],
        numbers: got.len(),
        largest_difference: difference,
        largest_number: largest,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_or_is_no_number_is_refused() {
        assert!(judge("f", "p", &[1.0, 2.0], &[1.0, 2.0001], 1e-4).is_ok());
        for (got, want, word) in [
            (vec![1.0, 2.0], vec![1.0, 2.1], "differs"),
            (vec![1.0], vec![1.0, 2.0], "numbers"),
            (vec![f32::NAN], vec![1.0], "NaN"),
            (vec![], vec![], "numbers"),
        ] {
            let why = judge("f", "p", &got, &want, 1e-4).unwrap_err().to_string();
            assert!(why.contains(word), "{why}");
        }
    }
}
