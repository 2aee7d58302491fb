//! The distances of all held-out frames, merged over their views, and what is normal for each view.

use std::sync::Arc;

use super::held_frame::HeldFrame;
use crate::bank::{Bank, Baseline, ViewBaseline, ViewRecord};
use crate::grid::{Distances, Features};
use crate::nearest::{self, Device, SearchConfig, ViewSearch};
use crate::views::{Layout, Merger, ViewsConfig};

/// Of each frame the distances, merged with those of its views; void and faulty cells are NaN.
pub(super) struct Measured {
    pub(super) maps: Vec<Distances>,
    /// What was found out about the views, if there are any.
    pub(super) views: Option<ViewRecord>,
}

/// Measures `frames` against `bank`.
///
/// # Errors
/// If the search fails; `done` is told after each frame.
pub(super) fn measured<'a>(
    frames: impl Iterator<Item = &'a HeldFrame> + Clone,
    views: &ViewsConfig,
    bank: &Arc<Bank>,
    (k, threads): (usize, usize),
    done: &mut dyn FnMut(usize),
) -> anyhow::Result<Measured> {
    let search = SearchConfig { k, threads, device: Device::Cpu, ..SearchConfig::default() };
    let mut engine = nearest::open(&search, bank)?.engine;
    let layout = Layout::of(views);
    let mut search = layout.as_ref().map(ViewSearch::new);
    let mut features = Features::default();
    let (mut maps, mut parts) = (Vec::new(), Vec::new());
    for (count, frame) in frames.clone().enumerate() {
        frame.seen.load(bank.width(), &mut features);
        let mut distances = Distances::default();
        engine.distances_by_class(&features, &frame.seen.classes, &mut distances)?;
        if let Some(search) = &mut search {
            let mut of_views = vec![Features::default(); frame.views.len()];
            frame.views.iter().zip(&mut of_views).for_each(|(seen, out)| seen.load(bank.width(), out));
            let classes: Vec<_> = frame.views.iter().map(|seen| seen.classes.clone()).collect();
            parts.push(search.step(&mut engine, &features, &of_views, &classes)?.to_vec());
        }
        maps.push(distances);
        done(count + 1);
    }
    let Some(layout) = layout else {
        for (map, frame) in maps.iter_mut().zip(frames) {
            blank(map, &frame.seen.valid);
        }
        return Ok(Measured { maps, views: None });
    };
    let mut normal = vec![(Normal::default(), Normal::default()); layout.views.len()];
    for ((frame, map), parts) in frames.clone().zip(&maps).zip(&parts) {
        let both: Vec<_> = parts.iter().zip(&frame.views).collect();
        for ((view, tiles), (own, picture)) in layout.by_view(&both).zip(&mut normal) {
            tiles.iter().for_each(|(map, seen)| own.add(map, &seen.valid));
            let covered = view.crop.patches(map.grid.rows, map.grid.cols);
            let valid: Vec<bool> =
                covered.zip(&frame.seen.valid).map(|(inside, valid)| inside && *valid).collect();
            picture.add(map, &valid);
        }
    }
    let baselines: Vec<ViewBaseline> = normal
        .iter()
        .map(|(own, picture)| ViewBaseline { view: own.baseline(), picture: picture.baseline() })
        .collect();
    let scales = baselines.iter().map(ViewBaseline::scale).collect();
    let mut merger = Merger::new(&layout, scales);
    for ((frame, map), parts) in frames.zip(&mut maps).zip(&parts) {
        let mut merged = Distances::default();
        merger.step(frame.size, map, parts, &mut merged).map_err(|why| anyhow::anyhow!(why))?;
        let void: Vec<bool> = frame.seen.valid.iter().map(|valid| !valid).collect();
        super::uncertainty::blank_void(&mut merged.data, merged.grid, &void, map.grid);
        merged.data.iter_mut().filter(|d| d.is_infinite()).for_each(|d| *d = f32::NAN);
        *map = merged;
    }
    Ok(Measured { maps, views: Some(ViewRecord { views: views.describe(), baselines }) })
}

/// Makes what is not valid NaN.
fn blank(map: &mut Distances, valid: &[bool]) {
    map.data.iter_mut().zip(valid).filter(|(_, valid)| !**valid).for_each(|(d, _)| *d = f32::NAN);
}

/// What distances of normal patches are. Count, sum and sum of squares: distances are all of one size, so double precision is enough.
#[derive(Debug, Clone, Default)]
pub(super) struct Normal {
    count: f64,
    sum: f64,
    squares: f64,
}

impl Normal {
    /// Adds the distances that are finite and `valid`.
    pub(super) fn add(&mut self, map: &Distances, valid: &[bool]) {
        for (d, _) in map.data.iter().zip(valid).filter(|(d, valid)| **valid && d.is_finite()) {
            let d = f64::from(*d);
            self.count += 1.0;
            self.sum += d;
            self.squares += d * d;
        }
    }

    /// True without any distance.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0.0
    }

    /// Mean and deviation.
    pub(super) fn baseline(&self) -> Baseline {
        let count = self.count.max(1.0);
        let mean = self.sum / count;
        // Where all distances are equal nothing can be told by them; any positive number will do.
        let deviation = (self.squares / count - mean * mean).max(0.0).sqrt();
        Baseline { mean, deviation: deviation.max(1e-6 * mean.abs().max(1e-30)) }
    }
}
