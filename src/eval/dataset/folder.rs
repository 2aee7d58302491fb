//! The kind `folder`: images and masks wherever they lie, told by a small TOML file.
//!
//! ```toml
//! images = "images"          # relative to this file's folder; searched with all folders below
//! masks = "labels"
//! normal = [0]
//! anomaly = [1]
//! void = [255]               # optional
//! image_suffix = "_rgb"      # optional: cut off the image's stem ...
//! mask_suffix = "_labels"    # ... and put at the end of the mask's
//! sequences = false          # optional: true if each folder of images is a video
//! fps = 10.0                 # optional: of the videos
//! ```

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::walk::{files, is_named_as_picture, name_below};
use super::{DEFAULT_FPS, Dataset, DatasetError, DatasetSpec, Kind, Sample};
use crate::eval::truth::ValueMap;

/// The file looked for if PATH is a folder.
const DESCRIPTION: &str = "dataset.toml";
/// Endings that masks go by.
const MASK_ENDINGS: [&str; 4] = ["png", "bmp", "webp", "jpg"];

/// The TOML file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    images: PathBuf,
    masks: PathBuf,
    normal: Vec<u16>,
    anomaly: Vec<u16>,
    #[serde(default)]
    void: Vec<u16>,
    #[serde(default)]
    image_suffix: String,
    #[serde(default)]
    mask_suffix: String,
    #[serde(default)]
    sequences: bool,
    fps: Option<f64>,
}

/// Reads the description at `spec.path` (or in that folder) and lists the images it names.
///
/// # Errors
/// [`DatasetError`] with file, line and key.
pub fn open(spec: &DatasetSpec) -> Result<Dataset, DatasetError> {
    let path = if spec.path.is_dir() { spec.path.join(DESCRIPTION) } else { spec.path.clone() };
    let text = std::fs::read_to_string(&path).map_err(|source| match spec.path.is_dir() {
        true => DatasetError::Layout {
            kind: Kind::Folder,
            root: spec.path.clone(),
            why: format!(" (no {DESCRIPTION} in it: {source})"),
        },
        false => DatasetError::Unreadable { path: path.clone(), source },
    })?;
    let malformed = |why: String| DatasetError::Malformed { path: path.clone(), why };
    let Description { images, masks, normal, anomaly, void, image_suffix, mask_suffix, sequences, fps } =
        toml::from_str(&text).map_err(|why| malformed(why.to_string()))?;
    let values = ValueMap { normal, anomaly, void };
    values.check().map_err(|why| DatasetError::Values { path: path.clone(), why })?;
    let fps = fps.unwrap_or(DEFAULT_FPS);
    if !(fps.is_finite() && fps > 0.0) {
        return Err(malformed(format!("fps is {fps}, give a number above 0")));
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let (images, masks) = (folder.join(images), folder.join(masks));
    let mut samples = Vec::new();
    for image in files(&images, is_named_as_picture)? {
        let below = name_below(&images, &image);
        let Some(name) = below.strip_suffix(image_suffix.as_str()) else { continue };
        let name = name.to_owned();
        let truth = MASK_ENDINGS
            .iter()
            .map(|ending| masks.join(format!("{name}{mask_suffix}.{ending}")))
            .find(|mask| mask.is_file());
        let sequence = sequences.then(|| name.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned());
        samples.push(Sample { name, image, truth, sequence });
    }
    if samples.is_empty() {
        return Err(malformed(format!("no picture NAME{image_suffix} in {}", images.display())));
    }
    Ok(Dataset { spec: spec.clone(), samples, values, fps, notes: Vec::new() })
}
