//! `farout kernels build`: compiled GPU code as files, for machines without the compiler.

use anyhow::Result;

use super::answer::{print, print_json};
use super::progress;
use crate::cli::KernelsArgs;
use crate::nearest::cuda;

/// Compiles and writes a file per architecture, and one that newer GPUs' drivers translate.
///
/// # Errors
/// Without NVRTC, for an architecture that it does not know, or if a file cannot be written.
pub fn build(args: &KernelsArgs) -> Result<()> {
    let bar = progress::bar(None, "files");
    let mut written = Vec::new();
    cuda::build(&args.arch, &args.output, |path| {
        bar.inc(1);
        written.push(path.display().to_string());
    })?;
    bar.finish_and_clear();
    match args.json {
        true => print_json(&serde_json::json!({ "written": written })),
        false => print(written.iter().map(|path| format!("{path}\n")).collect::<String>()),
    }
}
