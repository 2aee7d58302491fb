//! `farout bank prune`: fewer reference features, how well they cover the others, and a calibration that is
//! true of them or none.

use std::collections::HashSet;
use std::path::PathBuf;

use super::calibrate::HeldOut;
use super::complete::{based, calibrated, scaled};
use super::digest::{frame_digest, hash};
use super::error::BuildError;
use super::kcenter;
use super::part::{Built, Part};
use super::progress::Progress;
use crate::bank::{Bank, PruneRecord, References, Rows, RowsBuf};
use crate::digest::{Digest, undigest};
use crate::grid::{Distances, Features, Grid};
use crate::nearest::{CpuSearch, Nearest};
use crate::stop::Stop;

/// Rows searched at once when the covering is measured.
const QUERIES: usize = 2048;

/// How the rows that stay are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PruneMethod {
    /// Greedy k-centre: no row of the large bank is far from one that stays.
    KCenter,
    /// Drawn uniformly.
    Random,
}

impl PruneMethod {
    /// Its name on the command line and in the bank.
    pub fn name(self) -> &'static str {
        match self {
            PruneMethod::KCenter => "kcenter",
            PruneMethod::Random => "random",
        }
    }
}

/// How a bank is made smaller.
#[derive(Debug, Clone, PartialEq)]
pub struct PruneConfig {
    /// Rows that stay.
    pub to: usize,
    /// How they are chosen.
    pub method: PruneMethod,
    /// Decides the first centre, or the draw.
    pub seed: u64,
    /// Keep the held-out frames in the smaller bank too.
    pub keep_held_out: bool,
    /// Threads, 0 for one per processor.
    pub threads: usize,
}

/// Why a bank cannot be made smaller.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// A number that does not fit the bank.
    #[error("cannot prune {path} to {to} features: it holds {rows}, and its calibration needs {k}; choose {k} to {rows}", path = path.display())]
    Size {
        /// The bank.
        path: PathBuf,
        /// Rows asked for.
        to: usize,
        /// Rows there are.
        rows: usize,
        /// Fewest that make sense.
        k: usize,
    },
    /// Its held-out frames are damaged.
    #[error("{path}: {why}; copy or build it again", path = path.display())]
    Damaged {
        /// The bank.
        path: PathBuf,
        /// What does not fit together.
        why: String,
    },
    /// The search or the calibration failed.
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// Chooses rows of `bank` that stay, in their old order, measures how far every row is from them, and
/// calibrates anew if the bank has kept its held-out frames. If it has not, the statistics of the distances are
/// left out, since they would be those of a denser bank. Memory beside the bank: the rows that stay, as f32.
///
/// # Errors
/// [`PruneError`].
pub fn prune(
    bank: &Bank,
    config: &PruneConfig,
    progress: &mut (dyn Progress + Send),
    stop: &Stop,
) -> Result<Built, PruneError> {
    let part = Part::of(bank).map_err(|why| PruneError::Damaged { path: bank.path().to_owned(), why })?;
    let k = part.as_ref().map_or(1, |part| part.terms.k.max(1));
    if config.to < k || config.to > bank.rows() {
        let path = bank.path().to_owned();
        return Err(PruneError::Size { path, to: config.to, rows: bank.rows(), k });
    }
    let joined = joined(bank);
    let all = Whole {
        rows: joined.as_ref().map_or(bank.table(0), RowsBuf::view),
        width: bank.tables().iter().sum(),
    };
    let kept = match config.method {
        PruneMethod::Random => drawn(bank.rows(), config),
        PruneMethod::KCenter => centres(&all, config, progress, stop)?,
    };
    let (radius, mean) = measured(&all, &kept, config, progress, stop)?;
    let (mut contents, numbers) = bank.subset(&kept);
    contents.metadata.build.pruned = Some(PruneRecord {
        method: config.method.name().to_owned(),
        seed: config.seed,
        from: bank.rows(),
        covering_radius: radius,
        mean_distance: mean,
    });
    let Some(mut part) = part else {
        if let Some(calibration) = &mut contents.metadata.calibration {
            calibration.methods.retain(|method| method.k.is_none());
            calibration.views = None;
        }
        contents.metadata.calibration =
            contents.metadata.calibration.take().filter(|c| !c.methods.is_empty());
        progress.warn(
            "the bank has no held-out frames: distances to the smaller bank are larger, so their statistics were left out, and \
             the threshold must be given as a number; bank build --keep-held-out lets prune measure them anew",
        );
        return Ok(Built { contents, part: None });
    };
    let build = &bank.metadata().build;
    let mut held_out = HeldOut::new(build.seed, &part.terms);
    part.frames.iter().for_each(|frame| held_out.add(frame.clone()));
    let images = images(bank, &part);
    held_out.without_images(|image| images.contains(image));
    let (terms, threads) = (&part.terms, config.threads);
    let mut contents = based(contents, &mut held_out, k, threads, progress)?;
    // What is normal for each part was measured anew, so distances have another unit.
    if contents.metadata.recipe().combine.searches_apart() {
        contents = scaled(contents, k, threads, progress)?;
    }
    let contents = calibrated(contents, &mut held_out, k, threads, &terms.split, progress)?;
    let renumbered = part.videos.iter().filter_map(|v| numbers.get(*v as usize)).copied();
    part.videos = renumbered.filter(|v| *v != u32::MAX).collect();
    Ok(Built { contents, part: config.keep_held_out.then_some(part) })
}

/// The rows with the smallest hashes of seed and number, ascending.
fn drawn(rows: usize, config: &PruneConfig) -> Vec<usize> {
    let key = |row: &usize| hash(&[b"prune", &config.seed.to_le_bytes(), &(*row as u64).to_le_bytes()]);
    let mut all: Vec<usize> = (0..rows).collect();
    all.sort_by_cached_key(key);
    all.truncate(config.to);
    all.sort_unstable();
    all
}

/// The rows of a bank with the tables of all parts side by side, as they are searched when parts are not told apart.
struct Whole<'a> {
    rows: Rows<'a>,
    width: usize,
}

impl Whole<'_> {
    fn count(&self) -> usize {
        self.rows.count(self.width)
    }
}

/// The tables of `bank` put side by side; `None` if there is but one.
fn joined(bank: &Bank) -> Option<RowsBuf> {
    if bank.tables().len() == 1 {
        return None;
    }
    let width: usize = bank.tables().iter().sum();
    let mut joined = RowsBuf::zeros(bank.table(0).data_type(), bank.rows() * width);
    let mut row = Vec::new();
    for r in 0..bank.rows() {
        let mut at = r * width;
        for (number, wide) in bank.tables().iter().enumerate() {
            row.resize(*wide, 0.0);
            bank.table(number).copy_to(r * wide, &mut row);
            joined.overwrite(at, &row);
            at += wide;
        }
    }
    Some(joined)
}

fn centres(
    all: &Whole,
    config: &PruneConfig,
    progress: &mut (dyn Progress + Send),
    stop: &Stop,
) -> Result<Vec<usize>, BuildError> {
    let failed = |e: rayon::ThreadPoolBuildError| search_failed(e.into());
    let pool = rayon::ThreadPoolBuilder::new().num_threads(config.threads).build().map_err(failed)?;
    let first = hash(&[b"first centre", &config.seed.to_le_bytes()]) % all.count() as u128;
    progress.begin(config.to as u64);
    let mut told = |done| progress.frames(done as u64);
    let found =
        pool.install(|| kcenter::centres(all.rows, all.width, config.to, first as usize, &mut told, stop));
    let kcenter::Centres { mut rows, squared_radius } = found.ok_or(BuildError::Stopped)?;
    tracing::debug!(radius = squared_radius.sqrt(), "the centres are chosen");
    rows.sort_unstable();
    Ok(rows)
}

fn search_failed(source: anyhow::Error) -> BuildError {
    BuildError::Frame { name: "search".to_owned(), source }
}

/// The largest and the mean distance from every row to the `kept` ones.
fn measured(
    all: &Whole,
    kept: &[usize],
    config: &PruneConfig,
    progress: &mut (dyn Progress + Send),
    stop: &Stop,
) -> Result<(f32, f64), BuildError> {
    let small = References::of(all.rows.reordered(kept, all.width), all.width);
    let mut engine = CpuSearch::new(1, config.threads, small).map_err(|e| search_failed(e.into()))?;
    let (width, rows) = (all.width, all.count());
    let (mut features, mut distances) = (Features::default(), Distances::default());
    let (mut largest, mut sum) = (0.0f32, 0.0f64);
    features.width = width;
    progress.begin(rows as u64);
    for first in (0..rows).step_by(QUERIES) {
        if stop.asked() {
            return Err(BuildError::Stopped);
        }
        features.grid = Grid { rows: 1, cols: QUERIES.min(rows - first) };
        features.data.resize(features.grid.len() * width, 0.0);
        all.rows.copy_to(first * width, &mut features.data);
        engine.distances(&features, &mut distances).map_err(search_failed)?;
        largest = distances.data.iter().copied().fold(largest, f32::max);
        sum += distances.data.iter().map(|d| f64::from(*d)).sum::<f64>();
        progress.frames((first + features.grid.len()) as u64);
    }
    Ok((largest, sum / rows.max(1) as f64))
}

/// The images that gave features to `bank`.
fn images(bank: &Bank, part: &Part) -> HashSet<Digest> {
    let files: Vec<Option<Digest>> = bank.metadata().sources.iter().map(|s| undigest(&s.sha256)).collect();
    let image = |row| {
        let origin = bank.provenance(row)?;
        let file = files.get(origin.source as usize).copied().flatten()?;
        Some(match part.videos.binary_search(&origin.source) {
            Ok(_) => frame_digest(&file, u64::from(origin.frame)),
            Err(_) => file,
        })
    };
    (0..bank.rows()).filter_map(image).collect()
}
