//! What a model can run on: execution providers by name, and number formats.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, PoisonError};

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Where the model is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// The first provider that works.
    #[default]
    Auto,
    /// This one or nothing.
    Only(Provider),
}

impl Device {
    /// The CPU and nothing else.
    pub const CPU: Device = Device::Only(Provider::Cpu);
}

/// An execution provider of ONNX Runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// NVIDIA TensorRT.
    TensorRt,
    /// NVIDIA CUDA.
    Cuda,
    /// Intel OpenVINO: processors, graphics and neural processors.
    OpenVino,
    /// The CPU.
    Cpu,
    /// Any other, from a library of its own that `[runtime.provider.NAME]` names.
    PlugIn(PlugIn),
}

/// Options of an execution provider by ONNX Runtime's names.
pub type Options = BTreeMap<String, String>;

/// The name of a provider that ONNX Runtime does not bring itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlugIn(&'static str);

/// Names of plug-ins are kept for good: there are as many as configurations name.
static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

impl Provider {
    /// The providers that are known without `[runtime.provider.NAME]`, in the order in which they are tried.
    pub const KNOWN: [Provider; 4] = [Provider::TensorRt, Provider::Cuda, Provider::OpenVino, Provider::Cpu];

    /// The name that the configuration uses.
    pub fn name(self) -> &'static str {
        match self {
            Provider::TensorRt => "tensorrt",
            Provider::Cuda => "cuda",
            Provider::OpenVino => "openvino",
            Provider::Cpu => "cpu",
            Provider::PlugIn(PlugIn(name)) => name,
        }
    }

    /// The provider of that name.
    ///
    /// # Errors
    /// What is no name.
    pub fn named(name: &str) -> Result<Provider, String> {
        if let Some(known) = Provider::KNOWN.into_iter().find(|one| one.name() == name) {
            return Ok(known);
        }
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if name.is_empty() || name == "auto" || name.len() > 64 || !name.chars().all(plain) {
            return Err(format!(
                "{name:?} is no execution provider: \"tensorrt\", \"cuda\", \"openvino\", \"cpu\", or the name of a \
                 [runtime.provider.NAME] in lower-case letters, digits, \"-\" and \"_\""
            ));
        }
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = names.get(name).copied().unwrap_or_else(|| {
            let kept: &'static str = Box::leak(name.into());
            names.insert(kept);
            kept
        });
        Ok(Provider::PlugIn(PlugIn(kept)))
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Provider {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Provider {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Provider, D::Error> {
        Provider::named(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Serialize for Device {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Device::Auto => serializer.serialize_str("auto"),
            Device::Only(provider) => provider.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Device {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Device, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "auto" => Ok(Device::Auto),
            name => Provider::named(name).map(Device::Only).map_err(D::Error::custom),
        }
    }
}

/// A number format of products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 16-bit floats with 8 bits of mantissa: OpenVINO, on processors with instructions for them.
    Bf16,
    /// 16-bit floats with 11 bits of mantissa.
    Fp16,
    /// 32-bit floats with 11 bits of mantissa, accumulated in 32 bits.
    Tf32,
    /// 32-bit floats. TensorRT may use TF32 for them.
    Fp32,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Precision::Bf16 => "bf16",
            Precision::Fp16 => "fp16",
            Precision::Tf32 => "tf32",
            Precision::Fp32 => "fp32",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_and_what_is_none_is_refused() {
        for name in ["tensorrt", "cuda", "openvino", "cpu", "tensorrt-rtx", "x_2"] {
            let provider = Provider::named(name).unwrap();
            assert_eq!((provider.name(), provider), (name, Provider::named(name).unwrap()));
            assert_eq!(matches!(provider, Provider::PlugIn(_)), !Provider::KNOWN.contains(&provider));
        }
        let long = "x".repeat(65);
        for name in ["", "auto", "CUDA", "a b", "ä", &long] {
            let why = Provider::named(name).unwrap_err();
            assert!(why.contains("[runtime.provider.NAME]"), "{why}");
        }
        let device: Device = serde_json::from_str("\"openvino\"").unwrap();
        assert_eq!(device, Device::Only(Provider::OpenVino));
        assert_eq!(serde_json::to_string(&device).unwrap(), "\"openvino\"");
        assert_eq!(serde_json::from_str::<Device>("\"auto\"").unwrap(), Device::Auto);
    }
}
