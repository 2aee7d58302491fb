//! What was marked as normal, joined: supplements of many vehicles to one, or into the bank itself.

use std::path::{Path, PathBuf};

use super::raw::Raw;
use crate::bank::{
    Bank, BankContents, DataType, FolderError, Mark, Origin, PictureMeans, RowsBuf, SourceFile, Supplement,
    Thumbnail, Unusable, supplement_files_in,
};
use crate::digest::{digest_of, hex};
use crate::nearest::Projector;

/// Neighbours of a bank that was not calibrated.
const DEFAULT_K: usize = 3;

/// Why supplements cannot be joined.
#[derive(Debug, thiserror::Error)]
pub enum SupplementError {
    /// One cannot be used.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// A folder cannot be read.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// All of it is there already.
    #[error("{path} has all of these marks already", path = path.display())]
    Known {
        /// The bank.
        path: PathBuf,
    },
    /// A folder without supplements.
    #[error("{path} holds no supplement: nothing was marked as normal there", path = path.display())]
    Nothing {
        /// The folder.
        path: PathBuf,
    },
    /// Another model made it.
    #[error("{path} does not fit {other}: {differences}; only features of one model can be compared", path = path.display(), other = other.display())]
    OtherModel {
        /// The supplement.
        path: PathBuf,
        /// What it was to be joined to.
        other: PathBuf,
        /// What differs.
        differences: String,
    },
    /// The bank has classes.
    #[error(
        "{path} tells classes apart, and what was marked has none: keep the supplement beside the bank (supplement.folder), or build the bank without --classes", path = path.display()
    )]
    Classes {
        /// The bank.
        path: PathBuf,
    },
    /// A number that the bank cannot store.
    #[error("a marked feature exceeds the range of f16, in which {path} stores its features; build it with --dtype f32", path = path.display())]
    Overflow {
        /// The bank.
        path: PathBuf,
    },
}

/// The supplements that `path` names: a file, or all files of a folder.
///
/// # Errors
/// [`SupplementError`]; the first file that cannot be read.
pub fn supplements_at(path: &Path) -> Result<Vec<(PathBuf, Supplement)>, SupplementError> {
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        files = supplement_files_in(path)?;
        if files.is_empty() {
            return Err(SupplementError::Nothing { path: path.to_owned() });
        }
    }
    let read = |file: PathBuf| {
        let one = Supplement::read_unnamed(&file)?;
        // What an event looks like is called as the event: its folder.
        let unnamed = one.marks().iter().any(|mark| mark.id.is_empty());
        let folder = file.canonicalize().ok().and_then(|file| Some(file.parent()?.file_name()?.to_owned()));
        let one = match folder.filter(|_| unnamed) {
            Some(folder) => one.named(&folder.to_string_lossy()),
            None => one,
        };
        Ok((file, one))
    };
    files.into_iter().map(read).collect()
}

/// All supplements as one; what is marked in several under one name counts once.
///
/// # Errors
/// [`SupplementError::OtherModel`].
pub fn join_supplements(all: &[(PathBuf, Supplement)]) -> Result<Option<Supplement>, SupplementError> {
    let Some(((first, joined), rest)) = all.split_first() else { return Ok(None) };
    let mut joined = joined.clone();
    for (path, one) in rest {
        let differs = |differences: Vec<String>| SupplementError::OtherModel {
            path: path.clone(),
            other: first.clone(),
            differences: differences.join("; "),
        };
        joined.join(one).map_err(differs)?;
    }
    Ok(Some(joined))
}

/// The bank with what was marked as references of its own, each as often as neighbours count: one look is then enough, as in
/// a supplement. Its calibration stays, since normal frames can only come to lie nearer.
///
/// # Errors
/// [`SupplementError`].
pub fn supplemented(
    bank: &Bank,
    (path, marked): (&Path, &Supplement),
) -> Result<BankContents, SupplementError> {
    let here = || bank.path().to_owned();
    let differences = marked.model().differences(&bank.metadata().model);
    if !differences.is_empty() {
        let differences = differences.join("; ");
        return Err(SupplementError::OtherModel { path: path.to_owned(), other: here(), differences });
    }
    if !bank.classes().is_empty() {
        return Err(SupplementError::Classes { path: here() });
    }
    // What it has already is not taken twice.
    let known = &bank.metadata().build.marks;
    let marked = &known.iter().fold(marked.clone(), |left, mark| left.without(&mark.id));
    for mark in known {
        tracing::info!(mark = mark.id, "the bank has it already");
    }
    if marked.rows() == 0 {
        return Err(SupplementError::Known { path: here() });
    }
    let times = bank.calibrated_k().unwrap_or(DEFAULT_K).max(1);
    let added = marked.rows() * times;
    let (mut contents, _) = bank.subset(&(0..bank.rows()).collect::<Vec<_>>());
    let mut means: PictureMeans = marked.means().clone();
    means.own = means.own.iter().flat_map(|own| std::iter::repeat_n(*own, times)).collect();
    let width = bank.width();
    let again = |row: &[f32]| row.repeat(times);
    let repeated: Vec<f32> = marked.features().chunks_exact(width).flat_map(again).collect();
    let numbers = RowsBuf::F32(repeated);
    let raw = Raw { rows: numbers.view(), width, means: Some(&means) };
    let mut tables: Vec<Vec<f32>> = bank.tables().iter().map(|wide| vec![0.0; added * wide]).collect();
    let projector = Projector::new(bank.recipe(), bank.transforms(), width);
    raw.each(projector, |first, some| {
        for ((all, some), wide) in tables.iter_mut().zip(some).zip(bank.tables()) {
            all[first * wide..][..some.len()].copy_from_slice(some);
        }
    });
    let data_type = contents.features.view().data_type();
    // 65520 is the first number that rounds to infinity.
    let too_large = |x: &f32| !x.is_finite() || data_type == DataType::F16 && x.abs() >= 65520.0;
    if tables.iter().flatten().any(too_large) {
        return Err(SupplementError::Overflow { path: here() });
    }
    let mut features = RowsBuf::new(data_type);
    let mut before = 0;
    for (table, wide) in tables.iter().zip(bank.tables()) {
        let old = bank.rows() * wide;
        features.extend(contents.features.view().part(before, old));
        before += old;
        let mut new = RowsBuf::zeros(data_type, table.len());
        new.overwrite(0, table);
        features.extend(new.view());
    }
    contents.features = features;
    let known = contents.metadata.sources.len() as u32;
    // Frames of a run that is past; a mark has one picture.
    let moved = |origin: &Origin| Origin { source: known + origin.source, frame: 0, ..*origin };
    contents
        .origins
        .extend(marked.origins().iter().flat_map(|origin| std::iter::repeat_n(moved(origin), times)));
    let sources = marked
        .marks()
        .iter()
        .map(|mark| SourceFile { sha256: hex(&digest_of(&[mark.id.as_bytes()])), name: mark.source_name() });
    contents.metadata.sources.extend(sources);
    for (number, mark) in (0..).zip(marked.marks()) {
        if let Some(jpeg) = marked.picture(&mark.id) {
            let picture = Thumbnail { grid: (0, 0), jpeg: jpeg.to_vec() };
            contents.extras.thumbnails.put(known + number, 0, picture);
        }
    }
    let marks = marked.marks().iter().map(|mark| Mark { rows: mark.rows * times, ..mark.clone() });
    contents.metadata.build.marks.extend(marks);
    Ok(contents)
}
