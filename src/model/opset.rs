//! What is added to a graph is written in the newest form of each operator; here it gets the form of the opset that the
//! file imports. The file's own nodes are in that form already, and have none of what is changed here.

use std::collections::{HashMap, HashSet};

use super::onnx::{ModelProto, NodeProto, TensorProto, data_type, int_tensor, ints, node};
use super::rewrite;

/// `Slice` takes its bounds as inputs since.
const SLICE_BY_INPUTS: i64 = 10;
/// `DequantizeLinear` takes scales per channel since.
pub const SCALES_PER_CHANNEL: i64 = 13;
/// `Erf` is there since.
const ERF: i64 = 9;

/// Constants by name.
type Constants<'a> = HashMap<&'a str, &'a TensorProto>;

/// Puts what was added to the graph of `model` into the form of its opset.
///
/// # Errors
/// If an operator is needed that its opset has in no form.
pub fn fit(model: &mut ModelProto) -> Result<(), String> {
    let opset = model.opset();
    if opset >= SCALES_PER_CHANNEL {
        return Ok(());
    }
    let graph = model.graph.get_or_insert_default();
    let constants: Constants = graph.initializer.iter().map(|tensor| (tensor.name(), tensor)).collect();
    let mut nodes = Vec::with_capacity(graph.node.len());
    let mut added = Vec::new();
    let mut unread: HashSet<String> = HashSet::new();
    for one in std::mem::take(&mut graph.node) {
        let fitted = match (one.domain(), one.op_type()) {
            ("", "Slice") if opset < SLICE_BY_INPUTS && one.input.len() > 1 => {
                unread.extend(one.input.iter().skip(1).cloned());
                slice(&one, &constants)
            }
            ("", "DequantizeLinear") if one.attr("axis").is_some() => {
                dequantised(&one, &constants, &mut added)
            }
            ("", "Erf") if opset < ERF => {
                return Err(format!(
                    "this head computes the error function, which operators of opset {opset} lack; export the model with opset {ERF} or newer"
                ));
            }
            _ => None,
        };
        nodes.extend(fitted.unwrap_or_else(|| vec![one]));
    }
    graph.node = nodes;
    graph.initializer.extend(added);
    for name in graph.node.iter().flat_map(NodeProto::reads) {
        unread.remove(name);
    }
    graph.initializer.retain(|tensor| !unread.contains(tensor.name()));
    Ok(())
}

/// A slice whose bounds are attributes.
fn slice(one: &NodeProto, constants: &Constants) -> Option<Vec<NodeProto>> {
    let numbers = |n: usize| constants.get(one.arg(n)?)?.whole_numbers();
    let attributes = vec![ints("starts", numbers(1)?), ints("ends", numbers(2)?), ints("axes", numbers(3)?)];
    Some(vec![node("Slice", &[one.arg(0)?], one.out(0), attributes)])
}

/// (x - zero) * scale, with zero and scale along the axis that numbers the channels.
fn dequantised(
    one: &NodeProto,
    constants: &Constants,
    added: &mut Vec<TensorProto>,
) -> Option<Vec<NodeProto>> {
    let (from, scale, out) = (one.arg(0)?, one.arg(1)?, one.out(0));
    let rank = constants.get(from)?.dims.len();
    let axis = usize::try_from(one.int("axis")?).ok().filter(|axis| *axis < rank)?;
    let at = |what: &str| format!("{out}/{what}");
    let mut nodes = Vec::new();
    let mut along = |name: &str, what: &str, nodes: &mut Vec<NodeProto>| {
        if rank == 1 {
            return name.to_owned();
        }
        let shape: Vec<i64> = (0..rank).map(|n| if n == axis { -1 } else { 1 }).collect();
        let (by, to) = (at(&format!("{what}_shape")), at(&format!("{what}_along")));
        added.push(int_tensor(&by, &shape));
        nodes.push(node("Reshape", &[name, &by], &to, Vec::new()));
        to
    };
    let mut numbers = at("numbers");
    nodes.push(rewrite::cast(from, &numbers, data_type::FLOAT));
    if let Some(zero) = one.arg(2) {
        nodes.push(rewrite::cast(zero, &at("zero"), data_type::FLOAT));
        let zero = along(&at("zero"), "zero", &mut nodes);
        nodes.push(node("Sub", &[&numbers, &zero], &at("centred"), Vec::new()));
        numbers = at("centred");
    }
    let scale = along(scale, "scale", &mut nodes);
    nodes.push(node("Mul", &[&numbers, &scale], out, Vec::new()));
    Some(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::onnx::{GraphProto, OperatorSetIdProto, float_tensor, int};

    fn model(opset: i64, nodes: Vec<NodeProto>, constants: Vec<TensorProto>) -> ModelProto {
        let graph = GraphProto { node: nodes, initializer: constants, ..Default::default() };
        let opset_import = vec![OperatorSetIdProto { domain: None, version: Some(opset) }];
        ModelProto { graph: Some(graph), opset_import, ..Default::default() }
    }

    fn fitted(mut model: ModelProto) -> GraphProto {
        fit(&mut model).unwrap();
        model.graph.unwrap()
    }

    #[test]
    fn bounds_are_inputs_or_attributes() {
        let sliced = |opset: i64| {
            let bounds = ["starts", "ends", "axes"].map(|name| int_tensor(name, &[name.len() as i64]));
            let one = node("Slice", &["x", "starts", "ends", "axes"], "y", vec![]);
            // The ends are another's, too.
            let other = node("Reshape", &["y", "ends"], "z", vec![]);
            fitted(model(opset, vec![one, other], bounds.into()))
        };
        for opset in [7, 8, 9] {
            let graph = sliced(opset);
            let one = &graph.node[0];
            assert_eq!(
                (one.input.len(), one.ints("starts"), one.ints("ends"), one.ints("axes")),
                (1, &[6][..], &[4][..], &[4][..])
            );
            assert_eq!(graph.initializer.iter().map(TensorProto::name).collect::<Vec<_>>(), ["ends"]);
        }
        assert_eq!(sliced(10).node[0].input.len(), 4);
        // What the file has in its own form stays.
        let own = node("Slice", &["x"], "y", vec![ints("starts", vec![0]), ints("ends", vec![1])]);
        assert_eq!(fitted(model(9, vec![own.clone()], vec![])).node, [own]);
    }

    #[test]
    fn scales_per_channel_are_written_out_where_there_are_none() {
        let constants = || {
            let weights = TensorProto {
                name: Some("w".into()),
                dims: vec![2, 3, 1, 1],
                data_type: Some(data_type::INT8),
                raw_data: Some(vec![1; 6]),
                ..Default::default()
            };
            vec![weights, float_tensor("s", vec![2], &[0.5, 2.0])]
        };
        let one = node("DequantizeLinear", &["w", "s", "z"], "y", vec![int("axis", 0)]);
        let graph = fitted(model(11, vec![one.clone()], constants()));
        let ops: Vec<&str> = graph.node.iter().map(NodeProto::op_type).collect();
        assert_eq!(ops, ["Cast", "Cast", "Reshape", "Sub", "Reshape", "Mul"]);
        let shape = graph.initializer.iter().find(|tensor| tensor.name() == "y/scale_shape").unwrap();
        assert_eq!(shape.whole_numbers().unwrap(), [-1, 1, 1, 1]);
        assert_eq!(fitted(model(13, vec![one], constants())).node.len(), 1);
        let plain = node("DequantizeLinear", &["w", "s"], "y", vec![]);
        assert_eq!(fitted(model(11, vec![plain], constants())).node.len(), 1);
    }

    #[test]
    fn what_an_opset_lacks_is_named() {
        let nodes = || vec![node("Erf", &["x"], "y", vec![])];
        let why = fit(&mut model(8, nodes(), vec![])).unwrap_err();
        assert!(why.contains("opset 8") && why.contains("opset 9 or newer"), "{why}");
        assert!(fit(&mut model(9, nodes(), vec![])).is_ok());
    }
}
