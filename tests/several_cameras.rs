//! Several cameras in one daemon: one model for all, and what happens to one does not touch the others.
#![cfg(feature = "media")]

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use crate::support::players::{HEIGHT, Viewer, WIDTH, camera, free_port, is_grey};
use crate::support::program::{Running, farout, program};

/// A configuration of three streams: a camera that can die, a drive of another size and rate, and one that never comes.
fn configuration(folder: &Path, (camera, rtsp, http): (u16, u16, u16), absent: u16) -> std::path::PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = format!(
        r#"
        [[stream]]
        name = "front"
        source = "rtsp://127.0.0.1:{camera}/farout"

        [[stream]]
        name = "rear"
        source = "synthetic:seed=951,width={WIDTH},height={HEIGHT},fps=10"
        [stream.score]
        # So low that everything alarms.
        threshold = 0.001
        event_frames = 1
        [stream.output]
        record = "behind.mp4"

        [[stream]]
        name = "never"
        source = "rtsp://127.0.0.1:{absent}/farout"
        wait = true

        [model]
        path = "{model}"
        [bank]
        path = "{bank}"
        [score]
        # So high that nothing does.
        threshold = 1000.0
        [overlay]
        # However slow the machine.
        max_age_secs = 60.0
        [output]
        rtsp = "rtsp://127.0.0.1:{rtsp}/unused"
        http = "http://127.0.0.1:{http}/unused.ts"
        record = "drive.mp4"
        events = "events.jsonl"
        "#,
        model = root.join("models/synthetic-vit.onnx").display(),
        bank = root.join("models/synthetic.bank").display(),
    );
    let path = folder.join("cars.toml");
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn each_camera_has_its_own_picture_and_none_suffers_from_another() {
    let folder = tempfile::tempdir().unwrap();
    let (camera_port, rtsp, http, absent) = (free_port(), free_port(), free_port(), free_port());
    let config = configuration(folder.path(), (camera_port, rtsp, http), absent);
    let first = camera(camera_port);
    let mut command = program();
    command.args(["run", "--json", "-c"]).arg(&config);
    let mut daemon = Running::start(command);
    daemon.until("the servers", || TcpStream::connect(("127.0.0.1", http)).is_ok());
    let at = |name: &str| format!("rtsp://127.0.0.1:{rtsp}/{name}");
    let mut front = Viewer::start(&at("front"));
    let mut rear = Viewer::start(&format!("http://127.0.0.1:{http}/rear.ts"));
    let mut never = Viewer::start(&at("never"));
    front.until("pictures of the camera", 10, |picture| !is_grey(picture));
    never.until("that there is no signal", 3, is_grey);
    let events = folder.path().join("events.jsonl");
    daemon.until("an event", || std::fs::read_to_string(&events).is_ok_and(|text| text.contains("start")));
    first.signal(libc::SIGKILL);
    drop(first.outcome());
    front.until("pictures that say that there is no signal", 3, is_grey);
    rear.until("pictures of the other camera meanwhile", 10, |picture| !is_grey(picture));
    let second = camera(camera_port);
    front.until("the camera's pictures again", 10, |picture| !is_grey(picture));
    drop((front, rear, never));
    daemon.signal(libc::SIGTERM);
    let ended = daemon.outcome().succeeded();
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    second.signal(libc::SIGTERM);
    drop(second.outcome());

    let told: serde_json::Value = serde_json::from_str(ended.stdout.lines().last().unwrap()).unwrap();
    let streams = told["streams"].as_array().unwrap();
    let names: Vec<_> = streams.iter().map(|stream| stream["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["front", "rear", "never"]);
    let verdicts = |at: usize| streams[at]["verdicts"]["frames"].as_u64().unwrap();
    assert!(verdicts(0) > 0 && verdicts(1) > 0 && verdicts(2) == 0, "{told}");
    let sum: u64 = streams.iter().map(|stream| stream["frames"].as_u64().unwrap()).sum();
    assert_eq!(told["frames"].as_u64().unwrap(), sum);
    assert_eq!(told["verdicts"]["frames"].as_u64().unwrap(), verdicts(0) + verdicts(1));
    // Only one of them alarms.
    for line in std::fs::read_to_string(&events).unwrap().lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["stream"], "rear");
    }
    for name in ["drive-front.mp4", "behind.mp4", "drive-never.mp4"] {
        let path = folder.path().join(name);
        let told = Command::new("ffprobe").args(["-v", "error"]).arg(&path).output().unwrap();
        assert!(told.status.success(), "{name}: {}", String::from_utf8_lossy(&told.stderr));
    }
}

#[test]
fn one_of_several_is_chosen_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("two.toml");
    let text = "[[stream]]\nname = \"front\"\nsource = \"synthetic:\"\n[[stream]]\nname = \"rear\"\n\
                source = \"synthetic:width=320,height=180\"\n[output]\nhttp = \"off\"\nrtsp = \"off\"\n";
    std::fs::write(&config, text).unwrap();
    let config = config.to_str().unwrap();
    let run = |more: &[&str]| {
        let all = ["run", "--bypass", "--json", "--frames", "5", "-c", config];
        farout(all.into_iter().chain(more.iter().copied())).succeeded().stdout
    };
    let told = |out: &str| serde_json::from_str::<serde_json::Value>(out.lines().last().unwrap()).unwrap();
    // A machine under load drops pictures.
    let frames = |told: &serde_json::Value| Some(told["frames"].as_u64()? + told["dropped"].as_u64()?);
    let both = told(&run(&[]));
    assert_eq!((frames(&both), both["streams"].as_array().map(Vec::len)), (Some(10), Some(2)), "{both}");
    let one = told(&run(&["--stream", "rear"]));
    assert_eq!((frames(&one), one.get("streams")), (Some(5), None), "{one}");
    let video = folder.path().join("rear.mp4");
    let replayed = ["replay", "--bypass", "--frames", "5", "-c", config, "--stream", "rear", "--video"];
    farout(replayed.into_iter().chain([video.to_str().unwrap()])).succeeded();
    let size = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "stream=width,height", "-of", "csv=p=0"])
        .arg(&video)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&size.stdout).trim(), "320,180");
}
