//! The bank: reference features from normal driving, where each came from, and how far
//! normal frames lie from them. It knows its file, not how features are made or searched.

mod calibration;
mod error;
mod file;
mod record;
mod reference;
mod rows;
mod summary;

use std::path::{Path, PathBuf};

pub use calibration::{Calibration, MethodCalibration, Threshold, statistics_of};
pub use error::BankError;
pub use file::{BankContents, BuildRecord, FORMAT, Metadata, Origin, SourceFile};
pub use record::{PruneRecord, ShardNumber};
pub use reference::{DistanceScale, ReferenceRecord, ScoreRange};
pub use rows::{DataType, Rows, RowsBuf};
pub use summary::{Summary, ThresholdLine, summary};

use crate::identity::ModelIdentity;
use file::Store;

/// An opened bank: N reference features of C numbers each, checked to be finite.
#[derive(Debug)]
pub struct Bank {
    path: PathBuf,
    bytes: u64,
    metadata: Metadata,
    store: Store,
    rows: usize,
}

impl Bank {
    /// Opens the bank at `path` for a search of `k` neighbours. The features stay in the
    /// file and are mapped into memory.
    ///
    /// # Errors
    /// [`BankError`]: missing, cut short, no bank at all, a row with NaN or infinity, or
    /// fewer rows than `k`. Each names the file and what to try.
    pub fn open(path: &Path, k: usize) -> Result<Bank, BankError> {
        let bank = Bank::open_any(path)?;
        if let Some(shard) = bank.metadata.build.shard {
            return Err(BankError::Shard { path: bank.path, shard });
        }
        match bank.rows < k.max(1) {
            true => Err(BankError::TooFew { path: bank.path, rows: bank.rows, k: k.max(1) }),
            false => Ok(bank),
        }
    }

    /// As [`Bank::open`], but takes shards and banks without a single row too: for looking and merging, not
    /// for searching.
    ///
    /// # Errors
    /// As [`Bank::open`].
    pub fn open_any(path: &Path) -> Result<Bank, BankError> {
        let (store, metadata, bytes) = file::map(path)?;
        Bank::checked(path.to_owned(), bytes, metadata, store, 0)
    }

    /// The bank that writing `contents` and opening the file would give.
    ///
    /// # Errors
    /// As [`Bank::open`], for what can be wrong without a file.
    pub fn from_contents(contents: BankContents, k: usize) -> Result<Bank, BankError> {
        let store = Store::Owned { rows: contents.features, origins: contents.origins };
        Bank::checked(PathBuf::from("(in memory)"), 0, contents.metadata, store, k.max(1))
    }

    /// The contents of a bank made by [`Bank::from_contents`]; `None` for one that lies in a file.
    pub fn into_contents(self) -> Option<BankContents> {
        match self.store {
            Store::Owned { rows, origins } => {
                Some(BankContents { features: rows, origins, metadata: self.metadata })
            }
            Store::Mapped { .. } => None,
        }
    }

    fn checked(
        path: PathBuf,
        bytes: u64,
        metadata: Metadata,
        store: Store,
        k: usize,
    ) -> Result<Bank, BankError> {
        let rows = store.features(&path)?;
        let count = rows.count(metadata.model.width);
        if let Some(row) = rows.first_not_finite(metadata.model.width) {
            return Err(BankError::NotFinite { path, row });
        }
        if count < k {
            return Err(BankError::TooFew { path, rows: count, k });
        }
        Ok(Bank { path, bytes, metadata, store, rows: count })
    }

    /// Number of reference features, N.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Numbers per feature, C.
    pub fn width(&self) -> usize {
        self.metadata.model.width
    }

    /// All features, `rows x width` numbers row by row.
    pub fn features(&self) -> Rows<'_> {
        // Checked when the bank was opened; the mapping has not changed since.
        self.store.features(&self.path).unwrap_or(Rows::F32(&[]))
    }

    /// Where the feature in `row` came from; `None` if there is no such row.
    pub fn provenance(&self, row: usize) -> Option<Origin> {
        self.store.origin(row)
    }

    /// The bytes of a further tensor in the file, as it was given to [`BankContents::to_bytes_with`].
    pub fn rider(&self, name: &str) -> Option<&[u8]> {
        self.store.rider(name)
    }

    /// The file that `origin` names by number.
    pub fn source(&self, origin: &Origin) -> Option<&SourceFile> {
        self.metadata.sources.get(origin.source as usize)
    }

    /// Everything that is told about the features.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// How far normal frames lie from this bank; `None` if it was built without.
    pub fn calibration(&self) -> Option<&Calibration> {
        self.metadata.calibration.as_ref()
    }

    /// The file it was opened from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Size of the file in bytes, 0 for a bank that was never written.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Checks that `model` gives the very features that the bank holds.
    ///
    /// # Errors
    /// [`BankError::OtherModel`] names both models and how to rebuild.
    pub fn check_model(&self, model: &ModelIdentity) -> Result<(), BankError> {
        if self.metadata.model.differences(model).is_empty() {
            return Ok(());
        }
        Err(BankError::OtherModel {
            path: self.path.clone(),
            bank: Box::new(self.metadata.model.clone()),
            model: Box::new(model.clone()),
        })
    }
}

#[cfg(test)]
mod tests;
