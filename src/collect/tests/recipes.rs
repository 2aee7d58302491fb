//! Transforms fitted to real samples, against independent computations in double precision.

use super::parts::{joining, part, shards, smaller};
use super::*;
use crate::bank::{BankError, ClassSource, Combine, StepKind};
use crate::grid::Distances;
use crate::nearest::{self, Device, SearchConfig};

pub(super) fn steps(text: &str) -> Vec<StepKind> {
    text.split(',').map(|step| step.parse().unwrap()).collect()
}

pub(super) fn asked(transform: &str, combine: Combine) -> RecipeConfig {
    RecipeConfig { transform: steps(transform), combine, floor: 0.0, ..RecipeConfig::default() }
}

/// The same of the whole features as one part.
pub(super) fn whole(transform: &str) -> RecipeConfig {
    RecipeConfig { parts: vec!["all".into()], ..asked(transform, Combine::Concat) }
}

/// All rows of table `number`.
pub(super) fn table(bank: &Bank, number: usize) -> Vec<Vec<f64>> {
    let width = bank.tables()[number];
    let mut row = vec![0.0; width];
    let rows = (0..bank.rows()).map(|r| {
        bank.table(number).copy_to(r * width, &mut row);
        row.iter().map(|x| f64::from(*x)).collect()
    });
    rows.collect()
}

fn covariance(rows: &[Vec<f64>], classes: &[u16]) -> Vec<Vec<f64>> {
    let width = rows[0].len();
    let class = |r: usize| classes.get(r).copied().unwrap_or(0);
    let mean = |of: u16, c: usize| {
        let members: Vec<f64> = (0..rows.len()).filter(|r| class(*r) == of).map(|r| rows[r][c]).collect();
        members.iter().sum::<f64>() / members.len() as f64
    };
    let distinct: std::collections::BTreeSet<u16> = (0..rows.len()).map(class).collect();
    let means: std::collections::BTreeMap<u16, Vec<f64>> =
        distinct.into_iter().map(|of| (of, (0..width).map(|c| mean(of, c)).collect())).collect();
    let product = |a: usize, b: usize| {
        let terms = rows.iter().enumerate().map(|(r, row)| {
            let mean = &means[&class(r)];
            (row[a] - mean[a]) * (row[b] - mean[b])
        });
        terms.sum::<f64>() / rows.len() as f64
    };
    (0..width).map(|a| (0..width).map(|b| product(a, b)).collect()).collect()
}

fn is_identity(matrix: &[Vec<f64>]) -> bool {
    let near = |(a, row): (usize, &Vec<f64>)| {
        row.iter().enumerate().all(|(b, x)| (x - f64::from(u8::from(a == b))).abs() < 2e-3)
    };
    matrix.iter().enumerate().all(near)
}

/// Images whose patches have labels 0 to 2 that shift their colour.
pub(super) fn labelled(dir: &Path) -> Vec<Input> {
    let (images, labels) = (dir.join("images/drive"), dir.join("labels"));
    std::fs::create_dir_all(&images).unwrap();
    std::fs::create_dir_all(&labels).unwrap();
    for i in 0..30u32 {
        let mut state = i.wrapping_mul(2_654_435_761).wrapping_add(17);
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 26
        };
        let class = |x: u32| (x / 16) % 3;
        let mut patch = std::collections::HashMap::new();
        let image = image::RgbImage::from_fn(48, 32, |x, y| {
            let shift = class(x) * 60;
            let [r, g, b] = *patch.entry((x / 8, y / 8)).or_insert_with(|| [noise(), noise(), noise()]);
            image::Rgb([(r + shift) as u8, (g + r / 2 + 10) as u8, (b + 2 * shift) as u8])
        });
        image.save(images.join(format!("drive_{:06}.png", i * 40))).unwrap();
        let mask = image::GrayImage::from_fn(48, 32, |x, _| image::Luma([class(x) as u8]));
        mask.save(labels.join(format!("drive_{:06}.png", i * 40))).unwrap();
    }
    let mut inputs = list(&[images.to_str().unwrap().to_owned()]).unwrap();
    attach_labels(&mut inputs, &labels).unwrap();
    inputs
}

pub(super) fn config(recipe: RecipeConfig, classes: Option<ClassSource>) -> BuildConfig {
    BuildConfig { recipe, classes, data_type: DataType::F32, ..super::config(10_000) }
}

pub(super) fn built(inputs: &[Input], config: &BuildConfig) -> Bank {
    Bank::from_contents(run(inputs, config).unwrap(), 3).unwrap()
}

#[test]
fn whitened_rows_have_the_identity_as_covariance() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = labelled(dir.path());
    let total = built(&inputs, &config(whole("whiten"), None));
    assert!(is_identity(&covariance(&table(&total, 0), &[])), "{:?}", covariance(&table(&total, 0), &[]));
    let labels = Some(ClassSource::Labels);
    let within = built(&inputs, &config(whole("whiten:within"), labels));
    let (rows, classes) = (table(&within, 0), within.classes().to_vec());
    assert_eq!(classes.iter().collect::<std::collections::BTreeSet<_>>().len(), 3);
    assert!(is_identity(&covariance(&rows, &classes)));
    assert!(!is_identity(&covariance(&rows, &[])), "the classes lie apart");
    // The classes are those of the labels where the patch is.
    for (row, class) in classes.iter().enumerate() {
        assert_eq!(u32::from(*class), within.provenance(row).unwrap().col / 2 % 3);
    }
    // MeanColour's logits are its features.
    let model = built(&inputs, &config(RecipeConfig::default(), Some(ClassSource::Model)));
    for (row, class) in table(&model, 0).iter().zip(model.classes()) {
        let largest = row.iter().enumerate().rev().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
        assert_eq!(usize::from(*class), largest, "{row:?}");
    }
    // Whitening of whitened rows moves nothing; the floor keeps thin directions thin.
    let floored = RecipeConfig { floor: 1e6, ..whole("whiten") };
    let thin = covariance(&table(&built(&inputs, &config(floored, None)), 0), &[]);
    assert!((0..3).all(|c| thin[c][c] < 1e-5), "{thin:?}");
}

#[test]
fn principal_directions_keep_the_most_variance_in_falling_order() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = labelled(dir.path());
    let raw = covariance(&table(&built(&inputs, &config(RecipeConfig::default(), None)), 0), &[]);
    let all = covariance(&table(&built(&inputs, &config(whole("pca:3"), None)), 0), &[]);
    let trace = |m: &[Vec<f64>]| (0..m.len()).map(|c| m[c][c]).sum::<f64>();
    assert!((trace(&raw) - trace(&all)).abs() < 1e-3 * trace(&raw));
    assert!(all[0][0] > all[1][1] && all[1][1] > all[2][2]);
    // The largest eigenvalue by power iteration.
    let mut v = vec![1.0, 0.3, 0.2];
    for _ in 0..500 {
        let next: Vec<f64> = raw.iter().map(|row| row.iter().zip(&v).map(|(a, x)| a * x).sum()).collect();
        let norm = next.iter().map(|x: &f64| x * x).sum::<f64>().sqrt();
        v = next.iter().map(|x| x / norm).collect();
    }
    let value: f64 =
        raw.iter().zip(&v).map(|(row, x)| x * row.iter().zip(&v).map(|(a, y)| a * y).sum::<f64>()).sum();
    assert!((all[0][0] - value).abs() < 1e-3 * value, "{} {value}", all[0][0]);
    let one = built(&inputs, &config(whole("pca:1,whiten,l2"), None));
    assert!(one.tables() == [1] && table(&one, 0).iter().all(|row| (row[0].abs() - 1.0).abs() < 1e-6));
    for (recipe, words) in [
        (whole("pca:4"), "only 3"),
        (whole("pca:1,whiten,l2,whiten"), "step"),
        (whole("whiten:within"), "--classes"),
        (whole("l2,center:image"), "first step"),
        (RecipeConfig { parts: vec!["blue".into()], ..RecipeConfig::default() }, "red, rest"),
        (
            RecipeConfig {
                affinity: Some(AffinityConfig {
                    part: "blue".into(),
                    temperature: 0.2,
                    radius: 3.0,
                    share: 0.5,
                }),
                ..RecipeConfig::default()
            },
            "there are: red, rest",
        ),
        (
            RecipeConfig {
                affinity: Some(AffinityConfig {
                    part: "red".into(),
                    temperature: 0.0,
                    radius: 3.0,
                    share: 0.5,
                }),
                ..RecipeConfig::default()
            },
            "above 0",
        ),
    ] {
        if let Err(why) = run(&inputs, &config(recipe.clone(), None)) {
            assert!(why.to_string().contains(words), "{why}");
        } else {
            // One dimension of plus and minus one can be whitened again.
            assert_eq!(words, "step", "{recipe:?}");
        }
    }
}

#[test]
fn a_power_between_a_turn_and_whitening_leaves_that_much_variance() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = labelled(dir.path());
    let spread = |steps: &str| covariance(&table(&built(&inputs, &config(whole(steps), None)), 0), &[]);
    let (turned, half) = (spread("pca:3"), spread("whiten:0.25"));
    let flat = spread("whiten:0");
    for c in 0..3 {
        // The variance v becomes v times the square of v to minus the power.
        assert!((half[c][c] - turned[c][c].sqrt()).abs() < 2e-3 * half[c][c], "{half:?} {turned:?}");
        assert!((flat[c][c] - turned[c][c]).abs() < 2e-3 * flat[c][c]);
    }
}

#[test]
fn centred_rows_are_those_of_their_picture_less_its_mean() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = labelled(dir.path());
    let bank = built(&inputs, &config(whole("center:image"), None));
    assert!(bank.means().is_none(), "they are needed no more");
    let mut model = MeanColour { seen: 0, gain: 1.0 };
    for (row, got) in table(&bank, 0).iter().enumerate() {
        let origin = bank.provenance(row).unwrap();
        let input = inputs.iter().find(|i| i.name == bank.source(&origin).unwrap().name).unwrap();
        let frame = open(input).unwrap().next().unwrap().unwrap();
        let mut features = Features::default();
        model.extract(&frame, &mut features, None).unwrap();
        let patch = origin.row as usize * features.grid.cols + origin.col as usize;
        for (c, got) in got.iter().enumerate() {
            let of = |p: usize| f64::from(features.data[p * 3 + c]);
            let mean = (0..24).map(of).sum::<f64>() / 24.0;
            assert!((got - (of(patch) - mean)).abs() < 1e-4, "row {row}: {got}");
        }
    }
}

#[test]
fn the_calibration_is_that_of_the_transformed_distances() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = drive(dir.path(), 60, 30);
    let sum = built(&inputs, &config(asked("center,whiten", Combine::Sum), None));
    assert_eq!((sum.tables(), sum.recipe().parts.len()), (&[1, 2][..], 2));
    let normal: Vec<_> = sum.recipe().parts.iter().map(|part| part.baseline.unwrap()).collect();
    let knn = sum.calibration().unwrap().method("knn").unwrap();
    // The mean of a sum of d / s is the sum of the means.
    let want: f64 = normal.iter().map(|n| n.mean / n.deviation).sum();
    assert!((knn.mean - want).abs() < 1e-3 * want, "{} {want}", knn.mean);
    let max = built(&inputs, &config(asked("center,whiten", Combine::Max), None));
    assert!(max.calibration().unwrap().method("knn").unwrap().min < 0.0, "a z-score below the normal one");
    // A patch that is a reference is at distance 0.
    let raw = built(&inputs, &config(RecipeConfig::default(), None));
    let bank = std::sync::Arc::new(sum);
    let search = SearchConfig { k: 1, device: Device::Cpu, ..SearchConfig::default() };
    let mut gauge = nearest::open(&search, &bank).unwrap().engine;
    let mut features = Features { grid: Grid { rows: 1, cols: raw.rows() }, width: 3, ..Features::default() };
    features.data.resize(raw.rows() * 3, 0.0);
    raw.features().copy_to(0, &mut features.data);
    let mut out = Distances::default();
    gauge.distances(&features, &mut out).unwrap();
    assert!(out.data.iter().all(|d| *d < 1e-3), "{:?}", out.data.iter().copied().fold(0.0, f32::max));
}

#[test]
fn shards_of_any_recipe_merge_to_the_bank_of_one_run_and_refuse_another() {
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let inputs = labelled(dir.path());
    let labels = Some(ClassSource::Labels);
    let mut mixed = Vec::new();
    for (recipe, classes) in [
        (asked("l2,whiten", Combine::Concat), None),
        (asked("center:image,l2,whiten:0.25", Combine::Sum), None),
        (asked("whiten:within", Combine::Sum), labels),
        (RecipeConfig { parts: vec!["rest".into()], heads: 2, ..asked("center", Combine::Max) }, labels),
    ] {
        let config = BuildConfig { data_type: DataType::F16, size: 300, ..config(recipe, classes) };
        let whole = part(&inputs, &config).unwrap().to_bytes().unwrap();
        let other = part(&inputs, &BuildConfig { threads: 3, ..config.clone() }).unwrap();
        assert!(whole == other.to_bytes().unwrap(), "other threads, other bank");
        for of in [1, 4] {
            let mut paths = shards(out.path(), &inputs, &config, of);
            paths.reverse();
            let merged = merge(&paths, &joining(false, 2), &mut ()).unwrap().to_bytes().unwrap();
            assert!(merged == whole, "{of} shards of {:?}", config.recipe);
        }
        let path = out.path().join(format!("{}.bank", mixed.len()));
        std::fs::rename(out.path().join(format!("{}-of-4.bank", mixed.len() + 1)), &path).unwrap();
        mixed.push(path);
        // What is written is read again, searched, and made smaller.
        let path = out.path().join("whole.bank");
        let keep = BuildConfig { keep_held_out: true, ..config.clone() };
        part(&inputs, &keep).unwrap().write(&path).unwrap();
        let why = merge(std::slice::from_ref(&path), &joining(false, 1), &mut ()).unwrap_err().to_string();
        assert!(why.contains("transformed") && why.contains("shards"), "{why}");
        let bank = Bank::open(&path, 3).unwrap();
        assert_eq!(bank.recipe().combine, config.recipe.combine);
        let small = smaller(&bank, PruneMethod::KCenter, 40, true);
        let again = Bank::from_contents(small.contents, 3).unwrap();
        assert_eq!((again.rows(), again.tables()), (40, bank.tables()));
        assert_eq!(again.classes().len(), if classes.is_some() { 40 } else { 0 });
        for number in 0..bank.tables().len() {
            let (old, new) = (table(&bank, number), table(&again, number));
            assert!(new.iter().all(|row| old.contains(row)), "rows that were not there");
        }
        assert!(again.calibration().unwrap().method("knn").is_ok());
        let told = crate::bank::summary(&bank).to_string();
        assert!(told.contains("  part  ") && told.contains("  distance  "), "{told}");
    }
    let why = merge(&mixed[1..3], &joining(false, 1), &mut ()).unwrap_err().to_string();
    assert!(why.contains("recipe") && why.contains("classes: labels, not none"), "{why}");
}

#[test]
fn shards_make_banks_of_other_recipes() {
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let inputs = labelled(dir.path());
    let given =
        config(RecipeConfig { parts: vec!["red".into()], ..asked("center:image", Combine::Concat) }, None);
    let paths = shards(out.path(), &inputs, &given, 2);
    let other = asked("center:image,whiten", Combine::Sum);
    let joined =
        MergeConfig { recipe: Some(other.clone()), size: Some(120), k: Some(2), ..joining(false, 1) };
    let merged = merge(&paths, &joined, &mut ()).unwrap().to_bytes().unwrap();
    let direct = BuildConfig { recipe: other, size: 120, k: 2, ..given };
    assert!(merged == run(&inputs, &direct).unwrap().to_bytes().unwrap());
    for (wrong, words) in [
        (MergeConfig { size: Some(10_001), ..joining(false, 1) }, "at most 10000"),
        (MergeConfig { recipe: Some(whole("whiten:within")), ..joining(false, 1) }, "--classes"),
        (MergeConfig { recipe: Some(whole("pca:4")), ..joining(false, 1) }, "only 3"),
    ] {
        let why = merge(&paths, &wrong, &mut ()).unwrap_err().to_string();
        assert!(why.contains(words), "{why}");
    }
}

#[test]
fn a_damaged_recipe_is_refused() {
    let (dir, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let inputs = drive(dir.path(), 20, 30);
    let path = out.path().join("x.bank");
    run(&inputs, &config(asked("whiten", Combine::Sum), None)).unwrap().write(&path).unwrap();
    Bank::open(&path, 3).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for (from, to) in [
        (&br#""transform.0.0.mean""#[..], &br#""transform.9.0.mean""#[..]),
        (br#"\"stored\":2"#, br#"\"stored\":1"#),
        (br#"\"from\":1,"#, br#"\"from\":2,"#),
        (br#"\"combine\":\"sum\""#, br#"\"combine\":\"xxx\""#),
        (br#"\"whiten\""#, br#"\"whiter\""#),
    ] {
        let at = whole.windows(from.len()).position(|w| w == from).unwrap();
        let mut bytes = whole.clone();
        bytes[at..at + from.len()].copy_from_slice(to);
        std::fs::write(&path, bytes).unwrap();
        let why = Bank::open(&path, 3).unwrap_err();
        assert!(matches!(why, BankError::NotABank { .. }), "{}: {why}", String::from_utf8_lossy(to));
    }
}
