//! Judging by region, by instance, by risk, as a live viewer sees it, and under other conventions: through the program, against
//! NumPy and SciPy (`tools/metrics_reference_regions.py`).

use std::path::Path;

use serde_json::Value;

use crate::metrics::{NUMBERS, differences, python, reference};
use crate::support::program::{Outcome, farout};

fn metrics(folder: &Path, more: &[&str]) -> Outcome {
    let path = |part: &str| folder.join(part).display().to_string();
    let (scores, truth) = (path("scores"), path("truth"));
    farout([&["metrics", "--scores", &scores, "--truth", &truth], more].concat())
}

/// A map of f32 as NumPy writes it.
fn write_map(path: &Path, width: usize, scores: &[f32]) {
    let height = scores.len() / width;
    let mut header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({height}, {width}), }}").into_bytes();
    while (header.len() + 11) % 64 != 0 {
        header.push(b' ');
    }
    header.push(b'\n');
    let mut bytes = b"\x93NUMPY\x01\0".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header);
    bytes.extend(scores.iter().flat_map(|score| score.to_le_bytes()));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn write_mask(path: &Path, width: usize, values: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let height = (values.len() / width) as u32;
    image::GrayImage::from_raw(width as u32, height, values.to_vec()).unwrap().save(path).unwrap();
}

#[test]
fn all_numbers_are_those_of_the_script() {
    let Some(python) = python("tools/metrics_reference_regions.py", NUMBERS) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    reference(&python, "make", folder.path());
    let want: Value = serde_json::from_str(&reference(&python, "judge", folder.path())).unwrap();
    let mut faults = Vec::new();
    for maps in ["narrow", "wide"] {
        let (place, want) = (folder.path().join(maps), &want[maps]);
        let run = |protocol: &str, more: &[&str]| {
            metrics(&place, &[&["--protocol", protocol, "--json"], more].concat()).succeeded().json()
        };
        let mut hold = |protocol: &str, got: &Value, keys: &[&str]| {
            for key in keys {
                let what = format!("{maps} {protocol}");
                faults.extend(differences(&what, &[(key, got[key].as_f64(), &want[protocol][key])]));
            }
        };
        hold("pro", &run("pro", &[])["pro"], &["aupro", "pro_at_limit", "regions"]);
        let pimo = run("pimo", &["--fpr-range", "1e-3,1e-1"]);
        hold("pimo", &pimo["pimo"], &["mean", "median", "normal_images"]);
        hold("risk", &run("risk", &[])["risk"], &["aurc", "best"]);
        hold("instances", &run("instances", &["--threshold", "2"])["instances"], &["ap", "ap50"]);
    }
    // Of 64 bits they are taken as 32 there.
    let explained = metrics(&folder.path().join("narrow"), &["--explain", "--json"]).succeeded().json();
    let row = |words: &str| {
        let all = explained["rows"].as_array().unwrap();
        all.iter().find(|row| row["convention"].as_str().unwrap().contains(words)).unwrap()
    };
    let want = &want["narrow"];
    for (words, key, value) in [
        ("as asked", "ap", &want["pooled"]["ap"]),
        ("as asked", "fpr95", &want["pooled"]["fpr95_first"]),
        ("closest", "fpr95", &want["pooled"]["fpr95_closest"]),
        ("line between", "fpr95", &want["conventions"]["fpr95_between"]),
        ("lines between the points", "ap", &want["conventions"]["ap_by_lines"]),
        ("judged alone", "ap", &want["per-image"]["ap"]),
    ] {
        faults.extend(differences(words, &[(key, row(words)[key].as_f64(), value)]));
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn predicted_instances_are_judged_from_lists() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    // Two instances that touch, by their values.
    let mut truth = vec![0_u8; 400];
    let mut first = vec![0_u8; 400];
    for i in 0..40 {
        let place = i / 10 * 20 + i % 10;
        (truth[place], truth[place + 10], first[place]) = (24, 25, 255);
    }
    write_mask(&at("truth/a_instanceIds.png"), 20, &truth);
    write_mask(&at("scores/a_0_1.png"), 20, &first);
    std::fs::write(at("scores/a.txt"), "a_0_1.png 1 0.75\n").unwrap();
    let values = ["--protocol", "instances", "--instances", "values", "--anomaly", "24-40", "--normal", "0"];
    let told = metrics(folder.path(), &[&values[..], &["--json"]].concat()).succeeded().json();
    let got = &told["instances"];
    assert_eq!((got["truths"].as_u64(), got["predicted"].as_u64()), (Some(2), Some(1)));
    // One of two found, nothing wrong: thresholds with recall 0 and 1/2, both of precision 1, weigh a quarter each.
    assert!((got["ap"].as_f64().unwrap() - 0.5).abs() < 1e-12, "{got}");
    let people = metrics(folder.path(), &values).succeeded().stdout;
    assert!(people.contains("2 true instances") && people.contains("AP50"), "{people}");
    write_mask(&at("truth/b_instanceIds.png"), 20, &truth);
    let why = metrics(folder.path(), &values);
    assert!(why.code == Some(1) && why.stderr.contains("no score map: b_instanceIds"), "{}", why.stderr);
    std::fs::remove_file(at("truth/b_instanceIds.png")).unwrap();
    for (text, words) in
        [("a_0_1.png 0.5\n", "line 1"), ("a_0_1.png 1 nan\n", "NaN"), ("b.png 1 1\n", "b.png")]
    {
        std::fs::write(at("scores/a.txt"), text).unwrap();
        let why = metrics(folder.path(), &values);
        assert!(why.code == Some(1) && why.stderr.contains(words), "{text}: {}", why.stderr);
    }
}

#[test]
fn a_slow_method_is_judged_by_what_a_viewer_has() {
    let folder = tempfile::tempdir().unwrap();
    // A thing moves by one pixel a frame; each map marks it where it was in its own frame.
    for frame in 0..8_usize {
        let (mut truth, mut scores) = (vec![0_u8; 16], vec![0.0_f32; 16]);
        (truth[frame], scores[frame]) = (1, 1.0);
        write_mask(&folder.path().join(format!("truth/drive/{frame:02}.png")), 16, &truth);
        write_map(&folder.path().join(format!("scores/drive/{frame:02}.npy")), 16, &scores);
    }
    let ap = |more: &[&str]| {
        let told =
            metrics(folder.path(), &[&["--protocol", "pooled", "--json"], more].concat()).succeeded().json();
        (told["pooled"]["detection"]["ap"].as_f64().unwrap(), told["streaming"].clone())
    };
    assert_eq!(ap(&[]), (1.0, Value::Null));
    let (at_once, report) = ap(&["--streaming", "10", "--latency", "0"]);
    assert_eq!((at_once, report["used"].as_u64(), report["before_first"].as_u64()), (1.0, Some(8), Some(0)));
    let (late, report) = ap(&["--streaming", "10", "--latency", "250"]);
    assert!(late < 0.2, "{late}");
    assert_eq!((report["used"].as_u64(), report["before_first"].as_u64()), (Some(2), Some(3)));
    let people = metrics(folder.path(), &["--protocol", "pooled", "--streaming", "10", "--latency", "250"]);
    assert!(people.succeeded().stdout.contains("2 of 8 frames are used"));
}

#[test]
fn what_cannot_be_judged_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    write_mask(&folder.path().join("truth/a.png"), 4, &[0, 0, 1, 0]);
    write_map(&folder.path().join("scores/a.npy"), 4, &[0.0, 1.0, 2.0, 3.0]);
    for (more, code, words) in [
        (&["--protocol", "pimo"][..], 1, "0 images without anomaly"),
        (&["--protocol", "instances"], 1, "--threshold"),
        (&["--protocol", "pro", "--fpr-limit", "0"], 2, "above 0"),
        (&["--protocol", "pimo", "--fpr-range", "0.1,0.01"], 2, "not below"),
        (&["--protocol", "risk", "--threshold", "1"], 2, "--threshold"),
        (&["--protocol", "pooled", "--streaming", "10"], 2, "--latency"),
        (&["--protocol", "pooled", "--streaming", "10", "--latency", "-1"], 2, "--latency"),
        (&["--protocol", "pooled", "--streaming", "10", "--latency", "none.txt"], 1, "none.txt"),
        (&["--explain", "--protocol", "pro"], 2, "--explain"),
        (&[], 2, "--protocol"),
    ] {
        let told = metrics(folder.path(), more);
        assert!(
            told.code == Some(code) && told.stderr.contains(words),
            "{more:?}: {:?} {}",
            told.code,
            told.stderr
        );
    }
    // Maps of another size are judged only where it is said how.
    write_map(&folder.path().join("scores/a.npy"), 2, &[0.0, 3.0]);
    let told = metrics(folder.path(), &["--explain"]).succeeded().stdout;
    assert!(told.contains("1 maps have another size") && told.contains("nearest cell"), "{told}");
}
