//! Regions that last: matched from frame to frame along the motion of the picture, reported when there is evidence enough
//! and when they end.

use std::collections::VecDeque;

use super::EventRules;
use crate::frame::FrameId;
use crate::motion::Reduced;
use crate::region::{Event, EventKind, Rect, Region};

/// Two rectangles belong together if they share this much of the smaller one.
const LEAST_OVERLAP: f64 = 0.3;

/// A region being followed.
#[derive(Debug, Clone)]
struct Track {
    id: u64,
    /// Where it was last seen.
    rect: Rect,
    /// The same, moved since as the picture has.
    moved: Rect,
    first_frame: FrameId,
    last_frame: FrameId,
    /// The evidence of the last frames, the newest last.
    evidence: VecDeque<f32>,
    /// Frames since it was last seen.
    missed: u32,
    best: Region,
    area: u32,
    /// Its number, once it counts.
    event: Option<u64>,
}

/// What a region of a frame goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Followed {
    /// The number of its track, from 0; the same in all frames.
    pub track: u64,
    /// The number of the event that the track is, if it has lasted long enough to be one.
    pub event: Option<u64>,
}

/// Follows regions and reports events.
#[derive(Debug, Clone)]
pub struct Tracker {
    rules: EventRules,
    /// The last picture; empty if it is not known.
    past: Reduced,
    /// Whether the look of the next frame was told.
    seen: bool,
    tracks: Vec<Track>,
    /// The next track's id.
    next: u64,
    /// Of each region of the last frame.
    followed: Vec<Followed>,
    events: u64,
    /// The last frame and its time in seconds.
    last: (FrameId, f64),
    pairs: Vec<(f64, usize, usize)>,
    taken: Vec<bool>,
}

impl Tracker {
    /// By these rules. Frames are those given to [`Tracker::step`].
    pub fn new(rules: EventRules) -> Self {
        Tracker {
            rules: usable(rules),
            past: Reduced::default(),
            seen: false,
            tracks: Vec::new(),
            next: 0,
            followed: Vec::new(),
            events: 0,
            last: (0, 0.0),
            pairs: Vec::new(),
            taken: Vec::new(),
        }
    }

    /// Follows by other rules from now on; what was open ends. Event numbers go on.
    pub fn follow_by(&mut self, rules: EventRules, events: &mut Vec<Event>) {
        let rules = usable(rules);
        if rules != self.rules {
            self.finish(events);
            self.rules = rules;
        }
    }

    /// Tells what the next frame given to [`Tracker::step`] looks like, so that what moved is found again. Frames whose look
    /// is not told are taken for unmoved.
    pub fn see(&mut self, now: &Reduced) {
        if self.past.fits(now) {
            let scale = self.past.scale();
            for track in &mut self.tracks {
                if let Some((dx, dy)) = self.past.moved_to(now, &track.moved, None) {
                    let moved = |at: u32, by: i32| at.saturating_add_signed((by as f32 * scale) as i32);
                    (track.moved.x, track.moved.y) = (moved(track.moved.x, dx), moved(track.moved.y, dy));
                }
            }
        }
        self.past.copy(now);
        self.seen = true;
    }

    /// Takes the regions of one frame at `time_secs` (presentation time) that are evidence: those above `threshold`, and
    /// [`EventRules::beside`] them those that reach [`EventRules::reach`] below it. Appends the events that start or end with
    /// it, ends first. Each region goes on at most one track, the best overlap first.
    pub fn step(
        &mut self,
        (frame, time_secs): (FrameId, f64),
        (regions, threshold): (&[Region], f32),
        events: &mut Vec<Event>,
    ) {
        self.last = (frame, time_secs);
        if !std::mem::take(&mut self.seen) {
            // What it shows is older than the tracks from now on.
            self.past = Reduced::default();
        }
        self.pairs.clear();
        for (t, track) in self.tracks.iter().enumerate() {
            for (r, region) in regions.iter().enumerate() {
                // Motion is estimated, and may be wrong: what stayed in its place is itself, too.
                let shared = [&track.rect, &track.moved].map(|rect| rect.share_of_smaller(&region.rect));
                let shared = shared[0].max(shared[1]);
                if shared >= LEAST_OVERLAP {
                    self.pairs.push((shared, t, r));
                }
            }
        }
        self.pairs.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
        self.taken.clear();
        self.taken.resize(regions.len(), false);
        self.tracks.iter_mut().for_each(|t| t.missed += 1);
        self.followed.clear();
        self.followed.resize(regions.len(), Followed { track: 0, event: None });
        for (_, t, r) in &self.pairs {
            let track = &mut self.tracks[*t];
            if track.missed > 0 && !self.taken[*r] {
                self.taken[*r] = true;
                self.followed[*r].track = track.id;
                track.follow(frame, &regions[*r], self.rules.evidence(regions[*r].peak, threshold));
            }
        }
        let rules = self.rules;
        // After more misses than these no window can hold enough.
        let patience = rules.window - rules.frames;
        self.tracks.retain(|track| {
            let lost = match track.event {
                Some(_) => track.missed >= rules.gap,
                None => track.missed > patience,
            };
            if let (true, Some(number)) = (lost, track.event) {
                events.push(track.event(EventKind::End, number, frame, time_secs));
            }
            !lost
        });
        for ((region, taken), followed) in regions.iter().zip(&self.taken).zip(&mut self.followed) {
            if !taken {
                let evidence = rules.evidence(region.peak, threshold);
                self.tracks.push(Track::new(self.next, frame, region, evidence));
                followed.track = self.next;
                self.next += 1;
            }
        }
        for track in &mut self.tracks {
            track.pass(rules.window);
            if track.event.is_none() && track.sum() >= f64::from(rules.frames) {
                self.events += 1;
                track.event = Some(self.events);
                events.push(track.event(EventKind::Start, self.events, frame, time_secs));
            }
        }
        // Tracks are in the order of their ids.
        for followed in &mut self.followed {
            let at = self.tracks.binary_search_by_key(&followed.track, |track| track.id);
            followed.event = at.ok().and_then(|at| self.tracks[at].event);
        }
    }

    /// What each region of the last frame goes on, in their order.
    pub fn followed(&self) -> &[Followed] {
        &self.followed
    }

    /// Ends all open events at the last frame; for the end of the stream.
    pub fn finish(&mut self, events: &mut Vec<Event>) {
        let (frame, time) = self.last;
        for track in self.tracks.drain(..) {
            if let Some(number) = track.event {
                events.push(track.event(EventKind::End, number, frame, time));
            }
        }
    }
}

/// Rules without what cannot be.
fn usable(rules: EventRules) -> EventRules {
    let frames = rules.frames.max(1);
    EventRules { frames, window: rules.window.max(frames), gap: rules.gap.max(1), ..rules }
}

impl Track {
    fn new(id: u64, frame: FrameId, region: &Region, evidence: f32) -> Self {
        Track {
            id,
            rect: region.rect,
            moved: region.rect,
            first_frame: frame,
            last_frame: frame,
            evidence: VecDeque::from([evidence]),
            missed: 0,
            best: *region,
            area: region.area,
            event: None,
        }
    }

    fn follow(&mut self, frame: FrameId, region: &Region, evidence: f32) {
        (self.rect, self.moved) = (region.rect, region.rect);
        self.last_frame = frame;
        self.evidence.push_back(evidence);
        self.missed = 0;
        self.area = self.area.max(region.area);
        if region.peak > self.best.peak {
            self.best = *region;
        }
    }

    /// The evidence of its window, in frames.
    fn sum(&self) -> f64 {
        // What adds up to a frame but for rounding is a frame.
        self.evidence.iter().map(|one| f64::from(*one)).sum::<f64>() + 1e-4
    }

    /// A frame has passed: without it, there is no evidence in it; what is older than `window` frames counts no more.
    fn pass(&mut self, window: u32) {
        if self.event.is_some() {
            // Nobody asks any more.
            self.evidence.clear();
        } else if self.missed > 0 {
            self.evidence.push_back(0.0);
        }
        while self.evidence.len() > window as usize {
            self.evidence.pop_front();
        }
    }

    fn event(&self, kind: EventKind, event: u64, frame: FrameId, time_secs: f64) -> Event {
        Event {
            kind,
            stream: None,
            event,
            frame,
            time_secs,
            utc: None,
            first_frame: self.first_frame,
            last_frame: self.last_frame,
            rect: self.best.rect,
            area: self.area,
            peak: self.best.peak,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(x: u32, size: u32, peak: f32) -> Region {
        Region { rect: Rect { x, y: 10, width: size, height: size }, area: size * size, peak }
    }

    const RULES: EventRules = EventRules { frames: 3, window: 0, gap: 2, reach: 0.0 };

    /// Runs frames of regions through a tracker that wants 3 frames and forgives 1 missing one.
    fn run(frames: &[Vec<Region>]) -> Vec<(EventKind, u64, u64, u64, u64)> {
        run_by(RULES, frames)
    }

    /// Runs frames of regions through a tracker with a threshold of 5.
    fn run_by(rules: EventRules, frames: &[Vec<Region>]) -> Vec<(EventKind, u64, u64, u64, u64)> {
        let mut tracker = Tracker::new(rules);
        let mut events = Vec::new();
        for (i, regions) in frames.iter().enumerate() {
            tracker.step((i as u64, i as f64 / 10.0), (regions, 5.0), &mut events);
        }
        tracker.finish(&mut events);
        events.iter().map(|e| (e.kind, e.event, e.frame, e.first_frame, e.last_frame)).collect()
    }

    #[test]
    fn what_lasts_is_an_event_and_what_flickers_is_not() {
        use EventKind::{End, Start};
        let moving = |n: u32| vec![region(n * 4, 20, n as f32)];
        let cases: [(&str, Vec<Vec<Region>>, Vec<_>); 5] = [
            ("two frames", vec![moving(0), moving(1), vec![], vec![]], vec![]),
            ("a gap before it counts", vec![moving(0), moving(1), vec![], moving(2), moving(3)], vec![]),
            (
                "a gap after",
                vec![moving(0), moving(1), moving(2), vec![], moving(4), vec![], vec![], vec![]],
                vec![(Start, 1, 2, 0, 2), (End, 1, 6, 0, 4)],
            ),
            (
                "end of stream",
                vec![moving(0), moving(1), moving(2)],
                vec![(Start, 1, 2, 0, 2), (End, 1, 2, 0, 2)],
            ),
            (
                "two at once, crossing out of order",
                vec![
                    vec![region(0, 20, 1.0), region(200, 20, 1.0)],
                    vec![region(198, 20, 1.0), region(4, 20, 1.0)],
                    vec![region(196, 20, 1.0), region(8, 20, 1.0)],
                    vec![region(12, 20, 1.0)],
                    vec![region(16, 20, 1.0)],
                ],
                vec![(Start, 1, 2, 0, 2), (Start, 2, 2, 0, 2), (End, 2, 4, 0, 2), (End, 1, 4, 0, 4)],
            ),
        ];
        for (name, frames, want) in cases {
            assert_eq!(run(&frames), want, "{name}");
        }
    }

    #[test]
    fn an_event_tells_its_peak_and_its_largest_area() {
        let mut tracker = Tracker::new(EventRules { frames: 2, gap: 1, ..RULES });
        let mut events = Vec::new();
        for (i, r) in [region(0, 20, 5.0), region(2, 30, 9.0), region(4, 40, 7.0)].iter().enumerate() {
            tracker.step((i as u64, 0.1 * i as f64), (std::slice::from_ref(r), 0.0), &mut events);
        }
        tracker.step((3, 0.3), (&[], 0.0), &mut events);
        let end = &events[1];
        assert_eq!(
            (end.kind, end.area, end.peak, end.rect.x, end.last_frame),
            (EventKind::End, 1600, 9.0, 2, 2)
        );
        assert_eq!((end.frame, end.time_secs), (3, 0.3));
        assert_eq!((events[0].area, events[0].peak), (900, 9.0));
    }

    #[test]
    fn weak_evidence_adds_up_and_flicker_does_not() {
        use EventKind::{End, Start};
        let rules = EventRules { frames: 3, window: 6, gap: 2, reach: 2.0 };
        let at = |peak: f32| vec![region(0, 20, peak)];
        // From 3 on a region is evidence, from 5 on that of a whole frame.
        let weak = |seen: &[f32]| {
            let frame = |peak: &f32| if *peak > 0.0 { at(*peak) } else { vec![] };
            run_by(rules, &seen.iter().map(frame).collect::<Vec<_>>())
        };
        assert_eq!(weak(&[4.0; 5]), []);
        assert_eq!(weak(&[4.0; 6])[0], (Start, 1, 5, 0, 5));
        assert_eq!(weak(&[4.5, 0.0, 4.5, 9.0, 4.5])[0], (Start, 1, 4, 0, 4));
        // A strong one still needs three frames, of which it may miss some.
        assert_eq!(weak(&[9.0, 0.0, 0.0, 9.0, 0.0, 9.0])[0], (Start, 1, 5, 0, 5));
        // Away for too long: what comes then is a new one.
        assert_eq!(weak(&[9.0, 0.0, 0.0, 0.0, 0.0, 9.0, 9.0, 9.0])[0], (Start, 1, 7, 5, 7));
        // Ten tenths are one, whatever floats make of them.
        let tenths = EventRules { frames: 1, window: 10, gap: 2, reach: 1.0 };
        assert_eq!(run_by(tenths, &vec![at(4.1); 10])[0], (Start, 1, 9, 0, 9));
        assert_eq!(weak(&[3.0; 20]), [], "at the foot nothing counts");
        let gone = [4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 0.0, 0.0];
        assert_eq!(weak(&gone), [(Start, 1, 5, 0, 5), (End, 1, 7, 0, 5)]);
    }

    #[test]
    fn what_moves_far_between_frames_is_followed_by_its_picture() {
        // Noise that moves by 20 pixels a frame, and a region of 24 with it.
        let (width, height) = (640, 360);
        let picture = |by: usize| -> Vec<u8> {
            let noise = |x: usize, y: usize| (((x / 6) * 7919 + (y / 6) * 104_729) % 251) as u8;
            (0..width * height).map(|i| noise(i % width + 600 - by, i / width)).collect()
        };
        let run = |with_look: bool| {
            let (mut tracker, mut events) = (Tracker::new(RULES), Vec::new());
            for i in 0..4_usize {
                if with_look {
                    let mut look = Reduced::default();
                    look.take(&picture(20 * i), width, height);
                    tracker.see(&look);
                }
                let there = Region {
                    rect: Rect { x: 200 + 20 * i as u32, y: 150, width: 24, height: 24 },
                    area: 576,
                    peak: 9.0,
                };
                tracker.step((i as u64, i as f64), (&[there], 5.0), &mut events);
            }
            events.len()
        };
        assert_eq!((run(true), run(false)), (1, 0));
    }
}
