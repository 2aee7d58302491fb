//! The capture times in what farout serves and writes, read as others would read them.
#![allow(dead_code, clippy::unwrap_used, reason = "each test uses what it needs")]

use std::path::Path;
use std::sync::{Arc, Mutex};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

/// What is known of one encoded picture, in microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stamp {
    /// By the message in its bytes.
    pub message: Option<i64>,
    /// By the sender reports or header extensions of its stream, as GStreamer's client reads them.
    pub reference: Option<i64>,
    /// Presentation time.
    pub pts: Option<i64>,
}

/// The time of the precision time stamp in an access unit, found as bytes: with start codes or lengths.
pub fn message(unit: &[u8]) -> Option<i64> {
    let at = unit.windows(16).position(|bytes| bytes == b"MISPmicrosectime")? + 16;
    let rest = unit.get(at..at + 12)?;
    assert_eq!([rest[3], rest[6], rest[9]], [0xFF; 3], "{rest:x?}");
    let time = [rest[1], rest[2], rest[4], rest[5], rest[7], rest[8], rest[10], rest[11]];
    Some(i64::from_be_bytes(time))
}

/// Every picture that a pipeline, which ends in an `appsink name=units`, gives.
pub struct Units {
    pipeline: gst::Pipeline,
    seen: Arc<Mutex<Vec<Stamp>>>,
}

impl Units {
    /// Starts it.
    pub fn start(description: &str) -> Units {
        gst::init().unwrap();
        let pipeline = gst::parse::launch(description).unwrap().downcast::<gst::Pipeline>().unwrap();
        let sink = pipeline.by_name("units").unwrap().downcast::<gst_app::AppSink>().unwrap();
        let seen = Arc::<Mutex<Vec<Stamp>>>::default();
        let list = Arc::clone(&seen);
        let on_sample = move |sink: &gst_app::AppSink| {
            let sample = sink.pull_sample().ok().ok_or(gst::FlowError::Eos)?;
            let buffer = sample.buffer().unwrap();
            let ntp = |meta: &gst::ReferenceTimestampMeta| {
                meta.reference().structure(0).is_some_and(|s| s.name() == "timestamp/x-ntp")
            };
            let reference = buffer
                .iter_meta::<gst::ReferenceTimestampMeta>()
                .find(|meta| ntp(meta))
                .map(|meta| meta.timestamp().useconds() as i64 - 2_208_988_800_000_000);
            let pts = buffer.pts().map(|pts| pts.useconds() as i64);
            let message = message(&buffer.map_readable().unwrap());
            list.lock().unwrap().push(Stamp { message, reference, pts });
            Ok(gst::FlowSuccess::Ok)
        };
        sink.set_callbacks(gst_app::AppSinkCallbacks::builder().new_sample(on_sample).build());
        pipeline.set_state(gst::State::Playing).unwrap();
        Units { pipeline, seen }
    }

    /// The pictures of an RTSP stream, with the times that GStreamer reads in it (from 1.22 on).
    pub fn rtsp(url: &str, transport: &str) -> Units {
        Units::start(&format!(
            "rtspsrc location={url} protocols={transport} latency=0 add-reference-timestamp-meta=true \
             ! rtph264depay ! video/x-h264,stream-format=byte-stream,alignment=au ! appsink name=units sync=false"
        ))
    }

    /// The pictures of an MP4 file, to its end.
    pub fn mp4(path: &Path) -> Vec<Stamp> {
        let units = Units::start(&format!(
            "filesrc location={} ! qtdemux ! h264parse ! video/x-h264,stream-format=byte-stream,alignment=au \
             ! appsink name=units sync=false",
            path.display()
        ));
        let bus = units.pipeline.bus().unwrap();
        let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
        let end =
            bus.timed_pop_filtered(gst::ClockTime::from_seconds(30), &kinds).expect("the file does not end");
        assert_eq!(end.type_(), gst::MessageType::Eos, "{end:?}");
        units.seen()
    }

    /// What has come so far.
    pub fn seen(&self) -> Vec<Stamp> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Units {
    fn drop(&mut self) {
        self.pipeline.set_state(gst::State::Null).unwrap();
    }
}
