//! Regions of judging: how they are named, what they leave, what they refuse.

use std::path::Path;

use image::{GrayImage, Luma};

use super::*;
use crate::eval::truth::{NORMAL, ValueMap};
use crate::grid::Grid;

fn truth() -> Truth {
    // 8 x 4, two anomalies: at the top left and at the bottom right.
    let mut labels = vec![NORMAL; 32];
    (labels[0], labels[31], labels[9]) = (ANOMALY, ANOMALY, VOID);
    Truth { width: 8, height: 4, labels }
}

fn sample(name: &str) -> Sample {
    let file = |folder: &str| Path::new(folder).join(format!("{name}.png"));
    Sample { name: name.into(), image: file("images"), truth: Some(file("masks")), sequence: None }
}

fn dataset(names: &[&str]) -> Dataset {
    Dataset {
        spec: "folder:x".parse().unwrap(),
        samples: names.iter().map(|name| sample(name)).collect(),
        values: ValueMap::default(),
        fps: 10.0,
        notes: Vec::new(),
    }
}

/// What is left, row by row: anomaly, normal, void.
fn left(restriction: &Restriction, road: Option<&ScoreMap>) -> Vec<String> {
    let mut truth = truth();
    restriction.apply(&mut truth, &sample("a"), road).unwrap();
    let letter = |label: &u8| match *label {
        NORMAL => '.',
        ANOMALY => '#',
        _ => ' ',
    };
    truth.labels.chunks(8).map(|row| row.iter().map(letter).collect()).collect()
}

fn restriction(text: &str) -> Restriction {
    Restriction::open(&text.parse().unwrap(), &dataset(&["a"])).unwrap()
}

#[test]
fn regions_are_named_as_they_are_read() {
    for text in ["all", "road", "below-horizon:0.5", "/some/mask.png"] {
        assert_eq!(text.parse::<Region>().unwrap().to_string(), text);
    }
    assert_eq!("below-horizon".parse::<Region>().unwrap().to_string(), "below-horizon:0.45");
    for wrong in ["below-horizon:1", "below-horizon:-0.1", "below-horizon:x", "below-horizon:NaN"] {
        assert!(wrong.parse::<Region>().unwrap_err().contains("share of the height"), "{wrong}");
    }
    assert!("".parse::<Region>().unwrap_err().contains("below-horizon"));
}

#[test]
fn what_lies_outside_is_void() {
    assert_eq!(left(&restriction("all"), None), ["#.......", ". ......", "........", ".......#"]);
    assert_eq!(
        left(&restriction("below-horizon:0.5"), None),
        ["        ", "        ", "........", ".......#"]
    );
    // The right half of the lower half is road; anomalies stay wherever they are.
    let data = Pooled::unpooled(vec![0.0, 0.0, 0.0, 1.0]);
    let road = ScoreMap { grid: Grid { rows: 2, cols: 2 }, data };
    assert_eq!(left(&restriction("road"), Some(&road)), ["#       ", "        ", "    ....", "    ...#"]);
    assert!(restriction("road").apply(&mut truth(), &sample("a"), None).is_err());
}

#[test]
fn masks_are_scaled_and_found_by_their_stems() {
    let dir = tempfile::tempdir().unwrap();
    let mask = GrayImage::from_fn(4, 2, |x, _| Luma([if x == 1 { 7 } else { 0 }]));
    let one = dir.path().join("one.png");
    mask.save(&one).unwrap();
    let of_all = restriction(one.to_str().unwrap());
    let want = ["  ..    ", "  ..    ", "  ..    ", "  ..    "];
    assert_eq!(left(&of_all, None), want);
    let folder = dir.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    mask.save(folder.join("a_mask.png")).unwrap();
    let of_each = restriction(folder.to_str().unwrap());
    assert_eq!(left(&of_each, None), want);
    assert!(of_all.sha256().is_some() && of_all.sha256() != of_each.sha256());
    assert_eq!(restriction("all").sha256(), None);
    // Missing masks, no such place, nothing judged, no mask, another shape.
    let region: Region = folder.to_str().unwrap().parse().unwrap();
    let fails = |region: &str, names: &[&str]| {
        format!("{:#}", Restriction::open(&region.parse().unwrap(), &dataset(names)).unwrap_err())
    };
    let why = fails(&region.to_string(), &["a", "b/c"]);
    assert!(why.contains("1 of 2 images have no mask") && why.contains("b/c"), "{why}");
    assert!(fails("/nowhere/mask", &["a"]).contains("below-horizon"));
    let none = dir.path().join("none.png");
    GrayImage::new(8, 4).save(&none).unwrap();
    assert!(fails(none.to_str().unwrap(), &["a"]).contains("nothing would be judged"));
    std::fs::write(&none, "no picture").unwrap();
    assert!(fails(none.to_str().unwrap(), &["a"]).contains("none.png"));
    GrayImage::from_pixel(8, 8, Luma([1])).save(&none).unwrap();
    let why = restriction(none.to_str().unwrap()).apply(&mut truth(), &sample("a"), None).unwrap_err();
    assert!(why.to_string().contains("another shape"), "{why}");
}
