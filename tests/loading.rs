//! Files that ONNX Runtime runs are read as it reads them, however they are written; what it refuses is explained by
//! its reason.
#![allow(clippy::unwrap_used, reason = "a test may fail anywhere")]

use std::path::Path;

use crate::support::forms::{self, MARK, constants_as_nodes};
use crate::support::program::farout;
use crate::support::tiny_model::{Tiny, weights};
use farout::features::{BareSession, ModelInput, Placement, RuntimeConfig, Session};
use farout::grid::Features;
use farout::model::onnx::{
    EXTERNAL, ModelProto, StringStringEntryProto, TensorProto, ValueInfoProto, data_type, float_tensor, int,
    node, type_proto,
};
use farout::model::{ModelConfig, read};
use prost::Message;

/// Writes the same model, or a worse one, in another way.
type Change = fn(&mut ModelProto);

/// A vision transformer of two blocks, as PyTorch wrote it.
fn vit() -> ModelProto {
    read::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/timm-vit.ts.onnx")).unwrap().0
}

/// Writes the file, four times 0xE9 in the place of each mark.
fn write(model: &ModelProto, path: &Path) {
    let mut bytes = model.encode_to_vec();
    while let Some(at) = bytes.windows(4).position(|part| part == MARK.as_bytes()) {
        bytes[at..at + 4].fill(0xe9);
    }
    std::fs::write(path, bytes).unwrap();
}

/// The picture of a few waves.
fn picture(count: usize) -> Vec<f32> {
    (0..count).map(|n| (n as f32 * 0.37).sin()).collect()
}

/// What the prepared file gives, and the tensor that it is made of.
fn prepared(path: &Path, features: &str) -> (Vec<f32>, String) {
    let out = path.with_file_name("prepared.onnx");
    let args = ["model", "prepare", path.to_str().unwrap(), "-o", out.to_str().unwrap()];
    farout([&args[..], &["--features", features, "--size", "48x32"]].concat()).succeeded();
    let (model, _) = read::read(&out).unwrap();
    let origin = model.metadata_props.iter().find(|entry| entry.key() == "farout.origin").unwrap();
    let origin: serde_json::Value = serde_json::from_str(origin.value()).unwrap();
    let input = model.graph.as_ref().unwrap().input[0].name().to_owned();
    let mut session = BareSession::open(&std::fs::read(&out).unwrap(), &cpu(), true).unwrap();
    let picture = picture(3 * 32 * 48);
    let outputs = session.run(Some((&input, [1, 3, 32, 48], &picture))).unwrap();
    let features = outputs.iter().find(|tensor| tensor.name() == "features").unwrap();
    (features.floats().unwrap(), origin["features"][0][1].as_str().unwrap().to_owned())
}

fn cpu() -> RuntimeConfig {
    RuntimeConfig { threads: 1, ..Default::default() }
}

/// What the file as it is gives for its tensor `features`.
fn unprepared(path: &Path, features: &str) -> Vec<f32> {
    let (path, named) = (path.to_owned(), Some(features.to_owned()));
    let size = Some(farout::model::InputSize { width: 48, height: 32 });
    let config = ModelConfig { path, features: named, size, patch: Some(8), ..Default::default() };
    let mut session = Session::open(&config, &cpu()).unwrap();
    let mut input = ModelInput::default();
    input.reset(Placement { width: 48, height: 32, content_width: 48, content_height: 32 });
    input.data.copy_from_slice(&picture(3 * 32 * 48));
    let mut features = Features::default();
    session.run(&input, &mut features, None).unwrap();
    features.data.to_vec()
}

fn agree(got: &[f32], want: &[f32], what: &str) {
    let largest = want.iter().fold(0.0_f32, |most, number| most.max(number.abs()));
    let off = got.iter().zip(want).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
    assert!(got.len() == want.len() && largest > 0.0 && off < 1e-5 * largest, "{what}: {off} of {largest}");
}

#[test]
fn a_model_is_the_same_in_every_form_that_onnx_runtime_runs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.onnx");
    write(&vit(), &path);
    let (want, tensor) = prepared(&path, "key:2");
    let want_inside = unprepared(&path, &tensor);
    let forms: [(&str, Change); 9] = [
        ("nodes reversed", forms::reversed),
        ("constants as nodes", constants_as_nodes),
        ("names that a prepared file uses", forms::clashing),
        ("branches that share names", forms::branches),
        ("functions", forms::functions),
        ("Latin-1", forms::latin1),
        ("copies", forms::copied),
        ("sparse constants", forms::sparse),
        ("IR version 14", forms::of_a_newer_format),
    ];
    for (what, change) in forms {
        let mut model = vit();
        change(&mut model);
        write(&model, &path);
        agree(&prepared(&path, "key:2").0, &want, what);
        agree(&unprepared(&path, &tensor), &want_inside, &format!("{what}, not prepared"));
    }
}

#[test]
fn constants_of_nodes_may_lie_beside_the_model() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.onnx");
    let mut model = vit();
    write(&model, &path);
    let (want, tensor) = prepared(&path, "key:2");
    let want_inside = unprepared(&path, &tensor);
    constants_as_nodes(&mut model);
    let mut data = Vec::new();
    for one in &mut model.graph.as_mut().unwrap().node {
        let Some(tensor) = one.attribute.iter_mut().find_map(|attribute| attribute.t.as_mut()) else {
            continue;
        };
        let Some(raw) = tensor.raw_data.take() else { continue };
        let entry =
            |key: &str, value: String| StringStringEntryProto { key: Some(key.into()), value: Some(value) };
        tensor.external_data =
            vec![entry("location", "weights.bin".into()), entry("offset", data.len().to_string())];
        tensor.data_location = Some(EXTERNAL);
        data.extend(raw);
    }
    assert!(!data.is_empty());
    write(&model, &path);
    std::fs::write(dir.path().join("weights.bin"), &data).unwrap();
    agree(&prepared(&path, "key:2").0, &want, "prepared");
    agree(&unprepared(&path, &tensor), &want_inside, "not prepared");
    std::fs::write(dir.path().join("weights.bin"), &data[..data.len() - 1]).unwrap();
    let fault = farout(["model", "inspect", path.to_str().unwrap()]);
    assert!(fault.stderr.contains("weights.bin") && fault.stderr.contains("cut off"), "{}", fault.stderr);
}

/// `Slice` takes attributes before opset 10, `Max` and `Min` do not broadcast before 8.
#[test]
fn old_opsets_are_written_in_their_own_form() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.onnx");
    let tiny = |opset: i64, bytes: bool| {
        let mut model = Tiny { unrelated: false, ..Default::default() }.model();
        model.opset_import[0].version = Some(opset);
        let graph = model.graph.as_mut().unwrap();
        if bytes {
            let Some(type_proto::Value::TensorType(kind)) =
                graph.input[0].r#type.as_mut().and_then(|t| t.value.as_mut())
            else {
                panic!("the image is no tensor")
            };
            kind.elem_type = Some(data_type::UINT8);
            graph.node[0].input[0] = "numbers".into();
            graph.node.insert(0, node("Cast", &["image"], "numbers", vec![int("to", 1)]));
        }
        write(&model, &path);
        (prepared(&path, "tokens").0, unprepared(&path, "tokens"))
    };
    for bytes in [false, true] {
        let want = tiny(17, bytes);
        for opset in [7, 8, 9, 10, 12, 13] {
            let got = tiny(opset, bytes);
            agree(&got.0, &want.0, &format!("opset {opset}, bytes: {bytes}"));
            agree(&got.1, &want.1, &format!("opset {opset}, bytes: {bytes}, not prepared"));
        }
    }
}

/// A layer of signed 8-bit integers with a scale per channel: a convolution, or a product of matrices.
fn integers_by_channel(op: &str, opset: i64) -> ModelProto {
    const WIDTH: usize = 16;
    let mut model = Tiny { unrelated: false, ..Default::default() }.model();
    model.opset_import[0].version = Some(opset);
    let graph = model.graph.as_mut().unwrap();
    let integers = |name: &str, dims: &[i64], values: &[i8]| TensorProto {
        name: Some(name.into()),
        dims: dims.to_vec(),
        data_type: Some(data_type::INT8),
        raw_data: Some(values.iter().map(|value| *value as u8).collect()),
        ..Default::default()
    };
    let weights: Vec<i8> = weights(WIDTH * WIDTH, 11).iter().map(|w| (w * 2000.0).round() as i8).collect();
    let scales: Vec<f32> = (1..=WIDTH).map(|n| n as f32 * 1e-3).collect();
    let conv = op == "QLinearConv";
    let width = WIDTH as i64;
    let dims = if conv { vec![width, width, 1, 1] } else { vec![width, width] };
    graph.initializer.extend([
        integers("weights", &dims, &weights),
        float_tensor("scales", vec![width], &scales),
        integers("zeros", &[width], &[0; WIDTH]),
        float_tensor("scale", vec![], &[0.01]),
        integers("zero", &[], &[3]),
        float_tensor("scale_after", vec![], &[0.02]),
        integers("zero_after", &[], &[-5]),
    ]);
    let from = if conv { "map_free" } else { "patches" };
    let inputs = ["rounded", "scale", "zero", "weights", "scales", "zeros", "scale_after", "zero_after"];
    let kernel = farout::model::onnx::ints("kernel_shape", vec![1, 1]);
    graph.node.extend([
        node("QuantizeLinear", &[from, "scale", "zero"], "rounded", vec![]),
        node(op, &inputs, "product", if conv { vec![kernel] } else { vec![] }),
        node("DequantizeLinear", &["product", "scale_after", "zero_after"], "result", vec![]),
    ]);
    graph.output = vec![ValueInfoProto { name: Some("result".into()), ..Default::default() }];
    model
}

/// Features of integers are those of the integers that the file says, before opset 13, where scales per channel are
/// written out, and after it.
#[test]
fn integers_by_channel_are_rounded_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.onnx");
    for (op, opset) in [("QLinearConv", 10), ("QLinearConv", 17), ("QLinearMatMul", 10)] {
        let model = integers_by_channel(op, opset);
        write(&model, &path);
        let mut plain = BareSession::open(&model.encode_to_vec(), &cpu(), false).unwrap();
        let picture = picture(3 * 32 * 48);
        let outputs = plain.run(Some(("image", [1, 3, 32, 48], &picture))).unwrap();
        let result = outputs[0].floats().unwrap();
        let want: Vec<f32> = match op {
            "QLinearConv" => (0..24 * 16).map(|n| result[n % 16 * 24 + n / 16]).collect(),
            _ => result,
        };
        agree(&prepared(&path, "result").0, &want, &format!("{op} of opset {opset}"));
    }
}

#[test]
fn what_onnx_runtime_refuses_has_the_remedy_that_fits() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.onnx");
    let cases: [(Change, &[&str]); 4] = [
        (|model| model.ir_version = Some(99), &["IR version: 99", "lower ir_version", "newer ONNX Runtime"]),
        (|model| model.opset_import[0].version = Some(99), &["or older", "newer ONNX Runtime"]),
        (
            |model| {
                let one = &mut model.graph.as_mut().unwrap().node[1];
                one.domain = Some("some.plugin".into());
                one.op_type = Some("Bend".into());
            },
            &["some.plugin", "custom ops"],
        ),
        (
            |model| {
                let graph = model.graph.as_mut().unwrap();
                graph.node[0].input[0] = "tokens".into();
            },
            &["circle", "tokens"],
        ),
    ];
    for (change, words) in cases {
        let mut model = Tiny { unrelated: false, ..Default::default() }.model();
        change(&mut model);
        write(&model, &path);
        let file = path.to_str().unwrap();
        let inspected = farout(["model", "inspect", file]);
        let warmed = farout(["model", "warm", "--model", file, "--features", "map", "--device", "cpu"]);
        for ended in [inspected, warmed] {
            assert_eq!(ended.code, Some(1), "{}", ended.stderr);
            assert!(words.iter().all(|word| ended.stderr.contains(word)), "{words:?}: {}", ended.stderr);
            assert!(!ended.stderr.contains("size"), "the size is not at fault: {}", ended.stderr);
        }
    }
}
