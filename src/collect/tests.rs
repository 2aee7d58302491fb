//! Banks built with a made-up extractor: the colours of a patch instead of a network.

use std::path::{Path, PathBuf};

use super::inputs::natural;
use super::*;
use crate::bank::{Bank, BankContents, DataType};
use crate::digest::{hex, sha256_of_file};
use crate::frame::{Frame, PixelFormat};
use crate::grid::{Features, Grid, Logits};
use crate::identity::{FeaturePart, ModelIdentity};
use crate::pool::Pool;
use crate::source::{Source, SourceError};
use crate::stop::Stop;

mod given;
mod outliers;
mod parts;
mod recipes;

/// Mean colour of patches of 8 pixels; the logits are the same numbers on the same grid.
struct MeanColour {
    seen: usize,
    /// Multiplies the features; NaN and large numbers are faults.
    gain: f32,
}

impl Extract for MeanColour {
    fn extract(
        &mut self,
        frame: &Frame,
        out: &mut Features,
        logits: Option<&mut Logits>,
    ) -> anyhow::Result<()> {
        self.seen += 1;
        let grid = Grid { rows: frame.height / 8, cols: frame.width / 8 };
        (out.grid, out.width) = (grid, 3);
        out.data.clear();
        for patch in 0..grid.len() {
            for channel in 0..3 {
                let at = |i: usize| {
                    let (y, x) = (patch / grid.cols * 8 + i / 8, patch % grid.cols * 8 + i % 8);
                    f32::from(frame.pixels[(y * frame.width + x) * 3 + channel])
                };
                out.data.push((0..64).map(at).sum::<f32>() / 64.0 * self.gain);
            }
        }
        if let Some(logits) = logits {
            (logits.grid, logits.classes) = (grid, 3);
            logits.data.clear();
            logits.data.extend(
                (0..3).flat_map(|c| (0..grid.len()).map(move |p| (c, p))).map(|(c, p)| out.data[p * 3 + c]),
            );
        }
        Ok(())
    }

    fn identity(&self) -> ModelIdentity {
        let text = |s: &str| s.to_owned();
        let part = |name: &str, width| FeaturePart { name: name.to_owned(), width };
        ModelIdentity {
            sha256: text("00"),
            features: text("mean"),
            patch: 8,
            input_size: text("frame"),
            normalisation: text("rgb"),
            name: text("mean"),
            parts: vec![part("red", 1), part("rest", 2)],
            width: 3,
        }
    }

    fn has_logits(&self) -> bool {
        true
    }
}

/// A still image, or a "video" whose bytes are its frames' colours; the letter X cuts it off.
struct Colours {
    frames: std::vec::IntoIter<Result<Frame, SourceError>>,
    known: bool,
}

impl Source for Colours {
    fn next(&mut self) -> Result<Option<Frame>, SourceError> {
        self.frames.next().transpose()
    }
    fn rate(&self) -> Option<f64> {
        None
    }
    fn frames(&self) -> Option<u64> {
        self.known.then_some(self.frames.len() as u64)
    }
    fn describe(&self) -> String {
        String::new()
    }
    fn is_live(&self) -> bool {
        false
    }
}

fn open(input: &Input) -> anyhow::Result<Box<dyn Source>> {
    let frame = |w: u32, h: u32, pixels: &[u8]| {
        let mut frame = Frame::take(&Pool::new(), PixelFormat::Rgb, w as usize, h as usize);
        frame.pixels.copy_from_slice(pixels);
        frame
    };
    let frames: Vec<_> = match input.kind {
        InputKind::Still => {
            let image = image::open(&input.path)?.into_rgb8();
            vec![Ok(frame(image.width(), image.height(), image.as_raw()))]
        }
        InputKind::Video => std::fs::read(&input.path)?
            .iter()
            .map(|byte| match byte {
                b'X' => Err(SourceError::CutOff {
                    location: input.name.clone(),
                    last_frame: 0,
                    last_secs: 0.0,
                    why: "X".into(),
                }),
                other => Ok(frame(16, 16, &[*other; 16 * 16 * 3])),
            })
            .collect(),
    };
    Ok(Box::new(Colours { frames: frames.into_iter(), known: false }))
}

/// A 48x32 image of seeded noise.
fn write_image(path: &Path, seed: u32) {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(17);
    let image = image::RgbImage::from_fn(48, 32, |_, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        image::Rgb([(state >> 24) as u8, (state >> 16) as u8, seed as u8])
    });
    image.save(path).unwrap();
}

/// Images in a folder `drive` below `dir`: the folder's name decides which blocks are held out.
fn drive(dir: &Path, images: u32, step: u32) -> Vec<Input> {
    let dir = dir.join("drive");
    std::fs::create_dir_all(&dir).unwrap();
    for i in 0..images {
        write_image(&dir.join(format!("drive_{:06}.png", i * step)), i);
    }
    list(&[dir.to_str().unwrap().to_owned()]).unwrap()
}

fn run(inputs: &[Input], config: &BuildConfig) -> Result<BankContents, BuildError> {
    let mut model = MeanColour { seen: 0, gain: 1.0 };
    let built = build(inputs, None, config, (&mut open, &mut model), &mut (), &Stop::new());
    built.map(|built| built.contents)
}

fn config(size: usize) -> BuildConfig {
    BuildConfig { size, held_out_frames: 12, ..BuildConfig::default() }
}

#[test]
fn the_bank_depends_on_neither_order_nor_threads() {
    let dir = tempfile::tempdir().unwrap();
    let mut inputs = drive(dir.path(), 60, 30);
    let first = run(&inputs, &config(100)).unwrap();
    inputs.reverse();
    inputs.rotate_left(17);
    let second = run(&inputs, &BuildConfig { threads: 3, ..config(100) }).unwrap();
    assert!(first.to_bytes().unwrap() == second.to_bytes().unwrap(), "other order, other bank");
    let other = run(&inputs, &BuildConfig { seed: 1, ..config(100) }).unwrap();
    assert!(first.origins != other.origins, "another seed draws others");

    let calibration = first.metadata.calibration.as_ref().unwrap();
    assert!(calibration.frames > 1 && calibration.frames <= 12 && calibration.blocks > 1, "{calibration:?}");
    let names: Vec<_> = calibration.methods.iter().map(|m| m.method.as_str()).collect();
    assert_eq!(names, ["knn", "lse", "msp", "max-logit", "entropy", "cdnp", "zsum"]);
    for method in &calibration.methods {
        assert_eq!(method.frame_levels.len(), calibration.frames, "{}", method.method);
        assert_eq!(method.k.is_some(), method.method == "knn" || method.partner.as_deref() == Some("lse"));
    }
    let bank = Bank::from_contents(first, 3).unwrap();
    assert_eq!((bank.rows(), bank.width()), (100, 3));
    assert!(crate::score::ScoreConfig::default().resolve(&bank, 3, "").unwrap().value > 0.0);
    assert!(matches!(
        crate::score::ScoreConfig::default().resolve(&bank, 4, ""),
        Err(crate::score::ScoreError::OtherK { .. })
    ));
}

#[test]
fn the_sample_is_the_smallest_hashes_and_can_be_traced_back() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = drive(dir.path(), 12, 1000);
    let all = BuildConfig { held_out_share: 0.0, data_type: DataType::F32, ..config(10_000) };
    let everything = run(&inputs, &all).unwrap();
    assert_eq!(everything.origins.len(), 12 * 24);
    let some = run(&inputs, &BuildConfig { size: 50, ..all }).unwrap();
    let width = 3;
    for (row, origin) in some.origins.iter().enumerate() {
        // Both are ordered by hash, so the small bank is the start of the large one.
        let (mut a, mut b) = ([0.0; 3], [0.0; 3]);
        some.features.view().copy_to(row * width, &mut a);
        everything.features.view().copy_to(row * width, &mut b);
        assert_eq!(a, b, "row {row}");
        let source = &some.metadata.sources[origin.source as usize];
        let input = inputs.iter().find(|i| i.name == source.name).unwrap();
        assert_eq!(hex(&sha256_of_file(&input.path).unwrap()), source.sha256);
        let frame = open(input).unwrap().next().unwrap().unwrap();
        let mut features = Features::default();
        MeanColour { seen: 0, gain: 1.0 }.extract(&frame, &mut features, None).unwrap();
        let patch = origin.row as usize * features.grid.cols + origin.col as usize;
        assert_eq!(a, features.data[patch * 3..][..3], "row {row} is not patch {patch} of {}", source.name);
    }
    let keys: Vec<PatchKey> =
        (0..24).map(|p| PatchKey::new(0, &sha256_of_file(&inputs[0].path).unwrap(), p / 6, p % 6)).collect();
    assert_eq!(keys.iter().collect::<std::collections::BTreeSet<_>>().len(), 24);
}

#[test]
fn an_image_given_twice_counts_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut inputs = drive(dir.path(), 4, 1000);
    let config = BuildConfig { held_out_share: 0.0, ..config(10_000) };
    let once = run(&inputs, &config).unwrap();
    std::fs::copy(&inputs[0].path, dir.path().join("drive/copy_000009.png")).unwrap();
    inputs = list(&[dir.path().to_str().unwrap().to_owned()]).unwrap();
    assert_eq!(inputs.len(), 5);
    let twice = run(&inputs, &config).unwrap();
    assert_eq!(once.origins.len(), twice.origins.len());
    assert!(
        twice.metadata.sources.iter().any(|s| s.name.ends_with("copy_000009.png")),
        "the name that sorts first"
    );
}

#[test]
fn faults_are_left_out_or_named() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = drive(dir.path(), 3, 1000);
    let with = |gain: f32, config: BuildConfig| {
        let mut model = MeanColour { seen: 0, gain };
        build(&inputs, None, &config, (&mut open, &mut model), &mut (), &Stop::new())
    };
    assert!(matches!(with(f32::NAN, config(10)), Err(BuildError::Empty { .. })));
    assert!(matches!(with(1e6, config(10)), Err(BuildError::Overflow { .. })));
    with(1e6, BuildConfig { data_type: DataType::F32, ..config(10) }).unwrap();
    let stop = Stop::new();
    stop.ask();
    let mut model = MeanColour { seen: 0, gain: 1.0 };
    let stopped = build(&inputs, None, &config(10), (&mut open, &mut model), &mut (), &stop);
    assert!(matches!(stopped, Err(BuildError::Stopped)));
}

#[test]
fn held_out_frames_are_looked_at_no_more_often_than_needed() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = drive(dir.path(), 60, 30);
    let mut model = MeanColour { seen: 0, gain: 1.0 };
    let config = BuildConfig { held_out_frames: 1, ..config(100) };
    let built = build(&inputs, None, &config, (&mut open, &mut model), &mut (), &Stop::new()).unwrap();
    let contents = built.contents;
    let record = &contents.metadata.build;
    assert!(model.seen < (record.frames + record.held_out_frames) as usize, "{} of {record:?}", model.seen);
    assert_eq!(contents.metadata.calibration.as_ref().unwrap().frames, 1);
}
