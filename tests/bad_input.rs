//! Bad input: each a clear error with its exit code, no panic, no hang, nothing half-written.

#[cfg(feature = "media")]
use std::net::TcpListener;
use std::path::Path;

use crate::support::given::{DRIVE, given, text};
use crate::support::program::{Outcome, Running, farout, program};

/// What is wrong, the arguments, the exit code, and words that the message must have.
struct Case {
    what: &'static str,
    args: Vec<String>,
    code: i32,
    words: Vec<String>,
}

fn case(what: &'static str, args: &[&str], code: i32, words: &[&str]) -> Case {
    let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect();
    Case { what, args: owned(args), code, words: owned(words) }
}

/// Every way in which `outcome` is not as it should be.
fn faults(case: &Case, outcome: &Outcome) -> Vec<String> {
    let mut faults = Vec::new();
    let message = &outcome.stderr;
    if outcome.code != Some(case.code) {
        faults.push(format!("exit code {:?}, not {}", outcome.code, case.code));
    }
    for word in case.words.iter().filter(|word| !message.contains(word.as_str())) {
        faults.push(format!("the message lacks {word:?}"));
    }
    if message.contains("panicked") {
        faults.push("it panicked".into());
    }
    if !faults.is_empty() {
        faults.push(format!("it said: {message}"));
    }
    faults.into_iter().map(|fault| format!("{}: {fault}", case.what)).collect()
}

/// Runs all cases and reports all that fail, not the first.
fn all_refused(cases: &[Case]) {
    let faults: Vec<String> = cases.iter().flat_map(|case| faults(case, &farout(&case.args))).collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// What lies in a folder.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        folder.read_dir().unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn models_banks_and_outputs() {
    let given = given();
    let (model, bank) = (text(&given.model), text(&given.bank));
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("zero.onnx"), "").unwrap();
    std::fs::write(at("text.onnx"), "this is no model, it is a letter\n").unwrap();
    let whole_model = std::fs::read(model).unwrap();
    std::fs::write(at("half.onnx"), &whole_model[..whole_model.len() / 2]).unwrap();
    let whole = std::fs::read(bank).unwrap();
    std::fs::write(at("half.bank"), &whole[..whole.len() / 2]).unwrap();
    std::fs::write(at("text.bank"), "no bank either\n").unwrap();
    std::fs::write(at("library.so"), "no library\n").unwrap();
    std::fs::write(at("library.toml"), "[runtime]\nlibrary = \"library.so\"\n").unwrap();
    std::fs::write(at("gone.toml"), "[runtime]\nlibrary = \"gone.so\"\n").unwrap();
    let before = names(dir.path());
    let below_file = at("zero.onnx/out");
    let run = |extra: &[&str]| -> Vec<String> {
        let mut args = vec!["replay", DRIVE, "--frames", "8"];
        if !extra.contains(&"--model") {
            args.extend(["--model", model]);
        }
        if !extra.contains(&"--bank") {
            args.extend(["--bank", bank]);
        }
        args.iter().chain(extra).map(ToString::to_string).collect()
    };
    let with = |what, extra: &[&str], code, words: &[&str]| Case {
        args: run(extra),
        ..case(what, &[], code, words)
    };
    let mut cases = vec![
        with("missing model", &["--model", &at("none.onnx")], 1, &["none.onnx"]),
        with("zero-byte model", &["--model", &at("zero.onnx")], 1, &["zero.onnx", "empty"]),
        with("text as model", &["--model", &at("text.onnx")], 1, &["text.onnx", "ONNX"]),
        with("half a model", &["--model", &at("half.onnx")], 1, &["half.onnx"]),
        with("unknown tensor", &["--features", "keys.99"], 1, &["keys.99", "tokens"]),
        with("missing bank", &["--bank", &at("none.bank")], 1, &["none.bank", "farout bank build"]),
        with("half a bank", &["--bank", &at("half.bank")], 1, &["half.bank", "farout bank build"]),
        with("text as bank", &["--bank", &at("text.bank")], 1, &["text.bank"]),
        with(
            "bank of another model",
            &["--model", text(&given.other_model)],
            1,
            &["tiny.bank", "other", "rebuild"],
        ),
        with("bad threshold", &["--threshold", "high"], 2, &["high", "auto"]),
        with("scores below a file", &["--scores", &below_file], 1, &["zero.onnx/out"]),
        with("pictures below a file", &["--pictures", &below_file], 1, &["zero.onnx/out"]),
        with("scores in /proc", &["--scores", "/proc/farout"], 1, &["/proc/farout"]),
        with("full disk", &["--events", "/dev/full", "--threshold", "0"], 1, &["/dev/full"]),
        with("scores without detection", &["--bypass", "--scores", &at("scores")], 1, &["--bypass"]),
        with("no library", &["-c", &at("gone.toml")], 1, &["gone.so", "ONNX Runtime"]),
        with("text as library", &["-c", &at("library.toml")], 1, &["library.so", "ONNX Runtime"]),
        with("device insisted on", &["--device", "cuda"], 1, &["cuda"]),
        case("no bank at all", &["replay", DRIVE, "--model", model], 2, &["--bank", "bank.path"]),
        case("no model at all", &["replay", DRIVE, "--bank", bank], 2, &["--model", "model.path"]),
    ];
    if cfg!(feature = "media") {
        cases.push(with("video below a file", &["--video", &below_file], 1, &["zero.onnx/out"]));
    }
    all_refused(&cases);
    let mut after = names(dir.path());
    after.retain(|name| name != "scores");
    assert_eq!(after, before, "something was left behind");
    // What was there before is there still.
    for flag in ["--video", "--events"] {
        std::fs::write(at("old"), "old").unwrap();
        farout(run(&["--bank", &at("text.bank"), flag, &at("old")]));
        assert_eq!(std::fs::read_to_string(at("old")).unwrap(), "old", "{flag}");
    }
}

/// Runs with these two ends of pipes that nobody reads.
fn unread(args: &[&str], stdout: bool, stderr: bool) -> Outcome {
    let gone = || std::process::Stdio::from(std::io::pipe().unwrap().1);
    let mut command = program();
    command.args(args);
    Running::start_with(command, stdout.then(gone), stderr.then(gone)).outcome()
}

#[test]
fn readers_that_have_gone() {
    let given = given();
    let (model, bank) = (text(&given.model), text(&given.bank));
    let replay = ["replay", DRIVE, "--model", model, "--bank", bank];
    let with = |more: &[&'static str]| [replay.as_slice(), more].concat();
    for args in [
        vec!["--help"],
        vec!["bank", "inspect", bank],
        vec!["bank", "inspect", bank, "--json"],
        with(&["--frames", "2"]),
        with(&["--frames", "2", "--json"]),
        // Ends early: all these frames take far longer than a test may.
        with(&["--frames", "10000000", "--threshold", "0", "--events", "-"]),
    ] {
        let outcome = unread(&args, true, false);
        assert_eq!(outcome.code, Some(0), "{args:?}: {outcome:?}");
        for word in ["panicked", "farout: "] {
            assert!(!outcome.stderr.contains(word), "{args:?}: {}", outcome.stderr);
        }
    }
    // A run goes on: its pictures are looked at elsewhere.
    #[cfg(feature = "media")]
    {
        let run = ["run", "--source", DRIVE, "--frames", "60", "--threshold", "0", "--events", "-"];
        let rest = ["--model", model, "--bank", bank, "--rtsp", "off", "--http", "off"];
        let outcome = unread(&[run.as_slice(), &rest].concat(), true, false);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        let whole =
            outcome.stderr.lines().any(|line| line.contains("decode ") && line.ends_with(" 60 frames"));
        assert!(whole, "{}", outcome.stderr);
    }
    // What is said to nobody changes no exit code.
    assert_eq!(unread(&["-vv", "bank", "inspect", "none.bank"], true, true).code, Some(1));
    assert_eq!(unread(&[&["-vv"], with(&["--frames", "2"]).as_slice()].concat(), false, true).code, Some(0));
}

#[test]
fn banks_that_cannot_be_built() {
    let given = given();
    let model = text(&given.model);
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    for folder in ["empty", "texts", "labels"] {
        std::fs::create_dir(at(folder)).unwrap();
    }
    std::fs::write(at("texts/a.jpg"), "no picture\n").unwrap();
    let out = at("out.bank");
    let build = |what, images: &str, extra: &[&str], words: &[&str]| {
        let args = [&["bank", "build", "--model", model, "--images", images, "-o", &out], extra].concat();
        case(what, &args, 1, words)
    };
    let pictures = text(&given.pictures);
    all_refused(&[
        build("no such folder", &at("none"), &[], &["none"]),
        build("an empty folder", &at("empty"), &[], &["empty"]),
        build("text as picture", &at("texts/a.jpg"), &[], &["a.jpg"]),
        build("no labels", pictures, &["--labels", &at("labels")], &["labels", "000000"]),
        build("fewer features than neighbours", pictures, &["--size", "2"], &["2", "3"]),
    ]);
    assert!(!Path::new(&out).exists(), "half a bank was left behind");
    let unwritable =
        ["bank", "build", "--model", model, "--images", pictures, "--size", "100", "-o", "/proc/out.bank"];
    let senseless = |flag, number| {
        let args = ["bank", "build", "--model", model, "--images", pictures, flag, number, "-o", &out];
        case("senseless number", &args, 2, &[flag])
    };
    all_refused(&[
        case("unwritable bank", &unwritable, 1, &["/proc/out.bank"]),
        senseless("--size", "0"),
        senseless("--k", "0"),
        senseless("--every", "0"),
    ]);
}

#[test]
fn sources() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("letter.mp4"), "Dear reader,\nthis is no video.\n".repeat(50)).unwrap();
    std::fs::write(at("zero.mp4"), "").unwrap();
    let replay =
        |what, source: &str, code, words: &[&str]| case(what, &["replay", source, "--bypass"], code, words);
    let mut cases = vec![
        replay("unknown synthetic key", "synthetic:speed=3", 1, &["speed", "seed"]),
        replay("bad synthetic value", "synthetic:width=ten", 1, &["width"]),
        case("no source", &["replay", "--bypass"], 2, &["source", "--help"]),
        case(
            "truth of pictures",
            &["replay", text(&given().pictures), "--bypass", "--truth", &at("t")],
            1,
            &["truth"],
        ),
    ];
    if cfg!(feature = "media") {
        cases.extend([
            replay("missing video", &at("none.mp4"), 1, &["none.mp4", "no such file"]),
            replay("text as video", &at("letter.mp4"), 1, &["letter.mp4"]),
            replay("zero-byte video", &at("zero.mp4"), 1, &["zero.mp4", "empty"]),
            case(
                "unplugged camera",
                &["run", "--bypass", "--source", "v4l2:///dev/video9"],
                1,
                &["/dev/video9"],
            ),
        ]);
    }
    all_refused(&cases);
}

#[test]
fn configurations() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let typo = file("typo.toml", "[[stream]]\nsource = \"synthetic:\"\n\n[search]\nneighbors = 3\n");
    let wrong = file("wrong.toml", "[score]\nmin_region_px = \"large\"\n");
    let two = file("two.toml", "[[stream]]\nsource = \"a.mp4\"\n[[stream]]\nsource = \"b.mp4\"\n");
    let broken = file("broken.toml", "[score\n");
    let range = file("range.toml", "[overlay]\nopacity = 7.0\n");
    let none = dir.path().join("none.toml").to_str().unwrap().to_owned();
    let with = |what, config: &str, words: &[&str]| case(what, &["run", "--bypass", "-c", config], 2, words);
    all_refused(&[
        with("unknown key", &typo, &["typo.toml", "line 5", "neighbors", "expected"]),
        with("wrong type", &wrong, &["wrong.toml", "line 2", "min_region_px"]),
        with("two streams", &two, &["stream 1 of 2 has no name", "each needs one"]),
        with("no TOML", &broken, &["broken.toml", "line 1"]),
        with("out of range", &range, &["overlay.opacity"]),
        with("missing", &none, &["none.toml"]),
    ]);
}

/// A recording must not be lost because it is also named as output.
#[test]
#[cfg(feature = "media")]
fn outputs_that_are_the_input() {
    let dir = tempfile::tempdir().unwrap();
    let clip = dir.path().join("clip.mp4");
    let clip_text = text(&clip);
    let made = farout(["replay", "--bypass", "synthetic:width=64,height=64,frames=5", "--video", clip_text]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let before = std::fs::read(&clip).unwrap();
    let silent = ["--rtsp", "off", "--http", "off"];
    all_refused(&[
        case(
            "video",
            &["replay", "--bypass", clip_text, "--video", clip_text],
            2,
            &["the source and --video"],
        ),
        case(
            "record",
            &[&["run", "--bypass", "--source", clip_text, "--record", clip_text], &silent[..]].concat(),
            2,
            &["the source and --record"],
        ),
    ]);
    assert_eq!(std::fs::read(&clip).unwrap(), before);
}

#[test]
#[cfg(feature = "media")]
fn a_port_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for (flag, other, scheme) in [("--rtsp", "--http", "rtsp"), ("--http", "--rtsp", "http")] {
        let url = format!("{scheme}://{address}/farout");
        let mut command = program();
        command.args([
            "run",
            "--bypass",
            "--source",
            "synthetic:",
            flag,
            &url,
            other,
            "off",
            "--seconds",
            "2",
        ]);
        let outcome = Running::start(command).outcome();
        let port = address.port().to_string();
        let expected = case("port in use", &[], 1, &["cannot listen", &port, "output."]);
        let faults = faults(&expected, &outcome);
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
}
