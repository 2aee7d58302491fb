//! Score maps that other programs wrote (`tools/tiny_score_maps.py`): h5py, NumPy, tifffile.

use super::*;
use std::path::PathBuf;

const FIRST: [f64; 6] = [0.5, -1.25, 2.0, 100.0, -0.0, 3.5];

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/score-maps").join(name)
}

/// The map of 2 rows and 3 columns as numbers, and whether they have 64 bits; the header must agree.
fn seen(place: &Place) -> (Vec<f64>, bool) {
    let (image, info) = (read(place).unwrap(), inspect(place).unwrap());
    assert_eq!((image.width, image.height, info.width, info.height), (3, 2, 3, 2), "{place}");
    let (values, wide) = match image.scores {
        Scores::F32(scores) => (scores.into_iter().map(f64::from).collect(), false),
        Scores::F64(scores) => (scores, true),
    };
    assert_eq!(wide, info.wide, "{place}");
    (values, wide)
}

fn second() -> Vec<f64> {
    FIRST.into_iter().rev().collect()
}

#[test]
fn files_of_one_map() {
    for (name, wide) in [
        ("first.hdf5", false),
        ("first.npz", false),
        ("first.tif", false),
        ("wide.tif", true),
        ("half.tif", false),
    ] {
        assert_eq!(seen(&data(name).into()), (FIRST.to_vec(), wide), "{name}");
    }
    assert_eq!(parts(&data("first.npz")).unwrap(), [Part::Name("arr_0".to_owned())]);
    assert_eq!(parts(&data("first.tif")).unwrap(), [Part::Whole]);
}

#[test]
fn files_of_several_maps() {
    for (name, wide) in [("both.hdf5", true), ("both.npz", true), ("both.npy", false)] {
        let parts = parts(&data(name)).unwrap();
        let own = if name.ends_with("npy") {
            [Part::Number(0), Part::Number(1)]
        } else {
            ["first", "second"].map(|name| Part::Name(name.to_owned()))
        };
        assert_eq!(parts, own, "{name}");
        let [first, second_] = own.map(|part| seen(&Place { file: data(name), part }));
        assert_eq!((first, second_), ((FIRST.to_vec(), wide), (second(), wide)), "{name}");
        // As a picture's own file it is refused, with what to do.
        let alone = read(&data(name).into()).unwrap_err().to_string();
        assert!(
            alone.contains(if name.ends_with("npy") { "[2, 1, 2, 3]" } else { "--scores FILE" }),
            "{alone}"
        );
    }
}

#[test]
fn a_file_of_several_maps_is_paired_by_name_or_in_turn() {
    let dir = tempfile::tempdir().unwrap();
    let mask = |name: &str| std::fs::write(dir.path().join(name), b"").unwrap();
    ["first_labels_semantic.png", "second_labels_semantic.png"].into_iter().for_each(mask);
    for (name, names) in
        [("both.npz", ["first", "second"]), ("both.npy", ["first_labels_semantic", "second_labels_semantic"])]
    {
        let found = pairs(&data(name), dir.path()).unwrap();
        assert_eq!(found.iter().map(|pair| pair.name.as_str()).collect::<Vec<_>>(), names);
        assert!(found[1].truth.ends_with("second_labels_semantic.png"));
        assert_eq!(seen(&found[1].scores).0, second(), "{name}");
    }
    let alone = pairs(&data("first.npz"), dir.path()).unwrap_err().to_string();
    assert!(alone.contains("no score map: second_labels_semantic"), "{alone}");
    // Other forms of the same truth are no masks that are missed.
    mask("first_labels_semantic_color.png");
    assert_eq!(pairs(&data("both.npy"), dir.path()).unwrap().len(), 2);
    mask("third.png");
    let error = pairs(&data("both.npy"), dir.path()).unwrap_err().to_string();
    assert!(error.contains("holds 2 maps") && error.contains("3 masks"), "{error}");
    let error = pairs(&data("both.hdf5"), dir.path()).unwrap_err().to_string();
    assert!(error.contains("no score map: third"), "{error}");
    assert!(lists(&data("both.npz")).unwrap().is_empty());
}

#[test]
fn the_only_map_of_a_file_belongs_to_the_only_mask() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("town_labelIds.png"), b"").unwrap();
    for (name, part) in [("first.npz", Part::Name("arr_0".to_owned())), ("first.tif", Part::Whole)] {
        let found = pairs(&data(name), dir.path()).unwrap();
        assert_eq!((found.len(), &found[0].scores.part), (1, &part));
    }
}

/// A header may promise anything.
#[test]
fn a_stack_is_what_its_file_holds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stack.npy");
    for (shape, words) in [
        ("(4611686018427387904, 2, 3)", "more than any file"),
        ("(1099511627776, 2, 3)", "its header promises"),
        ("(3, 2, 3)", "has 176 bytes, its header promises"),
        ("(2, 1073741824, 3)", "larger than any camera's"),
    ] {
        let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend(118_u16.to_le_bytes());
        bytes.extend(format!("{text:<117}\n").as_bytes());
        bytes.extend([0; 48]);
        std::fs::write(&path, bytes).unwrap();
        let told = parts(&path).unwrap_err().to_string();
        assert!(told.contains(words) && told.contains("stack.npy"), "{shape}: {told}");
    }
    std::fs::write(&path, b"\x80\x04model").unwrap();
    assert!(parts(&path).unwrap_err().to_string().contains("none of .npy"));
}

#[test]
fn cut_files_are_refused() {
    for name in ["first.hdf5", "both.hdf5", "first.npz", "both.npz", "both.npy", "first.tif", "wide.tif"] {
        let bytes = std::fs::read(data(name)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let cut = dir.path().join(name);
        for length in (0..bytes.len()).step_by(7) {
            std::fs::write(&cut, &bytes[..length]).unwrap();
            let Ok(parts) = parts(&cut) else { continue };
            for part in parts {
                let place = Place { file: cut.clone(), part };
                let _ = inspect(&place);
                // What was cut may be the data set beside the map.
                if let Ok(image) = read(&place) {
                    assert_eq!((image.width, image.height), (3, 2), "{place}, {length} bytes");
                }
            }
        }
    }
}
