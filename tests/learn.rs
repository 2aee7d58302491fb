//! From footage to a detector in a folder, and all that takes the folder.

use std::path::Path;

use crate::support::given::{DRIVE, given, text};
use crate::support::program::{Outcome, Running, farout, program};

fn learn(footage: &Path, output: &Path, extra: &[&str]) -> Outcome {
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
    assert_eq!(names, ["REPORT.html", "detector.toml", "model.onnx", "references.bank"]);
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
    for name in names {
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
    let keys = "[outliers]\nscraps_every = 1\n[bank.build]\nsize = 3000\noutlier_use = \"difference:0.5\"\ncombine = \"sum\"\n";
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
    assert!(why.code == Some(2) && why.stderr.contains("road and plain"), "{}", why.stderr);
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
    let told =
        learn(dir.path(), &output, &["--json", "--recipe", "plain", "--pictures", "20"]).succeeded().json();
    let pictures = told["pictures"].as_u64().unwrap();
    assert!((5..=20).contains(&pictures), "{pictures} pictures of 100 frames: {told}");
    let bank = farout(["bank", "inspect", text(&output), "--json"]).succeeded().json();
    assert_eq!(
        bank["build"]["frames"].as_u64().unwrap() + bank["held_out_frames"].as_u64().unwrap(),
        pictures,
        "{bank}"
    );
}
