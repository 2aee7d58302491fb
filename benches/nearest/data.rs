//! What is searched: seeded Gaussian numbers, or real features of a road bank and of frames.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use farout::bank::{Bank, Rows, RowsBuf};
use half::f16;

use super::made_up::{Noise, bank_of};

/// A bank and frames of queries, T x C numbers each.
pub struct Work {
    /// `gaussian`, `dinov2`, `vit-ti`, `effvit` or `video`.
    pub data: String,
    /// The reference features.
    pub bank: Arc<Bank>,
    /// One or more frames; of `video`, in their order.
    pub frames: Vec<Vec<f32>>,
}

/// A bank of the first `rows` of another: a uniform sample, since rows are ordered by hash.
pub fn first_rows(bank: &Bank, rows: usize) -> Result<Arc<Bank>> {
    let Rows::F16(data) = bank.features() else { bail!("{} is not of f16", bank.path().display()) };
    Ok(bank_of(RowsBuf::F16(data[..rows * bank.width()].to_vec()), bank.width()))
}

/// Standard normal numbers: no structure to use, the worst case.
pub fn gaussian(n: usize, c: usize, t: usize) -> Work {
    let mut noise = Noise::new((n + c) as u64);
    let bank = bank_of(RowsBuf::F16((0..n * c).map(|_| f16::from_f32(noise.number())).collect()), c);
    // Two frames, so that no engine profits from having seen its frame.
    let mut noise = Noise::new((t + c + 1) as u64);
    let frames = (0..2).map(|_| noise.many(t * c, 1.0, 0.0)).collect();
    Work { data: "gaussian".into(), bank, frames }
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
    let mut noise = Noise::new(7);
    let mut draw = |below: usize| (noise.bits() % below as u64) as usize;
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
