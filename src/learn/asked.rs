//! What is asked for, checked before anything is made, and what its work stands for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::kept::Kept;
use super::place::{BANK, MODEL, REPORT};
use super::request::Request;
use super::work::{Plan, Work};
use super::{model, work};
use crate::collect::{self, Input};
use crate::config::{ConfigError, DetectorFile, detector_file};
use crate::model::ModelConfig;

/// Refuses a folder that holds a detector, or files of the same names.
pub(super) fn may_begin(out: &Path) -> Result<(), ConfigError> {
    if out.join(detector_file::FILE).exists() {
        // Interrupted after its last step: it is whole.
        if let Some(left) = Work::left(out).filter(|left| Work::added_to(left) == Some(None)) {
            work::remove(&left);
        }
        return Err(ConfigError::Invalid(format!(
            "{} is a detector already: use it, add footage to it with --more, or name another folder with --output",
            out.display()
        )));
    }
    let taken = [MODEL, BANK, REPORT].into_iter().map(|name| out.join(name)).find(|path| path.exists());
    match taken.filter(|_| Work::left(out).is_none()) {
        Some(path) => Err(ConfigError::Invalid(format!(
            "{} is there already and would be overwritten: name another folder",
            path.display()
        ))),
        None => Ok(()),
    }
}

/// The model that is given.
///
/// # Errors
/// [`ConfigError`]: keys of a model where none is given; anything of a model or a recipe where a detector is added to.
pub(super) fn given(request: &Request) -> Result<Option<&PathBuf>, ConfigError> {
    let given = Some(&request.config.model.path).filter(|path| !path.as_os_str().is_empty());
    let input = ModelConfig { path: PathBuf::new(), ..request.config.model.clone() };
    let why = match given {
        Some(_) if request.more => {
            "--more goes on with the detector's model: leave --model out, and model.path of the configuration"
        }
        None if request.more && input != ModelConfig::default() => {
            "--more keeps the detector's model and its input: leave --features, --input-height and keys of [model] out"
        }
        None if input != ModelConfig::default() => {
            "--features, --input-height and keys of [model] are those of a model that is given with --model; the features and \
             the height of the one that is fetched stand in the recipe, as model.features and model.height"
        }
        _ => return Ok(given),
    };
    Err(ConfigError::Invalid(why.into()))
}

/// Refuses folders that cannot be read, before hours of work.
///
/// # Errors
/// The folder, by name.
pub(super) fn check_inputs(request: &Request) -> Result<()> {
    let labels = request.labels.as_ref().map(|(folder, _)| folder);
    for (folder, what) in [(labels, "labels"), (request.objects.as_ref(), "objects")] {
        if let Some(folder) = folder {
            std::fs::read_dir(folder)
                .with_context(|| format!("cannot read the {what} in {}", folder.display()))?;
        }
    }
    Ok(())
}

/// Refuses what would not go together with the footage of the detector `before`, before hours of work.
///
/// # Errors
/// Neighbours, label values or scores that differ, by key.
pub(super) fn check_addition(
    request: &Request,
    before: &DetectorFile,
    kept: &Kept,
) -> Result<(), ConfigError> {
    let refuse = |why: String| Err(ConfigError::Invalid(why));
    let (has, file) = (before.search.k, detector_file::FILE);
    if let Some(asked) = request.k.filter(|asked| *asked != has) {
        return refuse(format!(
            "search.k is {asked}, and the detector has {has}: take it out of the configuration"
        ));
    }
    let learnt = &kept.recipe.1.score;
    if before.score.recipe() != learnt.recipe() {
        return refuse(format!(
            "{file} has other values of partner, normalise, smooth or hysteresis in [score] than its footage was calibrated with: set \
             them back, or learn anew from all footage"
        ));
    }
    let Some(first) = kept.sets.first() else { return Ok(()) };
    if first.k != has {
        return refuse(format!(
            "{file} has search.k = {has}, and its footage was calibrated with {}: set it back, or learn anew from all footage",
            first.k
        ));
    }
    let void = request.labels.as_ref().map(|(_, void)| void);
    if void != first.void.as_ref() {
        let told = |void: Option<&Vec<u8>>| match void {
            Some(void) => format!("labels with the void values {void:?}"),
            None => "no labels".to_owned(),
        };
        return refuse(format!(
            "the detector was learnt with {}, and this footage has {}: both must be alike",
            told(first.void.as_ref()),
            told(void)
        ));
    }
    Ok(())
}

/// The files of the footage, each once: none that lies in the detector's own folder (a glob may reach into it), none that was
/// learnt from before; and the same with their sizes.
///
/// # Errors
/// What cannot be read; a name that is not UTF-8; nothing new.
pub(super) fn footage(request: &Request, kept: &Kept) -> Result<(Vec<Input>, work::Footage)> {
    let own = std::fs::canonicalize(&request.output).ok();
    let (mut seen, mut inputs, mut files, mut known) = (BTreeSet::new(), Vec::new(), Vec::new(), 0);
    let before = kept.files();
    for input in collect::list(&request.footage)? {
        if input.path.to_str().is_none() {
            bail!("the name of {} is not UTF-8: rename it", input.path.display());
        }
        let named = || input.path.display().to_string();
        let real = std::fs::canonicalize(&input.path).with_context(named)?;
        let size = std::fs::metadata(&input.path).with_context(named)?.len();
        let is_own = own.as_ref().is_some_and(|own| real.starts_with(own));
        let file = (real.clone(), size);
        if is_own || !seen.insert(real) {
            continue;
        }
        if before.contains(&file) {
            known += 1;
            continue;
        }
        inputs.push(input);
        files.push(file);
    }
    if known > 0 {
        tracing::info!("{known} files were learnt from before and are left out");
        if inputs.is_empty() {
            bail!("{} has learnt from all of this footage already", request.output.display());
        }
    }
    Ok((inputs, files))
}

/// What the work folder stands for.
pub(super) fn plan(
    request: &Request,
    footage: work::Footage,
    (given, added_to): (Option<&PathBuf>, Option<String>),
) -> Result<Plan> {
    let absolute = |path: &PathBuf| std::path::absolute(path);
    Ok(Plan {
        farout: env!("CARGO_PKG_VERSION").into(),
        footage,
        labels: request
            .labels
            .as_ref()
            .map(|(folder, void)| Ok::<_, std::io::Error>((absolute(folder)?, void.clone())))
            .transpose()?,
        objects: request.objects.as_ref().map(absolute).transpose()?,
        added_to,
        pictures: request.pictures,
        recipe: toml::to_string(&request.recipe.1)?,
        model: given.map(|path| model::digest_of_all(path)).transpose()?,
        input: toml::to_string(&ModelConfig { path: PathBuf::new(), ..request.config.model.clone() })?,
        k: request.k.unwrap_or(request.config.search.k),
    })
}
