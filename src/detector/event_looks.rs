//! What events look like to the model while they go on: a few looks each, spread over its time.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::looks::Seen;
use crate::bank::{Look, Mark, Supplement};
use crate::grid::Grid;
use crate::identity::ModelIdentity;
use crate::region::{Event, EventKind};
use crate::score::Followed;

/// Most looks of an event.
const MOST: usize = 8;
/// Seconds from one look to the next, at first.
const EVERY: f64 = 0.5;

/// What the events that go on look like.
#[derive(Default)]
pub(super) struct EventLooks(BTreeMap<u64, OfEvent>);

struct OfEvent {
    model: Arc<ModelIdentity>,
    frame_size: (usize, usize),
    grid: Grid,
    looks: Vec<Look>,
    /// Presentation time of the last look, in seconds.
    last: f64,
    every: f64,
}

impl EventLooks {
    /// Takes what the regions of a frame at `time_secs` look like, which go on as `followed` says.
    pub(super) fn see(&mut self, seen: &Seen, followed: &[Followed], time_secs: f64) {
        for ((_, look), followed) in seen.regions.iter().zip(followed) {
            let Some(event) = followed.event.filter(|_| !look.places.is_empty()) else { continue };
            let own = self.0.entry(event).or_insert_with(|| OfEvent {
                model: Arc::clone(&seen.model),
                frame_size: seen.size,
                grid: seen.grid,
                looks: Vec::new(),
                last: f64::NEG_INFINITY,
                every: EVERY,
            });
            if own.model != seen.model {
                // Nothing can be compared with what another one said.
                (own.model, own.grid) = (Arc::clone(&seen.model), seen.grid);
                (own.looks, own.every) = (Vec::new(), EVERY);
            }
            if time_secs - own.last < own.every && !own.looks.is_empty() {
                continue;
            }
            own.last = time_secs;
            own.looks.push(look.clone());
            if own.looks.len() > MOST {
                // Every second one, and from now on half as often: they stay spread over all of its time.
                let mut number = 0;
                own.looks.retain(|_| {
                    number += 1;
                    number % 2 == 1
                });
                own.every *= 2.0;
            }
        }
    }

    /// The file of what an event has looked like so far; of one that has ended, nothing is kept any more.
    pub(super) fn file_of(&mut self, event: &Event) -> Option<Vec<u8>> {
        let ended = event.kind == EventKind::End;
        let own = if ended { self.0.remove(&event.event)? } else { self.0.get(&event.event)?.copy() };
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
        let one = Supplement::of(&own.model, mark, &own.looks);
        match one.to_bytes() {
            Ok(bytes) if one.rows() > 0 => Some(bytes),
            Ok(_) => None,
            Err(why) => {
                tracing::error!(event = event.event, "what an event looks like is not kept: {why}");
                None
            }
        }
    }
}

impl OfEvent {
    fn copy(&self) -> OfEvent {
        OfEvent { model: Arc::clone(&self.model), looks: self.looks.clone(), ..*self }
    }
}
