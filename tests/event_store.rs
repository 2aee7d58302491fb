//! Events that can be looked at: pictures, clips, and what goes when room is short.
#![cfg(feature = "media")]

use std::path::Path;
use std::process::Command;

use crate::support::api::Api;
use crate::support::driven::{CONFIG, again, driven};
use crate::support::players::free_port;
use crate::support::program::Running;
use crate::support::stamps::Units;
use serde_json::{Value, json};

/// A drive on which much alarms.
const EVENTS: &str = "
    [score]
    threshold = 4.5
    event_frames = 2
    event_gap_frames = 3
    [events]
    folder = \"kept\"
    before_secs = 2
    after_secs = 1
";

/// The events that there are, newest first, once they are such.
fn until(daemon: &mut Running, api: &Api, what: &str, is: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let mut found = Vec::new();
    daemon.until(what, || {
        let answer = api.try_get("/api/v1/events?limit=200").filter(|answer| answer.status == 200);
        found = answer.map_or_else(Vec::new, |answer| answer.json().as_array().unwrap().clone());
        is(&found)
    });
    found
}

fn decoded(jpeg: &Path) -> image::RgbImage {
    let png = jpeg.with_extension("png");
    let told = Command::new("ffmpeg").args(["-v", "error", "-y", "-i"]).arg(jpeg).arg(&png).output().unwrap();
    assert!(told.status.success(), "{told:?}");
    image::open(png).unwrap().into_rgb8()
}

fn seconds(utc: &Value) -> f64 {
    utc.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_microsecond() as f64 / 1e6
}

#[test]
fn an_event_can_be_looked_at() {
    let (folder, http) = (tempfile::tempdir().unwrap(), free_port());
    let (mut daemon, api) = (driven(folder.path(), http, EVENTS), Api::at(http));
    // One that began when the video had gone on for a while.
    let whole = |one: &Value| one["clip"].is_object() && one["time_secs"].as_f64() > Some(5.0);
    let events = until(&mut daemon, &api, "an event with a clip", |events| events.iter().any(whole));
    let event = events.iter().find(|one| whole(one)).unwrap();
    let id = event["id"].as_str().unwrap();
    assert_eq!(
        (&event["stream"], &event["open"], &event["snapshot"]),
        (&json!("front"), &json!(false), &json!(true))
    );

    // Pictures: the frame, and the same with marks.
    let kept = folder.path().join("kept").join(id);
    let [plain, marked] = ["snapshot.jpg", "marked.jpg"].map(|name| decoded(&kept.join(name)));
    assert_eq!((plain.dimensions(), marked.dimensions()), ((640, 360), (640, 360)));
    let cyan = |p: &image::Rgb<u8>| p.0[0] < 90 && p.0[1] > 170 && p.0[2] > 190;
    let count = |picture: &image::RgbImage| picture.pixels().filter(|pixel| cyan(pixel)).count();
    assert!(count(&marked) > count(&plain) + 100, "{} {}", count(&marked), count(&plain));

    // The clip: it begins before the event and ends after it, and its times are the event's.
    let pictures = Units::mp4(&kept.join("clip.mp4"));
    let number = |key: &str| event[key].as_f64().unwrap();
    let (start, secs) =
        (event["clip"]["start_secs"].as_f64().unwrap(), event["clip"]["secs"].as_f64().unwrap());
    // A clip that it shares may have begun earlier.
    assert!(number("time_secs") - start >= 2.0, "{event}");
    assert!(start + secs >= number("end_time_secs") + 0.9, "{event}");
    let at = number("time_secs") - start;
    let first = pictures[0].pts.unwrap();
    let off = |pts: i64| ((pts - first) as f64 / 1e6 - at).abs();
    let nearest = pictures.iter().min_by(|a, b| off(a.pts.unwrap()).total_cmp(&off(b.pts.unwrap()))).unwrap();
    let captured = nearest.message.unwrap() as f64 / 1e6;
    assert!((captured - seconds(&event["utc"])).abs() < 0.05, "{captured} {event}");
    let told = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(kept.join("clip.mp4"))
        .args(["-f", "null", "-"])
        .output()
        .unwrap();
    assert!(told.status.success() && told.stderr.is_empty(), "{}", String::from_utf8_lossy(&told.stderr));

    // Over the network: the file, and a part of it.
    let clip = format!("/api/v1/events/{id}/clip.mp4");
    let length = std::fs::metadata(kept.join("clip.mp4")).unwrap().len();
    let part = Command::new("curl")
        .args(["-s", "-o", "/dev/null", "-w", "%{http_code} %{size_download}", "-r", "100-199"])
        .arg(format!("http://127.0.0.1:{http}{clip}"))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&part.stdout), "206 100");
    assert!(length > 20_000);
    for (path, want) in [
        (format!("/api/v1/events/{id}/other.mp4"), "has no other.mp4"),
        (format!("/api/v1/events/{id}/event.json"), "has no event.json"),
        (format!("/api/v1/events/{id}/..%2F..%2Fcar.toml"), "has no"),
        ("/api/v1/events/..%2F..%2Fcar.toml/clip.mp4".to_owned(), "no event"),
        ("/api/v1/events/nothing".to_owned(), "no event nothing"),
    ] {
        let why = api.get(&path).is(404).json();
        assert!(why["detail"].as_str().unwrap().contains(want), "{path}: {why}");
    }

    // Events that begin within a clip share it.
    let shared = |events: &[Value]| -> Option<[String; 2]> {
        let with_clip = || events.iter().filter(|one| one["clip"].is_object());
        let pair = with_clip().find_map(|one| {
            let other = with_clip().find(|other| other["id"] != one["id"] && other["clip"] == one["clip"])?;
            Some([one, other])
        })?;
        Some(pair.map(|one| one["id"].as_str().unwrap().to_owned()))
    };
    let events = until(&mut daemon, &api, "two events with one clip", |events| shared(events).is_some());
    let inode = |id: &String| {
        std::os::unix::fs::MetadataExt::ino(
            &std::fs::metadata(folder.path().join("kept").join(id).join("clip.mp4")).unwrap(),
        )
    };
    let [one, other] = shared(&events).unwrap();
    assert_eq!(inode(&one), inode(&other));

    // Pages of the list.
    let events = until(&mut daemon, &api, "three events", |events| events.len() >= 3);
    let second = events[1]["id"].as_str().unwrap();
    let page = api.get(&format!("/api/v1/events?limit=1&before={second}")).is(200).json();
    assert_eq!(page[0]["id"], events[2]["id"]);

    // Kept, forgotten, and known to the next run.
    let path = format!("/api/v1/events/{id}");
    assert_eq!(api.send("PATCH", &path, Some(json!({"protected": true}))).is(200).json()["protected"], true);
    api.send("PATCH", &path, Some(json!({"open": true}))).is(422);
    let gone =
        events.iter().find(|one| one["id"] != id && one["open"] == false).unwrap()["id"].as_str().unwrap();
    api.send("DELETE", &format!("/api/v1/events/{gone}"), None).is(204);
    api.send("DELETE", &format!("/api/v1/events/{gone}"), None).is(404);
    assert!(!folder.path().join("kept").join(gone).exists());
    // Cut off in the middle, with a clip on its way.
    let part = || {
        let all = std::fs::read_dir(folder.path().join("kept")).unwrap();
        all.map(|one| one.unwrap().path().join("clip.mp4.part")).find(|part| part.exists())
    };
    let mut last = None;
    daemon.until("a clip on its way", || {
        last = part().filter(|part| std::fs::metadata(part).is_ok_and(|file| file.len() > 10_000));
        last.is_some()
    });
    daemon.signal(libc::SIGKILL);
    drop(daemon.outcome());
    let (mut daemon, api) = (driven(folder.path(), http, EVENTS), Api::at(http));
    let events =
        until(&mut daemon, &api, "the events of before", |events| events.iter().any(|one| one["id"] == id));
    assert_eq!(events.iter().find(|one| one["id"] == id).unwrap()["protected"], true);
    let whole = last.unwrap().with_file_name("clip.mp4");
    let told = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "stream=width", "-of", "csv=p=0"])
        .arg(&whole)
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&told.stdout).contains("640"), "{told:?}");
    daemon.signal(libc::SIGTERM);
    let log = daemon.outcome().succeeded().stderr;
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn without_a_folder_the_last_events_are_remembered() {
    let (folder, http) = (tempfile::tempdir().unwrap(), free_port());
    let (mut daemon, api) = (driven(folder.path(), http, EVENTS), Api::at(http));
    until(&mut daemon, &api, "an event", |events| !events.is_empty());
    daemon.signal(libc::SIGTERM);
    daemon.outcome().succeeded();
    let config = folder.path().join(CONFIG);
    let text = std::fs::read_to_string(&config).unwrap().replace("folder = \"kept\"", "");
    std::fs::write(&config, text).unwrap();
    let mut daemon = again(folder.path());
    let events = until(&mut daemon, &api, "an event", |events| events.iter().any(|one| one["open"] == false));
    assert!(events.iter().all(|one| one["snapshot"] == false && one["clip"].is_null()), "{events:?}");
    let id = events[0]["id"].as_str().unwrap();
    let why = api.get(&format!("/api/v1/events/{id}/clip.mp4")).is(404).json();
    assert!(why["detail"].as_str().unwrap().contains("events.folder"), "{why}");
    let state = api.get("/api/v1/state").is(200).json();
    assert!(state["events"]["begun"].as_u64() > Some(0), "{state}");
    daemon.signal(libc::SIGTERM);
    daemon.outcome().succeeded();
}
