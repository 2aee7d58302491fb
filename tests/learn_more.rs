//! Footage added to a detector, and what else a detector is learnt of: objects, views.

use std::path::Path;
use std::process::Command;

use crate::learn::{drive, learn, recipe};
use crate::support::given::{DRIVE, given, text};
use crate::support::program::{Running, farout, program};

#[test]
fn footage_is_added_to_a_detector_without_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    let (day, other) = (drive(dir.path(), "day", 9), drive(dir.path(), "other", 10));
    let keys = "[outliers]\nscraps_every = 4\n[bank.build]\nsize = 3000\noutlier_use = \"difference:0.5\"\ncombine = \"sum\"\n";
    let recipe = recipe(dir.path(), "r.toml", keys);
    let road = dir.path().join("road");
    learn(&day, &road, &["--recipe", text(&recipe)]).succeeded();
    let inspected = |road: &Path| farout(["bank", "inspect", text(road), "--json"]).succeeded().json();
    let first = inspected(&road);
    std::fs::remove_dir_all(&day).unwrap();
    let more = |extra: &[&str]| {
        let fixed = ["learn", "--more", text(&other), text(&road), "--device", "cpu"];
        farout([&fixed, extra].concat())
    };
    let model = text(&given().model);
    for (extra, words) in
        [(vec!["--recipe", "plain"], "--more"), (vec!["--model", model], "leave --model out")]
    {
        let why = more(&extra);
        assert!(why.code == Some(2) && why.stderr.contains(words), "{}", why.stderr);
    }
    let told = more(&["--json"]).succeeded().json();
    assert_eq!(told["pictures"], 48, "{told}");
    let second = inspected(&road);
    let frames = |told: &serde_json::Value| {
        let of = |value: &serde_json::Value| value.as_u64().unwrap();
        of(&told["build"]["frames"]) + of(&told["build"]["guard_frames"]) + of(&told["held_out_frames"])
    };
    assert_eq!((frames(&first), frames(&second)), (24, 48), "{first} {second}");
    let outliers = |told: &serde_json::Value| told["build"]["outliers"]["frames"].as_u64().unwrap();
    assert_eq!((outliers(&first), outliers(&second)), (6, 12));
    // The old bank is gone, and the new one is named by the detector.
    assert!(!road.join("references.bank").exists() && road.join("references-2.bank").exists());
    assert!(!road.join(".learning").exists());
    let report = std::fs::read_to_string(road.join("REPORT.html")).unwrap();
    assert!(report.contains("day") && report.contains("other"), "the report lacks a sequence");
    // Half of an addition is nothing that a new detector in the same folder may remove.
    let left = road.join(".learning");
    std::fs::create_dir(&left).unwrap();
    let plan = r#"{"farout":"0","footage":[],"labels":null,"objects":null,"added_to":"x","pictures":1,"recipe":"","model":null,"input":"","k":3}"#;
    std::fs::write(left.join("plan.json"), plan).unwrap();
    let other_way = learn(&other, &road, &[]);
    assert!(other_way.stderr.contains("is a detector already") && left.exists(), "{}", other_way.stderr);
    // One that the detector has is no longer needed.
    let again = more(&[]);
    assert!(!left.exists());
    assert!(
        again.code == Some(1) && again.stderr.contains("has learnt from all of this"),
        "{}",
        again.stderr
    );
    std::fs::create_dir(&day).unwrap();
    let none = farout(["learn", "--more", text(&other), text(&day)]);
    assert!(none.code == Some(2) && none.stderr.contains("is no detector"), "{}", none.stderr);
    let lone = farout(["learn", "--more", text(&road)]);
    assert!(lone.code == Some(2) && lone.stderr.contains("--more needs footage"), "{}", lone.stderr);
    std::fs::remove_dir_all(road.join("footage")).unwrap();
    let bare = more(&[]);
    assert!(bare.code == Some(2) && bare.stderr.contains("learn anew"), "{}", bare.stderr);
}

/// A copy of a folder with all that is in it.
fn copied(from: &Path, to: &Path) {
    let ended = Command::new("cp").arg("-r").args([from, to]).status().unwrap();
    assert!(ended.success());
}

#[test]
fn an_addition_that_was_cut_off_at_its_end_ends_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let (day, other) = (drive(dir.path(), "day", 9), drive(dir.path(), "other", 10));
    let road = at("road");
    let keys = "base = \"plain\"\n[bank.build]\nsize = 3000\n";
    learn(&day, &road, &["--recipe", text(&recipe(dir.path(), "r.toml", keys))]).succeeded();
    // What a detector's file says of scores may be changed by hand: the calibration goes on as it was begun.
    let file = road.join("detector.toml");
    let told = std::fs::read_to_string(&file).unwrap();
    let mut table: toml::Table = told.parse().unwrap();
    table["score"].as_table_mut().unwrap().insert("min_region_px".into(), 77.into());
    std::fs::write(&file, table.to_string()).unwrap();
    // Neighbours are the detector's, also where the file names as many as are usual.
    let config = at("k.toml");
    std::fs::write(&config, "[search]\nk = 4\n").unwrap();
    let fixed = ["learn", "--more", text(&other), text(&road), "--device", "cpu"];
    let why = farout([&fixed[..], &["-c", text(&config)]].concat());
    assert!(why.code == Some(2) && why.stderr.contains("the detector has 3"), "{}", why.stderr);
    copied(&road, &at("before"));
    // Begun, and killed.
    let mut command = program();
    command.args(fixed);
    let mut running = Running::start(command);
    running.until_it_listens_to(libc::SIGINT);
    running.until("it has begun", || road.join(".learning/plan.json").exists());
    running.signal(libc::SIGKILL);
    assert_eq!(running.outcome().code, None);
    copied(&road.join(".learning"), &at("work"));
    farout(fixed).succeeded();
    let whole = std::fs::read(road.join("references-2.bank")).unwrap();
    assert!(std::fs::read_to_string(&file).unwrap().contains("min_region_px = 77"));
    // All but the last step: the detector's file is the old one.
    copied(&road, &at("after"));
    copied(&at("work"), &road.join(".learning"));
    std::fs::copy(at("before/detector.toml"), &file).unwrap();
    std::fs::copy(at("before/references.bank"), road.join("references.bank")).unwrap();
    farout(fixed).succeeded();
    let names = |folder: &Path| {
        let entries = folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name());
        entries.collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(names(&road), names(&at("after")));
    assert!(std::fs::read(road.join("references-2.bank")).unwrap() == whole, "it ended otherwise");
    // The last step, too: what is left over goes.
    copied(&at("work"), &road.join(".learning"));
    std::fs::copy(at("before/references.bank"), road.join("references.bank")).unwrap();
    let again = farout(fixed);
    assert!(
        again.code == Some(1) && again.stderr.contains("has learnt from all of this"),
        "{}",
        again.stderr
    );
    assert_eq!(names(&road), names(&at("after")));
    assert!(std::fs::read(road.join("references-2.bank")).unwrap() == whole);
}

#[test]
fn objects_and_views_are_learnt_as_the_recipe_says() {
    let dir = tempfile::tempdir().unwrap();
    let day = drive(dir.path(), "day", 9);
    let hazards = dir.path().join("hazards");
    for (name, inside) in [("images", 200), ("labels", 1)] {
        std::fs::create_dir_all(hazards.join(name)).unwrap();
        let picture = image::GrayImage::from_fn(160, 120, |x, y| {
            image::Luma([if (40..120).contains(&x) && (20..100).contains(&y) { inside } else { 0 }])
        });
        picture.save(hazards.join(name).join("a.png")).unwrap();
    }
    let keys = "[bank.build]\nsize = 3000\noutlier_use = \"difference:0.5\"\ncombine = \"sum\"\n[[views.more]]\ncrop = [0.0, 0.3, 1.0, 0.8]\n";
    let objects = recipe(dir.path(), "objects.toml", keys);
    let road = dir.path().join("road");
    let without = learn(&day, &road, &["--recipe", text(&objects)]);
    assert!(without.code == Some(2) && without.stderr.contains("--objects"), "{}", without.stderr);
    let told = ["--recipe", text(&objects), "--objects", text(&hazards), "--input-height", "160"];
    learn(&day, &road, &told).succeeded();
    let bank = farout(["bank", "inspect", text(&road), "--json"]).succeeded().json();
    assert_eq!(bank["build"]["outliers"]["frames"], 6, "{bank}");
    assert!(
        bank["views"]["views"].as_str().is_some_and(|views| views.contains("crop 0 0.3 1 0.8")),
        "{bank}"
    );
    // The detector looks the same way.
    let replay = ["replay", DRIVE, "--frames", "2", "--device", "cpu", "--detector", text(&road), "--json"];
    farout(replay).succeeded();
    let plain = recipe(dir.path(), "plain.toml", "base = \"plain\"");
    let unused = learn(&day, &dir.path().join("p"), &["--recipe", text(&plain), "--objects", text(&hazards)]);
    assert!(
        unused.code == Some(2) && unused.stderr.contains("--objects would change nothing"),
        "{}",
        unused.stderr
    );
}
