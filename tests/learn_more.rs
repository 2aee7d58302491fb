//! Footage added to a detector, and what else a detector is learnt of: objects, views.

use std::collections::BTreeSet;
use std::path::Path;

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

#[test]
fn an_addition_that_was_cut_off_at_its_end_ends_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let (day, other) = (drive(dir.path(), "day", 9), drive(dir.path(), "other", 10));
    let keys = "base = \"plain\"\n[bank.build]\nsize = 3000\n";
    let recipe = recipe(dir.path(), "r.toml", keys);
    let config = at("k.toml");
    std::fs::write(&config, "[search]\nk = 4\n").unwrap();
    let (whole, road) = (at("whole"), at("road"));
    let first = ["--recipe", text(&recipe), "-c", text(&config)];
    learn(&day, &whole, &first).succeeded();
    let names = |folder: &Path| {
        let entries = folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name());
        entries.collect::<BTreeSet<_>>()
    };
    let same =
        |name: &str| std::fs::read(road.join(name)).unwrap() == std::fs::read(whole.join(name)).unwrap();
    // The bank is made, and then what is kept of the footage cannot be written: as if killed there.
    std::fs::create_dir(&road).unwrap();
    std::fs::write(road.join("footage"), "in the way").unwrap();
    let cut = learn(&day, &road, &first);
    assert!(cut.code == Some(1) && road.join(".learning/references.bank").exists(), "{}", cut.stderr);
    assert!(!road.join("detector.toml").exists());
    std::fs::remove_file(road.join("footage")).unwrap();
    let ended = learn(&day, &road, &first).succeeded();
    assert!(ended.stderr.contains("going on where the last run ended"), "{}", ended.stderr);
    assert_eq!(names(&road), names(&whole));
    assert!(same("references.bank") && same("model.onnx") && same("footage/1.shard"));
    // An addition, whole; neighbours are the detector's, also where a file names as many as are usual.
    let more = |road: &Path, extra: &[&str]| {
        let fixed = ["learn", "--more", text(&other), text(road), "--device", "cpu"];
        farout([&fixed, extra].concat())
    };
    std::fs::write(&config, "[search]\nk = 3\n").unwrap();
    let why = more(&whole, &["-c", text(&config)]);
    assert!(why.code == Some(2) && why.stderr.contains("the detector has 4"), "{}", why.stderr);
    more(&whole, &[]).succeeded();
    // What does not go together with the footage is said before any work: label values, scores.
    let labelled = more(&road, &["--labels", text(&day)]);
    assert!(labelled.code == Some(2) && labelled.stderr.contains("no labels"), "{}", labelled.stderr);
    let file = road.join("detector.toml");
    let told = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, told.replace("smooth = 0.0", "smooth = 1.0")).unwrap();
    let smooth = more(&road, &[]);
    assert!(smooth.code == Some(2) && smooth.stderr.contains("smooth"), "{}", smooth.stderr);
    // What decides about alarms alone may be changed.
    let told = told.replace("min_region_px = 100", "min_region_px = 77");
    std::fs::write(&file, &told).unwrap();
    // The addition again, cut off when its bank lies beside the old one.
    std::fs::rename(road.join("REPORT.html"), at("report")).unwrap();
    std::fs::create_dir_all(road.join("REPORT.html/in the way")).unwrap();
    let cut = more(&road, &[]);
    assert!(cut.code == Some(1) && cut.stderr.contains("REPORT.html"), "{}", cut.stderr);
    assert!(road.join("references.bank").exists() && road.join("references-2.bank").exists());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), told);
    std::fs::remove_dir_all(road.join("REPORT.html")).unwrap();
    let plan = std::fs::read(road.join(".learning/plan.json")).unwrap();
    // Its file may be named from where it lies.
    let mut command = program();
    command.current_dir(dir.path()).args(["learn", "--more", text(&other), "road", "--device", "cpu"]);
    let ended = Running::start(command).outcome().succeeded();
    assert!(ended.stderr.contains("going on where the last run ended"), "{}", ended.stderr);
    assert_eq!(names(&road), names(&whole));
    assert!(same("references-2.bank") && same("footage/2.shard"));
    assert!(std::fs::read_to_string(&file).unwrap().contains("min_region_px = 77"));
    // Cut off after the last step: what is left over goes, and the bank stays.
    std::fs::create_dir(road.join(".learning")).unwrap();
    std::fs::write(road.join(".learning/plan.json"), plan).unwrap();
    std::fs::write(road.join("references.bank"), "old").unwrap();
    let mut command = program();
    command.current_dir(dir.path()).args(["learn", "--more", text(&other), "road", "--device", "cpu"]);
    let again = Running::start(command).outcome();
    assert!(again.code == Some(1) && again.stderr.contains("has learnt from all"), "{}", again.stderr);
    assert_eq!(names(&road), names(&whole));
    assert!(same("references-2.bank"));
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

#[cfg(feature = "media")]
#[test]
fn the_closer_look_follows_the_horizon_of_the_videos() {
    let dir = tempfile::tempdir().unwrap();
    // Their horizon wavers around 0.43.
    let clips = |folder: &str, seeds: &[u32]| {
        let folder = dir.path().join(folder);
        std::fs::create_dir(&folder).unwrap();
        for seed in seeds {
            let drive = format!("synthetic:seed={seed},width=320,height=180,strangers=off,frames=150");
            let to = folder.join(format!("{seed}.mp4"));
            farout(["replay", "--bypass", &drive, "--video", text(&to)]).succeeded();
        }
        folder
    };
    let (first, second) = (clips("first", &[9, 10, 11]), clips("second", &[12]));
    let keys =
        "[[views.more]]\ncrop = [0.0, 0.2, 1.0, 0.7]\n[horizon]\nviews = 0.3\n[bank.build]\nsize = 2000\n";
    let high = recipe(dir.path(), "high.toml", keys);
    let road = dir.path().join("road");
    let few = ["--recipe", text(&high), "--input-height", "160", "--pictures", "20", "--json"];
    let told = learn(&first, &road, &few).succeeded().json();
    let row = told["horizon"]["row"].as_f64().unwrap();
    assert!((row - 0.43).abs() < 0.06 && told["horizon"]["assumed"] == false, "{told}");
    let views = |detector: &Path| {
        farout(["bank", "inspect", text(detector), "--json"]).succeeded().json()["views"]["views"].clone()
    };
    let moved = (1e4 * (row - 0.3)).round() / 1e4;
    let want =
        format!("crop 0 {} 1 {}", (1e4 * (0.2 + moved)).round() / 1e4, (1e4 * (0.7 + moved)).round() / 1e4);
    assert!(views(&road).as_str().is_some_and(|views| views.contains(&want)), "{want}: {}", views(&road));
    let report = std::fs::read_to_string(road.join("REPORT.html")).unwrap();
    assert!(report.contains(&format!("a horizon at {row} of the height")), "the report lacks the horizon");
    assert!(report.contains("the horizon (red)"), "the report does not show it");
    // What is added is looked at in the same places.
    let more = farout(["learn", "--more", text(&second), text(&road), "--device", "cpu", "--json"])
        .succeeded()
        .json();
    assert_eq!(more["horizon"], told["horizon"]);
    assert!(views(&road).as_str().is_some_and(|views| views.contains(&want)));
    // A given one counts, and pictures say none.
    let given = dir.path().join("given");
    let told = learn(&first, &given, &[&few[..], &["--horizon", "0.35"]].concat()).succeeded().json();
    assert_eq!((&told["horizon"]["row"], &told["horizon"]["basis"]), (&0.35.into(), &"given".into()));
    assert!(
        views(&given).as_str().is_some_and(|views| views.contains("crop 0 0.25 1 0.75")),
        "{}",
        views(&given)
    );
    let stills = dir.path().join("stills");
    let told = learn(&drive(dir.path(), "day", 9), &stills, &few).succeeded().json();
    let warned = |told: &serde_json::Value| told["warnings"].to_string().contains("learn with --horizon");
    assert!(told["horizon"]["assumed"] == true && warned(&told), "{told}");
    let night = drive(dir.path(), "night", 8);
    let more =
        farout(["learn", "--more", text(&night), text(&stills), "--device", "cpu", "--json"]).succeeded();
    assert!(!more.stderr.contains("horizon") && more.json()["horizon"] == told["horizon"], "{}", more.stderr);
    assert!(views(&stills).as_str().is_some_and(|views| views.contains("crop 0 0.2 1 0.7")));
    for (row, recipe, words) in
        [("1.5", text(&high), "a share of the height"), ("0.5", "road", "road-fine has one")]
    {
        let why = learn(&first, &dir.path().join("no"), &["--recipe", recipe, "--horizon", row]);
        assert!(why.code == Some(2) && why.stderr.contains(words), "{}", why.stderr);
    }
}
