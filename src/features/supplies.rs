//! The libraries that a provider of ONNX Runtime needs: CUDA's, cuDNN, TensorRT, OpenVINO. Where the system's loader does not
//! find them they are loaded from its own folder or the Python environments at hand, before ONNX Runtime loads the provider.

use std::path::{Path, PathBuf};

use super::device::Provider;
use super::runtime::Runtime;
use crate::library::{At, Need, supply, supply_names, wheel_folders};

/// What a provider needs, loaded as far as it is anywhere.
#[derive(Debug, Default)]
pub(super) struct Supplies {
    /// Without any of these it does not load.
    needs: Vec<Need>,
    /// What it opens only when a model wants it.
    later: Vec<Need>,
}

/// What `provider` needs and where that is; nothing where the library has no file of it.
pub(super) fn of(runtime: &Runtime, provider: Provider) -> Supplies {
    let name = match provider {
        Provider::Cpu | Provider::PlugIn(_) => return Supplies::default(),
        Provider::OpenVino => "libonnxruntime_providers_openvino.so",
        Provider::Cuda => "libonnxruntime_providers_cuda.so",
        Provider::TensorRt => "libonnxruntime_providers_tensorrt.so",
    };
    let file = runtime.path.with_file_name(name);
    if file.is_file() { of_file(&file, &wheel_folders()) } else { Supplies::default() }
}

fn of_file(file: &Path, folders: &[PathBuf]) -> Supplies {
    // SAFETY: ONNX Runtime loads the same libraries next.
    let needs = unsafe { supply(file, folders) }.unwrap_or_else(|why| {
        tracing::warn!(%why, "what an execution provider needs cannot be told");
        Vec::new()
    });
    let known = |name: &String| needs.iter().all(|need| need.name != *name);
    let later: Vec<String> = opened_later(&needs).into_iter().filter(known).collect();
    // SAFETY: as above.
    let later = unsafe { supply_names(later, folders) };
    Supplies { needs, later }
}

/// What newer CUDA providers open by name when it is wanted, of the generation that they are built for.
fn opened_later(needs: &[Need]) -> Vec<String> {
    let generation =
        needs.iter().find_map(|need| need.name.strip_prefix("libcudart.so.")?.parse::<u32>().ok());
    match generation {
        // cuFFT counts one less than CUDA: 11 in CUDA 12.
        Some(cuda @ 12..) => {
            vec![
                "libcudnn.so.9".to_owned(),
                format!("libcufft.so.{}", cuda - 1),
                format!("libnvrtc.so.{cuda}"),
            ]
        }
        _ => Vec::new(),
    }
}

impl Supplies {
    /// What is nowhere, as the reason why a provider does not load; nothing if all is there.
    pub(super) fn missing(&self) -> Option<String> {
        listed(&self.needs, |at| matches!(at, At::Nowhere(_)))
    }

    /// The files that did not come from the system's loader, and what is nowhere and may be wanted later; for people.
    pub(super) fn notes(&self) -> String {
        let is_file = |at: &At| matches!(at, At::File(_));
        let files: Vec<String> =
            [&self.needs, &self.later].into_iter().filter_map(|needs| listed(needs, is_file)).collect();
        let with = if files.is_empty() { String::new() } else { format!(", with {}", files.join(", ")) };
        match listed(&self.later, |at| matches!(at, At::Nowhere(_))) {
            Some(missing) => format!("{with}; there is {missing}, which some models need"),
            None => with,
        }
    }

    /// The name under which it needs a library whose name begins with `stem`, e.g. `libnvinfer.so.10`.
    fn name_of(&self, stem: &str) -> Option<String> {
        self.needs.iter().map(|need| &need.name).find(|name| name.starts_with(stem)).cloned()
    }
}

fn listed(needs: &[Need], is: impl Fn(&At) -> bool) -> Option<String> {
    let some: Vec<String> = needs.iter().filter(|need| is(&need.at)).map(Need::to_string).collect();
    (!some.is_empty()).then(|| some.join(", "))
}

/// The name under which the providers of this library need one whose name begins with `stem`.
pub(super) fn name_of(runtime: &Runtime, stem: &str) -> Option<String> {
    [Provider::TensorRt, Provider::Cuda].into_iter().find_map(|provider| of(runtime, provider).name_of(stem))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(name: &str, at: At) -> Need {
        Need { name: name.to_owned(), at }
    }

    #[test]
    fn what_is_missing_is_told_apart_from_what_was_brought() {
        let needs = vec![
            need("libc.so.6", At::Loader),
            need("libcudart.so.13", At::File("/env/nvidia/cu13/lib/libcudart.so.13".into())),
            need("libnvinfer.so.10", At::Nowhere(String::new())),
            need("libcublas.so.13", At::Nowhere("it is damaged".to_owned())),
        ];
        let later = vec![
            need("libcufft.so.12", At::File("/env/nvidia/cu13/lib/libcufft.so.12".into())),
            need("libcudnn.so.9", At::Nowhere(String::new())),
        ];
        let all = Supplies { needs, later };
        assert_eq!(all.missing().unwrap(), "no libnvinfer.so.10, no libcublas.so.13 (it is damaged)");
        assert_eq!(
            all.notes(),
            ", with /env/nvidia/cu13/lib/libcudart.so.13, /env/nvidia/cu13/lib/libcufft.so.12; \
             there is no libcudnn.so.9, which some models need"
        );
        assert_eq!(all.name_of("libnvinfer.so").unwrap(), "libnvinfer.so.10");
        let none = Supplies::default();
        assert_eq!((none.missing(), none.notes().as_str(), none.name_of("libc")), (None, "", None));
    }

    #[test]
    fn what_is_opened_later_is_of_the_same_generation() {
        let of =
            |name: &str| opened_later(&[need("libdl.so.2", At::Loader), need(name, At::Loader)]).join(" ");
        assert_eq!(of("libcudart.so.12"), "libcudnn.so.9 libcufft.so.11 libnvrtc.so.12");
        assert_eq!(of("libcudart.so.13"), "libcudnn.so.9 libcufft.so.12 libnvrtc.so.13");
        assert_eq!((of("libcudart.so.11.0"), of("libcudart.so.11")), (String::new(), String::new()));
    }
}
