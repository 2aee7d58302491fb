//! A second model that tells the road: alarms count there alone, and numbers can be taken on it alone.
#![allow(clippy::unwrap_used, reason = "a test may fail anywhere")]

use std::path::{Path, PathBuf};

use crate::support::blocks::Net;
use crate::support::drive_set::{Set, read};
use crate::support::given::{DRIVE, given, text};
use crate::support::program::{Outcome, farout};
use farout::model::onnx::{float_tensor, ints};
use prost::Message;
use serde_json::Value;

/// A model of 24x16 pixels in cells of 4 to which the picture is road from the second of its rows of cells on, whatever it
/// shows, and `faulty` if the scores are no numbers; more outputs with `two`.
fn road_model(dir: &Path, faulty: bool, two: bool) -> PathBuf {
    let mut net = Net::default();
    net.constants.push(float_tensor("nothing", vec![2, 3, 4, 4], &[0.0; 96]));
    // Classes: 0 elsewhere, 1 road.
    let road = |cell: usize| if cell / 6 >= 1 { 1.0 } else { -1.0 };
    let scores: Vec<f32> = (0..24).map(|cell| -road(cell)).chain((0..24).map(road)).collect();
    let scores = if faulty { vec![f32::NAN; 48] } else { scores };
    net.constants.push(float_tensor("places", vec![1, 2, 4, 6], &scores));
    let sides = vec![ints("kernel_shape", vec![4, 4]), ints("strides", vec![4, 4])];
    let map = net.with("Conv", &["image", "nothing"], sides);
    let map = net.called(&map, "map");
    let sum = net.op("Add", &[&map, "places"]);
    net.called(&sum, "scores");
    let outputs: &[&str] = if two { &["scores", "map"] } else { &["scores"] };
    let path = dir.join(if faulty { "faulty.onnx" } else { "road.onnx" });
    std::fs::write(&path, net.model(outputs).encode_to_vec()).unwrap();
    path
}

fn config(dir: &Path, more: &str) -> PathBuf {
    let path = dir.join("farout.toml");
    let (model, bank) = (text(&given().model), text(&given().bank));
    let base = format!("[model]\npath = \"{model}\"\nlogits = \"logits\"\n[bank]\npath = \"{bank}\"\n{more}");
    std::fs::write(&path, base).unwrap();
    path
}

/// `[roi]` with this model.
fn roi(model: &Path, more: &str) -> String {
    format!("[roi]\nmodel = \"{}\"\nclasses = [1]\n{more}\n", text(model))
}

/// A drive in which everything alarms.
fn replay(config: &Path, events: &Path) -> Outcome {
    let source = format!("{DRIVE},frames=12");
    let args = ["replay", "--device", "cpu", "-c", text(config), &source, "--threshold=-1000", "--json"];
    farout([&args[..], &["--events", text(events)]].concat())
}

/// Top, left, right and bottom of what alarmed first.
fn alarmed(events: &Path) -> [u64; 4] {
    let log = std::fs::read_to_string(events).unwrap();
    let first: Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    let side = |key: &str| first["box"][key].as_u64().unwrap();
    [side("y"), side("x"), side("x") + side("width"), side("y") + side("height")]
}

#[test]
fn alarms_count_on_the_road_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (model, events) = (road_model(dir.path(), false, false), dir.path().join("events.jsonl"));
    let found = |more: &str| {
        let told = replay(&config(dir.path(), more), &events).succeeded();
        (alarmed(&events), told)
    };
    assert_eq!(found("").0, [0, 0, 320, 180]);
    // A picture of 320x180 covers three rows of cells.
    let (road, told) = found(&roi(&model, "margin = 0.0\nevery = 1"));
    assert_eq!(road, [60, 0, 320, 180]);
    assert!(told.stderr.contains("road model road") && told.stderr.contains("on cpu"), "{}", told.stderr);
    assert_eq!(told.json()["problems"], Value::Null);
    // A margin of a cell; polygons and road.
    assert_eq!(found(&roi(&model, "margin = 0.2")).0, [0, 0, 320, 180]);
    let left = "margin = 0.0\nevery = 1\n[score]\nroi = [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]";
    assert_eq!(found(&roi(&model, left)).0, [60, 0, 160, 180]);
    // Prepared, it says itself which class is called what.
    let (ready, outputs) = (dir.path().join("ready.onnx"), road_model(dir.path(), false, true));
    let args =
        ["model", "prepare", text(&outputs), "-o", text(&ready), "--classes", "else,road", "--mean", "0"];
    farout([&args[..], &["--logits", "scores", "--features", "scores"]].concat()).succeeded();
    let named = format!("[roi]\nmodel = \"{}\"\nclasses = [\"road\"]\nmargin = 0\nevery = 1", text(&ready));
    assert_eq!(found(&named).0, [60, 0, 320, 180]);
}

#[test]
fn a_road_model_that_fails_costs_no_frame() {
    let dir = tempfile::tempdir().unwrap();
    let model = road_model(dir.path(), true, false);
    let events = dir.path().join("events.jsonl");
    let told = replay(&config(dir.path(), &roi(&model, "")), &events).succeeded();
    let report = told.json();
    assert_eq!((report["frames"].as_u64(), report["failed"].as_u64()), (Some(12), Some(0)));
    let problem = report["problems"]["road model"].as_str().unwrap();
    assert!(problem.contains("12 frames") && problem.contains("NaN"), "{problem}");
    assert!(told.stderr.contains("the road model fails"), "{}", told.stderr);
    assert_eq!(alarmed(&events), [0, 0, 320, 180], "nothing is known of the road");
}

#[test]
fn what_cannot_tell_the_road_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (model, events) = (road_model(dir.path(), false, true), dir.path().join("events.jsonl"));
    let path = text(&model);
    let named = "[roi]\nclasses = [1]\nmodel = ";
    for (more, want) in [
        (format!("{named}\"/nowhere/road.onnx\""), "/nowhere/road.onnx"),
        (format!("{named}\"{path}\""), "name the one of its outputs"),
        (format!("{named}\"{path}\"\noutput = \"scors\""), "\"scors\""),
        (format!("[roi]\nclasses = [2]\noutput = \"scores\"\nmodel = \"{path}\""), "there is no class 2"),
        (format!("[roi]\nclasses = [\"road\"]\noutput = \"scores\"\nmodel = \"{path}\""), "names no classes"),
        (format!("{named}\"{path}\"\n[score]\nroi_classes = [0]"), "keep one"),
    ] {
        let told = replay(&config(dir.path(), &more), &events);
        assert!(told.code != Some(0) && told.stderr.contains(want), "{more}: {}", told.stderr);
    }
}

#[test]
fn the_road_model_is_warmed_with_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let model = road_model(dir.path(), false, false);
    let warm = |more: &str| {
        let config = config(dir.path(), more);
        farout(["model", "warm", "-c", text(&config), "--device", "cpu", "--json"])
    };
    let told = warm(&roi(&model, "")).succeeded().json();
    assert_eq!((&told["runs_on"], &told["road"]["runs_on"]), (&"cpu".into(), &"cpu".into()), "{told}");
    assert!(told["road"]["run_ms"].as_f64().is_some_and(|run| run > 0.0), "{told}");
    assert_eq!(warm("").succeeded().json().get("road"), None);
    // As a service names its detector.
    let detector = dir.path().join("detector");
    std::fs::create_dir(&detector).unwrap();
    let (own, bank) = (text(&given().model), text(&given().bank));
    let parts = format!("[model]\npath = \"{own}\"\n[bank]\npath = \"{bank}\"\n");
    std::fs::write(detector.join("detector.toml"), parts).unwrap();
    let file = dir.path().join("service.toml");
    std::fs::write(&file, format!("detector = \"detector\"\n{}", roi(&model, ""))).unwrap();
    let told = farout(["model", "warm", "-c", text(&file), "--device", "cpu", "--json"]).succeeded().json();
    assert!(told["road"]["run_ms"].is_number(), "{told}");
    // Bench is about the main model alone: that of the road may be missing.
    std::fs::write(&file, format!("detector = \"detector\"\n{}", roi(Path::new("/nowhere/road.onnx"), "")))
        .unwrap();
    let bench =
        farout(["bench", "-c", text(&file), "--device", "cpu", "--rounds", "1", "--runs", "1", "--json"])
            .succeeded();
    assert!(bench.json()["ways"].as_array().is_some_and(|ways| !ways.is_empty()), "{}", bench.stdout);
    let missing = warm(&roi(Path::new("/nowhere/road.onnx"), ""));
    assert!(missing.code == Some(1) && missing.stderr.contains("/nowhere/road.onnx"), "{}", missing.stderr);
}

/// A data set, judged by a configuration with a road model.
fn set(frames: usize) -> Set {
    let set = Set::new(frames);
    let model = road_model(set.dir.path(), false, false);
    let own = std::fs::read_to_string(&set.config).unwrap();
    std::fs::write(&set.config, format!("{own}{}", roi(&model, "every = 3"))).unwrap();
    set
}

fn normal(result: &Value) -> u64 {
    result["region"]["share"]["normal"].as_u64().unwrap()
}

#[test]
fn numbers_are_taken_on_a_region_and_name_it() {
    let set = set(5);
    let judged = |name: &str, more: &[&str]| {
        let json = set.at(name);
        let told = set.eval(&[&["--json", text(&json)], more].concat()).succeeded();
        (read(&json), told.stdout, json)
    };
    let (all, told, all_json) = judged("all.json", &[]);
    assert_eq!(all["settings"]["region"], "all");
    assert!(told.contains("region all: 100.00 % of the pixels"), "{told}");
    let report = set.at("report");
    let more = ["--region", "road", "--report", text(&report), "--protocol", "smiyc-obstacle,per-image"];
    let (road, told, road_json) = judged("road.json", &more);
    assert!(told.contains("region road, the road as road sees it"), "{told}");
    assert_eq!(road["settings"]["region"], "road");
    assert!(road["maps_key"] != all["maps_key"], "maps without the road stand for maps with it");
    let page = std::fs::read_to_string(report.join("index.html")).unwrap();
    assert!(page.contains("region road, the road as road sees it"));
    // What lies below the first third of the picture, and anomalies wherever they are.
    let (below, told, _) = judged("below.json", &["--region", "below-horizon:0.33333"]);
    assert!(told.contains("region below-horizon:0.33333: 66.6"), "{told}");
    assert_eq!(normal(&road), normal(&below));
    assert!(normal(&road) < normal(&all));
    assert_eq!(road["region"]["share"]["anomaly"], all["region"]["share"]["anomaly"]);
    assert_eq!(road["methods"][0]["pooled"]["curve"]["normal"], normal(&road));
    assert!(road["methods"][0]["pooled"]["ap"] != all["methods"][0]["pooled"]["ap"]);
    // The same region as a mask, and as a folder of masks of another size.
    let mask = image::GrayImage::from_fn(320, 180, |_, y| image::Luma([if y >= 60 { 255 } else { 0 }]));
    mask.save(set.at("mask.png")).unwrap();
    std::fs::create_dir(set.at("regions")).unwrap();
    let small = image::GrayImage::from_fn(160, 90, |_, y| image::Luma([u8::from(y >= 30)]));
    for entry in set.at("images").read_dir().unwrap() {
        let stem = entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned();
        small.save(set.at("regions").join(format!("{stem}.png"))).unwrap();
    }
    for (name, region) in [("mask.json", "mask.png"), ("folder.json", "regions")] {
        let (by_mask, _, _) = judged(name, &["--region", text(&set.at(region))]);
        assert_eq!(by_mask["methods"], below["methods"], "{region}");
        assert!(by_mask["region"]["sha256"].is_string());
    }
    let differ = farout(["compare", text(&all_json), text(&road_json)]);
    assert!(differ.code == Some(1) && differ.stderr.contains("the region road"), "{}", differ.stderr);
    // A repetition has the region of the run.
    let again = farout(["eval", "--from", text(&road_json)]).succeeded();
    assert!(again.stderr.contains("every number is the same"), "{}", again.stderr);
}

#[test]
fn parts_have_one_region_and_bring_the_road_along() {
    let set = set(4);
    let (whole, merged) = (set.at("whole.json"), set.at("merged.json"));
    set.eval(&["--json", text(&whole), "--region", "road"]).succeeded();
    let part = |index: usize, region: &str| {
        let (json, shard) = (set.at(&format!("{index}-{region}.json")), format!("{index}/2"));
        set.eval(&["--json", text(&json), "--region", region, "--shard", &shard]).succeeded();
        json
    };
    let (one, two) = (part(1, "road"), part(2, "road"));
    farout(["eval", "merge", text(&one), text(&two), "--json", text(&merged)]).succeeded();
    let (whole, merged) = (read(&whole), read(&merged));
    assert_eq!(whole["methods"], merged["methods"]);
    assert_eq!(whole["region"], merged["region"]);
    let (all, below) = (part(1, "all"), part(2, "below-horizon"));
    let mixed = farout(["eval", "merge", text(&all), text(&below)]);
    assert!(
        mixed.code == Some(1) && mixed.stderr.contains("parts of one run have one region"),
        "{}",
        mixed.stderr
    );
}

#[test]
fn a_region_that_cannot_be_is_refused() {
    let set = Set::new(2);
    let nothing = set.at("nothing.png");
    image::GrayImage::new(320, 180).save(&nothing).unwrap();
    std::fs::create_dir(set.at("empty")).unwrap();
    for (region, want) in [
        ("road", "nothing tells the road"),
        ("below-horizon:2", "share of the height"),
        ("below-horizon:0.999", "leaves no normal pixel"),
        ("/nowhere/mask.png", "there is no such mask"),
        (text(&nothing), "nothing would be judged"),
        (text(&set.at("empty")), "2 of 2 images have no mask"),
    ] {
        let told = set.eval(&["--region", region]);
        assert!(told.code != Some(0) && told.stderr.contains(want), "{region}: {}", told.stderr);
    }
    // The main model's logits tell it as well.
    let own = std::fs::read_to_string(&set.config).unwrap();
    std::fs::write(&set.config, format!("{own}[score]\nroi_classes = [0, 1]\n")).unwrap();
    let told = set.eval(&["--region", "road", "--methods", "knn"]).succeeded();
    assert!(told.stdout.contains("region road"), "{}", told.stdout);
}
