//! `farout eval` from end to end: the same numbers however the work is split, interrupted or repeated.

use std::path::{Path, PathBuf};

use crate::support::drive_set::{Set, read};
use crate::support::given::{given, text};
use crate::support::program::{Running, farout};
use serde_json::Value;

/// The pooled number of a method.
fn number(result: &Value, method: &str, key: &str) -> f64 {
    let methods = result["methods"].as_array().unwrap();
    let found = methods.iter().find(|m| m["method"] == method).unwrap();
    found["pooled"][key].as_f64().unwrap()
}

#[test]
fn one_pass_gives_all_methods_and_what_made_them() {
    let set = Set::new(5);
    let (json, report, scores) = (set.at("out.json"), set.at("report"), set.at("scores"));
    let told = set
        .eval(&[
            "--json",
            text(&json),
            "--report",
            text(&report),
            "--scores",
            text(&scores),
            "--protocol",
            "smiyc-obstacle",
        ])
        .succeeded();
    assert!(told.stdout.contains("pooled") && told.stdout.contains("knn"), "{}", told.stdout);
    let result = read(&json);
    for pointer in [
        "/farout",
        "/made",
        "/settings/config/search/k",
        "/dataset/sha256",
        "/model/sha256",
        "/bank/sha256",
        "/machine/provider",
        "/machine/processor",
        "/time/stages/0/seconds",
        "/methods/0/pooled/ap",
        "/methods/0/pooled/intervals/ap/low",
        "/methods/0/breakdown/sizes/0/objects",
        "/methods/0/calibration/pixels/fpr",
        "/methods/1/per_image/mean/auroc",
        "/methods/1/smiyc/0/pixel/ap",
    ] {
        assert!(result.pointer(pointer).is_some_and(|v| !v.is_null()), "{pointer} is missing");
    }
    // What farout metrics finds in the written maps is the same to the last bit.
    for method in ["knn", "lse"] {
        let maps = scores.join(method);
        let masks = set.at("masks");
        let args = ["metrics", "--scores", text(&maps), "--truth", text(&masks), "--protocol", "pooled"];
        let judged = farout([&args[..], &["--anomaly", "1-255", "--void", "256", "--json"]].concat())
            .succeeded()
            .json();
        let found = find(&judged, "ap").and_then(Value::as_f64).unwrap();
        assert_eq!(found, number(&result, method, "ap"), "{method}: {judged}");
    }
    let page = std::fs::read_to_string(report.join("index.html")).unwrap();
    for part in
        ["Pooled", "By object size", "Best and worst images", "data:image/jpeg;base64,", "<svg", "knn", "lse"]
    {
        assert!(page.contains(part), "the report lacks {part}");
    }
    for outside in ["src=\"http", "href=\"http", "<script", "<link", "@import"] {
        assert!(!page.contains(outside), "the report loads {outside}");
    }
    for stem in ["precision-recall", "roc", "roc-log", "histogram-knn", "histogram-lse"] {
        let svg = std::fs::read_to_string(report.join(format!("{stem}.svg"))).unwrap();
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>"), "{stem}");
    }
    assert!(!set.at("out.json.work").exists(), "the work folder stays");
}

/// The first value of `key`, however deep.
fn find<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    match value {
        Value::Object(map) => map.get(key).or_else(|| map.values().find_map(|v| find(v, key))),
        Value::Array(list) => list.iter().find_map(|v| find(v, key)),
        _ => None,
    }
}

#[test]
fn parts_of_a_run_give_what_the_whole_gives() {
    let set = Set::new(7);
    let whole = set.at("whole.json");
    set.eval(&["--json", text(&whole)]).succeeded();
    let parts: Vec<PathBuf> = (1..=3).map(|i| set.at(&format!("part{i}.json"))).collect();
    for (i, part) in (1..).zip(&parts) {
        let shard = format!("{i}/3");
        set.eval(&["--shard", &shard, "--json", text(part)]).succeeded();
    }
    let merged = set.at("merged.json");
    let all: Vec<&str> = parts.iter().map(|part| text(part)).collect();
    let args = [&["eval", "merge"], &all[..], &["--json", text(&merged)]].concat();
    farout(&args).succeeded();
    let (a, b) = (read(&whole), read(&merged));
    assert_eq!(a["methods"], b["methods"]);
    assert_eq!(b["shard"], Value::Null);
    assert_eq!(b["time"]["sessions"], 3);
    // Not all parts, one twice, a whole run, a damaged file.
    let fails = |args: &[&str], words: &[&str]| {
        let ended = farout([&["eval", "merge"], args].concat());
        assert_eq!(ended.code, Some(1), "{args:?}");
        for word in words {
            assert!(ended.stderr.contains(word), "{args:?}: no {word:?} in {}", ended.stderr);
        }
    };
    fails(&all[..2], &["parts are missing: 3/3"]);
    fails(&[all[0], all[1], all[1], all[2]], &["2/3 is given twice"]);
    fails(&[text(&whole)], &["is a whole result"]);
    let maps = set.at("part2.maps");
    let mut bytes = std::fs::read(&maps).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&maps, bytes).unwrap();
    fails(&all, &["part2.maps", "SHA-256"]);
    let ended = farout(["compare", text(&whole), all[0]]);
    assert!(ended.stderr.contains("part 1/3") && ended.stderr.contains("eval merge"), "{}", ended.stderr);
}

#[test]
fn an_interrupted_run_goes_on_and_a_finished_one_can_be_repeated() {
    let set = Set::new(20);
    let json = set.at("out.json");
    let mut running = Running::start(set.command(&["--json", text(&json)]));
    let work = set.at("out.json.work");
    let kept = || -> usize {
        let folders = work.read_dir().into_iter().flatten().flatten();
        folders
            .filter_map(|f| f.path().read_dir().ok())
            .flatten()
            .flatten()
            .filter(|f| f.file_name().to_string_lossy().ends_with(".maps"))
            .count()
    };
    running.until("three images", || kept() >= 3);
    running.signal(libc::SIGINT);
    let ended = running.outcome();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("of 20 images; the same command goes on"), "{}", ended.stderr);
    assert!(!json.exists());
    let before = kept();
    let told = set.eval(&["--json", text(&json)]).succeeded();
    assert!(told.stderr.contains(&format!("{before} of 20 images were done before")), "{}", told.stderr);
    assert!(!work.exists());
    let first = read(&json);
    assert_eq!(first["time"]["sessions"], 2);
    assert_eq!(first["time"]["stages"][0]["images"], 20, "{}", first["time"]);

    let again = set.at("again.json");
    let args = ["eval", "--from", text(&json), "--json", text(&again)];
    let told = farout(args).succeeded();
    assert!(told.stderr.contains("every number is the same"), "{}", told.stderr);
    assert_eq!(first["methods"], read(&again)["methods"]);
    let other = text(&given().other_model);
    let refused = farout([&args[..], &["--model", other]].concat());
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("model"), "{}", refused.stderr);
}

#[test]
fn runs_are_compared_image_by_image() {
    let set = Set::new(6);
    let (a, b) = (set.at("a.json"), set.at("b.json"));
    set.eval(&["--methods", "knn,lse", "--json", text(&a)]).succeeded();
    set.eval(&["--methods", "lse", "--json", text(&b)]).succeeded();
    let told = farout(["compare", text(&a), text(&b), "--json"]).succeeded().json();
    let others = told["others"].as_array().unwrap();
    assert_eq!(others.len(), 2, "lse of both");
    assert_eq!(others[0]["differences"], others[1]["differences"], "the same scores differ alike");
    let (knn, lse) = (number(&read(&a), "knn", "ap"), number(&read(&b), "lse", "ap"));
    let change = &others[1]["differences"][0];
    assert!((change["value"].as_f64().unwrap() - (lse - knn)).abs() < 1e-12, "{change}");
    let (low, high) = (&change["interval"]["low"], &change["interval"]["high"]);
    assert!(low.as_f64().unwrap() <= lse - knn && lse - knn <= high.as_f64().unwrap(), "{change}");
    assert!(others[1]["time_ratio"].as_f64().unwrap() > 0.0);
    let told = farout(["compare", text(&a)]).succeeded();
    assert!(told.stdout.contains("images gain") && told.stdout.contains("AUROC"), "{}", told.stdout);
    // Another data set is not compared.
    let other = Set::new(5);
    let c = other.at("c.json");
    other.eval(&["--json", text(&c)]).succeeded();
    let ended = farout(["compare", text(&a), text(&c)]);
    assert!(ended.stderr.contains("do not compare"), "{}", ended.stderr);
}

#[test]
fn what_cannot_be_judged_or_written_is_told() {
    let set = Set::new(3);
    let fails = |extra: &[&str], code: i32, words: &[&str]| {
        let ended = set.eval(extra);
        assert_eq!(ended.code, Some(code), "{extra:?}: {}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
        for word in words {
            assert!(ended.stderr.contains(word), "{extra:?}: no {word:?} in {}", ended.stderr);
        }
    };
    fails(&["--methods", "psychic"], 2, &["psychic", "knn, lse"]);
    // This bank was built without logits.
    fails(&["--methods", "knn,cdnp"], 1, &["cdnp", "the range of lse", "farout bank build"]);
    fails(&["--methods", "zsum"], 1, &["zsum", "mean and deviation of lse", "farout bank build"]);
    fails(&["--protocol", "kind"], 2, &["kind", "per-image"]);
    fails(&["--shard", "5/4", "--json", "x.json"], 2, &["5/4"]);
    fails(&["--json", "/proc/out.json"], 1, &["/proc/out.json"]);
    fails(&["--report", "/proc/report"], 1, &["/proc/report", "--report"]);
    fails(&["--scores", "/proc/scores"], 1, &["/proc/scores"]);
    fails(&["--work", "/proc/work"], 1, &["/proc/work", "--work"]);
    fails(&["--from", text(&set.config)], 2, &["--from"]);
    let ended = farout(["eval", "--from", text(&set.config)]);
    assert!(ended.stderr.contains("model.toml is no result of farout eval"), "{}", ended.stderr);
    let ended = farout(["eval", "--dataset", "cityscapes:x"]);
    assert!(ended.code == Some(2) && ended.stderr.contains("roadanomaly"), "{}", ended.stderr);
    let ended =
        farout(["eval", "--dataset", &set.dataset, "--model", text(&given().model), "--methods", "knn"]);
    assert!(ended.code == Some(2) && ended.stderr.contains("--bank"), "{}", ended.stderr);

    // A model whose logits are NaN.
    let mut broken = crate::support::tiny_model::Tiny { unrelated: false, ..Default::default() }.model();
    let graph = broken.graph.as_mut().unwrap();
    let head = graph.initializer.iter_mut().find(|t| t.name.as_deref() == Some("head")).unwrap();
    head.float_data[0] = f32::NAN;
    let path = set.at("broken.onnx");
    std::fs::write(&path, prost::Message::encode_to_vec(&broken)).unwrap();
    let config = set.at("broken.toml");
    std::fs::write(&config, format!("[model]\npath = \"{}\"\nlogits = \"logits\"\n", text(&path))).unwrap();
    let ended = farout(["eval", "--dataset", &set.dataset, "-c", text(&config), "--device", "cpu"]);
    assert_eq!(ended.code, Some(1));
    for word in ["000000", "no finite score", "NaN"] {
        assert!(ended.stderr.contains(word), "no {word:?} in {}", ended.stderr);
    }

    // The data set is looked at before anything is computed.
    std::fs::remove_file(set.at("masks/000001.png")).unwrap();
    fails(&[], 1, &["1 of 3 images have no mask", "000001", "farout dataset check"]);
    let checked = farout(["dataset", "check", &set.dataset]);
    assert_eq!(checked.code, Some(1));
    assert!(checked.stdout.contains("refused") && checked.stdout.contains("320x180"), "{}", checked.stdout);
    let told = set.eval(&["--allow-missing", "--json", "-"]).succeeded().json();
    assert_eq!(told["dataset"]["without_mask"][0], "000001");
    assert_eq!(told["methods"][0]["per_image"]["rows"].as_array().unwrap().len(), 2);
    let told = farout(["dataset", "check", &set.dataset, "--allow-missing", "--json"]).succeeded().json();
    assert_eq!(told["files"][1]["fault"]["fault"], "no-mask");
}

/// A limit on the size of files stands for a disk that is full: writing ends with an error half-way.
#[test]
fn a_disk_that_is_full_leaves_nothing_half_written() {
    use std::os::unix::process::CommandExt;
    let set = Set::new(3);
    let (json, report) = (set.at("out.json"), set.at("report"));
    let limited = |bytes: u64, extra: &[&str]| {
        let mut command = set.command(extra);
        let limit = move || {
            let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
            // SAFETY: both calls are async-signal-safe and touch only this process, which is about to be
            // the program.
            unsafe {
                libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
                if libc::setrlimit(libc::RLIMIT_FSIZE, &limit) != 0 {
                    return Err(std::io::Error::last_os_error());
                }
            }
            Ok(())
        };
        // SAFETY: the closure allocates nothing and takes no lock.
        unsafe { command.pre_exec(limit) };
        Running::start(command).outcome()
    };
    let args = ["--json", text(&json), "--report", text(&report)];
    // No room for the first image's maps.
    let ended = limited(512, &args);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains(".maps") && ended.stderr.contains("--work"), "{}", ended.stderr);
    assert!(!json.exists() && !report.join("index.html").exists());
    // Room for them, not for the JSON: what was measured is kept.
    let ended = limited(20_000, &args);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("out.json"), "{}", ended.stderr);
    assert!(!json.exists(), "half a result");
    let hidden = |folder: &Path| {
        folder
            .read_dir()
            .unwrap()
            .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().starts_with(".farout-"))
            .count()
    };
    assert_eq!(hidden(set.dir.path()), 0, "a temporary file was left");
    let told = set.eval(&args).succeeded();
    assert!(told.stderr.contains("3 of 3 images were done before"), "{}", told.stderr);
    assert!(json.exists() && report.join("index.html").exists());
}
