//! Shards, their merge, and banks made smaller.

use super::*;
use crate::bank::{BankError, ShardNumber};
use crate::score::{MapRecipe, Normalise, Parametric};

/// Images of two drives, one of them twice under another name, and a video given twice.
fn mixed(dir: &Path) -> Vec<Input> {
    drive(dir, 60, 30);
    let other = dir.join("drive");
    for i in 0..9 {
        std::fs::copy(
            other.join(format!("drive_{:06}.png", i * 30)),
            other.join(format!("again_{i:03}.png")),
        )
        .unwrap();
    }
    let bytes: Vec<u8> = (0..250u8).filter(|b| *b != b'X').collect();
    std::fs::write(dir.join("b.mp4"), &bytes).unwrap();
    std::fs::write(dir.join("a.mp4"), &bytes).unwrap();
    list(&[dir.to_str().unwrap().to_owned()]).unwrap()
}

pub(super) fn part(inputs: &[Input], config: &BuildConfig) -> Result<Built, BuildError> {
    part_knowing(None, inputs, config)
}

pub(super) fn part_knowing(
    outliers: Option<Outliers>,
    inputs: &[Input],
    config: &BuildConfig,
) -> Result<Built, BuildError> {
    let mut model = MeanColour { seen: 0, gain: 1.0 };
    build(inputs, outliers, config, (&mut open, &mut model), &mut (), &Stop::new())
}

/// Writes all shards of `inputs` into `dir`.
pub(super) fn shards(dir: &Path, inputs: &[Input], config: &BuildConfig, of: u32) -> Vec<PathBuf> {
    let write = |number| {
        let path = dir.join(format!("{number}-of-{of}.bank"));
        let config = BuildConfig { shard: Some(ShardNumber { number, of }), ..config.clone() };
        part(inputs, &config).unwrap().write(&path).unwrap();
        path
    };
    (1..=of).map(write).collect()
}

pub(super) fn joining(keep_held_out: bool, threads: usize) -> MergeConfig {
    MergeConfig { keep_held_out, threads, ..MergeConfig::default() }
}

#[test]
fn merged_shards_are_the_bank_of_one_run_byte_for_byte() {
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut inputs = mixed(dir.path());
    for data_type in [DataType::F16, DataType::F32] {
        for (size, held_out_share) in [(100, 0.2), (10_000, 0.2), (300, 0.01)] {
            // Half of them with maps that are treated before they are measured.
            let maps = MapRecipe {
                partner: Parametric::Entropy,
                normalise: Normalise::Median,
                smooth: 0.75,
                hysteresis: 0.5,
            };
            let maps = if data_type == DataType::F32 { maps } else { MapRecipe::default() };
            let config = BuildConfig { data_type, held_out_share, video_step: 3, maps, ..config(size) };
            let whole = part(&inputs, &config).unwrap().to_bytes().unwrap();
            assert_eq!(whole, run(&inputs, &config).unwrap().to_bytes().unwrap());
            let keep = BuildConfig { keep_held_out: true, ..config.clone() };
            let with_frames = part(&inputs, &keep).unwrap().to_bytes().unwrap();
            assert!(with_frames.len() > whole.len());
            for of in [1, 2, 5] {
                inputs.rotate_left(7);
                let mut paths = shards(out.path(), &inputs, &config, of);
                paths.reverse();
                let merged = merge(&paths, &joining(false, 2), &mut ()).unwrap().to_bytes().unwrap();
                assert!(merged == whole, "{of} shards, {size} features of {held_out_share}");
                let merged = merge(&paths, &joining(true, 1), &mut ()).unwrap().to_bytes().unwrap();
                assert!(merged == with_frames, "{of} shards, {size} features, frames kept");
            }
        }
    }
}

#[test]
fn a_shard_without_features_is_merged_too() {
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let inputs = drive(dir.path(), 3, 1000);
    // More shards than inputs.
    let paths = shards(out.path(), &inputs, &config(50), 5);
    assert_eq!(Bank::open_any(&paths[4]).unwrap().rows(), 0);
    let merged = merge(&paths, &joining(false, 1), &mut ()).unwrap().to_bytes().unwrap();
    assert!(merged == run(&inputs, &config(50)).unwrap().to_bytes().unwrap());
}

#[test]
fn what_does_not_fit_together_is_refused_by_name() {
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let inputs = drive(dir.path(), 20, 30);
    let two = shards(out.path(), &inputs, &config(50), 2);
    let refused = |paths: &[&PathBuf]| {
        let paths: Vec<PathBuf> = paths.iter().map(|p| (*p).clone()).collect();
        merge(&paths, &joining(false, 1), &mut ()).unwrap_err().to_string()
    };
    let says =
        |text: &str, parts: &[&str]| parts.iter().for_each(|p| assert!(text.contains(p), "{p}: {text}"));
    says(&refused(&[&two[0], &two[1], &two[0]]), &["1-of-2.bank", "both shard 1 of 2"]);
    says(&refused(&[&two[1]]), &["shards 1 of 2 are missing", "2-of-2.bank", "--shard"]);
    let three = shards(out.path(), &inputs, &config(50), 3);
    says(&refused(&[&two[0], &two[1], &three[2]]), &["number of shards: 3, not 2"]);
    for (other, what) in [
        (BuildConfig { seed: 1, ..config(50) }, "seed: 1, not 0"),
        (config(51), "size: 51, not 50"),
        (BuildConfig { data_type: DataType::F32, ..config(50) }, "number format: f32, not f16"),
        (BuildConfig { k: 2, ..config(50) }, "k: 2, not 3"),
        (
            BuildConfig {
                maps: MapRecipe {
                    partner: Parametric::Msp,
                    normalise: Normalise::Median,
                    smooth: 1.5,
                    hysteresis: 0.0,
                },
                ..config(50)
            },
            "normalisation of distances: median, not off; partner of fused scores: msp, not lse",
        ),
    ] {
        let path = out.path().join("other.bank");
        let shard = Some(ShardNumber { number: 2, of: 2 });
        part(&inputs, &BuildConfig { shard, ..other }).unwrap().write(&path).unwrap();
        says(&refused(&[&two[0], &path]), &["1-of-2.bank", "other.bank", what]);
    }
    let path = out.path().join("model.bank");
    let mut strange =
        part(&inputs, &BuildConfig { shard: Some(ShardNumber { number: 2, of: 2 }), ..config(50) }).unwrap();
    strange.contents.metadata.model.features = "values".into();
    strange.write(&path).unwrap();
    says(&refused(&[&two[0], &path]), &["feature tensor: values, not mean"]);
    let plain = out.path().join("plain.bank");
    part(&inputs, &config(50)).unwrap().write(&plain).unwrap();
    says(&refused(&[&plain]), &["plain.bank", "--keep-held-out"]);
    let err = Bank::open(&two[0], 1).unwrap_err();
    assert!(matches!(err, BankError::Shard { .. }), "{err}");
    says(&err.to_string(), &["shard 1 of 2", "farout bank merge"]);
    // Two sets of inputs are one bank if each is whole.
    let elsewhere = tempfile::tempdir().unwrap();
    let more = mixed(elsewhere.path());
    let keep = BuildConfig { keep_held_out: true, ..config(50) };
    let (a, b) = (out.path().join("a.bank"), out.path().join("b.bank"));
    part(&inputs, &keep).unwrap().write(&a).unwrap();
    part(&more, &keep).unwrap().write(&b).unwrap();
    let both = merge(&[a.clone(), b.clone()], &joining(false, 1), &mut ()).unwrap().to_bytes().unwrap();
    assert!(both == merge(&[b, a], &joining(false, 1), &mut ()).unwrap().to_bytes().unwrap());
}

#[test]
fn a_damaged_part_is_an_error() {
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let inputs = drive(dir.path(), 20, 30);
    let path = shards(out.path(), &inputs, &config(50), 1).remove(0);
    let whole = std::fs::read(&path).unwrap();
    let damage = |from: &[u8], to: &[u8]| {
        let at = whole.windows(from.len()).position(|w| w == from).unwrap();
        let mut bytes = whole.clone();
        bytes[at..at + from.len()].copy_from_slice(to);
        std::fs::write(&path, bytes).unwrap();
        merge(std::slice::from_ref(&path), &joining(false, 1), &mut ()).unwrap_err().to_string()
    };
    for (from, to) in [
        (br#""rows":4"#.as_slice(), br#""rows":9"#.as_slice()),
        (br#""rows":4"#, br#""rows":3"#),
        (br#""image":""#, br#""image":x"#),
        (br#""held_out.valid""#, br#""held_out.wrong""#),
    ] {
        let text = damage(from, to);
        assert!(text.contains("1-of-1.bank") && text.contains("again"), "{text}");
    }
}

pub(super) fn smaller(bank: &Bank, method: PruneMethod, to: usize, keep: bool) -> Built {
    let config = PruneConfig { to, method, seed: 3, keep_held_out: keep, threads: 2 };
    prune(bank, &config, &mut (), &Stop::new()).unwrap()
}

#[test]
fn a_pruned_bank_covers_the_large_one_and_says_how_well() {
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let inputs = drive(dir.path(), 60, 30);
    let (path, plain) = (out.path().join("large.bank"), out.path().join("plain.bank"));
    part(&inputs, &BuildConfig { keep_held_out: true, ..config(500) }).unwrap().write(&path).unwrap();
    part(&inputs, &config(500)).unwrap().write(&plain).unwrap();
    let bank = Bank::open(&path, 3).unwrap();
    let row = |rows: crate::bank::Rows, i: usize| {
        let mut row = [0.0; 3];
        rows.copy_to(i * 3, &mut row);
        row
    };
    // Reading JSON may change the last bit of a number.
    let read = |calibration: &crate::bank::Calibration| -> crate::bank::Calibration {
        serde_json::from_str(&serde_json::to_string(calibration).unwrap()).unwrap()
    };
    let mut radii = Vec::new();
    for method in [PruneMethod::KCenter, PruneMethod::Random] {
        let built = smaller(&bank, method, 40, true);
        let small = &built.contents;
        assert_eq!(small.origins.len(), 40);
        let away = |r: usize| {
            let a = row(bank.features(), r);
            let to =
                |s| row(small.features.view(), s).iter().zip(a).map(|(x, y)| (x - y).powi(2)).sum::<f32>();
            (0..40).map(to).fold(f32::INFINITY, f32::min).sqrt()
        };
        let all: Vec<f32> = (0..bank.rows()).map(away).collect();
        let (radius, mean) = (all.iter().copied().fold(0.0, f32::max), all.iter().sum::<f32>() / 500.0);
        let record = small.metadata.build.pruned.as_ref().unwrap();
        assert!((record.covering_radius - radius).abs() < 1e-3 * radius, "{record:?} {radius}");
        assert!((record.mean_distance - f64::from(mean)).abs() < 1e-3 * f64::from(mean), "{record:?} {mean}");
        assert_eq!((record.from, record.method.as_str(), record.seed), (500, method.name(), 3));
        radii.push(radius);
        // Every row that stays is one of the large bank, with its origin.
        for s in 0..40 {
            let origin = small.origins[s];
            let source = &small.metadata.sources[origin.source as usize];
            let same = |r: &usize| {
                let o = bank.provenance(*r).unwrap();
                bank.source(&o) == Some(source)
                    && (o.frame, o.row, o.col) == (origin.frame, origin.row, origin.col)
            };
            let old = (0..bank.rows()).find(same).unwrap();
            assert_eq!(row(small.features.view(), s), row(bank.features(), old));
        }
        // Calibrated anew: as a bank of the same rows would be.
        let (large, new) = (bank.calibration().unwrap(), &read(small.metadata.calibration.as_ref().unwrap()));
        assert_eq!(
            (new.frames, &new.methods[1..5]),
            (large.frames, &large.methods[1..5]),
            "no bank in these"
        );
        assert_eq!(
            small.metadata.build.reference,
            bank.metadata().build.reference,
            "of the images, not the rows"
        );
        assert!(new.method("cdnp").unwrap().mean > large.method("cdnp").unwrap().mean);
        assert_eq!(new.methods.len(), large.methods.len());
        assert!(new.methods[0].mean > large.methods[0].mean, "a sparser bank is farther away");
        assert_eq!(built.to_bytes().unwrap(), smaller(&bank, method, 40, true).to_bytes().unwrap());
        built.write(&path.with_extension("small")).unwrap();
        let again = Bank::open(&path.with_extension("small"), 3).unwrap();
        let again = smaller(&again, method, 40, false).contents.metadata.calibration.unwrap();
        assert_eq!(&read(&again), new);
        assert!(
            merge(&[path.with_extension("small")], &joining(false, 1), &mut ())
                .unwrap_err()
                .to_string()
                .contains("pruned")
        );

        // Without the held-out frames nothing is claimed about distances.
        let bare = smaller(&Bank::open(&plain, 3).unwrap(), method, 40, false).contents;
        assert_eq!(bare.features.view().len(), small.features.view().len());
        let methods: Vec<String> =
            bare.metadata.calibration.unwrap().methods.into_iter().map(|m| m.method).collect();
        assert_eq!(methods, ["lse", "msp", "max-logit", "entropy"]);
    }
    assert!(radii[0] < 0.8 * radii[1], "k-centre {} against random {}", radii[0], radii[1]);
    for to in [2, 501] {
        let config =
            PruneConfig { to, method: PruneMethod::Random, seed: 0, keep_held_out: false, threads: 1 };
        let err = prune(&bank, &config, &mut (), &Stop::new()).unwrap_err().to_string();
        assert!(err.contains("choose 3 to 500"), "{err}");
    }
    let whole = smaller(&bank, PruneMethod::KCenter, 500, false);
    assert_eq!(whole.contents.metadata.build.pruned.unwrap().covering_radius, 0.0);
    assert_eq!(whole.contents.metadata.calibration.as_ref().map(read).as_ref(), bank.calibration());
}
