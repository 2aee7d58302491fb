//! What an engine depends on besides the model and the GPU: the versions of the software below ONNX Runtime, asked of the
//! libraries themselves. Not yet run on a machine with a GPU.

use std::borrow::Cow;
use std::ffi::{CStr, c_int};
use std::path::Path;

use super::runtime::Runtime;
use super::supplies;
use crate::library::{Library, SeenBy};

/// Names of libraries, newest first, for where ONNX Runtime does not tell which one it needs.
const CUDA_RUNTIMES: [&str; 3] = ["libcudart.so.13", "libcudart.so.12", "libcudart.so"];
const TENSORRTS: [&str; 4] = ["libnvinfer.so.11", "libnvinfer.so.10", "libnvinfer.so.8", "libnvinfer.so"];

/// Whether this machine has an NVIDIA GPU that its kernel knows, whatever else is installed: a PC's, a Jetson's, or one lent
/// to WSL.
pub fn present() -> bool {
    ["/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/nvgpu", "/dev/dxg"]
        .iter()
        .any(|node| Path::new(node).exists())
}

/// The version of CUDA's runtime, as it numbers itself.
///
/// # Errors
/// Which library is missing, or does not tell.
pub(super) fn cuda_runtime(runtime: &Runtime) -> Result<c_int, String> {
    let mut number = 0;
    let names = names(runtime, "libcudart.so", &CUDA_RUNTIMES);
    // SAFETY: the function's type in cuda_runtime_api.h; the pointer is to a live variable.
    let code = unsafe {
        function::<unsafe extern "C" fn(*mut c_int) -> c_int>(&names, c"cudaRuntimeGetVersion")?(
            &raw mut number,
        )
    };
    if code == 0 { Ok(number) } else { Err("the CUDA runtime does not tell its version".to_owned()) }
}

/// The version of TensorRT, as it numbers itself.
///
/// # Errors
/// Which library is missing.
pub(super) fn tensorrt(runtime: &Runtime) -> Result<c_int, String> {
    let names = names(runtime, "libnvinfer.so", &TENSORRTS);
    // SAFETY: the function's type in NvInferRuntime.h; it takes nothing.
    Ok(unsafe { function::<unsafe extern "C" fn() -> c_int>(&names, c"getInferLibVersion")?() })
}

/// The name by which ONNX Runtime needs a library, if it tells, else those that are usual.
fn names<'a>(runtime: &Runtime, stem: &str, usual: &[&'a str]) -> Vec<Cow<'a, str>> {
    match supplies::name_of(runtime, stem) {
        Some(name) => vec![name.into()],
        None => usual.iter().map(|name| Cow::from(*name)).collect(),
    }
}

/// The function `name` of the first of `libraries` that is there; ONNX Runtime uses it, too.
///
/// # Safety
/// `F` must be the type of a pointer to that function.
unsafe fn function<F: Copy>(libraries: &[Cow<'_, str>], name: &CStr) -> Result<F, String> {
    let found = libraries.iter().find_map(|file| {
        // SAFETY: loading runs the library's initialisers, as ONNX Runtime does.
        let library = unsafe { Library::load(&**file, SeenBy::Owner) };
        Some((file, library.ok()?))
    });
    let (file, library) = found.ok_or_else(|| format!("there is no {}", libraries.join(" or ")))?;
    // SAFETY: the caller vouches for the type.
    unsafe { library.function(name) }.ok_or_else(|| format!("{file} has no {}", name.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_named() {
        let missing = |files: &[&str]| {
            let files: Vec<Cow<'_, str>> = files.iter().map(|file| Cow::from(*file)).collect();
            // SAFETY: it is not there.
            unsafe { function::<unsafe extern "C" fn()>(&files, c"getInferLibVersion") }
        };
        let why = missing(&["no-such-library.so", "libc.so.6"]).unwrap_err();
        assert_eq!(why, "libc.so.6 has no getInferLibVersion");
        assert_eq!(missing(&["none.so", "nor.so"]).unwrap_err(), "there is no none.so or nor.so");
    }
}
