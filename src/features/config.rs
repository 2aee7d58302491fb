//! The `[runtime]` section: which ONNX Runtime, on what device, with how many threads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::device::{Device, Precision, Provider};
use super::plugin::ProviderConfig;
use crate::ranges::within;
use serde::{Deserialize, Serialize};

/// The `[runtime]` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuntimeConfig {
    /// The ONNX Runtime library, or the folder that holds it. Default: searched for, see
    /// [`crate::features::runtime`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub library: Option<PathBuf>,
    /// `"auto"` tries `providers` in order and says why one is passed over; the name of a provider insists on it.
    /// Default: auto.
    pub device: Device,
    /// Execution providers that `auto` tries, best first. Default: tensorrt, cuda, openvino, cpu.
    pub providers: Vec<Provider>,
    /// Libraries, hardware and options of execution providers, by their names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub provider: BTreeMap<String, ProviderConfig>,
    /// Threads of the CPU provider; 0: one per core. Results are the same from run to run
    /// for the same number. Default: 0, the best where it was measured, on two cores: with one thread less, `replay` of
    /// DINOv2-S at height 364 with a bank of 100,000 gives 0.55 times the frames per second.
    pub threads: usize,
    /// The GPU's number as the CUDA driver counts. Default: 0.
    pub gpu: usize,
    /// The lowest precision that an accelerator may use: `"bf16"` (OpenVINO on processors that have it), `"fp16"`
    /// (TensorRT; OpenVINO on graphics), `"tf32"` or `"fp32"`. Higher ones are taken where a lower one fails the
    /// comparison with the CPU. Default: fp16.
    pub precision: Precision,
    /// How far features of the golden frame may be off on a GPU, as part of their length; more, and the
    /// next precision or provider is taken. Default: 0.02.
    pub parity_tolerance: f32,
    /// Whether a GPU's inputs and outputs stay at fixed places in its memory, on a stream that the search shares; features
    /// that the search takes as they are then never leave the GPU. `"auto"`: yes, if that gives the same features as
    /// without it; `"off"`. Default: auto.
    pub io_binding: IoBinding,
    /// Whether a GPU runs a model of one input size as one CUDA graph: needs `io_binding`. A fault later costs its frame.
    /// Default: false.
    pub cuda_graph: bool,
    /// Largest memory of the CUDA provider's arena in MiB; 0: no limit. Default: 0.
    pub gpu_memory_mb: usize,
    /// Largest workspace of TensorRT's builder in MiB; 0: TensorRT's own. Default: 0.
    pub tensorrt_workspace_mb: usize,
    /// Folder of TensorRT's engines. Default: `engines` in farout's cache folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engines: Option<PathBuf>,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        RuntimeConfig {
            library: None,
            device: Device::Auto,
            providers: Provider::KNOWN.to_vec(),
            provider: BTreeMap::new(),
            threads: 0,
            gpu: 0,
            precision: Precision::Fp16,
            parity_tolerance: 0.02,
            io_binding: IoBinding::Auto,
            cuda_graph: false,
            gpu_memory_mb: 0,
            tensorrt_workspace_mb: 0,
            engines: None,
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

    /// The library that brings `provider`, if it is not to be built into ONNX Runtime.
    pub fn plugin(&self, provider: Provider) -> Option<(&Path, &ProviderConfig)> {
        let own = self.provider.get(provider.name())?;
        Some((own.library.as_deref()?, own))
    }

    /// What is wrong with these settings, if anything.
    ///
    /// # Errors
    /// The key, its value, and what it may be.
    pub fn check(&self) -> Result<(), String> {
        if !(self.parity_tolerance > 0.0 && self.parity_tolerance <= 1.0) {
            return Err(format!(
                "runtime.parity_tolerance is {}; it is a part of the features' length, above 0 and at most 1",
                self.parity_tolerance
            ));
        }
        let numbers = [
            ("threads", self.threads as f64, 0.0, 4096.0),
            ("gpu", self.gpu as f64, 0.0, 255.0),
            ("gpu_memory_mb", self.gpu_memory_mb as f64, 0.0, 1e7),
            ("tensorrt_workspace_mb", self.tensorrt_workspace_mb as f64, 0.0, 1e7),
        ];
        within("runtime", &numbers)?;
        if self.provider.contains_key("cpu") {
            return Err("runtime.provider.cpu: the CPU takes no library and no options; see runtime.threads"
                .to_owned());
        }
        for name in self.provider.keys() {
            Provider::named(name).map_err(|why| format!("runtime.provider.{name}: {why}"))?;
        }
        let insisted = match self.device {
            Device::Auto => None,
            Device::Only(provider) => Some(provider),
        };
        let named = self.providers.iter().map(|one| ("providers", one));
        for (key, one) in named.chain(insisted.iter().map(|one| ("device", one))) {
            if matches!(one, Provider::PlugIn(_)) && self.plugin(*one).is_none() {
                return Err(format!(
                    "runtime.{key} names \"{one}\", which is neither \"tensorrt\", \"cuda\", \"openvino\" nor \"cpu\": say where \
                     it comes from with library = \"...\" in [runtime.provider.{one}]"
                ));
            }
        }
        Ok(())
    }
}

/// Whether inputs and outputs stay at fixed places in a GPU's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IoBinding {
    /// On a GPU, if it gives the same features.
    #[default]
    Auto,
    /// They are copied from and to the host by ONNX Runtime.
    Off,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_read() {
        let config: RuntimeConfig =
            toml::from_str("device='tensorrt'\nproviders=['cuda','cpu']\nthreads=3").unwrap();
        assert_eq!(config.attempts()[0].provider, Provider::TensorRt);
        assert_eq!(config.cpu_threads(), 3);
        let config: RuntimeConfig = toml::from_str("").unwrap();
        assert_eq!(config, RuntimeConfig::default());
        assert!(config.cpu_threads() >= 1 && config.check().is_ok());
        for off in ["0.0", "-1.0", "nan", "1.5"] {
            let config: RuntimeConfig = toml::from_str(&format!("parity_tolerance = {off}")).unwrap();
            assert!(config.check().unwrap_err().contains("runtime.parity_tolerance"), "{off}");
        }
        let config: RuntimeConfig = toml::from_str("precision = 'tf32'\ngpu = 1").unwrap();
        assert_eq!((config.precision, config.gpu), (Precision::Tf32, 1));
        assert!(
            toml::from_str::<RuntimeConfig>("provider='cuda'").unwrap_err().to_string().contains("provider")
        );
    }

    #[test]
    fn plug_ins_are_named_with_where_they_come_from() {
        let read = |text: &str| toml::from_str::<RuntimeConfig>(text).map_err(|why| why.to_string());
        let text = "providers = ['tensorrt-rtx', 'cpu']\n[provider.tensorrt-rtx]\nlibrary = 'lib/x.so'\nhardware = 'gpu'\n\
                    options = { nv_target_sm = 'sm89' }";
        let config = read(text).unwrap();
        config.check().unwrap();
        let (library, own) = config.plugin(config.providers[0]).unwrap();
        assert_eq!((library, own.options["nv_target_sm"].as_str()), (Path::new("lib/x.so"), "sm89"));
        assert_eq!(toml::from_str::<RuntimeConfig>(&toml::to_string(&config).unwrap()).unwrap(), config);
        for (text, told) in [
            ("providers = ['rtx', 'cpu']", "runtime.providers names \"rtx\""),
            ("device = 'rtx'", "[runtime.provider.rtx]"),
            ("[provider.cpu]\noptions = { x = '1' }", "runtime.provider.cpu"),
            ("[provider.'A B']\nlibrary = 'x'", "runtime.provider.A B"),
        ] {
            let why = read(text).unwrap().check().unwrap_err();
            assert!(why.contains(told), "{why}");
        }
        assert!(read("[provider.rtx]\nhardware = 'tpu'").unwrap_err().contains("tpu"));
    }
}
