//! Laying open what fused operators compute inside themselves and do not give out, so that it can be read: the
//! projections of attention, the sum under a norm.

use super::onnx::{NodeProto, TensorProto, node};
use super::trace::{Shapes, Traced};

/// The name of the joint projection of the fused attention that gives `output`.
pub fn joint(output: &str) -> String {
    format!("{output}/farout_qkv")
}

/// The name of what the fused attention that gives `output` reads as `role` (query, key, value), where the operator
/// adds a bias to it.
pub fn apart(output: &str, role: &str) -> String {
    format!("{output}/farout_{role}")
}

/// Puts before each fused attention what it projects or adds by itself:
/// - `com.microsoft.Attention`: the projection `[.., tokens, 3 C]`, queries, keys and values side by side;
/// - `com.microsoft.MultiHeadAttention`: queries, keys and values with their bias.
///
/// Norms that take a sum give that out, too. Nothing reads any of it unless it is asked for.
pub fn lay_open(traced: &mut Traced) {
    let Some(graph) = traced.model.graph.as_mut() else {
        return;
    };
    let mut nodes = Vec::with_capacity(graph.node.len());
    for mut one in std::mem::take(&mut graph.node) {
        if one.domain() == "com.microsoft" {
            let laid = match one.op_type() {
                "Attention" => projection(&one, &graph.initializer, &traced.shapes),
                "MultiHeadAttention" => factors(&one, &graph.initializer, &traced.shapes),
                "SkipLayerNormalization" | "SkipSimplifiedLayerNormalization" => {
                    give_sum(&mut one, &mut traced.shapes);
                    None
                }
                _ => None,
            };
            let laid = laid.unwrap_or_default();
            for (made, shape) in laid.nodes {
                traced.shapes.insert(made.out(0).to_owned(), shape);
                nodes.push(made);
            }
            graph.initializer.extend(laid.constants);
        }
        nodes.push(one);
    }
    graph.node = nodes;
}

/// Nodes with the shapes of what they give, and constants.
#[derive(Default)]
struct Laid {
    nodes: Vec<(NodeProto, Vec<usize>)>,
    constants: Vec<TensorProto>,
}

/// Names the sum of a fused norm, its fourth output, where the file leaves that out.
fn give_sum(one: &mut NodeProto, shapes: &mut Shapes) {
    if one.out(3).is_empty() {
        let sum = format!("{}/farout_sum", one.out(0));
        shapes
            .extend(one.arg(0).and_then(|name| shapes.get(name)).cloned().map(|shape| (sum.clone(), shape)));
        one.output.resize(4, String::new());
        one.output[3] = sum;
    }
}

fn constant<'c>(name: &str, constants: &'c [TensorProto]) -> Option<&'c TensorProto> {
    constants.iter().find(|tensor| tensor.name() == name)
}

fn projection(one: &NodeProto, constants: &[TensorProto], shapes: &Shapes) -> Option<Laid> {
    let (image, weight) = (one.arg(0)?, one.arg(1)?);
    let weight_dims = &constant(weight, constants)?.dims;
    let width = usize::try_from(*weight_dims.last()?).ok().filter(|_| weight_dims.len() == 2)?;
    let (_, rows) = shapes.get(image)?.split_last()?;
    let shape: Vec<usize> = rows.iter().copied().chain([width]).collect();
    let whole = joint(one.out(0));
    let product = format!("{whole}/product");
    let mut laid = Laid::default();
    match one.arg(2) {
        Some(bias) => {
            laid.nodes.push((node("MatMul", &[image, weight], &product, Vec::new()), shape.clone()));
            laid.nodes.push((node("Add", &[&product, bias], &whole, Vec::new()), shape));
        }
        None => laid.nodes.push((node("MatMul", &[image, weight], &whole, Vec::new()), shape)),
    }
    Some(laid)
}

/// Widths of queries, keys and values in the joint projection of `one`, `width` wide in all.
pub fn widths(one: &NodeProto, width: usize) -> [usize; 3] {
    let told: Vec<usize> =
        one.ints("qkv_hidden_sizes").iter().filter_map(|&n| usize::try_from(n).ok()).collect();
    match told[..] {
        [query, key, value] if query + key + value == width => [query, key, value],
        _ => [width / 3; 3],
    }
}

/// Queries, keys and values of an operator that adds a bias `[q + k + v]` to them.
fn factors(one: &NodeProto, constants: &[TensorProto], shapes: &Shapes) -> Option<Laid> {
    let bias = one.arg(3).and_then(|name| constant(name, constants))?;
    let mut laid = Laid::default();
    let mut start = 0;
    for (n, role) in ["query", "key", "value"].into_iter().enumerate() {
        let from = one.arg(n)?;
        let dims = shapes.get(from)?;
        let width = *dims.last()?;
        // Keys and values that come in heads were projected elsewhere, bias and all.
        if dims.len() == 3 {
            let to = apart(one.out(0), role);
            let own = format!("{to}/bias");
            laid.constants.push(part_of(bias, &own, start, width)?);
            laid.nodes.push((node("Add", &[from, &own], &to, Vec::new()), dims.clone()));
        }
        start += width;
    }
    Some(laid)
}

/// `count` elements of a constant from `start` on, as a row.
fn part_of(tensor: &TensorProto, name: &str, start: usize, count: usize) -> Option<TensorProto> {
    let all = tensor.elements();
    let mut part = TensorProto { name: Some(name.to_owned()), dims: vec![count as i64], ..tensor.clone() };
    if let Some(raw) = &tensor.raw_data {
        let size = raw.len().checked_div(all)?;
        part.raw_data = Some(raw.get(start * size..(start + count) * size)?.to_vec());
    } else if tensor.float_data.len() == all {
        part.float_data = tensor.float_data.get(start..start + count)?.to_vec();
    } else {
        part.int32_data = tensor.int32_data.get(start..start + count)?.to_vec();
    }
    Some(part)
}
