//! Fused scores beside their formulas, and what does not go together.

use super::super::Smoother;
use super::*;
use crate::bank::{
    BankContents, BuildRecord, Calibration, DistanceScale, Extras, FORMAT, Metadata, MethodCalibration,
    ReferenceRecord, RowsBuf, ScoreRange, statistics_of,
};
use crate::grid::Grid;
use crate::identity::ModelIdentity;
use crate::pool::Pooled;

/// A bank of nothing but statistics.
fn bank(reference: Option<ReferenceRecord>, methods: Vec<MethodCalibration>) -> Bank {
    let text = |s: &str| s.to_owned();
    let model = ModelIdentity {
        sha256: text("00"),
        features: text("keys"),
        width: 2,
        patch: 8,
        input_size: text("frame"),
        normalisation: text("rgb"),
        name: text("model"),
        parts: Vec::new(),
    };
    let calibration = Calibration {
        views: None,
        split: text("all"),
        frames: 3,
        blocks: 1,
        min_region_px: 100,
        maps: Default::default(),
        methods,
    };
    let build = BuildRecord { reference, ..BuildRecord::default() };
    let metadata = Metadata {
        format: FORMAT,
        farout: text("0"),
        model,
        build,
        recipe: None,
        calibration: Some(calibration),
        sources: Vec::new(),
    };
    let contents = BankContents {
        features: RowsBuf::F32(vec![0.0; 8]),
        origins: vec![bytemuck::Zeroable::zeroed(); 4],
        metadata,
        extras: Extras::default(),
    };
    Bank::from_contents(contents, 1).unwrap()
}

fn reference() -> ReferenceRecord {
    let range = |method: &str, min, max| ScoreRange { method: method.to_owned(), min, max };
    ReferenceRecord {
        ranges: vec![range("entropy", 0.0, 1.5), range("lse", -9.0, -1.0)],
        distance: Some(DistanceScale { largest: 4.0, k: 3, features: 100 }),
    }
}

fn statistics() -> Vec<MethodCalibration> {
    let one = |name: &str, k, scores: &[f32]| statistics_of(name, k, scores.to_vec(), vec![1.0, 2.0, 3.0]);
    let mut zsum = one("zsum", Some(3), &[0.0, 1.0]);
    zsum.partner = Some("lse".to_owned());
    vec![
        one("knn", Some(3), &[1.0, 3.0]),
        one("lse", None, &[-8.0, -4.0]),
        one("entropy", None, &[0.5, 1.0]),
        zsum,
    ]
}

fn at_hand(bank: &Bank) -> ScoreInputs<'_> {
    ScoreInputs {
        bank: Some(bank),
        k: 3,
        has_logits: true,
        logits_kind: Some(LogitsKind::Classes),
        same_views: true,
    }
}

fn logits(grid: Grid, cells: &[[f32; 2]]) -> Logits {
    let data = (0..2).flat_map(|c| cells.iter().map(move |cell| cell[c])).collect();
    Logits { classes: 2, grid, data: Pooled::unpooled(data) }
}

fn distances(grid: Grid, data: &[f32]) -> Distances {
    Distances { grid, data: Pooled::unpooled(data.to_vec()) }
}

#[test]
fn fused_scores_are_their_formulas_on_the_finer_grid() {
    let bank = bank(Some(reference()), statistics());
    let square = Grid { rows: 2, cols: 2 };
    let wide = Grid { rows: 2, cols: 4 };
    let x = [[1.0, 2.0], [4.0, -1.0], [0.5, 0.5], [7.0, 3.0]];
    let fine = [x[0], x[1], x[2], x[3], x[3], x[2], x[1], x[0]];
    let lse = |cell: &[f32; 2]| -(f64::from(cell[0]).exp() + f64::from(cell[1]).exp()).ln();
    let entropy = |cell: &[f32; 2]| {
        let p = 1.0 / (1.0 + f64::from(cell[1] - cell[0]).exp());
        -p * p.ln() - (1.0 - p) * (1.0 - p).ln()
    };
    // (s - min) / (max - min) + d / d_max, and (s - mean) / deviation + (d - mean) / deviation.
    let cdnp_lse = |s: f64, d: f64| (s + 9.0) / 8.0 + d / 4.0;
    let cdnp_entropy = |s: f64, d: f64| s / 1.5 + d / 4.0;
    let zsum_lse = |s: f64, d: f64| (s + 6.0) / 2.0 + (d - 2.0) / 1.0;
    let zsum_entropy = |s: f64, d: f64| (s - 0.75) / 0.25 + (d - 2.0) / 1.0;
    let d = [1.0f32, 5.0, 2.0, 9.0];
    // Bilinear from 2 to 4 columns: half-pixel centres.
    let wider = |row: [f64; 2]| {
        let [a, b] = row;
        [a, a * 0.75 + b * 0.25, a * 0.25 + b * 0.75, b]
    };
    let d_wide: Vec<f64> = [wider([1.0, 5.0]), wider([2.0, 9.0])].concat();
    type Fuse<'a> = &'a dyn Fn(f64, f64) -> f64;
    type Single<'a> = &'a dyn Fn(&[f32; 2]) -> f64;
    let cases: [(Method, Parametric, Single, Fuse); 4] = [
        (Method::Cdnp, Parametric::Lse, &lse, &cdnp_lse),
        (Method::Cdnp, Parametric::Entropy, &entropy, &cdnp_entropy),
        (Method::Zsum, Parametric::Lse, &lse, &zsum_lse),
        (Method::Zsum, Parametric::Entropy, &entropy, &zsum_entropy),
    ];
    for (method, partner, single, fuse) in cases {
        let config = ScoreConfig { partner, ..ScoreConfig::default() };
        let mut scorer = Scorer::open(method, &config, &at_hand(&bank)).unwrap();
        assert_eq!(scorer.method(), method);
        let mut map = ScoreMap::default();
        let mut check = |d: &Distances, l: &Logits, grid: Grid, want: Vec<f64>| {
            scorer.step(d, Some(l), &mut map).unwrap();
            assert_eq!(map.grid, grid);
            for (got, want) in map.data.iter().zip(want) {
                let off = (f64::from(*got) - want).abs();
                assert!(
                    off < 1e-5 * want.abs().max(1.0),
                    "{} {}: {got}, not {want}",
                    method.name(),
                    partner.name()
                );
            }
        };
        let same: Vec<f64> = x.iter().zip(d).map(|(x, d)| fuse(single(x), f64::from(d))).collect();
        check(&distances(square, &d), &logits(square, &x), square, same);
        let finer: Vec<f64> = fine.iter().zip(&d_wide).map(|(x, d)| fuse(single(x), *d)).collect();
        check(&distances(square, &d), &logits(wide, &fine), wide, finer);
        // Distances finer than logits.
        let d_fine = [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        let s: Vec<f64> = x.iter().map(single).collect();
        let s_wide = [wider([s[0], s[1]]), wider([s[2], s[3]])].concat();
        let finer = s_wide.iter().zip(d_fine).map(|(s, d)| fuse(*s, f64::from(d))).collect();
        check(&distances(wide, &d_fine), &logits(square, &x), wide, finer);
    }
}

#[test]
fn a_cell_that_one_part_cannot_judge_is_not_judged_and_stays_where_it_is() {
    let bank = bank(Some(reference()), statistics());
    let (square, wide) = (Grid { rows: 1, cols: 2 }, Grid { rows: 1, cols: 4 });
    for method in [Method::Cdnp, Method::Zsum] {
        let mut scorer = Scorer::open(method, &ScoreConfig::default(), &at_hand(&bank)).unwrap();
        let mut map = ScoreMap::default();
        for bad in [f32::NAN, f32::INFINITY] {
            let d = distances(square, &[bad, 1.0]);
            scorer.step(&d, Some(&logits(wide, &[[0.0, 1.0]; 4])), &mut map).unwrap();
            let judged: Vec<bool> = map.data.iter().map(|s| *s != f32::INFINITY).collect();
            assert_eq!(judged, [false, false, true, true]);
            let l = logits(wide, &[[0.0, 1.0], [bad, 1.0], [0.0, 1.0], [0.0, 1.0]]);
            scorer.step(&distances(square, &[1.0, 1.0]), Some(&l), &mut map).unwrap();
            let judged: Vec<bool> = map.data.iter().map(|s| *s != f32::INFINITY).collect();
            assert_eq!(judged, [true, false, true, true]);
            assert!(map.data.iter().all(|s| !s.is_nan()));
        }
    }
}

#[test]
fn distances_and_logits_alone() {
    let bank = bank(None, Vec::new());
    let grid = Grid { rows: 1, cols: 3 };
    let mut map = ScoreMap::default();
    let mut scorer = Scorer::open(Method::Knn, &ScoreConfig::default(), &at_hand(&bank)).unwrap();
    scorer.step(&distances(grid, &[1.0, f32::NAN, f32::NEG_INFINITY]), None, &mut map).unwrap();
    assert_eq!(map.data[..], [1.0, f32::INFINITY, f32::INFINITY]);
    let method = Method::Parametric(Parametric::MaxLogit);
    let mut scorer = Scorer::open(method, &ScoreConfig::default(), &at_hand(&bank)).unwrap();
    let finer = Grid { rows: 2, cols: 1 };
    scorer.step(&Distances::default(), Some(&logits(finer, &[[1.0, 2.0], [3.0, 0.0]])), &mut map).unwrap();
    assert_eq!((map.grid, &map.data[..]), (finer, &[-2.0, -3.0][..]));
    let none = scorer.step(&Distances::default(), None, &mut map);
    assert!(matches!(none, Err(ScoreError::NoLogits("max-logit"))));
}

#[test]
fn what_does_not_go_together_is_told() {
    let whole = bank(Some(reference()), statistics());
    let old = bank(None, statistics());
    let alike = vec![statistics_of("knn", Some(3), vec![1.0, 1.0], vec![1.0]), statistics().remove(1)];
    let alike = bank(None, alike);
    let shard = bank(Some(ReferenceRecord { distance: None, ..reference() }), statistics());
    let usual = ScoreConfig::default();
    let msp = ScoreConfig { partner: Parametric::Msp, ..usual.clone() };
    let rba = ScoreConfig { partner: Parametric::Rba, ..usual.clone() };
    let k4 = |bank| ScoreInputs { k: 4, ..at_hand(bank) };
    let bare = |bank| ScoreInputs { has_logits: false, ..at_hand(bank) };
    let nowhere = ScoreInputs { bank: None, ..at_hand(&whole) };
    let rejected = Method::Parametric(Parametric::Rba);
    let cases: [(Method, &ScoreConfig, ScoreInputs, &str); 11] = [
        (Method::Cdnp, &usual, at_hand(&old), "the range of lse over its reference images"),
        (Method::Cdnp, &msp, at_hand(&whole), "the range of msp"),
        (Method::Cdnp, &usual, at_hand(&shard), "how far its features lie"),
        (Method::Cdnp, &usual, k4(&whole), "k = 3, the search uses k = 4"),
        (Method::Cdnp, &usual, bare(&whole), "needs logits"),
        (Method::Zsum, &msp, at_hand(&old), "mean and deviation of msp"),
        (Method::Zsum, &usual, k4(&old), "k = 3, the search uses k = 4"),
        (Method::Zsum, &usual, at_hand(&alike), "all that were measured are alike"),
        (Method::Zsum, &usual, nowhere, "mean and deviation of lse"),
        (rejected, &usual, at_hand(&whole), "mask classifier"),
        (Method::Zsum, &rba, at_hand(&whole), "mask classifier"),
    ];
    for (method, config, at_hand, part) in cases {
        let why = Scorer::open(method, config, &at_hand).err().map(|why| why.to_string()).unwrap_or_default();
        assert!(why.contains(part), "{}: {part:?} is not in {why:?}", method.name());
    }
    // An older bank knows the z-scores all the same, and logits of an unknown kind may be masks.
    Scorer::open(Method::Zsum, &usual, &at_hand(&old)).unwrap();
    Scorer::open(rejected, &usual, &ScoreInputs { logits_kind: None, ..at_hand(&old) }).unwrap();
    assert_eq!(Method::allowed(&ScoreInputs { bank: None, ..at_hand(&whole) }).len(), 4);
    assert_eq!(Method::allowed(&bare(&whole)), [Method::Knn]);
    let masks = ScoreInputs { logits_kind: Some(LogitsKind::Masks), ..at_hand(&whole) };
    assert_eq!(Method::allowed(&masks), Method::ALL);
}

#[test]
fn a_threshold_belongs_to_its_fusion() {
    let bank = bank(Some(reference()), statistics());
    let zsum = ScoreConfig { method: Method::Zsum, ..ScoreConfig::default() };
    assert!(zsum.resolve(&bank, 3, "").is_ok());
    assert!(matches!(zsum.resolve(&bank, 5, ""), Err(ScoreError::OtherK { measured: 3, k: 5 })));
    let other = ScoreConfig { partner: Parametric::Entropy, ..zsum };
    let why = other.resolve(&bank, 3, "").unwrap_err().to_string();
    assert!(why.contains("set score.partner = \"lse\""), "{why}");
    let cdnp = ScoreConfig { method: Method::Cdnp, ..ScoreConfig::default() };
    assert!(cdnp.resolve(&bank, 3, "").unwrap_err().to_string().contains("cdnp"));
}

#[test]
fn maps_are_normalised_before_and_smoothed_after() {
    let bank = bank(Some(reference()), statistics());
    let grid = Grid { rows: 2, cols: 3 };
    let d = distances(grid, &[1.0, 2.0, 3.0, 4.0, 5.0, f32::NAN]);
    let mut map = ScoreMap::default();
    let mut score = |config: &ScoreConfig| {
        Scorer::open(config.method, config, &at_hand(&bank)).unwrap().step(&d, None, &mut map).unwrap();
        map.data.to_vec()
    };
    let plain = ScoreConfig::default();
    let median = ScoreConfig { normalise: Normalise::Median, ..plain.clone() };
    assert_eq!(score(&median), [-2.0, -1.0, 0.0, 1.0, 2.0, f32::INFINITY]);
    let smooth = ScoreConfig { smooth: 0.8, ..median.clone() };
    let mut want = vec![-2.0, -1.0, 0.0, 1.0, 2.0, f32::INFINITY];
    Smoother::new(0.8).unwrap().apply(grid, &mut want);
    assert_eq!(score(&smooth), want);
    assert!(want[0] > -2.0 && want[5] == f32::INFINITY);

    // Statistics belong to distances that were treated alike; logits do not know of them.
    let zsum = ScoreConfig { method: Method::Zsum, ..median.clone() };
    assert!(matches!(
        Scorer::open(Method::Zsum, &zsum, &at_hand(&bank)),
        Err(ScoreError::NoStatistics { .. })
    ));
    let spread = ScoreConfig { normalise: Normalise::Spread, ..plain.clone() };
    assert!(matches!(Scorer::open(Method::Cdnp, &spread, &at_hand(&bank)), Err(ScoreError::CdnpOfSpread)));
    Scorer::open(Method::Cdnp, &median, &at_hand(&bank)).unwrap();
    let why = median.resolve(&bank, 3, "").unwrap_err().to_string();
    assert!(why.contains("score.normalise = \"median\"") && why.contains("measured with none of"), "{why}");
    let lse = |config: &ScoreConfig| {
        let method = Method::Parametric(Parametric::Lse);
        ScoreConfig { method, ..config.clone() }.resolve(&bank, 3, "")
    };
    assert!(lse(&median).is_ok());
    assert!(matches!(lse(&smooth), Err(ScoreError::OtherMaps { .. })));
    let told = ScoreConfig { temporal: 0.5, ..plain }.resolve(&bank, 3, "").unwrap();
    assert!(told.basis.ends_with("measured on single frames, interpolated bilinearly"), "{}", told.basis);
}
