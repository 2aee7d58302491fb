//! One table of references: searched as a whole, or each patch among the references of its class only.

use std::collections::BTreeMap;

use super::Nearest;
use crate::bank::{References, RowsBuf};
use crate::gpu_stream::GpuStream;
use crate::grid::{Distances, Features, Grid};

/// A table and its engines.
pub(super) struct Table {
    all: Box<dyn Nearest>,
    /// Of classes with enough references.
    by_class: BTreeMap<u16, Box<dyn Nearest>>,
    /// The patches of one class, and what was found for them.
    some: Features,
    found: Distances,
}

impl Table {
    /// The table of `references`, whose classes are given if they shall be told apart. `open` opens an engine for `k`
    /// nearest. Classes with fewer than `k` references have no engine of their own. Their rows are copied.
    ///
    /// # Errors
    /// What `open` says.
    pub(super) fn open<E>(
        references: &References,
        classes: &[u16],
        k: usize,
        open: impl Fn(&References) -> Result<Box<dyn Nearest>, E>,
    ) -> Result<Table, E> {
        let mut members: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
        for (row, class) in classes.iter().enumerate() {
            members.entry(*class).or_default().push(row);
        }
        let mut by_class = BTreeMap::new();
        for (class, rows) in members {
            if rows.len() >= k {
                let width = references.width();
                let rows: RowsBuf = references.features().reordered(&rows, width);
                by_class.insert(class, open(&References::of(rows, width))?);
            }
        }
        let all = open(references)?;
        Ok(Table { all, by_class, some: Features::default(), found: Distances::default() })
    }

    /// The name of its engine.
    pub(super) fn name(&self) -> String {
        self.all.name()
    }

    /// As [`Nearest::distances`]. If `classes` are given, one for each patch, patches of a class that has an engine are
    /// searched by it.
    ///
    /// # Errors
    /// As [`Nearest::distances`].
    pub(super) fn distances(
        &mut self,
        features: &Features,
        classes: &[u16],
        out: &mut Distances,
    ) -> anyhow::Result<()> {
        if self.by_class.is_empty() || classes.is_empty() {
            return self.all.distances(features, out);
        }
        let own = |class: &u16| Some(*class).filter(|class| self.by_class.contains_key(class));
        let mut groups: BTreeMap<Option<u16>, Vec<usize>> = BTreeMap::new();
        for (patch, class) in classes.iter().enumerate().take(features.grid.len()) {
            groups.entry(own(class)).or_default().push(patch);
        }
        out.grid = features.grid;
        out.data.clear();
        out.data.resize(features.grid.len(), f32::INFINITY);
        let width = features.width;
        for (class, patches) in groups {
            let engine = match class.and_then(|class| self.by_class.get_mut(&class)) {
                Some(engine) => engine,
                None => &mut self.all,
            };
            self.some.grid = Grid { rows: 1, cols: patches.len() };
            self.some.width = width;
            self.some.data.clear();
            for patch in &patches {
                self.some.data.extend_from_slice(&features.data[patch * width..][..width]);
            }
            engine.distances(&self.some, &mut self.found)?;
            for (patch, distance) in patches.into_iter().zip(self.found.data.iter()) {
                out.data[patch] = *distance;
            }
        }
        Ok(())
    }

    /// As [`Nearest::turn_to`], of the engine of all classes; those of one class see other patches in every frame.
    pub(super) fn turn_to(&mut self, place: usize) {
        self.all.turn_to(place);
    }

    /// As [`Nearest::shares`].
    pub(super) fn shares(&self, stream: &dyn GpuStream) -> bool {
        self.by_class.is_empty() && self.all.shares(stream)
    }

    /// How many patches with NaN or infinite numbers its engines have seen.
    pub(super) fn faulty(&self) -> u64 {
        self.all.faulty() + self.by_class.values().map(|engine| engine.faulty()).sum::<u64>()
    }
}
