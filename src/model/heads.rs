//! The heads of a file that give class scores: which outputs, or which inner tensors behind their post-processing.

use std::collections::HashSet;

use serde::Serialize;

use super::cells::CellMap;
use super::logits::Logits;
use super::movement;
use super::onnx::{GraphProto, NodeProto};
use super::readout::Readout;
use super::web::Web;
use crate::grid::Grid;

/// One head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Head {
    /// What to ask for it by: `logits`, `logits:2`.
    pub selector: String,
    /// The outputs of the file that it ends in.
    pub outputs: Vec<String>,
    /// The operator that makes probabilities or a decision of the scores, if the first of these outputs has one:
    /// the logits are what goes into it.
    pub decided_by: Option<String>,
    /// The grid of the scores.
    pub rows: usize,
    /// Its columns.
    pub cols: usize,
    /// The scores.
    pub logits: Logits,
}

/// Turns scores into a decision, or bends them.
const DECISIONS: [&str; 4] = ["Softmax", "LogSoftmax", "ArgMax", "Sigmoid"];
/// Changes the place of scores only.
const PLACING: [&str; 13] = [
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
    "QuantizeLinear",
    "DequantizeLinear",
];
/// Bends each channel by itself, as the last layers of decoders that enlarge to the size of the picture do.
const BENDING: [&str; 4] = ["PRelu", "LeakyRelu", "BatchNormalization", "Mul"];

/// All heads among `outputs`, in their order, each named once.
pub fn find(web: &Web, cells: &CellMap, outputs: &[&str]) -> Vec<Head> {
    let mut found = Vec::new();
    if let Some((logits, names)) = queries(web, cells, outputs) {
        found.push((logits, names, None));
    } else {
        let mut seen: HashSet<&str> = HashSet::new();
        for name in outputs {
            let root = root(web, name);
            // Probabilities, decisions and enlarged copies of the same scores are one head.
            let family: Vec<&str> =
                outputs.iter().copied().filter(|other| self::root(web, other) == root).collect();
            let others: Vec<&str> = outputs.iter().copied().filter(|other| !family.contains(other)).collect();
            // Something else that is given out is made of it: then it is no end result.
            let inner = web.maker(root).is_some_and(|n| web.needed(&others)[n]);
            if inner || !seen.insert(root) {
                continue;
            }
            let found_in = family.iter().copied().find_map(|name| {
                let (tensor, decided) = before_decision(web, cells, name);
                let scores = classes(web, cells, tensor, &web.needed(&others))?;
                Some((scores, decided))
            });
            if let Some((logits, decided)) = found_in {
                found.push((logits, family.into_iter().map(str::to_owned).collect(), decided));
            }
        }
    }
    let head = |(n, (logits, outputs, decided_by)): (usize, (Logits, Vec<String>, Option<&str>))| {
        let grid = grid(cells, &logits);
        Head {
            selector: if n == 0 { "logits".to_owned() } else { format!("logits:{}", n + 1) },
            outputs,
            decided_by: decided_by.map(str::to_owned),
            rows: grid.rows,
            cols: grid.cols,
            logits,
        }
    };
    found.into_iter().enumerate().map(head).collect()
}

fn grid(cells: &CellMap, logits: &Logits) -> Grid {
    let place = logits.tensors().last().and_then(|name| cells.get(*name));
    place.map(|cells| cells.grid).unwrap_or_default()
}

/// What `name` means if the user says so: a head by its selector or by an output's name, or any tensor, of which
/// probabilities are traced back to the scores that they are made of.
///
/// # Errors
/// Why it holds no logits.
pub fn named(
    web: &Web,
    cells: &CellMap,
    heads: &[Head],
    name: &str,
) -> Result<(Logits, Option<String>), String> {
    let is = |head: &&Head| head.selector == name || head.outputs.iter().any(|output| output == name);
    if let Some(head) = heads.iter().find(is) {
        return Ok((head.logits.clone(), head.decided_by.clone()));
    }
    let listed = || {
        let all = heads.iter().map(|head| format!("{} ({})", head.selector, head.outputs.join(", ")));
        let all: Vec<String> = all.collect();
        if all.is_empty() { String::new() } else { format!("; its heads are {}", all.join(", ")) }
    };
    let shape = web.shape(name).ok_or_else(|| format!("it has no tensor {name:?}{}", listed()))?;
    let (tensor, decided) = before_decision(web, cells, name);
    let known = cells.get(tensor).ok_or_else(|| {
        format!("{name} {shape:?} holds no logits: it is not known which part of the picture its numbers belong to")
    })?;
    let plan = Readout::plan(tensor, known, None)?;
    if plan.width() < 2 {
        return Err(format!("{name} {shape:?} holds one number per cell: logits are of two classes or more"));
    }
    let logits = Logits::Classes { tensor: tensor.to_owned(), classes: plan.width() };
    Ok((logits, decided.map(str::to_owned)))
}

/// The head with the most classes, the first of several: what is taken if nothing is asked for.
pub fn main(heads: &[Head]) -> Option<&Head> {
    heads.iter().rev().max_by_key(|head| head.logits.classes())
}

/// The scores that `name` is a decision about (probabilities, the best class), and the operator that makes it so. `made`
/// gives the node that makes a tensor.
pub fn decided<'a>(
    name: &'a str,
    made: impl Fn(&str) -> Option<&'a NodeProto>,
) -> Option<(&'a str, &'a NodeProto)> {
    let mut name = name;
    for _ in 0..8 {
        let one = made(name)?;
        let from = one.arg(0)?;
        if DECISIONS.contains(&one.op_type()) {
            return Some((from, one));
        }
        name = Some(from).filter(|_| PLACING.contains(&one.op_type()))?;
    }
    None
}

/// Whether the tensor `name` can hold logits: it is not made by what turns scores into probabilities or a decision.
///
/// # Errors
/// If it is: what to name instead.
pub fn require_scores(graph: &GraphProto, name: &str) -> Result<(), String> {
    let made = |name: &str| graph.node.iter().find(|one| one.output.iter().any(|output| output == name));
    match decided(name, made) {
        Some((from, one)) => Err(format!(
            "the tensor {name} holds no logits: {} makes it of scores; set `logits` to what goes in there, {from:?}, or \
             prepare the file, which finds it",
            one.op_type()
        )),
        None => Ok(()),
    }
}

/// The scores that `output` is made of, and the operator that decides by them; `output` itself if none does.
fn before_decision<'a>(web: &Web<'a>, cells: &CellMap, output: &'a str) -> (&'a str, Option<&'a str>) {
    let found = decided(output, |name| web.making(name));
    let over_classes = |from: &str, one: &NodeProto| {
        let axis = match one.op_type() {
            "Sigmoid" => return true,
            "ArgMax" => one.int("axis").unwrap_or(0),
            _ => one.int("axis").unwrap_or(-1),
        };
        // Old files take everything from the axis on as one row.
        let varies = cells.get(from).map(|cells| &cells.array.varies);
        varies.is_none_or(|varies| movement::axis(axis, varies.len()).is_some_and(|axis| !varies[axis]))
    };
    match found.filter(|(from, one)| over_classes(from, one)) {
        Some((from, one)) => (from, Some(one.op_type())),
        None => (output, None),
    }
}

/// What `name` is made of by placing and deciding alone.
fn root<'a>(web: &Web<'a>, name: &'a str) -> &'a str {
    let mut name = name;
    while let Some(one) = web.making(name)
        && (PLACING.contains(&one.op_type()) || DECISIONS.contains(&one.op_type()))
        && let Some(from) = one.arg(0)
    {
        name = from;
    }
    name
}

/// Scores in `name`. `elsewhere` are the nodes that other outputs need: what those are made of is no end
/// result.
fn classes(web: &Web, cells: &CellMap, name: &str, elsewhere: &[bool]) -> Option<Logits> {
    let (shape, known) = (web.shape(name)?, cells.get(name)?);
    // At the size of the picture, nothing but results is given out.
    let whole = web.shape(web.input).is_some_and(|dims| dims[2..] == [known.grid.rows, known.grid.cols]);
    let layer = scores(web, name, whole, 0).filter(|&layer| !elsewhere[layer])?;
    if !(3..=4).contains(&shape.len()) {
        return None;
    }
    let plan = Readout::plan(name, known, None).ok()?;
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
/// or a sum, but what is as large as the picture (`whole`).
fn scores(web: &Web, name: &str, whole: bool, depth: usize) -> Option<usize> {
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
                [single] => scores(web, single, whole, depth + 1),
                _ => changing.iter().all(enlarged).then_some(at),
            }
        }
        op if PLACING.contains(&op) => scores(web, from, whole, depth + 1),
        op if whole && BENDING.contains(&op) => match web.changing(one)[..] {
            [single] => scores(web, single, whole, depth + 1),
            _ => None,
        },
        _ => None,
    }
}

fn queries(web: &Web, cells: &CellMap, outputs: &[&str]) -> Option<(Logits, Vec<String>)> {
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
                let names = vec![tensor.to_owned(), masks.to_owned()];
                let (tensor, masks) = (tensor.to_owned(), masks.to_owned());
                return Some((Logits::Queries { tensor, masks, classes: all - 1, queries }, names));
            }
        }
    }
    None
}
