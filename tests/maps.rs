//! What may be done to score maps, through the program: replay and eval do the same, fusion takes the statistics of
//! the bank, and a region of interest changes alarms only.

use std::path::{Path, PathBuf};

use crate::support::drive_set::{Set, drive_set, read};
use crate::support::given::{given, text};
use crate::support::program::farout;
use serde_json::Value;

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
    let (images, dataset) = drive_set(dir.path(), 6, 2, true);
    let bank = text(&given().bank);
    let mut plain = Vec::new();
    for (i, score) in [
        "",
        "normalise = \"median\"",
        "normalise = \"spread\"\nsmooth = 0.8",
        "hysteresis = 2.5",
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
    let (_, dataset) = drive_set(dir.path(), 3, 2, true);
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
    let (images, _) = drive_set(dir.path(), 8, 2, true);
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

#[test]
fn fused_scores_come_from_the_statistics_of_a_bank_with_logits() {
    let set = Set::new(4);
    let bank = set.at("logits.bank");
    let build = ["bank", "build", "--device", "cpu", "--size", "2000", "-c", text(&set.config), "--images"];
    let told = farout([&build[..], &[text(&given().pictures), "-o", text(&bank)]].concat()).succeeded();
    for method in ["knn", "lse", "msp", "max-logit", "entropy", "cdnp", "zsum"] {
        let line = told.stdout.lines().find(|line| line.trim_start().starts_with(&format!("{method} ")));
        assert!(line.is_some_and(|line| line.contains("thresholds") && line.contains("(1 %)")), "{told:?}");
    }
    let (json, scores) = (set.at("out.json"), set.at("scores"));
    let all = |extra: &[&str]| {
        let args = ["eval", "--device", "cpu", "--bank", text(&bank)];
        let data = ["--dataset", &set.dataset, "--replicates", "0"];
        farout([&args[..], &data, extra].concat()).succeeded()
    };
    all(&["-c", text(&set.config), "--json", text(&json), "--scores", text(&scores)]);
    let result = read(&json);
    let names: Vec<&str> =
        result["methods"].as_array().unwrap().iter().map(|m| m["method"].as_str().unwrap()).collect();
    assert_eq!(names, ["knn", "lse", "msp", "max-logit", "entropy", "cdnp", "zsum"]);
    assert!(result["thresholds"].as_array().unwrap().iter().all(|t| t["value"].is_number()), "{result}");
    // Logits and features have one grid here, so the maps fuse pixel by pixel.
    let inspected = farout(["bank", "inspect", "--json", text(&bank)]).succeeded().json();
    let statistics = |method: &str, key: &str| {
        let methods = inspected["methods"].as_array().unwrap();
        methods.iter().find(|m| m["method"] == method).unwrap()[key].as_f64().unwrap()
    };
    let reference = &inspected["build"]["reference"];
    let range = reference["ranges"].as_array().unwrap().iter().find(|r| r["method"] == "lse").unwrap();
    let (min, max) = (range["min"].as_f64().unwrap(), range["max"].as_f64().unwrap());
    let largest = reference["distance"]["largest"].as_f64().unwrap();
    assert_eq!(reference["distance"]["features"], 2000);
    let maps = |method: &str| {
        let bytes = std::fs::read(scores.join(method).join("000002.npy")).unwrap();
        let numbers = bytes[bytes.len() - 320 * 180 * 4..].as_chunks::<4>().0;
        numbers.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect::<Vec<_>>()
    };
    let (d, s) = (maps("knn"), maps("lse"));
    let z = |method: &str, x: f64| (x - statistics(method, "mean")) / statistics(method, "deviation");
    for (method, fuse) in [
        ("cdnp", &(|d, s| (s - min) / (max - min) + d / largest) as &dyn Fn(f64, f64) -> f64),
        ("zsum", &|d, s| z("lse", s) + z("knn", d)),
    ] {
        for (got, (d, s)) in maps(method).iter().zip(d.iter().zip(&s)) {
            let want = fuse(*d, *s);
            assert!((got - want).abs() < 1e-4 * want.abs().max(1.0), "{method}: {got}, not {want}");
        }
    }
    // Another partner has the scales, but no threshold of its own.
    let other = set.at("other.toml");
    let config = std::fs::read_to_string(&set.config).unwrap();
    std::fs::write(&other, config + "[score]\nmethod = \"cdnp\"\npartner = \"entropy\"\n").unwrap();
    all(&["-c", text(&other), "--methods", "cdnp,zsum", "--json", text(&json)]);
    let basis = read(&json)["thresholds"][0]["basis"].as_str().unwrap().to_owned();
    assert!(basis.contains("score.partner = \"lse\""), "{basis}");
    let events = set.at("events.jsonl");
    let replay = |extra: &[&str]| {
        let args = [
            "replay",
            crate::support::given::DRIVE,
            "--device",
            "cpu",
            "--frames",
            "3",
            "--bank",
            text(&bank),
        ];
        farout([&args[..], &["--events", text(&events)], extra].concat())
    };
    let refused = replay(&["-c", text(&other)]);
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("score.partner = \"lse\""), "{}", refused.stderr);
    replay(&["-c", text(&other), "--threshold", "1.5"]).succeeded();
}
