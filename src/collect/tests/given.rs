//! What is given to a build: folders, labels, videos.

use super::*;
use crate::skipped::skipped;

#[test]
fn void_patches_stay_out() {
    let dir = tempfile::tempdir().unwrap();
    let (images, labels) = (dir.path().join("images"), dir.path().join("labels"));
    std::fs::create_dir_all(&images).unwrap();
    std::fs::create_dir_all(&labels).unwrap();
    let mut inputs = drive(&images, 3, 1000);
    let missing = attach_labels(&mut inputs, &labels).unwrap_err().to_string();
    assert!(missing.contains("3 of 3") && missing.contains("drive_000000.png"), "{missing}");
    for i in 0..3 {
        // At half the size: the right half is void.
        let mask = image::GrayImage::from_fn(24, 16, |x, _| image::Luma([if x < 12 { 3 } else { 11 }]));
        mask.save(labels.join(format!("drive_{:06}_labelIds.png", i * 1000))).unwrap();
    }
    attach_labels(&mut inputs, &labels).unwrap();
    let contents =
        run(&inputs, &BuildConfig { void: vec![11, 255], held_out_share: 0.0, ..config(1000) }).unwrap();
    assert_eq!(contents.origins.len(), 3 * 12);
    assert!(contents.origins.iter().all(|o| o.col < 3));
    assert_eq!((contents.metadata.build.void_patches, contents.metadata.build.labels), (36, true));
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
    image::RgbImage::from_pixel(4, 4, image::Rgb([1, 2, 3])).save(&path).unwrap();
    assert!(LabelMask::read(&path).unwrap_err().to_string().contains("colours"));
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
        let given: Vec<String> = given.iter().map(|p| p.to_str().unwrap().to_owned()).collect();
        Ok(list(&given)?.iter().map(|i| i.path.file_name().unwrap().to_str().unwrap().to_owned()).collect())
    };
    assert_eq!(names(&[dir.path().to_owned()]).unwrap(), ["f1.png", "f9.dat", "f10.png"]);
    assert_eq!(names(&[at("f*.png"), at("f10.png")]).unwrap(), ["f10.png"]);
    for (given, part) in [(at("none"), "none"), (at("*.jpg"), "glob"), (at("notes.txt"), "neither")] {
        let err = names(&[given]).unwrap_err().to_string();
        assert!(err.contains(part), "{err}");
    }
    assert!(natural("a2b10", "a2b9").is_gt() && natural("a02", "a2").is_ne() && natural("a", "a1").is_lt());
}

#[test]
fn real_road_images_are_listed_labelled_and_split() {
    let Some(shared) = std::env::var_os("FAROUT_SHARED") else {
        skipped("real road images", "FAROUT_SHARED names no folder with data/camvid");
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
    let split = Split::new(BuildConfig::default().split_keys(), &places);
    let count = |side| places.iter().filter(|p| split.side(p) == side).count();
    let (bank, held, guard) = (count(Side::Bank), count(Side::HeldOut), count(Side::Guard));
    eprintln!("{bank} for the bank, {held} held out, {guard} between; {}", split.describe());
    assert!(bank > 200 && held > 30);
}
#[test]
fn a_mask_of_another_shape_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let labels = dir.path().join("labels");
    std::fs::create_dir_all(&labels).unwrap();
    let image = dir.path().join("a.png");
    image::RgbImage::new(64, 96).save(&image).unwrap();
    let mut inputs = list(&[image.to_str().unwrap().to_owned()]).unwrap();
    for (size, fits) in [((96, 64), false), ((64, 90), false), ((64, 96), true), ((32, 48), true)] {
        image::GrayImage::new(size.0, size.1).save(labels.join("a.png")).unwrap();
        attach_labels(&mut inputs, &labels).unwrap();
        let built = run(&inputs, &BuildConfig { held_out_share: 0.0, ..config(1000) });
        match built {
            Ok(_) => assert!(fits, "{size:?} is taken"),
            Err(why) => {
                let (why, mask) = (why.to_string(), format!("{}x{}", size.0, size.1));
                assert!(!fits && why.contains("64x96") && why.contains(&mask), "{size:?}: {why}");
            }
        }
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
    let config = BuildConfig { video_step: 4, ..config(1000) };
    let built = build(&inputs, None, &config, (&mut open, &mut model), &mut warnings, &Stop::new());
    let contents = built.unwrap().contents;
    let record = &contents.metadata.build;
    assert_eq!(record.frames + record.held_out_frames + record.guard_frames, 50);
    assert!(contents.origins.iter().all(|o| o.frame % 4 == 0) && contents.metadata.sources.len() == 1);
    assert_eq!(warnings.0.len(), 1, "{:?}", warnings.0);
    let last = contents.origins.iter().map(|o| o.frame).max().unwrap();
    assert!(last < 160, "the end of the only block is held out, the bank has frame {last}");
}

#[test]
fn reference_statistics_are_those_of_the_reference_images() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = drive(dir.path(), 12, 1000);
    let all = BuildConfig { held_out_share: 0.0, k: 2, data_type: DataType::F32, ..config(10_000) };
    let contents = run(&inputs, &all).unwrap();
    let reference = contents.metadata.build.reference.clone().unwrap();
    // The features of this extractor are its logits.
    let rows: Vec<[f64; 3]> = match contents.features.view() {
        crate::bank::Rows::F32(data) => data.as_chunks::<3>().0.iter().map(|r| r.map(f64::from)).collect(),
        crate::bank::Rows::F16(_) => unreachable!(),
    };
    assert_eq!(rows.len(), 12 * 24);
    let top = |r: &[f64; 3]| r.iter().copied().fold(f64::MIN, f64::max);
    let lse = rows.iter().map(|r| -(top(r) + r.iter().map(|x| (x - top(r)).exp()).sum::<f64>().ln()));
    let max_logit = rows.iter().map(|r| -top(r));
    let wants: [(&str, Vec<f64>); 2] = [("lse", lse.collect()), ("max-logit", max_logit.collect())];
    for (method, scores) in wants {
        let range = reference.range(method).unwrap();
        let (min, max) = scores.iter().fold((f64::MAX, f64::MIN), |(a, b), s| (a.min(*s), b.max(*s)));
        assert!((f64::from(range.min) - min).abs() < 1e-3, "{method}: {range:?}, not from {min}");
        assert!((f64::from(range.max) - max).abs() < 1e-3, "{method}: {range:?}, not to {max}");
    }
    assert_eq!(reference.ranges.len(), 4);
    let others = |i: usize| {
        let away = |j: &[f64; 3]| rows[i].iter().zip(j).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
        let mut far: Vec<f64> = (0..rows.len()).filter(|j| *j != i).map(|j| away(&rows[j])).collect();
        far.sort_by(f64::total_cmp);
        (far[0] + far[1]) / 2.0
    };
    let largest = (0..rows.len()).map(others).fold(0.0, f64::max);
    let scale = reference.distance.unwrap();
    assert_eq!((scale.k, scale.features), (2, rows.len()));
    assert!((f64::from(scale.largest) - largest).abs() < 1e-3 * largest, "{scale:?}, not {largest}");
    assert!(contents.metadata.calibration.is_none());
}

#[test]
fn void_cells_do_not_stretch_the_ranges() {
    let dir = tempfile::tempdir().unwrap();
    let (images, labels) = (dir.path().join("images"), dir.path().join("labels"));
    std::fs::create_dir_all(&images).unwrap();
    std::fs::create_dir_all(&labels).unwrap();
    let mut inputs = drive(&images, 1, 1000);
    // The left half is dark, the right half is bright and void.
    let image = image::RgbImage::from_fn(48, 32, |x, y| {
        image::Rgb(if x < 24 { [(x / 8) as u8, 0, (y / 8) as u8] } else { [250, 250, 250] })
    });
    image.save(&inputs[0].path).unwrap();
    let mask = image::GrayImage::from_fn(48, 32, |x, _| image::Luma([if x < 24 { 3 } else { 11 }]));
    mask.save(labels.join("drive_000000.png")).unwrap();
    attach_labels(&mut inputs, &labels).unwrap();
    let given = BuildConfig { void: vec![11], held_out_share: 0.0, ..config(1000) };
    let reference = run(&inputs, &given).unwrap().metadata.build.reference.unwrap();
    let range = reference.range("max-logit").unwrap();
    assert_eq!((range.min, range.max), (-3.0, 0.0));
    let without = BuildConfig { void: Vec::new(), ..given };
    let reference = run(&inputs, &without).unwrap().metadata.build.reference.unwrap();
    assert_eq!(reference.range("max-logit").unwrap().min, -250.0);
}
