//! Score maps of a frame by any number of methods, smoothed along the motion if that is asked for.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::frame::{Frame, StreamId};
use crate::grid::{Distances, Logits, ScoreMap};
use crate::luma::Luma;
use crate::pool::Pool;
use crate::score::{Method, MotionTracker, Scorer, TemporalSmoother};

/// What makes score maps.
pub(super) struct Scoring {
    scorers: Vec<Scorer>,
    temporal: f32,
    /// Of each stream, if maps are smoothed over time.
    pasts: BTreeMap<StreamId, Past>,
    luma: Luma,
    /// Whether somebody wants the frame's luma though nothing is smoothed.
    pub with_luma: bool,
    numbers: Pool<Vec<f32>>,
}

/// What is kept of a stream's former frames.
struct Past {
    /// Of each method.
    smoothers: Vec<TemporalSmoother>,
    tracker: MotionTracker,
}

impl Scoring {
    /// `temporal` is [`crate::score::ScoreConfig::temporal`]; maps are made of `numbers`.
    pub fn new(scorers: Vec<Scorer>, temporal: f32, numbers: Pool<Vec<f32>>) -> Scoring {
        Scoring {
            scorers,
            temporal,
            pasts: BTreeMap::new(),
            luma: Luma::default(),
            with_luma: false,
            numbers,
        }
    }

    /// The methods, in the order of their maps.
    pub fn methods(&self) -> Vec<Method> {
        self.scorers.iter().map(Scorer::method).collect()
    }

    /// Fills `maps`, one per method; those that are there already are used again.
    ///
    /// # Errors
    /// As [`Scorer::step`].
    pub fn step(
        &mut self,
        frame: &Frame,
        distances: &Distances,
        logits: Option<&Logits>,
        maps: &mut Vec<ScoreMap>,
    ) -> Result<()> {
        maps.resize_with(self.scorers.len(), || ScoreMap {
            data: self.numbers.take(),
            ..ScoreMap::default()
        });
        for (scorer, map) in self.scorers.iter_mut().zip(&mut *maps) {
            scorer.step(distances, logits, map)?;
        }
        let smoothed = self.temporal > 0.0;
        if self.with_luma || smoothed {
            self.luma.take(frame);
        }
        if smoothed {
            let past = self.pasts.entry(frame.stream).or_insert_with(|| Past {
                smoothers: maps.iter().filter_map(|_| TemporalSmoother::new(self.temporal)).collect(),
                tracker: MotionTracker::new(),
            });
            let how = past.tracker.step(frame, &self.luma);
            for (smoother, map) in past.smoothers.iter_mut().zip(maps) {
                smoother.step(map, (frame.width, frame.height), &how);
            }
        }
        Ok(())
    }

    /// Of how many streams there is a past.
    pub fn remembered(&self) -> usize {
        self.pasts.len()
    }

    /// Streams that `known` does not know any more have no past.
    pub fn forget(&mut self, known: impl Fn(StreamId) -> bool) {
        self.pasts.retain(|stream, _| known(*stream));
    }

    /// The luma of the last frame; empty if nobody wanted it.
    pub fn luma(&self) -> &Luma {
        &self.luma
    }
}
