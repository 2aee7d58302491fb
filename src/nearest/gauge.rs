//! From a model's features to one distance per patch: transformed, searched part by part, combined.

use std::sync::Arc;

use anyhow::ensure;
use rayon::ThreadPool;

use super::affinity::Smoothing;
use super::combine::combine;
use super::linear::Linear;
use super::supplement::Beside;
use super::table::Table;
use super::{Backend, ImageMeans, Nearest, Projector, SearchConfig, SearchError, cpu, image_mean};
use crate::bank::{Affinity, Bank, Baseline, References, Supplements};
use crate::gpu_stream::GpuStream;
use crate::grid::{Distances, Features};

/// Measures how far the patches of a frame lie from the references of a bank, as the bank's recipe says.
pub struct Gauge {
    bank: Arc<Bank>,
    pool: Arc<ThreadPool>,
    projector: Projector,
    /// The tables of the bank.
    engines: Vec<Table>,
    /// As many that search known outliers, where these are used.
    strange: Vec<Box<dyn Nearest>>,
    /// What is normal for each table.
    baselines: Vec<Baseline>,
    /// Transformed features and distances per table.
    features: Vec<Features>,
    distances: Vec<Distances>,
    /// Distances to known outliers, table by table.
    outlying: Vec<Distances>,
    /// Features that were read back from a GPU.
    read_back: Features,
    smoothing: Smoothing,
    /// The bank's discriminant, if it has one.
    linear: Option<Linear>,
    /// What was marked as normal, if that is looked at.
    beside: Option<Beside>,
    backend: Backend,
}

/// Opens an engine for so many nearest of some references, on these threads if it is one of the CPU.
pub(super) type Open<'a> =
    dyn Fn(&Arc<ThreadPool>, usize, &References) -> Result<Box<dyn Nearest>, SearchError> + 'a;

impl Gauge {
    /// The gauge of `bank` with engines that `open` opens.
    ///
    /// # Errors
    /// What `open` says; if the threads cannot be started.
    pub(super) fn new(config: &SearchConfig, bank: &Arc<Bank>, open: &Open) -> Result<Gauge, SearchError> {
        let pool = cpu::threads_for(config.threads)?;
        let tables = bank.tables().len();
        let recipe = bank.recipe();
        let classes = if recipe.by_class { bank.classes() } else { &[] };
        let table = |number| {
            let references = References::table(bank, number);
            Table::open(&references, classes, config.k, |some| open(&pool, config.k, some))
        };
        let engines = (0..tables).map(table).collect::<Result<_, _>>()?;
        let strange = References::outliers(bank)
            .iter()
            .filter(|_| !recipe.outliers.is_off())
            .map(|references| open(&pool, recipe.outlier_k.min(references.rows()), references))
            .collect::<Result<_, _>>()?;
        Ok(Gauge {
            projector: Projector::new(recipe, bank.transforms(), bank.width()),
            engines,
            strange,
            baselines: recipe.parts.iter().map(|part| part.baseline.unwrap_or(Baseline::UNKNOWN)).collect(),
            features: vec![Features::default(); tables],
            distances: vec![Distances::default(); tables],
            outlying: vec![Distances::default(); tables],
            read_back: Features::default(),
            smoothing: Smoothing::default(),
            linear: Linear::of(bank),
            beside: None,
            backend: config.backend,
            bank: Arc::clone(bank),
            pool,
        })
    }

    /// From now on patches are also compared with what was marked as normal: one that lies nearer to it than to the bank
    /// counts as if it lay nearer to the bank; `nearest::supplement` has the formula.
    pub fn supplement(&mut self, supplements: Supplements) {
        self.beside = Some(Beside::new(supplements));
    }

    /// The [`Supplements::generation`] by which the last frame was measured; 0 without.
    pub fn supplemented_by(&self) -> u64 {
        self.beside.as_ref().map_or(0, Beside::generation)
    }

    /// The engines' name, and what they run on.
    pub fn name(&self) -> String {
        let name = self.engines.first().map(|engine| engine.name()).unwrap_or_default();
        let parts = match self.engines.len() {
            1 => String::new(),
            parts => format!(", {parts} parts"),
        };
        let outliers = if self.strange.is_empty() { "" } else { ", known outliers" };
        let linear = if self.linear.is_some() { ", discriminant" } else { "" };
        let classes = if self.wants_classes() { ", by class" } else { "" };
        format!("{name}{parts}{outliers}{linear}{classes}")
    }

    /// Whether it searches each patch among the references of its class only, and wants to know the classes.
    pub fn wants_classes(&self) -> bool {
        self.bank.recipe().by_class
    }

    /// Whether the features of a model are searched for in `bank` as they are, on one engine's stream: nothing is done to
    /// them before, and no patches are picked from them.
    pub(super) fn takes_as_they_are(bank: &Bank) -> bool {
        let recipe = bank.recipe();
        let by_class = recipe.by_class && !bank.classes().is_empty();
        recipe.affinity.is_none()
            && recipe.discriminant.is_none()
            && !by_class
            && recipe.keeps_features(bank.width())
    }

    /// Whether it searches features where they are, in memory of the GPU of this stream and in its order: if nothing is done
    /// to them before. Others are read back.
    pub fn shares(&self, stream: &dyn GpuStream) -> bool {
        self.projector.is_plain()
            && self.bank.recipe().affinity.is_none()
            && self.linear.is_none()
            && self.engines.iter().all(|engine| engine.shares(stream))
            && self.strange.iter().all(|engine| engine.shares(stream))
    }

    /// As [`Gauge::distances_by_class`], of patches whose classes are not known: all are searched among all references.
    ///
    /// # Errors
    /// As there.
    pub fn distances(&mut self, features: &Features, out: &mut Distances) -> anyhow::Result<()> {
        self.distances_by_class(features, &[], out)
    }

    /// How far each patch lies from the references, as the bank's [`crate::bank::Combine`] says; `out` is overwritten and takes
    /// the grid of `features`, which are those of the model.
    ///
    /// A patch with a NaN or infinite number has distance `f32::INFINITY`.
    ///
    /// # Errors
    /// If the features are not as wide as the bank's model's, or the device fails.
    pub fn distances_by_class(
        &mut self,
        features: &Features,
        classes: &[u16],
        out: &mut Distances,
    ) -> anyhow::Result<()> {
        // Once for a frame: its views are judged by what its whole is.
        self.refresh()?;
        self.distances_about(features, None, classes, out)
    }

    /// As [`Gauge::distances_by_class`], of a part of a picture: where pictures are centred, this `mean` of as many numbers
    /// as a feature is taken off instead of that of `features`.
    ///
    /// # Errors
    /// As there.
    pub fn distances_about(
        &mut self,
        features: &Features,
        mean: Option<&[f32]>,
        classes: &[u16],
        out: &mut Distances,
    ) -> anyhow::Result<()> {
        let (width, patches) = (self.bank.width(), features.grid.len());
        ensure!(
            features.width == width && features.numbers() == patches * width,
            "the frame has {patches} patches of {} numbers ({} in all), the bank {} is of {width} numbers; \
             rebuild it with this model",
            features.width,
            features.numbers(),
            self.bank.path().display(),
        );
        let mut read_back = std::mem::take(&mut self.read_back);
        let marked = self.beside.as_ref().is_some_and(Beside::is_marked);
        let done = match &features.on_gpu {
            Some(numbers) if marked || !numbers.stream().is_some_and(|stream| self.shares(stream)) => {
                features
                    .on_host(&mut read_back)
                    .map_err(anyhow::Error::msg)
                    .and_then(|features| self.measure(features, mean, classes, out))
            }
            _ => self.measure(features, mean, classes, out),
        };
        self.read_back = read_back;
        done
    }

    /// What [`Gauge::distances_about`] promises, of features that are where the engines take them.
    fn measure(
        &mut self,
        features: &Features,
        mean: Option<&[f32]>,
        classes: &[u16],
        out: &mut Distances,
    ) -> anyhow::Result<()> {
        if self.projector.is_plain() {
            let tables = std::slice::from_ref(features);
            self.distances_of_rows(tables, classes, out)?;
            self.beside.iter_mut().try_for_each(|beside| beside.search(tables))?;
        } else {
            self.project(features, mean);
            let tables = std::mem::take(&mut self.features);
            let done = self.distances_of_rows(&tables, classes, out);
            let done = done.and_then(|()| self.beside.iter_mut().try_for_each(|one| one.search(&tables)));
            self.features = tables;
            done?;
        }
        let marked = self.beside.as_mut().filter(|beside| beside.is_marked());
        if let Some(beside) = marked {
            beside.searched.clone_from(&out.data);
        }
        if let Some(linear) = &mut self.linear {
            self.pool.install(|| linear.add(features, mean, &mut out.data));
        }
        if let Some(beside) = self.beside.as_mut().filter(|beside| beside.is_marked()) {
            beside.lower(
                self.bank.recipe(),
                &self.outlying[..self.strange.len()],
                &self.baselines,
                &mut out.data,
            );
        }
        if let Some(how) = self.bank.recipe().affinity {
            self.smooth(&how, features, &mut out.data);
        }
        Ok(())
    }

    /// As [`Gauge::distances`], of features that are transformed already, as the rows of the bank's tables are: one
    /// `tables` each. They are of no picture, and not smoothed.
    ///
    /// # Errors
    /// If they are not as wide as the rows, or the device fails.
    pub fn distances_of_rows(
        &mut self,
        tables: &[Features],
        classes: &[u16],
        out: &mut Distances,
    ) -> anyhow::Result<()> {
        ensure!(tables.len() == self.engines.len(), "{} tables for {}", tables.len(), self.engines.len());
        let recipe = self.bank.recipe();
        let apart = recipe.combine.searches_apart();
        for (number, (engine, table)) in self.engines.iter_mut().zip(tables).enumerate() {
            let found = if apart { &mut self.distances[number] } else { &mut *out };
            engine.distances(table, classes, found)?;
            if let Some(beside) = self.beside.as_mut().filter(|beside| beside.is_marked()) {
                beside.plain[number].data.clone_from(&found.data);
            }
            if let Some(strange) = self.strange.get_mut(number) {
                strange.distances(table, &mut self.outlying[number])?;
                let pairs = found.data.iter_mut().zip(self.outlying[number].data.iter());
                pairs.for_each(|(d, o)| *d = recipe.outliers.of(*d, *o));
            }
        }
        if apart {
            out.grid = tables[0].grid;
            combine(recipe.combine, &self.distances, &self.baselines, &mut out.data);
        }
        Ok(())
    }

    /// Takes what is marked as normal now.
    fn refresh(&mut self) -> anyhow::Result<()> {
        let Gauge { beside, bank, projector, pool, backend, .. } = self;
        let Some(beside) = beside else { return Ok(()) };
        Ok(beside.refresh(bank, projector, pool, *backend)?)
    }

    /// As [`Nearest::turn_to`].
    pub fn turn_to(&mut self, place: usize) {
        self.engines.iter_mut().for_each(|engine| engine.turn_to(place));
        self.strange.iter_mut().for_each(|engine| engine.turn_to(place));
        self.beside.iter_mut().for_each(|beside| beside.turn_to(place));
    }

    /// Whether the mean of its picture is taken off a feature before it is compared.
    pub fn centres_images(&self) -> bool {
        self.projector.centres_images()
    }

    /// The mean of the features of one picture, as [`image_mean`].
    pub fn mean_of(&self, features: &Features, out: &mut Vec<f32>) {
        let width = self.bank.width();
        self.pool.install(|| image_mean(&features.data, width, out));
    }

    /// The distances of each part in the frame that was measured last, for banks that search parts one by one.
    pub fn parts(&self) -> &[Distances] {
        &self.distances
    }

    /// What the bank's discriminant says of the patches of the frame that was measured last, as it is; `None` without one.
    pub fn linear(&self) -> Option<&Distances> {
        self.linear.as_ref().map(Linear::last)
    }

    fn project(&mut self, features: &Features, mean: Option<&[f32]>) {
        let Gauge { projector, pool, features: tables, .. } = self;
        for (table, width) in tables.iter_mut().zip(projector.tables()) {
            (table.grid, table.width) = (features.grid, *width);
        }
        let mut tables: Vec<&mut Vec<f32>> = tables.iter_mut().map(|table| &mut *table.data).collect();
        pool.install(|| match mean {
            None => projector.picture(&features.data, &mut tables),
            Some(mean) => projector.rows(&features.data, ImageMeans::Shared(mean), &mut tables),
        });
    }

    /// Smooths the distances among patches that look alike in one part.
    fn smooth(&mut self, how: &Affinity, features: &Features, out: &mut [f32]) {
        let plain = self.projector.is_plain();
        let (table, at, width) = self.projector.place(how.part);
        let patches = if plain { features } else { &self.features[table] };
        let (smoothing, columns) = (&mut self.smoothing, (patches.width, at, width));
        self.pool.install(|| smoothing.apply(how, patches.grid, &patches.data, columns, out));
    }

    /// How many patches with NaN or infinite numbers were seen since the start.
    pub fn faulty(&self) -> u64 {
        self.engines.iter().map(|engine| engine.faulty()).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
