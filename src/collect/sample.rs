//! The sample: of all patches the N with the smallest hash, in memory bounded by N.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::digest::hash;
use crate::bank::{DataType, Origin, PictureMeans, RowsBuf, SourceFile, Thumbnail, Thumbnails};
use crate::digest::{Digest, hex};

/// What a patch is drawn by. Its hash is the first 16 bytes of SHA-256 over seed (8 bytes), image
/// SHA-256 (32), row (4) and column (4), numbers little-endian; of equal hashes the rest decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PatchKey {
    hash: u128,
    image: Digest,
    row: u32,
    col: u32,
}

impl PatchKey {
    /// The key of the patch at `row` and `col` of the image with digest `image`.
    pub fn new(seed: u64, image: &Digest, row: u32, col: u32) -> Self {
        let hash = hash(&[&seed.to_le_bytes(), image, &row.to_le_bytes(), &col.to_le_bytes()]);
        PatchKey { hash, image: *image, row, col }
    }
}

/// An image that has patches in the sample.
#[derive(Debug, Clone)]
struct Image {
    file: Digest,
    name: String,
    frame: u32,
    patches: usize,
    /// Its mean feature; empty if nobody wants it.
    mean: Vec<f32>,
    thumbnail: Option<Thumbnail>,
}

/// A patch that may enter the sample.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// What it is drawn by.
    pub key: PatchKey,
    /// Digest of the file.
    pub file: &'a Digest,
    /// Name of the file.
    pub name: &'a str,
    /// Which frame of the file it is of, 0 for stills.
    pub frame: u32,
    /// Finite numbers, as many as the sample's features have.
    pub feature: &'a [f32],
    /// Its class. All patches have one, or none has.
    pub class: Option<u16>,
    /// The mean feature of its picture. All patches have one, or none has.
    pub mean: Option<&'a [f32]>,
    /// A small picture of its picture, if somebody wants it.
    pub thumbnail: Option<&'a Thumbnail>,
}

/// A finished sample: rows by rising key.
#[derive(Debug)]
pub struct Sample {
    /// The features.
    pub features: RowsBuf,
    /// Where each came from.
    pub origins: Vec<Origin>,
    /// The files that the origins name by number.
    pub sources: Vec<SourceFile>,
    /// Which of these are videos, ascending.
    pub videos: Vec<u32>,
    /// The class of each feature; empty if none was given.
    pub classes: Vec<u16>,
    /// The mean features of the images; `None` if none was given.
    pub means: Option<PictureMeans>,
    /// Small pictures of the images that were offered with one.
    pub thumbnails: Thumbnails,
}

/// Keeps the N patches with the smallest keys of all that are offered. A patch offered twice
/// (an image given under two names) counts once, under the name that sorts first.
#[derive(Debug)]
pub struct Sampler {
    size: usize,
    width: usize,
    /// Key -> row of `rows`.
    kept: BTreeMap<PatchKey, usize>,
    rows: RowsBuf,
    /// As `rows`; empty while no class is given.
    classes: Vec<u16>,
    images: HashMap<Digest, Image>,
}

impl Sampler {
    /// A sample of `size` features of `width` numbers.
    pub fn new(size: usize, width: usize, data_type: DataType) -> Self {
        let rows = RowsBuf::new(data_type);
        Sampler { size, width, kept: BTreeMap::new(), rows, classes: Vec::new(), images: HashMap::new() }
    }

    /// Number of patches held.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// True before the first patch.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Offers a patch.
    pub fn offer(&mut self, offer: &Offer) {
        let Offer { key, file, name, frame, feature, class, mean, thumbnail } = *offer;
        debug_assert_eq!(feature.len(), self.width);
        if let Some(image) = self.images.get_mut(&key.image)
            && name < image.name.as_str()
        {
            image.name = name.to_owned();
        }
        if self.size == 0 || self.kept.contains_key(&key) {
            return;
        }
        let mut slot = self.kept.len();
        if slot >= self.size {
            match self.kept.last_entry() {
                Some(last) if key < *last.key() => {
                    let (out, freed) = last.remove_entry();
                    slot = freed;
                    self.forget(&out.image);
                }
                _ => return,
            }
        }
        self.kept.insert(key, slot);
        self.rows.set(slot, feature);
        if let Some(class) = class {
            self.classes.resize(self.classes.len().max(slot + 1), 0);
            self.classes[slot] = class;
        }
        let new = || Image {
            file: *file,
            name: name.to_owned(),
            frame,
            patches: 0,
            mean: mean.map(<[f32]>::to_vec).unwrap_or_default(),
            thumbnail: thumbnail.cloned(),
        };
        self.images.entry(key.image).or_insert_with(new).patches += 1;
    }

    /// Takes one patch off the count of `image`, and the image off the list with its last.
    fn forget(&mut self, image: &Digest) {
        if let Some(found) = self.images.get_mut(image) {
            found.patches -= 1;
            if found.patches == 0 {
                self.images.remove(image);
            }
        }
    }

    /// Whether patches of this image are in the sample.
    pub fn holds(&self, image: &Digest) -> bool {
        self.images.contains_key(image)
    }

    /// The means of the images, ordered by digest.
    fn means(&self) -> Option<PictureMeans> {
        let images: BTreeMap<&Digest, &Image> = self.images.iter().collect();
        if images.values().all(|image| image.mean.is_empty()) {
            return None;
        }
        let numbers: HashMap<&Digest, u32> = images.keys().copied().zip(0..).collect();
        let own = self.kept.keys().map(|key| numbers.get(&key.image).copied().unwrap_or(0)).collect();
        let means = images.values().flat_map(|image| image.mean.iter().copied()).collect();
        Some(PictureMeans { means, own })
    }

    /// The sample as it stands in a bank. A file that was given under several names has the one that
    /// sorts first; with `all_names` it stands in the list once per name, so that parts of a sample can
    /// be joined without losing which image had which.
    pub fn finish(self, all_names: bool) -> Sample {
        let mut files: BTreeMap<(Digest, &str), &str> = BTreeMap::new();
        let key = |image: &Image| (image.file, if all_names { image.name.clone() } else { String::new() });
        let keys: HashMap<Digest, (Digest, String)> =
            self.images.iter().map(|(digest, image)| (*digest, key(image))).collect();
        for (digest, image) in &self.images {
            if let Some((file, name)) = keys.get(digest) {
                let first = files.entry((*file, name)).or_insert(&image.name);
                *first = (*first).min(&image.name);
            }
        }
        let numbers: HashMap<(Digest, &str), u32> =
            files.keys().zip(0..).map(|(file, number)| (*file, number)).collect();
        let number = |image: &Digest| {
            keys.get(image).and_then(|(file, name)| numbers.get(&(*file, name.as_str()))).copied()
        };
        let origin = |key: &PatchKey| Origin {
            source: number(&key.image).unwrap_or(u32::MAX),
            frame: self.images.get(&key.image).map_or(0, |i| i.frame),
            row: key.row,
            col: key.col,
        };
        let origins = self.kept.keys().map(origin).collect();
        let order: Vec<usize> = self.kept.values().copied().collect();
        let sources =
            files.iter().map(|((file, _), name)| SourceFile { sha256: hex(file), name: (*name).to_owned() });
        // The digest of a still is that of its file, that of a video's frame is another.
        let of_videos = self.images.iter().filter(|(digest, image)| **digest != image.file);
        let videos: BTreeSet<u32> = of_videos.filter_map(|(digest, _)| number(digest)).collect();
        let mut thumbnails = Thumbnails::default();
        for (digest, image) in &self.images {
            if let (Some(source), Some(thumbnail)) = (number(digest), &image.thumbnail) {
                thumbnails.put(source, image.frame, thumbnail.clone());
            }
        }
        let features = self.rows.reordered(&order, self.width);
        let classes = order.iter().filter_map(|row| self.classes.get(*row)).copied().collect();
        let (videos, means) = (videos.into_iter().collect(), self.means());
        Sample { features, origins, sources: sources.collect(), videos, classes, means, thumbnails }
    }
}
