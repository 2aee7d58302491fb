//! Sums in a graph, and what leads to and from them without being changed: the same numbers in other shapes,
//! orders and formats.

use std::collections::{HashMap, HashSet};

use super::norms::Norms;
use super::onnx::NodeProto;
use super::web::Web;

/// Tensors looked at on a way through sums.
const FARTHEST: usize = 4096;

/// A sum of tensors that all change with the picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum<'a> {
    /// What is added.
    pub addends: Vec<&'a str>,
    /// The result.
    pub sum: &'a str,
}

/// The sum that node `n` makes of two tensors or more that change with the picture: `Add`, `Sum`, the sum inside a
/// fused norm, or one over a stack.
pub fn sum_of<'a>(web: &Web<'a>, n: usize) -> Option<Sum<'a>> {
    let one = web.nodes.get(n)?;
    let changing = |names: &'a [String]| -> Vec<&'a str> {
        names.iter().map(String::as_str).filter(|name| !name.is_empty() && !web.is_constant(name)).collect()
    };
    let (addends, sum) = match one.op_type() {
        "Add" | "Sum" => (changing(&one.input), one.out(0)),
        "SkipLayerNormalization" | "SkipSimplifiedLayerNormalization" => {
            (changing(one.input.get(..2)?), one.out(3))
        }
        "ReduceSum" => {
            let stack = web.making(one.arg(0)?).filter(|one| one.op_type() == "Concat")?;
            let rank = web.shape(stack.out(0))?.len();
            let along = super::movement::axis(stack.int("axis")?, rank)?;
            let axes =
                one.arg(1).and_then(|name| web.numbers(name)).unwrap_or_else(|| one.ints("axes").to_vec());
            let one_each = stack.input.iter().all(|name| web.dims(name).is_some_and(|dims| dims[along] == 1));
            let over = matches!(axes[..], [axis] if super::movement::axis(axis, rank) == Some(along));
            (changing(&stack.input).into_iter().filter(|_| over && one_each).collect(), one.out(0))
        }
        _ => return None,
    };
    (addends.len() >= 2 && !sum.is_empty()).then_some(Sum { addends, sum })
}

/// True if `one` only changes the shape of what it reads, or rounds it.
fn reshapes(one: &NodeProto) -> bool {
    matches!(
        one.op_type(),
        "Identity"
            | "Reshape"
            | "Transpose"
            | "Squeeze"
            | "Unsqueeze"
            | "Flatten"
            | "Cast"
            | "Dropout"
            | "QuantizeLinear"
            | "DequantizeLinear"
    )
}

/// True if `one` puts parts of what it reads elsewhere, as windows and class tokens do, and changes no number.
fn carries(one: &NodeProto) -> bool {
    reshapes(one) || matches!(one.op_type(), "Slice" | "Split" | "Concat" | "Pad" | "Gather")
}

/// True if `one` scales or shifts what it reads by constants.
fn shifts(web: &Web, one: &NodeProto) -> bool {
    matches!(one.op_type(), "Add" | "Sub" | "Mul" | "Div") && web.changing(one).len() == 1
}

/// The tensor that `name` is another shape of, as far back as that goes.
pub fn original<'a>(web: &Web<'a>, name: &'a str) -> &'a str {
    let mut name = name;
    while let Some(one) = web.making(name).filter(|one| reshapes(one))
        && let Some(from) = one.input.first()
    {
        name = from;
    }
    name
}

/// The last tensor that `wanted` holds for on the ways back from `from` through sums, constant factors and what only
/// moves numbers; through norms too, if `normed` gives what each normalises.
pub fn source<'a>(
    web: &Web<'a>,
    from: &'a str,
    normed: Option<&HashMap<&'a str, &'a str>>,
    wanted: &dyn Fn(&str) -> bool,
) -> Option<&'a str> {
    let mut open = vec![from];
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    while let Some(name) = open.pop() {
        if seen.len() > FARTHEST || web.is_constant(name) || !seen.insert(name) {
            continue;
        }
        if wanted(name) {
            found.push(name);
            continue;
        }
        if let Some(from) = normed.and_then(|normed| normed.get(name)) {
            open.push(from);
            continue;
        }
        let Some(n) = web.maker(name) else { continue };
        let one = &web.nodes[n];
        if let Some(sum) = sum_of(web, n).filter(|sum| sum.sum == name) {
            open.extend(sum.addends);
        } else if one.op_type() == "Concat" {
            open.extend(one.input.iter().map(String::as_str));
        } else if carries(one) {
            open.extend(one.arg(0));
        } else if shifts(web, one) {
            open.extend(one.input.iter().map(String::as_str));
        }
    }
    found.into_iter().max_by_key(|name| web.maker(name))
}

/// True if `one` is what attention is known by.
pub fn attends(one: &NodeProto) -> bool {
    matches!(one.op_type(), "Softmax" | "BiasSoftmax") || one.op_type().contains("Attention")
}

/// True if `one` is a layer that mixes channels by constant weights: of attention or an MLP, not of a convolution that
/// tells positions.
pub fn is_layer(web: &Web, one: &NodeProto) -> bool {
    match one.op_type() {
        "Conv" | "FusedConv" => one.int("group").unwrap_or(1) == 1,
        "MatMul" | "Gemm" | "FusedMatMul" | "Einsum" => web.changing(one).len() == 1,
        "MatMulInteger" | "MatMulNBits" | "DynamicQuantizeMatMul" | "MatMulIntegerToFloat" | "FusedGemm" => {
            true
        }
        _ => false,
    }
}

/// A tensor under other shapes, and the norms over it.
#[derive(Debug)]
pub struct Selves<'a> {
    same: Vec<&'a str>,
    normed: Vec<&'a str>,
    norms: Vec<&'a str>,
}

impl<'a> Selves<'a> {
    /// Of the tensor `name`.
    pub fn of(web: &Web<'a>, norms: &Norms<'a>, name: &'a str) -> Selves<'a> {
        let same = carried(web, vec![name]);
        let norms: Vec<&str> = same.iter().filter_map(|name| norms.get(name)).flatten().copied().collect();
        Selves { same, normed: carried(web, norms.clone()), norms }
    }

    /// True if `name` is one of them.
    pub fn has(&self, name: &str) -> bool {
        self.same.contains(&name) || self.normed.contains(&name)
    }

    /// True if `name` is a norm over the tensor, in any shape.
    pub fn is_normed(&self, name: &str) -> bool {
        self.normed.contains(&name) && !self.same.contains(&name)
    }

    /// The norms over the tensor.
    pub fn norms(&self) -> &[&'a str] {
        &self.norms
    }

    /// The norm that `name` is another shape of, if it is no shape of the tensor itself.
    pub fn norm_behind(&self, web: &Web<'a>, name: &str) -> Option<&'a str> {
        let of_norm = |norm: &&&'a str| carried(web, vec![**norm]).contains(&name);
        self.norms.iter().find(of_norm).copied().filter(|_| !self.same.contains(&name))
    }

    /// Numbers of the nodes that read any of them, ascending.
    pub fn readers(&self, web: &Web) -> Vec<usize> {
        let names = self.same.iter().chain(&self.normed);
        let mut readers: Vec<usize> = names.flat_map(|name| web.readers(name)).copied().collect();
        readers.sort_unstable();
        readers.dedup();
        readers
    }
}

fn carried<'a>(web: &Web<'a>, names: Vec<&'a str>) -> Vec<&'a str> {
    let mut all = names;
    let mut at = 0;
    while let Some(&name) = all.get(at) {
        at += 1;
        for &n in web.readers(name) {
            let one = &web.nodes[n];
            if (carries(one) || shifts(web, one)) && all.len() < FARTHEST {
                let new = one.output.iter().map(String::as_str).filter(|name| !name.is_empty());
                let new: Vec<&str> = new.filter(|name| !all.contains(name)).collect();
                all.extend(new);
            }
        }
    }
    all
}
