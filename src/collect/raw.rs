//! Rows as they come from the model, chunk after chunk.

use crate::bank::{PictureMeans, Rows};
use crate::nearest::{ImageMeans, Projector};

/// Rows that are looked at together.
const CHUNK: usize = 4096;

/// Rows as they come from the model.
pub(super) struct Raw<'a> {
    pub(super) rows: Rows<'a>,
    pub(super) width: usize,
    pub(super) means: Option<&'a PictureMeans>,
}

impl Raw<'_> {
    /// Lets `take` have the rows chunk after chunk: the first one's number, and tables of what `projector` makes
    /// of them.
    pub(super) fn each(&self, mut projector: Projector, mut take: impl FnMut(usize, &[Vec<f32>])) {
        let count = self.rows.count(self.width);
        let mut tables = vec![Vec::new(); projector.tables().len()];
        let mut chunk = Vec::new();
        for first in (0..count).step_by(CHUNK) {
            chunk.resize(CHUNK.min(count - first) * self.width, 0.0);
            self.rows.copy_to(first * self.width, &mut chunk);
            let means = match self.means {
                Some(PictureMeans { means, own }) => ImageMeans::Each(means, &own[first..]),
                None => ImageMeans::None,
            };
            projector.rows(&chunk, means, &mut tables.iter_mut().collect::<Vec<_>>());
            take(first, &tables);
        }
    }
}
