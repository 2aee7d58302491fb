//! The search under test, on the GPU or on the CPU behind the same face.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use farout::bank::Bank;
use farout::gpu_stream::GpuStream;
use farout::grid::{Distances, Features};
use farout::nearest::cuda::{self, CudaSearch};
use farout::nearest::{CpuSearch, Nearest};

/// Where it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum On {
    Cuda,
    Cpu,
}

/// Opens searches that are all alike.
pub struct Opener {
    pub on: On,
    pub kernels: Option<PathBuf>,
    /// Whether answers are falsified.
    pub falsify: bool,
    /// Whether 8-bit codes are left out.
    pub halves: bool,
    /// Milliseconds that are spent on each figure.
    pub patience: f64,
}

impl Opener {
    /// The search of the `k` nearest in `bank`.
    ///
    /// # Errors
    /// What the search says.
    pub fn open(&self, bank: &Arc<Bank>, k: usize) -> Result<Engine> {
        let search = match self.on {
            On::Cpu => Inner::Cpu(Box::new(CpuSearch::new(k, 0, bank)?)),
            On::Cuda => {
                let stream = cuda::stream(0)?;
                let mut search = CudaSearch::open_on(k, self.kernels.as_deref(), bank, &stream)?;
                if self.halves {
                    search.without_codes();
                }
                Inner::Cuda(Box::new(search), stream)
            }
        };
        Ok(Engine { search, falsify: self.falsify })
    }
}

enum Inner {
    Cpu(Box<CpuSearch>),
    Cuda(Box<CudaSearch>, Arc<dyn GpuStream>),
}

/// A search, honest or falsified.
pub struct Engine {
    search: Inner,
    falsify: bool,
}

impl Engine {
    fn inner(&mut self) -> &mut dyn Nearest {
        match &mut self.search {
            Inner::Cpu(search) => &mut **search,
            Inner::Cuda(search, _) => &mut **search,
        }
    }

    /// The search on the GPU, and its stream, if it is there.
    pub fn on_gpu(&mut self) -> Option<(&mut CudaSearch, &Arc<dyn GpuStream>)> {
        match &mut self.search {
            Inner::Cpu(_) => None,
            Inner::Cuda(search, stream) => Some((search, stream)),
        }
    }
}

impl Nearest for Engine {
    fn name(&self) -> String {
        match &self.search {
            Inner::Cpu(search) => search.name(),
            Inner::Cuda(search, _) => Nearest::name(&**search),
        }
    }

    fn distances(&mut self, features: &Features, out: &mut Distances) -> Result<()> {
        self.inner().distances(features, out)?;
        if self.falsify
            && let Some(last) = out.data.last_mut()
        {
            *last = *last * 1.001 + 1e-3;
        }
        Ok(())
    }

    fn neighbours(
        &mut self,
        features: &Features,
        rows: &mut Vec<u32>,
        distances: &mut Vec<f32>,
    ) -> Result<()> {
        self.inner().neighbours(features, rows, distances)
    }

    fn faulty(&self) -> u64 {
        match &self.search {
            Inner::Cpu(search) => search.faulty(),
            Inner::Cuda(search, _) => search.faulty(),
        }
    }
}
