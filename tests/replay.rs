//! Replays from end to end: the same twice, to the last good frame, whatever the pictures are like.

use std::path::{Path, PathBuf};

use crate::support::given::{DRIVE, given, text};
use crate::support::program::{Outcome, Running, farout, program};

/// A replay of `source` by the tiny model with everything that `extra` asks for.
fn replay(source: &str, extra: &[&str]) -> Outcome {
    let given = given();
    let fixed =
        ["replay", source, "--device", "cpu", "--model", text(&given.model), "--bank", text(&given.bank)];
    farout([&fixed, extra].concat())
}

/// The files of a folder in order, with their bytes.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut paths: Vec<PathBuf> = folder.read_dir().unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    let name = |p: &Path| p.file_name().unwrap().to_string_lossy().into_owned();
    paths.iter().map(|p| (name(p), std::fs::read(p).unwrap())).collect()
}

/// Width and height that a NumPy file of ours declares.
fn npy_size(bytes: &[u8]) -> (usize, usize) {
    let header = String::from_utf8_lossy(&bytes[..128]).into_owned();
    let shape = header.split("'shape': (").nth(1).unwrap().split(')').next().unwrap();
    let sides: Vec<usize> = shape.split(',').map(|s| s.trim().parse().unwrap()).collect();
    assert_eq!(bytes.len(), 128 + 4 * sides[0] * sides[1]);
    (sides[1], sides[0])
}

#[test]
fn two_runs_are_byte_identical() {
    let dir = tempfile::tempdir().unwrap();
    let run = |name: &str| {
        let scores = dir.path().join(name);
        let events = dir.path().join(format!("{name}.jsonl"));
        // A threshold that part of the road exceeds, so that there are events to compare.
        let extra =
            ["--frames", "14", "--threshold", "0.05", "--scores", text(&scores), "--events", text(&events)];
        let told = replay(DRIVE, &[&extra[..], &["--json"]].concat()).succeeded().json();
        assert_eq!((told["frames"].as_u64(), told["dropped"].as_u64()), (Some(14), Some(0)), "{told}");
        assert!(told["threshold"].as_f64().is_some() && told["threshold_basis"].is_string(), "{told}");
        (files(&scores), std::fs::read(events).unwrap())
    };
    let (first, second) = (run("first"), run("second"));
    assert_eq!(first.0.len(), 14);
    assert_eq!(npy_size(&first.0[0].1), (320, 180));
    assert!(first == second, "two runs differ");
    let log = String::from_utf8(first.1).unwrap();
    assert!(log.lines().count() >= 2, "no events to compare: {log}");
    for line in log.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        for key in ["kind", "event", "frame", "time_secs", "first_frame", "last_frame", "box", "area", "peak"]
        {
            assert!(event.get(key).is_some(), "{key} is missing: {line}");
        }
    }
}

#[test]
fn images_of_any_size_keep_their_names() {
    let dir = tempfile::tempdir().unwrap();
    let (images, out) = (dir.path().join("in"), dir.path().join("out"));
    std::fs::create_dir(&images).unwrap();
    let sizes = [("b10", 321, 241), ("b9", 64, 48), ("wide", 400, 100)];
    for (name, width, height) in sizes {
        let picture = image::RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 90]));
        // The ending lies: the content decides.
        picture.save_with_format(images.join(format!("{name}.jpg")), image::ImageFormat::Png).unwrap();
    }
    let told = replay(text(&images), &["--scores", text(&out), "--pictures", text(&out), "--json"])
        .succeeded()
        .json();
    assert_eq!(told["frames"], 3);
    for (name, width, height) in sizes {
        let scores = std::fs::read(out.join(format!("{name}.npy"))).unwrap();
        assert_eq!(npy_size(&scores), (width as usize, height as usize), "{name}");
        assert_eq!(image::image_dimensions(out.join(format!("{name}.png"))).unwrap(), (width, height));
    }
    let again = out.join(".");
    let both = replay(text(&images), &["--frames-out", text(&out), "--pictures", text(&again)]);
    assert_ne!(both.code, Some(0), "frames and pictures would overwrite each other");
    assert!(both.stderr.contains("--frames-out") && both.stderr.contains("--pictures"), "{}", both.stderr);
}

#[test]
fn a_signal_finishes_files_and_a_second_one_leaves_at_once() {
    let given = given();
    let endless = || {
        let mut command = program();
        command.args(["replay", DRIVE, "--model", text(&given.model), "--bank", text(&given.bank)]);
        command
    };
    let dir = tempfile::tempdir().unwrap();
    let mut command = endless();
    command.args(["--scores", text(dir.path()), "--json"]);
    let mut running = Running::start(command);
    let count = || dir.path().read_dir().unwrap().count();
    running.until("five frames", || count() > 5);
    running.signal(libc::SIGINT);
    let told = running.outcome().succeeded().json();
    assert_eq!(told["frames"].as_u64().unwrap(), count() as u64, "each frame that was taken is finished");

    // The second signal comes while the first one's draining waits for a pipe that nobody reads.
    let pipe = dir.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let mut command = endless();
    command.args(["--events", text(&pipe), "--threshold", "0"]);
    let mut running = Running::start(command);
    running.until_it_listens_to(libc::SIGTERM);
    running.signal(libc::SIGTERM);
    // Two that come together are one to the system.
    std::thread::sleep(std::time::Duration::from_millis(200));
    running.signal(libc::SIGTERM);
    assert_eq!(running.outcome().code, Some(130));
}

#[cfg(feature = "media")]
mod video {
    use super::*;
    use crate::support::clips::{ball, clip, cut};

    /// How many frames a player finds in a file.
    fn played(path: &Path) -> u64 {
        let arguments = ["-v", "error", "-count_frames", "-select_streams", "v", "-show_entries"];
        let output = std::process::Command::new("ffprobe")
            .args(arguments)
            .args(["stream=nb_read_frames", "-of", "csv=p=0"])
            .arg(path)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).trim().trim_end_matches(',').parse().unwrap()
    }

    #[test]
    fn a_clip_that_is_cut_off_is_processed_to_its_last_good_frame() {
        let dir = tempfile::tempdir().unwrap();
        let video = ball(60, 320, 180);
        for (name, mux) in
            [("a.mp4", "mp4mux faststart=true"), ("a.mkv", "matroskamux"), ("a.ts", "mpegtsmux")]
        {
            let whole = clip(dir.path(), name, &video, mux);
            let half = cut(&whole, 0.6);
            let (out, scores) =
                (dir.path().join(format!("{name}.out.mp4")), dir.path().join(format!("{name}.scores")));
            let ended = replay(text(&half), &["--video", text(&out), "--scores", text(&scores), "--json"]);
            let frames = ended.json()["frames"].as_u64().unwrap();
            assert!((10..60).contains(&frames), "{name}: {frames} frames");
            assert_eq!(ended.code, Some(3), "{name}: {}", ended.stderr);
            let last = format!("after frame {}", frames - 1);
            assert!(ended.stderr.contains(&last), "{name}: no {last:?} in {}", ended.stderr);
            assert_eq!(files(&scores).len() as u64, frames, "{name}");
            assert_eq!(played(&out), frames, "{name}");
        }
    }

    #[test]
    fn interlaced_variable_odd_and_changing_pictures_all_arrive() {
        let dir = tempfile::tempdir().unwrap();
        let odd =
            "gst:videotestsrc num-buffers=7 ! video/x-raw,format=I420,width=321,height=181,framerate=25/1";
        let changing = "gst:concat name=c videotestsrc num-buffers=5 ! video/x-raw,format=I420,width=320,height=180,\
                        framerate=25/1 ! c. videotestsrc num-buffers=6 ! video/x-raw,format=NV12,width=640,height=360,\
                        framerate=25/1 ! c. c. ! identity";
        let interlaced = "gst:videotestsrc num-buffers=8 ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 \
                          ! interlace field-pattern=1:1 ! identity";
        for (what, source, frames) in
            [("odd", odd, 7..8), ("changing", changing, 11..12), ("interlaced", interlaced, 3..9)]
        {
            let out = dir.path().join(format!("{what}.mp4"));
            let told = replay(source, &["--video", text(&out), "--json"]).succeeded().json();
            let count = told["frames"].as_u64().unwrap();
            assert!(frames.contains(&count), "{what}: {count} frames");
            assert_eq!(played(&out), count, "{what}");
        }
    }

    #[test]
    fn a_changing_rate_keeps_every_frame_and_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let part = |frames: u32, rate: u32| {
            format!(
                "videotestsrc num-buffers={frames} ! video/x-raw,format=I420,width=320,height=180,framerate={rate}/1 ! c."
            )
        };
        let video = format!(
            "{} {} concat name=c ! capssetter caps=video/x-raw,framerate=0/1 ! jpegenc",
            part(10, 25),
            part(10, 5)
        );
        let clip = clip(dir.path(), "variable.mkv", &video, "matroskamux");
        let out = dir.path().join("out.mp4");
        let told = replay(text(&clip), &["--video", text(&out), "--json"]).succeeded().json();
        assert_eq!(told["frames"], 20);
        assert_eq!(played(&out), 20);
        // Ten frames of 40 ms, then ten of 200 ms; the last one's length is not told.
        let (frames, error) =
            crate::support::clips::drain(&mut *crate::support::clips::offline(&out).unwrap());
        assert!(error.is_none(), "{error:?}");
        for (n, frame) in frames.iter().enumerate() {
            let due = if n < 10 { 0.04 * n as f64 } else { 0.4 + 0.2 * (n - 10) as f64 };
            assert!((frame.pts.as_secs_f64() - due).abs() < 0.005, "frame {n} at {:?}, not {due}", frame.pts);
        }
    }

    #[test]
    fn a_kill_leaves_a_playable_video_and_whole_events() {
        let given = given();
        let dir = tempfile::tempdir().unwrap();
        let (out, events) = (dir.path().join("out.mp4"), dir.path().join("events.jsonl"));
        let mut command = program();
        command.args(["replay", DRIVE, "--model", text(&given.model), "--bank", text(&given.bank)]).args([
            "--threshold",
            "0.05",
            "--video",
            text(&out),
            "--events",
            text(&events),
        ]);
        let mut running = Running::start(command);
        let written = |path: &Path| path.metadata().map_or(0, |m| m.len());
        running.until("some video and events", || written(&out) > 40_000 && written(&events) > 0);
        running.signal(libc::SIGKILL);
        drop(running);
        assert!(played(&out) > 10);
        let log = std::fs::read_to_string(events).unwrap();
        assert!(log.ends_with('\n'));
        for line in log.lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        }
    }
}
