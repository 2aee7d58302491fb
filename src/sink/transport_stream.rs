//! Encoded pictures as an MPEG transport stream, multiplexed once for all readers, and only while there are any.

use std::sync::Arc;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::SinkError;
use super::feed::Feeds;
use super::outlet::{AccessUnit, bus_error};
use super::readers::{Chunk, TransportStream};

/// The pipeline that multiplexes.
pub(super) struct Muxer {
    stream: TransportStream,
    pipeline: gst::Pipeline,
    feeds: Feeds,
    entry: gst_app::AppSrc,
    bus: gst::Bus,
    fed: bool,
}

impl Muxer {
    /// Starts the multiplexer.
    ///
    /// # Errors
    /// If an element is missing.
    pub(super) fn start(stream: TransportStream) -> Result<Muxer, SinkError> {
        let failed = |why: String| SinkError::Stage { stage: "MPEG-TS", why };
        let missing = |e: gst::glib::BoolError| failed(format!("{e}; install gstreamer1.0-plugins-bad"));
        let entry = gst_app::AppSrc::builder().format(gst::Format::Time).is_live(true).max_bytes(0).build();
        let parse = gst::ElementFactory::make("h264parse")
            .property("config-interval", -1)
            .build()
            .map_err(missing)?;
        let mux = gst::ElementFactory::make("mpegtsmux").build().map_err(missing)?;
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
        let on_chunk = move |sink: &gst_app::AppSink| {
            let sample = sink.pull_sample().ok().ok_or(gst::FlowError::Eos)?;
            let bytes = bytes(&sample);
            let key = starts_at_key(&bytes);
            out.offer(&bytes.into(), key, || tables(&sample));
            Ok(gst::FlowSuccess::Ok)
        };
        sink.set_callbacks(gst_app::AppSinkCallbacks::builder().new_sample(on_chunk).build());
        let bus = pipeline.bus().ok_or_else(|| failed("no bus".into()))?;
        pipeline
            .set_state(gst::State::Playing)
            .map_err(|e| failed(bus_error(&bus).unwrap_or_else(|| e.to_string())))?;
        let feeds = Feeds::new(Arc::clone(&stream.key_wanted));
        Ok(Muxer { stream, pipeline, feeds, entry, bus, fed: false })
    }

    /// Multiplexes one picture, if anybody reads.
    ///
    /// # Errors
    /// If the multiplexer failed.
    pub(super) fn take(&mut self, unit: &AccessUnit) -> Result<(), SinkError> {
        let is_read = self.stream.viewers() > 0;
        if is_read != self.fed {
            // After a pause it starts with a key picture again.
            self.feeds.leave(&self.entry);
            if is_read {
                self.feeds.join(self.entry.clone(), false);
            }
            self.fed = is_read;
        }
        self.feeds.offer(unit);
        match bus_error(&self.bus) {
            Some(why) => Err(SinkError::Stage { stage: "MPEG-TS", why }),
            None => Ok(()),
        }
    }
}

impl Drop for Muxer {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// All bytes of a sample.
fn bytes(sample: &gst::SampleRef) -> Vec<u8> {
    let mut all = Vec::new();
    let mut add = |buffer: &gst::BufferRef| {
        if let Ok(map) = buffer.map_readable() {
            all.extend_from_slice(&map);
        }
    };
    if let Some(list) = sample.buffer_list() {
        list.iter().for_each(&mut add);
    } else if let Some(buffer) = sample.buffer() {
        add(buffer);
    }
    all
}

/// Whether a packet says that decoding can start with it: the random access indicator of its
/// adaptation field (ISO/IEC 13818-1, 2.4.3.4). The multiplexer's buffer flags do not tell.
fn starts_at_key(chunk: &[u8]) -> bool {
    chunk.chunks_exact(188).any(|packet| packet[3] & 0x20 != 0 && packet[4] > 0 && packet[5] & 0x40 != 0)
}

/// The program tables that the multiplexer announces in its caps.
fn tables(sample: &gst::SampleRef) -> Option<Chunk> {
    let header = sample.caps()?.structure(0)?.get::<gst::Array>("streamheader").ok()?;
    let mut all = Vec::new();
    for value in header.iter() {
        let buffer = value.get::<gst::Buffer>().ok()?;
        all.extend_from_slice(&buffer.map_readable().ok()?);
    }
    Some(all.into())
}
