//! One who watches a stream over WebRTC.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gstreamer as gst;
use str0m::change::SdpOffer;
use str0m::format::Codec;
use str0m::media::{MediaKind, MediaTime, Mid, Pt};
use str0m::net::Transmit;
use str0m::rtp::{AbsCaptureTime, Extension, ExtensionMap};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcError};

use super::watched::{Place, Watched};
use super::words::Picture;
use crate::sink::ntp;

/// Who has not come through by then is let go.
const CONNECTS_WITHIN: Duration = Duration::from_secs(15);
/// Who says nothing for so long is gone: a browser that watches tells every few seconds that it does.
const SILENT: Duration = Duration::from_secs(20);
/// Who was told farewell is let go after so long, whether it answers or not.
const FAREWELL: Duration = Duration::from_secs(1);
/// Where nothing is due, one looks again after so long.
const IDLE: Duration = Duration::from_secs(1);
/// The browser shows a picture as soon as it has it. It may hold pictures back to smooth its network, but no longer than this.
const SMOOTHED: Duration = Duration::from_millis(100);

/// What was agreed on: the medium, and the number of the format.
#[derive(Debug, Clone, Copy)]
struct Agreed {
    mid: Mid,
    pt: Pt,
}

/// One who watches.
pub(super) struct Viewer {
    id: String,
    stream: Arc<Watched>,
    /// Once it has come through.
    place: Option<Place>,
    rtc: Rtc,
    agreed: Agreed,
    /// Where it finds this machine.
    here: SocketAddr,
    since: Instant,
    /// When something came from it last.
    heard: Instant,
    /// When it wants to be woken.
    due: Instant,
    waits_for_key: bool,
    /// When it was told farewell.
    closing: Option<Instant>,
    lost: bool,
}

impl Viewer {
    /// Answers an offer of somebody who finds this machine `at` any of some addresses: the viewer and the answer, in SDP.
    ///
    /// # Errors
    /// What is wrong with the offer and what to do.
    pub(super) fn accept(
        id: String,
        stream: &Arc<Watched>,
        offer: &str,
        at: &[SocketAddr],
    ) -> Result<(Viewer, String), String> {
        // What the parser says is of no use to whoever sent it.
        let offer =
            SdpOffer::from_sdp_string(offer).map_err(|_unread| "it is no SDP; WHEP takes an SDP offer")?;
        let now = Instant::now();
        let mut extensions = ExtensionMap::empty();
        extensions.set(1, Extension::RtpMid);
        extensions.set(2, Extension::AbsoluteCaptureTime);
        extensions.set(3, Extension::PlayoutDelay);
        let builder = Rtc::builder().clear_codecs().enable_h264(true).set_extension_map(extensions);
        // The viewer finds the way: this side only answers.
        let mut rtc = builder.set_ice_lite(true).set_stats_interval(None).build(now);
        let mut known = |one: &SocketAddr| match Candidate::host(*one, "udp") {
            Ok(candidate) => rtc.add_local_candidate(candidate).is_some(),
            Err(_) => false,
        };
        let known: Vec<_> = at.iter().filter(|one| known(one)).copied().collect();
        let here =
            *known.first().ok_or("WebRTC knows no way to the address at which this server was reached")?;
        let answer = rtc.sdp_api().accept_offer(offer).map_err(|e| e.to_string())?;
        let answer = answer.to_sdp_string();
        let agreed = agreed(&mut rtc, &answer).ok_or("it does not ask to receive H.264 video")?;
        let mut viewer = Viewer {
            id,
            stream: Arc::clone(stream),
            place: None,
            rtc,
            agreed,
            here,
            since: now,
            heard: now,
            due: now,
            waits_for_key: true,
            closing: None,
            lost: false,
        };
        // This side only answers: there is nothing to send before the viewer has asked.
        viewer.drain(now, &mut |_| {}).map_err(|e| e.to_string())?;
        Ok((viewer, answer))
    }

    pub(super) fn is(&self, id: &str, stream: &Arc<Watched>) -> bool {
        self.id == id && self.watches(stream)
    }

    pub(super) fn watches(&self, stream: &Arc<Watched>) -> bool {
        Arc::ptr_eq(&self.stream, stream)
    }

    pub(super) fn is_connected(&self) -> bool {
        self.place.is_some()
    }

    pub(super) fn here(&self) -> SocketAddr {
        self.here
    }

    /// When it wants to be woken at the latest.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    pub(super) fn accepts(&self, input: &Input) -> bool {
        self.rtc.accepts(input)
    }

    /// Something has come from it.
    pub(super) fn hear(&mut self, input: Input, now: Instant) -> Result<(), RtcError> {
        self.heard = now;
        self.rtc.handle_input(input)
    }

    /// Its time has come.
    pub(super) fn wake(&mut self, now: Instant) -> Result<(), RtcError> {
        self.rtc.handle_input(Input::Timeout(now))
    }

    /// Pictures were lost: it goes on with the next key picture.
    pub(super) fn wait_for_key(&mut self) {
        self.waits_for_key = true;
    }

    /// Sends a picture, unless it could not be decoded.
    pub(super) fn show(
        &mut self,
        picture: &Picture,
        bytes: &Arc<[u8]>,
        now: Instant,
    ) -> Result<(), RtcError> {
        if !self.is_connected() || self.closing.is_some() {
            return Ok(());
        }
        if self.waits_for_key && !picture.key {
            self.stream.key_wanted.ask();
            return Ok(());
        }
        let Agreed { mid, pt } = self.agreed;
        let Some(mut writer) = self.rtc.writer(mid) else { return Ok(()) };
        self.waits_for_key = false;
        let longest = MediaTime::from_millis(SMOOTHED.as_millis() as u64);
        writer = writer.playout_delay(MediaTime::ZERO, longest);
        if let Some(capture_time) = ntp::captured(&picture.buffer) {
            writer = writer.abs_capture_time(AbsCaptureTime { capture_time, clock_offset: None });
        }
        let time = picture.buffer.pts().map_or(0, gst::ClockTime::useconds);
        writer.write(pt, now, MediaTime::from_micros(time), Arc::clone(bytes))
    }

    /// Hands what has to be sent to `send`, until there is nothing more.
    pub(super) fn drain(&mut self, now: Instant, send: &mut impl FnMut(Transmit)) -> Result<(), RtcError> {
        loop {
            match self.rtc.poll_output()? {
                Output::Timeout(due) => {
                    self.due = due.min(now + IDLE);
                    return Ok(());
                }
                Output::Transmit(datagram) => send(datagram),
                Output::Event(event) => self.notice(&event),
            }
        }
    }

    fn notice(&mut self, event: &Event) {
        match event {
            Event::Connected => {
                self.place = Some(Place::take(&self.stream));
                self.stream.key_wanted.ask();
                tracing::debug!(took = ?self.since.elapsed(), "somebody watches over WebRTC");
            }
            Event::KeyframeRequest(_) => self.stream.key_wanted.ask(),
            Event::IceConnectionStateChange(state) if state.is_disconnected() => {
                self.lose();
            }
            _ => {}
        }
    }

    /// Says farewell.
    pub(super) fn close(&mut self) -> Result<(), RtcError> {
        if self.closing.is_none() {
            self.closing = Some(Instant::now());
            self.rtc.close()?;
        }
        Ok(())
    }

    /// It is let go without a word.
    pub(super) fn lose(&mut self) {
        self.lost = true;
    }

    /// Whether it is no more.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        let late = !self.is_connected() && now.saturating_duration_since(self.since) > CONNECTS_WITHIN;
        let gone = self.closing.is_some_and(|since| now.saturating_duration_since(since) > FAREWELL);
        let silent = now.saturating_duration_since(self.heard) > SILENT;
        self.lost || late || silent || gone || !self.rtc.is_alive()
    }
}

/// The medium and the format in which video goes to the viewer, by the answer: whole pictures in packets of any kind (mode 1,
/// RFC 6184), whatever profile the browser has named, because it decodes more than it names.
fn agreed(rtc: &mut Rtc, answer: &str) -> Option<Agreed> {
    let mids = answer.lines().filter_map(|line| line.strip_prefix("a=mid:")).map(|mid| Mid::from(mid.trim()));
    mids.into_iter().find_map(|mid| {
        let media = rtc.media(mid)?;
        if media.kind() != MediaKind::Video || !media.direction().is_sending() {
            return None;
        }
        let writer = rtc.writer(mid)?;
        let mut fits = writer.payload_params().filter(|one| {
            let spec = one.spec();
            spec.codec == Codec::H264 && spec.format.packetization_mode == Some(1)
        });
        fits.next().map(|format| Agreed { mid, pt: format.pt() })
    })
}
