//! The bank's file: safetensors with two tensors and one metadata entry, all little-endian.
//!
//! - `features` F16 or F32 `[N, C]`: the rows, ordered by their sampling hash;
//! - `origins` U32 `[N, 4]`: source file number, frame number, patch row, patch column;
//! - metadata `farout`: [`Metadata`] as JSON.
//!
//! Shards have further tensors, whose names and meaning only those know who build and merge them.
//!
//! Equal contents give equal bytes: keys are written in a fixed order, nothing depends on time,
//! machine or path.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use bytemuck::{Pod, Zeroable};
use memmap2::Mmap;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde::{Deserialize, Serialize};

use super::{BankError, Calibration, DataType, PruneRecord, ReferenceRecord, Rows, RowsBuf, ShardNumber};
use crate::file::{WriteError, write_whole};
use crate::identity::ModelIdentity;

/// Version of the file format that is written and read here.
pub const FORMAT: u32 = 1;

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
    /// The scales of fused scores; absent if the model gave no logits, or farout was older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<ReferenceRecord>,
    /// Set in a shard, which is no bank before it is merged with the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<ShardNumber>,
    /// Set in a bank that was made smaller after it was built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pruned: Option<PruneRecord>,
}

/// Everything in a bank but the numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// [`FORMAT`].
    pub format: u32,
    /// Version of farout that wrote it.
    pub farout: String,
    /// The model that made the features.
    pub model: ModelIdentity,
    /// How it was built.
    pub build: BuildRecord,
    /// How far held-out normal frames lie; absent if none could be held out.
    pub calibration: Option<Calibration>,
    /// The files that the features came from, ordered by SHA-256.
    pub sources: Vec<SourceFile>,
}

/// A bank in memory, ready to be written.
#[derive(Debug, Clone)]
pub struct BankContents {
    /// `N x C` numbers.
    pub features: RowsBuf,
    /// Where each of the N rows came from.
    pub origins: Vec<Origin>,
    /// All the rest.
    pub metadata: Metadata,
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
        let width = self.metadata.model.width;
        let (dtype, data): (_, &[u8]) = match self.features.view() {
            Rows::F16(data) => (Dtype::F16, bytemuck::cast_slice(data)),
            Rows::F32(data) => (Dtype::F32, bytemuck::cast_slice(data)),
        };
        let features = TensorView::new(dtype, vec![self.origins.len(), width], data)?;
        let origins =
            TensorView::new(Dtype::U32, vec![self.origins.len(), 4], bytemuck::cast_slice(&self.origins))?;
        // One entry only: the order of several would be that of a hash map.
        let metadata = HashMap::from([("farout".to_owned(), json)]);
        let tensors = [("features", features), ("origins", origins)].into_iter().chain(riders);
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

/// Where the numbers of an opened bank are.
#[derive(Debug)]
pub(super) enum Store {
    /// In the mapped file, at these byte ranges.
    Mapped {
        map: Mmap,
        data_type: DataType,
        features: std::ops::Range<usize>,
        origins: std::ops::Range<usize>,
    },
    /// In memory.
    Owned { rows: RowsBuf, origins: Vec<Origin> },
}

impl Store {
    pub(super) fn features(&self, path: &Path) -> Result<Rows<'_>, BankError> {
        match self {
            Store::Owned { rows, .. } => Ok(rows.view()),
            Store::Mapped { map, data_type, features, .. } => {
                let bytes = &map[features.clone()];
                let misaligned = |e| not_a_bank(path, format!("its features are not aligned ({e})"));
                match data_type {
                    DataType::F16 => bytemuck::try_cast_slice(bytes).map(Rows::F16).map_err(misaligned),
                    DataType::F32 => bytemuck::try_cast_slice(bytes).map(Rows::F32).map_err(misaligned),
                }
            }
        }
    }

    /// The bytes of a tensor that rides along in the file; `None` if there is none of that name.
    pub(super) fn rider(&self, name: &str) -> Option<&[u8]> {
        match self {
            Store::Owned { .. } => None,
            Store::Mapped { map, .. } => Some(SafeTensors::deserialize(map).ok()?.tensor(name).ok()?.data()),
        }
    }

    pub(super) fn origin(&self, row: usize) -> Option<Origin> {
        match self {
            Store::Owned { origins, .. } => origins.get(row).copied(),
            Store::Mapped { map, origins, .. } => {
                let size = size_of::<Origin>();
                let start = row.checked_mul(size)?;
                map[origins.clone()].get(start..start + size).map(bytemuck::pod_read_unaligned)
            }
        }
    }
}

fn not_a_bank(path: &Path, why: impl Into<String>) -> BankError {
    BankError::NotABank { path: path.to_owned(), why: why.into() }
}

/// Maps the file at `path` and reads its header. The features are not looked at.
pub(super) fn map(path: &Path) -> Result<(Store, Metadata, u64), BankError> {
    let unreadable = |source| BankError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let about = file.metadata().map_err(unreadable)?;
    if !about.is_file() {
        return Err(not_a_bank(path, "it is not a regular file"));
    }
    if about.len() < 8 {
        return Err(BankError::CutShort { path: path.to_owned(), have: about.len(), want: String::new() });
    }
    // SAFETY: the file is only read. farout never writes a bank in place but renames a new one
    // over it, which leaves this mapping on the old file.
    let map = unsafe { Mmap::map(&file) }.map_err(unreadable)?;
    let have = about.len();
    let tensors = match SafeTensors::deserialize(&map) {
        Ok(tensors) => tensors,
        Err(e) => return Err(explain(path, &map, have, &e)),
    };
    let Ok((_, header)) = SafeTensors::read_metadata(&map) else {
        return Err(not_a_bank(path, "its header cannot be read"));
    };
    let json = header.metadata().as_ref().and_then(|m| m.get("farout"));
    let json = json.ok_or_else(|| not_a_bank(path, "a safetensors file without farout's metadata"))?;
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let broken = |e: serde_json::Error| not_a_bank(path, format!("its metadata are broken: {e}"));
    let Format { format } = serde_json::from_str(json).map_err(broken)?;
    if format != FORMAT {
        return Err(BankError::Version { path: path.to_owned(), found: format, known: FORMAT });
    }
    let metadata: Metadata = serde_json::from_str(json).map_err(broken)?;

    let tensor = |name: &str| tensors.tensor(name).map_err(|e| not_a_bank(path, e.to_string()));
    let (features, origins) = (tensor("features")?, tensor("origins")?);
    let data_type = match features.dtype() {
        Dtype::F16 => DataType::F16,
        Dtype::F32 => DataType::F32,
        other => {
            return Err(not_a_bank(path, format!("its features are {other:?}, not F16 or F32")));
        }
    };
    let (&[rows, width], &[origin_rows, 4]) = (features.shape(), origins.shape()) else {
        return Err(not_a_bank(path, "its tensors have the wrong shapes"));
    };
    if width != metadata.model.width || width == 0 || origin_rows != rows || origins.dtype() != Dtype::U32 {
        return Err(not_a_bank(
            path,
            format!(
                "its parts do not fit: {rows} features of {width}, {origin_rows} origins, width {} in the metadata",
                metadata.model.width
            ),
        ));
    }
    let base = map.as_ptr() as usize;
    let range = |data: &[u8]| {
        let start = data.as_ptr() as usize - base;
        start..start + data.len()
    };
    let (features, origins) = (range(features.data()), range(origins.data()));
    Ok((Store::Mapped { map, data_type, features, origins }, metadata, have))
}

/// Tells a bank that lost its end from a file that never was one.
fn explain(path: &Path, bytes: &[u8], have: u64, error: &SafeTensorError) -> BankError {
    let cut = |want: String| BankError::CutShort { path: path.to_owned(), have, want };
    // A safetensors header starts with its length in 8 bytes, then '{'.
    match error {
        SafeTensorError::MetadataIncompleteBuffer => cut(String::new()),
        SafeTensorError::InvalidHeaderLength | SafeTensorError::HeaderTooSmall
            if matches!(bytes.get(8), None | Some(b'{')) =>
        {
            cut(String::new())
        }
        other => not_a_bank(path, other.to_string()),
    }
}
