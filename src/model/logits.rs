//! The class logits of a file: which output, or which inner tensor behind its post-processing.

use std::collections::HashMap;

use serde::Serialize;

use super::cells::CellMap;
use super::onnx::{NodeProto, TensorProto, int, int_tensor, ints, node};
use super::readout::Readout;
use super::web::Web;
use crate::grid::LogitsKind;

/// Where class logits come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Logits {
    /// One number per class and cell, `[1, K, rows, cols]` or tokens `[1, N, K]`.
    Classes {
        /// The tensor.
        tensor: String,
        /// Number of classes.
        classes: usize,
    },
    /// A mask classifier: queries with class logits `[1, Q, K + 1]`, the last for "nothing", and mask
    /// logits `[1, Q, rows, cols]`.
    Queries {
        /// The class logits.
        tensor: String,
        /// The mask logits.
        masks: String,
        /// Number of classes, "nothing" left out.
        classes: usize,
        /// Number of queries.
        queries: usize,
    },
}

/// Turns scores into a decision, or bends them.
const POSTPROCESSING: [&str; 4] = ["Softmax", "LogSoftmax", "ArgMax", "Sigmoid"];
/// Changes the place of scores only.
const PLACING: [&str; 11] = [
    "Identity",
    "Cast",
    "Reshape",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
    "Flatten",
    "Slice",
    "Resize",
    "Upsample",
    "DepthToSpace",
];

/// The logits among `outputs`, if there are any.
pub fn find(web: &Web, cells: &CellMap, outputs: &[&str]) -> Option<Logits> {
    if let Some(queries) = queries(web, cells, outputs) {
        return Some(queries);
    }
    outputs
        .iter()
        .filter(|name| {
            // Something else that is given out is made of it: then it is no end result.
            let made_of_it =
                |other: &&&str| other != name && web.maker(name).is_some_and(|n| web.needed(&[**other])[n]);
            outputs.iter().find(made_of_it).is_none()
        })
        .find_map(|name| {
            let others: Vec<&str> = outputs.iter().copied().filter(|other| other != name).collect();
            classes(web, cells, before_decision(web, name), &web.needed(&others))
        })
}

/// What `name` means if the user says so.
///
/// # Errors
/// Why it holds no logits.
pub fn named(web: &Web, cells: &CellMap, name: &str) -> Result<Logits, String> {
    let shape = web.shape(name).ok_or_else(|| format!("it has no tensor {name:?}"))?;
    let known = cells.get(name).ok_or_else(|| {
        format!("{name} {shape:?} holds no logits: it is not known which part of the picture its numbers belong to")
    })?;
    let plan = Readout::plan(name, known, map_axis(shape))?;
    Ok(Logits::Classes { tensor: name.to_owned(), classes: plan.width() })
}

fn map_axis(shape: &[usize]) -> Option<usize> {
    (shape.len() == 4).then_some(1)
}

fn before_decision<'a>(web: &Web<'a>, output: &'a str) -> &'a str {
    let mut name = output;
    let mut steps = 0;
    while let Some(one) = web.making(name).filter(|_| steps < 8) {
        steps += 1;
        let Some(from) = one.arg(0) else { break };
        if POSTPROCESSING.contains(&one.op_type()) {
            return from;
        }
        if !PLACING.contains(&one.op_type()) {
            break;
        }
        name = from;
    }
    output
}

/// Scores in `name`. `elsewhere` are the nodes that other outputs need: what those are made of is no end
/// result.
fn classes(web: &Web, cells: &CellMap, name: &str, elsewhere: &[bool]) -> Option<Logits> {
    let (shape, known) = (web.shape(name)?, cells.get(name)?);
    let layer = scores(web, name, 0).filter(|&layer| !elsewhere[layer])?;
    if !(3..=4).contains(&shape.len()) {
        return None;
    }
    let plan = Readout::plan(name, known, map_axis(shape)).ok()?;
    // A layer that keeps the width of its tokens makes keys or the like.
    let layer = &web.nodes[layer];
    let inner = layer.arg(0).and_then(|from| web.shape(from)?.last().copied());
    if shape.len() == 3 && web.changing(layer).len() == 1 && inner == Some(plan.width()) {
        return None;
    }
    (2..=4096)
        .contains(&plan.width())
        .then(|| Logits::Classes { tensor: name.to_owned(), classes: plan.width() })
}

/// The linear layer (or product) that `name` comes straight from: features end in an activation, a norm
/// or a sum.
fn scores(web: &Web, name: &str, depth: usize) -> Option<usize> {
    let at = web.maker(name).filter(|_| depth < 16)?;
    let one = &web.nodes[at];
    let from = one.arg(0)?;
    let product = |name: &str| {
        let at = web.maker(name)?;
        let one = &web.nodes[at];
        let is = matches!(one.op_type(), "MatMul" | "Einsum" | "FusedMatMul") && web.changing(one).len() == 2;
        is.then_some(at)
    };
    match one.op_type() {
        "Conv" | "ConvTranspose" | "MatMul" | "Gemm" | "Einsum" | "FusedMatMul" => Some(at),
        // Similarities to class embeddings are scores, normalised over the classes or not.
        "LayerNormalization" => product(from),
        "Add" => {
            let changing = web.changing(one);
            let enlarged = |name: &&str| {
                let made = web.making(name).map(NodeProto::op_type);
                matches!(made, Some("Conv" | "ConvTranspose" | "Resize"))
            };
            match changing[..] {
                [single] => scores(web, single, depth + 1),
                _ => changing.iter().all(enlarged).then_some(at),
            }
        }
        op if PLACING.contains(&op) => scores(web, from, depth + 1),
        _ => None,
    }
}

fn queries(web: &Web, cells: &CellMap, outputs: &[&str]) -> Option<Logits> {
    for &masks in outputs {
        let Some(&[1, queries, _, _]) = web.shape(masks) else { continue };
        if !cells.contains_key(masks) {
            continue;
        }
        for &tensor in outputs {
            if let Some(&[1, rows, all]) = web.shape(tensor)
                && rows == queries
                && all >= 2
                && !cells.contains_key(tensor)
            {
                let (tensor, masks) = (tensor.to_owned(), masks.to_owned());
                return Some(Logits::Queries { tensor, masks, classes: all - 1, queries });
            }
        }
    }
    None
}

impl Logits {
    /// Number of classes.
    pub fn classes(&self) -> usize {
        match self {
            Logits::Classes { classes, .. } | Logits::Queries { classes, .. } => *classes,
        }
    }

    /// What the numbers are once [`Logits::nodes`] has made them.
    pub fn kind(&self) -> LogitsKind {
        match self {
            Logits::Classes { .. } => LogitsKind::Classes,
            Logits::Queries { .. } => LogitsKind::Masks,
        }
    }

    /// The tensors that it is made of.
    pub fn tensors(&self) -> Vec<&str> {
        match self {
            Logits::Classes { tensor, .. } => vec![tensor],
            Logits::Queries { tensor, masks, .. } => vec![tensor, masks],
        }
    }

    /// Nodes and constants that give `output`, `[1, K, rows, cols]`.
    ///
    /// For a mask classifier these are L_c = sum over the queries of the probability of class c (of all,
    /// "nothing" included) times the sigmoid of the mask, as "rejected by all" and the semantic map use it.
    ///
    /// # Errors
    /// If the shapes are not known.
    pub fn nodes(
        &self,
        web: &Web,
        cells: &CellMap,
        output: &str,
    ) -> Result<(Vec<NodeProto>, Vec<TensorProto>), String> {
        match self {
            Logits::Classes { tensor, classes } => {
                let shape = web.shape(tensor).unwrap_or_default();
                if let &[1, channels, _, _] = shape
                    && channels == *classes
                {
                    return Ok((vec![node("Identity", &[tensor], output, Vec::new())], Vec::new()));
                }
                let known = cells.get(tensor).ok_or("its cells are not known")?;
                let plan = Readout::plan(tensor, known, None)?;
                let flat = format!("{output}/cells");
                let (mut nodes, mut constants) = plan.nodes(&flat);
                let turned = format!("{output}/channels");
                nodes.push(node("Transpose", &[&flat], &turned, vec![ints("perm", vec![1, 0])]));
                let dims = [1, *classes as i64, plan.grid.rows as i64, plan.grid.cols as i64];
                let shape = format!("{output}/shape");
                constants.push(int_tensor(&shape, &dims));
                nodes.push(node("Reshape", &[&turned, &shape], output, Vec::new()));
                Ok((nodes, constants))
            }
            Logits::Queries { tensor, masks, classes, queries } => {
                let &[_, _, rows, cols] = web.shape(masks).ok_or("the masks have no shape")? else {
                    return Err("the masks are no maps".to_owned());
                };
                let at = |what: &str| format!("{output}/{what}");
                let constants = vec![
                    int_tensor(&at("starts"), &[0]),
                    int_tensor(&at("ends"), &[*classes as i64]),
                    int_tensor(&at("axes"), &[2]),
                    int_tensor(&at("flat"), &[1, *queries as i64, (rows * cols) as i64]),
                    int_tensor(&at("shape"), &[1, *classes as i64, rows as i64, cols as i64]),
                ];
                let nodes = vec![
                    node("Softmax", &[tensor], &at("all"), vec![int("axis", 2)]),
                    node(
                        "Slice",
                        &[&at("all"), &at("starts"), &at("ends"), &at("axes")],
                        &at("some"),
                        vec![],
                    ),
                    node("Transpose", &[&at("some")], &at("turned"), vec![ints("perm", vec![0, 2, 1])]),
                    node("Sigmoid", &[masks], &at("inside"), vec![]),
                    node("Reshape", &[&at("inside"), &at("flat")], &at("rows"), vec![]),
                    node("MatMul", &[&at("turned"), &at("rows")], &at("sum"), vec![]),
                    node("Reshape", &[&at("sum"), &at("shape")], output, vec![]),
                ];
                Ok((nodes, constants))
            }
        }
    }

    /// The same computed here, from the numbers of [`Logits::tensors`]: what the nodes are checked against.
    /// `None` if a tensor is missing.
    pub fn gather(
        &self,
        web: &Web,
        cells: &CellMap,
        numbers: &HashMap<String, Vec<f32>>,
    ) -> Option<Vec<f32>> {
        match self {
            Logits::Classes { tensor, .. } => {
                let (shape, data) = (web.shape(tensor)?, numbers.get(tensor)?);
                if shape.len() == 4 {
                    return Some(data.clone());
                }
                let plan = Readout::plan(tensor, cells.get(tensor)?, None).ok()?;
                let (flat, width) = (plan.gather(data), plan.width());
                Some((0..width).flat_map(|c| flat.iter().skip(c).step_by(width).copied()).collect())
            }
            Logits::Queries { tensor, masks, classes, queries } => {
                let (scores, masks) = (numbers.get(tensor)?, numbers.get(masks)?);
                let cells = masks.len() / queries;
                let mut sums = vec![0.0_f64; classes * cells];
                for (row, mask) in scores.chunks_exact(classes + 1).zip(masks.chunks_exact(cells.max(1))) {
                    let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                    let powers: Vec<f64> = row.iter().map(|score| f64::from(score - top).exp()).collect();
                    let all: f64 = powers.iter().sum();
                    for (power, sums) in powers.iter().zip(sums.chunks_exact_mut(cells.max(1))) {
                        for (sum, logit) in sums.iter_mut().zip(mask) {
                            *sum += power / all / (1.0 + (-f64::from(*logit)).exp());
                        }
                    }
                }
                Some(sums.into_iter().map(|sum| sum as f32).collect())
            }
        }
    }
}
