//! The search on the CPU: int8 codes rule out nearly all rows, the few others are measured in double
//! precision.
//!
//! When a bank is opened its rows are centred by their mean and encoded ([`super::space`],
//! [`super::encode`], [`super::index`]: one byte per number). For each frame
//!
//! 1. every patch is encoded alike ([`super::patches`]);
//! 2. it is measured exactly against the rows that were nearest to it and to its neighbours in the
//!    frame before, which gives a bar: the k nearest rows are no further than this. In a video it
//!    is nearly the final one; after a cut it only costs time;
//! 3. a kernel ([`super::kernel`]) multiplies all codes in registers and tests every pair against the
//!    patch's bar there ([`super::bound`] has the proof): distances are never written to memory;
//! 4. each row that is not ruled out is measured in double precision from the stored numbers, which
//!    lowers the bar for the rows to come ([`super::exact`]).
//!
//! Whatever the bars were on the way, no row that belongs to the k nearest is ruled out, so the result
//! depends on nothing but the bank and the patch: not on threads, not on the frames before.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::ensure;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::backend::Backend;
use super::exact::{Found, squared_distance};
use super::index::Index;
use super::patches::Patches;
use super::worker::{Counts, Frame, Worker};
use super::{Nearest, SearchError};
use crate::bank::References;
use crate::grid::{Distances, Features, Grid};

/// Blocks that a thread takes at once.
const TASK: usize = 16;
/// Bytes of the patches that are compared in one pass over the bank: they stay in the L2 cache.
const PASS: usize = 512 << 10;
/// Rows that a patch is measured against when nothing is known from a frame before.
const FIRST_ROWS: usize = 16;

/// The engine. Keeps the bank mapped beside its codes.
pub struct CpuSearch {
    references: References,
    k: usize,
    backend: Backend,
    pool: Arc<ThreadPool>,
    index: Index,
    patches: Patches,
    workers: Vec<Mutex<Worker>>,
    found: Vec<Found>,
    /// T x k: squared distances and rows of the present frame, and until they are overwritten of
    /// the one before.
    nearest: Vec<(f64, u32)>,
    /// The grid of the frame that `nearest` belongs to.
    grid: Grid,
    /// The same of other places than the present one.
    elsewhere: Vec<(Grid, Vec<(f64, u32)>)>,
    place: usize,
    faulty: u64,
}

impl CpuSearch {
    /// Prepares the search of the `k` nearest of `references` on `threads` threads (0: one per
    /// processor) with the fastest backend of this machine. `k` is cut to the number of rows.
    ///
    /// # Errors
    /// If the threads cannot be started.
    pub fn new(
        k: usize,
        threads: usize,
        references: impl Into<References>,
    ) -> Result<CpuSearch, SearchError> {
        CpuSearch::with(Backend::Auto, k, threads, references)
    }

    /// The same with the backend named.
    ///
    /// # Errors
    /// If this machine does not have the backend, or the threads cannot be started.
    pub fn with(
        backend: Backend,
        k: usize,
        threads: usize,
        references: impl Into<References>,
    ) -> Result<CpuSearch, SearchError> {
        CpuSearch::on(&threads_for(threads)?, backend, k, references.into())
    }

    /// The same on threads that others use too.
    ///
    /// # Errors
    /// If this machine does not have the backend.
    pub(super) fn on(
        pool: &Arc<ThreadPool>,
        backend: Backend,
        k: usize,
        references: References,
    ) -> Result<CpuSearch, SearchError> {
        let backend = backend.resolve()?;
        let kernel = backend.kernel()?;
        let index = pool.install(|| Index::of(references.features(), references.width(), kernel));
        let workers = (0..pool.current_num_threads()).map(|_| Mutex::default()).collect();
        Ok(CpuSearch {
            k: k.clamp(1, references.rows().max(1)),
            references,
            backend,
            pool: Arc::clone(pool),
            index,
            patches: Patches::default(),
            workers,
            found: Vec::new(),
            nearest: Vec::new(),
            grid: Grid::default(),
            elsewhere: Vec::new(),
            place: 0,
            faulty: 0,
        })
    }

    /// The backend that it runs on, never `Auto`.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// What the bounds left over since the last call.
    pub fn take_counts(&mut self) -> Counts {
        let mut all = Counts::default();
        for worker in &mut self.workers {
            let counts = worker.get_mut().unwrap_or_else(PoisonError::into_inner).take_counts();
            all.passed += counts.passed;
            all.measured += counts.measured;
        }
        all
    }

    /// How many numbers of each row are compared first, and how many there are.
    pub fn head(&self) -> (usize, usize) {
        (self.index.head(), self.index.space.width())
    }

    /// Fills `nearest`.
    fn search(&mut self, features: &Features) -> anyhow::Result<()> {
        let (width, patches) = (self.references.width(), features.grid.len());
        ensure!(
            features.width == width && features.data.len() == patches * width,
            "the frame has {patches} patches of {} numbers ({} in all), the bank {} is {width} wide; \
             rebuild it with this model",
            features.width,
            features.data.len(),
            self.references.path().display(),
        );
        let (index, frame) = (&self.index, &mut self.patches);
        self.pool.install(|| frame.encode(&features.data, index));
        self.first_bars(features);
        self.screen(features);
        self.measure_the_rest(features);
        self.grid = features.grid;
        self.nearest.clear();
        for found in &mut self.found {
            self.nearest.extend_from_slice(found.list());
        }
        let faulty = features.data.chunks_exact(width).filter(|p| !p.iter().all(|x| x.is_finite()));
        self.faulty += faulty.count() as u64;
        Ok(())
    }

    /// Measures each patch against rows that are likely to be near.
    fn first_bars(&mut self, features: &Features) {
        let (k, kernel, rows, grid) = (self.k, self.index.kernel, self.references.features(), features.grid);
        self.found.resize_with(grid.len(), || Found::new(k));
        let known = grid == self.grid && self.nearest.len() == grid.len() * k;
        let (before, count) = (&self.nearest, self.references.rows());
        let patches = &self.patches;
        self.pool.install(|| {
            self.found
                .par_iter_mut()
                .zip(features.data.par_chunks(features.width))
                .enumerate()
                .with_min_len(16)
                .for_each(|(p, (found, patch))| {
                    found.clear();
                    if !patches.known(p, kernel.strip).sound {
                        return;
                    }
                    let measure = |row: usize| {
                        if row < count {
                            found.offer(squared_distance(kernel, patch, rows, row), row as u32);
                        }
                    };
                    if known {
                        before[p * k..][..k].iter().for_each(|near| measure(near.1 as usize));
                        around(grid, p, |n| measure(before[n * k].1 as usize));
                    } else {
                        (0..FIRST_ROWS).for_each(|i| measure(i * count / FIRST_ROWS));
                    }
                });
        });
    }

    /// Lets every row that is not ruled out be measured.
    fn screen(&mut self, features: &Features) {
        let strip = self.index.kernel.strip;
        let frame = Frame {
            index: &self.index,
            rows: self.references.features(),
            features,
            patches: &self.patches,
            found: &self.found,
        };
        let strips = self.patches.strips.len();
        if strips == 0 || !self.index.space.sound {
            return;
        }
        let per_pass = (PASS / (strip * self.index.head_width())).clamp(1, strips);
        let (passes, tasks) = (strips.div_ceil(per_pass), self.index.blocks().div_ceil(TASK));
        let next = AtomicUsize::new(0);
        let workers = &self.workers;
        self.pool.broadcast(|thread| {
            let mut worker = workers[thread.index()].lock().unwrap_or_else(PoisonError::into_inner);
            worker.begin(&frame);
            loop {
                let task = next.fetch_add(1, Ordering::Relaxed);
                if task >= passes * tasks {
                    break;
                }
                let (pass, task) = (task / tasks, task % tasks);
                let strips = pass * per_pass..strips.min((pass + 1) * per_pass);
                let blocks = task * TASK..frame.index.blocks().min((task + 1) * TASK);
                worker.work(&frame, strips, blocks);
            }
            worker.end(&frame);
        });
    }

    /// Measures patches that have no code against the whole bank.
    fn measure_the_rest(&mut self, features: &Features) {
        let (kernel, rows, count) = (self.index.kernel, self.references.features(), self.references.rows());
        let (patches, found) = (&self.patches, &self.found);
        for (p, patch) in features.data.chunks_exact(features.width).enumerate() {
            if !patches.known(p, kernel.strip).sound && patch.iter().all(|x| x.is_finite()) {
                self.pool.install(|| {
                    (0..count).into_par_iter().with_min_len(512).for_each(|row| {
                        found[p].offer(squared_distance(kernel, patch, rows, row), row as u32);
                    });
                });
            }
        }
    }
}

/// Threads for searches, 0 for one per processor.
pub(super) fn threads_for(threads: usize) -> Result<Arc<ThreadPool>, SearchError> {
    let builder = ThreadPoolBuilder::new().num_threads(threads).thread_name(|i| format!("search-{i}"));
    Ok(Arc::new(builder.build()?))
}

/// The up to eight patches around `patch`.
fn around(grid: Grid, patch: usize, mut each: impl FnMut(usize)) {
    let (row, col) = (patch / grid.cols, patch % grid.cols);
    for r in row.saturating_sub(1)..(row + 2).min(grid.rows) {
        for c in col.saturating_sub(1)..(col + 2).min(grid.cols) {
            if (r, c) != (row, col) {
                each(r * grid.cols + c);
            }
        }
    }
}

impl Nearest for CpuSearch {
    fn name(&self) -> String {
        format!("{} ({} threads)", self.backend.name(), self.pool.current_num_threads())
    }

    fn distances(&mut self, features: &Features, out: &mut Distances) -> anyhow::Result<()> {
        self.search(features)?;
        out.grid = features.grid;
        out.data.clear();
        let mean = |near: &[(f64, u32)]| {
            (near.iter().map(|(d, _)| d.sqrt()).sum::<f64>() / near.len() as f64) as f32
        };
        out.data.extend(self.nearest.chunks_exact(self.k).map(mean));
        Ok(())
    }

    fn neighbours(
        &mut self,
        features: &Features,
        rows: &mut Vec<u32>,
        distances: &mut Vec<f32>,
    ) -> anyhow::Result<()> {
        self.search(features)?;
        rows.clear();
        rows.extend(self.nearest.iter().map(|(_, row)| *row));
        distances.clear();
        distances.extend(self.nearest.iter().map(|(d, _)| d.sqrt() as f32));
        Ok(())
    }

    fn turn_to(&mut self, place: usize) {
        let most = self.place.max(place) + 1;
        if place == self.place {
            return;
        }
        if self.elsewhere.len() < most {
            self.elsewhere.resize_with(most, Default::default);
        }
        let now = (self.grid, std::mem::take(&mut self.nearest));
        self.elsewhere[self.place] = now;
        (self.grid, self.nearest) = std::mem::take(&mut self.elsewhere[place]);
        self.place = place;
    }

    fn faulty(&self) -> u64 {
        self.faulty
    }
}
