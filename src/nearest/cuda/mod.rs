//! The search on NVIDIA GPUs: tensor cores propose, single precision decides, and a bound proves it.
//!
//! [`CudaSearch`] drives the kernels of `kernels/` through the trait `Card`, of which there are two: the
//! driver's, and the tests' emulation on the CPU, which runs the same source and the same launches.

mod bank;
mod card;
mod code;
mod compiler;
mod driver;
mod engine;
mod fault;
mod geometry;
mod lane;
mod memory;
mod moments;
mod nvrtc;
mod pause;
mod pinned;
mod problem;
mod search;
mod source;
mod spare;

use std::sync::Arc;

use super::device::NoCuda;
use super::{Device, Nearest, SearchConfig};
use crate::bank::References;
use crate::gpu_stream::{Gpu, GpuStream, Gpus};

pub use code::build;
pub use geometry::Arch;
pub use lane::stream;
pub use search::CudaSearch;

/// Opens the search that `config` asks for on the GPU, on `stream` if that is one of it. With `auto` it goes on on the
/// CPU if the device fails later.
///
/// # Errors
/// Why there is none.
pub(super) fn open(
    config: &SearchConfig,
    references: &References,
    stream: Option<&Arc<dyn GpuStream>>,
) -> Result<Box<dyn Nearest>, NoCuda> {
    let (kernels, bank) = (config.kernels.as_deref(), references.clone());
    let engine = Box::new(match stream.filter(|stream| stream.gpu() == config.gpu) {
        Some(stream) => CudaSearch::open_on(config.k, kernels, bank, stream)?,
        None => CudaSearch::open_number(config.gpu, config.k, kernels, bank)?,
    });
    if config.device == Device::Cuda {
        return Ok(engine);
    }
    let (config, references) = (config.clone(), references.clone());
    let spare = move || super::on_cpu(&config, &references);
    Ok(Box::new(spare::WithSpare::new(engine, Box::new(spare))))
}

/// GPU number `gpu`; for `farout doctor`.
///
/// # Errors
/// Why there is none.
pub(super) fn look(gpu: usize) -> Result<String, NoCuda> {
    let found = driver::find_number(gpu)?;
    let cores = if found.arch.has_tensor_cores() { "tensor cores" } else { "no tensor cores" };
    Ok(format!("{}, {cores}", found.describe()))
}

/// The compilers of the GPU code, for `farout doctor`.
///
/// # Errors
/// Why there is none, with the remedy.
pub(super) fn compilers() -> Result<String, NoCuda> {
    let all: Vec<String> = compiler::Compiler::all()?.iter().map(compiler::Compiler::describe).collect();
    Ok(all.join(", "))
}

/// NVIDIA's driver.
#[derive(Debug, Clone, Copy)]
pub struct Driver;

impl Gpus for Driver {
    fn gpu(&self, number: usize) -> Result<Gpu, String> {
        let found = driver::find_number(number).map_err(|why| why.to_string())?;
        Ok(Gpu { name: found.name, architecture: found.arch.to_string(), driver: found.driver })
    }

    fn stream(&self, number: usize) -> Result<Arc<dyn GpuStream>, String> {
        stream(number).map_err(|why| why.to_string())
    }
}

#[cfg(test)]
mod tests;
