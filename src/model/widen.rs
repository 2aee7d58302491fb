//! 16-bit brain floats made 32-bit floats: ONNX Runtime's CPU provider computes with none of them, and a brain float is
//! the upper half of a float, so that nothing is lost.

use half::bf16;

use super::onnx::{AttributeProto, GraphProto, ModelProto, TensorProto, data_type, type_proto};

/// Operators whose attribute of this name is a number format.
const FORMATS: [&str; 2] = ["to", "dtype"];

/// Makes every brain float of `model` a float; true if there were any.
pub fn widen(model: &mut ModelProto) -> bool {
    model.graph.as_mut().is_some_and(of_graph)
}

fn of_graph(graph: &mut GraphProto) -> bool {
    let mut any = false;
    for tensor in &mut graph.initializer {
        any |= of_tensor(tensor);
    }
    for value in graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info) {
        if let Some(type_proto::Value::TensorType(tensor)) =
            value.r#type.as_mut().and_then(|kind| kind.value.as_mut())
            && tensor.elem_type == Some(data_type::BFLOAT16)
        {
            tensor.elem_type = Some(data_type::FLOAT);
            any = true;
        }
    }
    for attribute in graph.node.iter_mut().flat_map(|one| &mut one.attribute) {
        any |= of_attribute(attribute);
    }
    any
}

fn of_attribute(attribute: &mut AttributeProto) -> bool {
    let mut any = false;
    if FORMATS.contains(&attribute.name()) && attribute.i == Some(i64::from(data_type::BFLOAT16)) {
        attribute.i = Some(i64::from(data_type::FLOAT));
        any = true;
    }
    for tensor in attribute.t.iter_mut().chain(&mut attribute.tensors) {
        any |= of_tensor(tensor);
    }
    for body in attribute.g.iter_mut().chain(&mut attribute.graphs) {
        any |= of_graph(body);
    }
    any
}

fn of_tensor(tensor: &mut TensorProto) -> bool {
    if tensor.data_type != Some(data_type::BFLOAT16) {
        return false;
    }
    let raw = tensor.raw_data.take().unwrap_or_default();
    let numbers: Vec<u8> = if raw.is_empty() {
        // Each in the lower half of a whole number.
        let halves = tensor.int32_data.iter().map(|&bits| bf16::from_bits((bits & 0xffff) as u16));
        halves.flat_map(|half| half.to_f32().to_le_bytes()).collect()
    } else {
        raw.as_chunks().0.iter().flat_map(|b| bf16::from_le_bytes(*b).to_f32().to_le_bytes()).collect()
    };
    tensor.int32_data.clear();
    tensor.raw_data = Some(numbers);
    tensor.data_type = Some(data_type::FLOAT);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::onnx::{int, node, tensor_value};

    #[test]
    fn constants_casts_and_declarations_are_widened() {
        let halves = [1.0_f32, -2.5, 0.007_812_5].map(bf16::from_f32);
        let constant = |name: &str| TensorProto {
            name: Some(name.into()),
            dims: vec![3],
            data_type: Some(data_type::BFLOAT16),
            ..Default::default()
        };
        let raw = TensorProto {
            raw_data: Some(halves.iter().flat_map(|half| half.to_le_bytes()).collect()),
            ..constant("raw")
        };
        let listed = TensorProto {
            int32_data: halves.iter().map(|half| i32::from(half.to_bits())).collect(),
            ..constant("listed")
        };
        let graph = GraphProto {
            node: vec![node("Cast", &["raw"], "y", vec![int("to", i64::from(data_type::BFLOAT16))])],
            input: vec![tensor_value("x", data_type::BFLOAT16, None)],
            initializer: vec![raw, listed],
            ..Default::default()
        };
        let mut model = ModelProto { graph: Some(graph), ..Default::default() };
        assert!(widen(&mut model));
        let graph = model.graph.as_ref().unwrap();
        for tensor in &graph.initializer {
            assert_eq!(tensor.floats().unwrap(), [1.0, -2.5, 0.007_812_5], "{}", tensor.name());
        }
        assert_eq!(graph.node[0].int("to"), Some(1));
        assert_eq!(graph.input[0], tensor_value("x", data_type::FLOAT, None));
        assert!(!widen(&mut model), "nothing is left");
    }
}
