//! One who watches a stream over WebRTC, asked for by WHEP.
#![allow(dead_code, reason = "each test uses what it needs")]

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, KeyframeRequestKind, MediaData, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{Extension, ExtensionMap};
use str0m::{Candidate, Event, Input, Output, Rtc};

/// A viewer; it does something only while it is run.
pub struct Watcher {
    rtc: Rtc,
    socket: UdpSocket,
    mid: Mid,
    pending: Option<SdpPendingOffer>,
    /// What it offers, in SDP.
    pub offer: String,
    /// Pictures that have come, oldest first.
    pub pictures: Vec<MediaData>,
    pub connected: bool,
    /// Whether the other end has ended it.
    pub closed: bool,
}

impl Watcher {
    /// Wants to receive video of these formats.
    pub fn of(kind: MediaKind, formats: impl FnOnce(str0m::RtcConfig) -> str0m::RtcConfig) -> Watcher {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut extensions = ExtensionMap::empty();
        extensions.set(1, Extension::RtpMid);
        extensions.set(4, Extension::AbsoluteCaptureTime);
        extensions.set(6, Extension::PlayoutDelay);
        let builder = Rtc::builder().clear_codecs().set_extension_map(extensions);
        let mut rtc = formats(builder).build(Instant::now());
        rtc.add_local_candidate(Candidate::host(socket.local_addr().unwrap(), "udp").unwrap());
        let mut change = rtc.sdp_api();
        let mid = change.add_media(kind, Direction::RecvOnly, None, None, None);
        let (offer, pending) = change.apply().unwrap();
        let offer = offer.to_sdp_string();
        let pending = Some(pending);
        Watcher { rtc, socket, mid, pending, offer, pictures: Vec::new(), connected: false, closed: false }
    }

    /// Wants to receive H.264 video.
    pub fn new() -> Watcher {
        Watcher::of(MediaKind::Video, |formats| formats.enable_h264(true))
    }

    /// Takes the answer, in SDP.
    pub fn answered(&mut self, answer: &str) {
        let answer = SdpAnswer::from_sdp_string(answer).unwrap();
        self.rtc.sdp_api().accept_answer(self.pending.take().unwrap(), answer).unwrap();
    }

    /// Asks for a key picture.
    pub fn ask_for_key(&mut self) {
        self.rtc.writer(self.mid).unwrap().request_keyframe(None, KeyframeRequestKind::Pli).unwrap();
    }

    /// Runs until `done`.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&Watcher) -> bool) {
        let begun = Instant::now();
        let mut buffer = vec![0; 2000];
        while !done(self) {
            assert!(begun.elapsed() < Duration::from_secs(60), "no {what}; {} pictures", self.pictures.len());
            let due = loop {
                match self.rtc.poll_output().unwrap() {
                    Output::Timeout(due) => break due,
                    Output::Transmit(sent) => {
                        self.socket.send_to(&sent.contents, sent.destination).unwrap();
                    }
                    Output::Event(Event::Connected) => self.connected = true,
                    Output::Event(Event::Closed) => self.closed = true,
                    Output::Event(Event::MediaData(picture)) => self.pictures.push(picture),
                    Output::Event(_) => {}
                }
            };
            let wait = due.saturating_duration_since(Instant::now());
            self.socket
                .set_read_timeout(Some(wait.clamp(Duration::from_millis(1), Duration::from_millis(50))))
                .unwrap();
            let here = self.socket.local_addr().unwrap();
            match self.socket.recv_from(&mut buffer) {
                Ok((length, from)) => {
                    let received = Receive::new(Protocol::Udp, from, here, &buffer[..length]).unwrap();
                    self.rtc.handle_input(Input::Receive(Instant::now(), received)).unwrap();
                }
                Err(_) => self.rtc.handle_input(Input::Timeout(Instant::now())).unwrap(),
            }
        }
    }
}

/// The kinds of the units (NAL) of a picture.
pub fn units(picture: &MediaData) -> Vec<u8> {
    let data = &picture.data;
    let starts = (0..data.len().saturating_sub(3)).filter(|&at| data[at..at + 3] == [0, 0, 1]);
    starts.map(|at| data[at + 3] & 0x1f).collect()
}
