//! Constants that are nodes made constants of the graph, as ONNX Runtime does, so that they are looked for in one
//! place only.

use super::onnx::{GraphProto, NodeProto, TensorProto, float_tensor, int_tensor};

/// Turns the `Constant` nodes of the graph, not those of bodies within, into constants.
pub fn constants(graph: &mut GraphProto) {
    let mut nodes = Vec::with_capacity(graph.node.len());
    for mut one in std::mem::take(&mut graph.node) {
        match value(&mut one) {
            Some(tensor) => graph.initializer.push(tensor),
            None => nodes.push(one),
        }
    }
    graph.node = nodes;
}

/// The tensor that a `Constant` node gives, under its name; `None` for other nodes, sparse values and texts.
fn value(one: &mut NodeProto) -> Option<TensorProto> {
    if one.op_type() != "Constant" || !one.domain().is_empty() || one.out(0).is_empty() {
        return None;
    }
    let name = one.out(0).to_owned();
    let [given] = &mut one.attribute[..] else { return None };
    let scalar = |tensor: TensorProto| TensorProto { dims: Vec::new(), ..tensor };
    let tensor = match given.name.as_deref()? {
        "value" => given.t.take_if(|tensor| tensor.bits().is_some())?,
        "value_int" => scalar(int_tensor("", &[given.i?])),
        "value_ints" => int_tensor("", &given.ints),
        "value_float" => float_tensor("", Vec::new(), &[given.f?]),
        "value_floats" => float_tensor("", vec![given.floats.len() as i64], &given.floats),
        _ => return None,
    };
    Some(TensorProto { name: Some(name), ..tensor })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::onnx::{AttributeProto, data_type, int, ints, node};

    #[test]
    fn every_kind_of_number_is_lifted_and_nothing_else() {
        let float =
            |name: &str, f: f32| AttributeProto { name: Some(name.into()), f: Some(f), ..Default::default() };
        let tensor = AttributeProto {
            name: Some("value".into()),
            t: Some(float_tensor("inner name", vec![1, 2], &[1.0, 2.0])),
            ..Default::default()
        };
        let text =
            AttributeProto { name: Some("value_string".into()), s: Some(vec![b'a']), ..Default::default() };
        let constant = |name: &str, attribute: AttributeProto| node("Constant", &[], name, vec![attribute]);
        let mut graph = GraphProto {
            node: vec![
                constant("tensor", tensor),
                constant("int", int("value_int", 7)),
                node("Relu", &["x"], "y", vec![]),
                constant("ints", ints("value_ints", vec![3, 4])),
                constant("float", float("value_float", 0.5)),
                constant("text", text),
            ],
            ..Default::default()
        };
        constants(&mut graph);
        let left: Vec<&str> = graph.node.iter().map(|one| one.out(0)).collect();
        assert_eq!(left, ["y", "text"]);
        let told = |tensor: &TensorProto| (tensor.name().to_owned(), tensor.dims.clone(), tensor.data_type());
        assert_eq!(
            graph.initializer.iter().map(told).collect::<Vec<_>>(),
            [
                ("tensor".to_owned(), vec![1, 2], data_type::FLOAT),
                ("int".to_owned(), vec![], data_type::INT64),
                ("ints".to_owned(), vec![2], data_type::INT64),
                ("float".to_owned(), vec![], data_type::FLOAT)
            ]
        );
        assert_eq!(graph.initializer[1].whole_numbers().unwrap(), [7]);
        assert_eq!(graph.initializer[3].floats().unwrap(), [0.5]);
    }
}
