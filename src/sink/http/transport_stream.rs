//! What comes out of the multiplexer of transport streams: where decoding can start, and the tables that come first.

use gstreamer as gst;

use super::broadcast::{Broadcast, Chunk};

/// Hands a piece of the stream to all who read.
pub(super) fn hand_out(sample: &gst::SampleRef, stream: &Broadcast) {
    if let Some(tables) = tables(sample) {
        stream.begin(tables);
    }
    let bytes = bytes(sample);
    let key = starts_at_key(&bytes);
    stream.offer(&bytes.into(), key);
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

/// All bytes of a sample.
pub(super) fn bytes(sample: &gst::SampleRef) -> Vec<u8> {
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
