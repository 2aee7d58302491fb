//! Live sources come back: an RTSP server that is late, killed, restarted, killed and restarted.
#![cfg(feature = "media")]
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use crate::support::screens::*;
use farout::sink::OutputConfig;
use farout::source::{Purpose, SourceConfig, SourceState, open};
use farout::stop::Stop;

/// A port that is free now.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn an_rtsp_source_comes_back_twice() {
    let url = format!("rtsp://127.0.0.1:{}/cam", free_port());
    let served = OutputConfig { rtsp: url.clone(), ..unserved() };
    let config = SourceConfig { timeout_secs: 2.0, ..SourceConfig::default() };
    let stop = Stop::new();
    let mut source = open(&url, &config, Purpose::Live, stop.clone()).unwrap();
    let status = source.status().unwrap();
    assert_eq!(status.state(), SourceState::Starting);

    let (send, frames) = crossbeam_channel::unbounded();
    let reader = std::thread::spawn(move || {
        while let Some(frame) = source.next().unwrap() {
            assert!(shows_quarters(&frame), "{:?}", seen(&frame));
            send.send((frame.id, frame.pts, frame.captured)).unwrap();
        }
    });
    let wait_for = |state: SourceState| {
        let start = Instant::now();
        while status.state() != state {
            assert!(start.elapsed() < Duration::from_secs(40), "not {state:?}: {:?}", status.problem());
            std::thread::sleep(Duration::from_millis(20));
        }
        start.elapsed()
    };
    // Nobody answers at first.
    wait_for(SourceState::Lost);
    for round in 0..3 {
        let show = Show::start(&served, 160, 90, None);
        println!("round {round}: runs after {:?}", wait_for(SourceState::Running));
        // A machine under load may lose a connection more.
        assert!(status.reconnects() >= round);
        let before = frames.len();
        while frames.len() < before + 25 {
            std::thread::sleep(Duration::from_millis(20));
        }
        show.end();
        println!("round {round}: lost after {:?}: {:?}", wait_for(SourceState::Lost), status.problem());
    }
    stop.ask();
    let asked = Instant::now();
    reader.join().unwrap();
    assert!(asked.elapsed() < Duration::from_secs(3));
    let all: Vec<_> = frames.try_iter().collect();
    assert!(all.len() >= 75);
    assert!(all.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1 && a.2 < b.2), "numbers and times rise");
    // Times go on through the gaps as the clock does.
    let (first, last) = (all[0], all[all.len() - 1]);
    let (by_pts, by_clock) = (last.1 - first.1, last.2 - first.2);
    assert!(by_pts.abs_diff(by_clock) < Duration::from_secs(2), "{by_pts:?} {by_clock:?}");
}

#[test]
fn a_stream_that_stalls_is_lost_and_comes_back() {
    // A server that answers, sends for a while and then says nothing more.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/stalls.ts", listener.local_addr().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let clip = crate::support::clips::clip(
        dir.path(),
        "x.ts",
        &crate::support::clips::ball(50, 64, 64),
        "mpegtsmux",
    );
    let bytes = std::fs::read(clip).unwrap();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for connection in listener.incoming() {
            use std::io::{Read, Write};
            let mut connection = connection.unwrap();
            let _ = connection.read(&mut [0; 1024]);
            let _ = connection
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\nConnection: close\r\n\r\n");
            let _ = connection.write_all(&bytes);
            held.push(connection);
        }
    });
    let config = SourceConfig { timeout_secs: 1.0, ..SourceConfig::default() };
    let mut source = open(&url, &config, Purpose::Live, Stop::new()).unwrap();
    let status = source.status().unwrap();
    let mut last = None;
    while status.reconnects() < 2 {
        let frame = source.next().unwrap().unwrap();
        assert!(last.is_none_or(|last| last < (frame.id, frame.pts)));
        last = Some((frame.id, frame.pts));
    }
    assert!(status.problem().unwrap().contains("no frame for 1."), "{:?}", status.problem());
}
