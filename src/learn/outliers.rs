//! The pictures with known outliers on them, made before features are gathered.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use image::DynamicImage;

use super::objects::{self, Object};
use super::paste::{Material, paste};
use super::progress::Progress;
use super::request::Request;
use super::work::Work;
use super::{Stopped, listed};
use crate::collect::{self, Input};
use crate::file::write_whole;
use crate::random::Random;
use crate::stop::Stop;

/// Objects are pasted into every n-th picture if the recipe names no number.
const OBJECTS_EVERY: usize = 4;

/// Pictures with scraps or objects on them and their truth, if the recipe uses outliers: images and labels below a folder.
///
/// # Errors
/// Objects or pictures that cannot be read; [`Stopped`].
pub(super) fn outliers(
    request: &Request,
    chosen: &[PathBuf],
    work: &Work,
    progress: &mut dyn Progress,
    stop: &Stop,
) -> Result<Vec<Input>> {
    let recipe = &request.recipe.1;
    if !recipe.bank.build.wants_outliers() {
        return Ok(Vec::new());
    }
    let objects: Vec<Object> = match &request.objects {
        Some(folder) => objects::cut_out(folder)?,
        None => Vec::new(),
    };
    let scraps_every = recipe.outliers.scraps_every;
    let mut wanted: Vec<(Material<'_>, &PathBuf)> = Vec::new();
    if scraps_every > 0 {
        wanted.extend(chosen.iter().step_by(scraps_every).map(|onto| (Material::Scraps(chosen), onto)));
    }
    if !objects.is_empty() {
        let every = if scraps_every > 0 { scraps_every } else { OBJECTS_EVERY };
        wanted.extend(chosen.iter().step_by(every).map(|onto| (Material::Objects(&objects), onto)));
    }
    let folders = ["images", "labels"].map(|name| work.path("outliers").join(name));
    for folder in &folders {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    progress.step("outliers", Some(wanted.len() as u64), "pictures");
    let mut pictures = Vec::new();
    for (number, (material, path)) in wanted.into_iter().enumerate() {
        if stop.asked() {
            return Err(Stopped.into());
        }
        let [picture, label] = [0, 1].map(|which| folders[which].join(format!("{number:06}.png")));
        // The label comes last: where it is, both are.
        if !label.exists() {
            let mut random = Random::of_part(recipe.bank.build.seed, &[number as u64]);
            let pasted = paste(path, material, &mut random)?;
            for (image, path) in
                [(DynamicImage::from(pasted.picture), &picture), (pasted.truth.into(), &label)]
            {
                write_whole(path, |out| {
                    let mut bytes = std::io::Cursor::new(Vec::new());
                    image.write_to(&mut bytes, image::ImageFormat::Png).map_err(std::io::Error::other)?;
                    out.write_all(bytes.get_ref())
                })?;
            }
        }
        pictures.push(picture);
        progress.done(number as u64 + 1);
    }
    let mut inputs = listed(&pictures)?;
    collect::attach_labels(&mut inputs, &folders[1])?;
    Ok(inputs)
}
