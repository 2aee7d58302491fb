//! Colours arrive as ffmpeg shows them: whatever is said of range and matrix, in the stream, in the container, or nowhere.
#![cfg(feature = "media")]
#![allow(clippy::unwrap_used)]

use std::path::Path;

use crate::support::clips::*;
use crate::support::judge;
use farout::frame::{Colour, Matrix};

/// Numbers of a picture; what they are said to mean differs.
const BARS: &str = "-f lavfi -i smptehdbars=s=160x96:r=10:d=0.3,gblur=sigma=5";
/// What is said, and nothing of it.
const SAID: [&str; 8] = [
    "",
    "-color_range pc",
    "-color_range tv -colorspace bt709 -color_primaries bt709 -color_trc bt709",
    "-color_range pc -colorspace bt709 -color_primaries bt709 -color_trc bt709",
    "-color_range pc -colorspace smpte170m -color_primaries smpte170m -color_trc smpte170m",
    "-color_range tv -colorspace bt2020nc -color_primaries bt2020 -color_trc bt2020-10",
    "-color_range pc -colorspace smpte240m -color_primaries smpte240m -color_trc smpte240m",
    "-color_range tv -colorspace fcc -color_primaries bt470m -color_trc gamma22",
];

/// How far the first frame is from what ffmpeg makes of the file, and what its colours are taken for.
#[track_caller]
fn beside_ffmpeg(clip: &Path, what: &str) -> (f64, Colour) {
    let (frames, error) = drain(&mut *offline(clip).unwrap_or_else(|e| panic!("{what}: {e}")));
    assert!(error.is_none() && !frames.is_empty(), "{what}: {error:?}");
    let off = judge::difference(&judge::rgb(&frames[0]), &judge::picture(clip));
    println!("{what}: {:?}, off by {off:.2}", frames[0].colour);
    (off, frames[0].colour)
}

/// Mean differences stay below this where ranges and matrices are right, and are above 4 where one is wrong.
const NEAR: f64 = 2.2;

#[test]
fn in_every_codec_and_container() {
    if !judge::is_there() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let x264 = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p";
    let x265 = "-c:v libx265 -preset ultrafast -x265-params log-level=error -pix_fmt yuv420p";
    let vp9 = "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -pix_fmt yuv420p";
    let av1 = "-c:v libaom-av1 -cpu-used 8 -usage realtime -pix_fmt yuv420p";
    let (mut seen, mut wrong) = (0, Vec::new());
    for (encoder, endings) in [
        (x264, &["mp4", "mov", "mkv", "ts", "flv", "avi"][..]),
        (x265, &["mp4", "mkv", "ts"]),
        (vp9, &["webm", "mp4"]),
        (av1, &["mp4", "mkv"]),
        ("-c:v mpeg2video -q:v 2 -r 25 -pix_fmt yuv420p", &["ts", "mpg"]),
        ("-c:v mpeg4 -q:v 2 -pix_fmt yuv420p", &["avi", "mp4"]),
        ("-c:v mjpeg -q:v 2 -pix_fmt yuvj420p", &["avi", "mov", "mkv"]),
        ("-c:v libvpx -pix_fmt yuv420p", &["webm"]),
    ] {
        for (number, ending) in endings.iter().enumerate() {
            // The first container has every way in which colours are said; the others the first that differ.
            for said in if number == 0 { &SAID[..] } else { &SAID[1..4] } {
                // MPEG-4 and Motion JPEG have no words for it, MPEG-2 none for the range.
                if (encoder.contains("mpeg") || encoder.contains("libvpx -")) && said.contains("pc") {
                    continue;
                }
                let clip = dir.path().join(format!("clip.{ending}"));
                if judge::makes(&format!("{BARS} {encoder} {said}"), &clip) {
                    let what = format!("{encoder} .{ending} {said}");
                    let (off, colour) = beside_ffmpeg(&clip, &what);
                    if off > NEAR {
                        wrong.push(format!("{what}: {colour:?} is off by {off:.2}"));
                    }
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 40 && wrong.is_empty(), "{} of {seen}: {wrong:#?}", wrong.len());
}

/// Formats that are converted on their way keep their range and matrix.
#[test]
fn in_every_pixel_format() {
    if !judge::is_there() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for format in [
        "yuvj420p",
        "yuvj422p",
        "yuvj444p",
        "yuv422p",
        "yuv444p",
        "yuv420p10le",
        "yuv422p10le",
        "gray",
        "nv12",
    ] {
        for said in [SAID[0], SAID[1], SAID[3], SAID[5]] {
            let clip = dir.path().join("clip.mp4");
            if format.starts_with("yuvj") && said.contains("tv") {
                continue;
            }
            judge::makes(&format!("{BARS} -c:v libx264 -preset ultrafast -pix_fmt {format} {said}"), &clip);
            let (off, colour) = beside_ffmpeg(&clip, &format!("{format} {said}"));
            if off > NEAR {
                wrong.push(format!("{format} {said}: {colour:?} is off by {off:.2}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What only the container says counts where the stream is silent, at high definition as well.
#[test]
fn in_the_container_alone() {
    if !judge::is_there() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (small, large) = (dir.path().join("small.mp4"), dir.path().join("large.mp4"));
    judge::makes(&format!("{BARS} -c:v libx264 -preset ultrafast -pix_fmt yuv420p"), &small);
    judge::makes(
        "-f lavfi -i smptehdbars=s=1280x720:r=10:d=0.3,gblur=sigma=9 -c:v libx264 -preset ultrafast -pix_fmt yuv420p",
        &large,
    );
    let colour = |matrix, full_range| Colour { matrix, full_range };
    for stream in [&small, &large] {
        for (said, want) in [
            ("", colour(Matrix::Bt601, false)),
            (",colorimetry=(string)1:3:5:1", colour(Matrix::Bt709, true)),
            (",colorimetry=(string)2:3:5:1", colour(Matrix::Bt709, false)),
            (",colorimetry=(string)1:4:16:4", colour(Matrix::Bt601, true)),
            (",colorimetry=(string)2:6:13:7", colour(Matrix::Bt2020, false)),
        ] {
            for (name, mux) in [("c.mp4", "mp4mux"), ("c.mkv", "matroskamux")] {
                let video = format!(
                    "filesrc location=\"{}\" ! qtdemux ! h264parse ! capssetter caps=\"video/x-h264{said}\"",
                    stream.display()
                );
                let clip = clip(dir.path(), name, &video, mux);
                let (off, colour) = beside_ffmpeg(&clip, &format!("{name}{said}"));
                assert!(colour == want && off < NEAR, "{name}{said}: {colour:?} is off by {off:.2}");
            }
        }
    }
}
