//! Streams over WebRTC, asked for by WHEP, as a program meets them.
#![cfg(feature = "media")]

use std::net::UdpSocket;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use crate::support::api::Api;
use crate::support::driven::driven;
use crate::support::players::free_port;
use crate::support::program::Running;
use crate::support::webrtc::{Watcher, units};
use str0m::media::{MediaData, MediaKind};

/// What a WHEP request is answered.
struct Told {
    status: u16,
    kind: String,
    location: Option<String>,
    allow: Option<String>,
    text: String,
}

fn ask(http: u16, method: &str, path: &str, kind: &str, body: &str, more: &[(&str, &str)]) -> Told {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut request = ureq::http::Request::builder()
        .method(method)
        .uri(format!("http://127.0.0.1:{http}{path}"))
        .header("Content-Type", kind);
    for (name, value) in more {
        request = request.header(*name, *value);
    }
    let mut answer = agent.run(request.body(body.to_owned()).unwrap()).unwrap();
    let head = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let (kind, location, allow) = (head("content-type").unwrap_or_default(), head("location"), head("allow"));
    Told {
        status: answer.status().as_u16(),
        kind,
        location,
        allow,
        text: answer.body_mut().read_to_string().unwrap(),
    }
}

fn offer(http: u16, sdp: &str) -> Told {
    ask(http, "POST", "/front.whep", "application/sdp", sdp, &[])
}

/// A daemon that judges, and has shown a picture.
fn started(folder: &Path, http: u16) -> (Running, Api) {
    let mut daemon = driven(folder, http, "");
    let api = Api::at(http);
    daemon.until("a picture", || api.try_get("/readyz").is_some_and(|answer| answer.status == 200));
    (daemon, api)
}

/// Somebody who watches, and where it is told that it goes.
fn watching(http: u16) -> (Watcher, String) {
    let mut watcher = Watcher::new();
    let told = offer(http, &watcher.offer);
    assert_eq!((told.status, told.kind.as_str()), (201, "application/sdp"), "{}", told.text);
    watcher.answered(&told.text);
    (watcher, told.location.unwrap())
}

/// Pictures before which something is missing: a machine under load lets the test's own socket run over now and then.
fn torn(pictures: &[MediaData]) -> usize {
    pictures.iter().filter(|picture| !picture.contiguous).count()
}

#[test]
fn a_stream_is_watched_over_webrtc() {
    let (folder, http) = (tempfile::tempdir().unwrap(), free_port());
    let (mut daemon, api) = started(folder.path(), http);
    assert_eq!(api.stream()["watch"]["whep"], "/front.whep");
    let (mut watcher, location) = watching(http);
    watcher.until("pictures", |watcher| watcher.pictures.len() >= 24);
    assert_eq!(api.stream()["viewers"]["webrtc"], 1);

    // The first can be decoded, and the others follow.
    let first = units(&watcher.pictures[0]);
    assert!([7, 8, 5].iter().all(|kind| first.contains(kind)), "{first:?}");
    assert!(torn(&watcher.pictures[1..]) <= 2);
    // Twelve a second, as they were captured.
    let time = |at: usize| watcher.pictures[at].time.as_seconds();
    let took = time(23) - time(0);
    assert!((took - 23.0 / 12.0).abs() < 0.2, "{took} s");
    let captured = watcher.pictures.last().unwrap().ext_vals.abs_capture_time.unwrap().capture_time;
    let age = SystemTime::now().duration_since(captured).unwrap();
    assert!(age < Duration::from_secs(10), "{age:?}");
    // What delay a browser may add.
    assert!(watcher.pictures.iter().any(|picture| picture.ext_vals.play_delay_max.is_some()));

    // A viewer that has lost something gets a key picture.
    let before = watcher.pictures.len();
    watcher.ask_for_key();
    watcher.until("a key picture", |watcher| {
        watcher.pictures[before..].iter().any(|one| units(one).contains(&5))
    });

    // Others come and go without disturbing it; so does what is no WebRTC at all.
    let (mut other, other_location) = watching(http);
    let noise = UdpSocket::bind("127.0.0.1:0").unwrap();
    for length in 0..400_usize {
        let bytes: Vec<u8> = (0..length * 4).map(|at| (at * 31 + length * 7) as u8).collect();
        noise.send_to(&bytes, ("127.0.0.1", http)).unwrap();
        // What looks like STUN, DTLS, RTP.
        let kind = [0, 1, 20, 22, 23, 63, 128, 200][length % 8];
        let bytes: Vec<u8> = std::iter::once(kind).chain(bytes).take(1400).collect();
        noise.send_to(&bytes, ("127.0.0.1", http)).unwrap();
    }
    let before = watcher.pictures.len();
    let watches = std::thread::spawn(move || {
        other.until("pictures of its own", |other| other.pictures.len() >= 6);
        other
    });
    watcher.until("more pictures", |watcher| watches.is_finished() && watcher.pictures.len() >= before + 12);
    let mut other = watches.join().unwrap();
    assert!(torn(&watcher.pictures[before..]) <= 2);

    // Who goes is told farewell, and is counted no more.
    let gone = other_location.clone();
    // It reads meanwhile: a farewell is said once.
    let goes = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(500));
        ask(http, "DELETE", &gone, "", "", &[]).status
    });
    other.until("its end", |other| other.closed);
    assert_eq!(goes.join().unwrap(), 200);
    assert_eq!(ask(http, "DELETE", &other_location, "", "", &[]).status, 404);
    daemon.until("one viewer", || api.stream()["viewers"]["webrtc"] == 1);
    assert!(
        api.get("/metrics").text.contains("farout_viewers{stream=\"front\",protocol=\"webrtc\"} 1"),
        "{}",
        api.get("/metrics").text
    );

    // Who goes without a word is missed after a while.
    let (mut silent, _) = watching(http);
    silent.until("pictures", |silent| silent.connected && !silent.pictures.is_empty());
    assert_eq!(api.stream()["viewers"]["webrtc"], 2);
    drop(silent);
    let begun = Instant::now();
    watcher.until("one viewer alone", |_| {
        begun.elapsed() > Duration::from_secs(15) && api.stream()["viewers"]["webrtc"] == 1
    });

    // The end of the stream is the end for who watches.
    daemon.signal(libc::SIGTERM);
    watcher.until("the end", |watcher| watcher.closed);
    let told = daemon.outcome().succeeded().stderr;
    assert!(!told.contains("panicked"), "{told}");
    assert!(ask_nobody(http, &location));
}

/// Whether nobody answers any more.
fn ask_nobody(http: u16, location: &str) -> bool {
    ureq::delete(format!("http://127.0.0.1:{http}{location}")).call().is_err()
}

#[test]
fn what_cannot_be_answered_is_told_why() {
    let (folder, http) = (tempfile::tempdir().unwrap(), free_port());
    let (daemon, api) = started(folder.path(), http);
    let good = Watcher::new().offer;
    let audio = Watcher::of(MediaKind::Audio, |formats| formats.enable_opus(true, false)).offer;
    let other = Watcher::of(MediaKind::Video, |formats| formats.enable_vp8(true)).offer;
    let long = format!("{good}{}", "a=x\r\n".repeat(60_000));
    let sdp = "application/sdp";
    for (method, path, kind, body, status, want) in [
        ("POST", "/front.whep", "application/json", good.as_str(), 415, "application/sdp"),
        ("POST", "/front.whep", sdp, "", 400, "SDP offer"),
        ("POST", "/front.whep", sdp, "v=0\r\nnonsense", 400, "SDP offer"),
        ("POST", "/front.whep", sdp, &audio, 400, "H.264"),
        ("POST", "/front.whep", sdp, &other, 400, "H.264"),
        ("POST", "/front.whep", sdp, &long, 413, "262144 bytes"),
        ("GET", "/front.whep", sdp, "", 405, "POST an SDP offer"),
        ("PATCH", "/front.whep/0", sdp, "", 405, "DELETE ends it"),
        ("DELETE", "/front.whep/0", sdp, "", 404, "is gone"),
        ("POST", "/left.whep", sdp, &good, 404, "no stream /left"),
    ] {
        let told = ask(http, method, path, kind, body, &[]);
        assert_eq!(told.status, status, "{method} {path}: {}", told.text);
        assert_eq!(told.kind, "application/problem+json", "{method} {path}");
        assert!(told.text.contains(want), "{method} {path}: {}", told.text);
        assert_eq!(told.allow.is_some(), status == 405, "{method} {path}");
    }
    let options = ask(http, "OPTIONS", "/front.whep", "", "", &[]);
    assert_eq!((options.status, options.allow.as_deref()), (204, Some("POST, OPTIONS")));
    let foreign = [("Origin", "http://elsewhere.example")];
    assert_eq!(ask(http, "POST", "/front.whep", sdp, &good, &foreign).status, 403);

    // Offers that nobody follows up take nobody's place for long.
    for _ in 0..40 {
        assert_eq!(offer(http, &Watcher::new().offer).status, 201);
    }
    assert_eq!(api.stream()["viewers"]["webrtc"], 0, "nobody has come through");
    let (mut watcher, _) = watching(http);
    watcher.until("pictures all the same", |watcher| watcher.pictures.len() >= 3);
    assert_eq!(api.stream()["viewers"]["webrtc"], 1);
    daemon.signal(libc::SIGTERM);
    let told = daemon.outcome().succeeded().stderr;
    assert!(!told.contains("panicked"), "{told}");
}

#[test]
fn a_taken_port_costs_webrtc_only() {
    let (folder, http) = (tempfile::tempdir().unwrap(), free_port());
    let _taken = UdpSocket::bind(("127.0.0.1", http)).unwrap();
    let (daemon, api) = started(folder.path(), http);
    let told = offer(http, &Watcher::new().offer);
    assert_eq!(told.status, 503, "{}", told.text);
    assert!(
        told.text.contains(&format!("UDP port {http}")) && told.text.contains("watch over HTTP"),
        "{}",
        told.text
    );
    assert!(api.stream()["watch"]["whep"].is_null());
    assert_eq!(api.send("HEAD", "/front.mjpeg", None).status, 200);
    daemon.signal(libc::SIGTERM);
    let said = daemon.outcome().succeeded().stderr;
    assert!(said.contains("nobody can watch over WebRTC"), "{said}");
}
