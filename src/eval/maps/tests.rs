//! Score maps of every format read back as written; damaged ones refused with words.

use super::*;
use half::f16;
use std::path::PathBuf;

/// A 3x2 map of f64 that f16 holds exactly.
const VALUES: [f64; 6] = [0.5, -1.25, 2.0, 100.0, -0.0, 3.5];

fn npy(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let fortran = if fortran { "True" } else { "False" };
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}");
    text.push('\n');
    let mut bytes = MAGIC_AND_VERSION.to_vec();
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.extend(data);
    bytes
}

const MAGIC_AND_VERSION: &[u8] = b"\x93NUMPY\x01\x00";

fn bytes(descr: &str, values: impl IntoIterator<Item = f64>) -> Vec<u8> {
    let mut out = Vec::new();
    for value in values {
        let mut cell = match &descr[1..] {
            "f2" => f16::from_f64(value).to_le_bytes().to_vec(),
            "f4" => (value as f32).to_le_bytes().to_vec(),
            _ => value.to_le_bytes().to_vec(),
        };
        if descr.starts_with('>') {
            cell.reverse();
        }
        out.extend(cell);
    }
    out
}

fn same(image: &ScoreImage) -> bool {
    let values: Vec<f64> = match &image.scores {
        Scores::F32(scores) => scores.iter().map(|s| f64::from(*s)).collect(),
        Scores::F64(scores) => scores.clone(),
    };
    (image.width, image.height) == (3, 2) && values == VALUES
}

#[test]
fn arrays_of_every_type_and_order_are_read() {
    let columns = [0, 3, 1, 4, 2, 5].map(|i| VALUES[i]);
    for descr in ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8"] {
        for shape in ["(2, 3)", "(1, 2, 3)", "(2, 3, 1)", "(2,3,)"] {
            let plain = npy(descr, false, shape, &bytes(descr, VALUES));
            let turned = npy(descr, true, shape, &bytes(descr, columns));
            for bytes in [plain, turned] {
                let image = decode(&bytes).unwrap();
                assert!(same(&image), "{descr} {shape}: {image:?}");
                assert_eq!(matches!(image.scores, Scores::F64(_)), descr.ends_with("f8"));
                let info = describe(&bytes[..bytes.len().min(90)]).unwrap();
                assert_eq!((info.width, info.height, info.wide), (3, 2, descr.ends_with("f8")));
            }
        }
    }
    let mut second = b"\x93NUMPY\x02\x00".to_vec();
    let text = "{\"descr\": \"<f4\", \"fortran_order\": False, \"shape\": (2, 3)}";
    second.extend((text.len() as u32).to_le_bytes());
    second.extend(text.as_bytes());
    second.extend(bytes("<f4", VALUES));
    assert!(same(&decode(&second).unwrap()));
}

#[test]
fn what_is_no_map_is_refused_with_words() {
    let good = npy("<f4", false, "(2, 3)", &bytes("<f4", VALUES));
    let header = |descr: &str, shape: &str| npy(descr, false, shape, &bytes("<f4", VALUES));
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", vec![], "none of"),
        ("text", b"score 1".to_vec(), "none of"),
        ("cut off", good[..good.len() - 1].to_vec(), "23 bytes of scores, its header promises 24"),
        ("too long", [good.clone(), vec![0]].concat(), "25 bytes"),
        ("header cut off", good[..30].to_vec(), "cut off"),
        ("magic only", good[..6].to_vec(), "cut off"),
        ("version", [b"\x93NUMPY\x09\x00".as_slice(), &good[8..]].concat(), "version 9"),
        ("integers", header("<i8", "(2, 3)"), "'<i8'; save it as float16"),
        ("objects", header("|O", "(2, 3)"), "'|O'"),
        ("a vector", header("<f4", "(6,)"), "[6], not (height, width)"),
        ("a volume", header("<f4", "(2, 3, 4)"), "not (height, width)"),
        ("no pixels", header("<f4", "(0, 3)"), "no pixel"),
        ("huge", header("<f4", "(4294967296, 4294967296)"), "larger"),
        ("overflow", header("<f4", "(18446744073709551615, 2)"), "larger"),
        ("negative", header("<f4", "(-2, 3)"), "is none"),
        ("no shape", npy("<f4', 'x': '", false, "", &[]), ""),
        ("hdf5", b"\x89HDF\r\n\x1a\n....".to_vec(), "HDF5"),
        ("jpeg", b"\xff\xd8\xff\xe0".to_vec(), "JPEG"),
        ("npz", b"PK\x03\x04".to_vec(), "archive"),
        ("tiff", b"II*\0\xff\xff\xff\xff".to_vec(), ""),
        ("png", b"\x89PNG\r\n\x1a\nxxxx".to_vec(), ""),
        ("tensors", [&100_u64.to_le_bytes()[..], b"{\"a\""].concat(), ""),
    ];
    for (what, bytes, words) in cases {
        let error = decode(&bytes).expect_err(what);
        assert!(error.contains(words), "{what}: {error}");
    }
}

fn png(color: png::ColorType, depth: png::BitDepth, data: &[u8], scale: Option<(&str, &str)>) -> Vec<u8> {
    use crate::sink::score_maps::{HI_KEY, LO_KEY};
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 2, 1);
    encoder.set_color(color);
    encoder.set_depth(depth);
    if let Some((lo, hi)) = scale {
        encoder.add_text_chunk(LO_KEY.into(), lo.into()).unwrap();
        encoder.add_text_chunk(HI_KEY.into(), hi.into()).unwrap();
    }
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(data).unwrap();
    writer.finish().unwrap();
    bytes
}

#[test]
fn grey_pictures_are_maps_and_their_scale_counts() {
    use png::BitDepth::{Eight, Sixteen};
    use png::ColorType::{Grayscale, Rgb};
    let scores = |bytes: &[u8]| decode(bytes).map(|image| image.scores);
    let sixteen = [0x01, 0x00, 0xff, 0xff];
    assert_eq!(scores(&png(Grayscale, Sixteen, &sixteen, None)), Ok(Scores::F32(vec![256.0, 65535.0])));
    assert_eq!(scores(&png(Grayscale, Eight, &[7, 255], None)), Ok(Scores::F32(vec![7.0, 255.0])));
    let scaled = png(Grayscale, Sixteen, &[0, 0, 0xff, 0xff], Some(("-1.5", "2.5")));
    assert_eq!(scores(&scaled), Ok(Scores::F32(vec![-1.5, 2.5])));
    let broken = png(Grayscale, Sixteen, &sixteen, Some(("-1.5", "two")));
    assert!(scores(&broken).unwrap_err().contains("two"));
    let colours = png(Rgb, Eight, &[1, 2, 3, 4, 5, 6], None);
    assert!(scores(&colours).unwrap_err().contains("colours"));
    assert!(scores(&scaled[..scaled.len() - 20]).is_err());
}

#[test]
fn tensors_are_maps() {
    use safetensors::tensor::{Dtype, TensorView, serialize};
    let data = bytes("<f4", VALUES);
    let view = TensorView::new(Dtype::F32, vec![1, 2, 3], &data).unwrap();
    let one = serialize([("anything", &view)], None).unwrap();
    let named = serialize([("scores", &view), ("image", &view)], None).unwrap();
    for bytes in [&one, &named] {
        assert!(same(&decode(bytes).unwrap()));
        assert_eq!(describe(bytes).unwrap(), MapInfo { width: 3, height: 2, wide: false });
    }
    let two = serialize([("a", &view), ("b", &view)], None).unwrap();
    assert!(decode(&two).unwrap_err().contains("it holds a, b; call the map \"scores\""));
    let integers = TensorView::new(Dtype::I32, vec![2, 3], &data).unwrap();
    assert!(decode(&serialize([("scores", &integers)], None).unwrap()).unwrap_err().contains("I32"));
    assert!(decode(&one[..one.len() - 1]).is_err());
}

#[test]
fn partners_are_found_and_missed() {
    let dir = tempfile::tempdir().unwrap();
    let (scores, truth) = (dir.path().join("s"), dir.path().join("t"));
    let touch = |path: PathBuf| {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, b"").unwrap();
    };
    assert!(pairs(&scores, &truth).unwrap_err().to_string().contains("cannot read the folder"));
    std::fs::create_dir_all(&scores).unwrap();
    std::fs::create_dir_all(&truth).unwrap();
    assert!(pairs(&scores, &truth).unwrap_err().to_string().contains("holds no score map"));
    touch(scores.join("a.npy"));
    touch(scores.join("town/b_leftImg8bit.png"));
    touch(scores.join("notes.txt"));
    touch(truth.join("a_labels_semantic.png"));
    touch(truth.join("a_labels_semantic_color.png"));
    touch(truth.join("a_labelIds.png"));
    touch(truth.join("town/b_gtCoarse_labelIds.png"));
    touch(truth.join("town/b_gtCoarse_color.png"));
    let found = pairs(&scores, &truth).unwrap();
    let names: Vec<&str> = found.iter().map(|pair| pair.name.as_str()).collect();
    assert_eq!(names, ["a", "town/b_leftImg8bit"]);
    assert!(found[1].truth.ends_with("town/b_gtCoarse_labelIds.png"));
    touch(scores.join("c.npy"));
    // Names that only begin like a map's are other pictures' masks.
    for name in ["d.png", "a_1.png", "a_2_labels.png"] {
        touch(truth.join(name));
    }
    let error = pairs(&scores, &truth).unwrap_err().to_string();
    assert!(error.contains("1 score maps have no truth: c"), "{error}");
    assert!(error.contains("3 truth masks have no score map: a_1, a_2_labels, d"), "{error}");
    touch(scores.join("a.png"));
    assert!(pairs(&scores, &truth).unwrap_err().to_string().contains("both called a"));
}
