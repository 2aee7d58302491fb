//! Compiled kernels and where they come from: ready files, the cache on disk, the compiler.
//!
//! A file of code is one line of JSON that says what it is, and the code. The line holds the digest of
//! source, target, compiler and options, and that of the code: a file that was cut short, damaged or made
//! from another source is noticed and not used.

use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::super::device::NoCuda;
use super::compiler::{self, Compiler, Target};
use super::geometry::Arch;
use super::source;
use crate::digest::{digest_of, hex};
use crate::file::{self, WriteError};

/// The first line of a file of code.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Label {
    /// Version of this format.
    farout_kernels: u32,
    /// `sm_87` or `compute_90`.
    target: String,
    /// Digest of the source.
    source: String,
    compiler: String,
    options: Vec<String>,
    /// Bytes and digest of the code that follows.
    bytes: usize,
    sha256: String,
}

const FORMAT: u32 = 1;

/// Compiled kernels.
#[derive(Debug, Clone)]
pub(super) struct Code {
    pub target: Target,
    pub bytes: Vec<u8>,
    /// Where it came from, for people.
    pub origin: String,
}

fn sha256(bytes: &[u8]) -> String {
    hex(&digest_of(&[bytes]))
}

fn label(target: Target, compiler: &str, code: &[u8]) -> Label {
    Label {
        farout_kernels: FORMAT,
        target: target.name(),
        source: source::digest(),
        compiler: format!("NVRTC {compiler}"),
        options: compiler::options(target),
        bytes: code.len(),
        sha256: sha256(code),
    }
}

/// The name of a ready file for `target`.
fn ready_name(target: Target) -> String {
    format!("{}.kernels", target.name())
}

/// The name in the cache: all that the code depends on.
fn cache_name(target: Target, compiler: &str) -> String {
    let key = format!("{FORMAT}\n{}\n{compiler}\n{}", source::digest(), compiler::options(target).join("\n"));
    format!("{}-{}.kernels", target.name(), &sha256(key.as_bytes())[..32])
}

/// Reads a file of code; the error says what is wrong with it.
fn read(path: &Path, target: Target) -> Result<Vec<u8>, String> {
    let file = std::fs::read(path).map_err(|e| e.to_string())?;
    let end = file.iter().position(|b| *b == b'\n').ok_or("it is no file of farout's GPU code")?;
    let label: Label = serde_json::from_slice(&file[..end])
        .map_err(|e| format!("it is no file of farout's GPU code ({e})"))?;
    let code = &file[end + 1..];
    if label.farout_kernels != FORMAT || label.target != target.name() {
        return Err(format!("it holds code for {} in format {}", label.target, label.farout_kernels));
    }
    if label.source != source::digest() || label.options != compiler::options(target) {
        return Err("it was made by another version of farout".to_owned());
    }
    if label.bytes != code.len() || label.sha256 != sha256(code) {
        return Err("it is damaged".to_owned());
    }
    Ok(code.to_vec())
}

fn write(path: &Path, target: Target, compiler: &str, code: &[u8]) -> Result<(), WriteError> {
    file::write_whole(path, |out| {
        serde_json::to_writer(&mut *out, &label(target, compiler, code))?;
        out.write_all(b"\n")?;
        out.write_all(code)
    })
}

/// The ready code for a card in `folder`: its own, or PTX of the newest architecture that it can run.
///
/// # Errors
/// Why no file of the folder will do.
fn ready(folder: &Path, arch: Arch) -> Result<Code, String> {
    let mut older: Vec<Arch> = std::fs::read_dir(folder)
        .map_err(|e| e.to_string())?
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            name.strip_prefix("compute_")?.strip_suffix(".kernels")?.parse().ok()
        })
        .filter(|known| *known <= arch)
        .collect();
    older.sort_by(|a, b| b.cmp(a));
    let targets = std::iter::once(Target::Cubin(arch)).chain(older.into_iter().map(Target::Ptx));
    let mut faults = Vec::new();
    for target in targets {
        let path = folder.join(ready_name(target));
        match read(&path, target) {
            Ok(bytes) => return Ok(Code { target, bytes, origin: path.display().to_string() }),
            Err(_) if !path.exists() => {}
            Err(why) => faults.push(format!("{}: {why}", path.display())),
        }
    }
    match faults.is_empty() {
        true => Err(format!("{} holds no code for {arch}", folder.display())),
        false => Err(faults.join("; ")),
    }
}

/// Code for a card of architecture `arch` whose driver is for this version of CUDA: ready from `folder` if one is named and
/// holds it, else from the cache, else compiled now and put into the cache.
///
/// # Errors
/// [`NoCuda::NoKernels`] if there is neither, with all reasons.
pub(super) fn code_for(
    (arch, driver): (Arch, i32),
    folder: Option<&Path>,
    cache: Option<&Path>,
) -> Result<Code, NoCuda> {
    let mut missing = None;
    if let Some(folder) = folder {
        match ready(folder, arch) {
            Ok(code) => return Ok(code),
            Err(why) => {
                tracing::warn!(%why, "ready GPU code is not used");
                missing = Some(why);
            }
        }
    }
    let both = |error: NoCuda| match (error, &missing) {
        (NoCuda::NoKernels(why), Some(missing)) => NoCuda::NoKernels(format!("{missing}; {why}")),
        (error, _) => error,
    };
    let (compiler, target) = Compiler::for_card(arch, driver).map_err(both)?;
    let version = compiler.version();
    let cached = cache.map(|folder| folder.join("kernels").join(cache_name(target, &version)));
    if let Some(path) = &cached
        && path.exists()
    {
        match read(path, target) {
            Ok(bytes) => return Ok(Code { target, bytes, origin: path.display().to_string() }),
            Err(why) => tracing::warn!(path = %path.display(), %why, "compiling the GPU code again"),
        }
    }
    tracing::info!(target = target.name(), compiler = compiler.describe(), "compiling the GPU code");
    let bytes = compiler.compile(target).map_err(both)?.code;
    if let Some(path) = &cached {
        let kept = path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(|e| e.to_string());
        if let Err(why) = kept.and_then(|()| write(path, target, &version, &bytes).map_err(|e| e.to_string()))
        {
            tracing::warn!(%why, "the compiled GPU code cannot be kept; the next start compiles again");
        }
    }
    Ok(Code { target, bytes, origin: format!("NVRTC {version}") })
}

/// Compiles for `archs` (those of [`Arch::USUAL`] if none) into `folder`, and PTX of the newest of them;
/// calls `done` with each file written.
///
/// # Errors
/// If there is no compiler, it does not know an architecture, or a file cannot be written.
pub fn build(archs: &[Arch], folder: &Path, mut done: impl FnMut(&Path)) -> anyhow::Result<()> {
    let archs = if archs.is_empty() { &Arch::USUAL[..] } else { archs };
    let compiler = Compiler::for_all(archs)?;
    std::fs::create_dir_all(folder).map_err(|source| WriteError { path: folder.to_owned(), source })?;
    let newest = archs.iter().max().map(|arch| Target::Ptx(*arch));
    for target in archs.iter().map(|arch| Target::Cubin(*arch)).chain(newest) {
        let path = folder.join(ready_name(target));
        write(&path, target, &compiler.version(), &compiler.compile(target)?.code)?;
        done(&path);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
