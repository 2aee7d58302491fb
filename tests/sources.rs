//! Sources read real files: whole, cut off, unreadable, odd, interlaced, changing.
#![cfg(feature = "media")]
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::clips::*;
use crate::support::skipped::skipped;
use farout::source::{Purpose, SourceConfig, SourceError, open};
use farout::stop::Stop;

const STEP: Duration = Duration::from_millis(40);
/// Containers, and what makes them from H.264.
const MUXERS: [(&str, &str); 5] = [
    ("a.mp4", "mp4mux faststart=true"),
    ("b.mp4", "mp4mux fragment-duration=500"),
    ("c.mkv", "matroskamux"),
    ("d.ts", "mpegtsmux"),
    ("e.avi", "video/x-h264,stream-format=byte-stream ! avimux"),
];

#[test]
fn every_frame_of_whole_recordings_and_the_rest_of_cut_ones() {
    let dir = tempfile::tempdir().unwrap();
    for (name, mux) in MUXERS {
        let whole = clip(dir.path(), name, &ball(75, 162, 90), mux);
        let mut source = offline(&whole).unwrap();
        let (frames, error) = drain(&mut *source);
        assert!(error.is_none(), "{name}: {error:?}");
        assert_eq!(frames.len(), 75, "{name}");
        assert_steady(&frames, STEP, name);
        assert!(frames.iter().all(|f| (f.width, f.height, &*f.name) == (162, 90, &name[..1])), "{name}");
        assert!(
            source.describe().contains("264dec") || source.describe().contains("avdec_h264"),
            "{}",
            source.describe()
        );
        assert!(!source.is_live());
        if name != "d.ts" {
            assert_eq!(source.rate(), Some(25.0), "{name}");
        }

        // What recorders leave behind the end is no damage.
        for behind in [&[0; 4][..], &[0; 5000], b"made by a dashcam", b"\0\0\0\x10gps0nothing!"] {
            let more = dir.path().join(format!("more-{name}"));
            std::fs::write(&more, [&std::fs::read(&whole).unwrap(), behind].concat()).unwrap();
            let (frames, error) = drain(&mut *offline(&more).unwrap());
            assert!(error.is_none() && frames.len() == 75, "{name}: {} frames, {error:?}", frames.len());
        }

        let cut = cut(&whole, 0.6);
        match offline(&cut).map(|mut source| drain(&mut *source)) {
            Ok((frames, Some(SourceError::CutOff { last_frame, last_secs, location, .. }))) => {
                assert!((25..70).contains(&frames.len()), "{name}: {}", frames.len());
                assert_steady(&frames, STEP, name);
                let last = frames.last().unwrap();
                assert_eq!(last_frame, last.id);
                assert!((last_secs - last.pts.as_secs_f64()).abs() < 1e-6);
                assert_eq!(location, cut.to_str().unwrap());
                println!("{name}: {} of 75 frames from 60 % of the bytes", frames.len());
            }
            other => panic!("{name}: {:?}", other.map(|(f, e)| (f.len(), e))),
        }
    }
}

#[test]
fn sound_that_outlasts_the_pictures_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("long-sound.mkv");
    run_to_end(&format!(
        "matroskamux name=m ! filesink location=\"{}\" {} ! m. audiotestsrc num-buffers=300 ! vorbisenc ! m.",
        path.display(),
        ball(25, 64, 64)
    ));
    let (frames, error) = drain(&mut *offline(&path).unwrap());
    assert_eq!((frames.len(), error.map(|e| e.to_string())), (25, None));
}

#[test]
fn what_cannot_be_read_is_named_with_reason_and_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("text.mp4"), "this is a shopping list, not a video\n".repeat(50)).unwrap();
    std::fs::write(at("empty.mp4"), "").unwrap();
    std::fs::write(at("zeros.mp4"), vec![0; 100_000]).unwrap();
    let slow = clip(dir.path(), "slow.mp4", &ball(50, 64, 64), "mp4mux");
    let crashed = cut(&slow, 0.6);
    std::process::Command::new("mkfifo").arg(at("pipe.mp4")).status().unwrap();
    let sound = at("sound.mkv");
    run_to_end(&format!(
        "audiotestsrc num-buffers=20 ! vorbisenc ! matroskamux ! filesink location=\"{}\"",
        sound.display()
    ));
    // A codec that GStreamer's reader of AVI has no name for: ProRes.
    let video = "videotestsrc num-buffers=3 ! video/x-raw,width=64,height=64 ! jpegenc";
    let codec = clip(dir.path(), "codec.avi", video, "avimux");
    let mut bytes = std::fs::read(&codec).unwrap();
    while let Some(at) = bytes.windows(4).position(|four| four == b"MJPG") {
        bytes[at..at + 4].copy_from_slice(b"apcn");
    }
    std::fs::write(&codec, bytes).unwrap();
    std::fs::write(
        at("still.tga"),
        [&[0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 2, 0, 24, 0][..], &[7; 12]].concat(),
    )
    .unwrap();
    let cases: [(&Path, &str); 10] = [
        (&codec, "-c copy FILE.mkv"),
        (&at("still.tga"), "TGA is not read"),
        (&at("missing.mp4"), "no such file"),
        (&at("text.mp4"), "is it a video?"),
        (&at("empty.mp4"), "0 bytes"),
        (&at("zeros.mp4"), "zeros.mp4"),
        (&crashed, "moov"),
        (&at("pipe.mp4"), "neither a file nor a folder"),
        (&sound, "no video"),
        (Path::new("v4l2:///dev/video-none"), "no such camera"),
    ];
    for (path, want) in cases {
        let start = Instant::now();
        let error = match offline(path) {
            Err(error @ SourceError::Unreadable { .. }) => error.to_string(),
            other => panic!("{}: {:?}", path.display(), other.map(|s| s.describe())),
        };
        println!("{error}");
        assert!(error.contains(path.to_str().unwrap()) && error.contains(want), "{error}");
        assert!(start.elapsed() < Duration::from_secs(15), "{} hung", path.display());
    }
}

#[test]
fn odd_sizes_and_changing_sizes_pass_through() {
    let dir = tempfile::tempdir().unwrap();
    let odd = "videotestsrc num-buffers=5 ! video/x-raw,width=161,height=91,framerate=25/1 ! jpegenc";
    let path = clip(dir.path(), "odd.avi", odd, "avimux");
    let (frames, error) = drain(&mut *offline(&path).unwrap());
    assert!(error.is_none());
    assert!(frames.len() == 5 && frames.iter().all(|f| (f.width, f.height) == (161, 91)));
    assert!(frames[0].colour.full_range);

    let first = clip(dir.path(), "first.ts", &ball(25, 160, 90), "mpegtsmux");
    let second = clip(dir.path(), "second.ts", &ball(25, 320, 180), "mpegtsmux");
    let both = dir.path().join("both.ts");
    std::fs::write(&both, [std::fs::read(first).unwrap(), std::fs::read(second).unwrap()].concat()).unwrap();
    let (frames, error) = drain(&mut *offline(&both).unwrap());
    assert!(error.is_none(), "{error:?}");
    let widths: Vec<usize> = frames.iter().map(|f| f.width).collect();
    assert!(widths.is_sorted() && widths.first() == Some(&160) && widths.last() == Some(&320), "{widths:?}");
    assert!(frames.len() >= 45, "{}", frames.len());
    assert!(frames.is_sorted_by(|a, b| a.pts < b.pts && a.id + 1 == b.id));
}

#[test]
fn interlaced_video_keeps_its_frame_count() {
    let dir = tempfile::tempdir().unwrap();
    let video = "videotestsrc pattern=ball num-buffers=50 ! video/x-raw,format=I420,width=160,height=96,framerate=50/1 \
        ! interlace field-pattern=1:1 top-field-first=true ! x264enc interlaced=true speed-preset=ultrafast ! h264parse";
    let path = clip(dir.path(), "i.mkv", video, "matroskamux");
    let (frames, error) = drain(&mut *offline(&path).unwrap());
    assert!(error.is_none(), "{error:?}");
    assert!((24..=26).contains(&frames.len()), "{}", frames.len());
    assert_steady(&frames, STEP, "interlaced");
}

#[test]
fn pixels_and_colours_arrive() {
    let dir = tempfile::tempdir().unwrap();
    for (colour, hd, want) in [
        ("0xff0000ff", false, [41, 240, 110]),
        ("0xff0000ff", true, [32, 240, 118]),
        ("0xffffffff", true, [235, 128, 128]),
    ] {
        let size = if hd { "width=1280,height=720" } else { "width=320,height=240" };
        let video = format!(
            "videotestsrc pattern=solid-color foreground-color={colour} num-buffers=3 \
            ! video/x-raw,format=I420,{size},framerate=25/1 ! x264enc qp-max=20 speed-preset=ultrafast ! h264parse"
        );
        let path = clip(dir.path(), "colour.mp4", &video, "mp4mux");
        let (frames, _) = drain(&mut *offline(&path).unwrap());
        let layout = frames[2].i420().unwrap();
        let (y, u, v) = layout.planes(&frames[2].pixels);
        let got =
            [y[layout.y_stride * 50 + 50], u[layout.uv_stride * 50 + 50], v[layout.uv_stride * 50 + 50]];
        let near = got.iter().zip(want).all(|(a, b): (&u8, u8)| a.abs_diff(b) <= 3);
        assert!(near, "{colour} {size}: {got:?}, not {want:?}");
        assert_eq!(frames[2].colour.matrix == farout::frame::Matrix::Bt709, hd);
    }
}

#[test]
fn launch_descriptions_live_and_not() {
    let config = SourceConfig { pace: farout::source::Pace::Fast, ..SourceConfig::default() };
    let read = |location: &str, purpose| {
        let mut source = open(location, &config, purpose, Stop::new()).unwrap();
        let live = source.is_live();
        (drain(&mut *source), live)
    };
    let plain = "gst:videotestsrc num-buffers=20 ! video/x-raw,width=64,height=48,framerate=20/1";
    for purpose in [Purpose::Live, Purpose::Offline] {
        let ((frames, error), live) = read(plain, purpose);
        assert!(error.is_none() && !live, "{error:?}");
        assert_eq!(frames.len(), 20);
        assert_steady(&frames, Duration::from_millis(50), plain);
    }
    let live = "gst:videotestsrc is-live=true num-buffers=10 ! video/x-raw,format=NV12,width=64,height=48,framerate=20/1";
    let ((frames, error), is_live) = read(live, Purpose::Live);
    assert!(error.is_none() && is_live, "{error:?} {is_live}");
    assert!(!frames.is_empty() && frames.is_sorted_by(|a, b| a.id < b.id && a.captured < b.captured));
    let error = open("gst:nosuchsrc", &config, Purpose::Offline, Stop::new()).err().unwrap().to_string();
    assert!(error.contains("nosuchsrc"), "{error}");
}

#[test]
fn a_paced_loop_is_live_and_continuous() {
    let dir = tempfile::tempdir().unwrap();
    let path = clip(dir.path(), "short.mp4", &ball(10, 64, 64), "mp4mux");
    let config = SourceConfig { repeat: true, ..SourceConfig::default() };
    let stop = Stop::new();
    let mut source = open(path.to_str().unwrap(), &config, Purpose::Live, stop.clone()).unwrap();
    assert!(source.is_live());
    let frames: Vec<_> = (0..25).map(|_| source.next().unwrap().unwrap()).collect();
    assert_steady(&frames, STEP, "loop");
    assert!(frames.is_sorted_by(|a, b| a.captured < b.captured));
    stop.ask();
    assert!(source.next().unwrap().is_none());
}

#[test]
fn real_clips_are_read_whole_and_cut() {
    let Some(shared) = std::env::var_os("FAROUT_SHARED") else {
        skipped("real clips", "FAROUT_SHARED names no folder with data/clips");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let clips = Path::new(&shared).join("data/clips");
    let mut read = 0;
    for clip in std::fs::read_dir(clips).unwrap().map(|e| e.unwrap().path()) {
        let told = std::process::Command::new("ffprobe")
            .args(
                "-v error -select_streams v:0 -count_frames -show_entries stream=nb_read_frames -of csv=p=0"
                    .split(' '),
            )
            .arg(&clip)
            .output()
            .unwrap();
        let want: u64 = String::from_utf8_lossy(&told.stdout).trim().trim_end_matches(',').parse().unwrap();
        let mut source = offline(&clip).unwrap();
        let mut frames = 0;
        while source.next().unwrap().is_some() {
            frames += 1;
        }
        println!("{}: {frames} of {want} frames", source.describe());
        assert_eq!(frames, want, "{}", clip.display());
        let bytes = std::fs::read(&clip).unwrap();
        let half = dir.path().join(clip.file_name().unwrap());
        std::fs::write(&half, &bytes[..bytes.len() / 2]).unwrap();
        let told = match offline(&half) {
            Err(error) => error.to_string(),
            Ok(mut source) => loop {
                match source.next() {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("{}: the cut is not noticed", half.display()),
                    Err(error) => break error.to_string(),
                }
            },
        };
        println!("  cut: {told}");
        read += 1;
    }
    assert!(read > 0);
}
