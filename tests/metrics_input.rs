//! `farout metrics` on good and bad folders: what it prints, and what it says when it cannot.

use std::path::{Path, PathBuf};

use crate::support::program::{Outcome, farout};

const WIDTH: u32 = 48;
const HEIGHT: u32 = 32;

/// A folder with maps and masks of four frames: a square of 20 x 20 stands out, with one gap.
struct Data {
    folder: tempfile::TempDir,
}

impl Data {
    fn new() -> Data {
        let data = Data { folder: tempfile::tempdir().unwrap() };
        for i in 0..4 {
            data.map(&format!("{i}.npy"), &scores(i));
            data.mask(&format!("{i}.png"), &labels(i));
        }
        data
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn map(&self, name: &str, scores: &[f32]) -> PathBuf {
        let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({HEIGHT}, {WIDTH}), }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        scores.iter().for_each(|score| bytes.extend(score.to_le_bytes()));
        self.file(&format!("maps/{name}"), &bytes)
    }

    fn mask(&self, name: &str, labels: &[u8]) -> PathBuf {
        let mut bytes = Vec::new();
        let encoder = image::codecs::png::PngEncoder::new(&mut bytes);
        use image::ImageEncoder;
        encoder.write_image(labels, WIDTH, HEIGHT, image::ExtendedColorType::L8).unwrap();
        self.file(&format!("masks/{name}"), &bytes)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn run(&self, more: &[&str]) -> Outcome {
        let (maps, masks) = (self.path("maps"), self.path("masks"));
        let mut args =
            vec!["metrics", "--scores", maps.to_str().unwrap(), "--truth", masks.to_str().unwrap()];
        args.extend(more);
        farout(args)
    }
}

fn labels(frame: usize) -> Vec<u8> {
    let label = |i: u32| {
        let (x, y) = (i % WIDTH, i / WIDTH);
        match (frame, x, y) {
            (_, 0, _) => 255,
            (3, ..) => 0,
            (_, 10..30, 5..25) => 1,
            _ => 0,
        }
    };
    (0..WIDTH * HEIGHT).map(label).collect()
}

fn scores(frame: usize) -> Vec<f32> {
    let noise = |i: usize| (i * 7919 % 1000) as f32 / 1000.0;
    let high = |label: u8| if label == 1 { 2.0 } else { 0.0 };
    labels(frame).iter().enumerate().map(|(i, label)| noise(i + frame) + high(*label)).collect()
}

#[test]
fn perfect_maps_are_judged_perfect_by_every_protocol() {
    let data = Data::new();
    let pooled = data.run(&["--protocol", "pooled", "--json", "--threshold", "1.5"]).succeeded().json();
    let detection = &pooled["pooled"]["detection"];
    assert_eq!((detection["ap"].as_f64(), detection["fpr95_first"].as_f64()), (Some(1.0), Some(0.0)));
    assert_eq!(detection["anomaly"], 1200);
    assert_eq!(pooled["pixels"]["void"], 4 * HEIGHT);
    assert_eq!(pooled["calibration"]["pixels"]["recall"].as_f64(), Some(1.0));
    assert_eq!(pooled["calibration"]["images_with_anomaly"], 3);
    let text = data.run(&["--protocol", "pooled"]).succeeded().stdout;
    for words in ["4 maps, 6144 pixels", "AP", "100.0000 %", "FPR95 (TPR closest to 95 %)", "best F1"] {
        assert!(text.contains(words), "{words} is not in:\n{text}");
    }
    let per_image = data.run(&["--protocol", "per-image", "--json"]).succeeded().json();
    assert_eq!(per_image["per_image"]["images"], 3);
    assert_eq!(per_image["per_image"]["skipped"][0], "3");
    for protocol in ["smiyc-obstacle", "smiyc-anomaly"] {
        let report = data.run(&["--protocol", protocol, "--json"]).succeeded().json();
        let smiyc = &report["smiyc"];
        assert_eq!((smiyc["pixel"]["ap"].as_f64(), smiyc["track"].as_str()), (Some(1.0), Some(protocol)));
        assert_eq!(smiyc["component"]["true_components"], 3);
        // The squares have 400 pixels: the anomaly track drops predictions of less than 500. The threshold
        // is the lowest score of an anomalous pixel, which is not above it: each frame misses one.
        let found = if protocol == "smiyc-obstacle" { Some(0.9975) } else { Some(0.0) };
        assert_eq!(smiyc["component"]["mean_siou"].as_f64(), found);
        data.run(&["--protocol", protocol]).succeeded();
    }
}

/// The same images are drawn for all methods: one whose scores have the same order differs by nothing in every draw.
#[test]
fn methods_are_compared_on_the_same_truth() {
    // By the names of their maps, the methods have their images in different orders; the masks have one.
    const NAMES: [&str; 4] = ["a", "a-1", "b", "b-1"];
    let data = Data::new();
    for (i, name) in NAMES.iter().enumerate() {
        let weak = |(at, score): (usize, f32)| if at % 3 == i % 3 { score * 0.4 } else { score };
        let weak: Vec<f32> = scores(i).into_iter().enumerate().map(weak).collect();
        data.map(&format!("{name}.npy"), &weak);
        let doubled: Vec<f32> = weak.iter().map(|score| 2.0 * score - 1.0).collect();
        data.map(&format!("../doubled/{name}_labelIds.npy"), &doubled);
        data.map(&format!("../perfect/{name}.npy"), &scores(i));
    }
    let [base, doubled, perfect, masks] =
        ["maps", "doubled", "perfect", "masks"].map(|name| data.path(name).to_str().unwrap().to_owned());
    let compare = |more: &[&str]| farout([&["compare", &base][..], more].concat());
    for (i, name) in NAMES.iter().enumerate() {
        std::fs::remove_file(data.path(&format!("maps/{i}.npy"))).unwrap();
        let mask = |name: &str| data.path(&format!("masks/{name}.png"));
        std::fs::rename(mask(&i.to_string()), mask(&format!("{name}_labelIds"))).unwrap();
    }
    let told = compare(&[&doubled, &perfect, "--truth", &masks, "--json"]).succeeded().json();
    let ap = data.run(&["--protocol", "pooled", "--json"]).succeeded().json()["pooled"]["detection"]["ap"]
        .as_f64();
    assert_eq!(told["base"]["numbers"][0]["value"].as_f64(), ap);
    let [same, better] = &told["others"].as_array().unwrap()[..] else { panic!("{told}") };
    for change in same["differences"].as_array().unwrap() {
        assert_eq!(change["value"].as_f64(), Some(0.0), "{same}");
        let interval =
            [&change["interval"]["low"], &change["interval"]["high"]].map(|end| end.as_f64().unwrap());
        assert!(interval.iter().all(|end| end.abs() < 1e-9), "{same}");
    }
    let change = &better["differences"][0];
    assert!((change["value"].as_f64().unwrap() - (1.0 - ap.unwrap())).abs() < 1e-12, "{better}");
    assert!(change["interval"]["low"].as_f64().unwrap() > 0.0, "{better}");
    assert_eq!((&better["better"], &better["worse"]), (&3.into(), &0.into()));
    assert!(NAMES.contains(&better["gains"][0]["image"].as_str().unwrap()), "the base's name: {better}");
    let text = compare(&[&perfect, "--truth", &masks]).succeeded().stdout;
    assert!(text.contains("perfect (pooled)") && text.contains("3 images gain, 0 lose"), "{text}");
    for (more, code, words) in [
        (&[&perfect[..]][..], 2, "give --truth DIR"),
        (&["all.npz"], 2, "give --truth DIR"),
        (&["--truth", &masks], 1, "give another one"),
        (&["a.json", "--truth", &masks], 2, "without --truth"),
        (&[&perfect, "--anomaly", "2"], 2, "--truth"),
        (&[&perfect, "--truth", &base], 1, "no truth mask"),
    ] {
        let refused = compare(more);
        assert_eq!(refused.code, Some(code), "{more:?}");
        assert!(refused.stderr.contains(words), "{more:?}: {}", refused.stderr);
    }
}

#[test]
fn values_of_masks_can_be_named() {
    let data = Data::new();
    let raw = |label: &u8| match label {
        0 => 3,
        1 => 200,
        _ => 9,
    };
    for i in 0..4 {
        data.mask(&format!("{i}.png"), &labels(i).iter().map(raw).collect::<Vec<u8>>());
    }
    let given =
        ["--protocol", "pooled", "--json", "--normal", "1,3-5", "--anomaly", "200-201", "--void", "9"];
    assert_eq!(data.run(&given).succeeded().json()["pooled"]["detection"]["anomaly"], 1200);
    let refused = data.run(&["--protocol", "pooled"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("3 (1104 pixels)"), "{}", refused.stderr);
    assert!(refused.stderr.contains("neither normal, anomaly nor void"), "{}", refused.stderr);
}

/// What is done to the data, the arguments, the exit code and the words.
type Case = (&'static str, fn(&Data), &'static [&'static str], i32, &'static [&'static str]);

#[test]
fn what_cannot_be_judged_is_told() {
    const POOLED: &[&str] = &["--protocol", "pooled"];
    const OBSTACLE: &[&str] = &["--protocol", "smiyc-obstacle"];
    let cases: &[Case] = &[
        (
            "a map without truth",
            |d| drop(d.map("5.npy", &scores(0))),
            POOLED,
            1,
            &["score maps have no truth: 5"],
        ),
        ("truth without a map", |d| drop(d.mask("6.png", &labels(0))), POOLED, 1, &["no score map: 6"]),
        (
            "no folder",
            |d| std::fs::remove_dir_all(d.path("maps")).unwrap(),
            POOLED,
            1,
            &["cannot read the folder", "maps"],
        ),
        (
            "NaN and infinity",
            |d| {
                let mut map = scores(1);
                (map[100], map[101]) = (f32::NAN, f32::INFINITY);
                d.map("1.npy", &map);
            },
            POOLED,
            1,
            &["1.npy", "x 4, y 2 is NaN", "and 1 more"],
        ),
        (
            "too much for a float16",
            |d| {
                let mut map = scores(1);
                map[100] = 70_000.0;
                d.map("1.npy", &map);
            },
            OBSTACLE,
            1,
            &["1.npy", "x 4, y 2", "65504"],
        ),
        (
            "several faults at once",
            |d| {
                d.file("maps/0.npy", b"nonsense");
                d.file("masks/2.png", b"\x89PNG\r\n\x1a\n");
            },
            OBSTACLE,
            1,
            &["0.npy: it is none of", "2.png"],
        ),
        (
            "a cut off map",
            |d| {
                let path = d.path("maps/2.npy");
                let bytes = std::fs::read(&path).unwrap();
                std::fs::write(path, &bytes[..bytes.len() - 4]).unwrap();
            },
            POOLED,
            1,
            &["2.npy", "its header promises 6144"],
        ),
        (
            "another size",
            |d| {
                let small = image::GrayImage::new(WIDTH, HEIGHT / 2);
                small.save(d.path("masks/1.png")).unwrap();
            },
            POOLED,
            1,
            &["1.npy is 48x32, its truth", "is 48x16"],
        ),
        (
            "a narrower truth",
            |d| image::GrayImage::new(WIDTH / 2, HEIGHT / 2).save(d.path("masks/1.png")).unwrap(),
            OBSTACLE,
            1,
            &["1.npy", "48x32", "24x16"],
        ),
        (
            "a mask in colour",
            |d| {
                let colour = image::RgbImage::from_fn(WIDTH, HEIGHT, |x, _| image::Rgb([x as u8, 0, 7]));
                colour.save(d.path("masks/1.png")).unwrap();
            },
            POOLED,
            1,
            &["1.png", "colours"],
        ),
        (
            "JPEG called PNG",
            |d| {
                let (width, height) = (WIDTH as usize, HEIGHT as usize);
                let grey = farout::jpeg::encode(&vec![0; width * height * 3], width, height, 90);
                std::fs::write(d.path("masks/1.png"), grey.unwrap()).unwrap();
            },
            POOLED,
            1,
            &["1.png", "JPEG"],
        ),
        (
            "hidden labels",
            |d| (0..4).for_each(|i| drop(d.mask(&format!("{i}.png"), &[0; (WIDTH * HEIGHT) as usize]))),
            POOLED,
            1,
            &["0 pixels as anomaly and 6144 as normal in 4 files"],
        ),
        ("HDF5", |d| drop(d.file("maps/1.npy", b"\x89HDF\r\n\x1a\n1234")), POOLED, 1, &["HDF5", "1.npy"]),
        (
            "one value, two meanings",
            |_| (),
            &["--protocol", "pooled", "--void", "1"],
            2,
            &["names 1 as anomaly and as void"],
        ),
        ("values backwards", |_| (), &["--protocol", "pooled", "--void", "9-3"], 2, &["9 is above 3"]),
        (
            "a threshold for SMIYC",
            |_| (),
            &["--protocol", "smiyc-anomaly", "--threshold", "1"],
            2,
            &["--threshold"],
        ),
    ];
    let mut faults = Vec::new();
    for (what, spoil, args, code, words) in cases {
        let data = Data::new();
        spoil(&data);
        let outcome = data.run(args);
        let said = &outcome.stderr;
        if outcome.code != Some(*code) || said.contains("panicked") || !outcome.stdout.is_empty() {
            faults.push(format!("{what}: exit code {:?}, it said: {said}{}", outcome.code, outcome.stdout));
        }
        for word in words.iter().filter(|word| !said.contains(**word)) {
            faults.push(format!("{what}: {word:?} is not in: {said}"));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn what_does_not_fit_into_memory_goes_to_the_scratch_folder_and_leaves_nothing() {
    let data = Data { folder: tempfile::tempdir().unwrap() };
    // More distinct scores than 1 MiB holds.
    for i in 0..900_u32 {
        let noise = |j: u32| ((i * 1536 + j).wrapping_mul(2_654_435_761) >> 4) as f32;
        let map: Vec<f32> = (0..WIDTH * HEIGHT).map(noise).collect();
        data.map(&format!("{i}.npy"), &map);
        data.mask(&format!("{i}.png"), &labels(i as usize % 3));
    }
    let scratch = data.path("scratch");
    std::fs::create_dir(&scratch).unwrap();
    let place = scratch.to_str().unwrap();
    let quick = ["--protocol", "pooled", "--json", "--replicates", "0"];
    let roomy = data.run(&quick).succeeded().json();
    let tight = data.run(&[&quick[..], &["--memory", "1", "--scratch", place]].concat()).succeeded();
    assert!(tight.stderr.contains(place), "the folder is not named: {}", tight.stderr);
    let tight = tight.json();
    assert!(tight["pooled"]["spilled_bytes"].as_u64().unwrap() > 0);
    assert_eq!(tight["pooled"]["detection"], roomy["pooled"]["detection"]);
    assert_eq!(names(&scratch), 0);
    let nowhere = data.path("nowhere");
    let refused =
        data.run(&["--protocol", "pooled", "--memory", "1", "--scratch", nowhere.to_str().unwrap()]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("nowhere"), "{}", refused.stderr);
}

fn names(folder: &Path) -> usize {
    folder.read_dir().unwrap().count()
}
