//! Topics for the tools of robotics: the MCAP file, and what the app is sent.
#![cfg(feature = "foxglove")]

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::path::Path;

use ::foxglove::messages::{CompressedVideo, ImageAnnotations, Log, RawImage};
use mcap::read::Options;
use mcap::{MessageStream, Summary};
use prost::Message as _;
use serde_json::{Value, json};
use tungstenite::Message;
use tungstenite::client::IntoClientRequest;

use crate::support::api::Api;
use crate::support::driven::{again, driven};
use crate::support::players::free_port;
use crate::support::program::Running;

/// Much alarms.
const ALARMS: &str = "[score]\nthreshold = 3.5\nevent_frames = 1\n";

fn started(folder: &Path, sections: &str) -> (Running, Api) {
    let http = free_port();
    let mut daemon = driven(folder, http, &format!("{ALARMS}{sections}"));
    let api = Api::at(http);
    judged(&mut daemon, &api);
    (daemon, api)
}

/// Waits for verdicts and an event.
fn judged(daemon: &mut Running, api: &Api) {
    daemon.until("verdicts and an event", || {
        let told = api.try_get("/api/v1/events").filter(|answer| answer.status == 200);
        told.is_some_and(|told| told.json().as_array().is_some_and(|list| list.len() > 1))
    });
}

/// Messages by topic.
fn read(bytes: &[u8]) -> BTreeMap<String, Vec<mcap::Message<'_>>> {
    let mut found = BTreeMap::<String, Vec<_>>::new();
    // What was cut off ends with an error.
    let stream = MessageStream::new_with_options(bytes, Options::IgnoreEndMagic.into()).unwrap();
    for message in stream.map_while(Result::ok) {
        found.entry(message.channel.topic.clone()).or_default().push(message);
    }
    found
}

#[test]
fn an_mcap_file_holds_pictures_regions_scores_and_events() {
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("kept/drive.mcap");
    let before = std::time::SystemTime::now();
    let (mut daemon, api) =
        started(folder.path(), "[foxglove]\nrecord = \"kept/drive.mcap\"\nscores_width = 64\n");
    daemon.until("two seconds", || api.stream()["pictures"]["count"].as_u64() > Some(24));
    let part = folder.path().join("kept/drive.mcap.part");
    assert!(part.exists() && !record.exists());
    daemon.signal(libc::SIGTERM);
    daemon.outcome().succeeded();
    assert!(record.exists() && !part.exists());

    let bytes = std::fs::read(&record).unwrap();
    let summary = Summary::read(&bytes).unwrap().unwrap();
    let schemas: BTreeMap<_, _> = summary
        .channels
        .values()
        .map(|channel| (channel.topic.clone(), channel.schema.as_ref().unwrap().name.clone()))
        .collect();
    let want = [
        ("/farout/front/events", "foxglove.Log"),
        ("/farout/front/regions", "foxglove.ImageAnnotations"),
        ("/farout/front/scores", "foxglove.RawImage"),
        ("/farout/front/video", "foxglove.CompressedVideo"),
    ];
    assert_eq!(schemas, want.map(|(topic, name)| (topic.to_owned(), name.to_owned())).into());

    let topics = read(&bytes);
    let of = |topic: &str| &topics[&format!("/farout/front/{topic}")];
    // Pictures: decodable from the first on, in the order of their capture, in this run.
    let video: Vec<_> = of("video").iter().map(|one| CompressedVideo::decode(&*one.data).unwrap()).collect();
    assert!(video.len() > 10, "{}", video.len());
    assert!(video.iter().all(|one| one.format == "h264" && one.frame_id == "front"));
    let kinds: Vec<u8> =
        video[0].data.windows(4).filter(|four| four[..3] == [0, 0, 1]).map(|four| four[3] & 31).collect();
    assert!([7, 8, 5].iter().all(|kind| kinds.contains(kind)), "{kinds:?}");
    let times: Vec<u64> = of("video").iter().map(|one| one.log_time).collect();
    assert!(times.is_sorted());
    let begun = before.duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    assert!(times[0] + 60_000_000_000 > begun, "{} {begun}", times[0]);
    // Regions lie in the picture, and have their score beside them.
    let regions: Vec<_> =
        of("regions").iter().map(|one| ImageAnnotations::decode(&*one.data).unwrap()).collect();
    let corners: Vec<_> = regions.iter().flat_map(|one| &one.points).flat_map(|one| &one.points).collect();
    assert!(corners.len() >= 4 && corners.len().is_multiple_of(4));
    assert!(corners.iter().all(|one| (0.0..=640.0).contains(&one.x) && (0.0..=360.0).contains(&one.y)));
    assert!(regions.iter().all(|one| one.points.len() == one.texts.len()));
    // A score map for each verdict, whose highest score is that of its regions.
    let maps: Vec<_> = of("scores").iter().map(|one| RawImage::decode(&*one.data).unwrap()).collect();
    assert_eq!(maps.len(), regions.len());
    for (map, found) in maps.iter().zip(&regions) {
        assert_eq!((map.width, map.height, map.encoding.as_str(), map.step), (64, 36, "32FC1", 256));
        assert_eq!(map.data.len(), 64 * 36 * 4);
        let highest = map.data.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap()));
        let highest = highest.fold(f32::NEG_INFINITY, f32::max);
        let told =
            found.texts.iter().map(|one| one.text.parse::<f32>().unwrap()).fold(f32::NEG_INFINITY, f32::max);
        // What is too small for a region may be higher.
        assert!(highest >= told - 0.01, "{highest} {told}");
    }
    // Events, as the event log has them.
    let events: Vec<Value> = of("events")
        .iter()
        .map(|one| serde_json::from_str(&Log::decode(&*one.data).unwrap().message).unwrap())
        .collect();
    assert!(events.iter().any(|one| one["kind"] == "start" && one["stream"] == "front"), "{events:?}");

    // What is there is not written over; what was cut off can be read as far as it goes.
    let mut daemon = again(folder.path());
    let second = folder.path().join("kept/drive-2.mcap.part");
    daemon.until("a second file with pictures", || {
        std::fs::read(&second)
            .is_ok_and(|bytes| read(&bytes).get("/farout/front/video").is_some_and(|all| all.len() > 3))
    });
    drop(daemon);
    let mut daemon = again(folder.path());
    let third = folder.path().join("kept/drive-3.mcap.part");
    daemon.until("a third file", || third.exists());
    assert!(second.exists());
    daemon.signal(libc::SIGTERM);
    daemon.outcome().succeeded();
    assert!(folder.path().join("kept/drive-3.mcap").exists());
}

#[test]
fn files_begin_anew_when_they_are_large_and_wait_where_the_disk_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let keys = "[foxglove]\nrecord = \"drive.mcap\"\nfile_mib = 1\nscores_width = 640\n";
    let (mut daemon, _) = started(folder.path(), keys);
    let third = folder.path().join("drive-3.mcap.part");
    daemon.until("a third file", || third.exists());
    daemon.signal(libc::SIGTERM);
    daemon.outcome().succeeded();
    for name in ["drive.mcap", "drive-2.mcap", "drive-3.mcap"] {
        let bytes = std::fs::read(folder.path().join(name)).unwrap();
        assert!(Summary::read(&bytes).unwrap().is_some(), "{name}");
        assert!(name == "drive-3.mcap" || bytes.len() > 1 << 20, "{name}: {}", bytes.len());
    }
    let keys = "[foxglove]\nrecord = \"full.mcap\"\nfree_mib = 4294967295\n";
    let (mut daemon, api) = started(folder.path(), keys);
    daemon.until("that it is told", || {
        let told = api.get("/api/v1/state").is(200).json()["detection"]["problems"]["foxglove"].clone();
        told.as_str().is_some_and(|why| why.contains("foxglove.free_mib") && why.contains("full.mcap"))
    });
    assert!(!folder.path().join("full.mcap.part").exists());
    daemon.signal(libc::SIGTERM);
    daemon.outcome().succeeded();
}

#[test]
fn the_app_is_sent_what_it_subscribes_to() {
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let (daemon, api) = started(folder.path(), &format!("[foxglove]\nlisten = \"127.0.0.1:{port}\"\n"));
    let mut request = format!("ws://127.0.0.1:{port}").into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", "foxglove.sdk.v1".parse().unwrap());
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    let (mut app, answer) = tungstenite::client(request, stream).unwrap();
    assert_eq!(answer.headers()["Sec-WebSocket-Protocol"], "foxglove.sdk.v1");
    let mut channels = BTreeMap::new();
    while channels.len() < 4 {
        let Message::Text(text) = app.read().unwrap() else { continue };
        let told: Value = serde_json::from_str(&text).unwrap();
        for channel in told["channels"].as_array().into_iter().flatten() {
            channels.insert(channel["topic"].as_str().unwrap().to_owned(), channel["id"].as_u64().unwrap());
        }
    }
    let video = channels["/farout/front/video"];
    let wanted = json!({"op": "subscribe", "subscriptions": [{"id": 7, "channelId": video}]});
    app.send(Message::text(wanted.to_string())).unwrap();
    let mut seen = 0;
    while seen < 12 {
        let Message::Binary(data) = app.read().unwrap() else { continue };
        // 1: a message; the subscription; the time; what it says.
        assert_eq!((data[0], &data[1..5]), (1, &7_u32.to_le_bytes()[..]));
        assert_eq!(CompressedVideo::decode(&data[13..]).unwrap().format, "h264");
        seen += 1;
    }
    // An app that stops to read holds nothing up.
    let shown = || api.stream()["pictures"]["count"].as_u64().unwrap();
    let before = shown();
    let begun = std::time::Instant::now();
    while shown() < before + 24 {
        assert!(begun.elapsed() < std::time::Duration::from_secs(30));
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    daemon.signal(libc::SIGTERM);
    daemon.outcome().succeeded();
}

#[test]
fn a_taken_port_and_an_unwritable_file_are_told() {
    let (folder, taken) = (tempfile::tempdir().unwrap(), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let at = taken.local_addr().unwrap();
    for (keys, want) in [
        (format!("listen = \"{at}\""), format!("foxglove.listen: cannot listen at {at}")),
        (
            "record = \"/proc/none/drive.mcap\"".into(),
            "foxglove.record: cannot write /proc/none/drive.mcap.part".into(),
        ),
        ("listen = \"0.0.0.0:0\"".into(), "access.anyone".into()),
    ] {
        let daemon = driven(folder.path(), free_port(), &format!("[foxglove]\n{keys}\n"));
        let ended = daemon.outcome();
        assert!(ended.stderr.contains(&want), "{keys}: {}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    }
}
