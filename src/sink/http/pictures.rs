//! Single pictures for browsers that play no live video: JPEG, twice a second, and only while somebody looks.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::broadcast::{Broadcast, Chunk};
use crate::frame::Frame;
use crate::pool::{Pool, Pooled};
use crate::sink::pictures::jpeg_of;

/// How far apart pictures are.
const APART: Duration = Duration::from_millis(500);
/// Quality of the pictures.
const QUALITY: u8 = 75;
/// What parts them.
pub(super) const BOUNDARY: &str = "farout-picture";

/// Hands pictures to the thread that encodes them.
pub(in crate::sink) struct PictureTap {
    stream: Broadcast,
    last: Option<Instant>,
    /// While somebody looks.
    give: Option<Sender<Frame>>,
    copies: Pool<Vec<u8>>,
}

impl PictureTap {
    /// For those who read `stream`.
    pub(super) fn new(stream: Broadcast) -> PictureTap {
        PictureTap { stream, last: None, give: None, copies: Pool::new() }
    }

    /// Shows a frame, if somebody looks and it is time for another one. It never waits.
    pub(in crate::sink) fn offer(&mut self, frame: &Frame) {
        if self.stream.viewers() == 0 {
            // The thread ends with what it is given.
            self.give = None;
            return;
        }
        if self.last.is_some_and(|last| last.elapsed() < APART) {
            return;
        }
        self.last = Some(Instant::now());
        if self.give.is_none() {
            match encoder(self.stream.clone()) {
                Ok(give) => self.give = Some(give),
                Err(error) => tracing::warn!(%error, "single pictures are not served"),
            }
        }
        let Some(give) = &self.give else { return };
        let mut pixels: Pooled<Vec<u8>> = self.copies.take();
        pixels.clear();
        pixels.extend_from_slice(&frame.pixels);
        let copy = Frame { pixels, name: frame.name.clone(), truth: None, no_signal: None, ..*frame };
        // One that is still being encoded is enough.
        let _ = give.try_send(copy);
    }
}

/// A thread that encodes until nothing comes any more.
fn encoder(stream: Broadcast) -> std::io::Result<Sender<Frame>> {
    let (give, take) = bounded(1);
    std::thread::Builder::new().name("pictures-jpeg".into()).spawn(move || encode(&stream, &take))?;
    Ok(give)
}

fn encode(stream: &Broadcast, frames: &Receiver<Frame>) {
    let mut rgb = Vec::new();
    for frame in frames {
        match jpeg_of(&frame, QUALITY, &mut rgb) {
            Ok(picture) => stream.offer(&part(&picture), true),
            Err(error) => tracing::debug!(%error, "a picture could not be encoded"),
        }
    }
}

/// One part of the endless body.
fn part(picture: &[u8]) -> Chunk {
    let head =
        format!("--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", picture.len());
    [head.as_bytes(), picture, b"\r\n"].concat().into()
}
