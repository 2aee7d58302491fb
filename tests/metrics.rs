//! Metrics against scikit-learn and a transcription of the SMIYC protocol (`tools/metrics_reference.py`):
//! stored values always, the script itself where Python has what it needs.

use std::path::Path;
use std::process::Command;

use crate::support::program::farout;
use crate::support::skipped::skipped;
use farout::eval::metrics::smiyc::{Judge, SmiycReport, Track};
use farout::eval::metrics::{BootstrapSettings, Counts, Detection, Limits, Pooled};
use farout::eval::truth::{ANOMALY, NORMAL, Truth, VOID};
use serde_json::Value;

/// What both sides may differ by.
const TOLERANCE: f64 = 1e-9;

/// The first `count` numbers of splitmix64 with the state `seed`, as in the script.
fn random(seed: u64, count: usize) -> Vec<u64> {
    const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |i: u64| {
        let mut z = seed.wrapping_add(GAMMA.wrapping_mul(i));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    (1..=count as u64).map(mix).collect()
}

fn pooled_case(case: &Value) -> (Vec<f32>, Vec<u8>) {
    let number = |key: &str| case[key].as_u64().unwrap();
    let (count, levels, percent) = (number("count") as usize, number("levels"), number("percent"));
    let draws = random(number("seed"), 2 * count);
    let pixel = |pair: &[u64]| {
        let label = match pair[0] % 100 {
            draw if draw < percent => ANOMALY,
            draw if draw >= 95 => VOID,
            _ => NORMAL,
        };
        let noise = (pair[1] >> 11) % levels + if label == ANOMALY { levels / 3 } else { 0 };
        (noise as f32 / 64.0 - 3.0, label)
    };
    draws.chunks_exact(2).map(pixel).unzip()
}

/// A frame of the script's `smiyc_frame`: its scores, their size, and its truth.
fn smiyc_frame(seed: u64, width: usize, height: usize, narrow: bool) -> (Vec<f32>, (usize, usize), Truth) {
    let mut draws = random(seed, 64).into_iter();
    let mut next = |bound: usize| (draws.next().unwrap() % bound as u64) as usize;
    let mut labels = vec![NORMAL; width * height];
    let mut shift = vec![0_u64; width * height];
    let rectangle = |next: &mut dyn FnMut(usize) -> usize| -> Vec<usize> {
        let (w, h) = (1 + next(width / 2), 1 + next(height / 2));
        let (left, top) = (next(width - w + 1), next(height - h + 1));
        (top..top + h).flat_map(|y| (left..left + w).map(move |x| y * width + x)).collect()
    };
    let kind = next(8);
    let objects = if kind == 0 { 0 } else { 1 + next(4) };
    for _ in 0..objects {
        let place = rectangle(&mut next);
        let more = next(48) as u64;
        place.iter().for_each(|at| (labels[*at], shift[*at]) = (ANOMALY, shift[*at] + more));
    }
    for _ in 0..next(3) {
        let place = rectangle(&mut next);
        let more = next(40) as u64;
        place.iter().for_each(|at| shift[*at] += more);
    }
    if objects > 0 {
        let (y, x) = (next(height), next(width));
        labels[y * width + x] = ANOMALY;
    }
    for _ in 0..next(3) {
        rectangle(&mut next).iter().for_each(|at| labels[*at] = VOID);
    }
    if kind == 1 {
        labels.fill(VOID);
    }
    let noise = random(seed ^ 0x00ab_cdef, width * height);
    let mut scores: Vec<f32> =
        noise.iter().zip(&shift).map(|(noise, shift)| ((noise >> 20) % 24 + shift) as f32 / 16.0).collect();
    let mut size = (width, height);
    if narrow {
        let even = |i: usize| (i % width).is_multiple_of(2) && (i / width).is_multiple_of(2);
        let kept = scores.iter().enumerate().filter(|(i, _)| even(*i));
        scores = kept.map(|(_, score)| *score).collect();
        size = (width / 2, height / 2);
    }
    (scores, size, Truth { width, height, labels })
}

fn stored() -> Value {
    serde_json::from_str(include_str!("data/metrics.json")).unwrap()
}

/// Every number that differs.
pub(crate) fn differences(what: &str, pairs: &[(&str, Option<f64>, &Value)]) -> Vec<String> {
    let differ = |(name, got, want): &(&str, Option<f64>, &Value)| match (got, want.as_f64()) {
        (Some(got), Some(want)) if (got - want).abs() <= TOLERANCE => None,
        (None, None) if want.is_null() => None,
        _ => Some(format!("{what}: {name} is {got:?}, not {want}")),
    };
    pairs.iter().filter_map(differ).collect()
}

fn detection_differences(what: &str, got: &Detection, want: &Value) -> Vec<String> {
    let mut faults = differences(
        what,
        &[
            ("ap", Some(got.ap), &want["ap"]),
            ("auroc", Some(got.auroc), &want["auroc"]),
            ("fpr95_first", Some(got.fpr95_first), &want["fpr95_first"]),
            ("fpr95_closest", Some(got.fpr95_closest), &want["fpr95_closest"]),
            ("best_f1", Some(got.best_f1), &want["best_f1"]),
            ("best_f1_threshold", Some(got.best_f1_threshold), &want["best_f1_threshold"]),
            ("normal", Some(got.normal as f64), &want["normal"]),
            ("anomaly", Some(got.anomaly as f64), &want["anomaly"]),
        ],
    );
    for (at, want) in got.fpr_at.iter().zip(want["fpr_at"].as_array().unwrap()) {
        let name = format!("fpr at {}", at.tpr);
        faults.extend(differences(what, &[("tpr", Some(at.tpr), &want[0]), (&name, Some(at.fpr), &want[1])]));
    }
    faults
}

fn smiyc_differences(what: &str, report: &SmiycReport, case: &Value) -> Vec<String> {
    let (got, want) = (&report.pixel, &case["pixel"]);
    let mut faults = differences(
        what,
        &[
            ("ap", Some(got.ap), &want["ap"]),
            ("fpr95", Some(got.fpr95), &want["fpr95"]),
            ("best_f1", Some(got.best_f1), &want["best_f1"]),
            ("threshold", Some(got.threshold), &want["threshold"]),
        ],
    );
    let (got, want) = (&report.component, &case["component"]);
    faults.extend(differences(
        what,
        &[
            ("true components", Some(got.true_components as f64), &want["true_components"]),
            ("predicted", Some(got.predicted_components as f64), &want["predicted_components"]),
            ("mean sIoU", got.mean_siou, &want["mean_siou"]),
            ("mean PPV", got.mean_ppv, &want["mean_ppv"]),
            ("mean F1", got.mean_f1, &want["mean_f1"]),
        ],
    ));
    for (got, want) in got.f1_at.iter().zip(want["f1_at"].as_array().unwrap()) {
        let name = format!("F1 at {}", got.level);
        let [tp, fn_, fp] = [got.tp, got.fn_, got.fp].map(|count| Some(count as f64));
        let pairs =
            [("TP", tp, &want[0]), ("FN", fn_, &want[1]), ("FP", fp, &want[2]), (&name, got.f1, &want[3])];
        faults.extend(differences(what, &pairs));
    }
    faults
}

#[test]
fn pooled_metrics_are_those_of_scikit_learn() {
    let (stored, mut faults) = (stored(), Vec::new());
    for case in stored["pooled"].as_array().unwrap() {
        let (scores, labels) = pooled_case(case);
        let what = format!("case {}", case["seed"]);
        // As one list, and as the sum of uneven parts, in two formats.
        let whole = Counts::of(&scores, &labels).unwrap().detection().unwrap();
        faults.extend(detection_differences(&what, &whole, case));
        let (mut parts, mut wide) = (Pooled::new(Limits::default()), Pooled::new(Limits::default()));
        for (scores, labels) in scores.chunks(777).zip(labels.chunks(777)) {
            parts.add(scores, labels).unwrap();
            let scores: Vec<f64> = scores.iter().map(|score| f64::from(*score)).collect();
            wide.add(&scores, labels).unwrap();
        }
        assert_eq!(parts.detection().unwrap().unwrap(), whole, "{what}");
        assert_eq!(wide.detection().unwrap().unwrap(), whole, "{what}");
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn smiyc_metrics_are_those_of_the_transcription() {
    let (stored, mut faults) = (stored(), Vec::new());
    let settings = BootstrapSettings { replicates: 0, ..BootstrapSettings::default() };
    let cases = stored["smiyc"].as_array().unwrap();
    assert!(cases.len() > 20);
    for case in cases {
        let number = |key: &str| case[key].as_u64().unwrap();
        let (seed, width, height) = (number("seed"), number("width") as usize, number("height") as usize);
        let track = if case["track"] == "smiyc-anomaly" { Track::Anomaly } else { Track::Obstacle };
        let mut judge = Judge::new(track, Limits::default());
        for i in 0..number("frames") {
            let (scores, size, truth) = smiyc_frame(1000 * seed + i, width, height, i % 3 == 2);
            judge.push("frame", size, &scores, &truth).unwrap();
        }
        let report = judge.finish(&settings).unwrap().unwrap();
        faults.extend(smiyc_differences(&format!("case {seed}"), &report, case));
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// What the scripts of the metrics import.
pub(crate) const NUMBERS: &str = "numpy, scipy, sklearn, PIL";

/// A Python that has these of the packages of tests/requirements.txt, if there is one; where not, that is said. `FAROUT_PYTHON`
/// names one and insists.
pub(crate) fn python(what: &str, packages: &str) -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let local = root.join(".venv/bin/python").display().to_string();
    let has_all = |python: &String| {
        let mut command = Command::new(python);
        command.args(["-c", &format!("import {packages}")]);
        command.output().is_ok_and(|output| output.status.success())
    };
    if let Ok(python) = std::env::var("FAROUT_PYTHON") {
        assert!(
            has_all(&python),
            "FAROUT_PYTHON is {python}, which lacks packages of tests/requirements.txt"
        );
        return Some(python);
    }
    let found = [local, "python3".to_owned()].into_iter().find(has_all);
    if found.is_none() {
        skipped(what, "no Python with the packages of tests/requirements.txt");
    }
    found
}

/// What the script prints.
pub(crate) fn reference(python: &str, what: &str, path: &Path) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/metrics_reference.py");
    let output = Command::new(python).arg(script).arg(what).arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_program_judges_maps_of_a_python_script_as_scikit_learn_does() {
    let Some(python) = python("tools/metrics_reference.py", NUMBERS) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    reference(&python, "make", folder.path());
    let want: Value = serde_json::from_str(&reference(&python, "judge", folder.path())).unwrap();
    let mut faults = Vec::new();
    for maps in ["narrow", "wide"] {
        let place = folder.path().join(maps);
        let run = |protocol: &str| {
            let path = |part: &str| place.join(part).display().to_string();
            let (scores, truth) = (path("scores"), path("truth"));
            let args = ["metrics", "--scores", &scores, "--truth", &truth, "--protocol", protocol, "--json"];
            farout(args).succeeded().json()
        };
        let got: Detection = serde_json::from_value(run("pooled")["pooled"]["detection"].clone()).unwrap();
        faults.extend(detection_differences(maps, &got, &want[maps]["pooled"]));
        for protocol in ["smiyc-anomaly", "smiyc-obstacle"] {
            let got: SmiycReport = serde_json::from_value(run(protocol)["smiyc"].clone()).unwrap();
            assert!(got.component.true_components > 0);
            faults.extend(smiyc_differences(&format!("{maps} {protocol}"), &got, &want[maps][protocol]));
        }
        let (got, want) = (&run("per-image")["per_image"], &want[maps]["per-image"]);
        assert_eq!(got["images"], want["images"]);
        for key in ["ap", "auroc", "fpr95_first", "fpr95_closest", "best_f1"] {
            faults.extend(differences(maps, &[(key, got["mean"][key].as_f64(), &want[key])]));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn the_stored_values_are_those_of_the_script() {
    let Some(python) = python("tools/metrics_reference.py", NUMBERS) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.json");
    reference(&python, "store", &path);
    let fresh: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut faults = Vec::new();
    compare("", &fresh, &stored(), &mut faults);
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// Compares values in depth, numbers within the tolerance.
fn compare(at: &str, a: &Value, b: &Value, faults: &mut Vec<String>) {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) if x.len() == y.len() => {
            x.iter().for_each(|(key, value)| compare(&format!("{at}.{key}"), value, &b[key], faults));
        }
        (Value::Array(x), Value::Array(y)) if x.len() == y.len() => {
            x.iter().zip(y).enumerate().for_each(|(i, (x, y))| compare(&format!("{at}[{i}]"), x, y, faults));
        }
        (Value::Number(_), Value::Number(_)) => faults.extend(differences(at, &[("", a.as_f64(), b)])),
        _ if a == b => {}
        _ => faults.push(format!("{at}: {a}, not {b}")),
    }
}
