//! Exact search on the CPU: distances by matrix products in tiles that stay in the cache, then
//! the few candidates measured again in double precision.
//!
//! ||q - r||^2 = ||q||^2 - 2 q.r + ||r||^2 loses all digits where the distance is small beside the
//! norms. Hence both sides are centred by the bank's mean, the product only proposes candidates, and
//! `exact` bounds what its rounding can hide.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::ensure;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

use super::Nearest;
use super::exact::{self, Query};
use super::top::{offer, scan};
use crate::bank::{Bank, Rows};
use crate::grid::{Distances, Features};

/// Reference rows per tile; products of a tile with [`QUERY_BLOCK`] patches stay in the L2 cache.
const TILE: usize = 512;
/// Patches per product.
const QUERY_BLOCK: usize = 512;
/// Candidates kept beyond k, so that a rescan is rare.
const MARGIN: usize = 13;

/// The engine. Keeps the bank mapped; converts and centres one tile at a time.
pub struct CpuGemm {
    bank: Arc<Bank>,
    k: usize,
    pool: ThreadPool,
    /// Mean of the bank, C numbers.
    mean: Vec<f32>,
    /// Squared norm of each centred row.
    norms: Vec<f32>,
    /// Largest norm of a centred row.
    reach: f64,
    /// Centred patches of the present frame, T x C.
    centred: Vec<f32>,
    /// Squared norm of each centred patch; NaN marks a patch that is not finite.
    squares: Vec<f64>,
    workers: Vec<Mutex<Worker>>,
    /// T x k: squared distance and row.
    found: Vec<(f64, u32)>,
    faulty: u64,
    rescans: u64,
}

/// What one thread needs.
#[derive(Default)]
struct Worker {
    tile: Vec<f32>,
    products: Vec<f32>,
    /// T lists of candidates.
    candidates: Vec<(f32, u32)>,
}

/// The vector instructions that the matrix product uses here.
pub(super) fn instructions() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            return "AVX-512";
        }
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            return "AVX2";
        }
    }
    if cfg!(target_arch = "aarch64") { "NEON" } else { "no vector instructions" }
}

impl CpuGemm {
    /// Prepares the search of the `k` nearest in `bank` on `threads` threads (0: one per
    /// processor). `k` is cut to the number of rows.
    ///
    /// # Errors
    /// If the threads cannot be started.
    pub fn new(k: usize, threads: usize, bank: &Arc<Bank>) -> Result<CpuGemm, ThreadPoolBuildError> {
        let pool =
            ThreadPoolBuilder::new().num_threads(threads).thread_name(|i| format!("search-{i}")).build()?;
        let (rows, width) = (bank.features(), bank.width());
        let (mean, norms) = pool.install(|| {
            let mean = mean_row(rows, width);
            let norms = centred_norms(rows, &mean);
            (mean, norms)
        });
        let reach = norms.iter().fold(0.0, |m: f64, n| m.max(*n)).sqrt();
        let workers = (0..pool.current_num_threads()).map(|_| Mutex::default()).collect();
        Ok(CpuGemm {
            bank: Arc::clone(bank),
            k: k.clamp(1, bank.rows()),
            pool,
            mean,
            norms: norms.iter().map(|n| *n as f32).collect(),
            reach,
            centred: Vec::new(),
            squares: Vec::new(),
            workers,
            found: Vec::new(),
            faulty: 0,
            rescans: 0,
        })
    }

    /// How many patches had to be compared with the whole bank in double precision, because
    /// rounding hid which rows are nearest.
    pub fn rescans(&self) -> u64 {
        self.rescans
    }

    /// Fills `found` with the k nearest of each patch.
    fn search(&mut self, features: &Features) -> anyhow::Result<()> {
        let (width, patches) = (self.bank.width(), features.grid.len());
        ensure!(
            features.width == width && features.data.len() == patches * width,
            "the frame has {patches} patches of {} numbers ({} in all), the bank {} is {width} wide; \
             rebuild it with this model",
            features.width,
            features.data.len(),
            self.bank.path().display(),
        );
        self.centre(features);
        let kept = (self.k + MARGIN).min(self.bank.rows());
        self.propose(kept);

        let lists: Vec<&[(f32, u32)]> = self
            .workers
            .iter_mut()
            .map(|w| w.get_mut().unwrap_or_else(PoisonError::into_inner).candidates.as_slice())
            .collect();
        let (rows, k, reach, squares) = (self.bank.features(), self.k, self.reach, &self.squares);
        self.found.clear();
        self.found.resize(patches * k, (f64::INFINITY, u32::MAX));
        let rescans = AtomicUsize::new(0);
        let found = &mut self.found;
        self.pool.install(|| {
            found
                .par_chunks_mut(k)
                .zip(features.data.par_chunks(width))
                .enumerate()
                .with_min_len(8)
                .for_each_init(
                    || (vec![0.0; width], vec![(f32::INFINITY, u32::MAX); kept]),
                    |(row, merged), (patch, (found, features))| {
                        if squares[patch].is_nan() {
                            return;
                        }
                        merged.fill((f32::INFINITY, u32::MAX));
                        for list in &lists {
                            for (key, row) in &list[patch * kept..(patch + 1) * kept] {
                                offer(merged, *key, *row);
                            }
                        }
                        let query = Query { features, square: squares[patch], reach };
                        if !exact::refine(&query, rows, merged, row, found) {
                            rescans.fetch_add(1, Ordering::Relaxed);
                            exact::rescan(&query, rows, row, found);
                        }
                    },
                );
        });
        self.rescans += rescans.into_inner() as u64;
        Ok(())
    }

    /// Centres the patches of a frame; one that is not finite becomes zeros and is counted.
    fn centre(&mut self, features: &Features) {
        self.centred.clear();
        self.squares.clear();
        for patch in features.data.chunks_exact(features.width) {
            let start = self.centred.len();
            self.centred.extend(patch.iter().zip(&self.mean).map(|(x, m)| x - m));
            let centred = &mut self.centred[start..];
            if patch.iter().all(|x| x.is_finite()) {
                self.squares.push(exact::square(centred));
            } else {
                centred.fill(0.0);
                self.squares.push(f64::NAN);
                self.faulty += 1;
            }
        }
    }

    /// Lets every thread list its `kept` likeliest rows for each patch, tile by tile.
    fn propose(&mut self, kept: usize) {
        let (rows, width, patches) = (self.bank.features(), self.bank.width(), self.squares.len());
        let next = AtomicUsize::new(0);
        let (mean, norms, centred, workers) = (&self.mean, &self.norms, &self.centred, &self.workers);
        self.pool.broadcast(|thread| {
            let mut worker = workers[thread.index()].lock().unwrap_or_else(PoisonError::into_inner);
            let Worker { tile, products, candidates } = &mut *worker;
            candidates.clear();
            candidates.resize(patches * kept, (f32::INFINITY, u32::MAX));
            tile.resize(TILE * width, 0.0);
            products.resize(TILE * QUERY_BLOCK, 0.0);
            loop {
                let first = next.fetch_add(1, Ordering::Relaxed) * TILE;
                if first >= norms.len() {
                    break;
                }
                let norms = &norms[first..norms.len().min(first + TILE)];
                let tile = &mut tile[..norms.len() * width];
                centred_tile(rows, first, mean, tile);
                for (block, queries) in centred.chunks(QUERY_BLOCK * width).enumerate() {
                    let count = queries.len() / width;
                    let products = &mut products[..norms.len() * count];
                    product(tile, queries, width, products);
                    for (q, products) in products.chunks_exact(norms.len()).enumerate() {
                        let patch = block * QUERY_BLOCK + q;
                        scan(
                            &mut candidates[patch * kept..(patch + 1) * kept],
                            norms,
                            products,
                            first as u32,
                        );
                    }
                }
            }
        });
    }
}

/// `out[q][r] = -2 tile[r].queries[q]`, all row by row.
fn product(tile: &[f32], queries: &[f32], width: usize, out: &mut [f32]) {
    let (rows, count) = (tile.len() / width, queries.len() / width);
    assert!(out.len() == rows * count && tile.len() == rows * width && queries.len() == count * width);
    // SAFETY: the lengths were checked; element (r, c) of the left side is tile[r * width + c],
    // (c, q) of the right one queries[q * width + c], (r, q) of the result out[q * rows + r].
    unsafe {
        gemm::gemm::<f32>(
            rows,
            count,
            width,
            out.as_mut_ptr(),
            rows as isize,
            1,
            false,
            tile.as_ptr(),
            1,
            width as isize,
            queries.as_ptr(),
            width as isize,
            1,
            0.0,
            -2.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// The rows from `first` on as f32, less the mean.
fn centred_tile(rows: Rows<'_>, first: usize, mean: &[f32], tile: &mut [f32]) {
    rows.copy_to(first * mean.len(), tile);
    for row in tile.chunks_exact_mut(mean.len()) {
        for (x, m) in row.iter_mut().zip(mean) {
            *x -= m;
        }
    }
}

/// Mean of all rows; the sums are joined in the order of the tiles, whatever the threads.
fn mean_row(rows: Rows<'_>, width: usize) -> Vec<f32> {
    let count = rows.count(width);
    let sums: Vec<Vec<f64>> = (0..count.div_ceil(4096))
        .into_par_iter()
        .map(|part| {
            let (mut row, mut sum) = (vec![0.0f32; width], vec![0.0f64; width]);
            for r in part * 4096..count.min((part + 1) * 4096) {
                rows.copy_to(r * width, &mut row);
                sum.iter_mut().zip(&row).for_each(|(s, x)| *s += f64::from(*x));
            }
            sum
        })
        .collect();
    (0..width).map(|c| (sums.iter().map(|s| s[c]).sum::<f64>() / count as f64) as f32).collect()
}

/// Squared norms of the rows as [`centred_tile`] gives them.
fn centred_norms(rows: Rows<'_>, mean: &[f32]) -> Vec<f64> {
    (0..rows.count(mean.len()))
        .into_par_iter()
        .with_min_len(512)
        .map_init(
            || vec![0.0; mean.len()],
            |row, r| {
                centred_tile(rows, r, mean, row);
                exact::square(row)
            },
        )
        .collect()
}

impl Nearest for CpuGemm {
    fn name(&self) -> String {
        format!("cpu-gemm ({} threads, {})", self.pool.current_num_threads(), instructions())
    }

    fn distances(&mut self, features: &Features, out: &mut Distances) -> anyhow::Result<()> {
        self.search(features)?;
        out.grid = features.grid;
        out.data.clear();
        let mean = |near: &[(f64, u32)]| {
            (near.iter().map(|(d, _)| d.sqrt()).sum::<f64>() / near.len() as f64) as f32
        };
        out.data.extend(self.found.chunks_exact(self.k).map(mean));
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
        rows.extend(self.found.iter().map(|(_, row)| *row));
        distances.clear();
        distances.extend(self.found.iter().map(|(d, _)| d.sqrt() as f32));
        Ok(())
    }

    fn faulty(&self) -> u64 {
        self.faulty
    }
}
