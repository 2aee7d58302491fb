//! The bank's file: safetensors with a few tensors and one metadata entry, all little-endian.
//!
//! - `features` F16 or F32 `[N, C]`: the rows, ordered by their sampling hash; those of marks after them. Where parts of the features are
//!   searched one by one, each part has a table of its own instead: `features.0`, `features.1`, ...;
//! - `origins` U32 `[N, 4]`: source file number, frame number, patch row, patch column;
//! - `classes` U16 `[N]`: the class of each row, where somebody asked for it; rows are then ordered by class first;
//! - `pictures.means` F32 `[M, C]`, `pictures.own` U32 `[N]`: in supplements, and in shards whose recipe wants them, the mean features of
//!   the pictures and the picture of each row;
//! - `outliers`, or `outliers.0`, `outliers.1`, ...: the same tables of known outliers, where there are any; in shards
//!   also `outliers.pictures.means` and `outliers.pictures.own`;
//! - `discriminant` F32 `[C]`: the direction of [`super::Discriminant`], where the recipe has one;
//! - `thumbnails.index` U32 `[M, 6]`, `thumbnails.jpeg` U8: small pictures of the images, where somebody asked for them;
//! - `transform.P.S.mean`, `transform.P.S.matrix`: see [`super::transform`];
//! - metadata `farout`: [`Metadata`] as JSON.
//!
//! Shards have further tensors, whose names and meaning only those know who build and merge them. A file whose
//! rows are features as they are has format [`FORMAT`], any other [`FORMAT_WITH_RECIPE`].
//!
//! Equal contents give equal bytes: keys are written in a fixed order, nothing depends on time,
//! machine or path.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use bytemuck::{Pod, Zeroable};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError};
use serde::{Deserialize, Serialize};

use super::{
    Calibration, ClassSource, DataType, Mark, PruneRecord, Recipe, ReferenceRecord, RowsBuf, ShardNumber,
    Thumbnails, Transform,
};
use crate::file::{WriteError, write_whole};
use crate::identity::ModelIdentity;

/// Version of the file format of banks whose rows are features as they are.
pub const FORMAT: u32 = 1;
/// Version of the file format of banks that say in a recipe what their rows are.
pub const FORMAT_WITH_RECIPE: u32 = 2;

#[cfg(target_endian = "big")]
compile_error!("banks are mapped as they lie in the file, which is little-endian");

/// Where one feature came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Pod, Zeroable, Serialize)]
#[repr(C)]
pub struct Origin {
    /// Number of the file in [`Metadata::sources`].
    pub source: u32,
    /// Frame number within the file, 0 for still images.
    pub frame: u32,
    /// Row of the patch in the grid.
    pub row: u32,
    /// Column of the patch in the grid.
    pub col: u32,
}

/// An image or video that features came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SourceFile {
    /// SHA-256 of its bytes, lower-case hexadecimal.
    pub sha256: String,
    /// Its folder's name and its own.
    pub name: String,
}

/// How a bank came about: what was asked for and what was seen.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct BuildRecord {
    /// Seed of the sample and of the held-out split.
    pub seed: u64,
    /// Features asked for.
    pub size: usize,
    /// Whether label masks said which patches are void.
    pub labels: bool,
    /// Label values that count as void.
    pub void: Vec<u16>,
    /// Of a video, every n-th frame was looked at.
    pub video_step: u32,
    /// Frames whose patches could enter the sample.
    pub frames: u64,
    /// Frames kept out of the sample for calibration (used or not).
    pub held_out_frames: u64,
    /// Frames in neither part, too near to a held-out block.
    pub guard_frames: u64,
    /// Patches of all looked-at frames outside the held-out part.
    pub patches: u64,
    /// Of these, void ones.
    pub void_patches: u64,
    /// Of these, ones with NaN or infinite numbers.
    pub faulty_patches: u64,
    /// Where the classes of the rows come from, if they have any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<ClassSource>,
    /// The known outliers, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outliers: Option<OutlierRecord>,
    /// The scales of fused scores; absent if the model gave no logits, or farout was older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<ReferenceRecord>,
    /// Set in a shard, which is no bank before it is merged with the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<ShardNumber>,
    /// Set in a shard that stands for several: the numbers of all of them, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub joined: Vec<u32>,
    /// Set in a bank that was made smaller after it was built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pruned: Option<PruneRecord>,
    /// Set in a supplement: all that it holds was marked as normal.
    #[serde(default, skip_serializing_if = "is_false")]
    pub supplement: bool,
    /// What was marked as normal: all that a supplement holds, or what of supplements was merged into a bank.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Mark>,
}

fn is_false(flag: &bool) -> bool {
    !*flag
}

/// Where known outliers come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutlierRecord {
    /// Pictures or frames that were looked at.
    pub frames: u64,
    /// Patches of outliers in them.
    pub patches: u64,
    /// Patches kept.
    pub rows: usize,
    /// Label values of outliers; all patches are if there are none.
    pub values: Vec<u16>,
}

/// Everything in a bank but the numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// [`FORMAT`] or [`FORMAT_WITH_RECIPE`].
    pub format: u32,
    /// Version of farout that wrote it.
    pub farout: String,
    /// The model that made the features.
    pub model: ModelIdentity,
    /// How it was built.
    pub build: BuildRecord,
    /// What the rows are; absent if they are features as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<Recipe>,
    /// How far held-out normal frames lie; absent if none could be held out.
    pub calibration: Option<Calibration>,
    /// The files that the features came from, ordered by SHA-256; marks after them.
    pub sources: Vec<SourceFile>,
}

impl Metadata {
    /// What the rows are.
    pub fn recipe(&self) -> Recipe {
        self.recipe.clone().unwrap_or_else(|| Recipe::plain(&self.model))
    }
}

/// A bank in memory, ready to be written.
#[derive(Debug, Clone)]
pub struct BankContents {
    /// The rows, table after table ([`Recipe::tables`]): `N x C` numbers each.
    pub features: RowsBuf,
    /// Where each of the N rows came from.
    pub origins: Vec<Origin>,
    /// All the rest.
    pub metadata: Metadata,
    /// Further numbers.
    pub extras: Extras,
}

/// What banks besides their rows may hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Extras {
    /// One per part of the recipe; may be empty if none has steps.
    pub transforms: Vec<Transform>,
    /// The class of each row, or empty.
    pub classes: Vec<u16>,
    /// Of a shard whose recipe wants them: the means of the pictures.
    pub means: Option<PictureMeans>,
    /// Known outliers.
    pub outliers: Option<OutlierRows>,
    /// The direction of the recipe's discriminant, a number for each of the model's, or empty.
    pub direction: Vec<f32>,
    /// Small pictures of the images that the rows come from, or none.
    pub thumbnails: Thumbnails,
}

/// Features of things that are known to be strange.
#[derive(Debug, Clone, PartialEq)]
pub struct OutlierRows {
    /// In tables as those of the references: `M x C` numbers each.
    pub rows: RowsBuf,
    /// As [`Extras::means`].
    pub means: Option<PictureMeans>,
}

/// Mean features of the pictures that rows come from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PictureMeans {
    /// `M x C` numbers, picture by picture.
    pub means: Vec<f32>,
    /// For each row, the number of its picture.
    pub own: Vec<u32>,
}

impl BankContents {
    /// The bytes of the file.
    ///
    /// # Errors
    /// If the parts do not fit together or the list of sources exceeds what a safetensors
    /// header may hold (100 MB).
    pub fn to_bytes(&self) -> Result<Vec<u8>, SafeTensorError> {
        self.to_bytes_with(Vec::new())
    }

    /// The same with further tensors that ride along, found again by [`super::Bank::rider`].
    ///
    /// # Errors
    /// As [`BankContents::to_bytes`].
    pub fn to_bytes_with(&self, riders: Vec<(&str, TensorView<'_>)>) -> Result<Vec<u8>, SafeTensorError> {
        let json = serde_json::to_string(&self.metadata)?;
        let (rows, widths) = (self.origins.len(), self.metadata.recipe().tables());
        let mut tensors = table_tensors("features", &self.features, &widths)?;
        let origins = TensorView::new(Dtype::U32, vec![rows, 4], bytemuck::cast_slice(&self.origins))?;
        tensors.push(("origins".to_owned(), origins));
        for (number, transform) in self.extras.transforms.iter().enumerate() {
            tensors.extend(transform.tensors(number)?);
        }
        if !self.extras.classes.is_empty() {
            let bytes = bytemuck::cast_slice(&self.extras.classes);
            tensors.push(("classes".to_owned(), TensorView::new(Dtype::U16, vec![rows], bytes)?));
        }
        let width = self.metadata.model.width;
        let direction = &self.extras.direction;
        if !direction.is_empty() {
            let bytes = bytemuck::cast_slice(direction);
            tensors.push((
                "discriminant".to_owned(),
                TensorView::new(Dtype::F32, vec![direction.len()], bytes)?,
            ));
        }
        let (index, pictures) = self.extras.thumbnails.to_numbers();
        if !index.is_empty() {
            tensors.extend(Thumbnails::tensors(&index, &pictures)?);
        }
        if let Some(means) = &self.extras.means {
            tensors.extend(means.tensors("pictures", width)?);
        }
        if let Some(OutlierRows { rows, means }) = &self.extras.outliers {
            tensors.extend(table_tensors("outliers", rows, &widths)?);
            if let Some(means) = means {
                tensors.extend(means.tensors("outliers.pictures", width)?);
            }
        }
        tensors.extend(riders.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)));
        // One entry only: the order of several would be that of a hash map.
        let metadata = HashMap::from([("farout".to_owned(), json)]);
        safetensors::serialize(tensors, Some(metadata))
    }

    /// Writes the file whole: `path` is complete or as it was.
    ///
    /// # Errors
    /// Names `path` and the reason.
    pub fn write(&self, path: &Path) -> Result<(), WriteError> {
        write_whole(path, |w| w.write_all(&self.to_bytes().map_err(std::io::Error::other)?))
    }
}

impl PictureMeans {
    fn tensors(&self, name: &str, width: usize) -> Result<Vec<(String, TensorView<'_>)>, SafeTensorError> {
        let shape = vec![self.means.len() / width.max(1), width];
        let means = TensorView::new(Dtype::F32, shape, bytemuck::cast_slice(&self.means))?;
        let own = TensorView::new(Dtype::U32, vec![self.own.len()], bytemuck::cast_slice(&self.own))?;
        Ok(vec![(format!("{name}.means"), means), (format!("{name}.own"), own)])
    }
}

/// Tables of these widths that lie one after another in `rows`, named `name`.
fn table_tensors<'a>(
    name: &str,
    rows: &'a RowsBuf,
    widths: &[usize],
) -> Result<Vec<(String, TensorView<'a>)>, SafeTensorError> {
    let view = rows.view();
    let dtype = match view.data_type() {
        DataType::F16 => Dtype::F16,
        DataType::F32 => Dtype::F32,
    };
    let count = view.count(widths.iter().sum());
    let mut first = 0;
    let tensor = |(number, width): (usize, &usize)| {
        let table = view.part(first, count * width).bytes();
        first += count * width;
        Ok((table_name(name, number, widths.len()), TensorView::new(dtype, vec![count, *width], table)?))
    };
    widths.iter().enumerate().map(tensor).collect()
}

/// The name of table `number` of `of`.
pub(super) fn table_name(name: &str, number: usize, of: usize) -> String {
    if of == 1 { name.to_owned() } else { format!("{name}.{number}") }
}
