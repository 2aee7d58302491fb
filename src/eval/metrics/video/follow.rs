//! Following components from frame to frame by their boxes.

use crate::eval::metrics::components::Components;
use crate::region::Rect;

/// Two boxes belong together if they share this much of the smaller one.
const LEAST_OVERLAP: f64 = 0.3;

/// The box of each component, the first being that of number 1.
pub fn boxes(components: &Components, width: usize) -> Vec<Rect> {
    let mut ends = vec![(u32::MAX, u32::MAX, 0, 0); components.len()];
    for (at, number) in components.of_pixel.iter().enumerate().filter(|(_, number)| **number > 0) {
        let (x, y) = ((at % width) as u32, (at / width) as u32);
        let (left, top, right, bottom) = &mut ends[*number as usize - 1];
        (*left, *top) = ((*left).min(x), (*top).min(y));
        (*right, *bottom) = ((*right).max(x + 1), (*bottom).max(y + 1));
    }
    let rect =
        |(left, top, right, bottom)| Rect { x: left, y: top, width: right - left, height: bottom - top };
    ends.into_iter().map(rect).collect()
}

#[derive(Debug)]
struct Track {
    id: u32,
    rect: Rect,
    missed: u32,
}

/// Gives components of successive frames ids that stay.
#[derive(Debug)]
pub struct Follower {
    gap_frames: u32,
    tracks: Vec<Track>,
    next: u32,
}

impl Follower {
    /// What was not seen for `gap_frames` frames (at least 1) is something new when it comes again.
    pub fn new(gap_frames: u32) -> Follower {
        Follower { gap_frames: gap_frames.max(1), tracks: Vec::new(), next: 0 }
    }

    /// The id of each box of the next frame; the best overlap goes first, each id goes to one box.
    pub fn step(&mut self, boxes: &[Rect]) -> Vec<u32> {
        let mut pairs = Vec::new();
        for (t, track) in self.tracks.iter().enumerate() {
            for (b, rect) in boxes.iter().enumerate() {
                let shared = track.rect.share_of_smaller(rect);
                if shared >= LEAST_OVERLAP {
                    pairs.push((shared, t, b));
                }
            }
        }
        pairs.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
        self.tracks.iter_mut().for_each(|track| track.missed += 1);
        let mut ids = vec![None; boxes.len()];
        for (_, t, b) in pairs {
            let track = &mut self.tracks[t];
            if track.missed > 0 && ids[b].is_none() {
                (track.missed, track.rect, ids[b]) = (0, boxes[b], Some(track.id));
            }
        }
        self.tracks.retain(|track| track.missed < self.gap_frames);
        let named = ids.into_iter().zip(boxes).map(|(id, rect)| {
            id.unwrap_or_else(|| {
                let id = self.next;
                self.next += 1;
                self.tracks.push(Track { id, rect: *rect, missed: 0 });
                id
            })
        });
        named.collect()
    }
}
