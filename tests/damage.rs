//! Damage in the middle of a recording: every frame that is given out is the one that was recorded.
#![cfg(feature = "media")]
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use crate::support::clips::*;
use crate::support::program::farout;
use farout::frame::Frame;
use farout::source::{Purpose, SourceConfig, SourceError, open};
use farout::stop::Stop;

/// 100 frames that change everywhere, a key frame every 20.
fn moving(encoder: &str) -> String {
    format!(
        "videotestsrc pattern=smpte horizontal-speed=7 num-buffers=100 ! video/x-raw,format=I420,width=320,height=176,framerate=25/1 ! {encoder}"
    )
}

/// Bytes that reach over more than one packet: within one packet much decodes as if it were sound.
const DAMAGE: usize = 12_000;

/// The file with `len` of its bytes overwritten from `part` of it on.
fn overwritten(path: &Path, part: f64, len: usize) -> PathBuf {
    let mut bytes = std::fs::read(path).unwrap();
    let at = (bytes.len() as f64 * part) as usize;
    let mut noise = 0x2545_F491_u32;
    for byte in &mut bytes[at..at + len] {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (noise >> 24) as u8;
    }
    let damaged = path.with_file_name(format!("damaged-{}", path.file_name().unwrap().to_str().unwrap()));
    std::fs::write(&damaged, bytes).unwrap();
    damaged
}

fn numbers(frames: &[Frame]) -> Vec<u64> {
    frames.iter().map(|frame| frame.id).collect()
}

#[test]
fn no_frame_is_given_out_smeared() {
    let dir = tempfile::tempdir().unwrap();
    let h264 = "x264enc speed-preset=veryfast key-int-max=20 bitrate=1500 ! h264parse";
    let b_frames =
        "x264enc speed-preset=veryfast key-int-max=20 bframes=3 b-adapt=false bitrate=1500 ! h264parse";
    let mpeg4 = "avenc_mpeg4 gop-size=20 bitrate=1500000 ! mpeg4videoparse";
    let jpeg = "jpegenc ! jpegparse";
    for (name, encoder, mux) in [
        ("a.mp4", h264, "mp4mux"),
        ("b.mp4", b_frames, "mp4mux"),
        ("c.mkv", b_frames, "matroskamux"),
        ("d.ts", h264, "mpegtsmux"),
        ("e.avi", mpeg4, "avimux"),
        ("f.mkv", jpeg, "matroskamux"),
    ] {
        let path = clip(dir.path(), name, &moving(encoder), mux);
        let (whole, error) = drain(&mut *offline(&path).unwrap());
        assert!(error.is_none() && whole.len() == 100, "{name}: {error:?}");
        let damaged = overwritten(&path, 0.45, DAMAGE);
        let read = || drain(&mut *offline(&damaged).unwrap());
        let (frames, error) = read();
        println!("{name}: {} frames: {error:?}", frames.len());
        // Where packets are found by an index, none is lost uncounted, and numbers go on.
        let indexed = name.ends_with("mp4");
        let mut next = 0;
        for frame in &frames {
            if indexed {
                let sound = &whole[frame.id as usize];
                assert_eq!(*frame.pixels, *sound.pixels, "{name}: frame {} is smeared", frame.id);
                assert!(
                    sound.pts.abs_diff(frame.pts).as_millis() < 2,
                    "{name}: {} at {:?}",
                    frame.id,
                    frame.pts
                );
            } else {
                let recorded = whole[next..].iter().position(|sound| *sound.pixels == *frame.pixels);
                next += 1 + recorded.unwrap_or_else(|| panic!("{name}: frame {} is smeared", frame.id));
            }
        }
        let Some(SourceError::CutOff { last_frame, why, .. }) = error else {
            panic!("{name}: the damage is not noticed");
        };
        assert!((20..60).contains(&last_frame), "{name}: damage after frame {last_frame}");
        // What is told of it: how many are missing, of those that came to the decoder, and nothing of the others.
        let count: Option<u64> =
            why.split_once(" picture").and_then(|(n, _)| n.rsplit(' ').next()?.parse().ok());
        let ids = numbers(&frames);
        let gaps = ids.windows(2).map(|pair| pair[1] - pair[0] - 1).sum::<u64>() + ids[0];
        println!("{name}: {gaps} missing, {count:?} told");
        match count {
            Some(count) => assert!(count >= gaps.max(1) && count < 60, "{name}: {gaps} are missing: {why}"),
            None => assert!(why.contains("damaged at byte") && gaps == 0, "{name}: {why}"),
        }
        assert_eq!(ids, numbers(&read().0), "{name}: the same twice");
        let outcome = farout(["-q", "replay", "--bypass", damaged.to_str().unwrap()]);
        assert_eq!(outcome.code, Some(3), "{name}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(&why), "{name}: {}", outcome.stderr);
        // From the key frame after the damage on, everything is there.
        if name.ends_with("mkv") && why.contains("damaged at byte") {
            continue;
        }
        assert!(frames.len() >= 50 && frames.len() < 100, "{name}: {} frames", frames.len());
        assert!(!indexed || frames.len() as u64 + count.unwrap() == 100, "{name}");
        assert!(!indexed || frames.last().unwrap().id == 99, "{name}");
    }
}

/// The demuxer gives up where a Matroska file is damaged between its blocks: what is missing then is told by its length.
#[test]
fn a_matroska_file_that_breaks_off_inside_is_not_whole() {
    let dir = tempfile::tempdir().unwrap();
    let encoder = "x264enc speed-preset=veryfast key-int-max=20 bitrate=1500 ! h264parse";
    let path = clip(dir.path(), "x.mkv", &moving(encoder), "matroskamux");
    let (whole, error) = drain(&mut *offline(&path).unwrap());
    assert!(error.is_none() && whole.len() == 100, "{error:?}");
    let (frames, error) = drain(&mut *offline(&overwritten(&path, 0.45, DAMAGE)).unwrap());
    assert!(
        frames.len() < 100 && matches!(error, Some(SourceError::CutOff { .. })),
        "{}: {error:?}",
        frames.len()
    );
}

#[test]
fn damage_is_told_with_its_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let encoder = "x264enc speed-preset=veryfast key-int-max=20 bitrate=1500 ! h264parse";
    let damaged = overwritten(&clip(dir.path(), "x.mp4", &moving(encoder), "mp4mux"), 0.45, DAMAGE);
    let outcome = farout(["replay", "--bypass", damaged.to_str().unwrap()]);
    assert_eq!(outcome.code, Some(3), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("left out: damaged"), "{}", outcome.stderr);
}

/// Packets that are missing, not damaged: the pictures after the gap refer to what nobody has.
#[test]
fn a_gap_in_a_transport_stream_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let encoder = "x264enc speed-preset=veryfast key-int-max=20 bitrate=1500 ! h264parse";
    let path = clip(dir.path(), "x.ts", &moving(encoder), "mpegtsmux");
    let (whole, _) = drain(&mut *offline(&path).unwrap());
    let bytes = std::fs::read(&path).unwrap();
    let packets = bytes.len() / 188;
    let (from, to) = (packets * 45 / 100 * 188, packets * 48 / 100 * 188);
    std::fs::write(&path, [&bytes[..from], &bytes[to..]].concat()).unwrap();
    let (frames, error) = drain(&mut *offline(&path).unwrap());
    println!("{} frames: {error:?}", frames.len());
    assert!(matches!(error, Some(SourceError::CutOff { .. })), "{error:?}");
    for frame in &frames {
        let same = whole.iter().any(|sound| *sound.pixels == *frame.pixels);
        assert!(same, "frame {} is smeared", frame.id);
    }
}

/// Live, the same is left out, and the stream goes on.
#[test]
fn live_streams_wait_for_a_whole_picture() {
    use std::io::{Read, Write};
    let dir = tempfile::tempdir().unwrap();
    let encoder = "x264enc speed-preset=veryfast key-int-max=20 bitrate=1500 ! h264parse";
    let path = clip(dir.path(), "x.ts", &moving(encoder), "mpegtsmux");
    let (whole, _) = drain(&mut *offline(&path).unwrap());
    let bytes = std::fs::read(overwritten(&path, 0.45, DAMAGE)).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/live.ts", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let _ = connection.read(&mut [0; 1024]);
            let _ = connection
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\nConnection: close\r\n\r\n");
            for part in bytes.chunks(bytes.len() / 50) {
                let _ = connection.write_all(part);
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            held.push(connection);
        }
    });
    let config = SourceConfig { timeout_secs: 1.0, ..SourceConfig::default() };
    let mut source = open(&url, &config, Purpose::Live, Stop::new()).unwrap();
    let status = source.status().unwrap();
    let mut seen = Vec::new();
    while status.reconnects() == 0 {
        let frame = source.next().unwrap().unwrap();
        let number = whole.iter().position(|sound| *sound.pixels == *frame.pixels);
        seen.push(number.unwrap_or_else(|| panic!("frame {} is smeared", frame.id)));
    }
    println!("{seen:?}");
    assert!(seen.iter().any(|n| (60..100).contains(n)), "it goes on after the damage: {seen:?}");
}
