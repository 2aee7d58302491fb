//! What the search could run on here, for `farout doctor`.

use super::backend::Backend;
use super::device::NoCuda;
use crate::finding::{Finding, Standing};

/// What `farout doctor` tells about the search, on GPU number `gpu` if it is on one.
pub fn findings(gpu: usize) -> Vec<Finding> {
    let mut findings = backends();
    let (standing, detail, remedy) = match super::cuda::look(gpu) {
        Ok(device) => (Standing::Good, device, None),
        Err(why) => {
            let remedy = match why {
                NoCuda::NoDriver => "for a search on the GPU install NVIDIA's driver (libcuda.so.1)",
                NoCuda::OldDriver { .. } => "for a search on the GPU install a newer NVIDIA driver",
                _ => "see that nvidia-smi shows the GPU, and that this user may open /dev/nvidia*",
            };
            (Standing::Absent, why.to_string(), Some(remedy.to_owned()))
        }
    };
    findings.push(Finding { topic: "search", name: "cuda".to_owned(), standing, detail, remedy });
    let (standing, detail) = match super::cuda::compilers() {
        Ok(found) => (Standing::Good, found),
        Err(why) => (Standing::Absent, why.to_string()),
    };
    findings.push(Finding { topic: "search", name: "nvrtc".to_owned(), standing, detail, remedy: None });
    findings
}

/// The CPU search's backends for processors of this family, the fastest first.
fn backends() -> Vec<Finding> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let chosen = Backend::Auto.resolve();
    let here = |backend: &Backend| backend.architecture().is_none_or(|a| a == std::env::consts::ARCH);
    let finding = |backend: Backend| {
        let (standing, detail) = match backend.resolve() {
            Ok(_) if chosen == Ok(backend) => (Standing::Good, format!("chosen, {threads} threads")),
            Ok(_) => (Standing::Good, "could be used".to_owned()),
            Err(no) => (Standing::Absent, no.why.to_owned()),
        };
        Finding { topic: "search", name: backend.name().to_owned(), standing, detail, remedy: None }
    };
    Backend::ALL.into_iter().filter(here).map(finding).collect()
}
