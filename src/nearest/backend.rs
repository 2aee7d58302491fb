//! The CPU search's backends: which there are, which this machine has, which is chosen.

use serde::{Deserialize, Serialize};

use super::kernel::{self, Kernel};

/// A backend of the CPU search. All give exact results; they differ in speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Backend {
    /// The fastest that this machine has.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// x86-64 with AMX-INT8 (Sapphire Rapids and newer).
    #[serde(rename = "x86_64-amx-int8")]
    AmxInt8,
    /// x86-64 with AVX-512 VNNI (Ice Lake, Zen 4 and newer).
    #[serde(rename = "x86_64-avx512-vnni")]
    Avx512Vnni,
    /// x86-64 with AVX2 and the VNNI of AVX (Alder Lake, Zen 5 and newer).
    #[serde(rename = "x86_64-avx-vnni")]
    AvxVnni,
    /// x86-64 with AVX2, FMA and F16C.
    #[serde(rename = "x86_64-avx2")]
    Avx2,
    /// AArch64 with the dot product instructions (Jetson Orin; optional before Armv8.4).
    #[serde(rename = "aarch64-neon-dotprod")]
    NeonDotprod,
    /// Every processor.
    #[serde(rename = "portable")]
    Portable,
}

/// Why a backend cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("search.backend is \"{}\", but {why}; set it to \"auto\"", backend.name())]
pub struct NoBackend {
    /// The backend.
    pub backend: Backend,
    /// What is missing.
    pub why: &'static str,
}

impl Backend {
    /// All but `Auto`, the fastest first.
    pub const ALL: [Backend; 6] = [
        Backend::AmxInt8,
        Backend::Avx512Vnni,
        Backend::AvxVnni,
        Backend::Avx2,
        Backend::NeonDotprod,
        Backend::Portable,
    ];

    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Auto => "auto",
            Backend::AmxInt8 => "x86_64-amx-int8",
            Backend::Avx512Vnni => "x86_64-avx512-vnni",
            Backend::AvxVnni => "x86_64-avx-vnni",
            Backend::Avx2 => "x86_64-avx2",
            Backend::NeonDotprod => "aarch64-neon-dotprod",
            Backend::Portable => "portable",
        }
    }

    /// The processor family it is for; `None` for all.
    pub(super) fn architecture(self) -> Option<&'static str> {
        self.name().split_once('-').map(|(architecture, _)| architecture)
    }

    /// `Auto` becomes the fastest backend of this machine.
    ///
    /// # Errors
    /// If this machine does not have the one that was named.
    pub fn resolve(self) -> Result<Backend, NoBackend> {
        match self {
            Backend::Auto => {
                Ok(Backend::ALL.into_iter().find(|b| b.kernel().is_ok()).unwrap_or(Backend::Portable))
            }
            named => named.kernel().map(|_| named),
        }
    }

    /// The inner loops, if this machine can run them.
    pub(super) fn kernel(self) -> Result<&'static Kernel, NoBackend> {
        let found = match self {
            Backend::Auto => return self.resolve()?.kernel(),
            Backend::Portable => Ok(&kernel::PORTABLE),
            named => special(named),
        };
        found.map_err(|why| NoBackend { backend: self, why })
    }
}

#[cfg(target_arch = "x86_64")]
fn special(backend: Backend) -> Result<&'static Kernel, &'static str> {
    use std::arch::is_x86_feature_detected as has;
    let avx2 = has!("avx2") && has!("fma") && has!("f16c");
    let avx512 = avx2
        && has!("avx512f")
        && has!("avx512bw")
        && has!("avx512dq")
        && has!("avx512vl")
        && has!("avx512vnni");
    match backend {
        Backend::AmxInt8 if !avx512 => Err("this processor has no AVX-512 VNNI"),
        Backend::AmxInt8 => kernel::may_use_amx().map(|()| &kernel::AMX),
        Backend::Avx512Vnni if avx512 => Ok(&kernel::AVX512_VNNI),
        Backend::Avx512Vnni => Err("this processor has no AVX-512 VNNI"),
        Backend::AvxVnni if avx2 && has!("avxvnni") => Ok(&kernel::AVX_VNNI),
        Backend::AvxVnni => Err("this processor has no AVX-VNNI"),
        Backend::Avx2 if avx2 => Ok(&kernel::AVX2),
        Backend::Avx2 => Err("this processor has no AVX2"),
        _ => Err("not available on this CPU"),
    }
}

#[cfg(target_arch = "aarch64")]
fn special(backend: Backend) -> Result<&'static Kernel, &'static str> {
    match backend {
        Backend::NeonDotprod if std::arch::is_aarch64_feature_detected!("dotprod") => {
            Ok(&kernel::NEON_DOTPROD)
        }
        Backend::NeonDotprod => Err("this processor has no dot product instructions"),
        _ => Err("not available on this CPU"),
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn special(_: Backend) -> Result<&'static Kernel, &'static str> {
    Err("not available on this CPU")
}
