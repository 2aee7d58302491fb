//! Laying open what a fused attention operator projects inside itself, so that it can be read.

use super::onnx::{NodeProto, TensorProto, node};
use super::trace::Traced;

/// The name of the joint projection of the fused attention that gives `output`.
pub fn joint(output: &str) -> String {
    format!("{output}/farout_qkv")
}

/// Puts before each fused attention that projects by itself (`com.microsoft.Attention`) the projection,
/// `[.., tokens, 3 C]`, queries, keys and values side by side. Nothing reads it unless it is asked for.
pub fn lay_open(traced: &mut Traced) {
    let Some(graph) = traced.model.graph.as_mut() else {
        return;
    };
    let width = |name: &str, constants: &[TensorProto]| {
        let weight = constants.iter().find(|tensor| tensor.name() == name)?;
        (weight.dims.len() == 2).then(|| usize::try_from(*weight.dims.last()?).ok())?
    };
    let mut nodes = Vec::with_capacity(graph.node.len());
    for one in std::mem::take(&mut graph.node) {
        let laid = projection(&one, |name| width(name, &graph.initializer));
        if let Some((more, width)) = laid
            && let Some(shape) = one.arg(0).and_then(|name| traced.shapes.get(name)).cloned()
            && let Some((_, rows)) = shape.split_last()
        {
            let whole: Vec<usize> = rows.iter().copied().chain([width]).collect();
            for made in &more {
                traced.shapes.insert(made.out(0).to_owned(), whole.clone());
            }
            nodes.extend(more);
        }
        nodes.push(one);
    }
    graph.node = nodes;
}

fn projection(one: &NodeProto, width: impl Fn(&str) -> Option<usize>) -> Option<(Vec<NodeProto>, usize)> {
    let fused = one.domain() == "com.microsoft" && one.op_type() == "Attention";
    if !fused || !one.ints("qkv_hidden_sizes").is_empty() {
        return None;
    }
    let (image, weight) = (one.arg(0)?, one.arg(1)?);
    let width = width(weight).filter(|width| width.is_multiple_of(3))?;
    let whole = joint(one.out(0));
    let nodes = match one.arg(2) {
        Some(bias) => {
            let product = format!("{whole}/product");
            vec![
                node("MatMul", &[image, weight], &product, Vec::new()),
                node("Add", &[&product, bias], &whole, Vec::new()),
            ]
        }
        None => vec![node("MatMul", &[image, weight], &whole, Vec::new())],
    };
    Some((nodes, width))
}
