//! Motion JPEG: every picture is the one that was recorded or is left out and counted, in every layout and container.
#![cfg(feature = "media")]
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use farout::frame::{Colour, Frame, Matrix};
use farout::source::{Purpose, SourceConfig, SourceError, open};
use farout::stop::Stop;
use gstreamer as gst;
use gstreamer::prelude::*;

use crate::support::clips::*;
use crate::support::judge;
use crate::support::program::farout;

const SIZE: (usize, usize) = (96, 64);

/// A picture that differs everywhere from the one before, with noise so that it has some bytes.
fn pixels(number: usize, (width, height): (usize, usize)) -> Vec<u8> {
    let mut noise = number as u32 + 1;
    (0..width * height)
        .flat_map(|i| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (x, y, grain) = (i % width, i / width, (noise >> 27) as usize);
            [2 * x + grain, 3 * y + grain, 8 * number + grain].map(|v| v.min(255) as u8)
        })
        .collect()
}

fn jpeg(number: usize) -> Vec<u8> {
    farout::jpeg::encode(&pixels(number, SIZE), SIZE.0, SIZE.1, 90).unwrap()
}

/// Packets in a container, at 25 a second; `size` is what it says of the picture.
fn muxed(
    folder: &Path,
    name: &str,
    mux: &str,
    (width, height): (usize, usize),
    packets: &[Vec<u8>],
) -> PathBuf {
    gst::init().unwrap();
    let path = folder.join(name);
    let caps = format!("image/jpeg,parsed=true,width={width},height={height},framerate=25/1");
    let text = format!(
        "appsrc name=a format=time caps=\"{caps}\" ! {caps} ! {mux} ! filesink location=\"{}\"",
        path.display()
    );
    let pipeline = gst::parse::launch(&text).unwrap().downcast::<gst::Pipeline>().unwrap();
    let source = pipeline.by_name("a").unwrap().downcast::<gstreamer_app::AppSrc>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    for (n, packet) in packets.iter().enumerate() {
        let mut buffer = gst::Buffer::from_mut_slice(packet.clone());
        let tick = gst::ClockTime::from_mseconds(40);
        buffer.get_mut().unwrap().set_pts(tick * n as u64);
        buffer.get_mut().unwrap().set_duration(tick);
        source.push_buffer(buffer).unwrap();
    }
    source.end_of_stream().unwrap();
    let wanted = [gst::MessageType::Eos, gst::MessageType::Error];
    let message =
        pipeline.bus().unwrap().timed_pop_filtered(gst::ClockTime::from_seconds(60), &wanted).unwrap();
    assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
    pipeline.set_state(gst::State::Null).unwrap();
    path
}

fn mean(frame: &Frame, want: &[u8]) -> f64 {
    judge::difference(&judge::rgb(frame), want)
}

const CONTAINERS: [(&str, &str); 3] = [("a.avi", "avimux"), ("a.mkv", "matroskamux"), ("a.mov", "qtmux")];

#[test]
fn damaged_pictures_are_left_out_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let whole: Vec<Vec<u8>> = (0..20).map(jpeg).collect();
    let spoilt = |bytes: &[u8], kind: &str| {
        let mut bytes = bytes.to_vec();
        let middle = bytes.len() / 2;
        match kind {
            "zeros" => bytes[middle..middle + 1000].fill(0),
            "marks" => bytes[middle..middle + 1000].fill(0xFF),
            "noise" => (0..1000).for_each(|n| bytes[middle + n] = (n * n * 7 + n / 3) as u8),
            "cut" => bytes.truncate(middle),
            "nothing" => bytes = vec![0; 500],
            "head" => bytes[20..200].fill(0x55),
            other => panic!("{other}"),
        }
        bytes
    };
    for (name, mux) in CONTAINERS {
        for (kind, bad) in [
            ("zeros", &[7][..]),
            ("noise", &[7, 8, 12]),
            ("marks", &[19]),
            ("cut", &[0, 1]),
            ("nothing", &[3]),
            ("head", &[4, 18]),
        ] {
            let mut packets = whole.clone();
            bad.iter().for_each(|n| packets[*n] = spoilt(&whole[*n], kind));
            let path = muxed(dir.path(), name, mux, SIZE, &packets);
            let (frames, error) = drain(&mut *offline(&path).unwrap());
            let what = format!("{name}, {kind}: {error:?}");
            let numbers: Vec<u64> = frames.iter().map(|frame| frame.id).collect();
            let want: Vec<u64> = (0..20).filter(|n| !bad.contains(&(*n as usize))).collect();
            assert_eq!(numbers, want, "{what}");
            for frame in &frames {
                let off = mean(frame, &pixels(frame.id as usize, SIZE));
                assert!(off < 6.0, "{what}: frame {} is off by {off:.1}", frame.id);
            }
            let Some(SourceError::CutOff { why, .. }) = error else { panic!("{what}") };
            let told = if bad.len() == 1 { "1 picture was" } else { &format!("{} pictures were", bad.len()) };
            assert!(why.contains(told), "{what}");
        }
        let none: Vec<Vec<u8>> = whole.iter().map(|bytes| spoilt(bytes, "zeros")).collect();
        let path = muxed(dir.path(), name, mux, SIZE, &none);
        let error = offline(&path).err().unwrap().to_string();
        assert!(error.contains("no picture in it is whole"), "{name}: {error}");
    }
    let path = muxed(dir.path(), "b.avi", "avimux", SIZE, &[jpeg(0), spoilt(&jpeg(1), "zeros"), jpeg(2)]);
    let outcome = farout(["replay", "--bypass", path.to_str().unwrap()]);
    assert_eq!(outcome.code, Some(3), "{}", outcome.stderr);
}

/// The second field of each packet lies between the rows of the first.
#[test]
fn two_fields_in_a_packet_are_one_picture() {
    let dir = tempfile::tempdir().unwrap();
    let (width, height) = (96, 48);
    let field =
        |level: u8| farout::jpeg::encode(&vec![level; width * height * 3], width, height, 95).unwrap();
    let packet = |padding: usize| [field(50), vec![0; padding], field(200)].concat();
    let mut packets: Vec<Vec<u8>> = (0..6).map(|n| packet(3 * n)).collect();
    let config = SourceConfig { deinterlace: farout::source::Deinterlace::Off, ..SourceConfig::default() };
    let read = |packets: &[Vec<u8>]| {
        let path = muxed(dir.path(), "f.avi", "avimux", (width, 2 * height), packets);
        drain(&mut *open(path.to_str().unwrap(), &config, Purpose::Offline, Stop::new()).unwrap())
    };
    let (frames, error) = read(&packets);
    assert!(error.is_none() && frames.len() == 6, "{error:?}");
    for frame in &frames {
        assert_eq!((frame.width, frame.height), (width, 2 * height));
        let layout = frame.i420().unwrap();
        for y in 0..2 * height {
            let want = if y % 2 == 0 { 50_u8 } else { 200 };
            let row = &frame.pixels[y * layout.y_stride..][..width];
            assert!(row.iter().all(|v| v.abs_diff(want) < 4), "row {y}: {row:?}");
        }
    }
    // A field that is missing or damaged costs the picture.
    packets[2] = field(50);
    let half = packets[4].len() * 9 / 10;
    packets[4].truncate(half);
    let (frames, error) = read(&packets);
    assert_eq!(frames.iter().map(|frame| frame.id).collect::<Vec<_>>(), [0, 1, 3, 5], "{error:?}");
    assert!(error.unwrap().to_string().contains("2 pictures were left out"));
}

/// A stream of bytes without a container, with what cameras leave between pictures.
#[test]
fn pictures_are_cut_out_of_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.mjpeg");
    let bytes: Vec<u8> = (0..12).flat_map(|n| [jpeg(n), b"\r\n\r\n--x\r\n".repeat(n)].concat()).collect();
    std::fs::write(&path, &bytes).unwrap();
    let location = format!("gst:filesrc location=\"{}\" blocksize=777", path.display());
    let config = SourceConfig::default();
    let (frames, error) = drain(&mut *open(&location, &config, Purpose::Offline, Stop::new()).unwrap());
    assert!(error.is_none() && frames.len() == 12, "{error:?}");
    for (n, frame) in frames.iter().enumerate() {
        let off = mean(frame, &pixels(n, SIZE));
        assert!(off < 6.0, "{n}: off by {off:.1}");
    }
}

/// What is of a kind that is not read is no damage, and is named.
#[test]
fn kinds_that_are_not_read_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let lossless = |n: usize| {
        let mut bytes = jpeg(n);
        let at = bytes.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
        bytes[at + 1] = 0xC3;
        bytes
    };
    for count in [2, 20] {
        let packets: Vec<Vec<u8>> = (0..count).map(lossless).collect();
        let path = muxed(dir.path(), "l.avi", "avimux", SIZE, &packets);
        let error = offline(&path).err().unwrap().to_string();
        assert!(error.contains("kind that is not read"), "{error}");
    }
}

#[test]
fn in_every_layout_and_range() {
    if !judge::is_there() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let bars = "-f lavfi -i smptehdbars=s=160x96:r=10:d=0.3,gblur=sigma=5 -c:v mjpeg -q:v 2";
    let mut wrong = Vec::new();
    for ending in ["avi", "mkv", "mp4", "mov"] {
        for (format, full_range) in [
            ("-pix_fmt yuvj420p", true),
            ("-pix_fmt yuvj422p", true),
            ("-pix_fmt yuvj444p", true),
            ("-pix_fmt yuv420p -color_range tv -strict -1", false),
            ("-pix_fmt yuv422p -color_range tv -strict -1", false),
            ("-pix_fmt yuv444p -color_range tv -strict -1", false),
        ] {
            let clip = dir.path().join(format!("clip.{ending}"));
            assert!(judge::makes(&format!("{bars} {format}"), &clip));
            let (frames, error) = drain(&mut *offline(&clip).unwrap());
            assert!(error.is_none() && frames.len() == 3, "{error:?}");
            let off = mean(&frames[0], &judge::picture(&clip));
            println!("{format} .{ending}: {:?}, off by {off:.2}", frames[0].colour);
            if off > 1.5 || frames[0].colour != (Colour { matrix: Matrix::Bt601, full_range }) {
                wrong.push(format!("{format} .{ending}: {:?} is off by {off:.2}", frames[0].colour));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // Grey, which ffmpeg does not write.
    let video = "videotestsrc num-buffers=3 pattern=ball ! video/x-raw,format=GRAY8,width=160,height=96,framerate=25/1 ! jpegenc";
    let path = clip(dir.path(), "grey.avi", video, "avimux");
    let (frames, _) = drain(&mut *offline(&path).unwrap());
    let off = mean(&frames[0], &judge::picture(&path));
    assert!(frames.len() == 3 && off < 1.5, "grey is off by {off:.2}");
}
