//! Regions that last: matched from frame to frame, reported when they start and when they end.

use crate::frame::FrameId;
use crate::region::{Event, EventKind, Rect, Region};

/// Two rectangles belong together if they share this much of the smaller one.
const LEAST_OVERLAP: f64 = 0.3;

/// A region being followed.
#[derive(Debug, Clone)]
struct Track {
    id: u64,
    /// Where it was last seen.
    rect: Rect,
    first_frame: FrameId,
    last_frame: FrameId,
    /// Frames in which it was seen, without a gap until it counts.
    seen: u32,
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
    /// Whether the track has lasted long enough to be an event.
    pub is_event: bool,
}

/// Follows regions and reports events.
#[derive(Debug, Clone)]
pub struct Tracker {
    event_frames: u32,
    gap_frames: u32,
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
    /// A region is an event after `event_frames` consecutive frames (at least 1), which ends when it
    /// was missing for `gap_frames` (at least 1). Frames are those given to [`Tracker::step`].
    pub fn new(event_frames: u32, gap_frames: u32) -> Self {
        Tracker {
            event_frames: event_frames.max(1),
            gap_frames: gap_frames.max(1),
            tracks: Vec::new(),
            next: 0,
            followed: Vec::new(),
            events: 0,
            last: (0, 0.0),
            pairs: Vec::new(),
            taken: Vec::new(),
        }
    }

    /// Takes the regions of one frame at `time_secs` (presentation time); appends the events that start or
    /// end with it, ends first. Each region goes on at most one track, the best overlap first.
    pub fn step(&mut self, frame: FrameId, time_secs: f64, regions: &[Region], events: &mut Vec<Event>) {
        self.last = (frame, time_secs);
        self.pairs.clear();
        for (t, track) in self.tracks.iter().enumerate() {
            for (r, region) in regions.iter().enumerate() {
                let shared = track.rect.share_of_smaller(&region.rect);
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
        self.followed.resize(regions.len(), Followed { track: 0, is_event: false });
        for (_, t, r) in &self.pairs {
            let track = &mut self.tracks[*t];
            if track.missed > 0 && !self.taken[*r] {
                self.taken[*r] = true;
                self.followed[*r].track = track.id;
                track.follow(frame, &regions[*r]);
            }
        }
        let gap = self.gap_frames;
        self.tracks.retain(|track| {
            let lost = track.missed >= if track.event.is_some() { gap } else { 1 };
            if let (true, Some(number)) = (lost, track.event) {
                events.push(track.event(EventKind::End, number, frame, time_secs));
            }
            !lost
        });
        for ((region, taken), followed) in regions.iter().zip(&self.taken).zip(&mut self.followed) {
            if !taken {
                self.tracks.push(Track::new(self.next, frame, region));
                followed.track = self.next;
                self.next += 1;
            }
        }
        for track in &mut self.tracks {
            if track.event.is_none() && track.seen >= self.event_frames {
                self.events += 1;
                track.event = Some(self.events);
                events.push(track.event(EventKind::Start, self.events, frame, time_secs));
            }
        }
        // Tracks are in the order of their ids.
        for followed in &mut self.followed {
            let at = self.tracks.binary_search_by_key(&followed.track, |track| track.id);
            followed.is_event = at.is_ok_and(|at| self.tracks[at].event.is_some());
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

impl Track {
    fn new(id: u64, frame: FrameId, region: &Region) -> Self {
        Track {
            id,
            rect: region.rect,
            first_frame: frame,
            last_frame: frame,
            seen: 1,
            missed: 0,
            best: *region,
            area: region.area,
            event: None,
        }
    }

    fn follow(&mut self, frame: FrameId, region: &Region) {
        self.rect = region.rect;
        self.last_frame = frame;
        self.seen += 1;
        self.missed = 0;
        self.area = self.area.max(region.area);
        if region.peak > self.best.peak {
            self.best = *region;
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

    /// Runs frames of regions through a tracker that wants 3 frames and forgives 1 missing one.
    fn run(frames: &[Vec<Region>]) -> Vec<(EventKind, u64, u64, u64, u64)> {
        let mut tracker = Tracker::new(3, 2);
        let mut events = Vec::new();
        for (i, regions) in frames.iter().enumerate() {
            tracker.step(i as u64, i as f64 / 10.0, regions, &mut events);
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
        let mut tracker = Tracker::new(2, 1);
        let mut events = Vec::new();
        for (i, r) in [region(0, 20, 5.0), region(2, 30, 9.0), region(4, 40, 7.0)].iter().enumerate() {
            tracker.step(i as u64, 0.1 * i as f64, std::slice::from_ref(r), &mut events);
        }
        tracker.step(3, 0.3, &[], &mut events);
        let end = &events[1];
        assert_eq!(
            (end.kind, end.area, end.peak, end.rect.x, end.last_frame),
            (EventKind::End, 1600, 9.0, 2, 2)
        );
        assert_eq!((end.frame, end.time_secs), (3, 0.3));
        assert_eq!((events[0].area, events[0].peak), (900, 9.0));
    }
}
