//! A bank of some of the rows of another.

use super::{Bank, BankContents, Extras, RowsBuf, SourceFile};

impl Bank {
    /// The rows `kept` with the files that they came from, and the new number of each old file, `u32::MAX` for
    /// one that is gone.
    pub fn subset(&self, kept: &[usize]) -> (BankContents, Vec<u32>) {
        let mut metadata = self.metadata().clone();
        let mut origins: Vec<_> = kept.iter().filter_map(|row| self.provenance(*row)).collect();
        let mut used = vec![false; metadata.sources.len()];
        for origin in &origins {
            if let Some(used) = used.get_mut(origin.source as usize) {
                *used = true;
            }
        }
        let mut numbers = vec![u32::MAX; used.len()];
        let mut sources: Vec<SourceFile> = Vec::new();
        for (number, source) in metadata.sources.into_iter().enumerate().filter(|(number, _)| used[*number]) {
            numbers[number] = sources.len() as u32;
            sources.push(source);
        }
        for origin in &mut origins {
            origin.source = numbers.get(origin.source as usize).copied().unwrap_or(u32::MAX);
        }
        metadata.sources = sources;
        // Of what was marked as normal, what is left.
        for mark in &mut metadata.build.marks {
            let name = mark.source_name();
            let of = metadata.sources.iter().position(|source| source.name == name);
            mark.rows =
                of.map_or(0, |of| origins.iter().filter(|origin| origin.source as usize == of).count());
        }
        metadata.build.marks.retain(|mark| mark.rows > 0);
        let mut features = RowsBuf::new(self.table(0).data_type());
        for (number, width) in self.tables().iter().enumerate() {
            features.extend(self.table(number).reordered(kept, *width).view());
        }
        let classes = kept.iter().filter_map(|row| self.classes().get(*row)).copied().collect();
        let needed = origins.iter().map(|origin| (origin.source, origin.frame)).collect();
        let thumbnails = self.thumbnails().some(&needed, &numbers);
        let extras = Extras {
            transforms: self.transforms().to_vec(),
            classes,
            means: None,
            outliers: self.outliers().cloned(),
            direction: self.direction().to_vec(),
            thumbnails,
        };
        (BankContents { features, origins, metadata, extras }, numbers)
    }
}
