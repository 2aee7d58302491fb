//! From footage to a detector in a folder, and all that takes the folder.

use std::path::{Path, PathBuf};

use crate::support::drive_set::drive_set;
use crate::support::given::{DRIVE, given, text};
use crate::support::program::{Outcome, Running, farout, program};

pub(crate) fn learn(footage: &Path, output: &Path, extra: &[&str]) -> Outcome {
    let fixed =
        ["learn", text(footage), "-o", text(output), "--device", "cpu", "--model", text(&given().model)];
    farout([&fixed, extra].concat())
}

#[test]
fn footage_becomes_a_folder_that_can_be_moved_and_not_contradicted() {
    let dir = tempfile::tempdir().unwrap();
    let (made, moved) = (dir.path().join("made"), dir.path().join("elsewhere/road"));
    let told = learn(&given().pictures, &made, &["--json"]).succeeded().json();
    assert_eq!(told["pictures"], 30, "{told}");
    assert!(told["warnings"].as_array().is_some_and(|lines| !lines.is_empty()), "{told}");
    let mut names: Vec<_> =
        made.read_dir().unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    assert_eq!(names, ["REPORT.html", "detector.toml", "footage", "model.onnx", "references.bank"]);
    // What a vehicle does not need.
    std::fs::remove_dir_all(made.join("footage")).unwrap();
    let report = std::fs::read_to_string(made.join("REPORT.html")).unwrap();
    for words in ["Thresholds", "Held-out frames", "data:image/jpeg;base64,", "no picture of the night"] {
        assert!(report.contains(words), "the report lacks {words}");
    }
    // The same footage, the same bank.
    let again = dir.path().join("again");
    learn(&given().pictures, &again, &[]).succeeded();
    let bank = |folder: &Path| std::fs::read(folder.join("references.bank")).unwrap();
    assert!(bank(&made) == bank(&again), "two runs differ");
    let why = learn(&given().pictures, &made, &[]);
    assert!(why.code == Some(2) && why.stderr.contains("is a detector already"), "{}", why.stderr);
    // Somewhere else, read-only.
    std::fs::create_dir(dir.path().join("elsewhere")).unwrap();
    std::fs::rename(&made, &moved).unwrap();
    for name in names.iter().filter(|name| *name != "footage") {
        let path = moved.join(name);
        let mut rights = path.metadata().unwrap().permissions();
        rights.set_readonly(true);
        std::fs::set_permissions(path, rights).unwrap();
    }
    let scores = dir.path().join("scores");
    let replay = ["replay", DRIVE, "--frames", "4", "--device", "cpu", "--detector", text(&moved)];
    let told = farout([&replay[..], &["--json", "--scores", text(&scores)]].concat()).succeeded().json();
    assert_eq!(told["frames"], 4, "{told}");
    assert_eq!(scores.read_dir().unwrap().count(), 4);
    let inspected = farout(["bank", "inspect", text(&moved), "--json"]).succeeded().json();
    assert!(inspected["rows"].as_u64().is_some_and(|rows| rows > 1000), "{inspected}");
    // What a vehicle decides wins, what a score depends on does not.
    let config = dir.path().join("car.toml");
    std::fs::write(&config, "[score]\nthreshold = 123.0\n").unwrap();
    let told = farout([&replay[..], &["--json", "-c", text(&config)]].concat()).succeeded().json();
    assert_eq!(told["threshold"], 123.0, "{told}");
    std::fs::write(&config, "[search]\nk = 4\n").unwrap();
    let why = farout([&replay[..], &["-c", text(&config)]].concat());
    assert!(why.code == Some(2) && why.stderr.contains("car.toml sets search.k"), "{}", why.stderr);
    let why = farout([&replay[..], &["--bank", text(&given().bank)]].concat());
    assert!(why.code == Some(2) && why.stderr.contains("cannot be used with"), "{}", why.stderr);
}

#[test]
fn what_was_interrupted_goes_on_and_ends_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let footage = dir.path().join("drive");
    let drive = "synthetic:seed=9,width=320,height=180,strangers=off,frames=120,stride=20";
    farout(["replay", "--bypass", drive, "--frames-out", text(&footage)]).succeeded();
    let recipe = dir.path().join("recipe.toml");
    let keys = "[outliers]\nscraps_every = 8\n[bank.build]\nsize = 3000\noutlier_use = \"difference:0.5\"\ncombine = \"sum\"\n";
    std::fs::write(&recipe, keys).unwrap();
    let (whole, broken) = (dir.path().join("whole"), dir.path().join("broken"));
    let args = |output: &Path| -> Vec<String> {
        [
            "learn",
            text(&footage),
            "-o",
            text(output),
            "--model",
            text(&given().model),
            "--device",
            "cpu",
            "--recipe",
            text(&recipe),
        ]
        .map(str::to_owned)
        .to_vec()
    };
    farout(args(&whole)).succeeded();
    let mut command = program();
    command.args(args(&broken));
    let mut running = Running::start(command);
    running.until_it_listens_to(libc::SIGINT);
    let begun = broken.join(".learning/outliers/labels/000002.png");
    running.until("some outliers are made", || begun.exists());
    running.signal(libc::SIGINT);
    let ended = running.outcome();
    assert!(
        ended.code == Some(1) && ended.stderr.contains("goes on from here"),
        "{:?} {}",
        ended.code,
        ended.stderr
    );
    assert!(!broken.join("detector.toml").exists() && begun.exists());
    // Something else must not go on with it.
    let other = farout([args(&broken), vec!["--pictures".into(), "7".into()]].concat());
    assert!(other.code == Some(1) && other.stderr.contains("something else was begun"), "{}", other.stderr);
    let ended = farout(args(&broken)).succeeded();
    assert!(ended.stderr.contains("going on where the last run ended"), "{}", ended.stderr);
    let bank = |folder: &Path| std::fs::read(folder.join("references.bank")).unwrap();
    assert!(bank(&whole) == bank(&broken), "what was interrupted ended otherwise");
    assert!(!broken.join(".learning").exists());
}

/// A recipe file in `dir` with these keys.
pub(crate) fn recipe(dir: &Path, name: &str, keys: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, keys).unwrap();
    path
}

/// Pictures of a synthetic drive in a folder below `dir`.
pub(crate) fn drive(dir: &Path, name: &str, seed: u32) -> PathBuf {
    let folder = dir.join(name);
    let source = format!("synthetic:seed={seed},width=320,height=180,strangers=off,frames=24,stride=60");
    farout(["replay", "--bypass", &source, "--frames-out", text(&folder)]).succeeded();
    folder
}

#[test]
fn a_model_with_weights_beside_it_becomes_one_file() {
    use farout::model::onnx::{EXTERNAL, ModelProto, StringStringEntryProto};
    use prost::Message as _;
    let dir = tempfile::tempdir().unwrap();
    let day = drive(dir.path(), "day", 9);
    let mut model = ModelProto::decode(&std::fs::read(&given().model).unwrap()[..]).unwrap();
    let mut weights = Vec::new();
    let moved: Result<(), String> = model.each_tensor(&mut |tensor| {
        if tensor.float_data.is_empty() {
            return Ok(());
        }
        let numbers = std::mem::take(&mut tensor.float_data);
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let (offset, length) = (weights.len().to_string(), bytes.len().to_string());
        let entry = |(key, value): (&str, String)| StringStringEntryProto {
            key: Some(key.into()),
            value: Some(value),
        };
        let place = [("location", "weights.bin".to_owned()), ("offset", offset), ("length", length)];
        tensor.external_data = place.map(entry).to_vec();
        tensor.data_location = Some(EXTERNAL);
        weights.extend(bytes);
        Ok(())
    });
    moved.unwrap();
    assert!(!weights.is_empty(), "no weights to move");
    let path = dir.path().join("apart.onnx");
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    std::fs::write(dir.path().join("weights.bin"), weights).unwrap();
    let road = dir.path().join("road");
    let fixed = ["learn", text(&day), "-o", text(&road), "--device", "cpu", "--recipe", "plain"];
    farout([&fixed[..], &["--model", text(&path)]].concat()).succeeded();
    std::fs::remove_file(dir.path().join("weights.bin")).unwrap();
    let replay = ["replay", DRIVE, "--frames", "2", "--device", "cpu", "--detector", text(&road)];
    farout(replay).succeeded();
}

#[test]
fn a_model_is_fetched_through_the_proxy_or_brought_as_a_file() {
    use std::io::{BufRead, BufReader, Write};
    let dir = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").unwrap();
        line
    });
    let cache = dir.path().join("cache");
    let fetch = |proxy: &str, extra: &[&str]| {
        let mut command = program();
        for variable in ["ALL_PROXY", "all_proxy", "https_proxy", "NO_PROXY", "no_proxy"] {
            command.env_remove(variable);
        }
        command.env("HTTPS_PROXY", proxy).args(["model", "fetch", "dinov2-s", "--cache", text(&cache)]);
        Running::start({
            command.args(extra);
            command
        })
        .outcome()
    };
    let refused = fetch(&proxy, &[]);
    assert!(asked.join().unwrap().starts_with("CONNECT "), "the proxy was not asked to connect");
    assert!(refused.code == Some(1) && refused.stderr.contains("--from FILE"), "{}", refused.stderr);
    let brought = fetch(&proxy, &["--from", text(&given().model)]);
    assert!(brought.code == Some(1) && brought.stderr.contains("is neither the wheel"), "{}", brought.stderr);
}

#[test]
fn wrong_requests_are_refused_before_anything_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("out");
    let recipe = dir.path().join("r.toml");
    for (keys, words) in [
        ("[bank.build]\nparts = [\"tokens:10\"]", "tokens:10"),
        ("[bank.build]\noutlier_use = \"ratio\"", "outliers.scraps_every"),
        ("[bank.build]\nsiez = 3", "siez"),
    ] {
        std::fs::write(&recipe, keys).unwrap();
        let why = learn(&given().pictures, &output, &["--recipe", text(&recipe)]);
        assert!(why.code != Some(0) && why.stderr.contains(words), "{keys}: {}", why.stderr);
        assert!(!output.join("detector.toml").exists());
        let _ = std::fs::remove_dir_all(&output);
    }
    // What is another's is left alone, and keys that no detector would hold are not taken.
    std::fs::create_dir_all(&output).unwrap();
    std::fs::write(output.join("model.onnx"), "mine").unwrap();
    let why = learn(&given().pictures, &output, &[]);
    assert!(why.code == Some(2) && why.stderr.contains("would be overwritten"), "{}", why.stderr);
    assert_eq!(std::fs::read(output.join("model.onnx")).unwrap(), b"mine");
    std::fs::remove_dir_all(&output).unwrap();
    let config = dir.path().join("views.toml");
    std::fs::write(&config, "[[views.more]]\ntiles = \"2x1\"\n").unwrap();
    learn(&given().pictures, &output, &["-c", text(&config)]).succeeded();
    std::fs::remove_dir_all(&output).unwrap();
    let pictures = text(&given().pictures);
    let one = farout([
        "learn",
        &format!("{pictures}/000001.png"),
        "-o",
        text(&output),
        "--model",
        text(&given().model),
    ]);
    assert!(one.code == Some(1) && one.stderr.contains("1 picture to learn from"), "{}", one.stderr);
    std::fs::remove_dir_all(&output).unwrap();
    let fetched = farout(["learn", pictures, "-o", text(&output), "--input-height", "280"]);
    assert!(fetched.code == Some(2) && fetched.stderr.contains("model.height"), "{}", fetched.stderr);
    // The same pictures by another name are the same pictures; what an earlier run left is no footage.
    let twice = format!("{pictures}/../{}", given().pictures.file_name().unwrap().to_string_lossy());
    let told = learn(&given().pictures, &output, &["--json", &twice]).succeeded().json();
    assert_eq!(told["pictures"], 30, "{told}");
    let why = learn(&dir.path().join("nothing"), &output.join("other"), &[]);
    assert!(why.code != Some(0) && why.stderr.contains("nothing"), "{}", why.stderr);
    let why = learn(&given().pictures, &output, &["--recipe", "rode"]);
    assert!(why.code == Some(2) && why.stderr.contains("road, road-fine and plain"), "{}", why.stderr);
}

#[cfg(feature = "media")]
#[test]
fn frames_of_a_video_that_differ_are_learnt_from() {
    use crate::support::clips::clip;
    let dir = tempfile::tempdir().unwrap();
    // A ball before a standing ground, and a drive.
    let video = "videotestsrc pattern=ball num-buffers=40 ! video/x-raw,format=I420,width=320,height=180,framerate=25/1 \
                 ! x264enc speed-preset=ultrafast key-int-max=25 bitrate=800 ! h264parse";
    clip(dir.path(), "ball.mp4", video, "mp4mux");
    let drive = "synthetic:seed=9,width=320,height=180,strangers=off,frames=60,stride=30";
    let recorded = dir.path().join("drive.mp4");
    farout(["replay", "--bypass", drive, "--video", text(&recorded)]).succeeded();
    let output = dir.path().join("road");
    let learnt = |output: &Path, most: &str| {
        let extra = ["--json", "--recipe", "plain", "--pictures", most];
        learn(dir.path(), output, &extra).succeeded().json()["pictures"].as_u64().unwrap()
    };
    // Without a cap, only what differs counts.
    let all = learnt(&dir.path().join("all"), "1000");
    assert!((20..80).contains(&all), "{all} of 100 frames differ");
    let pictures = learnt(&output, "20");
    assert!((5..=20).contains(&pictures), "{pictures} pictures of at most 20");
    let bank = farout(["bank", "inspect", text(&output), "--json"]).succeeded().json();
    assert_eq!(
        bank["build"]["frames"].as_u64().unwrap() + bank["held_out_frames"].as_u64().unwrap(),
        pictures,
        "{bank}"
    );
}

/// From nothing but a drive and a model to a detector that finds strangers: what the documentation walks through.
#[test]
fn the_whole_walk_finds_strangers_on_another_drive() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for seed in [21, 22] {
        let drive = format!("synthetic:seed={seed},strangers=off,frames=30,stride=60");
        let footage = at("drives").join(seed.to_string());
        farout(["replay", "--bypass", &drive, "--frames-out", text(&footage)]).succeeded();
    }
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/synthetic-vit.onnx");
    let road = at("road");
    farout(["learn", text(&at("drives")), "-o", text(&road), "--device", "cpu", "--model", model])
        .succeeded();
    let (_, set) = drive_set(dir.path(), 16, 61, false);
    let results = at("out.json");
    let eval = ["eval", "--dataset", &set, "--detector", text(&road), "--device", "cpu", "--methods", "knn"];
    farout([&eval[..], &["--json", text(&results)]].concat()).succeeded();
    let told: serde_json::Value = serde_json::from_slice(&std::fs::read(&results).unwrap()).unwrap();
    let ap = told["methods"][0]["pooled"]["ap"].as_f64().unwrap();
    // Chance is the share of strangers' pixels, a twentieth.
    assert!(ap > 0.4, "AP {ap}");
    let (events, strange) = (at("events.jsonl"), "synthetic:seed=33,frames=60");
    let shown = ["--detector", text(&road), "--device", "cpu", "--events", text(&events)];
    farout([&["replay", strange][..], &shown].concat()).succeeded();
    let lines = std::fs::read_to_string(&events).unwrap();
    assert!(lines.lines().any(|line| line.contains("\"start\"")), "no stranger lasted: {lines:?}");
    let run = ["run", text(&road), "--source", strange, "--rtsp", "off", "--http", "off", "--json"];
    let told = farout([&run[..], &["--device", "cpu"]].concat()).succeeded().json();
    // A live picture that the screen has no time for is dropped.
    assert_eq!((&told["frames_in"], &told["failed"]), (&60.into(), &0.into()), "{told}");
    // Not `verdicts.frames`, those that were shown: on a machine under load the first may come after the last picture.
    let stages = told["verdicts"]["stages"].as_array().unwrap();
    let judged =
        stages.iter().find(|stage| stage["name"] == "publish").and_then(|stage| stage["frames"].as_u64());
    assert!(judged.is_some_and(|judged| judged > 0), "{told}");
}
