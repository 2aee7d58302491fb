//! Masks that say which pixels are judged: one for all pictures, or one for each.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::collect::{LabelMask, label_stems};
use crate::digest::{digest_of, hex};
use crate::eval::dataset::{Dataset, Sample};
use crate::eval::truth::{Truth, VOID};

/// Endings that masks go by.
const ENDINGS: [&str; 3] = ["png", "bmp", "webp"];

/// The masks of a region.
#[derive(Debug)]
pub(super) struct Masks {
    /// By image name; none if one mask is that of all.
    of_image: HashMap<String, PathBuf>,
    /// That one, and where it lies.
    of_all: Option<(PathBuf, LabelMask)>,
    sha256: String,
}

impl Masks {
    /// The mask in the file `path`, or those in that folder for the images of `dataset` that have a truth: of the image's
    /// name or stem, or such a stem with what labels have at its end.
    pub fn open(path: &Path, dataset: &Dataset) -> Result<Masks> {
        if path.is_file() {
            let mask = LabelMask::read(path)?;
            if mask.values.iter().all(|value| *value == 0) {
                bail!("all of its pixels are 0: nothing would be judged");
            }
            let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            let sha256 = hex(&digest_of(&[&bytes]));
            return Ok(Masks { of_image: HashMap::new(), of_all: Some((path.to_owned(), mask)), sha256 });
        }
        if !path.is_dir() {
            bail!(
                "there is no such mask and no such folder; other regions are all, road, below-horizon[:SHARE]"
            );
        }
        let (mut of_image, mut missing, mut digests) = (HashMap::new(), Vec::new(), Vec::new());
        for sample in dataset.samples.iter().filter(|sample| sample.truth.is_some()) {
            match find(path, sample) {
                Some(mask) => {
                    let bytes =
                        std::fs::read(&mask).with_context(|| format!("cannot read {}", mask.display()))?;
                    digests.extend(digest_of(&[sample.name.as_bytes(), &[0], &bytes]));
                    of_image.insert(sample.name.clone(), mask);
                }
                None => missing.push(sample.name.as_str()),
            }
        }
        if !missing.is_empty() {
            bail!(
                "{} of {} images have no mask in it (same stem, or stem + _mask, _labels ...; png, bmp or lossless webp), such \
                 as {}",
                missing.len(),
                missing.len() + of_image.len(),
                missing[..missing.len().min(3)].join(", ")
            );
        }
        Ok(Masks { of_image, of_all: None, sha256: hex(&digest_of(&[&digests])) })
    }

    /// SHA-256 over all of them.
    pub fn sha256(&self) -> String {
        self.sha256.clone()
    }

    /// Makes void what is zero in the mask of `sample`, brought to the truth's size by nearest neighbours.
    pub fn apply(&self, truth: &mut Truth, sample: &Sample) -> Result<()> {
        let own;
        let (path, mask) = match &self.of_all {
            Some((path, mask)) => (path, mask),
            None => {
                let path = self.of_image.get(&sample.name).context("its mask of the region is missing")?;
                own = LabelMask::read(path)?;
                (path, &own)
            }
        };
        let size = (truth.width, truth.height);
        if !mask.fits(size) {
            bail!(
                "the mask {} of the region has {}x{} pixels, the truth {}x{}, which is another shape",
                path.display(),
                mask.width,
                mask.height,
                size.0,
                size.1
            );
        }
        for (y, row) in truth.labels.chunks_exact_mut(size.0.max(1)).enumerate() {
            let line = &mask.values[(2 * y + 1) * mask.height / (2 * size.1) * mask.width..][..mask.width];
            for (x, label) in row.iter_mut().enumerate() {
                if line[(2 * x + 1) * mask.width / (2 * size.0)] == 0 {
                    *label = VOID;
                }
            }
        }
        Ok(())
    }
}

/// The mask of a picture below `folder`: in the folders that its name has, or without them.
fn find(folder: &Path, sample: &Sample) -> Option<PathBuf> {
    let (below, name) = sample.name.rsplit_once('/').unwrap_or(("", &sample.name));
    let stem = sample.image.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let stems: Vec<String> = label_stems(name).chain(label_stems(&stem)).collect();
    [folder.join(below), folder.to_owned()].into_iter().find_map(|folder| {
        let files = stems.iter().flat_map(|stem| ENDINGS.map(|ending| format!("{stem}.{ending}")));
        files.map(|file| folder.join(file)).find(|file| file.is_file())
    })
}
