//! Tiny fake data sets of every kind, right and wrong.

use std::path::{Path, PathBuf};

use image::{GrayImage, ImageFormat, Luma, Rgb, RgbImage};

use super::*;
use crate::eval::truth::Share;

const SIZE: (u32, u32) = (16, 8);

/// A picture of noise that every format can hold.
fn picture(path: &Path, format: ImageFormat) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let image = RgbImage::from_fn(SIZE.0, SIZE.1, |x, y| Rgb([(x * 15) as u8, (y * 30) as u8, 90]));
    match format {
        ImageFormat::Jpeg => {
            let bytes = crate::jpeg::encode(&image, SIZE.0 as usize, SIZE.1 as usize, 90).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        _ => image.save_with_format(path, format).unwrap(),
    }
}

/// A mask: `values[0]` everywhere, each further value in a block of 2 x 2 at the top.
fn mask(path: &Path, values: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let image = GrayImage::from_fn(SIZE.0, SIZE.1, |x, y| {
        let block = if y < 2 { x as usize / 2 + 1 } else { 0 };
        Luma([*values.get(block).unwrap_or(&values[0])])
    });
    image.save_with_format(path, ImageFormat::Png).unwrap();
}

fn at(kind: Kind, path: &Path) -> DatasetSpec {
    DatasetSpec { kind, path: path.to_owned() }
}

fn check(dataset: &Dataset) -> Check {
    Check::run(dataset, false, &|| {})
}

/// Makes a right data set of `kind` with two images below `root`; gives where it is opened, the names of its
/// samples and the shares of normal, anomalous and void pixels.
fn make(kind: Kind, root: &Path) -> (PathBuf, Vec<&'static str>, Share) {
    let share = |normal, anomaly, void| Share { normal, anomaly, void };
    let at = |name: &str| root.join(name);
    match kind {
        Kind::RoadAnomaly => {
            for name in ["frame10", "frame2"] {
                // JPEG by name, PNG by content: endings lie.
                picture(&at(&format!("frames/{name}.jpg")), ImageFormat::Png);
                mask(&at(&format!("frames/{name}.labels/labels_semantic.png")), &[0, 2]);
            }
            std::fs::write(at("frame_list.json"), r#"["frame10.jpg", "frame2.jpg"]"#).unwrap();
            (root.to_owned(), vec!["frame2", "frame10"], share(248, 8, 0))
        }
        Kind::SmiycAnomaly | Kind::SmiycObstacle => {
            let (folder, ending, format) = match kind {
                Kind::SmiycAnomaly => ("dataset_AnomalyTrack", "jpg", ImageFormat::Jpeg),
                _ => ("dataset_ObstacleTrack", "webp", ImageFormat::WebP),
            };
            for name in ["validation0001", "validation0002", "airplane0001"] {
                picture(&at(&format!("{folder}/images/{name}.{ending}")), format);
                if name.starts_with("validation") {
                    mask(&at(&format!("{folder}/labels_masks/{name}_labels_semantic.png")), &[0, 1, 255]);
                }
            }
            (root.to_owned(), vec!["validation0001", "validation0002"], share(240, 8, 8))
        }
        Kind::LostAndFound | Kind::LostAndFoundNoKnown => {
            let scene = |drive: &str, id: &str, values: &[u8]| {
                picture(&at(&format!("leftImg8bit/test/{drive}/{id}_leftImg8bit.png")), ImageFormat::Png);
                mask(&at(&format!("gtCoarse/test/{drive}/{id}_gtCoarse_labelIds.png")), values);
            };
            scene("02_Hanns", "02_Hanns_000001_000030", &[1, 2, 0]);
            scene("15_Rechbergstr_Deckenpfronn", "15_Rechbergstr_Deckenpfronn_000000_000020", &[1, 200]);
            match kind {
                Kind::LostAndFound => (
                    root.to_owned(),
                    vec!["02_Hanns_000001_000030", "15_Rechbergstr_Deckenpfronn_000000_000020"],
                    share(244, 8, 4),
                ),
                _ => (root.to_owned(), vec!["02_Hanns_000001_000030"], share(120, 4, 4)),
            }
        }
        Kind::FishyscapesLaf => {
            for (number, id) in [("0000", "04_Maurener_000000_000030"), ("0001", "04_Maurener_000001_000010")]
            {
                picture(&at(&format!("leftImg8bit/train/04/{id}_leftImg8bit.png")), ImageFormat::Png);
                mask(&at(&format!("fishyscapes/{number}_{id}_labels.png")), &[0, 1, 255, 255]);
            }
            (
                root.to_owned(),
                vec!["04_Maurener_000000_000030", "04_Maurener_000001_000010"],
                share(232, 8, 16),
            )
        }
        Kind::StreetHazards => {
            for town in ["t5", "t6"] {
                picture(&at(&format!("test/images/test/{town}/300.png")), ImageFormat::Png);
                mask(&at(&format!("test/annotations/test/{town}/300.png")), &[1, 14, 13]);
            }
            (root.to_owned(), vec!["t5/300", "t6/300"], share(248, 8, 0))
        }
        Kind::VideoOod => {
            for sequence in ["sequence_001", "sequence_002"] {
                picture(&at(&format!("raw_data/{sequence}/000000_raw_data.jpg")), ImageFormat::Jpeg);
                mask(&at(&format!("semantic_ood/{sequence}/000000_semantic_ood.png")), &[0, 254, 255]);
            }
            (root.to_owned(), vec!["sequence_001/000000", "sequence_002/000000"], share(240, 8, 8))
        }
        Kind::Folder => {
            for name in ["a/1", "b/1"] {
                picture(&at(&format!("rgb/{name}_rgb.png")), ImageFormat::WebP);
                mask(&at(&format!("masks/{name}_truth.png")), &[7, 9, 3]);
            }
            let text = "images = \"rgb\"\nmasks = \"masks\"\nnormal = [7]\nanomaly = [9]\nvoid = [3]\n\
                        image_suffix = \"_rgb\"\nmask_suffix = \"_truth\"\nsequences = true\nfps = 25.0\n";
            std::fs::write(at("mine.toml"), text).unwrap();
            (at("mine.toml"), vec!["a/1", "b/1"], share(240, 8, 8))
        }
    }
}

#[test]
fn every_kind_is_listed_and_checked() {
    for kind in Kind::ALL {
        let dir = tempfile::tempdir().unwrap();
        let (path, names, share) = make(kind, dir.path());
        let dataset = Dataset::open(&at(kind, &path)).unwrap_or_else(|e| panic!("{}: {e}", kind.name()));
        let found: Vec<&str> = dataset.samples.iter().map(|sample| sample.name.as_str()).collect();
        assert_eq!(found, names, "{}", kind.name());
        let check = check(&dataset);
        assert_eq!(check.refused, Vec::<String>::new(), "{}", kind.name());
        assert_eq!(check.share, share, "{}", kind.name());
        assert!(check.files.iter().all(|file| file.size == Some((16, 8)) && file.mask_size == file.size));
        let sequences = matches!(kind, Kind::VideoOod | Kind::Folder);
        assert_eq!(
            dataset.samples.iter().any(|sample| sample.sequence.is_some()),
            sequences,
            "{}",
            kind.name()
        );
        let text = check.to_string();
        assert!(text.contains("may be scored") && text.contains("16x8"), "{text}");
        let back: Check = serde_json::from_str(&serde_json::to_string(&check).unwrap()).unwrap();
        assert_eq!(back, check);
        check.passed().unwrap();
    }
}

#[test]
fn frames_without_public_truth_are_left_out_and_named() {
    let dir = tempfile::tempdir().unwrap();
    make(Kind::SmiycAnomaly, dir.path());
    let spec = at(Kind::SmiycAnomaly, dir.path());
    let notes = Dataset::open(&spec).unwrap().notes;
    assert!(notes[0].starts_with("1 images not called validation*"), "{notes:?}");
    let images = dir.path().join("dataset_AnomalyTrack/images");
    for name in ["validation0001.jpg", "validation0002.jpg"] {
        std::fs::remove_file(images.join(name)).unwrap();
    }
    let why = Dataset::open(&spec).unwrap_err().to_string();
    assert!(why.contains("hidden"), "{why}");
}

#[test]
fn a_folder_of_another_layout_is_refused_with_the_layout() {
    let dir = tempfile::tempdir().unwrap();
    picture(&dir.path().join("x/y.png"), ImageFormat::Png);
    for kind in Kind::ALL {
        let why = Dataset::open(&at(kind, dir.path())).unwrap_err().to_string();
        assert!(why.contains(kind.name()) || kind == Kind::Folder, "{why}");
        assert!(why.contains(kind.layout()), "{why}");
        let why = Dataset::open(&at(kind, &dir.path().join("none"))).unwrap_err().to_string();
        assert!(why.contains("none"), "{why}");
    }
}

#[test]
fn wrong_descriptions_name_file_and_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d.toml");
    std::fs::create_dir(dir.path().join("i")).unwrap();
    for (text, words) in [
        ("images = \"i\"\n", vec!["masks"]),
        ("images = \"i\"\nmasks = \"m\"\nnormal = [0]\nanomaly = [1]\nvods = [2]\n", vec!["vods"]),
        ("images = \"i\"\nmasks = \"m\"\nnormal = [0]\nanomaly = []\n", vec!["anomaly"]),
        ("images = \"i\"\nmasks = \"m\"\nnormal = [0, 1]\nanomaly = [1]\n", vec!["1 as normal"]),
        ("images = \"i\"\nmasks = \"m\"\nnormal = [0]\nanomaly = [1]\nfps = 0.0\n", vec!["fps"]),
        ("images = \"i\"\nmasks = \"m\"\nnormal = [0]\nanomaly = [1]\n", vec!["no picture"]),
        ("images = \"none\"\nmasks = \"m\"\nnormal = [0]\nanomaly = [1]\n", vec!["none"]),
        ("images = [\n", vec!["d.toml"]),
    ] {
        std::fs::write(&path, text).unwrap();
        let why = Dataset::open(&at(Kind::Folder, &path)).unwrap_err().to_string();
        assert!(words.iter().all(|word| why.contains(word)), "{text}: {why}");
    }
    let list = dir.path().join("frame_list.json");
    std::fs::create_dir(dir.path().join("frames")).unwrap();
    for (text, word) in [("{}", "no list"), ("[\"gone.jpg\"]", "gone.jpg"), ("[", "no list")] {
        std::fs::write(&list, text).unwrap();
        let why = Dataset::open(&at(Kind::RoadAnomaly, dir.path())).unwrap_err().to_string();
        assert!(why.contains("frame_list.json") && why.contains(word), "{why}");
    }
}

#[test]
fn what_must_not_be_scored_is_refused_with_the_list() {
    let base = |dir: &Path| {
        for name in ["a", "b", "c"] {
            picture(&dir.join(format!("i/{name}.png")), ImageFormat::Png);
            mask(&dir.join(format!("m/{name}.png")), &[0, 1]);
        }
        let text = "images = \"i\"\nmasks = \"m\"\nnormal = [0]\nanomaly = [1]\n";
        std::fs::write(dir.join("dataset.toml"), text).unwrap();
    };
    type Change = Box<dyn Fn(&Path)>;
    let change = |f: fn(&Path)| -> Change { Box::new(f) };
    let cases: [(&str, Change, Vec<&str>); 8] = [
        (
            "no mask",
            change(|d| std::fs::remove_file(d.join("m/b.png")).unwrap()),
            vec!["1 of 3 images have no mask", "--allow-missing", ": b"],
        ),
        (
            "unknown value",
            change(|d| mask(&d.join("m/b.png"), &[0, 1, 2])),
            vec!["mean nothing", "b (unknown values 2 (4 pixels))"],
        ),
        (
            "no anomaly",
            change(|d| ["a", "b", "c"].iter().for_each(|n| mask(&d.join(format!("m/{n}.png")), &[0]))),
            vec!["not one anomalous pixel", "hidden"],
        ),
        (
            "cut image",
            change(|d| {
                let path = d.join("i/b.png");
                let bytes = std::fs::read(&path).unwrap();
                std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
            }),
            vec!["images cannot be read", "b.png: not a whole picture"],
        ),
        (
            "cut mask",
            change(|d| {
                let path = d.join("m/c.png");
                let bytes = std::fs::read(&path).unwrap();
                std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
            }),
            vec!["masks cannot be read", "c.png"],
        ),
        (
            "mask in colour",
            change(|d| picture(&d.join("m/c.png"), ImageFormat::Png)),
            vec!["masks cannot be read", "c.png: it is in colours"],
        ),
        (
            "mask as JPEG",
            change(|d| {
                std::fs::write(d.join("m/c.png"), crate::jpeg::encode(&[0; 16 * 8 * 3], 16, 8, 90).unwrap())
                    .unwrap();
            }),
            vec!["c.png: JPEG changes the values"],
        ),
        (
            "another shape",
            change(|d| {
                GrayImage::new(16, 12).save_with_format(d.join("m/a.png"), ImageFormat::Png).unwrap();
            }),
            vec!["a (image 16x8, mask 16x12)"],
        ),
    ];
    for (what, change, words) in cases {
        let dir = tempfile::tempdir().unwrap();
        base(dir.path());
        change(dir.path());
        let dataset = Dataset::open(&at(Kind::Folder, dir.path())).unwrap();
        for allow_missing in [false, true] {
            let ended = Check::run(&dataset, allow_missing, &|| {}).passed();
            if what == "no mask" && allow_missing {
                assert!(ended.is_ok(), "{what}");
                continue;
            }
            let why = ended.unwrap_err().to_string();
            for word in &words {
                assert!(why.contains(word), "{what}: no {word:?} in {why}");
            }
        }
    }
}

#[test]
fn the_digest_is_of_names_and_contents() {
    let dir = tempfile::tempdir().unwrap();
    make(Kind::StreetHazards, dir.path());
    let spec = at(Kind::StreetHazards, dir.path());
    let sha = || check(&Dataset::open(&spec).unwrap()).sha256;
    let first = sha();
    assert_eq!(first, sha());
    mask(&dir.path().join("test/annotations/test/t5/300.png"), &[2, 14]);
    assert_ne!(first, sha());
}
