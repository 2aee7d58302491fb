//! Frames that wait for the second look: maps as float16, labels, in memory and beyond that in a file.

use std::io::{self, Read, Seek, SeekFrom, Write};

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::SmiycError;
use crate::eval::metrics::scratch::{Limits, ScratchError, free_bytes};
use crate::eval::truth::{Truth, VOID};
use crate::grid::{Grid, PixelScores, ScoreMap};
use crate::score::Upsampler;

/// A frame as the protocol sees it.
#[derive(Debug)]
pub struct Kept {
    width: usize,
    height: usize,
    scores: Vec<f16>,
    /// Its truth, whose size is the image's.
    pub truth: Truth,
}

impl Kept {
    /// Rounds the scores.
    ///
    /// # Errors
    /// [`SmiycError`]: sizes that do not fit, or a score that is not finite on a pixel that counts.
    pub fn new(
        name: &str,
        (width, height): (usize, usize),
        scores: &[f32],
        truth: &Truth,
    ) -> Result<Kept, SmiycError> {
        let same = (width, height) == (truth.width, truth.height);
        if !(same || width < truth.width) || scores.len() != width * height || scores.is_empty() {
            return Err(SmiycError::Size {
                name: name.to_owned(),
                width,
                height,
                truth_width: truth.width,
                truth_height: truth.height,
            });
        }
        let mut rounded = vec![f16::ZERO; scores.len()];
        rounded.convert_from_f32_slice(scores);
        // Void hides what is no number, unless the map is enlarged: then a cell reaches into others' pixels.
        let counts = |at: usize| !same || truth.labels[at] != VOID;
        let wrong = |(at, score): (usize, &f16)| !score.is_finite() && counts(at);
        if let Some(at) = rounded.iter().enumerate().position(wrong) {
            let (x, y, score) = (at % width, at / width, scores[at]);
            return Err(SmiycError::NotFinite { name: name.to_owned(), score, x, y });
        }
        Ok(Kept { width, height, scores: rounded, truth: truth.clone() })
    }

    /// The score of each pixel of the image.
    pub fn scores(&self) -> Vec<f32> {
        let mut scores = vec![0.0; self.scores.len()];
        self.scores.convert_to_f32_slice(&mut scores);
        let (width, height) = (self.truth.width, self.truth.height);
        if (self.width, self.height) == (width, height) {
            return scores;
        }
        let mut map = ScoreMap { grid: Grid { rows: self.height, cols: self.width }, ..ScoreMap::default() };
        map.data.extend(scores);
        let mut pixels = PixelScores::default();
        Upsampler::new().step(&map, width, height, &mut pixels);
        pixels.data.to_vec()
    }
}

/// Frames, one after the other.
#[derive(Debug)]
pub struct KeptFrames {
    limits: Limits,
    file: tempfile::SpooledTempFile,
    bytes: u64,
    frames: u64,
}

impl KeptFrames {
    /// Without frames yet.
    pub fn new(limits: Limits) -> KeptFrames {
        let file = tempfile::spooled_tempfile_in(limits.memory_bytes, &limits.scratch);
        KeptFrames { limits, file, bytes: 0, frames: 0 }
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.frames
    }

    /// Adds a frame.
    ///
    /// # Errors
    /// If the scratch folder has no room.
    pub fn push(&mut self, frame: Kept) -> Result<(), ScratchError> {
        let sizes = [frame.width, frame.height, frame.truth.width, frame.truth.height];
        let mut head = Vec::with_capacity(32);
        sizes.iter().for_each(|size| head.extend((*size as u64).to_le_bytes()));
        let scores: &[u8] = bytemuck::cast_slice(&frame.scores);
        let parts = [&head, scores, &frame.truth.labels];
        let bytes: u64 = parts.iter().map(|part| part.len() as u64).sum();
        let (in_memory, folder) = (self.limits.memory_bytes as u64, &self.limits.scratch);
        if self.bytes <= in_memory && self.bytes + bytes > in_memory {
            let free = free_bytes(folder).unwrap_or(0) >> 20;
            tracing::info!(
                "the score maps do not fit into {} MiB: they wait in a nameless file in {}, {} MiB per frame; {free} MiB are free there",
                in_memory >> 20,
                folder.display(),
                bytes.div_ceil(1 << 20)
            );
        }
        let written = parts.iter().try_for_each(|part| self.file.write_all(part));
        written.map_err(|source| ScratchError { folder: folder.clone(), bytes, source })?;
        self.bytes += bytes;
        self.frames += 1;
        Ok(())
    }

    /// All frames, in the order given.
    ///
    /// # Errors
    /// If they cannot be read back.
    pub fn read(mut self) -> Result<impl Iterator<Item = Result<Kept, ScratchError>>, ScratchError> {
        let (folder, bytes) = (self.limits.scratch.clone(), self.bytes);
        let wrong = move |source| ScratchError { folder: folder.clone(), bytes, source };
        self.file.seek(SeekFrom::Start(0)).map_err(&wrong)?;
        Ok((0..self.frames).map(move |_| read_frame(&mut self.file).map_err(&wrong)))
    }
}

fn read_frame(file: &mut impl Read) -> io::Result<Kept> {
    let mut size = || -> io::Result<usize> {
        let mut bytes = [0; 8];
        file.read_exact(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes) as usize)
    };
    let (width, height, truth_width, truth_height) = (size()?, size()?, size()?, size()?);
    let mut scores = vec![f16::ZERO; width * height];
    file.read_exact(bytemuck::cast_slice_mut(&mut scores))?;
    let mut labels = vec![0; truth_width * truth_height];
    file.read_exact(&mut labels)?;
    Ok(Kept { width, height, scores, truth: Truth { width: truth_width, height: truth_height, labels } })
}
