//! What regions that are followed look like to the model: a few looks each, spread over the time of an event, and the one in
//! which its score is highest.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::looks::Seen;
use crate::bank::{Look, Mark, Supplement};
use crate::grid::Grid;
use crate::identity::ModelIdentity;
use crate::region::{Event, EventKind};
use crate::score::Followed;
use crate::sink::MakeFile;

/// Most looks of an event beside the one with the highest score.
const MOST: usize = 12;
/// What has not been seen for so many frames, and is no event, is forgotten.
const FORGET: u64 = 60;

/// What followed regions look like, by the numbers of their tracks.
#[derive(Default)]
pub(super) struct EventLooks(BTreeMap<u64, OfTrack>);

struct OfTrack {
    model: Arc<ModelIdentity>,
    frame_size: (usize, usize),
    grid: Grid,
    /// The highest score so far, and that frame.
    best: (f32, Look),
    looks: Vec<Look>,
    /// Sights since it was first seen; of them every `stride`-th is a look.
    sights: usize,
    stride: usize,
    last: u64,
    event: Option<u64>,
}

impl EventLooks {
    /// Takes what the regions of a frame look like, which go on as `followed` says.
    pub(super) fn see(&mut self, seen: &Seen, followed: &[Followed]) {
        for ((region, look), followed) in seen.regions.iter().zip(followed) {
            if look.places.is_empty() {
                continue;
            }
            let new = || OfTrack::new(seen, (region.peak, look));
            let own = self.0.entry(followed.track).or_insert_with(new);
            if own.model != seen.model {
                // Nothing can be compared with what another one said.
                *own = new();
            }
            own.see(seen.frame, region.peak, look);
            own.event = followed.event.or(own.event);
        }
        self.0.retain(|_, own| own.event.is_some() || own.last + FORGET > seen.frame);
    }

    /// What makes the file of what an event has looked like so far; of one that has ended, nothing is kept any more.
    pub(super) fn file_of(&mut self, event: &Event) -> Option<MakeFile> {
        let (track, own) = self.0.iter().find(|(_, own)| own.event == Some(event.event))?;
        let mark = Mark {
            // It has none before it is kept.
            id: String::new(),
            stream: event.stream.as_deref().map(str::to_owned),
            event: true,
            seen: event.utc.clone(),
            marked: None,
            rect: event.rect,
            frame_size: own.frame_size,
            grid: (own.grid.rows, own.grid.cols),
            peak: Some(event.peak).filter(|peak| peak.is_finite()),
            rows: 0,
        };
        // The strangest first.
        let others = own.looks.iter().filter(|look| look.frame != own.best.1.frame);
        let looks: Vec<Look> = std::iter::once(&own.best.1).chain(others).cloned().collect();
        let (model, track, number) = (Arc::clone(&own.model), *track, event.event);
        if event.kind == EventKind::End {
            self.0.remove(&track);
        }
        Some(Arc::new(move || {
            let one = Supplement::of(&model, mark.clone(), &looks);
            let bytes = one.to_bytes();
            bytes
                .inspect_err(|why| {
                    tracing::error!(event = number, "what an event looks like is not kept: {why}")
                })
                .ok()
        }))
    }
}

impl OfTrack {
    fn new(seen: &Seen, (peak, look): (f32, &Look)) -> OfTrack {
        OfTrack {
            model: Arc::clone(&seen.model),
            frame_size: seen.size,
            grid: seen.grid,
            best: (peak, look.clone()),
            looks: Vec::new(),
            sights: 0,
            stride: 1,
            last: seen.frame,
            event: None,
        }
    }

    fn see(&mut self, frame: u64, peak: f32, look: &Look) {
        self.last = frame;
        if peak > self.best.0 {
            self.best = (peak, look.clone());
        }
        if self.sights.is_multiple_of(self.stride) {
            self.looks.push(look.clone());
        }
        self.sights += 1;
        if self.looks.len() > MOST {
            // Every second one, and from now on half as often: they stay spread over all of its time.
            let mut number = 0;
            self.looks.retain(|_| {
                number += 1;
                number % 2 == 1
            });
            self.stride *= 2;
        }
    }
}
