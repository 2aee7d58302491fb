//! Views from end to end: banks that measure them, runs that merge them, thresholds that hold for them only.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::support::drive_set::drive_set;
use crate::support::given::{DRIVE, given, text};
use crate::support::program::{Outcome, farout};
use farout::config::Config;
use farout::detector::{Mapped, Mapper};
use farout::flow::{Flow, Pace, Stage};
use farout::grid::{Grid, ScoreMap};
use farout::health::Health;
use farout::source::{self, Purpose, SourceConfig};
use farout::stop::Stop;

const VIEWS: &str =
    r#"more = [{ height = 240 }, { tiles = "2x1" }, { crop = [0.2, 0.3, 0.8, 0.7], height = 120 }]"#;

/// A folder with a configuration that names the tiny model, once with views and once without, and a bank for them.
struct Views {
    dir: tempfile::TempDir,
}

impl Views {
    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn config(&self, name: &str, views: &str) -> PathBuf {
        let path = self.at(name);
        let model = text(&given().model);
        let text =
            format!("[model]\npath = \"{model}\"\nheight = 160\nlogits = \"logits\"\n[views]\n{views}\n");
        std::fs::write(&path, text).unwrap();
        path
    }
}

fn views() -> &'static Views {
    static VIEWS_DIR: OnceLock<Views> = OnceLock::new();
    VIEWS_DIR.get_or_init(|| {
        let views = Views { dir: tempfile::tempdir().unwrap() };
        let with = views.config("with.toml", VIEWS);
        let without = views.config("without.toml", "");
        build(&with, &views.at("with.bank"), &["--transform", "center:image"]).succeeded();
        build(&without, &views.at("without.bank"), &["--transform", "center:image"]).succeeded();
        views
    })
}

fn build(config: &Path, bank: &Path, extra: &[&str]) -> Outcome {
    let pictures = text(&given().pictures);
    let fixed = ["bank", "build", "--device", "cpu", "--size", "2000", "-c", text(config)];
    farout([&fixed[..], &["--images", pictures, "-o", text(bank)], extra].concat())
}

fn replay(config: &Path, bank: &Path, extra: &[&str]) -> Outcome {
    let fixed =
        ["replay", DRIVE, "--device", "cpu", "-c", text(config), "--bank", text(bank), "--frames", "4"];
    farout([&fixed[..], extra].concat())
}

#[test]
fn a_bank_knows_its_views_and_runs_agree_to_the_byte() {
    let views = views();
    let (config, bank) = (views.at("with.toml"), views.at("with.bank"));
    let told = farout(["bank", "inspect", "--json", text(&bank)]).succeeded().json();
    let described = told["views"]["views"].as_str().unwrap().to_owned();
    assert!(described.contains("height 240; tiles 2x1 overlap 0.25; crop 0.2 0.3 0.8 0.7"), "{described}");
    let baselines = told["views"]["baselines"].as_array().unwrap();
    assert_eq!(baselines.len(), 3, "{told}");
    let sane = |b: &serde_json::Value| b["deviation"].as_f64().unwrap() > 0.0;
    assert!(baselines.iter().all(|b| sane(&b["view"]) && sane(&b["picture"])));
    // The whole picture is the same behind the first two, and the crop shows but a part of it.
    assert!(
        baselines[0]["picture"] == baselines[1]["picture"]
            && baselines[1]["picture"] != baselines[2]["picture"]
    );
    let without = farout(["bank", "inspect", "--json", text(&views.at("without.bank"))]).succeeded().json();
    assert!(without["views"].is_null());
    // The reference features are those of whole pictures either way.
    assert_eq!((&told["rows"], &told["build"]["patches"]), (&without["rows"], &without["build"]["patches"]));
    let run = |name: &str, config: &Path| {
        let folder = views.at(name);
        let told =
            replay(config, &bank, &["--json", "--threshold", "2", "--scores", text(&folder)]).succeeded();
        assert_eq!(told.json()["frames"].as_u64(), Some(4));
        let mut files: Vec<PathBuf> = folder.read_dir().unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        files.iter().map(|path| std::fs::read(path).unwrap()).collect::<Vec<_>>()
    };
    let (first, second) = (run("first", &config), run("second", &config));
    assert!(first.len() == 4 && first == second, "two runs differ");
    assert!(first != run("plain", &views.at("without.toml")), "the views change nothing");
}

#[test]
fn shards_with_views_merge_to_the_bank_of_one_run() {
    let views = views();
    let config = views.at("with.toml");
    let shards: Vec<PathBuf> = (1..=2)
        .map(|number| {
            let shard = views.at(&format!("{number}.shard"));
            let which = format!("{number}/2");
            build(&config, &shard, &["--transform", "center:image", "--shard", &which]).succeeded();
            shard
        })
        .collect();
    let merged = views.at("merged.bank");
    farout(["bank", "merge", text(&shards[1]), text(&shards[0]), "-o", text(&merged)]).succeeded();
    let bytes = |name: &str| std::fs::read(views.at(name)).unwrap();
    assert!(bytes("merged.bank") == bytes("with.bank"), "shards merge to another bank");
    // Held-out frames keep their views: a pruned bank is measured through them, too.
    let (kept, pruned) = (views.at("kept.bank"), views.at("pruned.bank"));
    build(&config, &kept, &["--keep-held-out"]).succeeded();
    farout(["bank", "prune", "--to", "500", "-i", text(&kept), "-o", text(&pruned)]).succeeded();
    let told = farout(["bank", "inspect", "--json", text(&pruned)]).succeeded().json();
    assert_eq!(told["views"]["baselines"].as_array().map(Vec::len), Some(3), "{told}");
    // Other views are another way to build.
    let other = views.at("other.shard");
    let without = views.at("without.toml");
    build(&without, &other, &["--transform", "center:image", "--shard", "2/2"]).succeeded();
    let why = farout(["bank", "merge", text(&shards[0]), text(&other), "-o", text(&views.at("no.bank"))]);
    assert!(why.code == Some(1) && why.stderr.contains("[views]"), "{}", why.stderr);
}

#[test]
fn automatic_thresholds_hold_for_their_views_only() {
    let views = views();
    let (with, without) = (views.at("with.toml"), views.at("without.toml"));
    let told = replay(&with, &views.at("with.bank"), &["--json"]).succeeded().json();
    assert!(told["threshold"].as_f64().is_some_and(f64::is_finite), "{told}");
    let other = views.config("other.toml", "more = [{ height = 240 }]");
    for (config, bank, words) in [
        (&with, "without.bank", "measured with no further views"),
        (&without, "with.bank", "asks for no further views"),
        (&other, "with.bank", "asks for the views \"mean of the whole picture; height 240\""),
    ] {
        let refused = replay(config, &views.at(bank), &[]);
        assert_eq!(refused.code, Some(1), "{}", refused.stderr);
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
    }
    // With a number it runs, and says that scales are not brought together.
    let told = replay(&with, &views.at("without.bank"), &["--threshold", "3"]).succeeded();
    assert!(told.stderr.contains("built without these [views]"), "{}", told.stderr);
}

#[test]
fn evaluation_scores_with_views_and_records_them() {
    let views = views();
    let dir = views.at("set");
    let (_, dataset) = drive_set(&dir, 6, 31, false);
    let judge = |config: &str| {
        let (bank, json) = (views.at("with.bank"), views.at(&format!("{config}.json")));
        let config = views.at(config);
        let fixed =
            ["eval", "--device", "cpu", "-c", text(&config), "--bank", text(&bank), "--dataset", &dataset];
        farout([&fixed[..], &["--replicates", "0", "--json", text(&json)]].concat()).succeeded();
        serde_json::from_slice::<serde_json::Value>(&std::fs::read(json).unwrap()).unwrap()
    };
    let (with, without) = (judge("with.toml"), judge("without.toml"));
    assert_eq!(with["settings"]["config"]["views"]["more"][1]["tiles"], "2x1");
    assert_ne!(with["maps_key"], without["maps_key"]);
    let figure = |result: &serde_json::Value, method: &str| {
        let methods = result["methods"].as_array().unwrap();
        let at = methods.iter().position(|found| found["method"] == method);
        at.map(|at| {
            (methods[at]["pooled"]["ap"].as_f64().unwrap(), result["thresholds"][at]["value"].as_f64())
        })
    };
    let (knn, plain) = (figure(&with, "knn").unwrap(), figure(&without, "knn").unwrap());
    assert_ne!(knn.0, plain.0);
    assert!(knn.1.is_some() && plain.1.is_none(), "the bank's threshold is that of its views");
    // Logits are those of the whole picture; z-scores need statistics of the same views.
    assert_eq!(figure(&with, "lse"), figure(&without, "lse"));
    assert!(figure(&with, "zsum").is_some() && figure(&without, "zsum").is_none());
}

#[test]
fn what_cannot_be_is_told_at_the_start() {
    let views = views();
    for (name, keys, words) in [
        (
            "outside",
            "more = [{ crop = [0.5, 0.0, 1.5, 1.0] }]",
            "view 1: crop [0.5, 0.0, 1.5, 1.0] reaches out",
        ),
        ("none", "more = [{ crop = [0.5, 0.5, 0.5, 1.0] }]", "is empty"),
        ("overlap", "more = [{ tiles = '2x1', overlap = 1.0 }]", "overlap is 1"),
        ("pixels", "more = [{ crop = [0.5, 0.5, 0.5005, 1.0] }]", "0x90 pixels of the 320x180 frame"),
    ] {
        let config = views.config(&format!("{name}.toml"), keys);
        let refused = replay(&config, &views.at("with.bank"), &["--threshold", "1"]);
        assert!(
            refused.code.is_some_and(|code| code != 0) && refused.stderr.contains(words),
            "{name}: {}",
            refused.stderr
        );
    }
    let fixed = views.at("fixed.toml");
    let keys = "size = \"320x192\"\n[views]\nmore = [{ height = 96 }]";
    std::fs::write(&fixed, format!("[model]\npath = \"{}\"\n{keys}\n", text(&given().model))).unwrap();
    let refused = replay(&fixed, &views.at("with.bank"), &["--threshold", "1"]);
    assert!(refused.stderr.contains("input is always 320x192"), "{}", refused.stderr);
}

/// One frame's map and which of its pixels belong to strangers.
struct Found {
    map: ScoreMap,
    width: usize,
    height: usize,
    stranger: Vec<u8>,
}

impl Found {
    /// Scores of cells by whether their centre lies on a stranger.
    fn cells(&self) -> [Vec<f32>; 2] {
        let mut cells = [Vec::new(), Vec::new()];
        let Grid { rows, cols } = self.map.grid;
        for (i, score) in self.map.data.iter().enumerate() {
            let y = (2 * (i / cols) + 1) * self.height / (2 * rows);
            let x = (2 * (i % cols) + 1) * self.width / (2 * cols);
            cells[usize::from(self.stranger[y * self.width + x] != 0)].push(*score);
        }
        cells
    }

    fn area(&self) -> usize {
        self.stranger.iter().filter(|class| **class != 0).count()
    }
}

struct Keep(Sender<Found>);

impl Stage for Keep {
    type In = Mapped;
    type Out = ();

    fn step(&mut self, Mapped { frame, mut maps }: Mapped) -> anyhow::Result<()> {
        let (width, height) = (frame.width, frame.height);
        let stranger = frame.truth.as_ref().unwrap().stranger.clone();
        Ok(self.0.send(Found { map: maps.remove(0), width, height, stranger })?)
    }
}

/// The `knn` maps of the drive of a configuration.
fn maps(config: &Config, drive: &str) -> Vec<Found> {
    let source = source::open(drive, &SourceConfig::default(), Purpose::Offline, Stop::new()).unwrap();
    let frames = Flow::from_source(source, Pace::Offline, Arc::new(Health::new()), Stop::new()).unwrap();
    let (sender, found) = channel();
    let mapper = Mapper::open(config, &["knn".parse().unwrap()], false).unwrap();
    mapper.chain(frames).unwrap().run("keep", Keep(sender), Duration::from_secs(60)).unwrap();
    found.iter().collect()
}

#[test]
fn tiles_show_a_small_stranger_in_more_cells() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/synthetic-vit.onnx");
    let read = |name: &str, keys: &str| {
        let (path, bank) = (views().at(&format!("{name}.toml")), views().at(&format!("{name}.bank")));
        std::fs::write(&path, format!("[model]\npath = \"{}\"\n[views]\n{keys}\n", text(&model))).unwrap();
        build(&path, &bank, &[]).succeeded();
        let mut config = Config::read(&path).unwrap();
        config.bank.path = bank;
        config.runtime.device = farout::features::Device::CPU;
        config.search.device = farout::nearest::Device::Cpu;
        config
    };
    let drive = "synthetic:seed=5,width=320,height=180,frames=24,stride=31";
    let plain = maps(&read("vit-plain", ""), drive);
    let tiled = maps(&read("vit-tiled", "more = [{ tiles = \"2x2\" }]"), drive);
    // Cells on the strangers of all frames, and those of them that score above all that is normal in their frame.
    let seen = |found: &[Found]| {
        let small = found.iter().filter(|found| (1..SMALL).contains(&found.area()));
        small.fold((0, 0), |(all, above), found| {
            let [normal, strange] = found.cells();
            let highest = normal.iter().copied().fold(f32::MIN, f32::max);
            (all + strange.len(), above + strange.iter().filter(|score| **score > highest).count())
        })
    };
    let (before, after) = (seen(&plain), seen(&tiled));
    assert_eq!(
        (plain[0].map.grid, tiled[0].map.grid),
        (Grid { rows: 18, cols: 32 }, Grid { rows: 32, cols: 56 })
    );
    assert!(before.1 > 0 && after.0 > 2 * before.0 && after.1 > 2 * before.1, "{before:?} {after:?}");
}

/// Pixels of a stranger that covers few patches of 320x180 pictures.
const SMALL: usize = 1500;
