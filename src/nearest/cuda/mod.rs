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
mod geometry;
mod problem;
mod search;
mod source;
mod spare;

use super::device::NoCuda;
use super::{Device, Nearest, SearchConfig};
use crate::bank::References;

pub use code::build;
pub use engine::DeviceFeatures;
pub use geometry::Arch;
pub use search::CudaSearch;

/// Opens the search that `config` asks for on the GPU. With `auto` it goes on on the CPU if the device
/// fails later.
///
/// # Errors
/// Why there is none.
pub(super) fn open(config: &SearchConfig, references: &References) -> Result<Box<dyn Nearest>, NoCuda> {
    let engine = Box::new(CudaSearch::open(config.k, config.kernels.as_deref(), references.clone())?);
    if config.device == Device::Cuda {
        return Ok(engine);
    }
    let (config, references) = (config.clone(), references.clone());
    let spare = move || super::on_cpu(&config, &references);
    Ok(Box::new(spare::WithSpare::new(engine, Box::new(spare))))
}

/// The first device, and what its code would be compiled with; for `farout doctor`.
///
/// # Errors
/// Why there is none.
pub(super) fn look() -> Result<String, NoCuda> {
    let found = driver::find()?;
    let cores = if found.arch.has_tensor_cores() { "tensor cores" } else { "no tensor cores" };
    let code = match compiler::Compiler::load() {
        Ok(compiler) => format!("NVRTC {}", compiler.version()),
        Err(why) => why.to_string(),
    };
    Ok(format!("{}, {cores}; {code}", found.describe()))
}

#[cfg(test)]
mod tests;
