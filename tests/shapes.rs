//! Pictures arrive upright and with square pixels, and of several tracks the right one is read.
#![cfg(feature = "media")]
#![allow(clippy::unwrap_used)]

use std::path::Path;

use crate::support::clips::*;
use crate::support::judge;
use crate::support::program::farout;
use farout::frame::Frame;

fn frames(clip: &Path) -> Vec<Frame> {
    let (frames, error) = drain(&mut *offline(clip).unwrap());
    assert!(error.is_none() && !frames.is_empty(), "{}: {error:?}", clip.display());
    frames
}

/// Gives the only track of an MP4 file the display matrix a, b, c, d.
fn turn(clip: &Path, matrix: [i32; 4]) {
    let mut bytes = std::fs::read(clip).unwrap();
    let at = bytes.windows(4).position(|four| four == b"tkhd").unwrap() + 4;
    let matrix_at = at + if bytes[at] == 1 { 52 } else { 40 };
    for (place, value) in [0, 1, 3, 4].into_iter().zip(matrix) {
        bytes[matrix_at + 4 * place..][..4].copy_from_slice(&(value << 16).to_be_bytes());
    }
    std::fs::write(clip, bytes).unwrap();
}

#[test]
fn all_eight_turns_of_a_phone() {
    let dir = tempfile::tempdir().unwrap();
    let video = "videotestsrc pattern=smpte num-buffers=4 ! video/x-raw,format=I420,width=162,height=90,framerate=25/1 \
        ! x264enc speed-preset=ultrafast ! h264parse";
    let clip = clip(dir.path(), "phone.mp4", video, "mp4mux");
    let stored = frames(&clip);
    let (width, height) = (stored[0].width, stored[0].height);
    for [a, b, c, d] in [
        [1, 0, 0, 1],
        [0, 1, -1, 0],
        [-1, 0, 0, -1],
        [0, -1, 1, 0],
        [-1, 0, 0, 1],
        [1, 0, 0, -1],
        [0, 1, 1, 0],
        [0, -1, -1, 0],
    ] {
        turn(&clip, [a, b, c, d]);
        let upright = frames(&clip);
        assert_eq!(upright.len(), stored.len());
        let (from, to) = (&stored[3], &upright[3]);
        let want = if a == 0 { (height, width) } else { (width, height) };
        assert_eq!((to.width, to.height), want, "{a} {b} {c} {d}");
        let (from_layout, to_layout) = (from.i420().unwrap(), to.i420().unwrap());
        // A stored pixel lands where the matrix says; the picture then begins at zero again.
        let place = |x: usize, y: usize, p: i32, q: i32, len: usize| {
            let at = x as i32 * p + y as i32 * q;
            if p + q < 0 { (len as i32 - 1 + at) as usize } else { at as usize }
        };
        for (x, y) in (0..height).flat_map(|y| (0..width).map(move |x| (x, y))) {
            let at = place(x, y, b, d, to.height) * to_layout.y_stride + place(x, y, a, c, to.width);
            assert_eq!(
                to.pixels[at],
                from.pixels[y * from_layout.y_stride + x],
                "{a} {b} {c} {d} at {x},{y}"
            );
        }
        if judge::is_there() {
            let off = judge::difference(&judge::rgb(&upright[0]), &judge::picture(&clip));
            assert!(off < 6.0, "{a} {b} {c} {d}: off by {off:.2} from ffmpeg");
        }
    }
}

#[test]
fn pixels_become_square() {
    let dir = tempfile::tempdir().unwrap();
    for ((width, height), aspect, want) in [
        ((352, 288), "2/1", (704, 288)),
        ((720, 576), "16/11", (1048, 576)),
        ((720, 576), "12/11", (786, 576)),
        ((720, 480), "10/11", (720, 528)),
        ((720, 480), "40/33", (872, 480)),
        ((1440, 1080), "4/3", (1920, 1080)),
        ((320, 240), "1/1", (320, 240)),
        ((854, 480), "1280/1281", (854, 480)),
        ((320, 240), "1/1000", (320, 240)),
    ] {
        let video = format!(
            "videotestsrc pattern=smpte num-buffers=2 ! video/x-raw,format=I420,width={width},height={height},framerate=25/1,pixel-aspect-ratio={aspect} \
             ! x264enc speed-preset=ultrafast ! h264parse"
        );
        for (name, mux) in [("a.mp4", "mp4mux"), ("a.mkv", "matroskamux"), ("a.ts", "mpegtsmux")] {
            let frames = frames(&clip(dir.path(), name, &video, mux));
            let sizes: Vec<_> = frames.iter().map(|f| (f.width, f.height)).collect();
            // Matroska keeps the size of the display in whole pixels.
            let slack = if name == "a.mkv" { 2 } else { 0 };
            let near = |&(w, h): &(usize, usize)| w.abs_diff(want.0) <= slack && h.abs_diff(want.1) <= slack;
            assert!(
                !sizes.is_empty() && sizes.iter().all(near),
                "{width}x{height} {aspect} {name}: {sizes:?}"
            );
            // The first of seven bars ends where it should: white to the left of it, yellow to the right.
            let (frame, layout) = (&frames[0], frames[0].i420().unwrap());
            let (_, cb, _) = layout.planes(&frame.pixels);
            let row = &cb[frame.height / 8 * layout.uv_stride..][..layout.uv_width()];
            let border = layout.uv_width() / 7;
            let slack = 3;
            assert!(row[border - slack] > 110 && row[border + slack] < 90, "{name} {aspect}: {row:?}");
        }
    }
}

/// A turned picture of pixels that are not square: stretched as it is stored, then turned.
#[test]
fn stretched_and_turned() {
    let dir = tempfile::tempdir().unwrap();
    let video = "videotestsrc num-buffers=2 ! video/x-raw,format=I420,width=160,height=96,framerate=25/1,pixel-aspect-ratio=3/2 \
        ! x264enc speed-preset=ultrafast ! h264parse";
    let clip = clip(dir.path(), "phone.mp4", video, "mp4mux");
    turn(&clip, [0, 1, -1, 0]);
    assert_eq!((frames(&clip)[0].width, frames(&clip)[0].height), (96, 240));
}

#[test]
fn the_video_that_is_written_has_square_pixels() {
    if !judge::is_there() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from.mp4"), dir.path().join("to.mp4"));
    judge::makes(
        "-f lavfi -i testsrc=s=352x288:r=10:d=0.5 -vf setsar=2/1 -c:v libx264 -preset ultrafast",
        &from,
    );
    farout(["replay", "--bypass", from.to_str().unwrap(), "--video", to.to_str().unwrap()]).succeeded();
    let told = std::process::Command::new("ffprobe")
        .args("-v error -show_entries stream=width,height,sample_aspect_ratio -of csv=p=0".split(' '))
        .arg(&to)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&told.stdout).trim(), "704,288,1:1");
}

#[test]
fn of_several_tracks_the_default_one_is_read_and_the_others_are_told() {
    if !judge::is_there() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let two = "-f lavfi -i testsrc=s=160x90:r=10:d=1 -f lavfi -i testsrc2=s=320x180:r=10:d=1 -map 0 -map 1 -c:v libx264 -preset ultrafast";
    for (name, flags, want) in [
        ("second.mkv", "-disposition:v:0 0 -disposition:v:1 default", "320x180"),
        ("first.mkv", "-disposition:v:0 default -disposition:v:1 0", "160x90"),
        ("unsaid.mkv", "-disposition:v:0 0 -disposition:v:1 0", "320x180"),
        ("both.mp4", "-disposition:v:0 default -disposition:v:1 default", "320x180"),
        ("second.mp4", "-disposition:v:0 0 -disposition:v:1 default", "320x180"),
        ("first.mp4", "-disposition:v:0 default -disposition:v:1 0", "160x90"),
    ] {
        let clip = dir.path().join(name);
        judge::makes(&format!("{two} {flags}"), &clip);
        let outcome = farout(["replay", "--bypass", clip.to_str().unwrap()]).succeeded();
        let told = &outcome.stderr;
        assert!(
            told.contains("2 video tracks") && told.contains("160x90") && told.contains("320x180"),
            "{name}: {told}"
        );
        assert!(told.contains(&format!("{want}, ")), "{name}: {told}");
        assert!(outcome.stdout.contains("10 frames"), "{name}: {}", outcome.stdout);
    }
}

#[test]
fn oddities_of_containers() {
    if !judge::is_there() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // An alpha channel that is announced and never comes.
    let alpha = dir.path().join("alpha.webm");
    judge::makes(
        "-f lavfi -i testsrc=s=160x96:r=10:d=1 -c:v libvpx-vp9 -deadline realtime -pix_fmt yuv420p -metadata:s:v alpha_mode=1",
        &alpha,
    );
    assert_eq!(frames(&alpha).len(), 10);
    // A short video that begins late.
    let (plain, late) = (dir.path().join("plain.mp4"), dir.path().join("late.mp4"));
    judge::makes("-f lavfi -i testsrc=s=160x96:r=10:d=1 -c:v libx264 -preset ultrafast", &plain);
    judge::makes(&format!("-itsoffset 8.3 -i {} -c copy", plain.display()), &late);
    let told = offline(&late).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(told.contains("less than a fifth") && told.contains("-c copy"), "{told}");
}
