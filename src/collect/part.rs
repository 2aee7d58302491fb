//! What rides along in a shard, or in a bank that keeps its held-out frames: those frames, and all that a
//! merge must know to continue where one run would be.
//!
//! In the bank's file these are further tensors: `held_out` (U8, [`Record`] as JSON), and of all frames one
//! after another, each followed by its views, `held_out.features` (F16 `[patches, C]`), `held_out.valid` (U8 `[patches]`) and
//! `held_out.classes` (U16), of each frame's parametric scores in turn `held_out.levels` (F32, NaN for none) and `held_out.scores` (F32), and `held_out.maps`
//! (F32), the map of the score that is fused.

use std::path::Path;

use half::f16;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError};
use serde::{Deserialize, Serialize};

use super::held_frame::HeldFrame;
use super::plan::Planned;
use super::recipe::RecipeConfig;
use super::seen::Seen;
use super::uncertainty::Uncertainty;
use crate::bank::{Bank, BankContents, ClassSource, ShardNumber};
use crate::digest::{Digest, digest_of, hex, undigest};
use crate::file::{WriteError, write_whole};
use crate::grid::Grid;
use crate::score::{MapRecipe, Parametric};
use crate::views::{Layout, ViewsConfig};
use crate::written::is_default;

/// Which part of which inputs a file was built from, and how. Files merge if all of this but the shard's
/// number is equal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Terms {
    /// The shard; 1 of 1 for a bank that was built in one run.
    pub(super) shard: ShardNumber,
    /// SHA-256 over the names of all inputs, those of other shards too.
    pub(super) inputs: String,
    /// Neighbours of the calibration.
    pub(super) k: usize,
    /// At most so many held-out frames are measured.
    pub(super) held_out_frames: usize,
    /// Size from which a region counts.
    pub(super) min_region_px: u32,
    /// Scores of the logits that are calibrated.
    pub(super) parametric: Vec<Parametric>,
    /// How their maps come about, and the one that fused scores are made of.
    pub(super) maps: MapRecipe,
    /// How frames were held out, in words.
    pub(super) split: String,
    /// What is asked of the bank's recipe; the rows here are still features as they are.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) recipe: RecipeConfig,
    /// Where the classes of patches come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) classes: Option<ClassSource>,
    /// What the held-out frames were looked at through, beside the whole picture.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) views: ViewsConfig,
    /// Of a shard by a plan: what it was built from, and what all are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) planned: Option<Planned>,
}

/// The held-out frames and the terms of one file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    pub(super) terms: Terms,
    /// Sources that are videos, by number.
    pub(super) videos: Vec<u32>,
    pub(super) frames: Vec<HeldFrame>,
}

/// The JSON of a part.
#[derive(Serialize, Deserialize)]
struct Record {
    terms: Terms,
    videos: Vec<u32>,
    frames: Vec<FrameRecord>,
}

#[derive(Serialize, Deserialize)]
struct FrameRecord {
    image: String,
    series: String,
    block: u64,
    #[serde(flatten)]
    seen: SeenRecord,
    /// The same of its views.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    views: Vec<SeenRecord>,
    /// Width and height in pixels, where it has views.
    #[serde(default, skip_serializing_if = "is_default")]
    size: (usize, usize),
    /// Scores kept of each parametric method; none if the model has no logits.
    scores: Vec<usize>,
    /// Rows and columns of the map.
    map: [usize; 2],
}

/// How much a picture or a view of it has in the tensors.
#[derive(Clone, Serialize, Deserialize)]
struct SeenRecord {
    rows: usize,
    cols: usize,
    /// Classes kept: one per patch, or none.
    classes: usize,
}

/// A finished build: a bank or a shard.
#[derive(Debug)]
pub struct Built {
    /// The bank, or the shard's features without a calibration.
    pub contents: BankContents,
    pub(super) part: Option<Part>,
}

impl Built {
    /// The bytes of the file.
    ///
    /// # Errors
    /// As [`BankContents::to_bytes`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, SafeTensorError> {
        match &self.part {
            None => self.contents.to_bytes(),
            Some(part) => part.ride(&self.contents),
        }
    }

    /// The same shard, which a merge tells from others by the content of its files: those of another drive may have the
    /// same names.
    pub(super) fn known_by_its_files(mut self) -> Built {
        let files: Vec<&[u8]> =
            self.contents.metadata.sources.iter().map(|source| source.sha256.as_bytes()).collect();
        let files = hex(&digest_of(&files));
        if let Some(part) = &mut self.part {
            part.terms.inputs = hex(&digest_of(&[part.terms.inputs.as_bytes(), files.as_bytes()]));
        }
        self
    }

    /// Writes the file whole: `path` is complete or as it was.
    ///
    /// # Errors
    /// Names `path` and the reason.
    pub fn write(&self, path: &Path) -> Result<(), WriteError> {
        write_whole(path, |w| std::io::Write::write_all(w, &self.to_bytes().map_err(std::io::Error::other)?))
    }
}

impl Part {
    fn ride(&self, contents: &BankContents) -> Result<Vec<u8>, SafeTensorError> {
        let seen = |s: &Seen| SeenRecord { rows: s.grid.rows, cols: s.grid.cols, classes: s.classes.len() };
        let frame = |f: &HeldFrame| FrameRecord {
            image: hex(&f.image),
            series: f.block.0.clone(),
            block: f.block.1,
            seen: seen(&f.seen),
            views: f.views.iter().map(seen).collect(),
            size: f.size,
            scores: f.uncertainty.methods.iter().map(|(scores, _)| scores.len()).collect(),
            map: [f.uncertainty.grid.rows, f.uncertainty.grid.cols],
        };
        let record = Record {
            terms: self.terms.clone(),
            videos: self.videos.clone(),
            frames: self.frames.iter().map(frame).collect(),
        };
        let json = serde_json::to_vec(&record)?;
        let all = || self.frames.iter().flat_map(|f| std::iter::once(&f.seen).chain(&f.views));
        let features: Vec<f16> = all().flat_map(|s| s.features.iter().copied()).collect();
        let valid: Vec<u8> = all().flat_map(|s| s.valid.iter().map(|v| u8::from(*v))).collect();
        let classes: Vec<u16> = all().flat_map(|s| &s.classes).copied().collect();
        let methods = || self.frames.iter().flat_map(|f| &f.uncertainty.methods);
        let levels: Vec<f32> = methods().map(|(_, level)| level.unwrap_or(f32::NAN)).collect();
        let scores: Vec<f32> = methods().flat_map(|(scores, _)| scores).copied().collect();
        let maps: Vec<f32> = self.frames.iter().flat_map(|f| &f.uncertainty.map).copied().collect();
        let width = contents.metadata.model.width;
        let tensor = TensorView::new;
        contents.to_bytes_with(vec![
            ("held_out", tensor(Dtype::U8, vec![json.len()], &json)?),
            (
                "held_out.features",
                tensor(Dtype::F16, vec![valid.len(), width], bytemuck::cast_slice(&features))?,
            ),
            ("held_out.valid", tensor(Dtype::U8, vec![valid.len()], &valid)?),
            ("held_out.classes", tensor(Dtype::U16, vec![classes.len()], bytemuck::cast_slice(&classes))?),
            ("held_out.levels", tensor(Dtype::F32, vec![levels.len()], bytemuck::cast_slice(&levels))?),
            ("held_out.scores", tensor(Dtype::F32, vec![scores.len()], bytemuck::cast_slice(&scores))?),
            ("held_out.maps", tensor(Dtype::F32, vec![maps.len()], bytemuck::cast_slice(&maps))?),
        ])
    }

    /// The part that rides along in `bank`; `None` if there is none.
    ///
    /// # Errors
    /// What does not fit together.
    pub(super) fn of(bank: &Bank) -> Result<Option<Part>, String> {
        let Some(json) = bank.rider("held_out") else { return Ok(None) };
        let record: Record = serde_json::from_slice(json).map_err(|e| e.to_string())?;
        let bytes = |name: &str| bank.rider(name).ok_or_else(|| format!("it has no tensor {name}"));
        let mut features = Numbers { bytes: bytes("held_out.features")?, of: "features" };
        let mut valid = Numbers { bytes: bytes("held_out.valid")?, of: "valid" };
        let mut classes = Numbers { bytes: bytes("held_out.classes")?, of: "classes" };
        let mut levels = Numbers { bytes: bytes("held_out.levels")?, of: "levels" };
        let mut scores = Numbers { bytes: bytes("held_out.scores")?, of: "scores" };
        let mut maps = Numbers { bytes: bytes("held_out.maps")?, of: "maps" };
        let mut seen = |s: &SeenRecord| -> Result<Seen, String> {
            let patches = s.rows.checked_mul(s.cols).ok_or("a frame's grid is too large")?;
            let numbers = patches.checked_mul(bank.width()).ok_or("a frame's grid is too large")?;
            let halves = features.take::<f16>(numbers)?;
            let valid = valid.take::<u8>(patches)?.into_iter().map(|v| v != 0).collect();
            let classes = classes.take::<u16>(s.classes)?;
            if !classes.is_empty() && classes.len() != patches {
                return Err("a frame has not one class per patch".to_owned());
            }
            Ok(Seen { grid: Grid { rows: s.rows, cols: s.cols }, features: halves, valid, classes })
        };
        let windows = Layout::of(&record.terms.views).map_or(0, |layout| layout.len());
        let mut frames = Vec::new();
        for f in &record.frames {
            let image: Digest = undigest(&f.image).ok_or_else(|| format!("{:?} is no SHA-256", f.image))?;
            if f.views.len() != windows {
                return Err(format!("a frame has {} views, not {windows}", f.views.len()));
            }
            let own = seen(&f.seen)?;
            let views = f.views.iter().map(&mut seen).collect::<Result<_, _>>()?;
            let mut methods = Vec::new();
            for count in &f.scores {
                let level = levels.take::<f32>(1)?.first().copied().filter(|l| !l.is_nan());
                methods.push((scores.take::<f32>(*count)?, level));
            }
            let of_map = Grid { rows: f.map[0], cols: f.map[1] };
            let cells = of_map.rows.checked_mul(of_map.cols).ok_or("a frame's map is too large")?;
            let uncertainty = Uncertainty { methods, grid: of_map, map: maps.take::<f32>(cells)? };
            let block = (f.series.clone(), f.block);
            frames.push(HeldFrame { image, block, size: f.size, seen: own, views, uncertainty });
        }
        for rest in [features, valid, classes, levels, scores, maps] {
            if !rest.bytes.is_empty() {
                return Err(format!("held_out.{} is longer than its frames", rest.of));
            }
        }
        Ok(Some(Part { terms: record.terms, videos: record.videos, frames }))
    }
}

/// Numbers that are taken from the front.
struct Numbers<'a> {
    bytes: &'a [u8],
    of: &'static str,
}

impl Numbers<'_> {
    fn take<T: bytemuck::AnyBitPattern>(&mut self, count: usize) -> Result<Vec<T>, String> {
        let split = count.checked_mul(size_of::<T>()).and_then(|n| self.bytes.split_at_checked(n));
        let (taken, rest) =
            split.ok_or_else(|| format!("held_out.{} is shorter than its frames", self.of))?;
        self.bytes = rest;
        // The tensor need not be aligned in the file.
        Ok(taken.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect())
    }
}
