//! One clock: the capture time of a picture is the same in events, in recordings and in the RTSP stream.
#![cfg(feature = "media")]
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use crate::support::program::{Running, farout, program};
use crate::support::rtsp_camera::RtspCamera;
use crate::support::screens::*;
use crate::support::skipped::skipped;
use crate::support::stamps::{Stamp, Units};
use farout::clock::Clock;
use farout::sink::OutputConfig;
use farout::source::{Purpose, SourceConfig, open};
use farout::stop::Stop;
use jiff::SignedDuration;

/// A frame of 25 per second, in microseconds.
const FRAME: i64 = 40_000;

/// Whether GStreamer's client tells the times that it reads (from 1.22 on).
fn client_tells_times() -> bool {
    gstreamer::init().unwrap();
    let source = gstreamer::ElementFactory::make("rtspsrc").build().unwrap();
    use gstreamer::prelude::*;
    source.find_property("add-reference-timestamp-meta").is_some()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        // A sender report every few seconds, and other tests beside.
        assert!(start.elapsed() < Duration::from_secs(120), "no {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn rtsp_clients_read_when_a_picture_was_captured() {
    if !client_tells_times() {
        return skipped("the times in the RTSP stream", "it needs GStreamer 1.22");
    }
    let dir = tempfile::tempdir().unwrap();
    let record = dir.path().join("drive.mp4");
    // Captured a second and a half before they come.
    let config = OutputConfig { record: Some(record.clone()), ..served() };
    let show = Show::start_late(&config, 160, 90, SignedDuration::from_millis(1500));
    for transport in ["tcp", "udp"] {
        let client = Units::rtsp(&show.urls[0], transport);
        let both = || -> Vec<(i64, i64)> {
            client.seen().iter().filter_map(|one| one.message.zip(one.reference)).collect()
        };
        until("reference times", || both().len() >= 50);
        let seen = client.seen();
        let first = seen.iter().position(|one| one.reference.is_some()).unwrap();
        let apart: Vec<i64> = both().iter().map(|(message, reference)| reference - message).collect();
        let worst = apart.iter().map(|us| us.abs()).max().unwrap();
        println!(
            "{transport}: {} pictures, reference from picture {first} on, at most {worst} us apart",
            seen.len()
        );
        assert!(seen.iter().all(|one| one.message.is_some()), "{transport}: {seen:?}");
        assert!(worst < FRAME, "{transport}: {apart:?}");
    }
    // The same pictures in MPEG-TS.
    let stream = Units::start(&format!(
        "souphttpsrc location={} ! tsdemux ! h264parse ! video/x-h264,stream-format=byte-stream,alignment=au \
         ! appsink name=units sync=false",
        show.urls[1]
    ));
    until("pictures over HTTP", || stream.seen().len() >= 25);
    assert!(stream.seen().iter().all(|one| one.message.is_some()));
    // By the sender reports alone: farout's own source reads nothing else.
    let mut source = open(&show.urls[0], &SourceConfig::default(), Purpose::Live, Stop::new()).unwrap();
    let (clock, late, start) = (Clock::of_run(), 1_500_000, Instant::now());
    let mut apart = Vec::new();
    while apart.len() < 25 {
        assert!(start.elapsed() < Duration::from_secs(40), "no sender reports");
        let frame = source.next().unwrap().unwrap();
        let age = clock.at(frame.captured).duration_since(frame.utc.unwrap()).as_micros() as i64;
        // Before the first report it is the time of arrival.
        apart.extend((age > late / 2).then_some(age - late));
    }
    apart.sort_unstable();
    println!("by reports: {apart:?} us later than captured, the way included");
    assert!((-1_000..FRAME).contains(&apart[12]), "{apart:?}");
    show.end();
    let written = Units::mp4(&record);
    assert!(written.len() > 50 && written.iter().all(|one| one.message.is_some()), "{written:?}");
    let steps = written.windows(2).map(|two| two[1].message.unwrap() - two[0].message.unwrap());
    assert!(steps.into_iter().all(|step| step > 0));
}

/// A test picture at 25 per second.
const BALL: &str = "videotestsrc is-live=true pattern=ball ! video/x-raw,width=160,height=90,framerate=25/1";

#[test]
fn a_cameras_sender_reports_tell_when_pictures_were_captured() {
    // Its pictures come at once, and by its clock they were captured 1.5 s ago.
    let camera = RtspCamera::start(BALL, 1500);
    let mut source = open(&camera.url, &SourceConfig::default(), Purpose::Live, Stop::new()).unwrap();
    let (clock, late) = (Clock::of_run(), SignedDuration::from_millis(1500));
    let (mut own, mut told) = (Vec::new(), Vec::new());
    let start = Instant::now();
    while told.len() < 50 {
        assert!(start.elapsed() < Duration::from_secs(40), "no reports: {own:?}");
        let frame = source.next().unwrap().unwrap();
        let age = clock.at(frame.captured).duration_since(frame.utc.unwrap());
        if age > late / 2 {
            told.push((age - late).as_micros() as i64);
        } else {
            own.push(age.as_micros() as i64);
        }
    }
    println!("{} pictures before the first report: {own:?}", own.len());
    assert!(own.iter().all(|age| (0..300_000).contains(age)), "{own:?}");
    told.sort_unstable();
    println!("then {}, {} and {} us apart (least, middle, most)", told[0], told[25], told[49]);
    // Its encoder and its server took time, too.
    assert!((0..3 * FRAME).contains(&told[25]) && told[40] - told[10] < FRAME, "{told:?}");
}

#[test]
fn a_camera_whose_clock_is_wrong_is_not_believed() {
    let cameras = [3_600_000, -500].map(|behind| RtspCamera::start(BALL, behind));
    let clock = Clock::of_run();
    let mut sources = cameras
        .each_ref()
        .map(|camera| open(&camera.url, &SourceConfig::default(), Purpose::Live, Stop::new()).unwrap());
    // Reports come within 5 s.
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(8) {
        for source in &mut sources {
            let frame = source.next().unwrap().unwrap();
            let age = clock.at(frame.captured).duration_since(frame.utc.unwrap());
            assert!((0.0..0.3).contains(&age.as_secs_f64()), "{age:?}");
        }
    }
}

#[test]
fn events_recording_and_stream_of_a_run_tell_the_cameras_time() {
    if !client_tells_times() {
        return skipped("one clock from camera to viewer", "it needs GStreamer 1.22");
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    // Something strange stands in front of the camera all the time.
    let scene = "synthetic:seed=4711,stride=61,frames=1";
    farout(["replay", scene, "--bypass", "--frames-out", &at("")]).succeeded();
    let scene = format!(
        "filesrc location={} ! pngdec ! imagefreeze is-live=true ! video/x-raw,framerate=12/1",
        at("000000.png")
    );
    let camera = RtspCamera::start(&scene, 700);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let root = env!("CARGO_MANIFEST_DIR");
    let config = format!(
        "[[stream]]\nsource = \"{}\"\n[model]\npath = \"{root}/models/synthetic-vit.onnx\"\n\
         [bank]\npath = \"{root}/models/synthetic.bank\"\n[score]\nthreshold = 0.0\nevent_frames = 1\n\
         [output]\nhttp = \"off\"\nrtsp = \"rtsp://127.0.0.1:{port}/farout\"\nrecord = \"{}\"\nevents = \"{}\"\n",
        camera.url,
        at("drive.mp4"),
        at("events.jsonl")
    );
    std::fs::write(at("farout.toml"), config).unwrap();
    let mut command = program();
    command.args(["run", "-c", &at("farout.toml")]);
    let mut daemon = Running::start(command);
    daemon.until("the server", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    let (direct, viewer) =
        (Units::rtsp(&camera.url, "tcp"), Units::rtsp(&format!("rtsp://127.0.0.1:{port}/farout"), "tcp"));
    let count = |units: &Units| units.seen().iter().filter(|one| one.reference.is_some()).count();
    // Until after the first reports of the camera.
    daemon.until("pictures with times", || count(&direct).min(count(&viewer)) > 80);
    daemon.signal(libc::SIGTERM);
    let ended = daemon.outcome().succeeded();
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);

    // The viewer's reference times are those in the pictures.
    let seen = viewer.seen();
    let apart =
        |one: &Stamp| one.message.zip(one.reference).map(|(message, reference)| (reference - message).abs());
    let worst = seen.iter().filter_map(apart).max().unwrap();
    println!("RTSP: {} pictures, reference and message at most {worst} us apart", seen.len());
    assert!(worst < FRAME, "{seen:?}");
    // What was served was recorded, with the same times.
    let written: Vec<(i64, i64)> = Units::mp4(dir.path().join("drive.mp4").as_ref())
        .iter()
        .filter_map(|one| one.message.zip(one.pts))
        .collect();
    let nearest = |time: i64| *written.iter().min_by_key(|(message, _)| (message - time).abs()).unwrap();
    let missing = seen.iter().filter_map(|one| one.message).filter(|time| nearest(*time).0 != *time).count();
    assert_eq!(missing, 0, "of {} pictures in the stream, not in the recording", seen.len());
    // They are the camera's: each is that of a picture which another client got from it.
    let cameras: Vec<i64> = direct.seen().iter().filter_map(|one| one.reference).collect();
    let (first, last) = (cameras[20], cameras[cameras.len() - 1]);
    let off = |time: i64| cameras.iter().map(|of| (of - time).abs()).min().unwrap();
    let offs: Vec<i64> =
        written.iter().map(|one| one.0).filter(|t| (first..=last).contains(t)).map(off).collect();
    println!(
        "recording: {} pictures, {} of the time of the client at the camera, off by {offs:?} us",
        written.len(),
        offs.len()
    );
    assert!(offs.len() > 20 && offs.iter().rev().take(20).all(|off| *off < 5_000));
    // Events name pictures of the recording, by time of day and by presentation time.
    let events = std::fs::read_to_string(at("events.jsonl")).unwrap();
    let events: Vec<serde_json::Value> =
        events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!events.is_empty(), "{}", ended.stderr);
    let mut shifts = Vec::new();
    for event in &events {
        let utc: jiff::Timestamp = event["utc"].as_str().unwrap().parse().unwrap();
        let (message, pts) = nearest(utc.as_microsecond());
        println!("event at {utc}, frame {}: picture of {message} us", event["frame"]);
        assert!((message - utc.as_microsecond()).abs() <= 1_000, "{event}: {message}");
        shifts.push(pts - (event["time_secs"].as_f64().unwrap() * 1e6) as i64);
    }
    let (least, most) = (shifts.iter().min().unwrap(), shifts.iter().max().unwrap());
    assert!(most - least < FRAME, "{shifts:?}");
}
