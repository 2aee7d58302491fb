//! `farout kernels ...`: subcommands and flags.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `farout kernels ...`
#[derive(Debug, Subcommand)]
pub enum KernelsCommand {
    /// Compile the kernels of the search for GPU architectures; needs NVRTC, but no GPU
    Build(KernelsArgs),
}

/// `farout kernels build`
#[derive(Debug, Clone, Args)]
pub struct KernelsArgs {
    /// Architecture, e.g. sm_87 (Jetson Orin); may be repeated. Default: sm_75, 80, 86, 87, 89 and 90
    #[arg(long, value_name = "ARCH")]
    pub arch: Vec<crate::nearest::cuda::Arch>,
    /// Folder to write to; search.kernels names it where the code is used
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// Report in JSON
    #[arg(long)]
    pub json: bool,
}
