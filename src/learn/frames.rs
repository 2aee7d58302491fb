//! Which pictures of the footage are learnt from: frames of videos that differ from each other, and no more in all than
//! are wanted.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

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
/// In the folder of a video: the numbers of its frames that differ.
const LISTED: &str = ".listed";
/// In the folder of a video: all of its frames that are wanted are written.
const WHOLE: &str = ".whole";

/// The stills and the frames of videos to learn from, at most `most`: of more, every n-th. Frames are written below `folder`,
/// once; those of a video that a former run finished are taken from there.
///
/// # Errors
/// A video that cannot be read, a folder that cannot be written to; [`Stopped`](super::Stopped).
pub fn choose(
    inputs: &[Input],
    most: usize,
    folder: &Path,
    progress: &mut dyn Progress,
    stop: &Stop,
) -> Result<Vec<PathBuf>> {
    let videos: Vec<(&Input, PathBuf)> = folders(inputs, folder);
    let mut listed: Vec<Vec<u64>> = Vec::new();
    progress.step("choosing frames", Some(videos.len() as u64), "videos");
    for (done, (video, folder)) in videos.iter().enumerate() {
        listed.push(list(video, folder, progress, stop)?);
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
    Ok(chosen)
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

/// The frames of a video that differ, as a former run listed them or as they are found now.
fn list(video: &Input, folder: &Path, progress: &mut dyn Progress, stop: &Stop) -> Result<Vec<u64>> {
    let path = folder.join(LISTED);
    if let Ok(text) = std::fs::read_to_string(&path) {
        return Ok(text.lines().filter_map(|line| line.parse().ok()).collect());
    }
    let numbers = differing(video, progress, stop)?;
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let lines: String = numbers.iter().map(|number| format!("{number}\n")).collect();
    write_whole(&path, |out| out.write_all(lines.as_bytes()))?;
    Ok(numbers)
}

/// The numbers of the frames that are another picture than the one taken before.
fn differing(video: &Input, progress: &mut dyn Progress, stop: &Stop) -> Result<Vec<u64>> {
    let (mut luma, mut last, mut now) = (Luma::default(), Vec::new(), Vec::new());
    let mut numbers = Vec::new();
    each(video, stop, Some(progress), |number, frame| {
        luma.take(frame);
        reduce(&luma, &mut now);
        if numbers.is_empty() || difference(&now, &last) >= ANOTHER {
            numbers.push(number);
            std::mem::swap(&mut now, &mut last);
        }
        Ok(())
    })?;
    Ok(numbers)
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
