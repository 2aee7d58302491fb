//! Models in 8-bit integers are right on every processor: where ONNX Runtime's signed products saturate, weights are
//! taken as unsigned, and the function stays the same.
#![allow(clippy::unwrap_used, reason = "a test may fail anywhere")]

use std::path::Path;

use farout::features::{BareSession, Device, RuntimeConfig};
use farout::model::onnx::{
    GraphProto, ModelProto, OperatorSetIdProto, TensorProto, data_type, int, int_tensor, node, tensor_value,
};
use farout::model::unsigned::unsigned_weights;
use prost::Message;

fn cpu() -> RuntimeConfig {
    RuntimeConfig { device: Device::CPU, threads: 1, ..Default::default() }
}

/// Runs the only image input on waves; node by node, or optimised.
fn run(model: &ModelProto, optimised: bool) -> Vec<Vec<f32>> {
    let graph = model.graph.as_ref().unwrap();
    let inputs = graph.input.iter();
    let input =
        inputs.map(|value| value.name()).find(|name| graph.initializer.iter().all(|one| one.name() != *name));
    let image: Vec<f32> = (0..3 * 32 * 48).map(|n| (n as f32 * 0.013).sin()).collect();
    let mut session = BareSession::open(&model.encode_to_vec(), &cpu(), optimised).unwrap();
    let outputs = session.run(Some((input.unwrap(), [1, 3, 32, 48], &image))).unwrap();
    outputs.iter().map(|one| one.floats().unwrap()).collect()
}

#[test]
fn unsigned_weights_compute_the_same_function() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models");
    for name in
        ["timm-vit.qdq.onnx", "timm-dinov3.qdq.onnx", "timm-vit.dynamic.onnx", "timm-vit.qoperator.onnx"]
    {
        let model = ModelProto::decode(&std::fs::read(folder.join(name)).unwrap()[..]).unwrap();
        let mut unsigned = model.clone();
        let turned = unsigned_weights(&mut unsigned);
        assert!(turned > 0, "{name} has signed weights");
        // Node by node nothing is rounded otherwise.
        assert_eq!(run(&model, false), run(&unsigned, false), "{name}");
    }
}

/// `x -> bytes -> product with the largest weights -> floats`: each sum is as large as it can be.
fn largest_products() -> ModelProto {
    let weights = TensorProto {
        name: Some("weights".into()),
        dims: vec![64, 8],
        data_type: Some(data_type::INT8),
        raw_data: Some(vec![127; 64 * 8]),
        ..Default::default()
    };
    let float = |name: &str| tensor_value(name, data_type::FLOAT, None);
    let floats = TensorProto {
        name: Some("full".into()),
        data_type: Some(data_type::FLOAT),
        raw_data: Some(255.0_f32.to_le_bytes().to_vec()),
        ..Default::default()
    };
    let cast = |to: i32| vec![int("to", i64::from(to))];
    let graph = GraphProto {
        name: Some("largest".into()),
        input: vec![float("x")],
        output: vec![float("sums")],
        initializer: vec![weights, floats, int_tensor("rows", &[-1, 64])],
        node: vec![
            node("Reshape", &["x", "rows"], "table", vec![]),
            node("Abs", &["table"], "positive", vec![]),
            node("Add", &["positive", "full"], "high", vec![]),
            node("Min", &["high", "full"], "all", vec![]),
            node("Cast", &["all"], "bytes", cast(data_type::UINT8)),
            node("MatMulInteger", &["bytes", "weights"], "products", vec![]),
            node("Cast", &["products"], "sums", cast(data_type::FLOAT)),
        ],
        ..Default::default()
    };
    let opset = OperatorSetIdProto { domain: Some(String::new()), version: Some(17) };
    ModelProto { ir_version: Some(8), opset_import: vec![opset], graph: Some(graph), ..Default::default() }
}

#[test]
fn the_largest_products_do_not_saturate() {
    for optimised in [false, true] {
        let sums = &run(&largest_products(), optimised)[0];
        assert_eq!(sums.len(), 3 * 32 * 48 / 64 * 8);
        assert!(
            sums.iter().all(|sum| *sum == (255 * 127 * 64) as f32),
            "optimised {optimised}: {:?}",
            &sums[..8]
        );
    }
}
