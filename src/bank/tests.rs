//! Banks written, opened, damaged and mistaken.

use std::path::{Path, PathBuf};

use super::*;

fn contents(data_type: DataType, rows: usize) -> BankContents {
    let mut features = RowsBuf::new(data_type);
    for row in 0..rows {
        features.set(row, &[row as f32, 0.5, -1.25]);
    }
    let model = ModelIdentity {
        sha256: "ab".repeat(32),
        features: "keys".into(),
        patch: 8,
        input_size: "frame".into(),
        normalisation: "rgb".into(),
        name: "tiny".into(),
        parts: Vec::new(),
        width: 3,
    };
    let maxima: Vec<f32> = (0..200).rev().map(|i| i as f32).collect();
    let calibration = Calibration {
        maps: Default::default(),
        views: None,
        min_region_px: 100,
        split: "by block".into(),
        frames: 200,
        blocks: 7,
        methods: vec![statistics_of("knn", Some(3), (0..=1000).map(|i| i as f32).collect(), maxima)],
    };
    let metadata = Metadata {
        format: FORMAT,
        farout: "0".into(),
        model,
        build: BuildRecord::default(),
        recipe: None,
        calibration: Some(calibration),
        sources: vec![SourceFile { sha256: "cd".repeat(32), name: "a/b.jpg".into() }],
    };
    let origins = (0..rows as u32).map(|row| Origin { source: 0, frame: 1, row, col: 2 }).collect();
    BankContents { features, origins, metadata, extras: Extras::default() }
}

fn written(dir: &Path, contents: &BankContents) -> PathBuf {
    let path = dir.join("x.bank");
    contents.write(&path).unwrap();
    path
}

#[test]
fn what_is_written_is_read_again() {
    for data_type in [DataType::F16, DataType::F32] {
        let dir = tempfile::tempdir().unwrap();
        let contents = contents(data_type, 5);
        let path = written(dir.path(), &contents);
        let bank = Bank::open(&path, 3).unwrap();
        assert_eq!((bank.rows(), bank.width(), bank.features().data_type()), (5, 3, data_type));
        assert_eq!(bank.metadata(), &contents.metadata);
        let mut row = [0.0; 3];
        bank.features().copy_to(4 * 3, &mut row);
        assert_eq!(row, [4.0, 0.5, -1.25]);
        let origin = bank.provenance(4).unwrap();
        assert_eq!((origin.frame, origin.row, origin.col), (1, 4, 2));
        assert_eq!(bank.source(&origin).unwrap().name, "a/b.jpg");
        assert!(bank.provenance(5).is_none());
        assert_eq!(
            std::fs::read(&path).unwrap(),
            contents.to_bytes().unwrap(),
            "equal contents, equal bytes"
        );
        let json = serde_json::to_value(summary(&bank)).unwrap();
        assert_eq!(json["thresholds"][0]["false_frame_rate"], 0.1);
    }
}

#[test]
fn a_bank_in_memory_does_not_mind_what_is_written_over_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = written(dir.path(), &contents(DataType::F32, 9000));
    let bank = Bank::open_in_memory(&path, 3).unwrap();
    std::fs::write(&path, "").unwrap();
    let mut row = [0.0; 3];
    bank.features().copy_to(8999 * 3, &mut row);
    assert_eq!(row, [8999.0, 0.5, -1.25]);
    assert_eq!(bank.provenance(8999).unwrap().row, 8999);
    assert!(matches!(Bank::open_in_memory(&path, 3), Err(BankError::CutShort { .. })));
}

#[test]
fn every_cut_and_every_stranger_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = written(dir.path(), &contents(DataType::F16, 5));
    let whole = std::fs::read(&path).unwrap();
    for keep in 0..whole.len() {
        std::fs::write(&path, &whole[..keep]).unwrap();
        let err = Bank::open(&path, 3).unwrap_err();
        assert!(matches!(err, BankError::CutShort { .. }), "{keep} bytes: {err}");
    }
    std::fs::write(&path, [whole.as_slice(), b"more"].concat()).unwrap();
    assert!(Bank::open(&path, 3).is_err());
    let key = br#"format\":1"#;
    let version = whole.windows(key.len()).position(|bytes| bytes == key).unwrap() + key.len() - 1;
    let mut other = whole.clone();
    other[version] = b'9';
    std::fs::write(&path, &other).unwrap();
    assert!(matches!(Bank::open(&path, 3), Err(BankError::Version { found: 9, known: 2, .. })));
    std::fs::write(&path, "a text file that calls itself a bank").unwrap();
    assert!(matches!(Bank::open(&path, 3), Err(BankError::NotABank { .. })));
    assert!(matches!(
        Bank::open(dir.path(), 3),
        Err(BankError::NotABank { .. } | BankError::Unreadable { .. })
    ));
    let missing = Bank::open(&dir.path().join("none.bank"), 3).unwrap_err().to_string();
    assert!(missing.contains("none.bank") && missing.contains("farout bank build"), "{missing}");
}

#[test]
fn a_row_that_is_not_finite_is_named() {
    for data_type in [DataType::F16, DataType::F32] {
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut broken = contents(data_type, 9);
            broken.features.set(6, &[1.0, 2.0, bad]);
            let err = Bank::from_contents(broken, 3).unwrap_err();
            assert!(matches!(err, BankError::NotFinite { row: 6, .. }), "{bad}: {err}");
        }
        let mut extreme = contents(data_type, 9);
        extreme.features.set(6, &[65504.0, -65504.0, 1e-8]);
        Bank::from_contents(extreme, 3).unwrap();
    }
}

#[test]
fn too_few_rows_and_other_models_are_refused() {
    let err = Bank::from_contents(contents(DataType::F16, 2), 3).unwrap_err();
    assert!(matches!(err, BankError::TooFew { rows: 2, k: 3, .. }));
    assert!(Bank::from_contents(contents(DataType::F16, 0), 1).is_err());
    let bank = Bank::from_contents(contents(DataType::F16, 5), 3).unwrap();
    let same = bank.metadata().model.clone();
    bank.check_model(&same).unwrap();
    let other = ModelIdentity { width: 768, sha256: "ef".repeat(32), ..same };
    let text = bank.check_model(&other).unwrap_err().to_string();
    for part in ["3-wide", "768-wide", "abababababab", "efefefefefef", "farout bank build"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn thresholds_keep_their_rate() {
    let bank = Bank::from_contents(contents(DataType::F16, 5), 3).unwrap();
    let calibration = bank.calibration().unwrap();
    let maxima = &calibration.method("knn").unwrap().frame_levels;
    for rate in [0.5, 0.1, 0.05, 0.01, 0.001] {
        let found = calibration.threshold("knn", rate).unwrap();
        let over = maxima.iter().filter(|m| **m > found.value).count();
        assert!(over as f64 <= rate * 200.0, "{rate}: {over} of 200 over {}", found.value);
        // 201 * 0.005 > 1 >= 201 * 0.001: only the last is extrapolated.
        assert_eq!(found.basis.contains("extrapolated"), rate < 0.004, "{rate}: {}", found.basis);
    }
    assert_eq!(calibration.threshold("knn", 0.1).unwrap().value, 180.0);
    assert!(calibration.threshold("knn", 0.0).is_err());
    assert!(calibration.threshold("knn", f64::NAN).is_err());
    assert!(calibration.threshold("lse", 0.01).unwrap_err().to_string().contains("knn"));
}

#[test]
fn few_frames_are_extrapolated_and_it_is_said() {
    // An exponential tail: the fit must find its quantiles again.
    let maxima: Vec<f32> = (0..30).map(|i| -(1.0 - (i as f32 + 0.5) / 30.0).ln() + 5.0).collect();
    let methods = vec![statistics_of("knn", Some(3), maxima.clone(), maxima)];
    let mut calibration = Calibration {
        min_region_px: 100,
        split: "one block".into(),
        frames: 30,
        blocks: 1,
        maps: Default::default(),
        views: None,
        methods,
    };
    let found = calibration.threshold("knn", 0.01).unwrap();
    assert!((found.value - (5.0 + 100f32.ln())).abs() < 0.6, "{found:?}");
    assert!(found.basis.contains("extrapolated") && found.basis.contains("30 held-out frames"));
    calibration.methods = vec![statistics_of("knn", Some(3), vec![1.0, 2.0, 3.0], vec![3.0])];
    let found = calibration.threshold("knn", 0.01).unwrap();
    assert!(found.value > 3.0 && found.basis.contains("guess"), "{found:?}");
    calibration.methods = vec![statistics_of("knn", Some(3), vec![], vec![])];
    assert!(calibration.threshold("knn", 0.01).is_err());
}
