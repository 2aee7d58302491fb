//! Banks built with a made-up extractor: the colours of a patch instead of a network.

use std::path::{Path, PathBuf};

use super::inputs::natural;
use super::*;
use crate::bank::{Bank, BankContents, DataType};
use crate::frame::{Frame, PixelFormat};
use crate::grid::{Features, Grid, Logits};
use crate::identity::ModelIdentity;
use crate::pool::Pool;
use crate::source::{Source, SourceError};
use crate::stop::Stop;

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
        let grid = Grid {
            rows: frame.height / 8,
            cols: frame.width / 8,
        };
        (out.grid, out.width) = (grid, 3);
        out.data.clear();
        for patch in 0..grid.len() {
            for channel in 0..3 {
                let at = |i: usize| {
                    let (y, x) = (patch / grid.cols * 8 + i / 8, patch % grid.cols * 8 + i % 8);
                    f32::from(frame.pixels[(y * frame.width + x) * 3 + channel])
                };
                out.data
                    .push((0..64).map(at).sum::<f32>() / 64.0 * self.gain);
            }
        }
        if let Some(logits) = logits {
            (logits.grid, logits.classes) = (grid, 3);
            logits.data.clear();
            logits.data.extend(
                (0..3)
                    .flat_map(|c| (0..grid.len()).map(move |p| (c, p)))
                    .map(|(c, p)| out.data[p * 3 + c]),
            );
        }
        Ok(())
    }

    fn identity(&self) -> ModelIdentity {
        let text = |s: &str| s.to_owned();
        ModelIdentity {
            sha256: text("00"),
            feature_tensor: text("mean"),
            preprocessing: text("8"),
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
    Ok(Box::new(Colours {
        frames: frames.into_iter(),
        known: false,
    }))
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

fn drive(dir: &Path, images: u32, step: u32) -> Vec<Input> {
    for i in 0..images {
        write_image(&dir.join(format!("drive_{:06}.png", i * step)), i);
    }
    list(&[dir.to_str().unwrap().to_owned()]).unwrap()
}

fn run(inputs: &[Input], config: &BuildConfig) -> Result<BankContents, BuildError> {
    build(
        inputs,
        config,
        &mut open,
        &mut MeanColour { seen: 0, gain: 1.0 },
        &mut (),
        &Stop::new(),
    )
}

fn config(size: usize) -> BuildConfig {
    BuildConfig {
        size,
        held_out_frames: 12,
        ..BuildConfig::default()
    }
}

#[test]
fn the_bank_depends_on_neither_order_nor_threads() {
    let dir = tempfile::tempdir().unwrap();
    let mut inputs = drive(dir.path(), 60, 30);
    let first = run(&inputs, &config(100)).unwrap();
    inputs.reverse();
    inputs.rotate_left(17);
    let second = run(
        &inputs,
        &BuildConfig {
            threads: 3,
            ..config(100)
        },
    )
    .unwrap();
    assert!(
        first.to_bytes().unwrap() == second.to_bytes().unwrap(),
        "other order, other bank"
    );
    let other = run(
        &inputs,
        &BuildConfig {
            seed: 1,
            ..config(100)
        },
    )
    .unwrap();
    assert!(first.origins != other.origins, "another seed draws others");

    let calibration = first.metadata.calibration.as_ref().unwrap();
    assert!(
        calibration.frames > 1 && calibration.frames <= 12 && calibration.blocks > 1,
        "{calibration:?}"
    );
    assert_eq!(
        calibration
            .methods
            .iter()
            .map(|m| m.method.as_str())
            .collect::<Vec<_>>(),
        ["knn", "lse"]
    );
    assert_eq!(
        calibration.methods[0].frame_maxima.len(),
        calibration.frames
    );
    let bank = Bank::from_contents(first, 3).unwrap();
    assert_eq!((bank.rows(), bank.width()), (100, 3));
    assert!(
        crate::score::ScoreConfig::default()
            .resolve(&bank, 3)
            .unwrap()
            .value
            > 0.0
    );
    assert!(matches!(
        crate::score::ScoreConfig::default().resolve(&bank, 4),
        Err(crate::score::ScoreError::OtherK { .. })
    ));
}

#[test]
fn the_sample_is_the_smallest_hashes_and_can_be_traced_back() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = drive(dir.path(), 12, 1000);
    let all = BuildConfig {
        held_out_share: 0.0,
        data_type: DataType::F32,
        ..config(10_000)
    };
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
        MeanColour { seen: 0, gain: 1.0 }
            .extract(&frame, &mut features, None)
            .unwrap();
        let patch = origin.row as usize * features.grid.cols + origin.col as usize;
        assert_eq!(
            a,
            features.data[patch * 3..][..3],
            "row {row} is not patch {patch} of {}",
            source.name
        );
    }
    let keys: Vec<PatchKey> = (0..24)
        .map(|p| PatchKey::new(0, &sha256_of_file(&inputs[0].path).unwrap(), p / 6, p % 6))
        .collect();
    assert_eq!(
        keys.iter().collect::<std::collections::BTreeSet<_>>().len(),
        24
    );
}

#[test]
fn an_image_given_twice_counts_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut inputs = drive(dir.path(), 4, 1000);
    let config = BuildConfig {
        held_out_share: 0.0,
        ..config(10_000)
    };
    let once = run(&inputs, &config).unwrap();
    std::fs::copy(&inputs[0].path, dir.path().join("copy_000009.png")).unwrap();
    inputs = list(&[dir.path().to_str().unwrap().to_owned()]).unwrap();
    assert_eq!(inputs.len(), 5);
    let twice = run(&inputs, &config).unwrap();
    assert_eq!(once.origins.len(), twice.origins.len());
    assert!(
        twice
            .metadata
            .sources
            .iter()
            .any(|s| s.name.ends_with("copy_000009.png")),
        "the name that sorts first"
    );
}

#[test]
fn neighbouring_frames_are_never_on_both_sides() {
    let series = ["0001TP_", "Seq05VD_f", "0016E5_"];
    let places: Vec<Place> = series
        .iter()
        .flat_map(|s| {
            (0..100).map(move |i| Place::of_still(&format!("images/{s}{:05}.jpg", i * 30)))
        })
        .collect();
    let split = Split::new(0, 0.2, 300, 30, &places);
    let (mut bank, mut held) = (0, 0);
    for place in &places {
        match split.side(place) {
            Side::Bank => bank += 1,
            Side::HeldOut => {
                held += 1;
                for near in [place.number.saturating_sub(30), place.number + 30] {
                    let near = Place {
                        number: near,
                        ..place.clone()
                    };
                    assert_ne!(split.side(&near), Side::Bank, "{near:?} beside {place:?}");
                }
            }
            Side::Guard => {}
        }
    }
    assert!(
        bank > 150 && held > 20,
        "{bank} in the bank, {held} held out"
    );
    // A part of the work gives the same sides, as long as it has both.
    assert_eq!(split, Split::new(0, 0.2, 300, 30, &places[..200]));
}

#[test]
fn few_frames_are_split_sensibly_and_it_is_said() {
    let numbered = |n: u64| {
        (0..n)
            .map(|i| Place {
                series: "a/".into(),
                number: i,
            })
            .collect::<Vec<_>>()
    };
    for (frames, held, words) in [
        (1, 0, "none"),
        (2, 1, "single block"),
        (10, 2, "single block"),
        (60, 12, "single block"),
    ] {
        let places = numbered(frames);
        let split = Split::new(0, 0.2, 300, 30, &places);
        let count = |side| places.iter().filter(|p| split.side(p) == side).count();
        assert_eq!(count(Side::HeldOut), held, "{frames} frames");
        assert!(
            count(Side::Bank) * 2 >= places.len(),
            "{frames} frames: {} for the bank",
            count(Side::Bank)
        );
        assert!(split.describe().contains(words), "{}", split.describe());
    }
    let two: Vec<Place> = ["a/x1", "b/y1"]
        .iter()
        .map(|n| Place::of_still(n))
        .collect();
    let split = Split::new(0, 0.001, 300, 30, &two);
    assert_ne!(split.side(&two[0]), split.side(&two[1]));
    assert!(
        split.describe().contains("one block"),
        "{}",
        split.describe()
    );
}

#[test]
fn names_tell_series_and_number() {
    for (name, series, number) in [
        ("images/0001TP_006690.jpg", "images/0001TP_", 6690),
        ("images/Seq05VD_f00000.png", "images/Seq05VD_f", 0),
        ("images/0016E5_00390.jpg", "images/0016E5_", 390),
        (
            "aachen/aachen_000001_000019_leftImg8bit.png",
            "aachen/aachen_000001_",
            19,
        ),
        ("dir7/img12.png", "dir7/img", 12),
        ("dir7/tree.png", "dir7/tree", 0),
    ] {
        assert_eq!(
            Place::of_still(name),
            Place {
                series: series.into(),
                number
            },
            "{name}"
        );
    }
}

#[test]
fn videos_are_read_in_steps_and_up_to_a_cut() {
    struct Warnings(Vec<String>);
    impl Progress for Warnings {
        fn warn(&mut self, message: &str) {
            self.0.push(message.to_owned());
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("drive.mp4");
    let mut bytes: Vec<u8> = (0..200u8).filter(|b| *b != b'X').collect();
    bytes.push(b'X');
    std::fs::write(&path, &bytes).unwrap();
    let inputs = list(&[path.to_str().unwrap().to_owned()]).unwrap();
    assert_eq!(inputs[0].kind, InputKind::Video);
    let mut warnings = Warnings(Vec::new());
    let mut model = MeanColour { seen: 0, gain: 1.0 };
    let config = BuildConfig {
        video_step: 4,
        ..config(1000)
    };
    let contents = build(
        &inputs,
        &config,
        &mut open,
        &mut model,
        &mut warnings,
        &Stop::new(),
    )
    .unwrap();
    let record = &contents.metadata.build;
    assert_eq!(
        record.frames + record.held_out_frames + record.guard_frames,
        50
    );
    assert!(
        contents.origins.iter().all(|o| o.frame % 4 == 0) && contents.metadata.sources.len() == 1
    );
    assert_eq!(warnings.0.len(), 1, "{:?}", warnings.0);
    let last = contents.origins.iter().map(|o| o.frame).max().unwrap();
    assert!(
        last < 160,
        "the end of the only block is held out, the bank has frame {last}"
    );
}

#[test]
fn faults_are_left_out_or_named() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = drive(dir.path(), 3, 1000);
    let with = |gain: f32, config: BuildConfig| {
        build(
            &inputs,
            &config,
            &mut open,
            &mut MeanColour { seen: 0, gain },
            &mut (),
            &Stop::new(),
        )
    };
    assert!(matches!(
        with(f32::NAN, config(10)),
        Err(BuildError::Empty { .. })
    ));
    assert!(matches!(
        with(1e6, config(10)),
        Err(BuildError::Overflow { .. })
    ));
    with(
        1e6,
        BuildConfig {
            data_type: DataType::F32,
            ..config(10)
        },
    )
    .unwrap();
    let stop = Stop::new();
    stop.ask();
    let stopped = build(
        &inputs,
        &config(10),
        &mut open,
        &mut MeanColour { seen: 0, gain: 1.0 },
        &mut (),
        &stop,
    );
    assert!(matches!(stopped, Err(BuildError::Stopped)));
}

#[test]
fn void_patches_stay_out() {
    let dir = tempfile::tempdir().unwrap();
    let (images, labels) = (dir.path().join("images"), dir.path().join("labels"));
    std::fs::create_dir_all(&images).unwrap();
    std::fs::create_dir_all(&labels).unwrap();
    let mut inputs = drive(&images, 3, 1000);
    let missing = attach_labels(&mut inputs, &labels).unwrap_err().to_string();
    assert!(
        missing.contains("3 of 3") && missing.contains("drive_000000.png"),
        "{missing}"
    );
    for i in 0..3 {
        // At half the size: the right half is void.
        let mask =
            image::GrayImage::from_fn(24, 16, |x, _| image::Luma([if x < 12 { 3 } else { 11 }]));
        mask.save(labels.join(format!("drive_{:06}_labelIds.png", i * 1000)))
            .unwrap();
    }
    attach_labels(&mut inputs, &labels).unwrap();
    let contents = run(
        &inputs,
        &BuildConfig {
            void: vec![11, 255],
            held_out_share: 0.0,
            ..config(1000)
        },
    )
    .unwrap();
    assert_eq!(contents.origins.len(), 3 * 12);
    assert!(contents.origins.iter().all(|o| o.col < 3));
    assert_eq!(
        (
            contents.metadata.build.void_patches,
            contents.metadata.build.labels
        ),
        (36, true)
    );
}

#[test]
fn masks_are_read_as_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mask.png");
    // A palette of 2 bits, whose colours are not the classes.
    let mut encoder = png::Encoder::new(std::fs::File::create(&path).unwrap(), 5, 2);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Two);
    encoder.set_palette(vec![9, 9, 9, 200, 0, 0, 0, 200, 0, 7, 7, 7]);
    encoder
        .write_header()
        .unwrap()
        .write_image_data(&[0b00_01_10_11, 0b01_000000, 0b11_11_11_11, 0])
        .unwrap();
    let mask = LabelMask::read(&path).unwrap();
    assert_eq!(mask.values, [0, 1, 2, 3, 1, 3, 3, 3, 3, 0]);
    let mut void = Vec::new();
    mask.void_patches(Grid { rows: 4, cols: 1 }, &[2], &mut void);
    assert_eq!(void, [true, true, false, false]);
    image::RgbImage::from_pixel(4, 4, image::Rgb([1, 2, 3]))
        .save(&path)
        .unwrap();
    assert!(
        LabelMask::read(&path)
            .unwrap_err()
            .to_string()
            .contains("colours")
    );
    std::fs::write(&path, "text").unwrap();
    assert!(LabelMask::read(&path).is_err());
}

#[test]
fn inputs_are_listed_in_natural_order_by_content() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir(at("deep")).unwrap();
    for name in ["f10.png", "f9.png", "deep/f1.png"] {
        write_image(&at(name), 1);
    }
    std::fs::rename(at("f9.png"), at("f9.dat")).unwrap();
    std::fs::write(at("notes.txt"), "x").unwrap();
    std::fs::write(at(".hidden.png"), "x").unwrap();
    let names = |given: &[PathBuf]| -> Result<Vec<String>, InputError> {
        let given: Vec<String> = given
            .iter()
            .map(|p| p.to_str().unwrap().to_owned())
            .collect();
        Ok(list(&given)?
            .iter()
            .map(|i| i.path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect())
    };
    assert_eq!(
        names(&[dir.path().to_owned()]).unwrap(),
        ["f1.png", "f9.dat", "f10.png"]
    );
    assert_eq!(names(&[at("f*.png"), at("f10.png")]).unwrap(), ["f10.png"]);
    for (given, part) in [
        (at("none"), "none"),
        (at("*.jpg"), "glob"),
        (at("notes.txt"), "neither"),
    ] {
        let err = names(&[given]).unwrap_err().to_string();
        assert!(err.contains(part), "{err}");
    }
    assert!(
        natural("a2b10", "a2b9").is_gt()
            && natural("a02", "a2").is_ne()
            && natural("a", "a1").is_lt()
    );
}

#[test]
fn held_out_frames_are_looked_at_no_more_often_than_needed() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = drive(dir.path(), 60, 30);
    let mut model = MeanColour { seen: 0, gain: 1.0 };
    let config = BuildConfig {
        held_out_frames: 1,
        ..config(100)
    };
    let contents = build(
        &inputs,
        &config,
        &mut open,
        &mut model,
        &mut (),
        &Stop::new(),
    )
    .unwrap();
    let record = &contents.metadata.build;
    assert!(
        model.seen < (record.frames + record.held_out_frames) as usize,
        "{} of {record:?}",
        model.seen
    );
    assert_eq!(contents.metadata.calibration.as_ref().unwrap().frames, 1);
}

#[test]
fn real_road_images_are_listed_labelled_and_split() {
    let Some(shared) = std::env::var_os("FAROUT_SHARED") else {
        eprintln!("skipped: FAROUT_SHARED does not name the folder with real data");
        return;
    };
    let folder = Path::new(&shared).join("data/camvid/train");
    let mut inputs = list(&[folder.join("images").to_str().unwrap().to_owned()]).unwrap();
    attach_labels(&mut inputs, &folder.join("labels")).unwrap();
    assert_eq!(inputs.len(), 367);
    let mask = LabelMask::read(inputs[0].label.as_deref().unwrap()).unwrap();
    assert_eq!((mask.width, mask.height), (480, 360));
    assert!(mask.values.iter().all(|v| *v <= 11) && mask.values.contains(&3));
    let places: Vec<Place> = inputs.iter().map(|i| Place::of_still(&i.name)).collect();
    let split = Split::new(0, 0.2, 300, 30, &places);
    let count = |side| places.iter().filter(|p| split.side(p) == side).count();
    let (bank, held, guard) = (count(Side::Bank), count(Side::HeldOut), count(Side::Guard));
    eprintln!(
        "{bank} for the bank, {held} held out, {guard} between; {}",
        split.describe()
    );
    assert!(bank > 200 && held > 30);
}
