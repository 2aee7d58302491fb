//! Which pictures of the footage are learnt from: frames of videos that differ from each other, and no more in all than
//! are wanted; and towards which row of the picture the videos drive.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::horizon::Watch;
use super::progress::Progress;
use crate::collect::{Input, InputKind};
use crate::file::write_whole;
use crate::frame::Frame;
use crate::luma::Luma;
use crate::sink::{Naming, PictureFormat, PictureWriter};
use crate::source::{self, Purpose, Source, SourceConfig, SourceError};
use crate::stop::Stop;

/// Columns and rows to which a frame is reduced before it is compared.
const REDUCED: (usize, usize) = (32, 18);
/// Mean difference of brightness (0 to 255) from the frame taken last, from which on a frame is another picture.
const ANOTHER: f32 = 8.0;
/// In the folder of a video: what was found in it.
const LISTED: &str = ".listed";
/// In the folder of a video: all of its frames that are wanted are written.
const WHOLE: &str = ".whole";

/// What was chosen of the footage.
#[derive(Debug, Default)]
pub struct Chosen {
    /// Pictures.
    pub pictures: Vec<PathBuf>,
    /// Of pairs of frames of its videos, the rows towards which they drive, in ten thousandths of the height, if they were asked
    /// for; none if there is no video.
    pub rows: Option<Vec<i32>>,
}

/// What was found in a video.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Listed {
    /// The numbers of its frames that differ.
    numbers: Vec<u64>,
    /// As in [`Chosen`].
    rows: Vec<i32>,
}

/// The stills and the frames of videos to learn from, at most `most`: of more, every n-th; with `rows`, the rows towards which the
/// videos drive, too. Frames are written below `folder`, once; those of a video that a former run finished are taken from there.
///
/// # Errors
/// A video that cannot be read, a folder that cannot be written to; [`Stopped`](super::Stopped).
pub fn choose(
    inputs: &[Input],
    (most, rows): (usize, bool),
    folder: &Path,
    progress: &mut dyn Progress,
    stop: &Stop,
) -> Result<Chosen> {
    let videos: Vec<(&Input, PathBuf)> = folders(inputs, folder);
    let (mut listed, mut found): (Vec<Vec<u64>>, Vec<i32>) = Default::default();
    progress.step("choosing frames", Some(videos.len() as u64), "videos");
    for (done, (video, folder)) in videos.iter().enumerate() {
        let in_it = list(video, rows, folder, progress, stop)?;
        listed.push(in_it.numbers);
        found.extend(in_it.rows);
        progress.done(done as u64 + 1);
    }
    let stills = inputs.iter().filter(|input| input.kind == InputKind::Still).count();
    let total = stills + listed.iter().map(Vec::len).sum::<usize>();
    if total == 0 {
        bail!("the footage has no picture");
    }
    let step = total.div_ceil(most.max(1));
    // One count over everything: a long drive stays longer than a short one, and there are never more than wanted.
    let mut index = 0;
    let mut wanted = || {
        index += 1;
        (index - 1) % step == 0
    };
    let mut chosen: Vec<PathBuf> = inputs
        .iter()
        .filter(|input| input.kind == InputKind::Still && wanted())
        .map(|input| input.path.clone())
        .collect();
    progress.step("writing frames", Some(videos.len() as u64), "videos");
    for (done, ((video, folder), numbers)) in videos.iter().zip(listed).enumerate() {
        let numbers: Vec<u64> = numbers.into_iter().filter(|_| wanted()).collect();
        if !numbers.is_empty() {
            write(video, &numbers, folder, stop)?;
        }
        chosen.extend(numbers.iter().map(|number| folder.join(format!("{number:06}.png"))));
        progress.done(done as u64 + 1);
    }
    Ok(Chosen { pictures: chosen, rows: (!videos.is_empty()).then_some(found) })
}

/// The videos among `inputs`, each with a folder of its own below `folder`, named like it.
fn folders<'a>(inputs: &'a [Input], folder: &Path) -> Vec<(&'a Input, PathBuf)> {
    let mut given = std::collections::BTreeSet::new();
    let of = |input: &'a Input| {
        let stem = input.path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let name = (1..)
            .map(|copy| if copy == 1 { stem.clone() } else { format!("{stem}-{copy}") })
            .find(|name| given.insert(name.clone()))
            .unwrap_or(stem);
        (input, folder.join(name))
    };
    inputs.iter().filter(|input| input.kind == InputKind::Video).map(of).collect()
}

/// What a former run found in a video, or what is found now.
fn list(
    video: &Input,
    rows: bool,
    folder: &Path,
    progress: &mut dyn Progress,
    stop: &Stop,
) -> Result<Listed> {
    let path = folder.join(LISTED);
    if let Some(listed) = std::fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok()) {
        return Ok(listed);
    }
    let listed = look_through(video, rows, progress, stop)?;
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let text = serde_json::to_vec(&listed)?;
    write_whole(&path, |out| out.write_all(&text))?;
    Ok(listed)
}

/// The frames that are another picture than the one taken before and, if they are wanted, the rows towards which the video drives.
fn look_through(video: &Input, rows: bool, progress: &mut dyn Progress, stop: &Stop) -> Result<Listed> {
    let (mut luma, mut last, mut now) = (Luma::default(), Vec::new(), Vec::new());
    let (mut numbers, mut watch) = (Vec::new(), Watch::default());
    each(video, stop, Some(progress), |number, frame| {
        luma.take(frame);
        if rows {
            watch.see(number, &luma);
        }
        reduce(&luma, &mut now);
        if numbers.is_empty() || difference(&now, &last) >= ANOTHER {
            numbers.push(number);
            std::mem::swap(&mut now, &mut last);
        }
        Ok(())
    })?;
    Ok(Listed { numbers, rows: watch.rows })
}

/// Writes the frames with these numbers.
fn write(video: &Input, wanted: &[u64], folder: &Path, stop: &Stop) -> Result<()> {
    if folder.join(WHOLE).exists() {
        return Ok(());
    }
    let mut writer = PictureWriter::new(folder, PictureFormat::Png, Naming::Number)?;
    let mut left = wanted.iter().peekable();
    each(video, stop, None, |number, frame| {
        if left.next_if(|next| **next == number).is_some() {
            writer.write(frame)?;
        }
        Ok(())
    })?;
    write_whole(&folder.join(WHOLE), |_| Ok(()))?;
    Ok(())
}

/// Decodes a video to its end, or to where it is cut off.
fn each(
    video: &Input,
    stop: &Stop,
    progress: Option<&mut dyn Progress>,
    mut take: impl FnMut(u64, &Frame) -> Result<()>,
) -> Result<()> {
    let location = video.path.to_string_lossy();
    let opened = source::open(&location, &SourceConfig::default(), Purpose::Offline, stop.clone());
    let mut source: Box<dyn Source> = opened.with_context(|| video.path.display().to_string())?;
    let mut number = 0;
    loop {
        match source.next() {
            _ if stop.asked() => return Err(super::Stopped.into()),
            Ok(Some(mut frame)) => {
                // Its number here names its file.
                frame.id = number;
                take(number, &frame)?;
                number += 1;
            }
            Ok(None) => return Ok(()),
            Err(cut @ SourceError::CutOff { .. }) => {
                if let Some(progress) = progress {
                    progress.warn(&cut.to_string());
                }
                return Ok(());
            }
            Err(other) => return Err(other.into()),
        }
    }
}

/// Means of the brightness over a coarse grid.
fn reduce(luma: &Luma, out: &mut Vec<f32>) {
    let (cols, rows) = REDUCED;
    out.clear();
    for row in 0..rows {
        let (top, bottom) = (row * luma.height / rows, ((row + 1) * luma.height / rows).max(1));
        for col in 0..cols {
            let (left, right) = (col * luma.width / cols, ((col + 1) * luma.width / cols).max(1));
            let lines = luma.pixels.chunks_exact(luma.width.max(1)).take(bottom).skip(top.min(bottom - 1));
            let (sum, count) = lines
                .flat_map(|line| &line[left.min(right - 1)..right])
                .fold((0_u64, 0_u64), |(sum, count), pixel| (sum + u64::from(*pixel), count + 1));
            out.push(sum as f32 / count.max(1) as f32);
        }
    }
}

/// The mean absolute difference of two reduced pictures.
fn difference(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f32>() / a.len().max(1) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_differ_by_their_brightness_all_over() {
        let picture = |shift: usize| Luma {
            width: 64,
            height: 36,
            pixels: (0..64 * 36).map(|i| if (i % 64 + shift) % 16 < 8 { 200 } else { 40 }).collect(),
        };
        let reduced = |shift| {
            let mut out = Vec::new();
            reduce(&picture(shift), &mut out);
            out
        };
        assert_eq!(reduced(0).len(), 32 * 18);
        assert_eq!(difference(&reduced(0), &reduced(0)), 0.0);
        assert!(difference(&reduced(0), &reduced(4)) >= ANOTHER);
        // Smaller than the grid: no cell is empty.
        let mut out = Vec::new();
        reduce(&Luma { width: 5, height: 3, pixels: vec![9; 15] }, &mut out);
        assert!(out.len() == 32 * 18 && out.iter().all(|mean| *mean == 9.0));
    }

    #[test]
    fn videos_of_one_name_have_folders_of_their_own() {
        let video =
            |path: &str| Input { path: path.into(), name: path.into(), kind: InputKind::Video, label: None };
        let inputs = [video("a/clip.mp4"), video("b/clip.mp4"), video("b/other.mkv")];
        let found: Vec<_> = folders(&inputs, Path::new("f")).into_iter().map(|(_, folder)| folder).collect();
        assert_eq!(found, ["f/clip", "f/clip-2", "f/other"].map(PathBuf::from));
    }
}
