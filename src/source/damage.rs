//! Damage in the middle of a stream: which pictures a decoder made from less than it should have had.
//!
//! Decoders hide what they miss: they fill holes from the picture before and give the result out as good, and so with
//! every picture that refers to it. GStreamer flags none of it; software decoders only log it. So the log is read, each
//! line counts for the packet that was being decoded, and from a damaged packet on everything is left out up to the next
//! key picture. What no decoder notices (an intact packet of other content, most damage in VP9, AV1 and H.265 whose
//! arithmetic decoder makes a picture of any bytes) is not seen here either.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;

use super::decoder_log::{Heard, is_gap};

/// A stream that renews its pictures bit by bit has no key pictures; live, it is shown again after so long.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Live damage is told at most so often.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// How a decoder can be watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Care {
    /// It decodes on the thread that brings the packets, and each line is put down to its packet.
    Exact,
    /// It leaves out what is damaged itself, and says so of each picture.
    Told,
    /// It decodes on threads of its own; the first sign of damage ends the run, which is then made again exactly.
    Fast,
}

/// What one decoder's stream has gone through.
pub(super) struct Watch {
    care: Care,
    live: bool,
    heard: Arc<Heard>,
    /// Fast only: something was damaged.
    suspect: AtomicBool,
    left_out: AtomicU64,
    damaged: AtomicBool,
    /// Pictures that were held back are on their way.
    passing: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    packets: u64,
    /// Packets have times of presentation; such as have none are second fields then.
    timed: bool,
    /// Lines of the log that were put down to a packet.
    hits: u64,
    current: Option<Packet>,
    previous: Option<Packet>,
    /// Pictures that wait for the verdict on the next packet, with the numbers of their own.
    held: VecDeque<(Option<u64>, gst::Buffer)>,
    /// Nothing is held back any more.
    flows_freely: bool,
    /// Where the presentation of the first key picture begins: what is missing before is no damage.
    begun: Option<gst::ClockTime>,
    /// Since when everything is left out.
    broken: Option<Instant>,
    /// After damage, pictures before this one in presentation refer to what is missing.
    leading: Option<gst::ClockTime>,
    /// Packets whose pictures are left out, with their times of presentation.
    bad: BTreeMap<u64, Option<gst::ClockTime>>,
    /// From here on in presentation pictures are missing, up to the one that is made of packet `resumed`.
    hole: Option<gst::ClockTime>,
    resumed: u64,
    told: Option<(Instant, u64)>,
}

#[derive(Clone, Copy)]
struct Packet {
    number: u64,
    key: bool,
    time: Option<gst::ClockTime>,
}

impl State {
    fn leave_out(&mut self, packet: Packet) {
        self.bad.insert(packet.number, packet.time);
        self.hole = self.hole.into_iter().chain(packet.time).min();
    }

    /// Whether the picture of a packet from before the end of the damage is presented after its begin.
    fn is_in_hole(&mut self, number: u64, time: Option<gst::ClockTime>) -> bool {
        if number >= self.resumed {
            self.hole = None;
        }
        self.hole.zip(time).is_some_and(|(hole, time)| time >= hole)
    }
}

impl Watch {
    /// Watches a decoder's packets and pictures from now on.
    pub(super) fn on(decoder: &gst::Element, care: Care, live: bool) -> Option<Arc<Watch>> {
        let (input, output) = (decoder.static_pad("sink")?, decoder.static_pad("src")?);
        if care == Care::Exact
            && decoder.find_property("max-threads").is_some_and(|p| p.value_type() == i32::static_type())
        {
            decoder.set_property("max-threads", 1);
        }
        let watch = Arc::new(Watch {
            care,
            live,
            heard: if care == Care::Told { Heard::told() } else { Heard::new(care == Care::Fast) },
            suspect: AtomicBool::new(false),
            left_out: AtomicU64::new(0),
            damaged: AtomicBool::new(false),
            passing: AtomicBool::new(false),
            state: Mutex::default(),
        });
        let numbers = gst::Caps::new_empty_simple("timestamp/x-farout-packet");
        let (at_input, by_number, way_out) = (Arc::clone(&watch), numbers.clone(), output.downgrade());
        input.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            at_input.heard.here();
            if let Some(buffer) = info.buffer_mut() {
                let number = at_input.packet(buffer);
                if let Some(pad) = way_out.upgrade() {
                    at_input.release(&pad, Some(number));
                }
                // Decoders hand it on to the picture, in whatever order pictures come.
                let number = gst::ClockTime::from_nseconds(number);
                gst::ReferenceTimestampMeta::add(buffer.make_mut(), &by_number, number, gst::ClockTime::NONE);
            }
            gst::PadProbeReturn::Ok
        });
        let at_output = Arc::clone(&watch);
        output.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let Some(buffer) = info.buffer() else { return gst::PadProbeReturn::Ok };
            let mut metas = buffer.iter_meta::<gst::ReferenceTimestampMeta>();
            let own = metas.find(|meta| meta.reference() == &*numbers);
            let number = own.map(|meta| meta.timestamp().nseconds());
            if at_output.passing.load(Ordering::Relaxed) {
                gst::PadProbeReturn::Ok
            } else if at_output.hold(number, buffer) {
                gst::PadProbeReturn::Drop
            } else if at_output.is_good(number, buffer.pts()) {
                gst::PadProbeReturn::Ok
            } else {
                gst::PadProbeReturn::Drop
            }
        });
        let (at_end, way_out) = (Arc::clone(&watch), output.downgrade());
        input.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
            use gst::EventType::{Caps, Eos, Segment};
            if info.event().is_some_and(|event| is_gap(event)) {
                at_end.skipped();
            }
            let kind = info.event().map(|event| event.type_());
            if let (Some(Caps | Eos | Segment), Some(pad)) = (kind, way_out.upgrade()) {
                // Behind a change of size or the end nothing could be given out that was held back before.
                let mut state = at_end.state();
                state.flows_freely |= kind != Some(Segment) && state.packets > 0;
                drop(state);
                at_end.release(&pad, None);
            }
            gst::PadProbeReturn::Ok
        });
        Some(watch)
    }

    /// Pictures that were left out because they were damaged or referred to damaged ones.
    pub(super) fn left_out(&self) -> u64 {
        if self.care == Care::Told { self.heard.lines() } else { self.left_out.load(Ordering::Relaxed) }
    }

    /// The same with those whose pictures have not come out yet, and may never.
    pub(super) fn lost(&self) -> u64 {
        self.left_out() + self.state().bad.len() as u64
    }

    /// Whether anything was damaged, be it that nothing of it came to the decoder.
    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed) || self.care == Care::Told && self.heard.lines() > 0
    }

    /// Whether the decoder tells of each damaged picture.
    pub(super) fn is_told(&self) -> bool {
        self.care == Care::Told
    }

    /// Fast only: whether the stream must be decoded again to know what is damaged.
    pub(super) fn is_suspect(&self) -> bool {
        self.care == Care::Fast && (self.suspect.load(Ordering::Acquire) || self.heard.lines() > 0)
    }

    /// The stream is over: what has not come out will not. Gives what was left out in all.
    pub(super) fn end(&self) -> u64 {
        if self.care == Care::Told {
            return self.heard.lines();
        }
        let mut state = self.state();
        self.settle(&mut state);
        let lost = std::mem::take(&mut state.bad).len() as u64;
        self.left_out.fetch_add(lost, Ordering::Relaxed) + lost
    }

    /// Whether pictures wait for the verdict on the next packet. Damage mostly begins within a packet that still makes a
    /// picture, and shows at the head of the next one. Live, nothing may wait.
    fn holds(&self) -> bool {
        self.care == Care::Exact && !self.live
    }

    /// Holds a picture back, if it is to wait.
    fn hold(&self, number: Option<u64>, buffer: &gst::Buffer) -> bool {
        let mut state = self.state();
        let waits = self.holds() && !state.flows_freely;
        if waits {
            state.held.push_back((number, buffer.clone()));
        }
        waits
    }

    /// Gives out what was held back, as far as packet `next`, which comes now, can tell nothing about it any more; or all.
    fn release(&self, pad: &gst::Pad, next: Option<u64>) {
        loop {
            let mut state = self.state();
            let due =
                |number: &Option<u64>| next.zip(*number).is_none_or(|(next, number)| number + 2 <= next);
            if !state.held.front().is_some_and(|(number, _)| due(number)) {
                return;
            }
            let Some((number, buffer)) = state.held.pop_front() else { return };
            drop(state);
            if self.is_good(number, buffer.pts()) {
                self.passing.store(true, Ordering::Relaxed);
                // Who refuses it will refuse the next one, and tell the decoder.
                let _ = pad.push(buffer);
                self.passing.store(false, Ordering::Relaxed);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A packet goes into the decoder: its number.
    fn packet(&self, buffer: &gst::Buffer) -> u64 {
        let mut state = self.state();
        if self.care == Care::Told {
            self.tell(&mut state, "the stream is damaged; pictures that are not whole are left out");
            state.packets += 1;
            return state.packets - 1;
        }
        self.settle(&mut state);
        let flags = buffer.flags();
        let packet = Packet {
            number: state.packets,
            key: !flags.contains(gst::BufferFlags::DELTA_UNIT),
            time: buffer.pts().or(buffer.dts()),
        };
        state.packets += 1;
        state.timed |= buffer.pts().is_some();
        let whole_picture = buffer.pts().is_some() || !state.timed;
        if packet.key {
            state.begun = state.begun.or(packet.time.or(Some(gst::ClockTime::ZERO)));
            let mends = state.broken.take().is_some();
            state.leading = packet.time.filter(|_| mends);
            state.resumed = if mends { packet.number } else { state.resumed };
        }
        state.previous = state.current.replace(packet);
        // Before this packet others went missing: lost on the way, or torn out of a transport stream.
        if flags.contains(gst::BufferFlags::DISCONT) && !packet.key {
            self.damaged(&mut state);
        }
        if self.live && state.broken.is_some_and(|since| since.elapsed() > LONGEST_WAIT) {
            state.broken = None;
            tracing::warn!(
                "no key picture came for {} s after damage; pictures may still be smeared",
                LONGEST_WAIT.as_secs()
            );
        }
        let leads = state.leading.zip(packet.time).is_some_and(|(key, time)| time < key);
        if (state.broken.is_some() || leads) && whole_picture {
            state.leave_out(packet);
        }
        packet.number
    }

    /// Between the packets that came and those that come, some are missing.
    fn skipped(&self) {
        self.damaged.store(true, Ordering::Relaxed);
        if self.care != Care::Told {
            let mut state = self.state();
            self.settle(&mut state);
            self.damaged(&mut state);
        }
    }

    /// Puts down what was logged since the last packet came to that packet.
    fn settle(&self, state: &mut State) {
        let hits = self.heard.lines();
        if std::mem::replace(&mut state.hits, hits) != hits {
            self.damaged(state);
        }
    }

    /// The current packet is damaged, and with it what refers to it.
    fn damaged(&self, state: &mut State) {
        let Some(packet) = state.current else { return };
        let counts = match (state.begun, packet.time) {
            (None, _) => false,
            (Some(begun), Some(time)) => time >= begun,
            (Some(_), None) => true,
        };
        if !counts {
            return;
        }
        if let Some(previous) = state.previous.filter(|_| self.holds() && state.broken.is_none()) {
            state.leave_out(previous);
        }
        state.leave_out(packet);
        state.resumed = u64::MAX;
        self.damaged.store(true, Ordering::Relaxed);
        if self.care == Care::Fast {
            self.suspect.store(true, Ordering::Release);
        }
        state.broken.get_or_insert_with(Instant::now);
        self.tell(state, "the stream is damaged; waiting for the next key picture");
    }

    /// Says, live and not too often, what was left out since it was last said.
    fn tell(&self, state: &mut State, words: &str) {
        let all = self.left_out();
        let (when, before) = state.told.unzip();
        let news = self.care != Care::Told || all > before.unwrap_or(0);
        if self.live && news && when.is_none_or(|when: Instant| when.elapsed() > TOLD_EVERY) {
            tracing::warn!(left_out = all - before.unwrap_or(0), "{words}");
            state.told = Some((Instant::now(), all));
        }
    }

    /// Whether the picture made of packet `number` may be given out; it is presented at `time`.
    fn is_good(&self, number: Option<u64>, time: Option<gst::ClockTime>) -> bool {
        match self.care {
            Care::Fast => return !self.is_suspect(),
            Care::Told => return true,
            Care::Exact => {}
        }
        let mut state = self.state();
        self.settle(&mut state);
        let good = match number {
            // A whole picture among missing ones is left out with them: its number would not be known.
            Some(number) => state.bad.remove(&number).is_none() && !state.is_in_hole(number, time),
            None => state.broken.is_none(),
        };
        if !good {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        } else if let Some(number) = number {
            // Pictures come in the order of presentation: what should have come before this one made none at all.
            let before = state.bad.len();
            state.bad.retain(|other, at| match (*at, time) {
                (Some(at), Some(time)) => at > time,
                _ => *other > number,
            });
            self.left_out.fetch_add((before - state.bad.len()) as u64, Ordering::Relaxed);
        }
        good
    }
}
