//! Walking many runs at once by falling score: window by window of keys, whatever the number of runs.

use std::io;

use super::run::{Reader, Run};

/// Keys of the narrowest window; its counters fit the second-level cache.
const NARROWEST: u64 = 1 << 14;
/// With fewer than one pair in so many keys, sorting the pairs beats going over the counters.
const DENSE: u64 = 128;
/// A window of pairs that are sorted should not have more of them.
const MANY_PAIRS: usize = 1 << 16;

/// One distinct score, and how many pixels have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The key of the score.
    pub key: u64,
    /// Normal pixels.
    pub normal: u64,
    /// Anomalous pixels.
    pub anomaly: u64,
}

/// Calls `step` for each distinct key of all runs (finite scores: none is `u64::MAX`), upwards: by
/// falling score.
///
/// # Errors
/// If the file of a run cannot be read.
pub fn walk<'a>(
    normal: impl IntoIterator<Item = &'a Run>,
    anomaly: impl IntoIterator<Item = &'a Run>,
    step: impl FnMut(Step),
) -> io::Result<()> {
    let class = |class: usize| move |run: &'a Run| run.reader().map(|reader| (class, reader));
    let readers = normal
        .into_iter()
        .map(class(0))
        .chain(anomaly.into_iter().map(class(1)))
        .collect::<Result<_, _>>()?;
    walk_below(readers, u64::MAX, step)
}

/// A walk over part of the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The first key.
    pub start: u64,
    /// The key after the last.
    pub end: u64,
}

impl Part {
    /// Parts of all keys with about as many pairs each, one or more per thread.
    pub fn split(runs: &[&Run], parts: usize) -> Vec<Part> {
        let mut marks: Vec<u64> = runs.iter().flat_map(|run| run.marks()).map(|mark| mark.key).collect();
        marks.sort_unstable();
        let cut = |i: usize| marks[i * marks.len() / parts];
        let mut cuts: Vec<u64> = if marks.len() < parts { Vec::new() } else { (1..parts).map(cut).collect() };
        cuts.dedup();
        let starts = std::iter::once(0).chain(cuts.iter().copied());
        let ends = cuts.iter().copied().chain([u64::MAX]);
        starts.zip(ends).map(|(start, end)| Part { start, end }).collect()
    }

    /// Walks over the part. What is made by `begin` from the normal and anomalous pixels of all keys before
    /// takes each step.
    ///
    /// # Errors
    /// If the file of a run cannot be read.
    pub fn walk<A>(
        self,
        normal: &[Run],
        anomaly: &[Run],
        begin: impl FnOnce(u64, u64) -> A,
        mut step: impl FnMut(&mut A, Step),
    ) -> io::Result<A> {
        let (mut readers, mut before) = (Vec::with_capacity(normal.len() + anomaly.len()), [0, 0]);
        for (class, runs) in [normal, anomaly].into_iter().enumerate() {
            for run in runs {
                let (reader, pixels) = run.reader_from(self.start)?;
                before[class] += pixels;
                readers.push((class, reader));
            }
        }
        let mut taker = begin(before[0], before[1]);
        walk_below(readers, self.end, |at| step(&mut taker, at))?;
        Ok(taker)
    }
}

/// Walks over what `readers` (and the class of each) still have below the key `limit`.
fn walk_below(
    mut readers: Vec<(usize, Reader<'_>)>,
    limit: u64,
    mut step: impl FnMut(Step),
) -> io::Result<()> {
    let mut table = Table::default();
    let mut pairs = Vec::new();
    let (mut width, mut before) = (NARROWEST, usize::MAX);
    loop {
        readers.retain(|(_, reader)| reader.head().is_some_and(|key| key < limit));
        let Some(start) = readers.iter().filter_map(|(_, reader)| reader.head()).min() else {
            return Ok(());
        };
        let end = start.saturating_add(width).min(limit);
        if width == NARROWEST && before as u64 > NARROWEST / DENSE {
            before = table.fill(&mut readers, start, end)?;
            table.empty(start, &mut step);
            continue;
        }
        for (class, reader) in &mut readers {
            let class = *class;
            reader.take_below(end, |key, count| pairs.push((key, class, count)))?;
        }
        before = pairs.len();
        sorted(&mut pairs, &mut step);
        if before as u64 > width / DENSE {
            width = NARROWEST;
        } else if before > MANY_PAIRS {
            width = (width / 4).max(NARROWEST);
        } else if before < MANY_PAIRS / 16 {
            width = width.saturating_mul(4);
        }
    }
}

/// Counters of one window, and which of them are not 0.
struct Table {
    counts: Vec<[u64; 2]>,
    used: Vec<u64>,
}

impl Default for Table {
    fn default() -> Self {
        Table { counts: vec![[0; 2]; NARROWEST as usize], used: vec![0; NARROWEST as usize / 64] }
    }
}

impl Table {
    /// Takes the pairs of the window; gives their number.
    fn fill(&mut self, readers: &mut [(usize, Reader<'_>)], start: u64, end: u64) -> io::Result<usize> {
        let mut pairs = 0;
        for (class, reader) in readers {
            let class = *class;
            reader.take_below(end, |key, count| {
                let at = (key - start) as usize;
                self.counts[at][class] += count;
                self.used[at / 64] |= 1 << (at % 64);
                pairs += 1;
            })?;
        }
        Ok(pairs)
    }

    fn empty(&mut self, start: u64, step: &mut impl FnMut(Step)) {
        for (word, used) in self.used.iter_mut().enumerate() {
            while *used != 0 {
                let at = word * 64 + used.trailing_zeros() as usize;
                *used &= *used - 1;
                let [normal, anomaly] = std::mem::take(&mut self.counts[at]);
                step(Step { key: start + at as u64, normal, anomaly });
            }
        }
    }
}

fn sorted(pairs: &mut Vec<(u64, usize, u64)>, step: &mut impl FnMut(Step)) {
    pairs.sort_unstable_by_key(|(key, _, _)| *key);
    for equal in pairs.chunk_by(|a, b| a.0 == b.0) {
        let mut counts = [0; 2];
        equal.iter().for_each(|(_, class, count)| counts[*class] += count);
        step(Step { key: equal[0].0, normal: counts[0], anomaly: counts[1] });
    }
    pairs.clear();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::metrics::run::RunWriter;
    use crate::random::Random;
    use std::collections::BTreeMap;

    #[test]
    fn a_walk_is_the_sum_of_its_runs() {
        Random::for_many(48, |random| {
            let mut want: BTreeMap<u64, [u64; 2]> = BTreeMap::new();
            let mut made = [Vec::new(), Vec::new()];
            let dense: BTreeMap<u64, u64> =
                (0..random.below(60_000) as u64).map(|i| (i * 3 + 1_000_000, 1)).collect();
            let sparse = (0..random.below(7)).map(|_| {
                let spread = [300, 1 << 22, 1 << 62][random.below(3)];
                (0..random.below(300))
                    .map(|_| (random.below(spread) as u64, 1 + random.below(9) as u64))
                    .collect()
            });
            let runs: Vec<BTreeMap<u64, u64>> = sparse.collect();
            for (i, pairs) in runs.into_iter().chain([dense]).enumerate() {
                let mut writer = RunWriter::default();
                for (key, count) in pairs {
                    want.entry(key).or_default()[i % 2] += count;
                    writer.push(key, count);
                }
                made[i % 2].push(writer.finish());
            }
            let mut got = Vec::new();
            walk(&made[0], &made[1], |step| got.push((step.key, [step.normal, step.anomaly]))).unwrap();
            assert_eq!(got, want.into_iter().collect::<Vec<_>>());
        });
    }
}
