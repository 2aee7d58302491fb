//! Where the numbers of an opened bank are: in its file's bytes, mapped or read, or in memory.

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use memmap2::Mmap;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde::Deserialize;

use super::bytes::Keep;
use super::file::table_name;
use super::transform;
use super::{
    BankError, DataType, Extras, FORMAT, FORMAT_WITH_RECIPE, Metadata, Origin, OutlierRows, PictureMeans,
    Rows, RowsBuf, Thumbnails,
};

/// Where the numbers of an opened bank are.
#[derive(Debug)]
pub(super) enum Store {
    /// In the file's bytes, at these ranges.
    Mapped { map: Mmap, data_type: DataType, tables: Vec<Range<usize>>, origins: Range<usize> },
    /// In memory, table after table.
    Owned { rows: RowsBuf, tables: Vec<Range<usize>>, origins: Vec<Origin> },
}

impl Store {
    /// Rows in memory, in tables of these widths.
    ///
    /// # Errors
    /// If there are more or fewer numbers than origins.
    pub(super) fn owned(rows: RowsBuf, widths: &[usize], origins: Vec<Origin>) -> Result<Store, String> {
        let mut next = 0;
        let mut tables = Vec::new();
        for width in widths {
            let end = next + width * origins.len();
            tables.push(next..end);
            next = end;
        }
        if next != rows.view().len() {
            return Err(format!("{} numbers for {} rows of {widths:?}", rows.view().len(), origins.len()));
        }
        Ok(Store::Owned { rows, tables, origins })
    }

    pub(super) fn table(&self, path: &Path, number: usize) -> Result<Rows<'_>, BankError> {
        let missing = || not_a_bank(path, format!("it has no table {number}"));
        match self {
            Store::Owned { rows, tables, .. } => {
                let range = tables.get(number).ok_or_else(missing)?;
                Ok(rows.view().part(range.start, range.len()))
            }
            Store::Mapped { map, data_type, tables, .. } => {
                let bytes = &map[tables.get(number).ok_or_else(missing)?.clone()];
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

pub(super) fn not_a_bank(path: &Path, why: impl Into<String>) -> BankError {
    BankError::NotABank { path: path.to_owned(), why: why.into() }
}

/// What was read of a file.
pub(super) struct Opened {
    pub(super) store: Store,
    pub(super) metadata: Metadata,
    pub(super) extras: Extras,
    pub(super) bytes: u64,
    pub(super) rows: usize,
}

/// Opens the file at `path` and reads all but the features, which stay where `keep` says.
pub(super) fn open(path: &Path, keep: Keep) -> Result<Opened, BankError> {
    let unreadable = |source| BankError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let about = file.metadata().map_err(unreadable)?;
    if !about.is_file() {
        return Err(not_a_bank(path, "it is not a regular file"));
    }
    if about.len() < 8 {
        return Err(BankError::CutShort { path: path.to_owned(), have: about.len(), want: String::new() });
    }
    let have = about.len();
    let map = super::bytes::of(&file, path, have, keep).map_err(unreadable)?;
    let tensors = match SafeTensors::deserialize(&map) {
        Ok(tensors) => tensors,
        Err(e) => return Err(explain(path, &map, have, &e)),
    };
    let metadata = metadata(path, &map)?;
    let refuse = |why: String| not_a_bank(path, why);
    let recipe = metadata.recipe();
    recipe.check(metadata.model.width).map_err(refuse)?;
    let widths = recipe.tables();
    let tensor = |name: &str| tensors.tensor(name).map_err(|e| refuse(e.to_string()));
    let tables: Vec<TensorView<'_>> = (0..widths.len())
        .map(|n| tensor(&table_name("features", n, widths.len())))
        .collect::<Result<_, _>>()?;
    let origins = tensor("origins")?;
    let data_type = match tables[0].dtype() {
        Dtype::F16 => DataType::F16,
        Dtype::F32 => DataType::F32,
        other => return Err(refuse(format!("its features are {other:?}, not F16 or F32"))),
    };
    let &[rows, 4] = origins.shape() else {
        return Err(not_a_bank(path, "its tensors have the wrong shapes"));
    };
    let fits = |(table, width): (&TensorView<'_>, &usize)| {
        table.shape() == [rows, *width] && table.dtype() == tables[0].dtype() && *width > 0
    };
    if !tables.iter().zip(&widths).all(fits) || origins.dtype() != Dtype::U32 {
        let shapes: Vec<_> = tables.iter().map(TensorView::shape).collect();
        return Err(refuse(format!(
            "its parts do not fit: features {shapes:?}, {rows} origins, widths {widths:?} in the metadata"
        )));
    }
    let extras = Extras {
        transforms: transform::read_all(&tensors, &recipe).map_err(refuse)?,
        classes: classes(&tensors).map_err(refuse)?,
        means: means(&tensors, "pictures").map_err(refuse)?,
        outliers: outliers(&tensors, &widths, data_type).map_err(refuse)?,
        direction: direction(&tensors).map_err(refuse)?,
        thumbnails: Thumbnails::read(&tensors).map_err(refuse)?,
    };
    let base = map.as_ptr() as usize;
    let range = |data: &[u8]| {
        let start = data.as_ptr() as usize - base;
        start..start + data.len()
    };
    let (tables, origins) = (tables.iter().map(|t| range(t.data())).collect(), range(origins.data()));
    let store = Store::Mapped { map, data_type, tables, origins };
    Ok(Opened { store, metadata, extras, bytes: have, rows })
}

fn metadata(path: &Path, map: &[u8]) -> Result<Metadata, BankError> {
    let Ok((_, header)) = SafeTensors::read_metadata(map) else {
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
    if !(FORMAT..=FORMAT_WITH_RECIPE).contains(&format) {
        return Err(BankError::Version { path: path.to_owned(), found: format, known: FORMAT_WITH_RECIPE });
    }
    serde_json::from_str(json).map_err(broken)
}

/// The classes of the rows; empty if there are none.
fn classes(tensors: &SafeTensors<'_>) -> Result<Vec<u16>, String> {
    let Ok(tensor) = tensors.tensor("classes") else { return Ok(Vec::new()) };
    match tensor.dtype() {
        Dtype::U16 => Ok(tensor.data().as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b)).collect()),
        other => Err(format!("its classes are {other:?}, not U16")),
    }
}

/// The direction of the discriminant; empty if there is none.
fn direction(tensors: &SafeTensors<'_>) -> Result<Vec<f32>, String> {
    let Ok(tensor) = tensors.tensor("discriminant") else { return Ok(Vec::new()) };
    match tensor.dtype() {
        Dtype::F32 => Ok(transform::numbers_of(tensor.data())),
        other => Err(format!("the direction of its discriminant is {other:?}, not F32")),
    }
}

/// The means of the pictures, if there are any.
fn means(tensors: &SafeTensors<'_>, name: &str) -> Result<Option<PictureMeans>, String> {
    let tensor = |what: &str| tensors.tensor(&format!("{name}.{what}"));
    let (Ok(means), Ok(own)) = (tensor("means"), tensor("own")) else {
        return Ok(None);
    };
    if (means.dtype(), own.dtype()) != (Dtype::F32, Dtype::U32) {
        return Err("the means of its pictures are not F32, or their numbers not U32".to_owned());
    }
    let four = |data: &[u8]| data.as_chunks::<4>().0.to_vec();
    Ok(Some(PictureMeans {
        means: four(means.data()).into_iter().map(f32::from_le_bytes).collect(),
        own: four(own.data()).into_iter().map(u32::from_le_bytes).collect(),
    }))
}

/// Known outliers, if there are any, in tables of these widths. They are few, and copied.
fn outliers(
    tensors: &SafeTensors<'_>,
    widths: &[usize],
    data_type: DataType,
) -> Result<Option<OutlierRows>, String> {
    let mut rows = RowsBuf::new(data_type);
    let mut count = None;
    for (number, width) in widths.iter().enumerate() {
        let Ok(table) = tensors.tensor(&table_name("outliers", number, widths.len())) else {
            return Ok(None);
        };
        let &[here, wide] = table.shape() else { return Err("its outliers are no table".to_owned()) };
        let same_type =
            matches!((table.dtype(), data_type), (Dtype::F16, DataType::F16) | (Dtype::F32, DataType::F32));
        if wide != *width || *count.get_or_insert(here) != here || !same_type {
            return Err(format!("its outliers are {here} x {wide} {:?}, unlike its features", table.dtype()));
        }
        rows.extend_from_bytes(table.data());
    }
    Ok(Some(OutlierRows { rows, means: means(tensors, "outliers.pictures")? }))
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
