//! Banks in parts, banks made smaller and banks of other recipes, through the program.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::support::given::{DRIVE, given, text};
use crate::support::program::{Outcome, farout};
use farout::bank::Bank;
use farout::pool::Pool;

/// `farout bank build` of the demo's pictures with `extra` flags.
fn build(extra: &[&str], out: &str) -> Outcome {
    let given = given();
    let (model, images) = (text(&given.model), text(&given.pictures));
    let args = ["bank", "build", "--device", "cpu", "--size", "2000", "--model", model, "--images", images];
    farout([&args, extra, &["-o", out]].concat())
}

/// The three shards of the bank, built once for all tests.
struct Parts {
    _dir: tempfile::TempDir,
    shards: [String; 3],
    /// What they are merged to.
    whole: String,
}

fn parts() -> &'static Parts {
    static PARTS: OnceLock<Parts> = OnceLock::new();
    PARTS.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let shards = ["1", "2", "3"].map(|shard| {
            let (of, path) = (format!("{shard}/3"), at(shard));
            let built = build(&["--shard", &of], &path).succeeded();
            assert!(built.stdout.contains(&format!("shard        {shard} of 3")), "{}", built.stdout);
            path
        });
        let whole = at("whole.bank");
        // In any order.
        farout(["bank", "merge", &shards[2], &shards[0], &shards[1], "-o", &whole]).succeeded();
        Parts { _dir: dir, shards, whole }
    })
}

/// A folder for the files of one test.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }
}

#[test]
fn merged_shards_are_the_bank_of_one_run() {
    let merged = std::fs::read(&parts().whole).unwrap();
    assert!(merged == std::fs::read(&given().bank).unwrap(), "another bank than one run's");
}

#[test]
fn shards_are_merged_in_a_tree() {
    let (Parts { shards: [a, b, c], whole, .. }, dir) = (parts(), Folder::new());
    let (two, all, bank) = (dir.at("two.shard"), dir.at("all.shard"), dir.at("tree.bank"));
    let told = farout(["bank", "merge", "--partial", c, a, "-o", &two]).succeeded();
    assert!(told.stdout.contains("shard        1, 3 of 3, joined"), "{}", told.stdout);
    farout(["bank", "merge", b, &two, "-o", &bank]).succeeded();
    let bytes = |path: &str| std::fs::read(path).unwrap();
    assert!(bytes(&bank) == bytes(whole), "another bank by a tree");
    farout(["bank", "merge", "--partial", &two, b, "-o", &all]).succeeded();
    farout(["bank", "merge", &all, "-o", &bank]).succeeded();
    assert!(bytes(&bank) == bytes(whole), "another bank by a higher tree");
    for (args, code, words) in [
        (vec!["bank", "merge", &two, a, "-o", &bank], 1, vec!["shard 1 of 3", "once"]),
        (vec!["bank", "merge", &two, "-o", &bank], 1, vec!["shards 2 of 3 are missing"]),
        (vec!["bank", "merge", "--partial", &two, "-k", "5", "-o", &all], 2, vec!["--partial"]),
        (vec!["bank", "merge", "--partial", a, whole, "-o", &all], 1, vec!["whole.bank", "--shard"]),
        (vec!["bank", "inspect", &two, "--json"], 0, vec![]),
    ] {
        let told = farout(&args);
        assert_eq!(told.code, Some(code), "{args:?}: {}", told.stderr);
        words.iter().for_each(|word| assert!(told.stderr.contains(word), "{args:?}: {}", told.stderr));
    }
}

#[test]
fn with_a_plan_each_machine_has_its_own_pictures_only() {
    let (given, dir) = (given(), Folder::new());
    let mut pictures: Vec<PathBuf> = walked(&given.pictures);
    pictures.sort();
    let (list, plan) = (dir.at("all.txt"), dir.at("plan.json"));
    let lines: Vec<&str> = pictures.iter().map(|path| text(path)).collect();
    std::fs::write(&list, lines.join("\n")).unwrap();
    let told = farout(["bank", "plan", "--list", &list, "--shards", "2", "-o", &plan]).succeeded();
    assert!(told.stdout.contains(&format!("{} inputs", pictures.len())), "{}", told.stdout);
    let from_files = dir.at("files.json");
    farout(["bank", "plan", "--images", text(&given.pictures), "--shards", "2", "-o", &from_files])
        .succeeded();
    assert_eq!(std::fs::read(&plan).unwrap(), std::fs::read(&from_files).unwrap());
    // Two machines, each with a third and two thirds of the pictures, dealt out in a way of their own.
    let (few, many) = pictures.split_at(pictures.len() / 3);
    let shards = [(few, "1/2"), (many, "2/2")].map(|(own, shard)| {
        let root = dir.at(&shard.replace('/', "-"));
        for path in own {
            let folder = path.parent().and_then(Path::file_name).unwrap();
            let at = Path::new(&root).join(folder);
            std::fs::create_dir_all(&at).unwrap();
            std::fs::copy(path, at.join(path.file_name().unwrap())).unwrap();
        }
        let out = dir.at(&format!("{}.shard", &shard[..1]));
        let model = text(&given.model);
        let args =
            ["bank", "build", "--device", "cpu", "--size", "2000", "--model", model, "--images", &root];
        farout([&args[..], &["--plan", &plan, "--shard", shard, "-o", &out]].concat()).succeeded();
        out
    });
    let bank = dir.at("planned.bank");
    farout(["bank", "merge", &shards[0], &shards[1], "-o", &bank]).succeeded();
    assert!(std::fs::read(&bank).unwrap() == std::fs::read(&given.bank).unwrap(), "another bank by a plan");
    // A picture that is in no share, or not in the folder that it is called by.
    for (images, shard, words) in
        [(dir.at("2-2"), "1/2", "with 40 frames"), (dir.at("none"), "2/2", "with 10 frames")]
    {
        std::fs::create_dir_all(&images).unwrap();
        let (out, bank) = (dir.at("other.shard"), dir.at("other.bank"));
        let model = text(&given.model);
        let mut args =
            vec!["bank", "build", "--device", "cpu", "--size", "2000", "--model", model, "--images"];
        args.extend((shard == "1/2").then_some(&images[..]));
        farout([&args[..], &["--plan", &plan, "--shard", shard, "-o", &out]].concat()).succeeded();
        let other = if shard == "1/2" { &shards[1] } else { &shards[0] };
        let told = farout(["bank", "merge", &out, other, "-o", &bank]);
        assert!(told.code == Some(1) && told.stderr.contains(words), "{}", told.stderr);
        assert!(told.stderr.contains("not those of their plan") && told.stderr.contains("has 30 with 30"));
    }
    for (extra, code, word) in [
        (["--shard", "1/3", "--seed", "0"], 1, "2 shards, not 3"),
        (["--shard", "1/2", "--seed", "7"], 1, "seed"),
        (["--dtype", "f16", "--seed", "0"], 2, "--shard"),
    ] {
        let told = build(&[&["--plan", &plan[..]], &extra[..]].concat(), &bank);
        assert!(told.code == Some(code) && told.stderr.contains(word), "{extra:?}: {}", told.stderr);
    }
}

/// All files below `folder`.
fn walked(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => all.extend(walked(&path)),
            false => all.push(path),
        }
    }
    all
}

#[test]
fn a_bank_is_pruned_and_calibrated_anew() {
    let (Parts { shards: [a, b, c], whole, .. }, dir) = (parts(), Folder::new());
    let (kept, small) = (dir.at("kept.bank"), dir.at("small.bank"));
    farout(["bank", "merge", c, a, b, "--keep-held-out", "-o", &kept]).succeeded();
    let mut radii = Vec::new();
    for method in ["kcenter", "random"] {
        let args = ["bank", "prune", "-i", &kept, "--to", "200", "--method", method, "--json", "-o", &small];
        let told = farout(args).succeeded().json();
        assert_eq!((told["rows"].as_u64(), &told["build"]["pruned"]["from"]), (Some(200), &2000.into()));
        let methods = told["methods"].as_array().unwrap();
        assert!(methods.iter().any(|m| m["method"] == "knn"), "calibrated anew: {told}");
        radii.push(told["build"]["pruned"]["covering_radius"].as_f64().unwrap());
    }
    assert!(radii[0] < radii[1], "k-centre covers better than chance: {radii:?}");
    let bare = farout(["bank", "prune", "-i", whole, "--to", "200", "-o", &small]).succeeded();
    assert!(bare.stderr.contains("held-out"), "{}", bare.stderr);
    let told = farout(["bank", "inspect", "--json", &small]).succeeded().json();
    assert!(told["methods"].as_array().unwrap().iter().all(|m| m["method"] != "knn"), "{told}");
}

#[test]
fn neighbours_that_nobody_names_are_those_of_the_bank() {
    let dir = tempfile::tempdir().unwrap();
    let bank = dir.path().join("five.bank");
    build(&["-k", "5"], text(&bank)).succeeded();
    let config = dir.path().join("three.toml");
    std::fs::write(&config, "[search]\nk = 3\n").unwrap();
    let replay = |extra: &[&str]| {
        let model = text(&given().model);
        let fixed =
            ["replay", DRIVE, "--frames", "2", "--device", "cpu", "--model", model, "--bank", text(&bank)];
        farout([&fixed, extra].concat())
    };
    let told = replay(&[]).succeeded();
    assert!(told.stderr.contains("k=5"), "{}", told.stderr);
    let why = replay(&["-c", text(&config)]);
    assert!(why.code == Some(1) && why.stderr.contains("calibrated for k = 5"), "{}", why.stderr);
}

#[test]
fn people_are_told_one_line_a_method() {
    let whole = &parts().whole;
    let told = farout(["bank", "inspect", whole]).succeeded().stdout;
    let lines: Vec<&str> = told.lines().filter(|line| line.contains("thresholds")).collect();
    let methods = farout(["bank", "inspect", "--json", whole]).succeeded().json();
    assert_eq!(lines.len(), methods["methods"].as_array().unwrap().len(), "{told}");
    let first = lines[0];
    assert!(first.contains("knn") && first.contains("(10 %)") && first.contains("(0.1 %)"), "{told}");
    assert!(told.contains('~') && told.contains("false region"), "{told}");
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let (Parts { shards: [a, b, c], whole, .. }, dir) = (parts(), Folder::new());
    let small = dir.at("small.bank");
    // Refused before anything is written, so that nothing here harms the other tests.
    for (args, code, words) in [
        (vec!["bank", "merge", a, b, "-o", &small], 1, vec!["3 of 3 are missing"]),
        (vec!["bank", "merge", a, a, "-o", &small], 1, vec!["shard 1 of 3", "once"]),
        (vec!["bank", "merge", a, whole, "-o", &small], 1, vec!["whole.bank", "--shard"]),
        (vec!["bank", "merge", a, b, c, "-o", a], 2, vec!["overwrite"]),
        (vec!["bank", "prune", "-i", whole, "--to", "2001", "-o", &small], 1, vec!["1 to 2000"]),
        (vec!["bank", "prune", "-i", a, "--to", "10", "-o", &small], 1, vec!["farout bank merge"]),
        (vec!["bank", "prune", "-i", whole, "--to", "10", "-o", whole], 2, vec!["overwrite"]),
    ] {
        let refused = farout(&args);
        assert_eq!(refused.code, Some(code), "{args:?}: {}", refused.stderr);
        words.iter().for_each(|w| assert!(refused.stderr.contains(w), "{w}: {}", refused.stderr));
    }
    assert!(!PathBuf::from(small).exists());
}

#[test]
fn a_recipe_is_built_told_and_scored() {
    let (given, dir) = (given(), Folder::new());
    let (whitened, scores) = (dir.at("whitened.bank"), dir.at("scores"));
    let flags = ["--transform", "center:image,pca:4,whiten:0.25", "--split-heads", "2", "--combine", "sum"];
    build(&flags, &whitened).succeeded();
    let told = farout(["bank", "inspect", "--json", &whitened]).succeeded().json();
    assert_eq!((told["stored_width"].as_u64(), told["width"].as_u64()), (Some(8), Some(16)));
    let part = &told["recipe"]["parts"][1];
    assert_eq!((part["from"].as_u64(), part["stored"].as_u64()), (Some(8), Some(4)), "{told}");
    assert_eq!(part["steps"], serde_json::json!(["center:image", "pca:4", "whiten:0.25"]));
    assert!(part["baseline"]["deviation"].as_f64().unwrap() > 0.0);
    let drive = "synthetic:seed=5,width=320,height=180,frames=3,stride=7";
    let model = text(&given.model);
    let replay =
        ["replay", drive, "--device", "cpu", "--model", model, "--bank", &whitened, "--scores", &scores];
    farout(replay).succeeded();
    assert!(std::fs::read_dir(&scores).unwrap().count() > 0);
}

#[test]
fn known_outliers_are_stored_and_told() {
    let dir = Folder::new();
    let strange = dir.at("strange.bank");
    let told = farout(["bank", "inspect", "--json", text(&given().bank)]).succeeded().json();
    let tensor = told["model"]["features"].as_str().unwrap();
    let known = ["--outliers", text(&given().pictures), "--outlier-size", "50"];
    let used = ["--outlier-use", "difference:0.5", "--affinity", tensor];
    build(&[known, used].concat(), &strange).succeeded();
    let told = farout(["bank", "inspect", "--json", &strange]).succeeded().json();
    assert_eq!(told["build"]["outliers"]["rows"].as_u64(), Some(50), "{told}");
    assert_eq!(told["recipe"]["outliers"], "difference:0.5", "{told}");
}

#[test]
fn what_cannot_be_built_names_its_flag() {
    let dir = Folder::new();
    let out = dir.at("none.bank");
    for (flag, value, words) in [
        ("--outlier-use", "ratio", "--outliers"),
        ("--affinity", "norm", "no part"),
        ("--transform", "whiten:within", "--classes"),
        ("--transform", "pca:17", "only 16"),
        ("--transform", "bleach", "choose from"),
        ("--parts", "key:3", "no part"),
        ("--split-heads", "3", "do not divide"),
        ("--classes", "labels", "--labels"),
    ] {
        let refused = build(&[flag, value], &out);
        assert!(refused.code != Some(0) && refused.stderr.contains(words), "{value}: {}", refused.stderr);
    }
    for wrong in ["0/3", "4/3", "x"] {
        let refused = build(&["--shard", wrong], &out);
        assert_eq!(refused.code, Some(2), "{}", refused.stderr);
        assert!(refused.stderr.contains("such as 2/8"), "{}", refused.stderr);
    }
    assert!(!PathBuf::from(out).exists());
}

/// Small pictures of the images: the same from one run and from shards, and those that are needed after pruning.
#[test]
fn thumbnails_show_where_rows_come_from() {
    let folder = Folder::new();
    let (whole, merged, small) = (folder.at("whole.bank"), folder.at("merged.bank"), folder.at("small.bank"));
    build(&["--thumbnails"], &whole).succeeded();
    let shards = ["1/2", "2/2"].map(|shard| {
        let path = folder.at(&format!("{}.shard", &shard[..1]));
        build(&["--thumbnails", "--shard", shard], &path).succeeded();
        path
    });
    farout(["bank", "merge", &shards[1], &shards[0], "-o", &merged]).succeeded();
    assert!(std::fs::read(&whole).unwrap() == std::fs::read(&merged).unwrap(), "another bank than one run's");
    farout(["bank", "prune", "-i", &whole, "--to", "30", "-o", &small]).succeeded();
    let mut counts = Vec::new();
    for path in [&whole, &small] {
        let bank = Bank::open(Path::new(path), 1).unwrap();
        let pictures = bank.thumbnails();
        let mut images = BTreeSet::new();
        for row in 0..bank.rows() {
            let origin = bank.provenance(row).unwrap();
            let one = pictures.of(origin.source, origin.frame).unwrap();
            assert!(origin.row < one.grid.0 && origin.col < one.grid.1);
            images.insert((origin.source, origin.frame));
        }
        let first = images.first().unwrap();
        let one = pictures.of(first.0, first.1).unwrap();
        let (picture, _) = farout::jpeg::decode(&one.jpeg, &Pool::new()).unwrap();
        assert_eq!((picture.width, picture.height), (320, 180));
        assert_eq!(pictures.len(), images.len(), "one of each image, and none of others");
        counts.push(images.len());
    }
    assert!(counts[1] < counts[0], "{counts:?}");
    let told = farout(["bank", "inspect", &whole]).succeeded().stdout;
    assert!(told.contains(&format!("thumbnails   {} small pictures", counts[0])), "{told}");
    // Without being asked for, there are none.
    assert!(Bank::open(&given().bank, 1).unwrap().thumbnails().is_empty());
}
