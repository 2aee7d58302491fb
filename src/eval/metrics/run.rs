//! Runs: keys in rising order with their counts, a byte or two per pair, in memory or in a file.
//!
//! A pair is the step from the key before (the first byte holds six bits of it, further ones seven) and,
//! if a bit of the first byte says so, the count less two; a count of one takes no byte.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// The step or count goes on in the next byte.
const MORE: u8 = 0x80;
/// In a pair's first byte: a count follows.
const COUNTED: u8 = 0x40;
/// No pair is longer.
const LONGEST_PAIR: usize = 20;
/// Pairs from one mark to the next.
const MARK: u64 = 1 << 14;
/// Read from a file at once.
const PAGE: usize = 1 << 17;

/// Keys in rising order, each once, with the number of pixels that have it.
#[derive(Debug, Clone)]
pub struct Run {
    data: Data,
    marks: Vec<Mark>,
    /// Pairs.
    pub pairs: u64,
    /// Pixels.
    pub pixels: u64,
}

/// A place in a run where reading can begin.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mark {
    /// The key of the pair before; 0 at the start.
    pub key: u64,
    /// Where the next pair's bytes begin.
    at: usize,
    /// Pairs before.
    pairs: u64,
    /// Pixels before.
    pixels: u64,
}

#[derive(Debug, Clone)]
enum Data {
    Memory(Vec<u8>),
    File { file: Arc<File>, start: u64, len: u64 },
}

impl Run {
    /// Counts equal neighbours of sorted keys.
    pub fn of_sorted<K: super::key::Key>(keys: &[K]) -> Run {
        let mut writer = RunWriter::default();
        // Most maps have few equal scores per image, and near ones.
        writer.bytes.reserve(keys.len() * 2);
        for equal in keys.chunk_by(|a, b| a == b) {
            writer.push(equal[0].wide(), equal.len() as u64);
        }
        writer.bytes.shrink_to_fit();
        writer.finish()
    }

    /// Bytes that it takes in memory.
    pub fn memory(&self) -> usize {
        match &self.data {
            Data::Memory(bytes) => bytes.capacity(),
            Data::File { .. } => 0,
        }
    }

    /// Its bytes, if they are in memory.
    pub fn bytes(&self) -> &[u8] {
        match &self.data {
            Data::Memory(bytes) => bytes,
            Data::File { .. } => &[],
        }
    }

    /// The same run once its bytes are in `file` from `start` on.
    pub fn moved_to(self, file: &Arc<File>, start: u64) -> Run {
        let data = Data::File { file: Arc::clone(file), start, len: self.bytes().len() as u64 };
        Run { data, ..self }
    }

    /// Places along the run, so many pairs apart.
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// Reads it from the first pair on whose key is at least `key`; gives the pixels before it too.
    ///
    /// # Errors
    /// If its file cannot be read.
    pub fn reader_from(&self, key: u64) -> io::Result<(Reader<'_>, u64)> {
        // Pairs after a mark have keys above the mark's.
        let after = self.marks.partition_point(|mark| mark.key < key);
        let mark = after.checked_sub(1).and_then(|at| self.marks.get(at)).copied().unwrap_or_default();
        let (bytes, file) = match &self.data {
            Data::Memory(bytes) => (Bytes::Lent(&bytes[mark.at..]), None),
            Data::File { file, start, len } => {
                (Bytes::Own(Vec::new()), Some((&**file, start + mark.at as u64, start + len)))
            }
        };
        let left = self.pairs - mark.pairs;
        let mut reader = Reader { bytes, at: 0, file, left, key: mark.key, head: None };
        reader.head = reader.next_pair()?;
        let mut before = mark.pixels;
        reader.take_below(key, |_, count| before += count)?;
        Ok((reader, before))
    }

    /// Reads it from its first pair on.
    ///
    /// # Errors
    /// If its file cannot be read.
    pub fn reader(&self) -> io::Result<Reader<'_>> {
        self.reader_from(0).map(|(reader, _)| reader)
    }
}

/// Builds a run, pair by pair.
#[derive(Debug, Default)]
pub struct RunWriter {
    bytes: Vec<u8>,
    marks: Vec<Mark>,
    last: u64,
    pairs: u64,
    pixels: u64,
}

impl RunWriter {
    /// Adds a pair; keys rise from call to call, counts are not 0.
    #[inline]
    pub fn push(&mut self, key: u64, count: u64) {
        if self.pairs.is_multiple_of(MARK) && self.pairs > 0 {
            let (at, pairs, pixels) = (self.bytes.len(), self.pairs, self.pixels);
            self.marks.push(Mark { key: self.last, at, pairs, pixels });
        }
        let mut step = key - self.last;
        self.last = key;
        self.pairs += 1;
        self.pixels += count;
        let counted = if count > 1 { COUNTED } else { 0 };
        if step < 64 {
            self.bytes.push(step as u8 | counted);
        } else {
            self.bytes.push((step as u8 & 0x3f) | counted | MORE);
            step >>= 6;
            self.number(step);
        }
        if count > 1 {
            self.number(count - 2);
        }
    }

    #[inline]
    fn number(&mut self, mut number: u64) {
        while number >= 128 {
            self.bytes.push(number as u8 | MORE);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    /// The run.
    pub fn finish(self) -> Run {
        let (data, marks) = (Data::Memory(self.bytes), self.marks);
        Run { data, marks, pairs: self.pairs, pixels: self.pixels }
    }
}

#[derive(Debug)]
enum Bytes<'a> {
    Lent(&'a [u8]),
    Own(Vec<u8>),
}

/// Reads a run's pairs in order.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: Bytes<'a>,
    at: usize,
    /// The file, where to read on, and where to end.
    file: Option<(&'a File, u64, u64)>,
    left: u64,
    key: u64,
    head: Option<(u64, u64)>,
}

impl Reader<'_> {
    /// The key of the pair that comes next.
    pub fn head(&self) -> Option<u64> {
        self.head.map(|(key, _)| key)
    }

    /// Takes all pairs with keys below `end`.
    ///
    /// # Errors
    /// If the file cannot be read.
    #[inline]
    pub fn take_below(&mut self, end: u64, mut take: impl FnMut(u64, u64)) -> io::Result<()> {
        while let Some((key, count)) = self.head
            && key < end
        {
            take(key, count);
            self.head = self.next_pair()?;
        }
        Ok(())
    }

    #[inline]
    fn next_pair(&mut self) -> io::Result<Option<(u64, u64)>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        if let Bytes::Own(bytes) = &self.bytes
            && bytes.len() - self.at < LONGEST_PAIR
        {
            self.read_on()?;
        }
        let bytes: &[u8] = match &self.bytes {
            Bytes::Lent(bytes) => bytes,
            Bytes::Own(bytes) => bytes,
        };
        let mut at = self.at;
        let first = byte(bytes, &mut at)?;
        let mut step = u64::from(first & 0x3f);
        if first & MORE != 0 {
            step |= number(bytes, &mut at)? << 6;
        }
        let count = if first & COUNTED != 0 { number(bytes, &mut at)? + 2 } else { 1 };
        self.key += step;
        self.at = at;
        Ok(Some((self.key, count)))
    }

    #[cold]
    fn read_on(&mut self) -> io::Result<()> {
        if let Bytes::Own(bytes) = &mut self.bytes
            && let Some((file, next, end)) = &mut self.file
            && next < end
        {
            bytes.drain(..self.at);
            self.at = 0;
            let (kept, more) = (bytes.len(), (*end - *next).min(PAGE as u64));
            bytes.resize(kept + more as usize, 0);
            file.read_exact_at(&mut bytes[kept..], *next)?;
            *next += more;
        }
        Ok(())
    }
}

#[inline]
fn byte(bytes: &[u8], at: &mut usize) -> io::Result<u8> {
    let byte = bytes.get(*at).copied().ok_or(io::ErrorKind::UnexpectedEof)?;
    *at += 1;
    Ok(byte)
}

#[inline]
fn number(bytes: &[u8], at: &mut usize) -> io::Result<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = byte(bytes, at)?;
        number |= u64::from(byte & !MORE) << shift;
        if byte & MORE == 0 {
            return Ok(number);
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use std::collections::BTreeMap;
    use std::io::Write;

    #[test]
    fn what_goes_in_comes_out_of_memory_and_of_files() {
        Random::for_many(64, |random| {
            let (count, near, many) = (random.below(200), random.below(64), random.below(40));
            let pairs: BTreeMap<u64, u64> = (0..count)
                .map(|_| (random.bits() >> near, 1 + random.below(1 << many) as u64))
                .filter(|(key, _)| *key < u64::MAX)
                .collect();
            let mut writer = RunWriter::default();
            pairs.iter().for_each(|(key, count)| writer.push(*key, *count));
            let run = writer.finish();
            assert_eq!(run.pairs, pairs.len() as u64);
            assert_eq!(run.pixels, pairs.values().sum::<u64>());
            assert_eq!(&read(&run), &pairs);
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(b"before").unwrap();
            file.write_all(run.bytes()).unwrap();
            file.write_all(b"after").unwrap();
            let run = run.moved_to(&Arc::new(file), 6);
            assert_eq!(run.memory(), 0);
            assert_eq!(&read(&run), &pairs);
        });
    }

    /// Reads in windows, so that every pair is once the first of one.
    fn read(run: &Run) -> BTreeMap<u64, u64> {
        let mut pairs = BTreeMap::new();
        let mut reader = run.reader().unwrap();
        while let Some(head) = reader.head() {
            let end = head.saturating_add(1 << 20);
            reader.take_below(end, |key, count| assert!(pairs.insert(key, count).is_none())).unwrap();
        }
        pairs
    }

    #[test]
    fn a_file_longer_than_a_page_is_read_on() {
        let mut writer = RunWriter::default();
        (0..200_000_u64).for_each(|i| writer.push(i * 1000, i % 3 + 1));
        let run = writer.finish();
        assert!(run.bytes().len() > 2 * PAGE);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(run.bytes()).unwrap();
        let run = run.moved_to(&Arc::new(file), 0);
        let pairs = read(&run);
        assert!(pairs.into_iter().eq((0..200_000_u64).map(|i| (i * 1000, i % 3 + 1))));
    }

    #[test]
    fn reading_begins_anywhere() {
        let mut writer = RunWriter::default();
        (1..200_000_u64).for_each(|i| writer.push(i * 10, i % 3 + 1));
        let run = writer.finish();
        assert!(run.marks().len() > 10);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(run.bytes()).unwrap();
        let moved = run.clone().moved_to(&Arc::new(file), 0);
        for run in [run, moved] {
            for key in [0, 1, 10, 11, 163_839, 163_840, 163_841, 163_850, 1_000_005, 1_999_990, 1_999_991] {
                let (reader, before) = run.reader_from(key).unwrap();
                let first = key.div_ceil(10).max(1);
                assert_eq!(reader.head(), (first < 200_000).then_some(first * 10), "{key}");
                assert_eq!(before, (1..first).map(|i| i % 3 + 1).sum::<u64>(), "{key}");
            }
        }
    }
}
