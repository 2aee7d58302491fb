//! Encoded pictures in a container, multiplexed once for all readers, and only while there are any.

use std::sync::Arc;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::broadcast::Broadcast;
use super::fragments;
use super::transport_stream::{self, bytes};
use crate::sink::SinkError;
use crate::sink::feed::Feeds;
use crate::sink::h264;
use crate::sink::outlet::{AccessUnit, bus_error};

/// How a stream is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sink) enum Container {
    /// MPEG transport stream: what players take.
    TransportStream,
    /// Fragmented MP4, a fragment for each picture: what browsers take.
    Fragments,
    /// Single pictures, for those that take neither.
    Pictures,
}

impl Container {
    /// The end of a stream's path.
    pub(in crate::sink) fn ending(self) -> &'static str {
        match self {
            Container::TransportStream => ".ts",
            Container::Fragments => ".mp4",
            Container::Pictures => ".mjpeg",
        }
    }

    /// Its media type.
    pub(in crate::sink) fn media_type(self) -> &'static str {
        match self {
            Container::TransportStream => "video/mp2t",
            Container::Fragments => "video/mp4",
            Container::Pictures => "multipart/x-mixed-replace; boundary=farout-picture",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Container::TransportStream => "MPEG-TS",
            Container::Fragments => "MP4 stream",
            Container::Pictures => "pictures",
        }
    }
}

/// Multiplexes pictures for those who read.
pub(in crate::sink) struct Muxer {
    container: Container,
    stream: Broadcast,
    /// While somebody reads.
    running: Option<Running>,
    /// The time of the first key picture since somebody reads: the readers' time 0.
    origin: Option<gst::ClockTime>,
}

/// The pipeline that multiplexes.
struct Running {
    pipeline: gst::Pipeline,
    feeds: Feeds,
    bus: gst::Bus,
    /// The parameter sets that it was begun with.
    sets: Vec<u8>,
}

impl Muxer {
    /// Sees whether all is there that it takes.
    ///
    /// # Errors
    /// If an element is missing.
    pub(in crate::sink) fn new(container: Container, stream: Broadcast) -> Result<Muxer, SinkError> {
        drop(Running::start(container, &stream, Duration::ZERO, Vec::new())?);
        Ok(Muxer { container, stream, running: None, origin: None })
    }

    /// Multiplexes one picture, if anybody reads.
    ///
    /// # Errors
    /// If the multiplexer does not start, or failed.
    pub(in crate::sink) fn take(&mut self, unit: &AccessUnit) -> Result<(), SinkError> {
        if self.stream.viewers() == 0 {
            // After a pause it starts with a key picture again.
            (self.running, self.origin) = (None, None);
            return Ok(());
        }
        // The head of an MP4 file holds the parameter sets: with others it begins anew, and goes on in time.
        let sets = if self.container == Container::Fragments && unit.key {
            unit.buffer.map_readable().map(|bytes| h264::parameter_sets(&bytes)).unwrap_or_default()
        } else {
            Vec::new()
        };
        if self.running.as_ref().is_some_and(|running| !sets.is_empty() && running.sets != sets) {
            tracing::debug!("the MP4 stream gets a new head: its parameter sets are other ones");
            self.running = None;
        }
        let running = match &mut self.running {
            Some(running) => running,
            none if unit.key => {
                let now = unit.buffer.pts().unwrap_or_default();
                let begin = now.saturating_sub(*self.origin.get_or_insert(now));
                let started = Running::start(self.container, &self.stream, begin.into(), sets)?;
                none.insert(started)
            }
            // Its time 0 is that of its first picture, which has to be a key picture.
            _ => {
                self.stream.key_wanted.ask();
                return Ok(());
            }
        };
        running.feeds.offer(unit);
        match bus_error(&running.bus) {
            Some(why) => Err(SinkError::Stage { stage: self.container.name(), why }),
            None => Ok(()),
        }
    }
}

impl Running {
    /// `begin`: where its first picture lies in the readers' time.
    fn start(
        container: Container,
        stream: &Broadcast,
        begin: Duration,
        sets: Vec<u8>,
    ) -> Result<Running, SinkError> {
        let failed = |why: String| SinkError::Stage { stage: container.name(), why };
        let plugins = match container {
            Container::TransportStream => "bad",
            Container::Fragments | Container::Pictures => "good",
        };
        let missing =
            |e: gst::glib::BoolError| failed(format!("{e}; install gstreamer1.0-plugins-{plugins}"));
        let entry = gst_app::AppSrc::builder().format(gst::Format::Time).is_live(true).max_bytes(0).build();
        let parse = gst::ElementFactory::make("h264parse")
            .property("config-interval", -1)
            .build()
            .map_err(missing)?;
        let mux = match container {
            Container::TransportStream => gst::ElementFactory::make("mpegtsmux").build(),
            Container::Fragments | Container::Pictures => gst::ElementFactory::make("mp4mux")
                .property("streamable", true)
                // Milliseconds: each picture is longer.
                .property("fragment-duration", 1_u32)
                .build(),
        };
        let mux = mux.map_err(missing)?;
        if container != Container::TransportStream {
            h264::mark_key_pictures(&parse);
        }
        let sink = gst_app::AppSink::builder()
            .sync(false)
            .enable_last_sample(false)
            .async_(false)
            .buffer_list(true)
            .build();
        let pipeline = gst::Pipeline::new();
        let chain = [entry.upcast_ref(), &parse, &mux, sink.upcast_ref()];
        pipeline.add_many(chain).map_err(missing)?;
        gst::Element::link_many(chain).map_err(missing)?;
        let out = stream.clone();
        let mut cut: Box<dyn FnMut(&gst::SampleRef) + Send> = match container {
            Container::TransportStream => Box::new(move |sample| transport_stream::hand_out(sample, &out)),
            Container::Fragments | Container::Pictures => {
                let mut cutter = fragments::Cutter::new(begin);
                Box::new(move |sample| cutter.hand_out(&bytes(sample), &out))
            }
        };
        let on_chunk = move |sink: &gst_app::AppSink| {
            let sample = sink.pull_sample().ok().ok_or(gst::FlowError::Eos)?;
            cut(&sample);
            Ok(gst::FlowSuccess::Ok)
        };
        sink.set_callbacks(gst_app::AppSinkCallbacks::builder().new_sample(on_chunk).build());
        let bus = pipeline.bus().ok_or_else(|| failed("no bus".into()))?;
        let feeds = Feeds::new(Arc::clone(&stream.key_wanted));
        let running = Running { pipeline, feeds, bus, sets };
        let started = running.pipeline.set_state(gst::State::Playing);
        started.map_err(|e| failed(bus_error(&running.bus).unwrap_or_else(|| e.to_string())))?;
        running.feeds.join(entry, false);
        Ok(running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}
