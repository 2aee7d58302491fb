//! What an engine depends on besides the model: the GPU and the versions of its software, asked of the
//! libraries themselves. Not yet run on a machine with a GPU.

use std::ffi::{CStr, c_char, c_int};
use std::path::Path;

use crate::library::{Library, SeenBy};

/// A GPU and the software below ONNX Runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// Its name.
    pub name: String,
    /// Its architecture, e.g. `sm_87`.
    pub architecture: String,
    /// Versions of CUDA's runtime and of what the driver supports.
    pub cuda: String,
    /// Version of TensorRT as it numbers itself.
    pub tensorrt: String,
}

/// Names of libraries, newest first.
const CUDA_RUNTIMES: [&str; 3] = ["libcudart.so.13", "libcudart.so.12", "libcudart.so"];
const TENSORRTS: [&str; 3] = ["libnvinfer.so.10", "libnvinfer.so.8", "libnvinfer.so"];
/// `CUdevice_attribute` of the compute capability.
const MAJOR: c_int = 75;
const MINOR: c_int = 76;

/// Whether this machine has an NVIDIA GPU that its kernel knows, whatever else is installed: a PC's, a Jetson's, or one lent
/// to WSL.
pub fn present() -> bool {
    ["/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/nvgpu", "/dev/dxg"]
        .iter()
        .any(|node| Path::new(node).exists())
}

/// The GPU number `device` as the driver counts them.
///
/// # Errors
/// Which library or device is missing.
pub fn look(device: usize) -> Result<Gpu, String> {
    let device = c_int::try_from(device).map_err(|e| e.to_string())?;
    let driver = Found::open(&["libcuda.so.1"])?;
    // SAFETY: these are the functions' types in cuda.h.
    let (init, get, attribute, name, version) = unsafe {
        (
            driver.function::<unsafe extern "C" fn(u32) -> c_int>(c"cuInit")?,
            driver.function::<unsafe extern "C" fn(*mut c_int, c_int) -> c_int>(c"cuDeviceGet")?,
            driver.function::<unsafe extern "C" fn(*mut c_int, c_int, c_int) -> c_int>(
                c"cuDeviceGetAttribute",
            )?,
            driver
                .function::<unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int>(c"cuDeviceGetName")?,
            driver.function::<unsafe extern "C" fn(*mut c_int) -> c_int>(c"cuDriverGetVersion")?,
        )
    };
    let (mut handle, mut major, mut minor, mut supported) = (0, 0, 0, 0);
    let mut text = [0_u8; 256];
    // SAFETY: all pointers are to live variables of the types above, `text` has the told size.
    let codes = unsafe {
        [
            init(0),
            get(&raw mut handle, device),
            attribute(&raw mut major, MAJOR, handle),
            attribute(&raw mut minor, MINOR, handle),
            name(text.as_mut_ptr().cast(), text.len() as c_int, handle),
            version(&raw mut supported),
        ]
    };
    if let Some(code) = codes.into_iter().find(|&code| code != 0) {
        return Err(format!("the CUDA driver says error {code} about GPU {device}"));
    }
    let name = CStr::from_bytes_until_nul(&text).map_err(|e| e.to_string())?.to_string_lossy().into_owned();
    // SAFETY: the function's type in cuda_runtime_api.h; the pointer is to a live variable.
    let runtime = unsafe {
        let version = Found::open(&CUDA_RUNTIMES)?
            .function::<unsafe extern "C" fn(*mut c_int) -> c_int>(c"cudaRuntimeGetVersion")?;
        let mut number = 0;
        (version(&raw mut number) == 0).then_some(number)
    };
    let runtime = runtime.ok_or("the CUDA runtime does not tell its version")?;
    // SAFETY: the function's type in NvInferRuntime.h; it takes nothing.
    let tensorrt = unsafe {
        Found::open(&TENSORRTS)?.function::<unsafe extern "C" fn() -> c_int>(c"getInferLibVersion")?()
    };
    Ok(Gpu {
        name,
        architecture: format!("sm_{major}{minor}"),
        cuda: format!("{runtime} of driver {supported}"),
        tensorrt: tensorrt.to_string(),
    })
}

/// A library that ONNX Runtime uses, too.
struct Found {
    library: Library,
    name: &'static str,
}

impl Found {
    fn open(names: &[&'static str]) -> Result<Found, String> {
        // SAFETY: loading runs the library's initialisers, as ONNX Runtime does.
        let load = |name| unsafe { Library::load(name, SeenBy::Owner) };
        names
            .iter()
            .find_map(|name| Some(Found { library: load(name).ok()?, name }))
            .ok_or_else(|| format!("there is no {}", names.join(" or ")))
    }

    /// # Safety
    /// `F` must be the type of a pointer to the function `name`.
    unsafe fn function<F: Copy>(&self, name: &CStr) -> Result<F, String> {
        // SAFETY: the caller vouches for the type.
        unsafe { self.library.function(name) }
            .ok_or_else(|| format!("{} has no {}", self.name, name.to_string_lossy()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_gpu_is_a_reason() {
        match look(99) {
            Ok(gpu) => panic!("a hundredth GPU: {gpu:?}"),
            Err(why) => assert!(why.contains("libcuda.so.1") || why.contains("error"), "{why}"),
        }
    }

    #[test]
    fn what_is_not_there_is_named() {
        let libc = Found::open(&["no-such-library.so", "libc.so.6"]).unwrap();
        // SAFETY: it is not there.
        let missing = unsafe { libc.function::<unsafe extern "C" fn()>(c"getInferLibVersion") };
        assert!(missing.unwrap_err().contains("libc.so.6 has no getInferLibVersion"));
        assert!(Found::open(&["no-such-library.so"]).err().unwrap().contains("no-such-library.so"));
    }
}
