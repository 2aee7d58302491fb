//! The bank: reference features from normal driving, where each came from, and how far
//! normal frames lie from them. It knows its file, not how features are made or searched.

mod baseline;
mod bytes;
mod calibration;
mod discriminant;
mod error;
mod file;
mod mark;
mod outlier_use;
mod recipe;
mod record;
mod reference;
mod references;
mod rows;
mod step;
mod store;
mod subset;
mod summary;
mod supplement;
mod thumbnails;
mod transform;

use std::path::{Path, PathBuf};

pub use baseline::Baseline;
pub use calibration::{Calibration, MethodCalibration, Threshold, ViewBaseline, ViewRecord, statistics_of};
pub use discriminant::Discriminant;
pub use error::BankError;
pub use file::{
    BankContents, BuildRecord, Extras, FORMAT, FORMAT_WITH_RECIPE, Metadata, Origin, OutlierRecord,
    OutlierRows, PictureMeans, SourceFile,
};
pub use mark::Mark;
pub use outlier_use::OutlierUse;
pub use recipe::{Affinity, ClassSource, Combine, Recipe, RecipePart};
pub use record::{PruneRecord, ShardNumber};
pub use reference::{DistanceScale, ReferenceRecord, ScoreRange};
pub use references::References;
pub use rows::{DataType, Rows, RowsBuf};
pub use step::{Covariance, StepKind};
pub use summary::{Summary, ThresholdLine, summary};
#[cfg(test)]
pub(crate) use supplement::tests as supplement_tests;
pub use supplement::{
    AddError, Crop, FolderError, Look, Supplement, SupplementConfig, Supplements, Unusable,
    files_in as supplement_files_in,
};
pub use thumbnails::{Thumbnail, Thumbnails};
pub use transform::{Affine, Step, Transform};

use crate::identity::ModelIdentity;
use bytes::Keep;
use store::{Opened, Store, not_a_bank};

/// An opened bank: N reference features, checked to be finite, and what was done to them.
#[derive(Debug)]
pub struct Bank {
    path: PathBuf,
    bytes: u64,
    metadata: Metadata,
    store: Store,
    recipe: Recipe,
    tables: Vec<usize>,
    extras: Extras,
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
        Bank::open_any(path)?.for_search(k)
    }

    /// As [`Bank::open`], but reads the features into memory, unless they are more than half of what is available: for
    /// what runs long, while somebody may write over the file.
    ///
    /// # Errors
    /// As [`Bank::open`].
    pub fn open_in_memory(path: &Path, k: usize) -> Result<Bank, BankError> {
        Bank::checked(path.to_owned(), store::open(path, Keep::Memory)?, 0)?.for_search(k)
    }

    /// This bank, if it is whole and has as many rows as neighbours are asked for.
    fn for_search(self, k: usize) -> Result<Bank, BankError> {
        if let Some(shard) = self.metadata.build.shard {
            return Err(BankError::Shard { path: self.path, shard });
        }
        if self.is_supplement() {
            return Err(BankError::Supplement { path: self.path });
        }
        match self.rows < k.max(1) {
            true => Err(BankError::TooFew { path: self.path, rows: self.rows, k: k.max(1) }),
            false => Ok(self),
        }
    }

    /// Whether all that it holds was marked as normal on the spot: see [`Supplement`].
    pub fn is_supplement(&self) -> bool {
        self.metadata.build.supplement
    }

    /// Neighbours that its distances were calibrated for; none without a calibration.
    pub fn calibrated_k(&self) -> Option<usize> {
        self.metadata.calibration.as_ref()?.methods.iter().find_map(|method| method.k)
    }

    /// As [`Bank::open`], but takes shards and banks without a single row too: for looking and merging, not
    /// for searching.
    ///
    /// # Errors
    /// As [`Bank::open`].
    pub fn open_any(path: &Path) -> Result<Bank, BankError> {
        Bank::checked(path.to_owned(), store::open(path, Keep::Mapped)?, 0)
    }

    /// As [`Bank::open_any`], but reads the features into memory, as [`Bank::open_in_memory`] does.
    ///
    /// # Errors
    /// As [`Bank::open`].
    pub fn open_any_in_memory(path: &Path) -> Result<Bank, BankError> {
        Bank::checked(path.to_owned(), store::open(path, Keep::Memory)?, 0)
    }

    /// The bank that writing `contents` and opening the file would give.
    ///
    /// # Errors
    /// As [`Bank::open`], for what can be wrong without a file.
    pub fn from_contents(contents: BankContents, k: usize) -> Result<Bank, BankError> {
        let BankContents { features, origins, metadata, extras } = contents;
        let (path, rows) = (PathBuf::from("(in memory)"), origins.len());
        let recipe = metadata.recipe();
        let store = recipe
            .check(metadata.model.width)
            .and_then(|()| Store::owned(features, &recipe.tables(), origins))
            .map_err(|why| not_a_bank(&path, why))?;
        Bank::checked(path, Opened { store, metadata, extras, bytes: 0, rows }, k.max(1))
    }

    /// The contents of a bank made by [`Bank::from_contents`]; `None` for one that lies in a file.
    pub fn into_contents(self) -> Option<BankContents> {
        match self.store {
            Store::Owned { rows, origins, .. } => {
                Some(BankContents { features: rows, origins, metadata: self.metadata, extras: self.extras })
            }
            Store::Mapped { .. } => None,
        }
    }

    fn checked(path: PathBuf, opened: Opened, k: usize) -> Result<Bank, BankError> {
        let Opened { store, metadata, mut extras, bytes, rows } = opened;
        let recipe = metadata.recipe();
        if extras.transforms.is_empty() {
            extras.transforms.resize_with(recipe.parts.len(), Transform::default);
        }
        transform::check(&recipe, &extras.transforms).map_err(|why| not_a_bank(&path, why))?;
        if !extras.classes.is_empty() && extras.classes.len() != rows {
            let why = format!("it has {} classes for {rows} rows", extras.classes.len());
            return Err(not_a_bank(&path, why));
        }
        let means_fit = |m: &PictureMeans, rows: usize| {
            let pictures = m.means.len() / metadata.model.width;
            m.own.len() == rows && m.own.iter().all(|own| (*own as usize) < pictures)
        };
        let tables = recipe.tables();
        let outliers = extras.outliers.as_ref();
        let outlier_rows = outliers.map_or(0, |o| o.rows.view().count(tables.iter().sum()));
        let of_outliers = outliers.and_then(|o| o.means.as_ref());
        if !extras.means.as_ref().is_none_or(|m| means_fit(m, rows))
            || !of_outliers.is_none_or(|m| means_fit(m, outlier_rows))
        {
            return Err(not_a_bank(&path, "its rows name pictures whose means are not there"));
        }
        if outlier_rows == 0 && !recipe.outliers.is_off() && metadata.build.shard.is_none() {
            return Err(not_a_bank(&path, "its recipe uses known outliers, and it has none"));
        }
        let direction = &extras.direction;
        let directed = direction.len() == metadata.model.width && direction.iter().all(|x| x.is_finite());
        if recipe.discriminant.is_some() && !directed {
            return Err(not_a_bank(&path, "the direction of its discriminant is missing or damaged"));
        }
        if recipe.by_class && extras.classes.len() != rows {
            return Err(not_a_bank(&path, "its recipe searches by class, and its rows have no classes"));
        }
        if let Some(row) = outliers.and_then(|o| o.rows.view().first_not_finite(1)) {
            return Err(not_a_bank(&path, format!("number {row} of its outliers is NaN or infinite")));
        }
        for (number, width) in tables.iter().enumerate() {
            if let Some(row) = store.table(&path, number)?.first_not_finite(*width) {
                return Err(BankError::NotFinite { path, row });
            }
        }
        if rows < k {
            return Err(BankError::TooFew { path, rows, k });
        }
        Ok(Bank { path, bytes, metadata, store, recipe, tables, extras, rows })
    }

    /// Number of reference features, N.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Numbers per feature of the model, C. The rows may have fewer: see [`Bank::tables`].
    pub fn width(&self) -> usize {
        self.metadata.model.width
    }

    /// What the rows are.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// The transforms of the parts of its recipe.
    pub fn transforms(&self) -> &[Transform] {
        &self.extras.transforms
    }

    /// The direction of the recipe's [`Discriminant`], a number for each of the model's; empty without one.
    pub fn direction(&self) -> &[f32] {
        &self.extras.direction
    }

    /// The class of each row; empty if they have none.
    pub fn classes(&self) -> &[u16] {
        &self.extras.classes
    }

    /// Small pictures of the images that rows come from; none if it was built without.
    pub fn thumbnails(&self) -> &Thumbnails {
        &self.extras.thumbnails
    }

    /// The means of the pictures that rows come from, in shards whose recipe wants them.
    pub fn means(&self) -> Option<&PictureMeans> {
        self.extras.means.as_ref()
    }

    /// Known outliers, in tables as those of the references.
    pub fn outliers(&self) -> Option<&OutlierRows> {
        self.extras.outliers.as_ref()
    }

    /// Numbers per row of each table: one table, or one for each part that is searched for itself.
    pub fn tables(&self) -> &[usize] {
        &self.tables
    }

    /// All rows of table `number`, one after another; no numbers if there is no such table.
    pub fn table(&self, number: usize) -> Rows<'_> {
        // Checked when the bank was opened; the mapping has not changed since.
        self.store.table(&self.path, number).unwrap_or(Rows::F32(&[]))
    }

    /// All rows of the first table. Of a bank without a recipe this is all there is: `rows x width` numbers.
    pub fn features(&self) -> Rows<'_> {
        self.table(0)
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

    /// The views beside the whole picture that its normal distances were measured with, in a line; empty for none.
    pub fn views(&self) -> &str {
        self.calibration().and_then(|known| known.views.as_ref()).map_or("", |known| &known.views)
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
