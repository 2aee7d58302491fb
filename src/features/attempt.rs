//! What a session may run on, best first, and the options that ONNX Runtime is given for it.

use std::path::Path;

use super::config::RuntimeConfig;
use super::device::{Device, Options, Precision, Provider};
use super::openvino;

/// One way to run a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// Execution provider.
    pub provider: Provider,
    /// Number format of its products.
    pub precision: Precision,
}

impl std::fmt::Display for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.provider {
            Provider::Cpu | Provider::PlugIn(_) => write!(f, "{}", self.provider),
            Provider::Cuda | Provider::TensorRt | Provider::OpenVino => {
                write!(f, "{} ({})", self.provider, self.precision)
            }
        }
    }
}

/// What a session on a GPU shares with the search, as ONNX Runtime is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnStream {
    /// Address of the stream.
    pub stream: usize,
    /// Whether its work is captured as a CUDA graph.
    pub graph: bool,
}

impl OnStream {
    fn options(self) -> [(String, String); 2] {
        [
            ("has_user_compute_stream".into(), flag(true)),
            ("user_compute_stream".into(), self.stream.to_string()),
        ]
    }
}

impl RuntimeConfig {
    /// All ways to try, best first.
    pub fn attempts(&self) -> Vec<Attempt> {
        let providers = match &self.device {
            Device::Auto => &self.providers[..],
            Device::Only(provider) => std::slice::from_ref(provider),
        };
        providers
            .iter()
            .flat_map(|&provider| {
                let at_all: &[Precision] = match provider {
                    // A plug-in is told its precision by its options, if at all.
                    _ if self.plugin(provider).is_some() => &[Precision::Fp32],
                    Provider::TensorRt => &[Precision::Fp16, Precision::Fp32],
                    Provider::Cuda => &[Precision::Tf32, Precision::Fp32],
                    Provider::OpenVino => openvino::precisions(self.openvino_hardware()),
                    Provider::Cpu | Provider::PlugIn(_) => &[Precision::Fp32],
                };
                let allowed = |precision: &&Precision| **precision >= self.precision;
                // Where it has nothing as exact, its best is compared like all others.
                let best = at_all.last().filter(|best| !allowed(best));
                let all = at_all.iter().filter(allowed).chain(best);
                all.map(move |&precision| Attempt { provider, precision }).collect::<Vec<_>>()
            })
            .collect()
    }

    /// Options of the CUDA provider.
    pub fn cuda_options(&self, precision: Precision, on: Option<OnStream>) -> Options {
        let mut options = Options::from([
            ("device_id".into(), self.gpu.to_string()),
            ("use_tf32".into(), flag(precision != Precision::Fp32)),
            // The exhaustive search may choose otherwise at every start.
            ("cudnn_conv_algo_search".into(), "HEURISTIC".to_owned()),
            ("arena_extend_strategy".into(), "kSameAsRequested".to_owned()),
        ]);
        if self.gpu_memory_mb > 0 {
            options.insert("gpu_mem_limit".into(), bytes(self.gpu_memory_mb));
        }
        if let Some(on) = on {
            options.extend(on.options());
            if on.graph {
                options.insert("enable_cuda_graph".into(), flag(true));
            }
        }
        options
    }

    /// Options of the TensorRT provider; engines and timings are kept in `engines`.
    pub fn tensorrt_options(
        &self,
        precision: Precision,
        engines: Option<&Path>,
        on: Option<OnStream>,
    ) -> Options {
        let half = precision == Precision::Fp16;
        let mut options = Options::from([
            ("device_id".into(), self.gpu.to_string()),
            ("trt_fp16_enable".into(), flag(half)),
            // Sums over thousands of squares overflow in half precision.
            ("trt_layer_norm_fp32_fallback".into(), flag(half)),
        ]);
        if self.tensorrt_workspace_mb > 0 {
            options.insert("trt_max_workspace_size".into(), bytes(self.tensorrt_workspace_mb));
        }
        if let Some(folder) = engines {
            let folder = folder.display().to_string();
            options.extend([
                ("trt_engine_cache_enable".into(), flag(true)),
                ("trt_engine_cache_path".into(), folder.clone()),
                ("trt_engine_cache_prefix".into(), "farout".to_owned()),
                ("trt_timing_cache_enable".into(), flag(true)),
                ("trt_timing_cache_path".into(), folder),
            ]);
        }
        if let Some(on) = on {
            options.extend(on.options());
            if on.graph {
                options.insert("trt_cuda_graph_enable".into(), flag(true));
            }
        }
        options
    }
}

fn flag(on: bool) -> String {
    u8::from(on).to_string()
}

fn bytes(mb: usize) -> String {
    mb.saturating_mul(1 << 20).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lower_precisions_come_first_and_higher_ones_after_them() {
        let named = |config: &RuntimeConfig| {
            config.attempts().iter().map(Attempt::to_string).collect::<Vec<_>>().join(", ")
        };
        let mut config = RuntimeConfig::default();
        let all = "tensorrt (fp16), tensorrt (fp32), cuda (tf32), cuda (fp32), openvino (fp32), cpu";
        assert_eq!(named(&config), all);
        config.precision = Precision::Tf32;
        assert_eq!(named(&config), "tensorrt (fp32), cuda (tf32), cuda (fp32), openvino (fp32), cpu");
        config.precision = Precision::Fp32;
        assert_eq!(named(&config), "tensorrt (fp32), cuda (fp32), openvino (fp32), cpu");
        config.device = Device::Only(Provider::Cuda);
        config.precision = Precision::Fp16;
        assert_eq!(named(&config), "cuda (tf32), cuda (fp32)");
        config.device = Device::CPU;
        assert_eq!(named(&config), "cpu");
    }

    #[test]
    fn options_have_the_names_and_values_that_onnx_runtime_reads() {
        let config = RuntimeConfig {
            gpu: 1,
            gpu_memory_mb: 2048,
            tensorrt_workspace_mb: 512,
            ..RuntimeConfig::default()
        };
        let text = |options: Options| {
            options.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            text(config.cuda_options(Precision::Tf32, None)),
            "arena_extend_strategy=kSameAsRequested cudnn_conv_algo_search=HEURISTIC device_id=1 \
             gpu_mem_limit=2147483648 use_tf32=1"
        );
        assert!(text(config.cuda_options(Precision::Fp32, None)).contains("use_tf32=0"));
        assert_eq!(
            text(config.tensorrt_options(Precision::Fp16, Some(Path::new("/cache/k")), None)),
            "device_id=1 trt_engine_cache_enable=1 trt_engine_cache_path=/cache/k trt_engine_cache_prefix=farout \
             trt_fp16_enable=1 trt_layer_norm_fp32_fallback=1 trt_max_workspace_size=536870912 \
             trt_timing_cache_enable=1 trt_timing_cache_path=/cache/k"
        );
        let bare = text(RuntimeConfig::default().tensorrt_options(Precision::Fp32, None, None));
        assert_eq!(bare, "device_id=0 trt_fp16_enable=0 trt_layer_norm_fp32_fallback=0");
        let on = |graph| Some(OnStream { stream: 0x7f00_1234, graph });
        let config = RuntimeConfig::default();
        assert_eq!(
            text(config.cuda_options(Precision::Fp32, on(false))),
            "arena_extend_strategy=kSameAsRequested cudnn_conv_algo_search=HEURISTIC device_id=0 \
             has_user_compute_stream=1 use_tf32=0 user_compute_stream=2130711092"
        );
        assert!(text(config.cuda_options(Precision::Fp32, on(true))).contains(" enable_cuda_graph=1 "));
        assert_eq!(
            text(config.tensorrt_options(Precision::Fp32, None, on(true))),
            "device_id=0 has_user_compute_stream=1 trt_cuda_graph_enable=1 trt_fp16_enable=0 \
             trt_layer_norm_fp32_fallback=0 user_compute_stream=2130711092"
        );
        assert!(!text(config.tensorrt_options(Precision::Fp32, None, on(false))).contains("graph"));
    }
}
