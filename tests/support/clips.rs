//! Video files made on the spot, so that tests need no material.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use farout::frame::Frame;
use farout::source::{Purpose, Source, SourceConfig, SourceError, open};
use farout::stop::Stop;
use gstreamer as gst;
use gstreamer::prelude::*;

/// H.264 of a moving ball, 25 frames per second.
pub fn ball(frames: u32, width: u32, height: u32) -> String {
    format!(
        "videotestsrc pattern=ball num-buffers={frames} ! video/x-raw,format=I420,width={width},height={height},framerate=25/1 \
         ! x264enc speed-preset=ultrafast key-int-max=25 bitrate=800 ! h264parse"
    )
}

/// Runs a pipeline to its end.
pub fn run_to_end(description: &str) {
    gst::init().unwrap();
    let pipeline = gst::parse::launch(description).unwrap_or_else(|e| panic!("{description}: {e}"));
    pipeline.set_state(gst::State::Playing).unwrap();
    let bus = pipeline.bus().unwrap();
    let wanted = [gst::MessageType::Eos, gst::MessageType::Error];
    let message =
        bus.timed_pop_filtered(gst::ClockTime::from_seconds(120), &wanted).expect("the clip takes too long");
    if let gst::MessageView::Error(error) = message.view() {
        panic!("{description}: {} {:?}", error.error(), error.debug());
    }
    pipeline.set_state(gst::State::Null).unwrap();
}

/// A clip at `folder/name`, multiplexed by `mux`.
pub fn clip(folder: &Path, name: &str, video: &str, mux: &str) -> PathBuf {
    let path = folder.join(name);
    run_to_end(&format!("{video} ! {mux} ! filesink location=\"{}\"", path.display()));
    path
}

/// The first `part` of a file, as a new file beside it.
pub fn cut(path: &Path, part: f64) -> PathBuf {
    let bytes = std::fs::read(path).unwrap();
    let mut name = std::ffi::OsString::from("cut-");
    name.push(path.file_name().unwrap());
    let out = path.with_file_name(name);
    std::fs::write(&out, &bytes[..(bytes.len() as f64 * part) as usize]).unwrap();
    out
}

/// Opens a path offline.
pub fn offline(path: &Path) -> Result<Box<dyn Source>, SourceError> {
    open(path.to_str().unwrap(), &SourceConfig::default(), Purpose::Offline, Stop::new())
}

/// All frames and how the stream ended.
pub fn drain(source: &mut dyn Source) -> (Vec<Frame>, Option<SourceError>) {
    let mut frames = Vec::new();
    loop {
        match source.next() {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => return (frames, None),
            Err(error) => return (frames, Some(error)),
        }
    }
}

/// Numbers count from 0 and times rise by about `step`, beginning with zero.
pub fn assert_steady(frames: &[Frame], step: Duration, what: &str) {
    for (n, frame) in frames.iter().enumerate() {
        assert_eq!(frame.id, n as u64, "{what}");
        let want = step * n as u32;
        assert!(frame.pts.abs_diff(want) < Duration::from_millis(3), "{what}: frame {n} at {:?}", frame.pts);
    }
}
