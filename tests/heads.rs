//! Heads that give class scores: all of them are found, whatever they end in, and what is prepared are the scores, not
//! what is made of them. Inputs besides the picture.
#![allow(clippy::unwrap_used, reason = "a test may fail anywhere")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::support::blocks::{Net, WIDTH};
use crate::support::program::{Outcome, farout};
use farout::features::{BareSession, RuntimeConfig};
use farout::model::onnx::{
    Dimension, DimensionValue, ModelProto, TensorProto, data_type, int, ints, tensor_value,
};
use farout::model::{ModelConfig, load, read};
use prost::Message;

fn written(dir: &Path, name: &str, model: &ModelProto) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    path
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn prepare(model: &Path, output: &Path, more: &[&str]) -> Outcome {
    farout([&["model", "prepare", text(model), "-o", text(output)], more].concat())
}

/// The outputs of a model by name, for one picture.
fn run(path: &Path) -> HashMap<String, TensorProto> {
    let config = RuntimeConfig { threads: 1, ..Default::default() };
    let (model, _): (ModelProto, String) = read::read(path).unwrap();
    let input = model.graph.unwrap().input[0].name().to_owned();
    let mut session = BareSession::open(&std::fs::read(path).unwrap(), &config, true).unwrap();
    let picture: Vec<f32> = (0..3 * 24 * 16).map(|n| (n as f32 * 0.37).sin()).collect();
    let outputs = session.run(Some((&input, [1, 3, 16, 24], &picture))).unwrap();
    outputs.into_iter().map(|tensor| (tensor.name().to_owned(), tensor)).collect()
}

/// A map of `WIDTH` channels on 6x4 cells.
fn map(net: &mut Net) -> String {
    let kernel = net.weight("kernel", &[WIDTH, 3, 4, 4], 0.0);
    let sides = vec![ints("kernel_shape", vec![4, 4]), ints("strides", vec![4, 4])];
    let map = net.with("Conv", &["image", &kernel], sides);
    let active = net.op("Relu", &[&map]);
    net.called(&active, "map")
}

/// Scores of `classes` at the size of the picture, bent by an activation as decoders do.
fn enlarged(net: &mut Net, map: &str, name: &str, classes: i64) {
    let kernel = net.weight(&format!("{name}.kernel"), &[WIDTH, classes, 4, 4], 0.0);
    let sides = vec![ints("kernel_shape", vec![4, 4]), ints("strides", vec![4, 4])];
    let large = net.with("ConvTranspose", &[map, &kernel], sides);
    let slope = net.weight(&format!("{name}.slope"), &[classes, 1, 1], 0.3);
    let bent = net.op("PRelu", &[&large, &slope]);
    net.called(&bent, name);
}

#[test]
fn each_of_two_heads_can_be_chosen() {
    let dir = tempfile::tempdir().unwrap();
    let mut net = Net::default();
    let map = map(&mut net);
    enlarged(&mut net, &map, "area", 2);
    enlarged(&mut net, &map, "lane", 3);
    let model = written(dir.path(), "m.onnx", &net.model(&["area", "lane"]));
    let seen = farout(["model", "inspect", text(&model), "--json"]).succeeded().json();
    let heads: Vec<(&str, u64, &str)> = seen["heads"]
        .as_array()
        .unwrap()
        .iter()
        .map(|head| {
            let classes = head["logits"]["classes"].as_u64().unwrap();
            (head["selector"].as_str().unwrap(), classes, head["outputs"][0].as_str().unwrap())
        })
        .collect();
    assert_eq!(heads, [("logits", 2, "area"), ("logits:2", 3, "lane")], "{seen}");
    let shown = farout(["model", "inspect", text(&model)]).succeeded().stdout;
    assert!(shown.contains("lane [] float32: logits:2") && shown.contains("3 classes on 24x16"), "{shown}");
    let out = dir.path().join("out.onnx");
    let whole = run(&model);
    for (asked, name) in
        [("logits", "area"), ("logits:2", "lane"), ("lane", "lane"), ("area", "area"), ("auto", "lane")]
    {
        let told =
            prepare(&model, &out, &["--features", "map", "--logits", asked, "--json"]).succeeded().json();
        assert!(run(&out)["logits"].floats() == whole[name].floats(), "{asked}: {told}");
        let others = told["other_heads"].as_array().unwrap();
        assert_eq!(others.len(), usize::from(asked == "auto"), "{told}");
    }
    let wrong = prepare(&model, &out, &["--features", "map", "--logits", "line"]);
    assert!(wrong.stderr.contains("logits:2 (lane)"), "{}", wrong.stderr);
}

/// Scores with their channels last behind a softmax, of a picture with its channels last.
fn channels_last() -> ModelProto {
    let mut net = Net::default();
    let turned = net.with("Transpose", &["photo"], vec![ints("perm", vec![0, 3, 1, 2])]);
    net.called(&turned, "image");
    let map = map(&mut net);
    let kernel = net.weight("head", &[4, WIDTH, 1, 1], 0.0);
    let scores = net.with("Conv", &[&map, &kernel], vec![ints("kernel_shape", vec![1, 1])]);
    let last = net.with("Transpose", &[&scores], vec![ints("perm", vec![0, 2, 3, 1])]);
    let last = net.called(&last, "scores");
    let shares = net.with("Softmax", &[&last], vec![int("axis", 3)]);
    net.called(&shares, "shares");
    let best = net.with("ArgMax", &[&last], vec![int("axis", 3)]);
    net.called(&best, "best");
    let mut model = net.model(&["shares", "best"]);
    let side = |side| Dimension { value: Some(DimensionValue::DimValue(side)), denotation: None };
    let graph = model.graph.as_mut().unwrap();
    graph.input = vec![tensor_value("photo", data_type::FLOAT, Some([1, 16, 24, 3].map(side).to_vec()))];
    graph.output[1] = tensor_value("best", data_type::INT64, None);
    model
}

#[test]
fn scores_are_taken_from_before_the_softmax() {
    let dir = tempfile::tempdir().unwrap();
    let model = written(dir.path(), "m.onnx", &channels_last());
    let seen = farout(["model", "inspect", text(&model), "--json"]).succeeded().json();
    let head = &seen["heads"][0];
    assert_eq!((head["decided_by"].as_str(), head["logits"]["classes"].as_u64()), (Some("Softmax"), Some(4)));
    assert_eq!((head["rows"].as_u64(), head["cols"].as_u64()), (Some(4), Some(6)), "{seen}");
    assert_eq!(seen["heads"].as_array().unwrap().len(), 1, "one head, two outputs: {seen}");
    let shown = farout(["model", "inspect", text(&model)]).succeeded().stdout;
    assert!(
        shown.contains("probabilities: Softmax of logits") && shown.contains("the best class"),
        "{shown}"
    );
    let out = dir.path().join("out.onnx");
    for asked in ["auto", "shares", "best", "scores"] {
        let told =
            prepare(&model, &out, &["--features", "map", "--logits", asked, "--json"]).succeeded().json();
        let outputs = run(&out);
        assert_eq!(outputs["logits"].dims, [1, 4, 4, 6], "{told}");
        let logits = outputs["logits"].floats().unwrap();
        // Scores of both signs, whose exponentials do not add up to 1.
        assert!(logits.iter().any(|number| *number < 0.0), "{asked}: {logits:?}");
    }
    // Named in a configuration, probabilities are refused.
    let config = ModelConfig {
        path: channels_first(dir.path()),
        features: Some("map".into()),
        logits: Some("shares".into()),
        ..Default::default()
    };
    let why = load(&config).unwrap_err().to_string();
    assert!(why.contains("Softmax") && why.contains("\"scores\""), "{why}");
    load(&ModelConfig { logits: Some("scores".into()), ..config }).unwrap();
}

fn channels_first(dir: &Path) -> PathBuf {
    let mut net = Net::default();
    let map = map(&mut net);
    let kernel = net.weight("head", &[4, WIDTH, 1, 1], 0.0);
    let scores = net.with("Conv", &[&map, &kernel], vec![ints("kernel_shape", vec![1, 1])]);
    let scores = net.called(&scores, "scores");
    let shares = net.with("Softmax", &[&scores], vec![int("axis", 1)]);
    net.called(&shares, "shares");
    written(dir, "first.onnx", &net.model(&["shares"]))
}

#[test]
fn a_model_of_which_only_the_classes_are_wanted_needs_no_features() {
    let dir = tempfile::tempdir().unwrap();
    let model = written(dir.path(), "m.onnx", &channels_last());
    let out = dir.path().join("out.onnx");
    let told = prepare(&model, &out, &["--classes", "sky,road,kerb,marking", "--channels", "bgr", "--json"]);
    let told = told.succeeded().json();
    let outputs = run(&out);
    assert_eq!(
        (&outputs["logits"].dims[..], &outputs["features"].dims[..]),
        (&[1, 4, 4, 6][..], &[1, 4, 6, 4][..])
    );
    let (logits, cells) = (outputs["logits"].floats().unwrap(), outputs["features"].floats().unwrap());
    assert!((0..96).all(|at| logits[at] == cells[at % 24 * 4 + at / 24]), "{told}");
    let mut net = Net::default();
    map(&mut net);
    let model = written(dir.path(), "none.onnx", &net.model(&["map"]));
    let none = prepare(&model, &out, &[]);
    assert!(none.stderr.contains("--features") && none.stderr.contains("class scores"), "{}", none.stderr);
}

#[test]
fn an_input_of_unknown_size_cannot_be_filled_in() {
    let dir = tempfile::tempdir().unwrap();
    let mut net = Net::default();
    let map = map(&mut net);
    let masked = net.op("Add", &[&map, "mask"]);
    net.called(&masked, "masked");
    let mut model = net.model(&["masked"]);
    let side =
        |name: &str| Dimension { value: Some(DimensionValue::DimParam(name.into())), denotation: None };
    let mask = tensor_value("mask", data_type::FLOAT, Some(["n", "c", "rows", "cols"].map(side).to_vec()));
    model.graph.as_mut().unwrap().input.push(mask);
    let model = written(dir.path(), "m.onnx", &model);
    let open =
        prepare(&model, &dir.path().join("out.onnx"), &["--features", "masked", "--constant", "mask=0"]);
    assert!(
        open.stderr.contains("mask [n, c, rows, cols]") && open.stderr.contains("fixed sides"),
        "{}",
        open.stderr
    );
}

#[test]
fn an_input_that_is_always_the_same_is_filled_in() {
    let dir = tempfile::tempdir().unwrap();
    let mut net = Net::default();
    let map = map(&mut net);
    let as_number = net.with("Cast", &["mask"], vec![int("to", i64::from(data_type::FLOAT))]);
    let masked = net.op("Add", &[&map, &as_number]);
    net.called(&masked, "masked");
    let mut model = net.model(&["masked"]);
    let side = |side| Dimension { value: Some(DimensionValue::DimValue(side)), denotation: None };
    let mask = tensor_value("mask", data_type::BOOL, Some([1, 1, 4, 6].map(side).to_vec()));
    model.graph.as_mut().unwrap().input.push(mask);
    let model = written(dir.path(), "m.onnx", &model);
    let out = dir.path().join("out.onnx");
    let without = prepare(&model, &out, &["--features", "masked"]);
    assert_eq!(without.code, Some(1));
    assert!(without.stderr.contains("mask [1, 1, 4, 6]") && without.stderr.contains("--constant mask=VALUE"));
    let other = prepare(&model, &out, &["--features", "masked", "--constant", "musk=1"]);
    assert!(
        other.stderr.contains("\"musk\"") && other.stderr.contains("mask [1, 1, 4, 6]"),
        "{}",
        other.stderr
    );
    let own = prepare(&model, &out, &["--features", "masked", "--constant", "image=0"]);
    assert!(
        own.stderr.contains("\"image\", which takes the picture") && own.stderr.contains("mask [1, 1, 4, 6]"),
        "{}",
        own.stderr
    );
    let word = prepare(&model, &out, &["--features", "masked", "--constant", "mask"]);
    assert_eq!(word.code, Some(2), "{}", word.stderr);
    let filled = |value: &str| {
        let given = format!("mask={value}");
        prepare(&model, &out, &["--features", "masked", "--constant", &given]).succeeded();
        run(&out)["features"].floats().unwrap()
    };
    let (zero, one) = (filled("0"), filled("1"));
    assert_eq!(run(&out).len(), 1, "an output that nobody asked for");
    assert!(zero.iter().zip(&one).all(|(a, b)| (b - a - 1.0).abs() < 1e-5), "{zero:?} {one:?}");
    farout(["model", "inspect", text(&model), "--constant", "mask=0"]).succeeded();
    let config = ModelConfig { path: model, features: Some("masked".into()), ..Default::default() };
    let why = load(&config).unwrap_err().to_string();
    assert!(why.contains("--constant mask=VALUE"), "{why}");
}
