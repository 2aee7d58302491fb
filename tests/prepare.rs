//! `farout model` from outside: what is prepared runs with no word about its tensors, and what cannot be
//! done is said clearly.
#![allow(clippy::unwrap_used, reason = "a test may fail anywhere")]

use std::path::{Path, PathBuf};

use crate::support::given::{DRIVE, build, given, text};
use crate::support::program::{Outcome, farout};
use farout::model::onnx::{EXTERNAL, ModelProto, StringStringEntryProto};
use farout::model::read;
use prost::Message;

fn tiny(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models").join(name)
}

fn prepare(model: &Path, output: &Path, more: &[&str]) -> Outcome {
    farout([&["model", "prepare", text(model), "-o", text(output)], more].concat())
}

#[test]
fn a_prepared_file_needs_no_word_about_its_tensors() {
    let dir = tempfile::tempdir().unwrap();
    let (model, bank) = (dir.path().join("vit.onnx"), dir.path().join("vit.bank"));
    let told =
        prepare(&tiny("timm-vit.ts.onnx"), &model, &["--features", "key:2", "--json"]).succeeded().json();
    assert_eq!((told["width"].as_u64(), told["grid"][0].as_u64()), (Some(16), Some(4)), "{told}");
    assert!(told["macs"][1].as_u64() < told["macs"][0].as_u64(), "{told}");
    assert!(told["nodes"][1].as_u64() < told["nodes"][0].as_u64(), "{told}");
    assert_eq!(told["compared"][0]["pictures"].as_array().unwrap().len(), 3, "{told}");
    let seen = farout(["model", "inspect", text(&model), "--json"]).succeeded().json();
    assert!(seen["section"].as_str().unwrap().contains("features = \"features\""), "{seen}");
    assert_eq!(seen["outputs"][0], "features [1, 4, 6, 16] float32");
    build(&model, &given().pictures, &bank);
    let scores = dir.path().join("scores");
    let replayed = ["replay", DRIVE, "--frames", "3", "--model", text(&model), "--bank", text(&bank)];
    let told = farout([&replayed[..], &["--scores", text(&scores), "--json"]].concat()).succeeded().json();
    assert_eq!(told["frames"], 3);
    assert_eq!(scores.read_dir().unwrap().count(), 3);
}

#[test]
fn features_are_joined_and_logits_come_along() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.onnx");
    let names = "road,car,sky,tree,pole";
    let told = prepare(
        &tiny("segmenter.dy.onnx"),
        &out,
        &["--concat", "key:1,value:2", "--classes", names, "--mean", "0.5", "--std", "0.5", "--json"],
    );
    let told = told.succeeded().json();
    assert_eq!((told["width"].as_u64(), told["logits"]["classes"].as_u64()), (Some(32), Some(5)), "{told}");
    assert!(!told["normalisation_assumed"].as_bool().unwrap());
    let compared: Vec<&str> =
        told["compared"].as_array().unwrap().iter().map(|one| one["output"].as_str().unwrap()).collect();
    assert_eq!(compared, ["features", "logits"]);
    let (model, _) = read::read(&out).unwrap();
    let origin = model.metadata_props.iter().find(|entry| entry.key() == "farout.origin").unwrap();
    let origin: serde_json::Value = serde_json::from_str(origin.value()).unwrap();
    assert_eq!((origin["classes"][1].as_str(), origin["sha256"].as_str().unwrap().len()), (Some("car"), 64));
    let again = dir.path().join("again.onnx");
    prepare(
        &tiny("segmenter.dy.onnx"),
        &again,
        &["--concat", "key:1,value:2", "--classes", names, "--mean", "0.5", "--std", "0.5"],
    )
    .succeeded();
    assert!(std::fs::read(&out).unwrap() == std::fs::read(&again).unwrap(), "two preparations differ");
}

/// What `tools/export.py` writes beside the graph: preprocessing and classes.
#[test]
fn what_an_export_says_of_itself_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let (model, out) = (dir.path().join("m.onnx"), dir.path().join("out.onnx"));
    let (mut told, _): (ModelProto, String) = read::read(&tiny("segmenter.ts.onnx")).unwrap();
    let section = "mean = [0.1, 0.2, 0.3]\nstd = [0.5, 0.5, 0.5]\nchannels = \"bgr\"\n";
    let names = r#"["road", "car", "sky", "tree", "pole"]"#;
    for (key, value) in [("farout.model", section), ("classes", names)] {
        let (key, value) = (Some(key.to_owned()), Some(value.to_owned()));
        told.metadata_props.push(StringStringEntryProto { key, value });
    }
    std::fs::write(&model, told.encode_to_vec()).unwrap();
    let seen = farout(["model", "inspect", text(&model)]).succeeded().stdout;
    assert!(seen.contains("road, car, sky") && !seen.contains("prepared"), "{seen}");
    let prepared = prepare(&model, &out, &["--features", "key:2", "--json"]).succeeded().json();
    assert_eq!(prepared["normalisation"], "bgr x 0.0039216 - [0.1, 0.2, 0.3] / [0.5, 0.5, 0.5]");
    assert_eq!(prepared["normalisation_assumed"], false);
    let seen = farout(["model", "inspect", text(&out), "--json"]).succeeded().json();
    assert!(seen["origin"].as_str().unwrap().contains("\"car\""), "{seen}");
}

/// The model with its constants in a file of their own.
fn with_external_data(from: &Path, to: &Path) {
    let (mut model, _): (ModelProto, String) = read::read(from).unwrap();
    let mut data = Vec::new();
    for tensor in &mut model.graph.as_mut().unwrap().initializer {
        let Some(raw) = tensor.raw_data.take_if(|raw| raw.len() >= 256) else { continue };
        let entry =
            |key: &str, value: String| StringStringEntryProto { key: Some(key.into()), value: Some(value) };
        tensor.external_data = vec![
            entry("location", "weights.bin".into()),
            entry("offset", data.len().to_string()),
            entry("length", raw.len().to_string()),
        ];
        tensor.data_location = Some(EXTERNAL);
        data.extend(raw);
    }
    std::fs::write(to, model.encode_to_vec()).unwrap();
    std::fs::write(to.with_file_name("weights.bin"), data).unwrap();
}

#[test]
fn weights_beside_the_model_are_taken_in() {
    let dir = tempfile::tempdir().unwrap();
    let (model, out) = (dir.path().join("m.onnx"), dir.path().join("out.onnx"));
    with_external_data(&tiny("hf-vit.ts.onnx"), &model);
    prepare(&model, &out, &["--features", "norm"]).succeeded();
    std::fs::remove_file(dir.path().join("weights.bin")).unwrap();
    farout(["model", "inspect", text(&out)]).succeeded();
    let fault = prepare(&model, &dir.path().join("no.onnx"), &["--features", "norm"]);
    assert_eq!(fault.code, Some(1));
    assert!(
        fault.stderr.contains("weights.bin") && fault.stderr.contains("copy that file along"),
        "{}",
        fault.stderr
    );
}

#[test]
fn what_cannot_be_done_is_said_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let whole = std::fs::read(tiny("timm-vit.ts.onnx")).unwrap();
    std::fs::write(at("half.onnx"), &whole[..whole.len() / 2]).unwrap();
    std::fs::write(at("text.onnx"), "hello, I am a note and no model").unwrap();
    let (vit, swin) = (tiny("timm-vit.ts.onnx"), tiny("swin.dy.onnx"));
    let resnet = tiny("resnet.ts.onnx");
    let key: &[&str] = &["--features", "key:2"];
    let cases: [(&Path, &[&str], &[&str]); 11] = [
        (&at("half.onnx"), key, &["half.onnx", "cut off"]),
        (&at("text.onnx"), key, &["text.onnx", "text file"]),
        (&at("none.onnx"), key, &["none.onnx", "No such file"]),
        (&vit, &["--features", "key:3"], &["no \"key:3\"", "key:1..2", "norm", "tokens:1..2"]),
        (&resnet, key, &["no \"key:2\"", "stage:1..4"]),
        (
            &vit,
            &["--features", "key:2", "--size", "64x64"],
            &["64x64", "declares 48x32", "free height and width"],
        ),
        (&swin, &["--concat", "key:1,key:3"], &["key:1", "24x16", "one grid"]),
        (&vit, &["--features", "key:2", "--logits", "nothing"], &["--logits", "nothing"]),
        (&vit, &["--features", "key:2", "--mean", "1,2"], &["--mean", "three"]),
        (&vit, &["--features", "key:2", "--layout", "nhwc"], &["--layout says nhwc", "[1, 3, 32, 48]"]),
        (&vit, &["--features", "key:2", "--images", "/no/such/picture"], &["/no/such/picture"]),
    ];
    for (model, more, words) in cases {
        let out = at("out.onnx");
        let ended = prepare(model, &out, more);
        assert_ne!(ended.code, Some(0), "{more:?}");
        for word in words {
            assert!(ended.stderr.contains(word), "{more:?}: no {word:?} in {}", ended.stderr);
        }
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
        assert!(!out.exists(), "{more:?} left a file");
    }
    std::fs::write(at("own.onnx"), &whole).unwrap();
    let own = prepare(&at("own.onnx"), &at("own.onnx"), key);
    assert!(own.stderr.contains("overwritten"), "{}", own.stderr);
    assert!(std::fs::read(at("own.onnx")).unwrap() == whole);
}

/// Wherever a file is cut or bent, inspection ends with an error or a report, never a panic.
#[test]
fn damage_never_panics() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bent.onnx");
    let whole = std::fs::read(tiny("timm-vit.dy.onnx")).unwrap();
    for n in 0..24 {
        let mut bytes = whole.clone();
        let at = (n * 2_654_435_761_usize) % bytes.len();
        bytes[at] ^= 1 << (n % 8);
        let end = if n % 3 == 0 { bytes.len() } else { at.max(16) };
        std::fs::write(&path, &bytes[..end]).unwrap();
        let ended = farout(["model", "inspect", text(&path)]);
        assert!(matches!(ended.code, Some(0 | 1)), "{n}: {ended:?}");
        assert!(!ended.stderr.contains("panicked"), "{n}: {}", ended.stderr);
    }
}

/// Heads as PyTorch computed them (`tools/tiny_models.py heads`), on features of the very model that they
/// name.
#[test]
fn a_trained_head_gives_its_logits_to_any_features() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let vit = tiny("timm-vit.ts.onnx");
    for kind in ["linear", "mask-transformer"] {
        let head = tiny(&format!("timm-vit.{kind}.safetensors"));
        let with: &[&str] = &["--head", text(&head), "--mean", "0.5", "--std", "0.5", "--json"];
        // Features that are not the head's own.
        let told =
            prepare(&vit, &at("key.onnx"), &[&["--features", "key:2"], with].concat()).succeeded().json();
        assert_eq!(
            (told["head"]["kind"].as_str(), told["head"]["classes"].as_u64()),
            (Some(kind), Some(5)),
            "{told}"
        );
        assert_eq!(told["compared"][1]["output"], "logits", "{told}");
        assert!(told["head"]["differs_from_training"].as_f64().unwrap() < 1e-5, "{told}");
        // From a file that was prepared with the head's own features, its mean and deviation kept.
        prepare(&vit, &at("norm.onnx"), &["--features", "norm", "--mean", "0.5", "--std", "0.5"]).succeeded();
        let with: &[&str] = &["--features", "features", "--head", text(&head), "--json"];
        let told = prepare(&at("norm.onnx"), &at("again.onnx"), with).succeeded().json();
        assert_eq!(told["normalisation_assumed"], false, "{told}");
        assert!(told["normalisation"].as_str().unwrap().contains("[0.5, 0.5, 0.5]"), "{told}");
        let origins = ["key.onnx", "again.onnx"].map(|name| {
            let (model, _) = read::read(&at(name)).unwrap();
            let entry = model.metadata_props.iter().find(|entry| entry.key() == "farout.origin").unwrap();
            serde_json::from_str::<serde_json::Value>(entry.value()).unwrap()
        });
        assert_eq!(origins[0]["sha256"], origins[1]["sha256"]);
        assert_eq!(
            (&origins[1]["features"][0][0], &origins[1]["classes"][4]),
            (&"norm".into(), &"pole".into())
        );
        let logits = |name: &str| run(&at(name))[1].floats().unwrap();
        let (one, other) = (logits("key.onnx"), logits("again.onnx"));
        let off = one.iter().zip(&other).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
        assert!(one.len() == 5 * 4 * 6 && off < 1e-4, "{kind}: {off} in {}", one.len());
    }
}

/// The outputs of a prepared file for one picture.
fn run(model: &Path) -> Vec<farout::model::onnx::TensorProto> {
    let config = farout::features::RuntimeConfig { threads: 1, ..Default::default() };
    let mut session =
        farout::features::BareSession::open(&std::fs::read(model).unwrap(), &config, true).unwrap();
    let picture: Vec<f32> = (0..3 * 48 * 32).map(|n| (n as f32 * 0.37).sin()).collect();
    session.run(Some(("image", [1, 3, 32, 48], &picture))).unwrap()
}

#[test]
fn a_head_that_does_not_belong_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let head = tiny("timm-vit.linear.safetensors");
    let whole = std::fs::read(&head).unwrap();
    std::fs::write(at("cut.safetensors"), &whole[..whole.len() / 2]).unwrap();
    std::fs::write(at("text.safetensors"), "hello, I am a note and no head").unwrap();
    // The last number of a weight, made another one: what it computes is no longer what was trained.
    let mut bent = whole.clone();
    let end = bent.len();
    bent[end - 4..].copy_from_slice(&9.0_f32.to_le_bytes());
    std::fs::write(at("bent.safetensors"), bent).unwrap();
    let (vit, other) = (tiny("timm-vit.ts.onnx"), tiny("timm-vit.dy.onnx"));
    prepare(&vit, &at("key.onnx"), &["--features", "key:2"]).succeeded();
    let cases: [(&Path, &Path, &str, &[&str]); 6] = [
        (&other, &head, "key:2", &["SHA-256", "train a head for it"]),
        (&at("key.onnx"), &head, "features", &["trained on norm", "prepared with key:2", "timm-vit.ts.onnx"]),
        (&vit, &at("cut.safetensors"), "key:2", &["cut.safetensors", "no usable head"]),
        (&vit, &at("text.safetensors"), "key:2", &["text.safetensors", "train_head.py"]),
        (&vit, &at("bent.safetensors"), "key:2", &["bent.safetensors", "other logits than the training"]),
        (&vit, &at("none.safetensors"), "key:2", &["none.safetensors", "No such file"]),
    ];
    for (model, head, features, words) in cases {
        let ended = prepare(model, &at("out.onnx"), &["--features", features, "--head", text(head)]);
        assert_eq!(ended.code, Some(1), "{head:?}");
        for word in words {
            assert!(ended.stderr.contains(word), "{head:?}: no {word:?} in {}", ended.stderr);
        }
        assert!(!at("out.onnx").exists(), "{head:?} left a file");
    }
}

/// `model warm` opens what `run` will open, says what runs it and why nothing better does.
#[test]
fn warming_tells_what_runs_the_model() {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("m.onnx");
    prepare(&tiny("timm-vit.ts.onnx"), &model, &["--features", "key:2"]).succeeded();
    let told = farout(["model", "warm", "--model", text(&model), "--json"]).succeeded().json();
    let passed = told["passed_over"].as_array().unwrap();
    match told["runs_on"].as_str().unwrap() {
        "cpu" => {
            let all = ["tensorrt (fp16)", "tensorrt (fp32)", "cuda (tf32)", "cuda (fp32)", "openvino (fp32)"];
            assert_eq!(passed.len(), all.len(), "{told}");
            for (one, begins) in passed.iter().zip(all) {
                assert!(
                    one.as_str().unwrap().starts_with(begins) && one.as_str().unwrap().len() > 40,
                    "{told}"
                );
            }
        }
        gpu => assert!(gpu.contains('(') && told["off_golden_frame"].is_number(), "{told}"),
    }
    assert!(told["run_ms"].as_f64().unwrap() > 0.0, "{told}");
    let cpu = farout(["model", "warm", "--model", text(&model), "--device", "cpu"]).succeeded();
    assert!(cpu.stdout.contains("on cpu") && cpu.stdout.contains("opened in"), "{}", cpu.stdout);
    let none = farout(["model", "warm"]);
    assert_eq!(none.code, Some(2), "{}", none.stderr);
    assert!(none.stderr.contains("--model FILE"), "{}", none.stderr);
}

/// The golden frame in a prepared file is what the file's graph gives for it, and stays with it.
#[test]
fn a_prepared_file_carries_the_golden_frame() {
    use farout::features::{Golden, golden};
    use farout::model::{self, ModelConfig};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.onnx");
    prepare(&tiny("timm-vit.ts.onnx"), &path, &["--features", "key:2"]).succeeded();
    let config = ModelConfig { path: path.clone(), ..Default::default() };
    let stored = Golden::parse(&model::load(&config).unwrap().golden.unwrap()).unwrap();
    let runtime = farout::features::RuntimeConfig { threads: 1, ..Default::default() };
    let mut session = farout::features::Session::open(&config, &runtime).unwrap();
    let mut features = farout::grid::Features::default();
    session.run(&golden::input(48, 32), &mut features, None).unwrap();
    assert!(stored.judge(&features, 1e-4).is_ok(), "{:?}", stored.difference(&features));
    // Of another tensor it says nothing.
    let other = ModelConfig { features: Some("image".to_owned()), ..config };
    assert_eq!(model::load(&other).ok().and_then(|loaded| loaded.golden), None);
}

#[test]
fn integers_take_the_place_of_floats_and_their_effect_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let vit = tiny("timm-vit.ts.onnx");
    let told = prepare(&vit, &at("int8.onnx"), &["--features", "tokens:2", "--quantize", "--json"]);
    let told = told.succeeded().json();
    // Of two blocks: queries, keys and values, projection, and two of the MLP.
    assert_eq!(told["quantized"]["products"], 8, "{told}");
    let distances = &told["quantized"]["distances"];
    assert_eq!(distances["pictures"], 1, "the rendered road: {told}");
    for bank in ["own_bank", "former_bank"] {
        let change = |key: &str| distances[bank][key].as_f64().unwrap();
        assert!(change("relative_error") > 0.0 && change("relative_error") < 0.2, "{distances}");
        assert!(change("rank_correlation") > 0.9 && (change("ratio") - 1.0).abs() < 0.2, "{distances}");
    }
    let effects = told["quantized"]["effects"].as_array().unwrap();
    assert_eq!(effects.len(), 3, "{told}");
    for one in effects {
        let off = one["relative_l2"].as_f64().unwrap();
        assert!(off > 1e-4 && off < 0.1, "{told}");
    }
    // What was told is what is in the file.
    prepare(&vit, &at("float.onnx"), &["--features", "tokens:2"]).succeeded();
    let [floats, integers] = ["float.onnx", "int8.onnx"].map(|name| run(&at(name))[0].floats().unwrap());
    let length = |numbers: &mut dyn Iterator<Item = f32>| numbers.map(|v| v * v).sum::<f32>().sqrt();
    let off =
        length(&mut floats.iter().zip(&integers).map(|(a, b)| a - b)) / length(&mut floats.iter().copied());
    assert!(off > 1e-4 && off < 0.1, "{off}");
    farout(["model", "warm", "--model", text(&at("int8.onnx"))]).succeeded();
    let none = prepare(&tiny("resnet.ts.onnx"), &at("none.onnx"), &["--features", "stage:2", "--quantize"]);
    assert!(none.stderr.contains("--quantize") && none.stderr.contains("no products"), "{}", none.stderr);
    assert!(!at("none.onnx").exists());
}
