//! Score maps of a frame by any number of methods, smoothed along the motion if that is asked for.

use anyhow::Result;

use crate::frame::Frame;
use crate::grid::{Distances, Logits, ScoreMap};
use crate::luma::Luma;
use crate::pool::Pool;
use crate::score::{Method, MotionTracker, Scorer, TemporalSmoother};

/// What makes score maps.
pub(super) struct Scoring {
    scorers: Vec<Scorer>,
    /// Of each method, if maps are smoothed over time.
    smoothers: Vec<TemporalSmoother>,
    tracker: MotionTracker,
    luma: Luma,
    /// Whether somebody wants the frame's luma though nothing is smoothed.
    pub with_luma: bool,
    numbers: Pool<Vec<f32>>,
}

impl Scoring {
    /// `temporal` is [`crate::score::ScoreConfig::temporal`]; maps are made of `numbers`.
    pub fn new(scorers: Vec<Scorer>, temporal: f32, numbers: Pool<Vec<f32>>) -> Scoring {
        Scoring {
            smoothers: scorers.iter().filter_map(|_| TemporalSmoother::new(temporal)).collect(),
            scorers,
            tracker: MotionTracker::new(),
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
        if self.with_luma || !self.smoothers.is_empty() {
            self.luma.take(frame);
        }
        if !self.smoothers.is_empty() {
            let how = self.tracker.step(frame, &self.luma);
            for (smoother, map) in self.smoothers.iter_mut().zip(maps) {
                smoother.step(map, (frame.width, frame.height), &how);
            }
        }
        Ok(())
    }

    /// The luma of the last frame; empty if nobody wanted it.
    pub fn luma(&self) -> &Luma {
        &self.luma
    }
}
