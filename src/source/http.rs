//! What cameras send over HTTP: JPEGs that replace each other (`multipart/x-mixed-replace`).
//!
//! Cameras disagree on everything between the pictures: boundaries quoted, doubled or without their dashes, a text
//! before the first, lengths left out or wrong, heads without blanks. The pictures themselves tell where they begin
//! and end, so that they are cut out of the stream and handed on between boundaries that GStreamer understands.

use std::sync::{Mutex, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;

use super::jpegs::Jpegs;

/// A stream without a whole picture in so many bytes, or with so many broken ones first, is handed on as it is.
const PATIENCE: (usize, u64) = (1 << 22, 3);

/// What stands for a picture that broke off, so that the decoder counts it: the begin and the end of one.
const NO_PICTURE: [u8; 4] = [0xFF, 0xD8, 0xFF, 0xD9];

/// Watches what a `souphttpsrc` receives, and lays the pictures of a camera between sound boundaries.
pub(super) fn watch(source: &gst::Element) {
    let Some(pad) = source.static_pad("src") else {
        return;
    };
    let receiver = Mutex::new(Receiver::Other);
    pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM, move |pad, info| {
        let mut receiver = receiver.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut info.data {
            Some(gst::PadProbeData::Event(event)) if event.type_() == gst::EventType::Eos => {
                let rest = receiver.end();
                drop(receiver);
                if let Some((rest, peer)) = rest.zip(pad.peer()) {
                    // The pad itself has ended already. Who refuses it says so itself.
                    let _ = peer.chain(rest);
                }
                gst::PadProbeReturn::Ok
            }
            Some(gst::PadProbeData::Event(event)) => {
                if let Some(kind) = content_type(event) {
                    *receiver = Receiver::of(&kind);
                }
                gst::PadProbeReturn::Ok
            }
            Some(gst::PadProbeData::Buffer(buffer)) => match receiver.take(buffer) {
                Taken::AsItIs => gst::PadProbeReturn::Ok,
                Taken::Nothing => gst::PadProbeReturn::Drop,
                Taken::Parts(parts) => {
                    *buffer = parts;
                    gst::PadProbeReturn::Ok
                }
            },
            _ => gst::PadProbeReturn::Ok,
        }
    });
}

/// What a response said it is.
fn content_type(event: &gst::EventRef) -> Option<String> {
    let headers = event.structure().filter(|said| said.name() == "http-headers")?;
    let headers = headers.get::<gst::Structure>("response-headers").ok()?;
    let (_, kind) = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"))?;
    // A name that stands there twice has all its values.
    match kind.get::<String>() {
        Ok(kind) => Some(kind),
        Err(_) => kind.get::<gst::Array>().ok()?.first()?.get().ok(),
    }
}

enum Receiver {
    Other,
    /// `broken`: pictures that broke off before the last one that was handed on.
    Pictures {
        jpegs: Jpegs,
        received: usize,
        any: bool,
        broken: u64,
    },
}

enum Taken {
    AsItIs,
    Nothing,
    Parts(gst::Buffer),
}

impl Receiver {
    fn of(kind: &str) -> Receiver {
        let parts = kind.trim_start().get(..10).is_some_and(|head| head.eq_ignore_ascii_case("multipart/"));
        match parts {
            true => Receiver::Pictures { jpegs: Jpegs::default(), received: 0, any: false, broken: 0 },
            false => Receiver::Other,
        }
    }

    fn take(&mut self, buffer: &gst::Buffer) -> Taken {
        let Receiver::Pictures { jpegs, received, any, broken } = self else {
            return Taken::AsItIs;
        };
        let Ok(map) = buffer.map_readable() else {
            return Taken::AsItIs;
        };
        *received += map.len();
        jpegs.push(&map);
        let mut parts = Vec::new();
        loop {
            let picture = jpegs.next();
            // What breaks off before the first picture need not be one.
            if *any {
                (*broken..jpegs.broken()).for_each(|_| part(&mut parts, &NO_PICTURE));
            }
            *broken = jpegs.broken();
            let Some(picture) = picture else { break };
            part(&mut parts, &picture);
            *any = true;
        }
        if !*any && (*received > PATIENCE.0 || jpegs.broken() >= PATIENCE.1) {
            let all = jpegs.give_up();
            *self = Receiver::Other;
            return Taken::Parts(timed(all, buffer));
        }
        if parts.is_empty() { Taken::Nothing } else { Taken::Parts(timed(parts, buffer)) }
    }

    /// The stream is over: what came, if no picture was cut out of it. Perhaps its parts are of another kind.
    fn end(&mut self) -> Option<gst::Buffer> {
        let Receiver::Pictures { jpegs, any: false, .. } = self else { return None };
        let all = jpegs.give_up();
        *self = Receiver::Other;
        (!all.is_empty()).then(|| gst::Buffer::from_mut_slice(all))
    }
}

/// Adds a part that `multipartdemux` understands.
fn part(parts: &mut Vec<u8>, picture: &[u8]) {
    let length = picture.len();
    parts.extend_from_slice(
        format!("--picture\r\nContent-Type: image/jpeg\r\nContent-Length: {length}\r\n\r\n").as_bytes(),
    );
    parts.extend_from_slice(picture);
    parts.extend_from_slice(b"\r\n");
}

fn timed(bytes: Vec<u8>, like: &gst::BufferRef) -> gst::Buffer {
    let mut buffer = gst::Buffer::from_mut_slice(bytes);
    if let Some(buffer) = buffer.get_mut() {
        buffer.set_pts(like.pts());
        buffer.set_dts(like.dts());
    }
    buffer
}

/// Readies a pipeline in which `demuxer`, a `multipartdemux`, was found to be needed.
///
/// It would wait for parts of another kind before it says that there are no more streams, and no frame would
/// come before. The parts have no times: each gets that of its arrival.
pub(super) fn pictures_follow(pipeline: &gst::Pipeline, demuxer: &gst::Element) {
    demuxer.set_property("single-stream", true);
    for element in pipeline.iterate_recurse().into_iter().flatten() {
        if element.factory().is_some_and(|factory| factory.name() == "souphttpsrc") {
            element.set_property("do-timestamp", true);
        }
    }
}
