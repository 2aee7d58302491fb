//! "Why", and "this is normal", on a running farout.
#![cfg(feature = "media")]

use std::path::Path;

use crate::support::api::Api;
use crate::support::given::text;
use crate::support::players::free_port;
use crate::support::program::{Running, farout, program};
use serde_json::{Value, json};

/// A picture with two strange things, and a pixel of each.
const SCENE: &str = "synthetic:seed=31,frames=18,stride=23";
const THINGS: [(u64, u64); 2] = [(330, 145), (112, 195)];

/// Watches that picture again and again, with these further sections.
fn watched(folder: &Path, http: u16, sections: &str) -> Running {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scene = folder.join("scene");
    if !scene.exists() {
        let all = folder.join("all");
        farout(["replay", "--bypass", SCENE, "--frames-out", text(&all)]).succeeded();
        std::fs::create_dir(&scene).unwrap();
        let mut frames: Vec<_> = all.read_dir().unwrap().map(|one| one.unwrap().path()).collect();
        frames.sort();
        std::fs::copy(frames.last().unwrap(), scene.join("scene.png")).unwrap();
    }
    let text = format!(
        r#"
        [[stream]]
        name = "front"
        source = {scene:?}
        loop = true
        fps = 6
        [model]
        path = {model:?}
        [bank]
        path = {bank:?}
        [output]
        rtsp = "off"
        http = "http://127.0.0.1:{http}"
        [score]
        threshold = 3.6
        event_frames = 2
        event_gap_frames = 2
        {sections}
        "#,
        model = root.join("models/synthetic-vit.onnx"),
        bank = root.join("models/synthetic.bank"),
    );
    std::fs::write(folder.join("car.toml"), text).unwrap();
    let mut command = program();
    command.args(["run", "-c"]).arg(folder.join("car.toml"));
    Running::start(command)
}

/// Which of the two things alarm in the newest verdict, and which frame that is of.
fn alarming(api: &Api) -> Option<(u64, [bool; 2])> {
    let state = api.try_get("/api/v1/state").filter(|answer| answer.status == 200)?.json();
    let found = &state["streams"][0]["found"];
    let regions = found["regions"].as_array()?;
    let lies = |(x, y): (u64, u64)| {
        regions.iter().any(|one| {
            let number = |key: &str| one[key].as_u64().unwrap();
            let inside =
                |at: u64, from: &str, length: &str| at >= number(from) && at < number(from) + number(length);
            inside(x, "x", "width") && inside(y, "y", "height")
        })
    };
    Some((found["frame"].as_u64()?, THINGS.map(lies)))
}

fn until(daemon: &mut Running, api: &Api, what: &str, want: [bool; 2]) {
    daemon.until(what, || alarming(api).is_some_and(|(_, now)| now == want));
}

fn marks(api: &Api) -> Vec<Value> {
    api.get("/api/v1/normal").is(200).json()["marks"].as_array().unwrap().clone()
}

#[test]
fn what_is_marked_is_silent_from_the_next_verdict_on_and_a_power_cut_takes_nothing_back() {
    let (folder, http) = (tempfile::tempdir().unwrap(), free_port());
    let sections = "[events]\nfolder = \"kept\"\n[supplement]\nfolder = \"normal\"\n";
    let (mut daemon, api) = (watched(folder.path(), http, sections), Api::at(http));
    until(&mut daemon, &api, "both alarm", [true, true]);

    // Why: the nearest references of its patches, nearest first, in the unit of the score.
    let (x, y) = THINGS[0];
    let why = api.get(&format!("/api/v1/streams/front/why?x={x}&y={y}")).is(200).json();
    let patches = why["patches"].as_array().unwrap();
    assert!(!patches.is_empty() && why["combine"] == "concat", "{why}");
    let peak = why["what"]["peak"].as_f64().unwrap();
    for patch in patches {
        let references = patch["references"].as_array().unwrap();
        let distances: Vec<f64> = references.iter().map(|one| one["distance"].as_f64().unwrap()).collect();
        assert!(distances.len() == 3 && distances.is_sorted() && distances[0] > 0.0, "{patch}");
        assert!(references.iter().all(|one| one["source"].as_str().unwrap().ends_with(".png")), "{patch}");
        let rect = &patch["box"];
        assert!(rect["width"] == 20 && rect["x"].as_u64().unwrap() + 40 > 265, "{patch}");
    }
    // The score of a patch is the mean of its three nearest: that of the strangest is the region's peak, or near it.
    let first = patches[0]["references"].as_array().unwrap();
    let mean = first.iter().map(|one| one["distance"].as_f64().unwrap()).sum::<f64>() / 3.0;
    assert!((mean - peak).abs() < 0.3 * peak, "{mean} {peak}");

    // What was explained is marked by its name; the next verdict but those under way knows it, and nothing else has changed.
    let seen = why["what"]["id"].as_str().unwrap();
    let (before, _) = alarming(&api).unwrap();
    let mark = api.send("POST", "/api/v1/normal", Some(json!({"seen": seen}))).is(201).json();
    assert!(mark["id"] == seen && mark["features"].as_u64().unwrap() > 10, "{mark}");
    until(&mut daemon, &api, "one of them alarms", [false, true]);
    let (after, _) = alarming(&api).unwrap();
    assert!(after > before);

    // Killed without warning, it knows it all the same.
    daemon.signal(libc::SIGKILL);
    drop(daemon.outcome());
    let mut daemon = watched(folder.path(), http, sections);
    until(&mut daemon, &api, "it is still silent", [false, true]);
    assert_eq!(marks(&api).len(), 1);

    // Taken back, it alarms again.
    api.send("DELETE", &format!("/api/v1/normal/{seen}"), None).is(204);
    until(&mut daemon, &api, "both alarm again", [true, true]);

    // An event, marked while farout runs by another process; it takes it when it reads its configuration again.
    let mut event = Value::Null;
    daemon.until("an event of the second thing", || {
        let all = api.get("/api/v1/events").is(200).json();
        let (x, y) = THINGS[1];
        let lies = |one: &&Value| {
            let number = |key: &str| one["box"][key].as_u64().unwrap();
            one["features"] == true
                && x >= number("x")
                && x < number("x") + number("width")
                && y >= number("y")
                && y < number("y") + number("height")
        };
        event = all.as_array().unwrap().iter().find(lies).cloned().unwrap_or_default();
        event.is_object()
    });
    let id = event["id"].as_str().unwrap();
    let why = api.get(&format!("/api/v1/events/{id}/why")).is(200).json();
    assert!(why["what"]["id"] == id && why["what"]["event"] == true, "{why}");
    let config = folder.path().join("car.toml");
    let added = farout(["bank", "add", "-c", text(&config), "--event", id]).succeeded();
    assert!(added.stdout.contains(id) && added.stdout.contains("reload"), "{}", added.stdout);
    assert_eq!(marks(&api).len(), 0);
    daemon.signal(libc::SIGHUP);
    until(&mut daemon, &api, "the other one alarms", [true, false]);
    assert_eq!(api.get(&format!("/api/v1/events/{id}")).json()["normal"], true);

    // What cannot be marked is told, and nothing changes.
    for (body, status, want) in [
        (json!({}), 422, "it takes"),
        (json!({"event": id, "seen": "x"}), 422, "it takes"),
        (json!({"event": "none"}), 404, "/api/v1/events"),
        (json!({"seen": "none"}), 404, "once more"),
        (json!({"stream": "rear", "x": 1, "y": 1}), 404, "there are: front"),
        (json!({"stream": "front", "x": 5, "y": 350}), 404, "no region has lain at 5, 350"),
        (json!({"stream": "front", "x": -1, "y": 350}), 422, "x"),
    ] {
        let told = api.send("POST", "/api/v1/normal", Some(body)).is(status);
        assert!(told.text.contains(want), "{}", told.text);
    }
    // Into the bank, with those of another vehicle: without the supplement it is silent there, too.
    daemon.signal(libc::SIGTERM);
    assert!(!daemon.outcome().succeeded().stderr.contains("panicked"));
    let (fleet, merged) = (folder.path().join("fleet.safetensors"), folder.path().join("merged.bank"));
    let normal = folder.path().join("normal");
    farout(["bank", "merge", text(&normal), "-o", text(&fleet)]).succeeded();
    let told = farout(["bank", "inspect", text(&fleet)]).succeeded().stdout;
    assert!(told.contains("supplement") && told.contains(id), "{told}");
    let bank = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/synthetic.bank");
    farout(["bank", "merge", text(&bank), text(&fleet), "-o", text(&merged)]).succeeded();
    let told = farout(["bank", "inspect", text(&merged)]).succeeded().stdout;
    assert!(told.contains("marked as normal") && told.contains(id), "{told}");
    let config = std::fs::read_to_string(&config).unwrap();
    let config = config.replace(text(&bank), text(&merged)).replace("folder = \"normal\"", "");
    std::fs::write(folder.path().join("merged.toml"), config).unwrap();
    let mut command = program();
    command.args(["run", "-c"]).arg(folder.path().join("merged.toml"));
    let mut daemon = Running::start(command);
    daemon.until("the second thing is silent", || alarming(&api).is_some_and(|(_, now)| !now[1]));
    assert_eq!(api.get("/api/v1/normal").json()["kept"], false);
    daemon.signal(libc::SIGTERM);
    daemon.outcome().succeeded();
    let told = farout(["bank", "merge", text(&merged), text(&fleet), "-o", text(&fleet)]);
    assert!(told.code == Some(2) && told.stderr.contains("overwrite"), "{}", told.stderr);
    let told =
        farout(["bank", "merge", text(&merged), text(&normal), "-o", text(&folder.path().join("twice"))]);
    assert!(told.code == Some(1) && told.stderr.contains("already"), "{}", told.stderr);
    let told = farout(["bank", "merge", text(&normal), "-o", text(&normal.join("all.safetensors"))]);
    assert!(told.code == Some(2) && told.stderr.contains("--output lies in"), "{}", told.stderr);
}

#[test]
fn what_cannot_be_merged_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let bank = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/synthetic.bank");
    let out = folder.path().join("out.bank");
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let refused = |args: &[&str], want: &str| {
        let told = farout([&["bank", "merge", "-o", text(&out)], args].concat());
        assert_ne!(told.code, Some(0));
        let told = told.stderr;
        assert!(told.contains(want), "{args:?}: {told}");
        assert!(!out.exists());
    };
    refused(&[text(&bank), text(&empty)], "holds no supplement");
    refused(&[text(&bank), text(&bank), text(&empty)], "holds no supplement");
    refused(&[text(&empty), "--size", "10"], "--size");
    let told =
        farout(["bank", "add", "--event", "none", "--events", text(&empty), "--supplement", text(&empty)]);
    assert!(told.stderr.contains("there is no event none"), "{}", told.stderr);
    let told = farout(["bank", "add", "--event", "none"]).stderr;
    assert!(told.contains("--events DIR") && told.contains("events.folder"), "{told}");
}

/// Small pictures of the references, and no room for a mark: in a run with a bank that was built here.
#[test]
fn references_have_pictures_and_a_full_supplement_says_so() {
    let (folder, http) = (tempfile::tempdir().unwrap(), free_port());
    let (root, scenes) = (Path::new(env!("CARGO_MANIFEST_DIR")), folder.path().join("scenes"));
    let (model, bank) = (root.join("models/synthetic-vit.onnx"), folder.path().join("own.bank"));
    let drive = "synthetic:seed=2,strangers=off,frames=12,stride=50";
    farout(["replay", "--bypass", drive, "--frames-out", text(&scenes)]).succeeded();
    let from = ["bank", "build", "--device", "cpu", "--size", "600", "--thumbnails", "--model", text(&model)];
    farout([&from[..], &["--images", text(&scenes), "-o", text(&bank)]].concat()).succeeded();
    let daemon = watched(folder.path(), http, "[supplement]\nsize = 1\n");
    daemon.signal(libc::SIGTERM);
    drop(daemon.outcome());
    let config = folder.path().join("car.toml");
    let shipped = root.join("models/synthetic.bank");
    let said = std::fs::read_to_string(&config).unwrap().replace(text(&shipped), text(&bank));
    std::fs::write(&config, said).unwrap();
    let mut command = program();
    command.args(["run", "-c"]).arg(&config);
    let (mut daemon, api) = (Running::start(command), Api::at(http));
    let (x, y) = THINGS[0];
    daemon.until("it alarms", || alarming(&api).is_some_and(|(_, now)| now[0]));
    let why = api.get(&format!("/api/v1/streams/front/why?x={x}&y={y}")).is(200).json();
    let reference = &why["patches"][0]["references"][0];
    let place: Vec<f64> =
        reference["place"].as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect();
    assert!(place[0] < 1.0 && place[1] < 1.0 && place[2] > 0.0 && place[3] > 0.0, "{reference}");
    for (path, size) in [
        (reference["thumbnail"].as_str().unwrap(), Some((320, 180))),
        (why["what"]["picture"].as_str().unwrap(), None),
    ] {
        let url = format!("http://127.0.0.1:{http}{path}");
        let told = std::process::Command::new("curl").args(["-sf", &url]).output().unwrap();
        assert!(told.status.success(), "{path}");
        let (picture, _) = farout::jpeg::decode(&told.stdout, &farout::pool::Pool::new()).unwrap();
        assert!(size.is_none_or(|size| (picture.width, picture.height) == size), "{path}");
    }
    let told = api.send("POST", "/api/v1/normal", Some(json!({"stream": "front", "x": x, "y": y}))).is(409);
    assert!(
        told.text.contains("supplement.size = 1") && told.text.contains("farout bank merge"),
        "{}",
        told.text
    );
    assert!(marks(&api).is_empty());
    let told = api.get("/api/v1/streams/front/why?x=4294967295&y=0").is(404);
    assert!(told.text.contains("no region has lain"), "{}", told.text);
    let told = api.get("/api/v1/streams/front/why?x=-1&y=0").is(400);
    assert!(told.text.contains("?x=COLUMN&y=ROW"), "{}", told.text);
    daemon.signal(libc::SIGTERM);
    assert!(!daemon.outcome().succeeded().stderr.contains("panicked"));
}
