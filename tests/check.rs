//! `farout check`: what a run would do, without doing it.

use std::path::Path;

use crate::support::given::{DRIVE, given};
use crate::support::program::{Outcome, farout};

/// A configuration with these lines beside model, bank and source.
fn check(folder: &Path, lines: &str, more: &[&str]) -> Outcome {
    let given = given();
    let text = format!(
        "[[stream]]\nname = \"front\"\nsource = \"{DRIVE}\"\n[model]\npath = {:?}\n[bank]\npath = {:?}\n{lines}",
        given.model, given.bank
    );
    let path = folder.join("car.toml");
    std::fs::write(&path, text).unwrap();
    farout([&["check", path.to_str().unwrap()], more].concat())
}

/// The findings of a check: topic, name, standing, detail.
fn findings(outcome: &Outcome) -> Vec<[String; 4]> {
    let keys = ["topic", "name", "standing", "detail"];
    let of = |one: &serde_json::Value| keys.map(|key| one[key].as_str().unwrap().to_owned());
    outcome.json().as_array().unwrap().iter().map(of).collect()
}

#[test]
fn what_would_happen_is_told_and_does_not_happen() {
    let folder = tempfile::tempdir().unwrap();
    let lines = "[output]\nrtsp = \"off\"\nhttp = \"http://127.0.0.1:0\"\nrecord = \"drive.mp4\"\nevents = \"logs/events.jsonl\"\n\
                 [events]\nfolder = \"events/of-today\"\n";
    let outcome = check(folder.path(), lines, &["--json"]).succeeded();
    let found = findings(&outcome);
    let detail = |name: &str| {
        let one = found.iter().find(|one| one[1] == name).unwrap_or_else(|| panic!("no {name}: {found:?}"));
        one[3].clone()
    };
    assert!(detail("front").contains(DRIVE), "{found:?}");
    assert!(detail("model").contains("tiny.onnx"));
    assert!(detail("bank").contains("2000 x 16"));
    assert!(detail("threshold of front").contains("knn above"));
    assert!(detail("recording").contains("GiB free"));
    assert!(detail("event log").contains("logs/events.jsonl would be made"));
    assert!(detail("events.folder").contains("would be made"));
    if cfg!(feature = "media") {
        assert!(detail("front").contains("/front.ts"));
        assert!(detail("HTTP").contains("asks for nothing"));
    }
    let left: Vec<_> = folder.path().read_dir().unwrap().map(|one| one.unwrap().file_name()).collect();
    assert_eq!(left, ["car.toml"]);
    // For people, the same on a screen.
    let screen = check(folder.path(), lines, &[]).succeeded().stdout;
    assert!(screen.contains("\ndetector\n  + model"), "{screen}");
}

#[test]
fn what_would_go_wrong_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let given = given();
    let off = "[output]\nrtsp = \"off\"\nhttp = \"off\"\n";
    let other = format!("[model]\npath = {:?}\n", given.other_model);
    let none = folder.path().join("none");
    for (what, lines, code, topic, words) in [
        ("no folder", format!("{off}record = \"none/drive.mp4\"\n"), 1, "files", "none/drive.mp4"),
        (
            "no rate",
            format!("{off}[score]\nfalse_frame_rate = 0.2\nmethod = \"lse\"\n"),
            1,
            "detector",
            "logits",
        ),
        ("a key that is none", "[outputs]\n".to_owned(), 2, "", "outputs"),
        ("a bank for a step", format!("{off}[flow]\nladder = [{{ bank = {none:?} }}]\n"), 2, "", "none"),
    ] {
        let outcome = check(folder.path(), &lines, &["--json"]);
        assert_eq!(outcome.code, Some(code), "{what}: {outcome:?}");
        match topic.is_empty() {
            true => assert!(outcome.stderr.contains(words), "{what}: {outcome:?}"),
            false => {
                let bad: Vec<_> = findings(&outcome).into_iter().filter(|one| one[2] == "bad").collect();
                let named = bad.iter().any(|one| one[0] == topic && one[3].contains(words));
                assert!(named, "{what}: {bad:?}");
            }
        }
    }
    if cfg!(feature = "media") {
        // What only systemd hands over is missed, and the rest is told all the same.
        let lines = "[output]\nrtsp = \"off\"\nhttp = \"http://127.0.0.1:0\"\n[access]\nuser = \"driver\"\n\
                     password_file = \"credential:page\"\n[mqtt]\nbroker = \"mqtts://broker\"\nauthorities = \"none.pem\"\n";
        let found = findings(&check(folder.path(), lines, &["--json"]));
        let of = |name: &str| {
            found.iter().find(|one| one[1] == name).map(|one| (one[2].as_str(), one[3].as_str()))
        };
        assert!(
            of("access").is_some_and(|one| one.0 == "bad" && one.1.contains("LoadCredential")),
            "{found:?}"
        );
        assert!(of("HTTP").is_some_and(|one| one.0 == "good" && one.1.contains("\"driver\"")), "{found:?}");
        let lines = "[output]\nrtsp = \"rtsp://0.0.0.0:0/x\"\nhttp = \"off\"\n[access]\ntoken_file = \"credential:token\"\n";
        let open = findings(&check(folder.path(), lines, &["--json"]));
        let rtsp = open.iter().find(|one| one[1] == "RTSP").unwrap();
        assert!(rtsp[2] == "bad" && rtsp[3].contains("access.password_file"), "{open:?}");
        assert!(
            of("MQTT broker").is_some_and(|one| one.0 == "bad" && one.1.contains("none.pem")),
            "{found:?}"
        );
    }
    // Another model than the bank's.
    let path = folder.path().join("other.toml");
    let text = format!("[[stream]]\nsource = \"{DRIVE}\"\n{other}[bank]\npath = {:?}\n{off}", given.bank);
    std::fs::write(&path, text).unwrap();
    let outcome = farout(["check", path.to_str().unwrap()]);
    assert_eq!(outcome.code, Some(1));
    assert!(
        outcome.stdout.contains("another model") && outcome.stderr.contains("bank would not work"),
        "{outcome:?}"
    );
    let outcome = farout(["check", path.to_str().unwrap(), "--bypass"]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
}

#[test]
fn a_configuration_names_its_detector() {
    let folder = tempfile::tempdir().unwrap();
    let given = given();
    let detector = folder.path().join("road");
    std::fs::create_dir(&detector).unwrap();
    let text = format!("[model]\npath = {:?}\n[bank]\npath = {:?}\n", given.model, given.bank);
    std::fs::write(detector.join("detector.toml"), text).unwrap();
    let path = folder.path().join("car.toml");
    let off = "[output]\nrtsp = \"off\"\nhttp = \"off\"\n";
    let write = |more: &str| {
        let text = format!("detector = \"road\"\n[[stream]]\nsource = \"{DRIVE}\"\n{off}{more}");
        std::fs::write(&path, text).unwrap();
    };
    let file = path.to_str().unwrap();
    write("");
    let told = farout(["check", file]).succeeded().stdout;
    assert!(told.contains("tiny.onnx") && told.contains("2000 x 16"), "{told}");
    farout(["run", "-c", file, "--fast", "--frames", "3"]).succeeded();
    farout(["replay", DRIVE, "-c", file, "--frames", "3"]).succeeded();
    // The flag wins; what else would decide is refused.
    let none = farout(["check", file, "--detector", "nowhere"]);
    assert!(none.code == Some(2) && none.stderr.contains("nowhere"), "{none:?}");
    for flag in ["--model", "--bank"] {
        let both = farout(["replay", DRIVE, "-c", file, flag, "x"]);
        assert!(both.code == Some(2) && both.stderr.contains(flag), "{both:?}");
    }
    write("[model]\npath = \"x\"\n");
    let both = farout(["check", file]);
    assert!(both.code == Some(2) && both.stderr.contains("model.path"), "{both:?}");
    // What does not take it says so.
    let doctor = farout(["doctor", "-c", file]);
    assert!(
        doctor.stderr.contains("does not read these keys") && doctor.stderr.contains("detector"),
        "{doctor:?}"
    );
}

#[cfg(feature = "media")]
#[test]
fn ports_and_secrets_are_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let bad = |lines: &str| {
        let outcome = check(folder.path(), lines, &["--json"]);
        let bad = findings(&outcome).into_iter().filter(|one| one[2] != "good").collect::<Vec<_>>();
        (outcome.code, bad)
    };
    // A farout that runs has its own ports.
    let (code, found) = bad(&format!("[output]\nrtsp = \"off\"\nhttp = \"http://127.0.0.1:{port}\"\n"));
    assert!(
        code == Some(0) && found.iter().any(|one| one[1] == "HTTP" && one[3].contains("in use")),
        "{found:?}"
    );
    for (lines, words) in [
        ("[output]\nhttp = \"off\"\nrtsp = \"rtsp://0.0.0.0/x\"\n", "access.user"),
        ("[access]\ntoken_file = \"none\"\n", "access.token_file"),
        ("[access]\ncertificate = \"car.toml\"\nkey = \"car.toml\"\n", "access."),
        (
            "[mqtt]\nbroker = \"mqtt://10.0.0.5\"\nuser = \"me\"\npassword_file = \"credential:x\"\n",
            "x:/path",
        ),
    ] {
        let (code, found) = bad(lines);
        assert!(code == Some(1) && found.iter().any(|one| one[3].contains(words)), "{lines}: {found:?}");
    }
}

#[test]
fn a_source_of_ones_own_needs_no_password_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let given = given();
    let path = folder.path().join("car.toml");
    let text = format!(
        "[[stream]]\nsource = \"rtsp://me@127.0.0.1:1/x\"\npassword_file = \"/nowhere/secret\"\n[model]\npath = {:?}\n[bank]\n\
         path = {:?}\n[output]\nrtsp = \"off\"\nhttp = \"off\"\n",
        given.model, given.bank
    );
    std::fs::write(&path, text).unwrap();
    let file = path.to_str().unwrap();
    let missed = farout(["check", file]);
    assert!(missed.code == Some(1) && missed.stdout.contains("/nowhere/secret"), "{missed:?}");
    farout(["run", "-c", file, "--source", DRIVE, "--fast", "--frames", "3"]).succeeded();
}

#[test]
#[cfg(feature = "media")]
fn a_camera_that_may_be_waited_for_is_no_fault() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("car.toml");
    for (wait, standing) in [("true", "absent"), ("false", "bad")] {
        let text = format!(
            "[[stream]]\nsource = \"v4l2:///dev/video-none\"\nwait = {wait}\n[output]\nrtsp = \"off\"\nhttp = \"off\"\n"
        );
        std::fs::write(&path, text).unwrap();
        let told = findings(&farout(["check", path.to_str().unwrap(), "--bypass", "--json"]));
        let stream = told.iter().find(|one| one[0] == "streams").unwrap_or_else(|| panic!("{told:?}"));
        assert_eq!(stream[2], standing, "{told:?}");
    }
}
