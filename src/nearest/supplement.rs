//! The search among what was marked as normal on the spot, beside that of a bank.

use std::sync::Arc;

use rayon::ThreadPool;

use super::combine::combine;
use super::{Backend, CpuSearch, ImageMeans, Nearest, Projector, SearchError};
use crate::bank::{Bank, Baseline, DataType, Recipe, References, RowsBuf, Supplements};
use crate::grid::{Distances, Features};

/// A patch whose distance to what is marked is more than this share of that to the bank stays as it is.
/// With it, on the drive, 9 of 10 sights of a marked thing fell silent half a second later, and 1 of 7 of other kinds.
const NEAR: f64 = 0.8;
/// How fast it becomes normal as it lies nearer.
const STEEP: i32 = 3;

/// What was marked as normal, table by table as the bank's.
///
/// With d the distance of a patch to the bank's references and s that to the nearest marked feature, both summed over the
/// parts in standard deviations, the patch is treated as if each of its parts, and what the discriminant adds, were
/// w = min(1, (s / ([`NEAR`] d))^[`STEEP`]) of what they are. It is the relation that counts: other strange things lie about
/// as near to a marked one as to the bank, however far that is, and stay what they are.
pub(super) struct Beside {
    supplements: Supplements,
    /// Of the supplements that the engines hold; 0 before the first.
    generation: u64,
    engines: Vec<CpuSearch>,
    /// To the nearest marked feature, table by table.
    marked: Vec<Distances>,
    /// To the bank's references, before known outliers count.
    pub plain: Vec<Distances>,
    /// Scores before the discriminant counts.
    pub searched: Vec<f32>,
    weights: Vec<f32>,
    lowered: Vec<f32>,
}

impl Beside {
    /// Nothing is searched yet.
    pub(super) fn new(supplements: Supplements) -> Beside {
        Beside {
            supplements,
            generation: 0,
            engines: Vec::new(),
            marked: Vec::new(),
            plain: Vec::new(),
            searched: Vec::new(),
            weights: Vec::new(),
            lowered: Vec::new(),
        }
    }

    /// Takes what holds now, if that has changed, transformed as the bank's recipe says. Supplements of other models are left
    /// out.
    ///
    /// # Errors
    /// If this machine does not have the backend.
    pub(super) fn refresh(
        &mut self,
        bank: &Bank,
        projector: &mut Projector,
        pool: &Arc<ThreadPool>,
        backend: Backend,
    ) -> Result<(), SearchError> {
        if self.generation == self.supplements.generation() {
            return Ok(());
        }
        let (generation, all) = self.supplements.all();
        let widths = projector.tables().to_vec();
        let mut tables: Vec<Vec<f32>> = vec![Vec::new(); widths.len()];
        let (mut rows, mut some) = (0, vec![Vec::new(); widths.len()]);
        for one in all {
            let differences = one.model().differences(&bank.metadata().model);
            if !differences.is_empty() {
                let marks: Vec<_> = one.marks().iter().map(|mark| mark.id.as_str()).collect();
                tracing::warn!(
                    marks = marks.join(", "),
                    "another model made what was marked as normal, and it does not count: {}",
                    differences.join("; ")
                );
                continue;
            }
            let means = one.means();
            let mut out: Vec<&mut Vec<f32>> = some.iter_mut().collect();
            pool.install(|| {
                projector.rows(one.features(), ImageMeans::Each(&means.means, &means.own), &mut out)
            });
            tables.iter_mut().zip(&some).for_each(|(table, some)| table.extend_from_slice(some));
            rows += one.rows();
        }
        let open = |(table, width): (Vec<f32>, &usize)| {
            let mut numbers = RowsBuf::zeros(DataType::F32, table.len());
            numbers.overwrite(0, &table);
            CpuSearch::on(pool, backend, 1, References::of(numbers, *width))
        };
        self.engines = match rows {
            0 => Vec::new(),
            _ => tables.into_iter().zip(&widths).map(open).collect::<Result<_, _>>()?,
        };
        self.marked.resize_with(widths.len(), Distances::default);
        self.plain.resize_with(widths.len(), Distances::default);
        if self.generation > 0 || rows > 0 {
            tracing::info!(rows, "features that were marked as normal");
        }
        self.generation = generation;
        Ok(())
    }

    /// As [`Nearest::turn_to`].
    pub(super) fn turn_to(&mut self, place: usize) {
        self.engines.iter_mut().for_each(|engine| engine.turn_to(place));
    }

    /// Whether anything is marked.
    pub(super) fn is_marked(&self) -> bool {
        !self.engines.is_empty()
    }

    /// Searches patches that are transformed as the rows are, table by table.
    ///
    /// # Errors
    /// As [`Nearest::distances`].
    pub(super) fn search(&mut self, tables: &[Features]) -> anyhow::Result<()> {
        let mut found = self.engines.iter_mut().zip(tables).zip(&mut self.marked);
        found.try_for_each(|((engine, table), out)| engine.distances(table, out))
    }

    /// Lowers the scores of patches that lie near to what is marked. `outlying` are the distances to known outliers, if
    /// these count.
    pub(super) fn lower(
        &mut self,
        recipe: &Recipe,
        outlying: &[Distances],
        normal: &[Baseline],
        scores: &mut [f32],
    ) {
        let apart = recipe.combine.searches_apart();
        let unit = |number: usize| if apart { normal[number].deviation } else { 1.0 };
        let sum = |parts: &[Distances], patch: usize| -> f64 {
            parts.iter().enumerate().map(|(n, part)| f64::from(part.data[patch]) / unit(n)).sum()
        };
        self.weights.clear();
        self.weights.extend((0..scores.len()).map(|patch| {
            let share = sum(&self.marked, patch) / (NEAR * sum(&self.plain, patch));
            // What cannot be compared stays as it is.
            if share < 1.0 { share.powi(STEEP) as f32 } else { 1.0 }
        }));
        for (number, plain) in self.plain.iter_mut().enumerate() {
            plain.data.iter_mut().zip(&self.weights).for_each(|(d, w)| *d *= w);
            if let Some(outlying) = outlying.get(number) {
                plain
                    .data
                    .iter_mut()
                    .zip(outlying.data.iter())
                    .for_each(|(d, o)| *d = recipe.outliers.of(*d, *o));
            }
        }
        match apart {
            true => combine(recipe.combine, &self.plain, normal, &mut self.lowered),
            false => self.lowered.clone_from(&self.plain[0].data),
        }
        let known = self.weights.iter().zip(&self.lowered).zip(&self.searched);
        for (score, ((weight, lowered), searched)) in scores.iter_mut().zip(known) {
            if *weight < 1.0 {
                *score = lowered + weight * (*score - searched);
            }
        }
    }

    /// Of the supplements that were searched last.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }
}
