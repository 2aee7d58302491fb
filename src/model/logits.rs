//! Class logits: what they are made of, as nodes and as numbers. Which tensors of a file they are: `heads`.

use std::collections::HashMap;

use serde::Serialize;

use super::cells::{CellMap, Cells};
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

/// True for `[1, K, rows, cols]` with the cells row by row.
fn is_map(known: &Cells) -> bool {
    let array = &known.array;
    array.dims.len() == 4
        && array.varies[..2] == [false, false]
        && array.dims[2..] == [known.grid.rows, known.grid.cols]
        && array.data.is_sorted()
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
                let known = cells.get(tensor).ok_or("its cells are not known")?;
                if is_map(known) {
                    return Ok((vec![node("Identity", &[tensor], output, Vec::new())], Vec::new()));
                }
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
    pub fn gather(&self, cells: &CellMap, numbers: &HashMap<String, Vec<f32>>) -> Option<Vec<f32>> {
        match self {
            Logits::Classes { tensor, .. } => {
                let (known, data) = (cells.get(tensor)?, numbers.get(tensor)?);
                if is_map(known) {
                    return Some(data.clone());
                }
                let plan = Readout::plan(tensor, known, None).ok()?;
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
