//! What an engine depends on besides the model: the GPU and the versions of its software, asked of the
//! libraries themselves. Not yet run on a machine with a GPU.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::Path;

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
const CUDA_RUNTIMES: [&CStr; 3] = [c"libcudart.so.13", c"libcudart.so.12", c"libcudart.so"];
const TENSORRTS: [&CStr; 3] = [c"libnvinfer.so.10", c"libnvinfer.so.8", c"libnvinfer.so"];
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
    let driver = Library::open(&[c"libcuda.so.1"])?;
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
        let version = Library::open(&CUDA_RUNTIMES)?
            .function::<unsafe extern "C" fn(*mut c_int) -> c_int>(c"cudaRuntimeGetVersion")?;
        let mut number = 0;
        (version(&raw mut number) == 0).then_some(number)
    };
    let runtime = runtime.ok_or("the CUDA runtime does not tell its version")?;
    // SAFETY: the function's type in NvInferRuntime.h; it takes nothing.
    let tensorrt = unsafe {
        Library::open(&TENSORRTS)?.function::<unsafe extern "C" fn() -> c_int>(c"getInferLibVersion")?()
    };
    Ok(Gpu {
        name,
        architecture: format!("sm_{major}{minor}"),
        cuda: format!("{runtime} of driver {supported}"),
        tensorrt: tensorrt.to_string(),
    })
}

/// A library that stays loaded: ONNX Runtime uses it, too.
struct Library {
    handle: *mut c_void,
    name: &'static CStr,
}

impl Library {
    fn open(names: &[&'static CStr]) -> Result<Library, String> {
        for &name in names {
            // SAFETY: the name ends in NUL. Loading runs the library's initialisers, as ONNX Runtime does.
            let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
            if !handle.is_null() {
                return Ok(Library { handle, name });
            }
        }
        let names: Vec<_> = names.iter().map(|name| name.to_string_lossy()).collect();
        Err(format!("there is no {}", names.join(" or ")))
    }

    /// # Safety
    /// `F` must be the type of a pointer to the function `name`.
    unsafe fn function<F: Copy>(&self, name: &CStr) -> Result<F, String> {
        assert_eq!(size_of::<F>(), size_of::<*mut c_void>(), "a pointer to a function");
        // SAFETY: the handle is of a library that stays loaded, the name ends in NUL.
        let symbol = unsafe { libc::dlsym(self.handle, name.as_ptr()) };
        if symbol.is_null() {
            return Err(format!("{} has no {}", self.name.to_string_lossy(), name.to_string_lossy()));
        }
        // SAFETY: both are pointers of one size, and the caller vouches for the type.
        Ok(unsafe { std::mem::transmute_copy(&symbol) })
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
    fn functions_are_found_in_a_library() {
        let libc = Library::open(&[c"no-such-library.so", c"libc.so.6"]).unwrap();
        // SAFETY: getpid takes nothing and gives a pid_t, which is an int.
        let getpid = unsafe { libc.function::<unsafe extern "C" fn() -> c_int>(c"getpid") }.unwrap();
        // SAFETY: as above.
        assert_eq!(unsafe { getpid() } as u32, std::process::id());
        // SAFETY: it is not there.
        let missing = unsafe { libc.function::<unsafe extern "C" fn()>(c"getInferLibVersion") };
        assert!(missing.unwrap_err().contains("libc.so.6 has no getInferLibVersion"));
        assert!(Library::open(&[c"no-such-library.so"]).err().unwrap().contains("no-such-library.so"));
    }
}
