//! Where to search, and why it is not done on CUDA.

use serde::{Deserialize, Serialize};

/// Where to search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// CUDA if there is one, else the CPU, with the reason told.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// CUDA, or an error.
    Cuda,
}

/// Why the search does not run, or does not go on, on CUDA.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoCuda {
    /// No driver library.
    #[error("no CUDA driver (libcuda) is installed")]
    NoDriver,
    /// A driver from before CUDA 12. Versions count as NVIDIA's do: 12060 is 12.6.
    #[error(
        "the CUDA driver is too old: it knows CUDA {}.{}, and {}.{} is needed; install a newer NVIDIA driver",
        found / 1000, found % 1000 / 10, oldest / 1000, oldest % 1000 / 10
    )]
    OldDriver {
        /// What the driver supports.
        found: i32,
        /// What it has to support.
        oldest: i32,
    },
    /// A driver that does not work or sees no device.
    #[error("the CUDA driver gives no device: {0}")]
    NoDevice(String),
    /// Neither ready code nor a compiler for the device.
    #[error("there is no GPU code for the device: {0}")]
    NoKernels(String),
    /// More neighbours than the kernels have room for.
    #[error("search.k is {k}, and the CUDA search finds at most {most} neighbours")]
    TooManyNeighbours {
        /// What was asked for.
        k: usize,
        /// What there is room for.
        most: usize,
    },
    /// The device's memory does not suffice.
    #[error(
        "the GPU has too little memory for {what} ({bytes} bytes wanted, {free} free); prune the bank or free memory"
    )]
    OutOfMemory {
        /// What it was for.
        what: String,
        /// Bytes asked for, 0 if unknown.
        bytes: usize,
        /// Bytes that were free.
        free: usize,
    },
    /// The device does not answer any more; it cannot be used again by this process.
    #[error("the CUDA device was lost while {what}: {why}")]
    Lost {
        /// What was under way.
        what: &'static str,
        /// What the driver said.
        why: String,
    },
    /// Another thread captures a CUDA graph, during which the driver refuses calls of all threads; a later try works.
    #[error("the CUDA device was busy with the capture of a graph while {what}: {why}")]
    Busy {
        /// What was under way.
        what: &'static str,
        /// What the driver said.
        why: String,
    },
    /// The driver refuses something else.
    #[error("CUDA fails at {what}: {why}")]
    Failed {
        /// What was tried.
        what: &'static str,
        /// What the driver said.
        why: String,
    },
}
