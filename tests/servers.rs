//! One RTSP and one HTTP server for several streams: they come and go, and their viewers do not disturb one another.
#![cfg(feature = "media")]
#![allow(clippy::unwrap_used)]

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::screens::*;
use farout::pool::Pool;
use farout::sink::{AccessConfig, Haste, OutputConfig, Servers, VideoOut, Viewers};

/// What an HTTP server answers, until it ends the connection.
fn get(host: &str, path: &str) -> String {
    let mut connection = TcpStream::connect(host).unwrap();
    connection.write_all(format!("GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

fn host(url: &str) -> &str {
    url.split('/').nth(2).unwrap()
}

/// A player of its own process, which ends when the stream ends.
fn player(words: &str, url: &str) -> (String, Child) {
    let words = words.replace("URL", url);
    let mut parts = words.split(' ');
    let child = Command::new(parts.next().unwrap())
        .args(parts)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    (words, child)
}

const FFMPEG_TCP: &str = "ffmpeg -v error -rtsp_transport tcp -i URL -f null -";
const FFMPEG_UDP: &str = "ffmpeg -v error -rtsp_transport udp -i URL -f null -";
const GSTREAMER_TCP: &str = "gst-launch-1.0 -q rtspsrc location=URL protocols=tcp latency=0 ! fakesink";
const GSTREAMER_UDP: &str = "gst-launch-1.0 -q rtspsrc location=URL protocols=udp latency=0 ! fakesink";
const FFMPEG_HTTP: &str = "ffmpeg -v error -i URL -f null -";
const CURL: &str = "curl -s -o /dev/null URL";

/// Waits until so many watch.
fn wait_for(servers: &Servers, name: &str, want: Viewers) {
    let start = Instant::now();
    while servers.viewers(Some(name)) != want {
        assert!(start.elapsed() < Duration::from_secs(40), "{name}: {:?}", servers.viewers(Some(name)));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Every player ends by itself, soon and without a fault.
fn all_end(players: Vec<(String, Child)>, within: Duration) {
    let start = Instant::now();
    for (words, mut child) in players {
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if start.elapsed() > within {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("still there after {within:?}: {words}");
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        println!("ended {:?} after the stream: {words}", start.elapsed());
        let mut why = String::new();
        child.stderr.take().unwrap().read_to_string(&mut why).unwrap();
        // After the end gst-launch says TEARDOWN, the server hangs up, and a PAUSE that it sends then fails.
        let too_late = words.starts_with("gst-launch") && why.contains("gst_rtspsrc_pause");
        assert!(status.success() || too_late, "{words}: {status}: {why}");
    }
}

#[test]
fn streams_share_servers_and_end_alone() {
    let servers = Servers::start(&served(), &AccessConfig::default()).unwrap();
    let start = |name, width, height| Show::start_at(servers.mount(Some(name)).unwrap(), width, height);
    let (front, rear) = (start("front", 320, 180), start("rear", 160, 90));
    let http = host(&front.urls[1]).to_owned();
    assert!(front.urls[0].ends_with("/front") && front.urls[1].ends_with("/front.ts"), "{:?}", front.urls);

    // Names.
    let error = servers.mount(Some("front")).err().unwrap().to_string();
    assert!(error.contains(&front.urls[0]) && error.contains("another stream"), "{error}");
    for name in ["", "a/b", "..", "a b", "ä", "a?b", &"x".repeat(65)] {
        let error = servers.mount(Some(name)).err().unwrap().to_string();
        assert!(error.contains(&format!("stream name \"{name}\"")), "{error}");
    }
    // The one of the config lies beside them.
    drop(servers.mount(None).unwrap());

    // The page.
    for (path, status) in [("/", "200 OK"), ("/farout.ts", "404 Not Found")] {
        let page = get(&http, path);
        assert!(page.contains(status), "{page}");
        let listed = page.lines().filter(|line| line.contains("://")).count();
        assert_eq!(listed, 6, "{page}");
        for url in front.urls.iter().chain(&rear.urls) {
            assert!(page.lines().any(|line| line.ends_with(url)), "{url}: {page}");
        }
    }

    // Both at the same time, each with its own pictures.
    let size = |url: &str| {
        let told = ffprobe(&["-show_entries", "stream=width,height", "-of", "csv=p=0", url]);
        told.lines().next().unwrap().to_owned()
    };
    let mut players = vec![
        player(FFMPEG_TCP, &front.urls[0]),
        player(FFMPEG_UDP, &front.urls[0]),
        player(GSTREAMER_TCP, &front.urls[0]),
        player(GSTREAMER_UDP, &front.urls[0]),
        player(FFMPEG_HTTP, &front.urls[1]),
        player(CURL, &front.urls[1]),
    ];
    let (mut rtsp, mut http_rear) = (watch(&rear.urls[0]), watch(&rear.urls[1]));
    for _ in 0..10 {
        for viewer in [&mut rtsp, &mut http_rear] {
            let frame = viewer.next().unwrap().unwrap();
            assert!((frame.width, frame.height) == (160, 90) && shows_quarters(&frame), "{:?}", seen(&frame));
        }
    }
    for (show, want) in [(&front, "320,180"), (&rear, "160,90")] {
        assert!(show.urls.iter().all(|url| size(url).contains(want)), "{:?}", show.urls);
    }
    wait_for(&servers, "front", Viewers { rtsp: 4, http: 2, webrtc: 0 });
    wait_for(&servers, "rear", Viewers { rtsp: 1, http: 1, webrtc: 0 });
    assert!(players.iter_mut().all(|(_, child)| child.try_wait().unwrap().is_none()));

    // One ends, the other goes on.
    let url = front.urls[0].clone();
    front.end();
    all_end(players, Duration::from_secs(5));
    assert_eq!(servers.viewers(Some("front")), Viewers::default());
    assert!(get(&http, "/front.ts").contains("404"));
    assert!(!get(&http, "/").contains("front"));
    let refused = Command::new("ffprobe").args(["-v", "error", &url]).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("404"), "{refused:?}");

    // And is there again, in another size.
    let front = start("front", 640, 360);
    assert!(front.urls.iter().all(|url| size(url).contains("640,360")));
    for viewer in [&mut rtsp, &mut http_rear] {
        for _ in 0..25 {
            assert!(shows_quarters(&viewer.next().unwrap().unwrap()));
        }
        let status = viewer.status().unwrap();
        assert_eq!(status.reconnects(), 0, "the other stream was disturbed: {:?}", status.problem());
    }
    assert_eq!(servers.viewers(Some("rear")), Viewers { rtsp: 1, http: 1, webrtc: 0 });
    println!("dropped {} and {}", front.end(), rear.end());
    assert!(get(&http, "/").contains("no stream is shown now"));
    drop(servers);
    assert!(TcpStream::connect(&http).is_err(), "the servers end with the last handle");
}

#[test]
fn slow_viewers_make_room_for_others() {
    // Noise, so that more has to be sent than the system holds for one that reads little.
    let show = Show::start_noisy(&OutputConfig { bitrate_kbps: 12_000, ..served() }, 640, 360);
    let (address, path) = (host(&show.urls[1]).to_owned(), "/farout.ts");
    let ask = || {
        let mut viewer = TcpStream::connect(&address).unwrap();
        viewer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        viewer.write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes()).unwrap();
        let mut status = [0; 12];
        viewer.read_exact(&mut status).unwrap();
        (viewer, String::from_utf8_lossy(&status).into_owned())
    };
    // One that keeps up comes first, and 31 that take a little now and then, as they may.
    let (mut good, _) = ask();
    let reading = std::thread::spawn(move || {
        let (start, mut bytes, mut sum) = (Instant::now(), vec![0; 1 << 16], 0);
        while start.elapsed() < Duration::from_secs(25) {
            match good.read(&mut bytes).unwrap() {
                0 => break,
                got => sum += got,
            }
        }
        (sum, start.elapsed())
    });
    let begun = Instant::now();
    let mut slow: Vec<TcpStream> = (0..31)
        .map(|n| {
            let (viewer, status) = ask();
            assert!(status.ends_with("200"), "viewer {n}: {status}");
            viewer.set_nonblocking(true).unwrap();
            viewer
        })
        .collect();
    // On a machine that is busy otherwise, some are behind by now.
    if begun.elapsed() < Duration::from_secs(3) {
        let (_, status) = ask();
        assert!(status.ends_with("503"), "nobody is behind yet: {status}");
    }
    let sip = |viewers: &mut Vec<TcpStream>| {
        viewers.retain_mut(|viewer| match viewer.read(&mut [0; 4000]) {
            Ok(got) => got > 0,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        });
        std::thread::sleep(Duration::from_millis(100));
    };
    let mut new = loop {
        sip(&mut slow);
        let (viewer, status) = ask();
        if status.ends_with("200") {
            break viewer;
        }
        assert!(begun.elapsed() < Duration::from_secs(25), "no room: {status}");
    };
    println!("a new viewer has a place {:?} after the house was full", begun.elapsed());
    // It gets the stream.
    let mut bytes = vec![0; 400_000];
    new.read_exact(&mut bytes).unwrap();
    // Its place is that of one of the slow ones, which learns of it; what is on the way to it comes first.
    let sees_end = |mut viewer: TcpStream| {
        viewer.set_nonblocking(false).unwrap();
        viewer.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let (mut bytes, start) = (vec![0; 1 << 20], Instant::now());
        std::iter::repeat_with(|| viewer.read(&mut bytes).unwrap_or(1))
            .take_while(|_| start.elapsed() < Duration::from_secs(4))
            .any(|got| got == 0)
    };
    let draining: Vec<_> =
        slow.into_iter().map(|viewer| std::thread::spawn(move || sees_end(viewer))).collect();
    let gone = draining.into_iter().map(|one| one.join().unwrap()).filter(|end| *end).count();
    assert_eq!(gone, 1, "slow viewers that lost their place");
    let (sum, time) = reading.join().unwrap();
    println!("the one that keeps up read {sum} bytes in {time:?}");
    assert!(time >= Duration::from_secs(25), "it lost its place");
    drop(show);
}

#[test]
fn viewers_survive_another_size_and_rate() {
    let servers = Servers::start(&served(), &AccessConfig::default()).unwrap();
    let mount = servers.mount(Some("cam")).unwrap();
    let mut out =
        VideoOut::open(&OutputConfig::default(), Some(mount), Haste::Live, Some(25.0), None, None).unwrap();
    let urls = out.urls().to_vec();
    let pool = Pool::new();
    let (mut n, mut time) = (0, Duration::ZERO);
    let mut push = |out: &mut VideoOut, width, height, fps: u32| {
        let mut frame = quarters(&pool, width, height, n, fps);
        (frame.pts, n, time) = (time, n + 1, time + Duration::from_secs(1) / fps);
        out.push(frame).unwrap();
        std::thread::sleep(Duration::from_secs(1) / fps);
    };
    let kinds = [FFMPEG_TCP, GSTREAMER_TCP, FFMPEG_HTTP, CURL];
    let mut players = kinds.map(|kind| player(kind, urls[usize::from(!kind.contains("rtsp"))].as_str()));
    let start = Instant::now();
    while servers.viewers(Some("cam")) != (Viewers { rtsp: 2, http: 2, webrtc: 0 }) {
        assert!(start.elapsed() < Duration::from_secs(40), "{:?}", servers.viewers(Some("cam")));
        push(&mut out, 320, 180, 25);
    }
    let (send, frames) = crossbeam_channel::unbounded();
    let mut viewers = [watch(&urls[0]), watch(&urls[1])];
    let status = [0, 1].map(|at: usize| viewers[at].status().unwrap());
    let watching = std::thread::spawn(move || {
        for _ in 0..90 {
            for viewer in &mut viewers {
                let frame = viewer.next().unwrap().unwrap();
                send.send((frame.width, frame.height, seen(&frame))).unwrap();
            }
        }
    });
    // The camera comes back as another one: larger and slower, then smaller and faster, then of another shape.
    let mut round = 0;
    while !watching.is_finished() {
        assert!(start.elapsed() < Duration::from_secs(90), "{} pictures seen", frames.len());
        for (width, height, fps, secs) in [(640, 360, 10, 1), (160, 90, 50, 1), (320, 180, 25, 1)] {
            (0..fps * secs).for_each(|_| push(&mut out, width, height, fps));
        }
        round += 1;
    }
    watching.join().unwrap();
    println!("{round} rounds of three cameras, {} frames dropped", out.dropped());
    assert!(status.iter().all(|one| one.reconnects() == 0), "{:?}", status.each_ref().map(|s| s.problem()));
    for (width, height, colours) in frames.try_iter() {
        let near = colours.iter().flatten().zip(QUARTERS.iter().flatten()).all(|(a, b)| a.abs_diff(*b) <= 12);
        assert!((width, height) == (320, 180) && near, "{width}x{height} {colours:?}");
    }
    assert!(players.iter_mut().all(|(_, child)| child.try_wait().unwrap().is_none()), "a player has left");
    out.finish().unwrap();
    all_end(players.into(), Duration::from_secs(5));
}

/// Runs a test of this file in a process of its own, where threads and descriptors can be counted. True inside of it.
fn is_alone(test: &str) -> bool {
    if std::env::var_os("FAROUT_TEST_ALONE").is_some() {
        return true;
    }
    let alone = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("servers::{test}"), "--nocapture"])
        .env("FAROUT_TEST_ALONE", "1")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&alone.stdout);
    println!("{told}");
    let why = String::from_utf8_lossy(&alone.stderr);
    assert!(alone.status.success() && told.contains("counted"), "{told}{why}");
    false
}

/// Threads and descriptors of this process.
fn held_by_us() -> (usize, usize) {
    let count = |what: &str| std::fs::read_dir(format!("/proc/self/{what}")).unwrap().count();
    (count("task"), count("fd"))
}

#[test]
fn streams_that_come_and_go_leave_nothing_behind() {
    if !is_alone("streams_that_come_and_go_leave_nothing_behind") {
        return;
    }
    let servers = Servers::start(&served(), &AccessConfig::default()).unwrap();
    let round = || {
        let show = Show::start_at(servers.mount(Some("cam")).unwrap(), 160, 90);
        let players = vec![player(FFMPEG_TCP, &show.urls[0]), player(CURL, &show.urls[1])];
        wait_for(&servers, "cam", Viewers { rtsp: 1, http: 1, webrtc: 0 });
        show.end();
        all_end(players, Duration::from_secs(5));
    };
    (0..3).for_each(|_| round());
    // What says good-bye to clients and looks for forgotten sessions does so within seconds.
    std::thread::sleep(Duration::from_secs(4));
    let before = held_by_us();
    (0..8).for_each(|_| round());
    std::thread::sleep(Duration::from_secs(4));
    let after = held_by_us();
    println!("counted {before:?} and {after:?} threads and descriptors");
    // Idle threads of GStreamer's pools come and go; one that is left by each round is found.
    assert!(after.0 < before.0 + 4 && after.1 < before.1 + 4, "{before:?} {after:?}");
}

#[test]
fn a_port_in_use_leaves_nothing_behind() {
    if !is_alone("a_port_in_use_leaves_nothing_behind") {
        return;
    }
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let taken = held.local_addr().unwrap();
    let addresses = |rtsp, http| OutputConfig {
        rtsp: format!("rtsp://{rtsp}/x"),
        http: format!("http://{http}/x.ts"),
        ..OutputConfig::default()
    };
    // What is made once and kept comes before the count.
    let free_too = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    drop(Servers::start(&addresses(free, free_too), &AccessConfig::default()).unwrap());
    let before = held_by_us();
    for (rtsp, http, key) in
        [(taken, free, "output.rtsp"), (free, taken, "output.http"), (free, free, "output.http")]
    {
        let error =
            Servers::start(&addresses(rtsp, http), &AccessConfig::default()).err().unwrap().to_string();
        assert!(error.contains(key), "{error}");
        assert_eq!(held_by_us(), before, "threads and descriptors after: {error}");
        TcpListener::bind(free).expect("the other port is free again");
    }
    println!("counted {before:?}");
}
