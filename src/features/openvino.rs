//! Intel's OpenVINO, where it is built into ONNX Runtime (PyPI's onnxruntime-openvino): what it is told.

use std::path::Path;

use super::config::RuntimeConfig;
use super::device::{Options, Precision, Provider};
use super::plugin::Hardware;

/// The precisions that it computes in on `hardware`, lowest first.
pub(super) fn precisions(hardware: Hardware) -> &'static [Precision] {
    match hardware {
        Hardware::Cpu if has_bf16() => &[Precision::Bf16, Precision::Fp32],
        Hardware::Cpu => &[Precision::Fp32],
        Hardware::Gpu => &[Precision::Fp16, Precision::Fp32],
        Hardware::Npu => &[Precision::Fp16],
    }
}

/// Whether this processor multiplies brain floats (AVX512-BF16 or AMX); others would only lose precision.
#[cfg(target_arch = "x86_64")]
fn has_bf16() -> bool {
    // Every x86-64 processor has CPUID; a leaf that it does not know is all zeros or that of its highest one.
    let highest = std::arch::x86_64::__cpuid(0).eax;
    let features = |leaf: u32| std::arch::x86_64::__cpuid_count(7, leaf);
    highest >= 7
        && (features(0).edx >> 22 & 1 == 1 || (features(0).eax >= 1 && features(1).eax >> 5 & 1 == 1))
}

#[cfg(not(target_arch = "x86_64"))]
fn has_bf16() -> bool {
    false
}

impl RuntimeConfig {
    /// What OpenVINO is to run on.
    pub(super) fn openvino_hardware(&self) -> Hardware {
        let own = self.provider.get(Provider::OpenVino.name());
        own.and_then(|own| own.hardware).unwrap_or(Hardware::Cpu)
    }

    /// Options of the OpenVINO provider. What it compiles for graphics and neural processors is kept in `cache`.
    pub fn openvino_options(&self, precision: Precision, cache: Option<&Path>) -> Options {
        let hardware = self.openvino_hardware();
        let mut options = Options::new();
        let device = match (hardware, self.gpu) {
            (Hardware::Gpu, number) if number > 0 => format!("GPU.{number}"),
            _ => hardware.name().to_owned(),
        };
        options.insert("device_type".into(), device);
        match hardware {
            Hardware::Cpu => {
                options.insert("num_of_threads".into(), self.cpu_threads().to_string());
                let hint = if precision == Precision::Bf16 { "bf16" } else { "f32" };
                let hint = format!("{{\"CPU\":{{\"INFERENCE_PRECISION_HINT\":\"{hint}\"}}}}");
                options.insert("load_config".into(), hint);
            }
            Hardware::Gpu | Hardware::Npu => {
                let name = if precision == Precision::Fp16 { "FP16" } else { "FP32" };
                options.insert("precision".into(), name.to_owned());
                if let Some(cache) = cache {
                    options.insert("cache_dir".into(), cache.display().to_string());
                }
            }
        }
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::plugin::ProviderConfig;

    #[test]
    fn options_follow_hardware_and_precision() {
        let text = |config: &RuntimeConfig, precision| {
            let options = config.openvino_options(precision, Some(Path::new("/cache")));
            options.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
        };
        let mut config = RuntimeConfig { threads: 3, ..RuntimeConfig::default() };
        assert_eq!(
            text(&config, Precision::Bf16),
            "device_type=CPU load_config={\"CPU\":{\"INFERENCE_PRECISION_HINT\":\"bf16\"}} num_of_threads=3"
        );
        assert!(text(&config, Precision::Fp32).contains("HINT\":\"f32\""));
        let on = |hardware| ProviderConfig { hardware: Some(hardware), ..ProviderConfig::default() };
        config.provider.insert("openvino".into(), on(Hardware::Gpu));
        assert_eq!(text(&config, Precision::Fp16), "cache_dir=/cache device_type=GPU precision=FP16");
        config.gpu = 1;
        assert!(text(&config, Precision::Fp32).contains("device_type=GPU.1 precision=FP32"));
        config.provider.insert("openvino".into(), on(Hardware::Npu));
        assert!(text(&config, Precision::Fp16).contains("device_type=NPU precision=FP16"));
        assert_eq!(precisions(Hardware::Cpu).last(), Some(&Precision::Fp32));
    }
}
