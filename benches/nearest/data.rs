//! What is searched: seeded Gaussian numbers, or real features of a road bank and of frames.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use farout::bank::{Bank, BankContents, BuildRecord, Extras, FORMAT, Metadata, Origin, Rows, RowsBuf};
use farout::identity::ModelIdentity;
use half::f16;

/// A bank and frames of queries, T x C numbers each.
pub struct Work {
    /// `gaussian`, `dinov2`, `vit-ti`, `effvit` or `video`.
    pub data: String,
    /// The reference features.
    pub bank: Arc<Bank>,
    /// One or more frames; of `video`, in their order.
    pub frames: Vec<Vec<f32>>,
}

/// Numbers of a normal distribution, the same for the same seed.
pub struct Gaussian(u64, Option<f32>);

impl Gaussian {
    /// Starts the sequence of `seed`.
    pub fn new(seed: u64) -> Gaussian {
        Gaussian(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d, None)
    }

    /// 64 mixed bits (splitmix64).
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next number (Box and Muller).
    pub fn number(&mut self) -> f32 {
        if let Some(second) = self.1.take() {
            return second;
        }
        let uniform = |bits: u64| ((bits >> 40) as f32 + 0.5) / (1u64 << 24) as f32;
        let (radius, angle) =
            ((-2.0 * uniform(self.bits()).ln()).sqrt(), std::f32::consts::TAU * uniform(self.bits()));
        self.1 = Some(radius * angle.sin());
        radius * angle.cos()
    }
}

/// A bank of `rows` of `width` numbers, f16.
pub fn bank_of(data: Vec<f16>, width: usize) -> Result<Arc<Bank>> {
    let rows = data.len() / width;
    let model = ModelIdentity {
        sha256: "0".repeat(64),
        features: "made up".into(),
        width,
        patch: 14,
        input_size: "frame".into(),
        normalisation: "none".into(),
        name: "made up".into(),
        parts: Vec::new(),
    };
    let origins = (0..rows as u32).map(|row| Origin { source: 0, frame: 0, row, col: 0 }).collect();
    let metadata = Metadata {
        format: FORMAT,
        farout: env!("CARGO_PKG_VERSION").into(),
        model,
        build: BuildRecord::default(),
        recipe: None,
        calibration: None,
        sources: Vec::new(),
    };
    Ok(Arc::new(Bank::from_contents(
        BankContents { features: RowsBuf::F16(data), origins, metadata, extras: Extras::default() },
        1,
    )?))
}

/// A bank of the first `rows` of another: a uniform sample, since rows are ordered by hash.
pub fn first_rows(bank: &Bank, rows: usize) -> Result<Arc<Bank>> {
    let Rows::F16(data) = bank.features() else { bail!("{} is not of f16", bank.path().display()) };
    bank_of(data[..rows * bank.width()].to_vec(), bank.width())
}

/// Standard normal numbers: no structure to use, the worst case.
pub fn gaussian(n: usize, c: usize, t: usize) -> Result<Work> {
    let mut numbers = Gaussian::new((n + c) as u64);
    let bank = bank_of((0..n * c).map(|_| f16::from_f32(numbers.number())).collect(), c)?;
    // Two frames, so that no engine profits from having seen its frame.
    let mut numbers = Gaussian::new((t + c + 1) as u64);
    let frames = (0..2).map(|_| (0..t * c).map(|_| numbers.number()).collect()).collect();
    Ok(Work { data: "gaussian".into(), bank, frames })
}

/// Features of consecutive frames, as the example `features` writes them.
pub struct Clip {
    patches: usize,
    width: usize,
    frames: Vec<Vec<f32>>,
}

impl Clip {
    /// Reads `PREFIX.json` and `PREFIX.f32`.
    pub fn read(prefix: &Path) -> Result<Clip> {
        #[derive(serde::Deserialize)]
        struct About {
            shape: [usize; 3],
        }
        let with = |ending: &str| PathBuf::from(format!("{}.{ending}", prefix.display()));
        let read =
            |path: PathBuf| std::fs::read(&path).with_context(|| format!("reading {}", path.display()));
        let About { shape: [count, patches, width] } = serde_json::from_slice(&read(with("json"))?)?;
        let bytes = read(with("f32"))?;
        ensure!(
            bytes.len() == count * patches * width * 4,
            "{}.f32 has not the shape of its JSON",
            prefix.display()
        );
        let numbers: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        let frames = numbers.chunks(patches * width).map(<[f32]>::to_vec).collect();
        Ok(Clip { patches, width, frames })
    }
}

/// The first `most` frames of a clip in their order.
pub fn video(bank: &Arc<Bank>, clip: &Clip, most: usize) -> Result<Work> {
    ensure!(
        clip.width == bank.width(),
        "{} holds {}-wide features, the clip {}-wide ones",
        bank.path().display(),
        bank.width(),
        clip.width
    );
    let frames = clip.frames.iter().take(most).cloned().collect();
    Ok(Work { data: "video".into(), bank: Arc::clone(bank), frames })
}

/// Frames put together from patches drawn at random from all frames: real features, nothing carried over.
pub fn shuffled(name: &str, bank: &Arc<Bank>, clip: &Clip, count: usize) -> Result<Work> {
    let mut work = video(bank, clip, 0)?;
    let mut numbers = Gaussian::new(7);
    let mut draw = |below: usize| (numbers.bits() % below as u64) as usize;
    work.frames = (0..count)
        .map(|_| {
            let mut frame = Vec::with_capacity(clip.patches * clip.width);
            for _ in 0..clip.patches {
                let (f, p) = (draw(clip.frames.len()), draw(clip.patches));
                frame.extend_from_slice(&clip.frames[f][p * clip.width..(p + 1) * clip.width]);
            }
            frame
        })
        .collect();
    name.clone_into(&mut work.data);
    Ok(work)
}
