//! Constant signed 8-bit weights as unsigned ones: the same values, stored 128 higher with a zero point 128 higher.
//! Processors that add products of unsigned and signed bytes in 16 bits saturate; products of unsigned bytes do not.

use std::collections::HashMap;

use super::onnx::{GraphProto, ModelProto, NodeProto, TensorProto, data_type};
use super::rewrite;
use super::{integers, opset};

/// What is added to values and zero points.
const OFFSET: u8 = 128;

/// Which inputs of an operator are weights and their zero point; `None` if it multiplies no bytes.
fn operands(one: &NodeProto) -> Option<(usize, usize)> {
    Some(match (one.domain(), one.op_type()) {
        ("" | "ai.onnx", "DequantizeLinear") => (0, 2),
        ("" | "ai.onnx", "MatMulInteger" | "ConvInteger") => (1, 3),
        ("" | "ai.onnx", "QLinearMatMul" | "QLinearConv") | ("com.microsoft", "QGemm") => (3, 5),
        ("com.microsoft", "DynamicQuantizeMatMul") => (1, 3),
        ("com.microsoft", "MatMulIntegerToFloat") => (1, 5),
        ("com.microsoft", "QAttention") => (1, 7),
        _ => return None,
    })
}

/// Operators whose first input is moved, not computed with.
const MOVES: [&str; 8] =
    ["Transpose", "Reshape", "Identity", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Gather"];

/// Makes all constant signed 8-bit weights of `model` unsigned; how many operators read such weights. The model
/// computes the same function. Nodes are in topological order before and after.
pub fn unsigned_weights(model: &mut ModelProto) -> usize {
    let version = model.opset();
    let Some(graph) = &mut model.graph else { return 0 };
    lift_constants(graph);
    // Before that opset scales per channel cannot be written out.
    if version >= opset::SCALES_PER_CHANNEL && graph.node.iter().any(|one| takes_signed(graph, one)) {
        // Operators on integers want factors of one sign; between roundings each stands for itself.
        integers::write_out(graph, version);
    }
    let old = graph.node.clone();
    let makers = old
        .iter()
        .enumerate()
        .flat_map(|(at, one)| one.output.iter().map(move |output| (output.clone(), at)))
        .collect();
    let mut turn =
        Turn { graph, old: &old, makers, known: HashMap::new(), added: Vec::new(), made: Vec::new() };
    let mut count = 0;
    for one in &old {
        let turned = turn.node(one);
        count += usize::from(turned.is_some());
        turn.made.push(turned.unwrap_or_else(|| one.clone()));
    }
    let Turn { added, made, .. } = turn;
    graph.node = made;
    graph.initializer.extend(added);
    let wanted: Vec<String> = graph.output.iter().map(|value| value.name().to_owned()).collect();
    rewrite::keep_only(graph, &wanted.iter().map(String::as_str).collect::<Vec<_>>());
    count
}

/// Constant nodes of signed bytes become initialisers, the one form that is looked for below.
fn lift_constants(graph: &mut GraphProto) {
    let mut lifted = Vec::new();
    graph.node.retain(|one| {
        let tensor = (one.op_type() == "Constant").then(|| one.attr("value").and_then(|a| a.t.as_ref()));
        let Some(tensor) = tensor.flatten().filter(|tensor| tensor.data_type() == data_type::INT8) else {
            return true;
        };
        lifted.push(TensorProto { name: Some(one.out(0).to_owned()), ..tensor.clone() });
        false
    });
    graph.initializer.extend(lifted);
}

/// The constant signed bytes called `name`. What a caller of the model may replace is no constant.
fn signed<'a>(graph: &'a GraphProto, name: &str) -> Option<&'a TensorProto> {
    let tensor = graph.initializer.iter().find(|tensor| tensor.name() == name)?;
    let fixed = graph.input.iter().all(|input| input.name() != name);
    (tensor.data_type() == data_type::INT8 && fixed).then_some(tensor)
}

/// Operators that take activations, their zero point, and weights of one sign only.
const OF_ONE_SIGN: [&str; 3] = ["QLinearMatMul", "QLinearConv", "QGemm"];
/// The zero point of their activations.
const ACTIVATION_ZERO: usize = 2;

/// True if the operator multiplies signed activations by signed weights in one step.
fn takes_signed(graph: &GraphProto, one: &NodeProto) -> bool {
    OF_ONE_SIGN.contains(&one.op_type())
        && [ACTIVATION_ZERO, 5]
            .iter()
            .all(|&zero| one.arg(zero).is_some_and(|name| signed(graph, name).is_some()))
}

/// True if the operator may have unsigned weights beside its activations.
fn may_turn(graph: &GraphProto, one: &NodeProto) -> bool {
    let zero = one.arg(ACTIVATION_ZERO).unwrap_or_default();
    let is_unsigned = |tensor: &TensorProto| tensor.name() == zero && tensor.data_type() == data_type::UINT8;
    !OF_ONE_SIGN.contains(&one.op_type()) || graph.initializer.iter().any(is_unsigned)
}

/// A graph whose nodes are taken over one by one.
struct Turn<'a> {
    graph: &'a GraphProto,
    old: &'a [NodeProto],
    /// The node that gives a tensor.
    makers: HashMap<String, usize>,
    /// Tensors with their unsigned twins; none where there is no twin.
    known: HashMap<String, Option<String>>,
    added: Vec<TensorProto>,
    made: Vec<NodeProto>,
}

impl Turn<'_> {
    /// The operator on unsigned weights, if its weights are constant and signed.
    fn node(&mut self, one: &NodeProto) -> Option<NodeProto> {
        let (weights, zero) = operands(one).filter(|_| may_turn(self.graph, one))?;
        let twin = self.twin(one.arg(weights)?)?;
        let zero_point = match one.arg(zero).filter(|name| !name.is_empty()) {
            Some(name) => self.twin(name)?,
            None => self.zero_like(one)?,
        };
        let mut turned = one.clone();
        let length = turned.input.len().max(zero + 1);
        turned.input.resize(length, String::new());
        turned.input[weights] = twin;
        turned.input[zero] = zero_point;
        Some(turned)
    }

    /// The unsigned twin of a constant tensor of signed bytes.
    fn twin(&mut self, name: &str) -> Option<String> {
        if let Some(known) = self.known.get(name) {
            return known.clone();
        }
        let twin = self.make_twin(name);
        self.known.insert(name.to_owned(), twin.clone());
        twin
    }

    fn make_twin(&mut self, name: &str) -> Option<String> {
        let to = rewrite::fresh(self.graph, &format!("{name}/unsigned"));
        if let Some(tensor) = signed(self.graph, name) {
            let raw = bytes(tensor)?.into_iter().map(|byte| byte.wrapping_add(OFFSET)).collect();
            self.added.push(unsigned(&to, tensor.dims.clone(), raw));
            return Some(to);
        }
        let maker = &self.old[*self.makers.get(name)?];
        let data = maker.arg(0)?;
        let mut twin = maker.clone();
        if MOVES.contains(&maker.op_type()) && maker.domain().is_empty() {
            twin.input[0] = self.twin(data)?;
        } else if maker.op_type() == "QuantizeLinear" && self.is_constant(data) {
            twin.input[2] = self.twin(maker.arg(2)?)?;
        } else {
            return None;
        }
        twin.name = Some(format!("{}/unsigned", maker.name()));
        twin.output = vec![to.clone()];
        self.made.push(twin);
        Some(to)
    }

    fn is_constant(&self, name: &str) -> bool {
        self.graph.initializer.iter().any(|tensor| tensor.name() == name)
    }

    /// The zero point of an operator that names none: as many as it has scales.
    fn zero_like(&mut self, one: &NodeProto) -> Option<String> {
        let dims = match one.op_type() {
            "DequantizeLinear" => {
                let scale = one.arg(1)?;
                self.graph.initializer.iter().find(|tensor| tensor.name() == scale)?.dims.clone()
            }
            _ => Vec::new(),
        };
        let count = dims.iter().map(|&dim| usize::try_from(dim).ok()).product::<Option<usize>>()?;
        let to = rewrite::fresh(self.graph, &format!("{}/unsigned_zero", one.out(0)));
        self.added.push(unsigned(&to, dims, vec![OFFSET; count]));
        Some(to)
    }
}

fn unsigned(name: &str, dims: Vec<i64>, raw: Vec<u8>) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        dims,
        data_type: Some(data_type::UINT8),
        raw_data: Some(raw),
        ..Default::default()
    }
}

/// The bytes of a tensor of signed bytes, in either of the two places where ONNX keeps them.
fn bytes(tensor: &TensorProto) -> Option<Vec<u8>> {
    let count = tensor.elements();
    let bytes: Vec<u8> = match tensor.raw_data.as_ref().filter(|raw| !raw.is_empty()) {
        Some(raw) => raw.clone(),
        None => tensor.int32_data.iter().map(|&number| number as i8 as u8).collect(),
    };
    (bytes.len() == count).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::onnx::{OperatorSetIdProto, float_tensor, int, ints, node, tensor_value};

    fn signed_tensor(name: &str, dims: &[i64], values: &[i8]) -> TensorProto {
        TensorProto {
            name: Some(name.into()),
            dims: dims.to_vec(),
            data_type: Some(data_type::INT8),
            int32_data: values.iter().map(|&n| i32::from(n)).collect(),
            ..Default::default()
        }
    }

    fn graph(node: Vec<NodeProto>, initializer: Vec<TensorProto>) -> GraphProto {
        let value = |name: &str| tensor_value(name, data_type::FLOAT, None);
        GraphProto {
            input: vec![value("x")],
            output: vec![value("y")],
            node,
            initializer,
            ..Default::default()
        }
    }

    /// Turns the weights of a graph.
    fn turn(graph: &mut GraphProto) -> usize {
        let mut model = ModelProto { graph: Some(std::mem::take(graph)), ..Default::default() };
        let turned = unsigned_weights(&mut model);
        *graph = model.graph.unwrap();
        turned
    }

    fn constant<'a>(graph: &'a GraphProto, name: &str) -> (&'a [u8], &'a [i64]) {
        let tensor = graph.initializer.iter().find(|one| one.name() == name).unwrap();
        assert_eq!(tensor.data_type(), data_type::UINT8, "{name}");
        (tensor.raw_data(), &tensor.dims)
    }

    #[test]
    fn weights_and_zero_points_rise_together() {
        let constants = vec![
            signed_tensor("w", &[2, 2], &[-128, -1, 0, 127]),
            signed_tensor("z", &[2], &[0, 5]),
            float_tensor("s", vec![2], &[0.5, 0.25]),
        ];
        let turned = node("Transpose", &["w"], "wt", vec![ints("perm", vec![1, 0])]);
        for (nodes, zero) in [
            (vec![node("DequantizeLinear", &["w", "s", "z"], "y", vec![int("axis", 1)])], vec![128, 133]),
            (vec![turned, node("DequantizeLinear", &["wt", "s"], "y", vec![int("axis", 1)])], vec![128; 2]),
            (vec![node("MatMulInteger", &["x", "w"], "y", vec![])], vec![128]),
        ] {
            let mut graph = graph(nodes, constants.clone());
            assert_eq!(turn(&mut graph), 1);
            let last = graph.node.last().unwrap();
            let (weights, at) = operands(last).unwrap();
            assert_eq!(constant(&graph, &last.input[at]).0, zero, "{last:?}");
            let source = if graph.node.len() == 2 { graph.node[0].arg(0) } else { last.arg(weights) };
            assert_eq!(constant(&graph, source.unwrap()).0, [0, 127, 128, 255]);
            assert!(graph.initializer.iter().all(|one| one.name() != "w"), "the signed weights are gone");
        }
    }

    #[test]
    fn weights_beside_signed_activations_stay() {
        let nine = ["x", "s", "az", "w", "s", "z", "s", "az"];
        let activations = |kind: i32| TensorProto {
            name: Some("az".into()),
            data_type: Some(kind),
            raw_data: Some(vec![3]),
            ..Default::default()
        };
        let constants = |kind: i32| {
            let weights = [signed_tensor("w", &[2, 1], &[-1, 1]), signed_tensor("z", &[2], &[0, 0])];
            let scale = float_tensor("s", vec![2], &[0.5, 0.25]);
            weights.into_iter().chain([scale, activations(kind)]).collect::<Vec<_>>()
        };
        // Before opset 13 scales per channel cannot be written out.
        for (kind, turned) in [(data_type::INT8, 0), (data_type::UINT8, 1)] {
            let mut model = ModelProto {
                graph: Some(graph(vec![node("QLinearConv", &nine, "y", vec![])], constants(kind))),
                opset_import: vec![OperatorSetIdProto { domain: None, version: Some(10) }],
                ..Default::default()
            };
            assert_eq!(unsigned_weights(&mut model), turned, "activations of type {kind}");
        }
    }

    #[test]
    fn what_is_not_constant_or_already_unsigned_stays() {
        let zero = signed_tensor("z", &[], &[0]);
        let scale = float_tensor("s", vec![], &[0.5]);
        let mut moving = graph(
            vec![
                node("QuantizeLinear", &["x", "s", "z"], "q", vec![]),
                node("DequantizeLinear", &["q", "s", "z"], "y", vec![]),
            ],
            vec![zero, scale.clone()],
        );
        let before = moving.clone();
        assert_eq!(turn(&mut moving), 0);
        assert_eq!(moving, before);
        // Weights that are rounded when the graph is loaded are constant, too.
        let mut rounded = graph(
            vec![
                node("QuantizeLinear", &["w", "s", "z"], "q", vec![]),
                node("DequantizeLinear", &["q", "s", "z"], "y", vec![]),
            ],
            vec![signed_tensor("z", &[], &[0]), scale, float_tensor("w", vec![2], &[1.0, -1.0])],
        );
        assert_eq!(turn(&mut rounded), 1);
        assert_eq!(constant(&rounded, rounded.node[0].arg(2).unwrap()).0, [128]);
        assert_eq!(rounded.node[0].arg(2), rounded.node[1].arg(2));
    }
}
