//! Which devices the search could run on, and why it does not run on the others.

use cudarc::driver::sys::CUdevice_attribute;
use cudarc::driver::{DriverError, result, sys};
use serde::{Deserialize, Serialize};

use super::backend::Backend;
use crate::finding::{Finding, Standing};

/// Where to search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// CUDA if there is one, else the CPU, with the reason told.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// CUDA, or an error.
    Cuda,
}

/// Why the search does not run on CUDA.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoCuda {
    /// No driver library.
    #[error("no CUDA driver (libcuda) is installed")]
    NoDriver,
    /// A driver that does not work or sees no device.
    #[error("the CUDA driver gives no device: {0}")]
    NoDevice(String),
    /// Driver and device are there, the code is not.
    #[error("this build searches on the CPU")]
    NotBuilt,
}

/// The CUDA search, once there is one; today the reason why there is none.
pub(super) fn cuda_search() -> NoCuda {
    match cuda_device() {
        Err(why) => why,
        Ok(_) => NoCuda::NotBuilt,
    }
}

/// Name and compute capability of the first CUDA device.
fn cuda_device() -> Result<String, NoCuda> {
    // SAFETY: loads libcuda by its usual names and drops it again; its initialisers are NVIDIA's.
    if !unsafe { sys::is_culib_present() } {
        return Err(NoCuda::NoDriver);
    }
    let told = |e: DriverError| match e.error_string() {
        Ok(text) => NoCuda::NoDevice(text.to_string_lossy().into_owned()),
        Err(_) => NoCuda::NoDevice(format!("error {:?}", e.0)),
    };
    result::init().map_err(told)?;
    if result::device::get_count().map_err(told)? == 0 {
        return Err(NoCuda::NoDevice("it counts 0 of them".to_owned()));
    }
    let device = result::device::get(0).map_err(told)?;
    let name = result::device::get_name(device).map_err(told)?;
    let attribute = |which| {
        // SAFETY: `device` was given by the driver.
        unsafe { result::device::get_attribute(device, which) }.map_err(told)
    };
    let major = attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
    let minor = attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
    Ok(format!("{name}, sm_{major}{minor}"))
}

/// What `farout doctor` tells about the search.
pub fn findings() -> Vec<Finding> {
    let mut findings = backends();
    let (standing, detail, remedy) = match cuda_device() {
        Ok(device) => (Standing::Absent, format!("{device}; {}", NoCuda::NotBuilt), None),
        Err(why) => {
            let remedy = "for a search on the GPU install NVIDIA's driver (libcuda.so.1)".to_owned();
            (Standing::Absent, why.to_string(), Some(remedy))
        }
    };
    findings.push(Finding { topic: "search", name: "cuda".to_owned(), standing, detail, remedy });
    findings
}

/// The CPU search's backends for processors of this family, the fastest first.
fn backends() -> Vec<Finding> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let chosen = Backend::Auto.resolve();
    let here = |backend: &Backend| backend.architecture().is_none_or(|a| a == std::env::consts::ARCH);
    let finding = |backend: Backend| {
        let (standing, detail) = match backend.resolve() {
            Ok(_) if chosen == Ok(backend) => (Standing::Good, format!("chosen, {threads} threads")),
            Ok(_) => (Standing::Good, "could be used".to_owned()),
            Err(no) => (Standing::Absent, no.why.to_owned()),
        };
        Finding { topic: "search", name: backend.name().to_owned(), standing, detail, remedy: None }
    };
    Backend::ALL.into_iter().filter(here).map(finding).collect()
}
