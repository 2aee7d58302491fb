//! The detector's model: the one that is given, or that of the recipe, fetched and prepared for the shape of the footage.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::progress::Progress;
use super::recipe::RecipeModel;
use super::{Stopped, picture};
use crate::digest::{hex, sha256_of_file};
use crate::features::RuntimeConfig;
use crate::file::write_whole;
use crate::model::{InputSize, read};
use crate::prepare::{self, Fetch, MEGABYTE};
use crate::stop::Stop;

/// Pictures whose shape is looked at.
const LOOKED_AT: usize = 15;

/// Brings the recipe's model to `path`, its input as high as the recipe says and shaped like most of `pictures`.
///
/// # Errors
/// As [`prepare::fetch`]; a picture that cannot be read; [`Stopped`].
pub fn fetched(
    recipe: &RecipeModel,
    pictures: &[PathBuf],
    path: &Path,
    runtime: &RuntimeConfig,
    progress: &mut dyn Progress,
    stop: &Stop,
) -> Result<()> {
    let known = prepare::known(&recipe.name)?;
    let mut shapes = Vec::new();
    for picture in pictures.iter().step_by(pictures.len().div_ceil(LOOKED_AT).max(1)) {
        let (width, height) = picture::read(picture)?.dimensions();
        shapes.push(f64::from(width) / f64::from(height.max(1)));
    }
    shapes.sort_by(f64::total_cmp);
    let shape = shapes.get(shapes.len() / 2).copied().context("no picture to learn from")?;
    let fetch = Fetch {
        cache: prepare::cache()?,
        from: None,
        features: recipe.features.clone(),
        size: size_of(shape, recipe.height, known.multiple),
        output: Some(path.to_owned()),
    };
    let mut begun = false;
    let prepared = prepare::fetch(known, &fetch, runtime, &mut |there, of| {
        if !std::mem::replace(&mut begun, true) {
            progress.step("fetching the model", of.map(|of| of / MEGABYTE), "MB");
        }
        progress.done(there / MEGABYTE);
        !stop.asked()
    });
    if stop.asked() {
        return Err(Stopped.into());
    }
    let prepared = prepared?;
    tracing::info!(model = recipe.name, input = %prepared.size, "the recipe's model");
    Ok(())
}

/// The size nearest to `height`, and to width over height of `shape`, whose sides are multiples of `multiple`.
fn size_of(shape: f64, height: usize, multiple: usize) -> InputSize {
    let near = |length: f64| ((length / multiple as f64).round() as usize).max(1) * multiple;
    let height = near(height as f64);
    InputSize { width: near(height as f64 * shape), height }
}

/// Copies the file that is given; weights that lie beside it are taken in, so that the detector is whole.
///
/// # Errors
/// If it cannot be read or written, or is no model.
pub fn copied(from: &Path, to: &Path) -> Result<()> {
    if let Some(bytes) = read::in_one_file(from)? {
        write_whole(to, |out| out.write_all(&bytes))?;
        return Ok(());
    }
    let mut file =
        std::fs::File::open(from).with_context(|| format!("cannot read the model {}", from.display()))?;
    write_whole(to, |out| {
        std::io::copy(&mut file, out)?;
        out.flush()
    })?;
    Ok(())
}

/// SHA-256 of a file.
///
/// # Errors
/// If it cannot be read.
pub fn digest(path: &Path) -> Result<String> {
    let found = sha256_of_file(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(hex(&found))
}

/// The same of a model, with the weights that lie beside it.
///
/// # Errors
/// If it or they cannot be read, or are no model.
pub fn digest_of_all(path: &Path) -> Result<String> {
    Ok(read::read(path)?.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_input_has_the_shape_of_the_footage() {
        for (shape, want) in
            [(16.0 / 9.0, "644x364"), (4.0 / 3.0, "490x364"), (2.0, "728x364"), (1e-9, "14x364")]
        {
            assert_eq!(size_of(shape, 364, 14).to_string(), want);
        }
        assert_eq!(size_of(1.0, 370, 14).to_string(), "364x364");
    }
}
