//! Products and sums of 8-bit integers written out: the same operator on floats, between DequantizeLinear and
//! QuantizeLinear, so that the tensors between them can be read. ONNX Runtime joins them again when it optimises.

use super::onnx::{AttributeProto, GraphProto, NodeProto, int, node};
use super::{opset, rewrite};

/// How an operator on integers lists its inputs.
#[derive(Clone, Copy)]
enum Inputs {
    /// Two factors with scale and zero point each, then scale and zero point of the result, then perhaps a bias.
    Two,
    /// The same with the bias before the scale of the result.
    TwoAndBias,
    /// One input with scale and zero point, then those of the result.
    One,
    /// Scale and zero point of the result, then any number of inputs with theirs.
    Many,
}

/// The operator on floats, and how the inputs lie.
fn known(one: &NodeProto) -> Option<(&'static str, Inputs)> {
    Some(match (one.domain(), one.op_type()) {
        ("" | "ai.onnx", "QLinearMatMul") => ("MatMul", Inputs::Two),
        ("" | "ai.onnx", "QLinearConv") => ("Conv", Inputs::Two),
        ("com.microsoft", "QGemm") => ("Gemm", Inputs::TwoAndBias),
        ("com.microsoft", "QLinearAdd") => ("Add", Inputs::Two),
        ("com.microsoft", "QLinearMul") => ("Mul", Inputs::Two),
        ("com.microsoft", "QLinearSigmoid") => ("Sigmoid", Inputs::One),
        ("com.microsoft", "QLinearLeakyRelu") => ("LeakyRelu", Inputs::One),
        ("com.microsoft", "QLinearSoftmax") => ("Softmax", Inputs::One),
        ("com.microsoft", "QLinearConcat") => ("Concat", Inputs::Many),
        _ => return None,
    })
}

/// Writes out what is known of the operators on integers of `graph`, whose operators are of `opset`; how many there
/// were.
pub fn write_out(graph: &mut GraphProto, opset: i64) -> usize {
    let before = graph.node.len();
    let mark = rewrite::mark(graph, "/farout");
    let mut written = 0;
    let mut made = Vec::with_capacity(before);
    for one in std::mem::take(&mut graph.node) {
        let steps = match known(&one) {
            Some((op, inputs)) => written_out(graph, &one, op, inputs, &mark, opset),
            None => attention(graph, &one, &mark),
        };
        match steps {
            Some(steps) => {
                written += 1;
                made.extend(steps);
            }
            None => made.push(one),
        }
    }
    graph.node = made;
    written
}

/// True if scale or zero point `name` has one number per channel.
fn per_channel(graph: &GraphProto, name: &str) -> bool {
    graph.initializer.iter().any(|tensor| tensor.name() == name && tensor.elements() > 1)
}

struct Steps<'a> {
    graph: &'a GraphProto,
    prefix: String,
    nodes: Vec<NodeProto>,
}

impl Steps<'_> {
    /// `of` as floats: its name, scale and zero point. Scales of several channels lie along `axis`.
    fn floats(&mut self, [of, scale, zero]: [&str; 3], axis: i64) -> String {
        let to = format!("{}/float_{}", self.prefix, self.nodes.len());
        let inputs: Vec<&str> = [of, scale, zero].into_iter().filter(|name| !name.is_empty()).collect();
        let axis = if per_channel(self.graph, scale) { vec![int("axis", axis)] } else { Vec::new() };
        self.nodes.push(node("DequantizeLinear", &inputs, &to, axis));
        to
    }
}

fn written_out(
    graph: &GraphProto,
    one: &NodeProto,
    op: &str,
    inputs: Inputs,
    mark: &str,
    opset: i64,
) -> Option<Vec<NodeProto>> {
    let result = one.out(0);
    // Without scales per channel the weights would be written in floats, and ONNX Runtime rounds the weights of a
    // convolution between integers once more, by one scale for all.
    let by_channel = one.arg(4).is_some_and(|scale| per_channel(graph, scale));
    if op == "Conv" && by_channel && opset < opset::SCALES_PER_CHANNEL {
        return None;
    }
    let mut steps = Steps { graph, prefix: format!("{result}{mark}"), nodes: Vec::new() };
    let arg = |n: usize| one.arg(n).unwrap_or_default();
    let three = |n: usize| [arg(n), arg(n + 1), arg(n + 2)];
    let turned = one.int("transB").unwrap_or(0) != 0;
    let weights_axis = if op == "Conv" || turned { 0 } else { 1 };
    let (mut floats, scale) = match inputs {
        Inputs::One => (vec![steps.floats(three(0), 0)], 3),
        Inputs::Many => {
            let count = one.input.len().checked_sub(2)? / 3;
            ((0..count).map(|n| steps.floats(three(2 + 3 * n), 0)).collect(), 0)
        }
        Inputs::Two | Inputs::TwoAndBias => {
            let two = vec![steps.floats(three(0), 0), steps.floats(three(3), weights_axis)];
            (two, if matches!(inputs, Inputs::Two) { 6 } else { 7 })
        }
    };
    let bias = match inputs {
        Inputs::Two if op == "Conv" => arg(8),
        Inputs::TwoAndBias => arg(6),
        _ => "",
    };
    if !bias.is_empty() {
        // Its scale is the product of both, its zero point 0.
        let (scale, to) = (format!("{}/bias_scale", steps.prefix), format!("{}/bias", steps.prefix));
        steps.nodes.push(node("Mul", &[arg(1), arg(4)], &scale, Vec::new()));
        let axis = if per_channel(graph, arg(4)) { vec![int("axis", 0)] } else { Vec::new() };
        steps.nodes.push(node("DequantizeLinear", &[bias, &scale], &to, axis));
        floats.push(to);
    }
    let own = ["channels_last", "opset"];
    let attributes: Vec<AttributeProto> =
        one.attribute.iter().filter(|attribute| !own.contains(&attribute.name())).cloned().collect();
    let names: Vec<&str> = floats.iter().map(String::as_str).collect();
    let rounded = !arg(scale).is_empty();
    let to = if rounded { format!("{}/result", steps.prefix) } else { result.to_owned() };
    steps.nodes.push(node(op, &names, &to, attributes));
    if rounded {
        let inputs: Vec<&str> =
            [to.as_str(), arg(scale), arg(scale + 1)].into_iter().filter(|name| !name.is_empty()).collect();
        steps.nodes.push(node("QuantizeLinear", &inputs, result, Vec::new()));
    }
    Some(steps.nodes)
}

/// An attention that projects by integers: input, weights, bias, scales of both, mask, zero points of both, past.
fn attention(graph: &GraphProto, one: &NodeProto, mark: &str) -> Option<Vec<NodeProto>> {
    // A past is of language models only.
    if (one.domain(), one.op_type()) != ("com.microsoft", "QAttention") || one.arg(8).is_some() {
        return None;
    }
    let result = one.out(0);
    let mut steps = Steps { graph, prefix: format!("{result}{mark}"), nodes: Vec::new() };
    let arg = |n: usize| one.arg(n).unwrap_or_default();
    let input = steps.floats([arg(0), arg(3), arg(6)], 0);
    let weights = steps.floats([arg(1), arg(4), arg(7)], 1);
    let inputs = [input.as_str(), &weights, arg(2), arg(5)];
    let whole = node("Attention", &inputs, result, one.attribute.clone());
    steps.nodes.push(NodeProto { domain: one.domain.clone(), ..whole });
    Some(steps.nodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_sums_and_biases_stand_between_floats() {
        let microsoft = |one: NodeProto| NodeProto { domain: Some("com.microsoft".into()), ..one };
        let nine = ["a", "as", "az", "b", "bs", "bz", "ys", "yz", "bias"];
        let gemm = ["a", "as", "az", "b", "bs", "bz", "bias", "", ""];
        let mut graph = GraphProto {
            node: vec![
                node("QLinearMatMul", &nine[..8], "m", vec![]),
                node("QLinearConv", &nine, "c", vec![]),
                microsoft(node("QGemm", &gemm, "g", vec![int("transB", 1)])),
                microsoft(node(
                    "QLinearConcat",
                    &["ys", "yz", "a", "as", "az", "b", "bs", "bz"],
                    "j",
                    vec![],
                )),
                node("Relu", &["m"], "r", vec![]),
            ],
            ..Default::default()
        };
        assert_eq!(write_out(&mut graph, 13), 4);
        let ops = |name: &str| -> Vec<&str> {
            let own = graph.node.iter().filter(|one| one.out(0).starts_with(name));
            own.map(NodeProto::op_type).collect()
        };
        let (from, to) = ("DequantizeLinear", "QuantizeLinear");
        assert_eq!(ops("m"), [from, from, "MatMul", to]);
        assert_eq!(ops("c"), [from, from, "Mul", from, "Conv", to]);
        // Without a scale for its result it gives floats.
        assert_eq!(ops("g"), [from, from, "Mul", from, "Gemm"]);
        assert_eq!(ops("j"), [from, from, "Concat", to]);
        assert_eq!(ops("r"), ["Relu"]);
        assert_eq!(write_out(&mut graph, 13), 0);
    }

    #[test]
    fn a_convolution_by_channels_stays_where_scales_per_channel_are_not_known() {
        let nine = ["a", "as", "az", "b", "bs", "bz", "ys", "yz", "bias"];
        let scales =
            |count: i64| crate::model::onnx::float_tensor("bs", vec![count], &vec![0.5; count as usize]);
        for (opset, count, written) in [(12, 2, 0), (12, 1, 1), (13, 2, 1)] {
            let mut graph = GraphProto {
                node: vec![node("QLinearConv", &nine, "c", vec![])],
                initializer: vec![scales(count)],
                ..Default::default()
            };
            assert_eq!(write_out(&mut graph, opset), written, "opset {opset}, {count} scales");
        }
    }
}
