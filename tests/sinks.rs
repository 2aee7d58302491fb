//! Video goes out to real players over RTSP and HTTP, and into files.
#![cfg(feature = "media")]
#![allow(clippy::unwrap_used)]

mod support {
    pub mod clips;
    pub mod screens;
    pub mod skipped;
}

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::skipped::skipped;
use farout::frame::{Frame, PixelFormat};
use farout::pool::Pool;
use farout::sink::{AccessConfig, Haste, OutputConfig, Servers, SinkError, VideoOut};
use support::clips::{assert_steady, drain, offline};
use support::screens::*;

#[test]
fn clients_come_leave_and_come_back() {
    let show = Show::start(&served(), 320, 180, None);
    std::thread::sleep(Duration::from_millis(500));
    let url = show.urls[0].clone();
    let size = "-show_entries stream=codec_name,width,height -of csv=p=0".split(' ').collect::<Vec<_>>();
    let told = ffprobe(&[&["-rtsp_transport", "tcp"], &size[..], &[&url]].concat());
    assert_eq!(told.lines().next(), Some("h264,320,180"), "{told}");
    for round in 0..3 {
        let mut clients: Vec<_> = (0..2).map(|_| watch(&url)).collect();
        for (n, client) in clients.iter_mut().enumerate() {
            let start = Instant::now();
            let first = client.next().unwrap().unwrap();
            let waited = start.elapsed();
            println!("round {round}, client {n}: first frame after {waited:?}");
            assert!(shows_quarters(&first), "round {round}, client {n}: {:?}", seen(&first));
            for _ in 0..10 {
                assert!(shows_quarters(&client.next().unwrap().unwrap()));
            }
        }
    }
    println!("encoder dropped {}", show.end());
}

/// The end of a request after which the server hangs up.
const ASKS_ONCE: &str = "HTTP/1.1\r\nConnection: close\r\n\r\n";

#[test]
fn http_serves_a_stream_a_page_and_refusals() {
    let show = Show::start(&served(), 320, 180, None);
    let url = &show.urls[1];
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let ask = |request: &str| {
        let mut connection = TcpStream::connect(host).unwrap();
        connection.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer
    };
    for (request, want) in [
        (format!("GET / {ASKS_ONCE}"), url.as_str()),
        (format!("GET / {ASKS_ONCE}"), &show.urls[0]),
        (format!("HEAD /{path} {ASKS_ONCE}"), "video/mp2t"),
        (format!("HEAD /farout.mp4 {ASKS_ONCE}"), "video/mp4"),
        (format!("GET /other {ASKS_ONCE}"), "HTTP/1.1 404"),
        (format!("POST /{path} {ASKS_ONCE}"), "HTTP/1.1 405"),
        ("\x16\x03\x01 what is this\r\n\r\n".to_owned(), "HTTP/1.1 400"),
    ] {
        let answer = ask(&request);
        assert!(answer.contains(want), "{request}: {answer}");
    }
    for url in [url, &url.replace(".ts", ".mp4")] {
        let told = ffprobe(&["-show_entries", "stream=codec_name,width", "-of", "csv=p=0", url]);
        assert!(told.contains("h264,320"), "{told}");
        let mut client = watch(url);
        for _ in 0..10 {
            let frame = client.next().unwrap().unwrap();
            assert!(shows_quarters(&frame), "{url}: {:?}", seen(&frame));
        }
    }
}

#[test]
fn connections_that_say_nothing_keep_nobody_out() {
    let show = Show::start(&served(), 320, 180, None);
    let url = &show.urls[1];
    let host = url.strip_prefix("http://").unwrap().split('/').next().unwrap();
    let silent: Vec<TcpStream> = (0..300).map(|_| TcpStream::connect(host).unwrap()).collect();
    // Some say a little, and no more.
    silent.iter().take(150).for_each(|mut one| drop(one.write_all(b"GET /farout.ts HT")));
    let start = Instant::now();
    let mut client = watch(url);
    assert!(shows_quarters(&client.next().unwrap().unwrap()));
    assert!(start.elapsed() < Duration::from_secs(10), "a viewer waited for {:?}", start.elapsed());
    drop(client);
    // All are let go.
    for (number, mut one) in silent.into_iter().enumerate() {
        one.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut answer = Vec::new();
        let end = one.read_to_end(&mut answer);
        let reset = end.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset);
        assert!(end.is_ok() || reset, "connection {number}: {end:?}");
    }
}

#[test]
fn vlc_reads_http() {
    let can = Command::new("runuser").args(["-u", "nobody", "--", "cvlc", "--version"]).output();
    if !can.is_ok_and(|o| o.status.success()) {
        skipped("VLC as a viewer", "it needs cvlc, and runuser to start it as nobody");
        return;
    }
    let show = Show::start(&served(), 320, 180, None);
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let prefix = format!("--scene-path={}", dir.path().display());
    let output = Command::new("runuser")
        .args([
            "-u",
            "nobody",
            "--",
            "env",
            "HOME=/tmp",
            "timeout",
            "60",
            "cvlc",
            "--no-audio",
            "--vout=dummy",
            "--run-time=4",
            "--play-and-exit",
        ])
        .args(["--video-filter=scene", "--scene-format=png", "--scene-ratio=10", "--scene-prefix=s", &prefix])
        .args([&show.urls[1], "vlc://quit"])
        .output()
        .unwrap();
    let pictures: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(!pictures.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let picture = image::open(&pictures[0]).unwrap().into_rgb8();
    // VLC adds some rows of its decoder's padding below.
    assert!(picture.width() == 320 && (180..200).contains(&picture.height()), "{:?}", picture.dimensions());
    // BT.601: the second quarter is blue, the third red.
    let [blue, red] = [(240, 45), (80, 135)].map(|(x, y)| picture.get_pixel(x, y).0);
    assert!(blue[2] > 150 && blue[0] < 80 && red[0] > 200 && red[2] < 160, "{blue:?} {red:?}");
}

#[test]
fn a_client_that_reads_nothing_slows_nobody() {
    // Noise, so that much has to be sent: more than the system takes for one that reads nothing.
    let show = Show::start_noisy(&OutputConfig { bitrate_kbps: 12_000, ..served() }, 640, 360);
    let address = show.urls[0].strip_prefix("rtsp://").unwrap().split('/').next().unwrap().to_owned();
    let mut deaf_rtsp = TcpStream::connect(&address).unwrap();
    let mut say = |text: String| {
        deaf_rtsp.write_all(text.as_bytes()).unwrap();
        let mut bytes = [0; 4096];
        let got = deaf_rtsp.read(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..got]).into_owned()
    };
    let url = &show.urls[0];
    say(format!("DESCRIBE {url} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n"));
    let setup = say(format!(
        "SETUP {url}/stream=0 RTSP/1.0\r\nCSeq: 2\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n"
    ));
    assert!(setup.contains("200 OK"), "{setup}");
    let session = setup
        .lines()
        .find_map(|l| l.strip_prefix("Session: "))
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let play = say(format!("PLAY {url} RTSP/1.0\r\nCSeq: 3\r\nSession: {session}\r\n\r\n"));
    assert!(play.contains("200 OK"), "{play}");
    let mut deaf_http = TcpStream::connect(show.urls[1].split('/').nth(2).unwrap()).unwrap();
    deaf_http.write_all(b"GET /farout.ts HTTP/1.1\r\n\r\n").unwrap();

    let secs = std::env::var("FAROUT_DEAF_SECS").ok().and_then(|s| s.parse().ok()).unwrap_or(20);
    for url in &show.urls {
        let mut client = watch(url);
        client.next().unwrap().unwrap();
        let start = Instant::now();
        let mut frames = 0;
        let mut longest = Duration::ZERO;
        let mut last = start;
        while start.elapsed() < Duration::from_secs(secs) / 2 {
            assert!(shows_quarters(&client.next().unwrap().unwrap()));
            longest = longest.max(last.elapsed());
            last = Instant::now();
            frames += 1;
        }
        let rate = f64::from(frames) / start.elapsed().as_secs_f64();
        println!("{url}: {rate:.1} frames per second, longest gap {longest:?}");
        assert!(rate > 20.0 && longest < Duration::from_secs(2), "{url}: {rate} {longest:?}");
    }
    let dropped = show.end();
    // Of some 500; a machine under load drops a few.
    assert!(dropped < 75, "{dropped}");
    drop((deaf_rtsp, deaf_http));
}

#[test]
fn memory_and_descriptors_stay_flat_over_clients() {
    let show = Show::start(&served(), 160, 90, None);
    let fds = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let rss_kb = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|l| l.starts_with("VmRSS")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let client = || {
        let out = Command::new("ffprobe")
            .args(["-v", "error", "-analyzeduration", "200000", "-rtsp_transport", "tcp"])
            // A stream that stands still fails the test, and does not hold it up for ever.
            .args(["-timeout", "20000000", "-show_entries", "stream=width", "-of", "csv=p=0", &show.urls[0]])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let mut client = TcpStream::connect(show.urls[1].split('/').nth(2).unwrap()).unwrap();
        client.write_all(b"GET /farout.ts HTTP/1.1\r\n\r\n").unwrap();
        client.read_exact(&mut [0; 1000]).unwrap();
    };
    // Most of a client's time is waiting: three at once, which leaves the other tests some of the machine.
    let rounds = |n: usize| {
        for _ in 0..n {
            std::thread::scope(|scope| (0..3).for_each(|_| drop(scope.spawn(client))));
        }
        std::thread::sleep(Duration::from_secs(3));
        (fds(), rss_kb())
    };
    let warm = rounds(3);
    let after = rounds(13);
    println!("descriptors {} -> {}, memory {} -> {} kB", warm.0, after.0, warm.1, after.1);
    // Other tests of this process open descriptors of their own meanwhile: run alone to be strict.
    assert!(after.0 < warm.0 + 40, "{warm:?} {after:?}");
    assert!(after.1 < warm.1 + 40_000, "{warm:?} {after:?}");
}

#[test]
fn a_recording_keeps_every_frame_and_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.mp4");
    let encoded = Arc::new(Mutex::new(Vec::new()));
    let hooked = Arc::clone(&encoded);
    let hook = Box::new(move |id, at: Instant, _| hooked.lock().unwrap().push((id, at)));
    let config = OutputConfig { record: Some(path.clone()), ..unserved() };
    let mut out = VideoOut::open(&config, None, Haste::Offline, None, Some(hook), None).unwrap();
    let pool = Pool::new();
    // Variable rate: every third frame comes late.
    let time = |n: u64| Duration::from_millis(n * 40 + n / 3 * 100);
    let mut captured = Vec::new();
    for n in 0..60 {
        let mut frame = quarters(&pool, 161, 91, n, 25);
        frame.pts = time(n);
        captured.push((n, frame.captured));
        out.push(frame).unwrap();
    }
    out.finish().unwrap();
    assert_eq!(*encoded.lock().unwrap(), captured);
    let (frames, error) = drain(&mut *offline(&path).unwrap());
    assert!(error.is_none(), "{error:?}");
    assert_eq!(frames.len(), 60);
    for (frame, n) in frames.iter().zip(0..) {
        assert!(frame.pts.abs_diff(time(n)) < Duration::from_millis(2), "{n}: {:?}", frame.pts);
        assert_eq!((frame.width, frame.height), (162, 92));
        assert!(shows_quarters(frame), "{:?}", seen(frame));
    }
    ffprobe(&["-count_frames", path.to_str().unwrap()]);
}

#[test]
fn frames_of_another_size_or_format_keep_the_size_of_the_video() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.mp4");
    let config = OutputConfig { record: Some(path.clone()), ..unserved() };
    let mut out = VideoOut::open(&config, None, Haste::Offline, Some(25.0), None, None).unwrap();
    let pool = Pool::new();
    for n in 0..30 {
        let frame = match n / 10 {
            0 => quarters(&pool, 320, 180, n, 25),
            1 => quarters(&pool, 160, 180, n, 25),
            _ => {
                let mut frame = Frame::take(&pool, PixelFormat::Rgb, 161, 91);
                frame.pixels.chunks_exact_mut(3).for_each(|p| p.copy_from_slice(&[255, 0, 0]));
                (frame.id, frame.pts) = (n, Duration::from_millis(40 * n));
                frame
            }
        };
        out.push(frame).unwrap();
    }
    out.finish().unwrap();
    let (frames, error) = drain(&mut *offline(&path).unwrap());
    assert!(error.is_none(), "{error:?}");
    assert_eq!(frames.len(), 30);
    assert_steady(&frames, Duration::from_millis(40), "out.mp4");
    assert!(frames.iter().all(|f| (f.width, f.height) == (320, 180)));
    assert!(shows_quarters(&frames[5]));
    // Half as wide: black at the sides, the picture in the middle.
    let narrow = &frames[15];
    assert!(
        narrow.pixels[90 * 320 + 20] < 24 && narrow.pixels[45 * 320 + 120].abs_diff(QUARTERS[0][0]) < 9,
        "{:?}",
        seen(narrow)
    );
    let [y, u, v] = seen(&frames[25])[0];
    assert!(y.abs_diff(81) < 6 && u.abs_diff(90) < 6 && v.abs_diff(240) < 6, "{y} {u} {v}");
}

#[test]
fn a_recording_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("live.mp4");
    if let Some(path) = std::env::var_os("FAROUT_KILLED_RECORDING") {
        // The process that will be killed.
        let config = OutputConfig { record: Some(path.into()), ..unserved() };
        let mut out = VideoOut::open(&config, None, Haste::Offline, Some(25.0), None, None).unwrap();
        let pool = Pool::new();
        for n in 0.. {
            out.push(quarters(&pool, 160, 90, n, 25)).unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_recording_survives_a_kill"])
        .env("FAROUT_KILLED_RECORDING", &path)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while std::fs::metadata(&path).map_or(0, |m| m.len()) < 30_000
        && start.elapsed() < Duration::from_secs(60)
    {
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let (frames, _) = drain(&mut *offline(&path).unwrap());
    assert!(frames.len() >= 25, "{}", frames.len());
    assert!(frames.iter().all(shows_quarters));
    ffprobe(&["-show_format", path.to_str().unwrap()]);
}

#[test]
fn what_cannot_be_served_or_written_is_explained() {
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let cases = [
        (OutputConfig { rtsp: format!("rtsp://{taken}/x"), ..unserved() }, "output.rtsp"),
        (OutputConfig { http: format!("http://{taken}/x"), ..unserved() }, "output.http"),
        (OutputConfig { record: Some(dir.path().join("no/folder/x.mp4")), ..unserved() }, "no/folder/x.mp4"),
        (OutputConfig { record: Some("/dev/null".into()), ..unserved() }, "no regular file"),
        (OutputConfig { record: Some(dir.path().into()), ..unserved() }, "is a directory"),
        (OutputConfig { encoder: "h265".into(), ..unserved() }, "\"h265\" is none of auto"),
        (OutputConfig { rtsp: "8554".into(), ..unserved() }, "write rtsp://"),
    ];
    for (config, want) in cases {
        let opened = Servers::start(&config, &AccessConfig::default()).and_then(|servers| {
            VideoOut::open(&config, Some(servers.mount(None)?), Haste::Live, None, None, None)
        });
        let error = opened.err().unwrap();
        println!("{error}");
        assert!(error.to_string().contains(want), "{error}");
        assert_eq!(matches!(error, SinkError::Listen { .. }), want.starts_with("output."));
    }
    let path = dir.path().join("nothing.mp4");
    let config = OutputConfig { record: Some(path.clone()), ..unserved() };
    VideoOut::open(&config, None, Haste::Live, None, None, None).unwrap().finish().unwrap();
    assert!(!path.exists(), "a recording without frames is no file");
    std::fs::write(&path, b"an older recording").unwrap();
    VideoOut::open(&config, None, Haste::Live, None, None, None).unwrap().finish().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"an older recording", "it goes when a newer one begins");
}
