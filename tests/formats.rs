//! `farout model` on files of other number formats and with other inputs: what is prepared takes and gives 32-bit
//! floats all the same.
#![allow(clippy::unwrap_used, reason = "a test may fail anywhere")]

use std::path::{Path, PathBuf};

use crate::support::program::{Outcome, farout};
use farout::model::onnx::{Dimension, DimensionValue, ModelProto, data_type, type_proto};
use farout::model::{ModelConfig, read};
use prost::Message;

fn tiny(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models").join(name)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn prepare(model: &Path, output: &Path, more: &[&str]) -> Outcome {
    farout([&["model", "prepare", text(model), "-o", text(output)], more].concat())
}

/// `from` with other sides of its input; 0 is a free one.
fn with_input(from: &Path, to: &Path, sides: &[i64]) {
    let (mut model, _): (ModelProto, String) = read::read(from).unwrap();
    let side = |(n, &side): (usize, &i64)| Dimension {
        value: Some(match side {
            0 => DimensionValue::DimParam(format!("side_{n}")),
            side => DimensionValue::DimValue(side),
        }),
        denotation: None,
    };
    let kind = model.graph.as_mut().unwrap().input[0].r#type.as_mut().unwrap();
    let Some(type_proto::Value::TensorType(tensor)) = &mut kind.value else { panic!("no tensor") };
    tensor.shape.as_mut().unwrap().dim = sides.iter().enumerate().map(side).collect();
    std::fs::write(to, model.encode_to_vec()).unwrap();
}

/// Each is compared with its original on the same pictures by `prepare` itself; what it comes to is told in
/// `tests/models.rs`.
#[test]
fn whatever_the_numbers_floats_go_in_and_come_out() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.onnx");
    for (name, said, tolerance) in [
        ("timm-vit.fp16.onnx", "16-bit floats", 5e-3),
        ("segmenter.fp16.onnx", "16-bit floats", 5e-3),
        ("timm-vit.bf16.onnx", "brain floats", 1e-4),
        ("timm-vit.qdq.onnx", "8-bit integers", 1e-4),
        ("timm-dinov3.qdq.onnx", "8-bit integers", 1e-4),
        ("timm-vit.qoperator.onnx", "8-bit integers", 1e-4),
        ("timm-vit.dynamic.onnx", "8-bit integers", 1e-4),
        ("timm-vit-bytes.ts.onnx", "image [1, 32, 48, 3] uint8", 1e-4),
        ("timm-vit-alone.dy.onnx", "image [3, 32, 48] float32", 1e-4),
    ] {
        let seen = farout(["model", "inspect", text(&tiny(name))]).succeeded().stdout;
        assert!(seen.contains(said) && seen.contains("key:2"), "{name}: {seen}");
        let told = prepare(&tiny(name), &out, &["--features", "key:2", "--json"]).succeeded().json();
        for one in told["compared"].as_array().unwrap() {
            let off = one["largest_difference"].as_f64().unwrap() / one["largest_number"].as_f64().unwrap();
            assert!(off <= tolerance, "{name}: {told}");
        }
        let seen = farout(["model", "inspect", text(&out), "--json"]).succeeded().json();
        assert_eq!(seen["inputs"][0], "image [1, 3, 32, 48] float32", "{name}");
        assert_eq!(seen["outputs"][0], "features [1, 4, 6, 16] float32", "{name}");
        if name.starts_with("segmenter") {
            assert_eq!(seen["outputs"][1], "logits [1, 5, 4, 6] float32", "{name}");
        }
        // And so it opens as detection opens it.
        farout(["model", "warm", "--model", text(&out), "--device", "cpu"]).succeeded();
    }
}

/// Bytes are fed as they are: nothing is assumed of mean and deviation.
#[test]
fn a_model_of_bytes_is_fed_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.onnx");
    let told = prepare(&tiny("timm-vit-bytes.dy.onnx"), &out, &["--features", "norm", "--json"]);
    let told = told.succeeded().json();
    assert_eq!(told["normalisation_assumed"], false, "{told}");
    assert_eq!(told["normalisation"], "rgb x 1.0000000 - [0.0, 0.0, 0.0] / [1.0, 1.0, 1.0]", "{told}");
    // They are rounded as floats and stay floats: TensorRT takes bytes nowhere inside a graph.
    for file in ["timm-vit-bytes.dy.onnx", "timm-vit-bytes.ts.onnx"] {
        let out = dir.path().join(file);
        prepare(&tiny(file), &out, &["--features", "norm"]).succeeded();
        let (model, _): (ModelProto, String) = read::read(&out).unwrap();
        let graph = model.graph.unwrap();
        let bytes = Some(i64::from(data_type::UINT8));
        assert!(!graph.node.iter().any(|node| node.op_type() == "Cast" && node.int("to") == bytes), "{file}");
        assert!(graph.node.iter().any(|node| node.op_type() == "Floor"), "{file}");
    }
}

#[test]
fn open_axes_are_asked_for_and_batches_told() {
    let dir = tempfile::tempdir().unwrap();
    let (open, out) = (dir.path().join("open.onnx"), dir.path().join("out.onnx"));
    let last = tiny("timm-vit-bytes.ts.onnx");
    let norm = ["--features", "norm", "--size", "48x32"];
    // A batch of any size is run with one picture.
    with_input(&last, &open, &[0, 0, 0, 3]);
    prepare(&open, &out, &norm).succeeded();
    with_input(&last, &open, &[0, 0, 0, 0]);
    std::fs::remove_file(&out).unwrap();
    let wrong = prepare(&open, &out, &norm);
    assert!(wrong.code == Some(1) && wrong.stderr.contains("--layout nhwc"), "{}", wrong.stderr);
    assert!(!out.exists());
    prepare(&open, &out, &[&norm[..], &["--layout", "nhwc"]].concat()).succeeded();
    let seen = farout(["model", "inspect", text(&open), "--size", "48x32", "--layout", "nhwc"]);
    assert!(seen.succeeded().stdout.contains("key:2"));
    with_input(&last, &open, &[4, 32, 48, 3]);
    let several = prepare(&open, &out, &norm);
    assert!(
        several.stderr.contains("[4, 32, 48, 3]") && several.stderr.contains("any size"),
        "{}",
        several.stderr
    );
    // Run as it is, a file with its channels last is refused with the remedy.
    let config = ModelConfig { path: last, features: Some("norm".into()), ..Default::default() };
    let why = farout::model::load(&config).unwrap_err().to_string();
    assert!(why.contains("farout model prepare"), "{why}");
}

/// Keys of attention that turns them by position are taken before that, and people are told so.
#[test]
fn rotation_by_position_is_told() {
    for (name, rotated) in
        [("timm-dinov3.ts.onnx", true), ("timm-eva02.dy.onnx", true), ("timm-vit.ts.onnx", false)]
    {
        let seen = farout(["model", "inspect", text(&tiny(name)), "--json"]).succeeded().json();
        let told = |selector: &str| {
            let all = seen["candidates"].as_array().unwrap();
            all.iter().find(|one| one["selector"] == selector).unwrap()["before_rotation"].clone()
        };
        assert_eq!(
            (&told("query:1"), &told("key:2"), &told("value:2")),
            (&rotated.into(), &rotated.into(), &false.into())
        );
        let seen = farout(["model", "inspect", text(&tiny(name))]).succeeded().stdout;
        assert_eq!(seen.contains("RoPE"), rotated, "{seen}");
    }
}

/// Of a mask classifier the logits are sums over its queries, and the prepared file says so.
#[test]
fn a_mask_classifier_says_that_its_logits_are_masks() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.onnx");
    for (name, want) in [
        ("mask-classifier.ts.onnx", "masks"),
        ("mask-classifier.dy.onnx", "masks"),
        ("segmenter.ts.onnx", "classes"),
    ] {
        prepare(&tiny(name), &out, &["--features", "key:2"]).succeeded();
        let config = ModelConfig { path: out.clone(), ..Default::default() };
        let loaded = farout::model::load(&config).unwrap();
        let kind = serde_json::to_value(loaded.config.logits_kind.unwrap()).unwrap();
        assert_eq!((kind.as_str(), loaded.config.logits.as_deref()), (Some(want), Some("logits")), "{name}");
        // What is prepared again still says so.
        let again = dir.path().join("again.onnx");
        prepare(&out, &again, &["--features", "features"]).succeeded();
        let config = ModelConfig { path: again, ..Default::default() };
        let kind =
            serde_json::to_value(farout::model::load(&config).unwrap().config.logits_kind.unwrap()).unwrap();
        assert_eq!(kind.as_str(), Some(want), "{name}, prepared again");
    }
}
