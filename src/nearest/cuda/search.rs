//! The CUDA search as callers see it.

use std::ffi::c_void;
use std::path::Path;
use std::sync::Arc;

use super::super::Nearest;
use super::super::device::NoCuda;
use super::card::Card;
use super::code;
use super::driver::{self, DriverCard};
use super::engine::{Engine, Patches};
use super::fault::patiently;
use crate::bank::References;
use crate::gpu_stream::GpuStream;
use crate::grid::{Distances, Features};

/// Exact search on a CUDA device. It holds the bank as stored, in half precision for the products, and where there
/// are tensor cores in 8-bit codes.
pub struct CudaSearch(Engine<DriverCard>);

impl CudaSearch {
    /// Opens the search of the `k` nearest, at most 16, in `bank`, with ready code from the folder
    /// `kernels` if one is named. It works on a stream of its own.
    ///
    /// # Errors
    /// [`NoCuda`]: no driver or device, no code, too little memory.
    pub fn open(k: usize, kernels: Option<&Path>, bank: impl Into<References>) -> Result<CudaSearch, NoCuda> {
        CudaSearch::open_number(0, k, kernels, bank)
    }

    /// As [`CudaSearch::open`], on GPU number `gpu` as the driver counts them.
    ///
    /// # Errors
    /// As [`CudaSearch::open`].
    pub fn open_number(
        gpu: usize,
        k: usize,
        kernels: Option<&Path>,
        bank: impl Into<References>,
    ) -> Result<CudaSearch, NoCuda> {
        // SAFETY: no stream is given.
        unsafe { CudaSearch::on_stream(gpu, k, kernels, bank, None) }
    }

    /// As [`CudaSearch::open_number`], on a stream (`CUstream`) of the caller, such as the one that ONNX Runtime
    /// was given; the order of that stream is then the order of the work.
    ///
    /// # Errors
    /// As [`CudaSearch::open`].
    ///
    /// # Safety
    /// `stream` is a stream of this GPU's primary context and outlives the search.
    pub unsafe fn on_stream(
        gpu: usize,
        k: usize,
        kernels: Option<&Path>,
        bank: impl Into<References>,
        stream: Option<*mut c_void>,
    ) -> Result<CudaSearch, NoCuda> {
        let found = driver::find_number(gpu)?;
        let code =
            code::code_for((found.arch, found.driver), kernels, crate::file::cache_folder().as_deref())?;
        let bank = bank.into();
        let open = || {
            // SAFETY: the caller vouches for the stream.
            let card = unsafe { DriverCard::open(found.clone(), &code, stream) }?;
            Engine::new(card, k, bank.clone())
        };
        Ok(CudaSearch(patiently(open, |why| Some(why))?))
    }

    /// As [`CudaSearch::open`], on a stream that others work on too, and its GPU. It takes features that are
    /// written in the order of that stream.
    ///
    /// # Errors
    /// As [`CudaSearch::open`].
    pub fn open_on(
        k: usize,
        kernels: Option<&Path>,
        bank: impl Into<References>,
        stream: &Arc<dyn GpuStream>,
    ) -> Result<CudaSearch, NoCuda> {
        // SAFETY: who implements the stream vouches for it, and the engine holds it until its card is dropped.
        let mut search =
            unsafe { CudaSearch::on_stream(stream.gpu(), k, kernels, bank, Some(stream.handle())) }?;
        search.0.share(Arc::clone(stream));
        Ok(search)
    }

    /// How many patches had to be compared with the whole bank, because rounding hid which rows are
    /// nearest.
    pub fn rescans(&self) -> u64 {
        self.0.rescans
    }

    /// What 8-bit codes did in the frames that they sifted: how many frames, pairs of patch and row that they did not rule
    /// out, and tiles of 128 patches that were compared in half precision all the same. All 0 without tensor cores.
    pub fn sifted(&self) -> (u64, u64, u64) {
        (self.0.sifted, self.0.survivors, self.0.open_tiles)
    }

    /// From now on no frame is sifted by 8-bit codes first, which is otherwise done where there are tensor cores. What
    /// codes save can so be measured.
    pub fn without_codes(&mut self) {
        self.0.pause.for_ever = true;
    }

    /// From now on the kernels of each frame are timed by the GPU, for [`CudaSearch::kernel_ms`].
    pub fn time_kernels(&mut self) {
        self.0.timed = true;
    }

    /// Milliseconds of each kernel of the last frame by its name, in their order; none if they are not timed.
    ///
    /// # Errors
    /// [`NoCuda`] if the GPU does not answer.
    pub fn kernel_ms(&mut self) -> Result<Vec<(&'static str, f32)>, NoCuda> {
        self.0.kernel_ms()
    }
}

fn fill<C: Card>(engine: &Engine<C>, grid: crate::grid::Grid, out: &mut Distances) {
    out.grid = grid;
    out.data.clear();
    out.data.extend(engine.means());
}

impl<C: Card> Engine<C> {
    /// Where the patches of `features` are.
    ///
    /// # Errors
    /// If that is memory of another stream's order.
    fn patches_of<'a>(&self, features: &'a Features) -> anyhow::Result<Patches<'a>> {
        let elsewhere = features.on_gpu.as_ref().filter(|numbers| {
            numbers.len() != features.grid.len() * features.width
                || !numbers.stream().is_some_and(|stream| self.shares(stream))
        });
        anyhow::ensure!(elsewhere.is_none(), "the features are not in memory that {} works on", self.name());
        Ok(Patches::of(features))
    }
}

impl<C: Card> Nearest for Engine<C> {
    fn name(&self) -> String {
        Engine::name(self)
    }

    fn distances(&mut self, features: &Features, out: &mut Distances) -> anyhow::Result<()> {
        let patches = self.patches_of(features)?;
        // SAFETY: the patches are on the host, or in memory of the stream's GPU for as long as `features` live.
        unsafe { self.search(features.grid, features.width, &patches, false) }?;
        fill(self, features.grid, out);
        Ok(())
    }

    fn neighbours(
        &mut self,
        features: &Features,
        rows: &mut Vec<u32>,
        distances: &mut Vec<f32>,
    ) -> anyhow::Result<()> {
        let patches = self.patches_of(features)?;
        // SAFETY: as above.
        unsafe { self.search(features.grid, features.width, &patches, true) }?;
        rows.clear();
        rows.extend(self.near_rows());
        distances.clear();
        distances.extend(self.near_distances());
        Ok(())
    }

    fn faulty(&self) -> u64 {
        self.faulty
    }

    fn shares(&self, stream: &dyn GpuStream) -> bool {
        Engine::shares(self, stream)
    }
}

impl Nearest for CudaSearch {
    fn name(&self) -> String {
        Nearest::name(&self.0)
    }

    fn distances(&mut self, features: &Features, out: &mut Distances) -> anyhow::Result<()> {
        Nearest::distances(&mut self.0, features, out)
    }

    fn neighbours(
        &mut self,
        features: &Features,
        rows: &mut Vec<u32>,
        distances: &mut Vec<f32>,
    ) -> anyhow::Result<()> {
        self.0.neighbours(features, rows, distances)
    }

    fn faulty(&self) -> u64 {
        self.0.faulty
    }

    fn shares(&self, stream: &dyn GpuStream) -> bool {
        self.0.shares(stream)
    }
}
