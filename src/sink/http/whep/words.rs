//! What is said to the one who talks WebRTC, and the way of a stream's pictures to it.

use std::net::SocketAddr;
use std::sync::Arc;

use gstreamer as gst;
use tokio::sync::{mpsc, oneshot};

use super::watched::Watched;
use crate::sink::outlet::AccessUnit;

/// Viewers at once, of all streams.
pub(super) const MOST: usize = 32;

/// What those who answer HTTP requests, and streams that end, have to say.
pub(super) enum Word {
    /// Somebody wants to watch.
    Join(Box<Join>),
    /// A viewer goes; told whether there was one of this identifier at this stream.
    Leave {
        /// Who.
        id: String,
        /// Where.
        stream: Arc<Watched>,
        /// Told whether there was one.
        told: oneshot::Sender<bool>,
    },
    /// No more comes.
    End(Arc<Watched>),
    /// The server ends.
    Over,
}

/// Somebody who wants to watch.
pub(super) struct Join {
    /// Its identifier, which nobody can guess.
    pub id: String,
    /// What.
    pub stream: Arc<Watched>,
    /// The offer, in SDP.
    pub offer: String,
    /// Where the viewer finds this machine, the best first.
    pub reached_at: Vec<SocketAddr>,
    /// Told the answer, in SDP, or why there is none.
    pub told: oneshot::Sender<Result<String, Refusal>>,
}

/// Why somebody cannot watch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// All places are taken.
    #[error("{MOST} watch over WebRTC already; close one of them, or watch over HTTP or RTSP")]
    Full,
    /// The stream has ended.
    #[error("the stream has ended")]
    Ended,
    /// The offer cannot be answered.
    #[error("the offer cannot be answered: {0}")]
    Offer(String),
}

/// A picture on its way to the viewers.
pub(super) struct Picture {
    pub stream: Arc<Watched>,
    /// H.264 byte stream, with its times.
    pub buffer: gst::Buffer,
    /// Whether decoding can start here.
    pub key: bool,
}

/// Its ears.
pub(super) struct Ears {
    pub words: mpsc::UnboundedReceiver<Word>,
    pub pictures: mpsc::Receiver<Picture>,
}

/// Hands a stream's pictures to its viewers; dropped, they see the end.
pub(in crate::sink::http) struct Feed {
    pub(super) stream: Arc<Watched>,
    pub(super) pictures: mpsc::Sender<Picture>,
    pub(super) words: mpsc::UnboundedSender<Word>,
    /// A picture was lost: those up to the next key picture could not be decoded.
    pub(super) waits_for_key: bool,
}

impl Feed {
    /// Hands over a picture, if anybody watches. Never waits: what finds no room is lost, up to the next key picture.
    pub(in crate::sink::http) fn take(&mut self, unit: &AccessUnit) {
        if self.stream.viewers() == 0 || (self.waits_for_key && !unit.key) {
            return;
        }
        let picture =
            Picture { stream: Arc::clone(&self.stream), buffer: unit.buffer.clone(), key: unit.key };
        self.waits_for_key = self.pictures.try_send(picture).is_err();
        if self.waits_for_key {
            self.stream.key_wanted.ask();
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stream.end();
        // Nobody hears it once the server has ended.
        let _ = self.words.send(Word::End(Arc::clone(&self.stream)));
    }
}
