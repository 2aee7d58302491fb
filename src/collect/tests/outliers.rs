//! Banks whose references have classes, and banks that know outliers.

use super::parts::{joining, part_knowing, shards, smaller};
use super::recipes::{asked, built, config, labelled, table, whole};
use super::*;
use crate::bank::{Affine, ClassSource, Combine, Discriminant, OutlierUse, ShardNumber, Step};
use crate::grid::Distances;
use crate::nearest::{self, Device, SearchConfig};

#[test]
fn patches_are_searched_among_references_of_their_class() {
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let inputs = labelled(dir.path());
    let by_class = RecipeConfig { by_class: true, ..whole("center") };
    let config = BuildConfig { k: 2, ..config(by_class, Some(ClassSource::Model)) };
    let contents = run(&inputs, &config).unwrap();
    let bank = std::sync::Arc::new(Bank::from_contents(contents.clone(), 2).unwrap());
    let search = SearchConfig { k: 2, device: Device::Cpu, ..SearchConfig::default() };
    let mut gauge = nearest::open(&search, &bank).unwrap().engine;
    assert!(gauge.wants_classes() && gauge.name().contains("by class"), "{}", gauge.name());
    let frame = open(&inputs[7]).unwrap().next().unwrap().unwrap();
    let (mut features, mut found) = (Features::default(), Distances::default());
    MeanColour { seen: 0, gain: 1.0 }.extract(&frame, &mut features, None).unwrap();
    // Patches of classes 0 to 2 in turn, and of a class that there is no reference of.
    let classes: Vec<u16> = (0..24).map(|patch| patch % 4).collect();
    gauge.distances_by_class(&features, &classes, &mut found).unwrap();
    let rows = table(&bank, 0);
    let Step::Affine(Affine { mean, .. }) = &bank.transforms()[0].steps[0] else { unreachable!() };
    for (patch, got) in found.data.iter().enumerate() {
        let x: Vec<f64> = (0..3).map(|c| f64::from(features.data[patch * 3 + c] - mean[c])).collect();
        let among = |r: &usize| classes[patch] == 3 || bank.classes()[*r] == classes[patch];
        let away = |r: usize| rows[r].iter().zip(&x).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
        let mut all: Vec<f64> = (0..rows.len()).filter(among).map(away).collect();
        all.sort_by(f64::total_cmp);
        let want = (all[0] + all[1]) / 2.0;
        assert!((f64::from(*got) - want).abs() < 1e-4 * want.max(1.0), "patch {patch}: {got} {want}");
    }
    let paths = shards(out.path(), &inputs, &config, 2);
    let merged = merge(&paths, &joining(false, 1), &mut ()).unwrap().to_bytes().unwrap();
    assert!(merged == contents.to_bytes().unwrap());
    let why = run(&inputs, &BuildConfig { classes: None, ..config }).unwrap_err().to_string();
    assert!(why.contains("--classes"), "{why}");
}

/// Pictures of known outliers: of each, the mask covers patches 0 to 2 of the first row whole, patch 3 by a bit less
/// than half, and says nothing of others.
fn strangers(dir: &Path) -> Vec<Input> {
    let (images, labels) = (dir.join("strange"), dir.join("masks"));
    std::fs::create_dir_all(&images).unwrap();
    std::fs::create_dir_all(&labels).unwrap();
    for i in 0..5 {
        write_image(&images.join(format!("{i}.png")), 90 + i);
        let mask = image::GrayImage::from_fn(48, 32, |x, y| {
            image::Luma([match (x, y) {
                (0..24, 0..8) => 1,
                (24..32, 0..4) => {
                    if (x, y) == (24, 0) {
                        0
                    } else {
                        1
                    }
                }
                _ => 255,
            }])
        });
        mask.save(labels.join(format!("{i}.png"))).unwrap();
    }
    let mut inputs = list(&[images.to_str().unwrap().to_owned()]).unwrap();
    attach_labels(&mut inputs, &labels).unwrap();
    inputs
}

#[test]
fn known_outliers_are_the_patches_that_their_labels_cover() {
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let inputs = labelled(dir.path());
    let strange = strangers(dir.path());
    let ratio = RecipeConfig {
        outliers: OutlierUse::Ratio,
        discriminant: Some(Discriminant { weight: 2.0, ridge: 0.5, baseline: None }),
        affinity: Some(AffinityConfig { part: "red".into(), temperature: 0.2, radius: 3.0, share: 0.5 }),
        ..asked("center:image,whiten", Combine::Sum)
    };
    let config = BuildConfig { k: 2, ..config(ratio, None) };
    let find = |size: usize, config: &BuildConfig, values: &[u16]| {
        let mut model = MeanColour { seen: 0, gain: 1.0 };
        let made =
            gather_outliers(&strange, (size, values), config, (&mut open, &mut model), &mut (), &Stop::new());
        made.map(|shard| Outliers::of(shard, values))
    };
    let none = find(100, &config, &[7]).unwrap_err().to_string();
    assert!(none.contains("--outlier-values") && none.contains("120 patches"), "{none}");
    let known = find(100, &config, &[1]).unwrap();
    assert_eq!((known.record.rows, known.record.patches, known.record.frames), (15, 15, 5));
    assert_eq!(find(4, &config, &[1]).unwrap().record.rows, 4);
    assert_eq!(find(1000, &config, &[]).unwrap().record.rows, 120, "all patches if no label says which");
    let bare = RecipeConfig {
        affinity: None,
        outliers: OutlierUse::Off,
        discriminant: None,
        ..config.recipe.clone()
    };
    let without = built(&inputs, &BuildConfig { recipe: bare, ..config.clone() });
    let refused = run(&inputs, &config).unwrap_err().to_string();
    assert!(refused.contains("--outliers"), "{refused}");

    let contents = part_knowing(Some(known.clone()), &inputs, &config).unwrap().contents;
    // Their rows are the features less the mean of their picture, by the transform that the references made.
    let whitened = &contents.extras.transforms[1].steps[1];
    let Step::Affine(Affine { mean, matrix: Some(matrix) }) = whitened else { panic!("{whitened:?}") };
    let (raw, means) = (&known.rows.rows, known.rows.means.as_ref().unwrap());
    let tables = &contents.extras.outliers.as_ref().unwrap().rows;
    let (mut feature, mut got) = ([0.0; 3], [0.0; 2]);
    for row in 0..15 {
        raw.view().copy_to(row * 3, &mut feature);
        tables.view().copy_to(15 + row * 2, &mut got);
        let picture = &means.means[means.own[row] as usize * 3..];
        let x: Vec<f32> = (0..2).map(|c| feature[c + 1] - picture[c + 1] - mean[c]).collect();
        for (c, got) in got.iter().enumerate() {
            let want = matrix[c * 2] * x[0] + matrix[c * 2 + 1] * x[1];
            assert!((want - got).abs() < 1e-4, "row {row}: {got} {want}");
        }
    }
    assert_eq!(contents.extras.transforms, without.transforms(), "outliers do not change the transform");
    let bank = Bank::from_contents(contents.clone(), 2).unwrap();
    // What is normal is now a ratio, not a distance.
    let (normal, distance) = (&bank.recipe().parts[0].baseline, &without.recipe().parts[0].baseline);
    assert!(normal.unwrap().mean > 0.0 && normal.unwrap() != distance.unwrap());
    // The strange patches lie on the far side of the discriminant, in the mean.
    let direction = bank.direction();
    assert_eq!(direction.len(), 3);
    let told = |row: usize| -> f64 {
        let mut feature = [0.0; 3];
        raw.view().copy_to(row * 3, &mut feature);
        let picture = &means.means[means.own[row] as usize * 3..];
        (0..3).map(|c| f64::from(direction[c]) * f64::from(feature[c] - picture[c])).sum()
    };
    let linear = bank.recipe().discriminant.unwrap().baseline.unwrap();
    let strange = (0..15).map(told).sum::<f64>() / 15.0;
    assert!(strange > linear.mean && linear.deviation > 0.0, "{strange} {linear:?}");

    // Through files, in shards, and made smaller.
    let whole = part_knowing(Some(known.clone()), &inputs, &config).unwrap().to_bytes().unwrap();
    assert!(whole == contents.to_bytes().unwrap());
    let first = ShardNumber { number: 1, of: 2 };
    let paths: Vec<PathBuf> = (1..=2)
        .map(|number| {
            let shard = ShardNumber { number, ..first };
            let outliers = Some(known.clone()).filter(|_| number == 1);
            let config = BuildConfig { shard: Some(shard), ..config.clone() };
            let path = out.path().join(format!("{number}.bank"));
            part_knowing(outliers, &inputs, &config).unwrap().write(&path).unwrap();
            path
        })
        .collect();
    assert!(merge(&paths, &joining(false, 2), &mut ()).unwrap().to_bytes().unwrap() == whole);
    let path = out.path().join("whole.bank");
    std::fs::write(&path, &whole).unwrap();
    let bank = Bank::open(&path, 2).unwrap();
    assert_eq!(bank.outliers().unwrap(), contents.extras.outliers.as_ref().unwrap());
    let small = smaller(&bank, PruneMethod::Random, 50, false).contents;
    assert_eq!(small.extras.outliers.as_ref(), bank.outliers());
    let told = crate::bank::summary(&bank).to_string();
    assert!(told.contains("15 features of 15 patches in 5 pictures") && told.contains("ratio"), "{told}");
    assert!(told.contains("alike in red"), "{told}");
    let mut lost = contents;
    lost.extras.outliers = None;
    assert!(Bank::from_contents(lost, 2).unwrap_err().to_string().contains("has none"));
}
