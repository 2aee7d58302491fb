//! The search: how far each patch of a frame lies from the reference features.

mod affinity;
mod backend;
mod bound;
mod combine;
mod cpu;
pub mod cuda;
mod device;
mod encode;
mod exact;
mod explain;
mod findings;
mod gauge;
mod head;
mod index;
mod kernel;
mod linear;
mod lines;
#[cfg(test)]
#[path = "../../tests/support/made_up.rs"]
mod made_up;
mod patches;
mod product;
mod projector;
mod rotation;
mod space;
mod supplement;
mod table;
mod top;
mod views;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;

use rayon::ThreadPool;
use serde::{Deserialize, Serialize};

use crate::bank::{Bank, References};
use crate::gpu_stream::GpuStream;
use crate::grid::{Distances, Features};
use crate::ranges::within;

pub use backend::{Backend, NoBackend};
pub use cpu::CpuSearch;
pub use device::{Device, NoCuda};
pub use explain::{Neighbour, explain};
pub use findings::findings;
pub use gauge::Gauge;
pub use projector::{ImageMeans, Projector, image_mean};
pub use views::ViewSearch;
pub use worker::Counts;

/// A nearest-neighbour engine that holds references and searches them exactly. It compares numbers as they are;
/// [`Gauge`] knows what a bank's recipe does to features before.
pub trait Nearest: Send {
    /// Name of the backend, e.g. `cpu-gemm`, and what it runs on.
    fn name(&self) -> String;

    /// Mean L2 distance (unsquared) of every patch to its k nearest reference features.
    /// `out` is overwritten and takes the grid of `features`.
    ///
    /// A patch with a NaN or infinite number has distance `f32::INFINITY`.
    ///
    /// # Errors
    /// If the features are not as wide as the references, or the device fails.
    fn distances(&mut self, features: &Features, out: &mut Distances) -> anyhow::Result<()>;

    /// The k nearest of each patch: reference rows and distances, nearest first (of equal
    /// distances the lower row first), `features.grid.len() x k` each.
    ///
    /// A patch with a NaN or infinite number has rows `u32::MAX` and distances `f32::INFINITY`.
    ///
    /// # Errors
    /// As [`Nearest::distances`].
    fn neighbours(
        &mut self,
        features: &Features,
        rows: &mut Vec<u32>,
        distances: &mut Vec<f32>,
    ) -> anyhow::Result<()>;

    /// What comes next is compared with what was last searched for in this `place`: views of a video in turn, each
    /// with its own past. Answers do not depend on it, only how fast they come. The first place is 0.
    fn turn_to(&mut self, _place: usize) {}

    /// How many patches with NaN or infinite numbers were seen since the start.
    fn faulty(&self) -> u64;

    /// Whether it takes features that are in a GPU's memory ([`Features::on_gpu`]), written in the order of this stream.
    /// An engine that does not is given them on the host.
    fn shares(&self, stream: &dyn GpuStream) -> bool {
        let _ = stream;
        false
    }
}

/// How the bank is searched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SearchConfig {
    /// Neighbours whose mean distance is the score of a patch. Default: what the bank was calibrated for, else 3.
    pub k: usize,
    /// Where to search: "auto" (CUDA if there is one, else the CPU), "cpu", or "cuda" (insists).
    pub device: Device,
    /// The CPU search's inner loops: "auto" (the fastest that this machine has) or a backend by name,
    /// as `farout doctor` lists them.
    pub backend: Backend,
    /// Folder of ready GPU code, made by `farout kernels build`, for where NVRTC is not installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernels: Option<PathBuf>,
    /// Threads of the CPU search; 0, the default, for as many as there are processors.
    pub threads: usize,
    /// Number of the GPU. It is that of the model: `runtime.gpu`.
    #[serde(skip)]
    pub gpu: usize,
}

impl Default for SearchConfig {
    fn default() -> Self {
        SearchConfig { k: 3, device: Device::Auto, backend: Backend::Auto, kernels: None, threads: 0, gpu: 0 }
    }
}

impl SearchConfig {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The key and what it may be.
    pub fn check(&self) -> Result<(), String> {
        within("search", &[("k", self.k as f64, 1.0, 1e6), ("threads", self.threads as f64, 0.0, 4096.0)])
    }
}

/// An opened search and, where it is not on the device that `auto` would prefer, the reason.
pub struct Search {
    /// What measures.
    pub engine: Gauge,
    /// Why `auto` chose the CPU; `None` if it did not have to choose.
    pub fallback: Option<NoCuda>,
}

/// Why a search cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// CUDA was insisted on.
    #[error("search.device is \"cuda\", but {0}; set it to \"auto\" or \"cpu\"")]
    NoCuda(#[from] NoCuda),
    /// k does not fit the bank.
    #[error("search.k is {k}, the bank holds {rows} features; choose 1 to {rows}")]
    Neighbours {
        /// What was asked for.
        k: usize,
        /// Features there are.
        rows: usize,
    },
    /// The backend that was named is not for this machine.
    #[error("{0}")]
    NoBackend(#[from] NoBackend),
    /// The threads could not be started.
    #[error("cannot start the search threads: {0}; lower search.threads")]
    Threads(#[from] rayon::ThreadPoolBuildError),
}

/// Opens the search of `bank` on the device that `config` names.
///
/// # Errors
/// [`SearchError`]: the device insisted on is not there, or k does not fit the bank.
pub fn open(config: &SearchConfig, bank: &Arc<Bank>) -> Result<Search, SearchError> {
    open_on(config, bank, None)
}

/// As [`open`]; on a GPU, the search works on `stream` and takes features that are in its memory, if that is one of the GPU
/// that is searched on and `bank` is searched for features as they are. Otherwise it has a stream of its own: on a shared one
/// it would only wait for the next run of the model.
///
/// # Errors
/// As [`open`].
pub fn open_on(
    config: &SearchConfig,
    bank: &Arc<Bank>,
    stream: Option<&Arc<dyn GpuStream>>,
) -> Result<Search, SearchError> {
    open_with(config, bank, stream, &cuda::open)
}

/// Opens an engine on a GPU, on this stream if there is one.
type OpenCard<'a> =
    dyn Fn(&SearchConfig, &References, Option<&Arc<dyn GpuStream>>) -> Result<Box<dyn Nearest>, NoCuda> + 'a;

/// As [`open_on`], with `card` for the engines on a GPU.
///
/// # Errors
/// As [`open`].
fn open_with(
    config: &SearchConfig,
    bank: &Arc<Bank>,
    stream: Option<&Arc<dyn GpuStream>>,
    card: &OpenCard<'_>,
) -> Result<Search, SearchError> {
    if config.k == 0 || config.k > bank.rows() {
        return Err(SearchError::Neighbours { k: config.k, rows: bank.rows() });
    }
    let stream = stream.filter(|_| Gauge::takes_as_they_are(bank));
    let on_card = &|_: &Arc<ThreadPool>, k: usize, references: &References| {
        Ok(card(&SearchConfig { k, ..config.clone() }, references, stream)?)
    };
    let fallback = match config.device {
        Device::Cpu => None,
        Device::Auto | Device::Cuda => match Gauge::new(config, bank, on_card) {
            Ok(engine) => return Ok(Search { engine, fallback: None }),
            Err(SearchError::NoCuda(why)) if config.device == Device::Auto => Some(why),
            Err(other) => return Err(other),
        },
    };
    let on_cpu = &|pool: &Arc<ThreadPool>, k: usize, references: &References| {
        let engine = CpuSearch::on(pool, config.backend, k, references.clone())?;
        Ok(Box::new(engine) as Box<dyn Nearest>)
    };
    Ok(Search { engine: Gauge::new(config, bank, on_cpu)?, fallback })
}

/// The search of `references` on the CPU, on threads of its own.
fn on_cpu(config: &SearchConfig, references: &References) -> Result<Box<dyn Nearest>, SearchError> {
    Ok(Box::new(CpuSearch::with(config.backend, config.k, config.threads, references.clone())?))
}

#[cfg(test)]
mod tests;
