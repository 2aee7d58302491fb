//! Tiny random-weight exports of many architectures: what is found in them by structure is what hooks in
//! PyTorch saw (`tools/tiny_models.py`), and what is prepared from them gives these numbers.
#![allow(clippy::unwrap_used, reason = "a test may fail anywhere")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::support::skipped::skipped;
use farout::features::{BareSession, Device, RuntimeConfig};
use farout::model::assemble::{Assembly, assemble};
use farout::model::onnx::TensorProto;
use farout::model::survey::Survey;
use farout::model::{InputSize, ModelConfig};
use farout::prepare::{Examined, Look, examine};
use prost::Message;
use serde::Deserialize;

/// What hooks saw.
#[derive(Deserialize)]
struct Truth {
    size: [usize; 2],
    features: BTreeMap<String, Sampled>,
    logits: Option<Sampled>,
    /// True if the model takes bytes, which are the picture's numbers from 0 to 255.
    #[serde(default)]
    bytes: bool,
}

/// What a file is named by its number format, and how far its features may be from what 32-bit floats gave hooks in
/// PyTorch, as part of the largest: rounding of 32-bit floats, of 16-bit floats, of brain floats (8 bits), and of
/// integers with a range for each tensor.
const KINDS: [(&str, f32); 10] = [
    ("ts", 1e-4),
    ("dy", 1e-4),
    ("fp16", 1e-2),
    ("bf16", 2e-2),
    ("fused", 1e-4),
    ("faster", 1e-4),
    ("fused16", 1e-2),
    ("qdq", 8e-2),
    ("qoperator", 8e-2),
    ("dynamic", 8e-2),
];

/// An array `[h, w, C]`, every `step`-th number of it.
#[derive(Deserialize)]
struct Sampled {
    grid: [usize; 2],
    width: usize,
    step: usize,
    values: Vec<f32>,
}

fn folder() -> PathBuf {
    match std::env::var_os("FAROUT_TINY_MODELS") {
        Some(folder) => folder.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models"),
    }
}

fn cpu() -> RuntimeConfig {
    RuntimeConfig { device: Device::CPU, threads: 1, ..Default::default() }
}

/// The input of `tools/tiny_models.py`.
fn picture(width: usize, height: usize) -> Vec<f32> {
    let number = |n: usize| {
        let (c, y, x) = ((n / (width * height)) as f64, (n / width % height) as f64, (n % width) as f64);
        (0.7 * c + 0.13 * (c + 1.0) * y + 0.17 * x + 0.01 * x * y).sin() as f32
    };
    (0..3 * width * height).map(number).collect()
}

/// How far `got`, `[1, h, w, C]`, is from the truth, as part of the truth's largest number.
fn difference(got: &TensorProto, truth: &Sampled) -> Result<f32, String> {
    let dims = [1, truth.grid[0], truth.grid[1], truth.width].map(|dim| dim as i64);
    if got.dims != dims {
        return Err(format!("its shape is {:?}, not {dims:?}", got.dims));
    }
    let numbers = got.floats().unwrap();
    let largest = truth.values.iter().fold(0.0_f32, |most, v| most.max(v.abs()));
    let sampled = numbers.iter().step_by(truth.step).zip(&truth.values);
    Ok(sampled.fold(0.0_f32, |most, (a, b)| most.max((a - b).abs())) / largest)
}

fn rows_first(map: &TensorProto) -> TensorProto {
    let [_, k, h, w] = map.dims[..] else { panic!("{:?}", map.dims) };
    let data = map.floats().unwrap();
    let cells = (h * w) as usize;
    let turned: Vec<f32> =
        (0..cells).flat_map(|cell| data.iter().skip(cell).step_by(cells).copied()).collect();
    farout::model::onnx::float_tensor("map", vec![1, h, w, k], &turned)
}

/// Everything that is wrong with one export.
fn faults(path: &Path, truth: &Truth, tolerance: f32) -> Vec<String> {
    let size = InputSize { width: truth.size[0], height: truth.size[1] };
    let look = Look { size: Some(size), ..Look::default() };
    let Examined { traced, .. } = match examine(path, &look, &cpu()) {
        Ok(examined) => examined,
        Err(why) => return vec![format!("{why:#}")],
    };
    let survey = Survey::of(&traced);
    let mut image = picture(size.width, size.height);
    if truth.bytes {
        image.iter_mut().for_each(|number| *number = 127.5 * *number + 127.5);
    }
    let run = |selector: &str, logits: bool| -> Result<Vec<TensorProto>, String> {
        let features = [survey.select(selector)?];
        let assembly = Assembly {
            features: &features,
            logits: survey.logits().filter(|_| logits),
            head: None,
            section: ModelConfig::default(),
            origin: String::new(),
        };
        let model = assemble(&traced, &survey, &assembly)?;
        let mut session =
            BareSession::open(&model.encode_to_vec(), &cpu(), true).map_err(|why| format!("{why:#}"))?;
        let image = Some((traced.input.as_str(), [1, 3, size.height, size.width], &image[..]));
        session.run(image).map_err(|why| format!("{why:#}"))
    };
    let mut faults = Vec::new();
    let judge = |what: &str, off: Result<f32, String>| match off {
        Ok(off) if off < tolerance => None,
        Ok(off) => Some(format!("{what}: differs by {off:e} of the largest")),
        Err(why) => Some(format!("{what}: {why}")),
    };
    for (selector, truth) in &truth.features {
        let off = run(selector, false).and_then(|outputs| difference(&outputs[0], truth));
        faults.extend(judge(selector, off));
    }
    match (&truth.logits, survey.logits()) {
        (None, None) => {}
        (Some(wanted), Some(_)) => {
            let any = truth.features.keys().next().unwrap();
            let off = run(any, true).and_then(|outputs| difference(&rows_first(&outputs[1]), wanted));
            faults.extend(judge("logits", off));
        }
        (wanted, found) => faults.push(format!("logits: {found:?}, wanted: {}", wanted.is_some())),
    }
    if !faults.is_empty() {
        faults.push(format!("there is {}; not: {:?}", survey.listed(), survey.unplaced));
    }
    faults
}

#[test]
fn every_architecture_is_understood_from_both_exporters() {
    let mut all = Vec::new();
    let mut seen = 0;
    let mut files: Vec<PathBuf> = folder().read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for path in files.iter().filter(|path| path.extension().is_some_and(|ending| ending == "json")) {
        let truth: Truth = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert!(!truth.features.is_empty(), "{}", path.display());
        for (kind, tolerance) in KINDS {
            let model = path.with_extension(format!("{kind}.onnx"));
            if !model.is_file() {
                continue;
            }
            seen += 1;
            let name = model.file_name().unwrap().to_string_lossy().into_owned();
            all.extend(faults(&model, &truth, tolerance).iter().map(|fault| format!("{name}: {fault}")));
        }
    }
    assert!(all.is_empty(), "{} faults in {seen} models:\n{}", all.len(), all.join("\n"));
    assert!(seen >= 57, "{seen} models");
}

/// Real files, where they are at hand: what is found by structure is what their makers named.
#[test]
fn real_models_are_understood() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/models");
    type Case = (&'static str, &'static [(&'static str, &'static str)], Option<usize>);
    let cases: [Case; 2] = [
        (
            "vit_tiny_p16_384x768_keys.onnx",
            &[("key:9", "key_l9"), ("key:12", "key_l12"), ("norm", "tokens")],
            None,
        ),
        (
            "efficientvit_seg_b0_cityscapes_512x1024.onnx",
            &[("stage:3", "stage3_s16"), ("stage:4", "stage4_s32")],
            Some(19),
        ),
    ];
    for (name, pairs, classes) in cases {
        let path = shared.join(name);
        if !path.is_file() {
            skipped("a real model", &format!("{} is not here", path.display()));
            continue;
        }
        let Examined { traced, facts, .. } = examine(&path, &Look::default(), &cpu()).unwrap();
        let survey = Survey::of(&traced);
        assert_eq!(survey.logits().map(|logits| logits.classes()), classes, "{name}");
        let image = picture(facts.size.width, facts.size.height);
        for (selector, named) in pairs {
            let run = |selector: &str| {
                let features = [survey.select(selector).unwrap()];
                let section = ModelConfig::default();
                let assembly = Assembly {
                    features: &features,
                    logits: None,
                    head: None,
                    section,
                    origin: String::new(),
                };
                let model = assemble(&traced, &survey, &assembly).unwrap();
                let mut session = BareSession::open(&model.encode_to_vec(), &cpu(), true).unwrap();
                let image =
                    Some((traced.input.as_str(), [1, 3, facts.size.height, facts.size.width], &image[..]));
                session.run(image).unwrap()[0].floats().unwrap()
            };
            let (found, told) = (run(selector), run(named));
            let largest = told.iter().fold(0.0_f32, |most, number| most.max(number.abs()));
            let off = found.iter().zip(&told).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
            assert!(
                found.len() == told.len() && off < 1e-4 * largest,
                "{name} {selector}: {off} of {largest}"
            );
        }
    }
}
