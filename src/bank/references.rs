//! Reference features that one engine searches: a table of a bank, or some rows of it.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::{Bank, Rows, RowsBuf};

/// Rows of a bank, shared: N x C numbers one after another. The numbers stay in the bank's mapped file.
#[derive(Debug, Clone)]
pub struct References {
    bank: Holder,
    width: usize,
    rows: Range<usize>,
}

#[derive(Debug, Clone)]
enum Holder {
    Table(Arc<Bank>, usize),
    Numbers(Arc<RowsBuf>),
}

impl References {
    /// All rows of table `table` of `bank`; no rows if there is no such table.
    pub fn table(bank: &Arc<Bank>, table: usize) -> References {
        let width = bank.tables().get(table).copied();
        let rows = if width.is_some() { 0..bank.rows() } else { 0..0 };
        References { bank: Holder::Table(Arc::clone(bank), table), width: width.unwrap_or(1), rows }
    }

    /// The known outliers of `bank`, table by table; none if it has none.
    pub fn outliers(bank: &Bank) -> Vec<References> {
        let Some(outliers) = bank.outliers() else { return Vec::new() };
        let all = outliers.rows.view();
        let count = all.count(bank.tables().iter().sum());
        let mut first = 0;
        let table = |width: &usize| {
            let mut rows = RowsBuf::new(all.data_type());
            rows.extend(all.part(first, count * width));
            first += count * width;
            References::of(rows, *width)
        };
        bank.tables().iter().map(table).collect()
    }

    /// Rows of `width` numbers that belong to no bank.
    pub fn of(rows: RowsBuf, width: usize) -> References {
        let all = 0..rows.view().count(width);
        References { bank: Holder::Numbers(Arc::new(rows)), width, rows: all }
    }

    /// Some of the rows.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn some(&self, rows: Range<usize>) -> References {
        assert!(rows.start <= rows.end && rows.end <= self.rows());
        let rows = self.rows.start + rows.start..self.rows.start + rows.end;
        References { rows, ..self.clone() }
    }

    /// Number of rows, N.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Numbers per row, C.
    pub fn width(&self) -> usize {
        self.width
    }

    /// All rows, `rows x width` numbers.
    pub fn features(&self) -> Rows<'_> {
        let all = match &self.bank {
            Holder::Table(bank, table) => bank.table(*table),
            Holder::Numbers(rows) => rows.view(),
        };
        all.part(self.rows.start * self.width, self.rows.len() * self.width)
    }

    /// The bank's file.
    pub fn path(&self) -> &Path {
        match &self.bank {
            Holder::Table(bank, _) => bank.path(),
            Holder::Numbers(_) => Path::new("(in memory)"),
        }
    }
}

/// The first table, which is all of a bank whose parts are not searched one by one.
impl From<&Arc<Bank>> for References {
    fn from(bank: &Arc<Bank>) -> References {
        References::table(bank, 0)
    }
}
