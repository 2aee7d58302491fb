//! What was marked as normal on the spot: a supplement of the bank, kept beside it.
//!
//! A supplement holds features as they come from the model, with the mean of their picture: any recipe can be applied to
//! them, so that they outlive the bank that they were marked under. Its file is that of a bank whose rows are features as
//! they are (`features` F32 `[N, C]`, `origins`, `pictures.means`, `pictures.own`), with the [`Mark`]s in its metadata; the
//! rows of a mark lie together, in the order of the marks.

mod config;
mod store;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{
    Bank, BankContents, BankError, BuildRecord, DataType, Extras, FORMAT, Mark, Metadata, Origin,
    PictureMeans, RowsBuf, SourceFile, Thumbnail, Thumbnails, store::not_a_bank,
};
use crate::digest::{digest_of, hex};
use crate::file::{WriteError, write_whole};
use crate::identity::ModelIdentity;
use crate::jpeg;
pub use config::SupplementConfig;
pub use store::{AddError, FolderError, Supplements, files_in};

/// Quality of the pictures.
const QUALITY: u8 = 80;

/// A file is no supplement that can be used.
#[derive(Debug, thiserror::Error)]
#[error("{path} is no usable supplement: {why}; mark again what it was, or delete the file", path = path.display())]
pub struct Unusable {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

/// A small picture in memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Crop {
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// `height x width x 3` bytes, packed RGB.
    pub rgb: Vec<u8>,
}

/// Patches of one frame that show the same thing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Look {
    /// The frame's number.
    pub frame: u64,
    /// Row and column of each patch in the frame's grid.
    pub places: Vec<(u32, u32)>,
    /// `places.len() x C` numbers.
    pub features: Vec<f32>,
    /// The mean feature of the frame, C numbers.
    pub mean: Vec<f32>,
    /// What people see there, if that was kept.
    pub picture: Option<Arc<Crop>>,
}

/// Features that count as normal, beside those of a bank.
#[derive(Debug, Clone, PartialEq)]
pub struct Supplement {
    model: ModelIdentity,
    marks: Vec<Mark>,
    features: Vec<f32>,
    origins: Vec<Origin>,
    means: PictureMeans,
    /// What people saw, by number of the mark.
    pictures: Thumbnails,
}

impl Supplement {
    /// What `looks` show, by this model. Vectors with NaN or infinite numbers are left out; `mark.rows` is set.
    pub fn of<'a>(
        model: &ModelIdentity,
        mut mark: Mark,
        looks: impl IntoIterator<Item = &'a Look>,
    ) -> Supplement {
        let width = model.width.max(1);
        let mut all = Supplement {
            model: model.clone(),
            marks: Vec::new(),
            features: Vec::new(),
            origins: Vec::new(),
            means: PictureMeans::default(),
            pictures: Thumbnails::default(),
        };
        for look in looks {
            if let (true, Some(picture)) = (all.pictures.is_empty(), &look.picture) {
                let Crop { width, height, rgb } = &**picture;
                match jpeg::encode(rgb, *width, *height, QUALITY) {
                    Ok(jpeg) => all.pictures.put(0, 0, Thumbnail { grid: (0, 0), jpeg }),
                    Err(why) => tracing::warn!("a mark has no picture: {why}"),
                }
            }
            if look.mean.len() != width || !look.mean.iter().all(|x| x.is_finite()) {
                continue;
            }
            let own = (all.means.means.len() / width) as u32;
            all.means.means.extend_from_slice(&look.mean);
            for ((row, col), feature) in look.places.iter().zip(look.features.chunks_exact(width)) {
                if feature.iter().all(|x| x.is_finite()) {
                    all.features.extend_from_slice(feature);
                    // More frames than fit are no matter of a mark.
                    all.origins.push(Origin { source: 0, frame: look.frame as u32, row: *row, col: *col });
                    all.means.own.push(own);
                }
            }
        }
        mark.rows = all.origins.len();
        all.marks.push(mark);
        all
    }

    /// Reads a supplement.
    ///
    /// # Errors
    /// If it is damaged, or a bank and no supplement; if its marks have no names, as those of an event that nobody has marked.
    pub fn read(path: &Path) -> Result<Supplement, Unusable> {
        let one = Supplement::read_unnamed(path)?;
        match one.marks.iter().any(|mark| mark.id.is_empty()) {
            true => {
                let why = "its mark has no name, since it belongs to an event (farout bank add --event ID)"
                    .to_owned();
                Err(Unusable { path: path.to_owned(), why })
            }
            false => Ok(one),
        }
    }

    /// As [`Supplement::read`], of marks that need no names.
    ///
    /// # Errors
    /// As there.
    pub fn read_unnamed(path: &Path) -> Result<Supplement, Unusable> {
        Supplement::read_file(path).map_err(|why| {
            // A bank would be built anew; this is marked anew.
            let why = match why {
                BankError::Unreadable { source, .. } => source.to_string(),
                BankError::CutShort { have, .. } => format!("it is cut short, {have} bytes are left of it"),
                BankError::NotABank { why, .. } => why,
                BankError::NotFinite { row, .. } => format!("row {row} is NaN or infinite"),
                BankError::NoSupplement { .. } => {
                    "it is a bank: nothing in it was marked as normal".to_owned()
                }
                other => other.to_string(),
            };
            Unusable { path: path.to_owned(), why }
        })
    }

    fn read_file(path: &Path) -> Result<Supplement, BankError> {
        // Read, not mapped: somebody may write over the file meanwhile.
        let bank = Bank::open_any_in_memory(path)?;
        let refuse = |why: &str| Err(not_a_bank(path, why));
        let marks = bank.metadata().build.marks.clone();
        if !bank.is_supplement() {
            return Err(BankError::NoSupplement { path: path.to_owned() });
        }
        if bank.metadata().recipe.is_some() {
            return refuse("a supplement whose features are transformed");
        }
        if marks.iter().fold(0_usize, |sum, mark| sum.saturating_add(mark.rows)) != bank.rows() {
            return refuse("the rows of its marks do not add up to its own");
        }
        // Names become those of files and addresses.
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let is_name = |id: &str| id.len() <= 200 && !id.starts_with('.') && id.chars().all(plain);
        let mut names = std::collections::BTreeSet::new();
        if !marks.iter().all(|mark| is_name(&mark.id) && names.insert(&mark.id)) {
            return refuse("a mark with a name that cannot be");
        }
        let Some(means) = bank.means().filter(|all| all.means.iter().all(|x| x.is_finite())) else {
            return refuse("a supplement without the means of its pictures");
        };
        let mut features = vec![0.0; bank.features().len()];
        bank.features().copy_to(0, &mut features);
        // Whatever the file says of their sources: rows lie in the order of their marks.
        let sources = (0..).zip(&marks).flat_map(|(source, mark)| std::iter::repeat_n(source, mark.rows));
        let origin = |(row, source): (usize, u32)| Some(Origin { source, ..bank.provenance(row)? });
        let origins = (0..bank.rows()).zip(sources).filter_map(origin).collect();
        Ok(Supplement {
            model: bank.metadata().model.clone(),
            marks,
            features,
            origins,
            means: means.clone(),
            pictures: bank.thumbnails().clone(),
        })
    }

    /// The bytes of its file.
    ///
    /// # Errors
    /// If it holds more than a file can.
    pub fn to_bytes(&self) -> std::io::Result<Vec<u8>> {
        let width = self.model.width;
        let mut first = 0;
        let sources = self.marks.iter().map(|mark| {
            let numbers = &self.features[first * width..][..mark.rows * width];
            first += mark.rows;
            let sha256 = hex(&digest_of(&[bytemuck::cast_slice::<f32, u8>(numbers)]));
            SourceFile { sha256, name: mark.id.clone() }
        });
        let sources = sources.collect();
        let (size, marks) = (self.rows(), self.marks.clone());
        let build = BuildRecord { size, marks, supplement: true, ..BuildRecord::default() };
        let metadata = Metadata {
            format: FORMAT,
            farout: env!("CARGO_PKG_VERSION").to_owned(),
            model: self.model.clone(),
            build,
            recipe: None,
            calibration: None,
            sources,
        };
        let mut features = RowsBuf::zeros(DataType::F32, self.features.len());
        features.overwrite(0, &self.features);
        let (means, thumbnails) = (Some(self.means.clone()), self.pictures.clone());
        let extras = Extras { means, thumbnails, ..Extras::default() };
        let contents = BankContents { features, origins: self.origins.clone(), metadata, extras };
        contents.to_bytes().map_err(std::io::Error::other)
    }

    /// Writes its file whole.
    ///
    /// # Errors
    /// Names `path` and the reason.
    pub fn write(&self, path: &Path) -> Result<(), WriteError> {
        use std::io::Write as _;
        write_whole(path, |out| out.write_all(&self.to_bytes()?))
    }

    /// The model that made the features.
    pub fn model(&self) -> &ModelIdentity {
        &self.model
    }

    /// What was marked, in the order of the rows.
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.origins.len()
    }

    /// All rows, `rows x C` numbers.
    pub fn features(&self) -> &[f32] {
        &self.features
    }

    /// Where each row came from; sources are numbers of marks.
    pub fn origins(&self) -> &[Origin] {
        &self.origins
    }

    /// The means of the pictures that the rows come from.
    pub fn means(&self) -> &PictureMeans {
        &self.means
    }

    /// A JPEG of what people saw, of the mark of this name.
    pub fn picture(&self, id: &str) -> Option<&[u8]> {
        let number = self.marks.iter().position(|mark| mark.id == id)?;
        self.pictures.of(number as u32, 0).map(|one| &one.jpeg[..])
    }

    /// The same, all of it under this name.
    pub fn named(mut self, id: &str) -> Supplement {
        self.marks.iter_mut().for_each(|mark| id.clone_into(&mut mark.id));
        self
    }

    /// The same, marked at this time.
    pub fn marked_at(mut self, time: &str) -> Supplement {
        self.marks.iter_mut().for_each(|mark| mark.marked = Some(time.to_owned()));
        self
    }

    /// Takes what `other` holds, but for marks that it has already. What another vehicle calls by the same name and is another
    /// thing gets a name of its own.
    ///
    /// # Errors
    /// What differs, if another model made the features of `other`.
    pub fn join(&mut self, other: &Supplement) -> Result<(), Vec<String>> {
        let differences = other.model.differences(&self.model);
        if !differences.is_empty() {
            return Err(differences);
        }
        for mark in &other.marks {
            let one = other.only(&mark.id);
            let mut name = mark.id.clone();
            if let Some(known) = self.marks.iter().find(|known| known.id == mark.id) {
                if self.only(&known.id).features == one.features {
                    continue;
                }
                let digest = hex(&digest_of(&[bytemuck::cast_slice::<f32, u8>(&one.features)]));
                name = format!("{name}-{}", &digest[..8]);
                if self.marks.iter().any(|known| known.id == name) {
                    continue;
                }
            }
            self.take(&one.named(&name), &|_| true);
        }
        Ok(())
    }

    /// What is left without the mark of this name; the whole, if it has none such.
    pub fn without(&self, id: &str) -> Supplement {
        self.some(&|mark| mark.id != id)
    }

    /// The mark of this name alone.
    fn only(&self, id: &str) -> Supplement {
        self.some(&|mark| mark.id == id)
    }

    /// The marks that are `wanted`.
    fn some(&self, wanted: &dyn Fn(&Mark) -> bool) -> Supplement {
        let mut left = Supplement {
            model: self.model.clone(),
            marks: Vec::new(),
            features: Vec::new(),
            origins: Vec::new(),
            means: PictureMeans::default(),
            pictures: Thumbnails::default(),
        };
        left.take(self, wanted);
        left
    }

    /// Takes the marks of `other` that are `wanted`.
    fn take(&mut self, other: &Supplement, wanted: &dyn Fn(&Mark) -> bool) {
        let width = self.model.width;
        let mut first = 0;
        for (number, mark) in other.marks.iter().enumerate() {
            let rows = first..first + mark.rows;
            first = rows.end;
            if !wanted(mark) {
                continue;
            }
            let source = self.marks.len() as u32;
            self.marks.push(mark.clone());
            if let Some(picture) = other.pictures.of(number as u32, 0) {
                self.pictures.put(source, 0, picture.clone());
            }
            self.features.extend_from_slice(&other.features[rows.start * width..rows.end * width]);
            let mut numbers = std::collections::BTreeMap::new();
            for row in rows {
                self.origins.push(Origin { source, ..other.origins[row] });
                let theirs = other.means.own[row];
                let own = *numbers.entry(theirs).or_insert_with(|| {
                    let number = (self.means.means.len() / width) as u32;
                    let at = theirs as usize * width;
                    self.means.means.extend_from_slice(&other.means.means[at..at + width]);
                    number
                });
                self.means.own.push(own);
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
