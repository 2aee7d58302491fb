//! The `[runtime]` section: which ONNX Runtime, on what device, with how many threads.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The `[runtime]` section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuntimeConfig {
    /// The ONNX Runtime library, or the folder that holds it. Default: searched for, see
    /// [`crate::features::runtime`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub library: Option<PathBuf>,
    /// `"auto"` tries `providers` in order and says why one is passed over; `"cpu"`, `"cuda"` and
    /// `"tensorrt"` insist. Default: auto.
    pub device: Device,
    /// Execution providers that `auto` tries, best first. Default: tensorrt, cuda, cpu.
    pub providers: Vec<Provider>,
    /// Threads of the CPU provider; 0: one per core. Results are the same from run to run
    /// for the same number. Default: 0.
    pub threads: usize,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        RuntimeConfig {
            library: None,
            device: Device::Auto,
            providers: vec![Provider::TensorRt, Provider::Cuda, Provider::Cpu],
            threads: 0,
        }
    }
}

impl RuntimeConfig {
    /// The CPU threads that `threads` means on this machine.
    pub fn cpu_threads(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            n => n,
        }
    }

    /// The providers to try, best first, and whether the first must succeed.
    pub fn order(&self) -> (Vec<Provider>, bool) {
        match self.device {
            Device::Auto => (self.providers.clone(), false),
            Device::Cpu => (vec![Provider::Cpu], true),
            Device::Cuda => (vec![Provider::Cuda], true),
            Device::TensorRt => (vec![Provider::TensorRt], true),
        }
    }
}

/// Where the model is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// The first provider that works.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// CUDA or nothing.
    Cuda,
    /// TensorRT or nothing.
    TensorRt,
}

/// An execution provider of ONNX Runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// NVIDIA TensorRT.
    TensorRt,
    /// NVIDIA CUDA.
    Cuda,
    /// The CPU.
    Cpu,
}

impl Provider {
    /// The name that the configuration uses.
    pub fn name(self) -> &'static str {
        match self {
            Provider::TensorRt => "tensorrt",
            Provider::Cuda => "cuda",
            Provider::Cpu => "cpu",
        }
    }
}

impl std::fmt::Display for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_read() {
        let config: RuntimeConfig =
            toml::from_str("device='tensorrt'\nproviders=['cuda','cpu']\nthreads=3").unwrap();
        assert_eq!(config.order(), (vec![Provider::TensorRt], true));
        assert_eq!(config.cpu_threads(), 3);
        let config: RuntimeConfig = toml::from_str("").unwrap();
        assert_eq!(config, RuntimeConfig::default());
        assert!(config.cpu_threads() >= 1);
        assert!(
            toml::from_str::<RuntimeConfig>("provider='cuda'").unwrap_err().to_string().contains("provider")
        );
    }
}
