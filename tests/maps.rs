//! What may be done to score maps, through the program: replay and eval do the same, and a region of interest
//! changes alarms only.

mod support {
    pub mod given;
    pub mod program;
    pub mod tiny_model;
}

use std::path::{Path, PathBuf};

use serde_json::Value;
use support::given::{given, text};
use support::program::farout;

/// Frames of a drive as pictures in a folder, with masks of strangers, and a description of both as a sequence.
fn drive(dir: &Path, frames: usize) -> (PathBuf, String) {
    let (images, truth, masks) = (dir.join("images"), dir.join("truth"), dir.join("masks"));
    let source = format!("synthetic:seed=5,width=320,height=180,frames={frames},stride=2");
    let args = ["replay", "--bypass", &source, "--frames-out", text(&images), "--truth", text(&truth)];
    farout(args).succeeded();
    std::fs::create_dir(&masks).unwrap();
    for entry in truth.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if let Some(stem) = path.file_stem().unwrap().to_str().unwrap().strip_suffix("_stranger") {
            std::fs::copy(&path, masks.join(format!("{stem}.png"))).unwrap();
        }
    }
    let anomaly: Vec<String> = (1..=255).map(|v| v.to_string()).collect();
    let toml = format!(
        "images = \"images\"\nmasks = \"masks\"\nsequences = true\nnormal = [0]\nanomaly = [{}]\n",
        anomaly.join(", ")
    );
    std::fs::write(dir.join("dataset.toml"), toml).unwrap();
    (images, format!("folder:{}", text(dir)))
}

/// A configuration with these lines in `[score]`.
fn config(dir: &Path, score: &str) -> PathBuf {
    let path = dir.join("config.toml");
    let model = text(&given().model);
    let text =
        format!("[model]\npath = \"{model}\"\nlogits = \"logits\"\n[score]\nthreshold = 0.4\n{score}\n");
    std::fs::write(&path, text).unwrap();
    path
}

/// The files in a folder, by name.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<(String, Vec<u8>)> = folder
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap()))
        .collect();
    found.sort();
    found
}

#[test]
fn replay_and_eval_treat_maps_alike() {
    let dir = tempfile::tempdir().unwrap();
    let (images, dataset) = drive(dir.path(), 6);
    let bank = text(&given().bank);
    let mut plain = Vec::new();
    for (i, score) in [
        "",
        "normalise = \"median\"",
        "normalise = \"spread\"\nsmooth = 0.8",
        "upsample = \"guided\"",
        "temporal = 0.6",
    ]
    .into_iter()
    .enumerate()
    {
        let config = config(dir.path(), score);
        let (replayed, judged) = (dir.path().join(format!("replay{i}")), dir.path().join(format!("eval{i}")));
        let common = ["--device", "cpu", "-c", text(&config), "--bank", bank];
        farout([&["replay", text(&images), "--scores", text(&replayed)], &common[..]].concat()).succeeded();
        let eval = ["eval", "--dataset", &dataset, "--methods", "knn,lse", "--scores", text(&judged)];
        farout([&eval[..], &["--replicates", "0"], &common].concat()).succeeded();
        let (replayed, judged) = (files(&replayed), files(&judged.join("knn")));
        assert_eq!(replayed.len(), 6);
        for ((name, replayed), (_, judged)) in replayed.iter().zip(&judged) {
            assert!(replayed == judged, "{score}: {name} differs");
        }
        if i == 0 {
            plain = replayed;
            continue;
        }
        let changed = plain.iter().zip(&replayed).filter(|(a, b)| a != b).count();
        // The first frame has no past.
        assert_eq!(changed, if score.starts_with("temporal") { 5 } else { 6 }, "{score}");
    }
}

#[test]
fn frames_are_smoothed_over_time_in_order_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let (_, dataset) = drive(dir.path(), 3);
    let config = config(dir.path(), "temporal = 0.6");
    let bank = text(&given().bank);
    let eval = |extra: &[&str]| {
        let args = ["eval", "--device", "cpu", "-c", text(&config), "--bank", bank, "--dataset", &dataset];
        farout([&args[..], &["--replicates", "0"], extra].concat())
    };
    let json = dir.path().join("part.json");
    let sharded = eval(&["--shard", "1/2", "--json", text(&json)]);
    assert_eq!(sharded.code, Some(1));
    assert!(
        sharded.stderr.contains("score.temporal") && sharded.stderr.contains("--shard"),
        "{}",
        sharded.stderr
    );
    let description = dir.path().join("dataset.toml");
    let stills = std::fs::read_to_string(&description).unwrap().replace("sequences = true\n", "");
    std::fs::write(&description, stills).unwrap();
    let refused = eval(&[]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("single images"), "{}", refused.stderr);
}

#[test]
fn a_region_of_interest_changes_alarms_and_not_the_maps() {
    let dir = tempfile::tempdir().unwrap();
    let (images, _) = drive(dir.path(), 8);
    let bank = text(&given().bank);
    let run = |name: &str, score: &str| {
        let config = config(dir.path(), score);
        let (events, scores) = (dir.path().join(format!("{name}.jsonl")), dir.path().join(name));
        let args = ["replay", text(&images), "--device", "cpu", "-c", text(&config), "--bank", bank];
        let out = ["--events", text(&events), "--scores", text(&scores)];
        let ended = farout([&args[..], &out].concat());
        let events: Vec<Value> = std::fs::read_to_string(&events)
            .unwrap_or_default()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        (ended, events, scores)
    };
    let often = "event_frames = 1\nmin_region_px = 20\n";
    let (ended, all, maps) = run("all", often);
    ended.succeeded();
    let left = |event: &Value| event["box"]["x"].as_f64().unwrap();
    let right = |event: &Value| left(event) + event["box"]["width"].as_f64().unwrap();
    assert!(all.iter().any(|event| right(event) > 160.0), "nothing to silence: {all:?}");
    let half = format!("{often}roi = [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]");
    let (ended, some, same) = run("half", &half);
    ended.succeeded();
    assert!(!some.is_empty() && some.iter().all(|event| right(event) <= 160.0), "{some:?}");
    assert!(files(&maps) == files(&same), "the maps changed");
    // Where each class is road, everything counts.
    let classes = |list: &str| format!("{often}roi_classes = [{list}]\nroi_margin = 0.0");
    let (ended, every, _) = run("every", &classes("0, 1, 2, 3"));
    ended.succeeded();
    assert_eq!(every, all);
    for (list, words) in [("999", "there is no class 999"), ("\"road\"", "names no classes")] {
        let (ended, ..) = run("refused", &classes(list));
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("score.roi_classes") && ended.stderr.contains(words),
            "{}",
            ended.stderr
        );
    }
    for (score, words) in [
        ("roi = [[0, 0], [1, 1]]", "2 corners"),
        ("smooth = -1.0", "score.smooth is -1"),
        ("temporal = 1.0", "0 to 0.95"),
        ("normalise = \"mean\"", "normalise"),
        ("upsample = \"cubic\"", "upsample"),
    ] {
        let (ended, ..) = run("refused", score);
        assert_eq!(ended.code, Some(2), "{score}: {}", ended.stderr);
        assert!(ended.stderr.contains(words), "{score}: {}", ended.stderr);
    }
}
