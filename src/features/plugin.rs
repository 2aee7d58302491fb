//! Execution providers from libraries of their own, by the plug-in interface of ONNX Runtime (since 1.23).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::device::Device;
use ort::memory::DeviceType;
use ort::session::builder::SessionBuilder;
use serde::{Deserialize, Serialize};

use super::runtime::Runtime;
use crate::library::{At, Need, supply, wheel_folders};

/// A `[runtime.provider.NAME]` section: what an execution provider is told beyond what farout says itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProviderConfig {
    /// The library of a plug-in. Without it the provider has to be built into ONNX Runtime.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub library: Option<PathBuf>,
    /// What hardware it is to use, where it has a choice. Default: the first that it offers; OpenVINO built into ONNX
    /// Runtime: the CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hardware: Option<Hardware>,
    /// Options by the provider's own names.
    pub options: BTreeMap<String, String>,
}

/// A kind of hardware.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hardware {
    /// Processors.
    Cpu,
    /// Graphics.
    Gpu,
    /// Neural processors.
    Npu,
}

impl Hardware {
    /// As OpenVINO calls it.
    pub fn name(self) -> &'static str {
        match self {
            Hardware::Cpu => "CPU",
            Hardware::Gpu => "GPU",
            Hardware::Npu => "NPU",
        }
    }

    fn is(self, device: &Device<'_>) -> bool {
        let found = device.hardware_device().ty();
        match self {
            Hardware::Cpu => found == DeviceType::CPU,
            Hardware::Gpu => found == DeviceType::GPU,
            Hardware::Npu => found == DeviceType::NPU,
        }
    }
}

/// A library that ONNX Runtime knows.
struct Registered {
    library: PathBuf,
    /// What it calls the execution providers that have a device here.
    providers: Vec<String>,
}

/// The libraries that ONNX Runtime was told of: once in a process each.
static REGISTERED: Mutex<BTreeMap<String, Registered>> = Mutex::new(BTreeMap::new());

/// Puts a device of the plug-in `name` into a session; of several GPUs, that with number `gpu`.
///
/// # Errors
/// Why the library cannot be loaded, or that it has no such device, and which ones it has.
pub(super) fn register(
    runtime: &Runtime,
    builder: SessionBuilder,
    (name, library): (&str, &Path),
    config: &ProviderConfig,
    gpu: usize,
) -> Result<SessionBuilder, String> {
    let providers = registered(runtime, name, library)?;
    let ours = |device: &Device<'_>| device.ep().is_ok_and(|ep| providers.iter().any(|own| own == ep));
    let fits = |device: &Device<'_>| config.hardware.is_none_or(|hardware| hardware.is(device));
    let found = runtime.environment.devices().filter(ours).collect::<Vec<_>>();
    let number = if config.hardware == Some(Hardware::Gpu) { gpu } else { 0 };
    let fitting = found.iter().filter(|device| fits(device)).count();
    let Some(device) = found.into_iter().filter(fits).nth(number) else {
        let wanted = config.hardware.map_or(String::new(), |hardware| format!(" for a {}", hardware.name()));
        return Err(match fitting {
            0 => format!("{} finds no device{wanted} on this machine", library.display()),
            n => format!("it has {n} device(s){wanted}, and runtime.gpu asks for number {number}"),
        });
    };
    let provider = device.ep().map_err(|e| e.to_string())?;
    let options: Vec<(String, String)> =
        config.options.iter().map(|(key, value)| (format!("{provider}.{key}"), value.clone())).collect();
    builder.with_devices([device], Some(&options)).map_err(|e| e.to_string())
}

/// What the plug-in's library calls its execution providers; ONNX Runtime loads it if it has not yet.
fn registered(runtime: &Runtime, name: &str, library: &Path) -> Result<Vec<String>, String> {
    let mut known = REGISTERED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = known.get(name) {
        if known.library != library {
            return Err(format!(
                "{name} is already loaded from {}, it cannot be changed to {}; restart",
                known.library.display(),
                library.display()
            ));
        }
        return Ok(known.providers.clone());
    }
    if !library.is_file() {
        return Err(format!("there is no library {}", library.display()));
    }
    // SAFETY: ONNX Runtime loads the same libraries next.
    let needs = unsafe { supply(library, &wheel_folders()) }?;
    let missing: Vec<String> =
        needs.iter().filter(|need| matches!(need.at, At::Nowhere(_))).map(Need::to_string).collect();
    if !missing.is_empty() {
        return Err(format!("it cannot be loaded: {}", missing.join(", ")));
    }
    let names = || -> Vec<String> {
        runtime.environment.devices().filter_map(|device| device.ep().ok().map(str::to_owned)).collect()
    };
    let before = names();
    let taken = runtime.environment.register_ep_library(name, library);
    taken.map_err(|e| format!("{} is no plug-in that ONNX Runtime takes: {e}", library.display()))?;
    let mut providers = names();
    providers.retain(|name| !before.contains(name));
    providers.dedup();
    known.insert(name.to_owned(), Registered { library: library.to_owned(), providers: providers.clone() });
    Ok(providers)
}
