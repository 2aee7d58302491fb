//! What the driver's errors mean for the search.

use cudarc::driver::sys::CUresult;
use cudarc::driver::{DriverError, result};

use super::super::device::NoCuda;

/// What the driver says of an error.
pub(super) fn words(e: DriverError) -> String {
    match e.error_string() {
        Ok(text) => text.to_string_lossy().into_owned(),
        Err(_) => format!("error {:?}", e.0),
    }
}

/// An error of a call that does `what`.
pub(super) fn failed(what: &'static str) -> impl Fn(DriverError) -> NoCuda {
    move |e| match e.0 {
        CUresult::CUDA_ERROR_OUT_OF_MEMORY => NoCuda::OutOfMemory {
            what: what.to_owned(),
            bytes: 0,
            free: result::mem_get_info().map_or(0, |m| m.0),
        },
        CUresult::CUDA_ERROR_INVALID_VALUE
        | CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU
        | CUresult::CUDA_ERROR_INVALID_PTX
        | CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION
        | CUresult::CUDA_ERROR_JIT_COMPILER_NOT_FOUND
        | CUresult::CUDA_ERROR_JIT_COMPILATION_DISABLED
        | CUresult::CUDA_ERROR_INVALID_IMAGE
        | CUresult::CUDA_ERROR_NOT_FOUND
        | CUresult::CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES
        | CUresult::CUDA_ERROR_INVALID_HANDLE => NoCuda::Failed { what, why: words(e) },
        // All else leaves a context that no call works in any more.
        _ => NoCuda::Lost { what, why: words(e) },
    }
}
