//! Banks in parts and banks made smaller, through the program.

use crate::support::given::{given, text};
use crate::support::program::farout;

#[test]
fn shards_are_built_merged_and_the_bank_pruned() {
    let given = given();
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (model, images) = (text(&given.model), text(&given.pictures));
    let build = |extra: &[&str], out: &str| {
        let args =
            ["bank", "build", "--device", "cpu", "--size", "2000", "--model", model, "--images", images];
        farout([&args, extra, &["-o", out]].concat())
    };
    for shard in ["1", "2", "3"] {
        let of = format!("{shard}/3");
        let built = build(&["--shard", &of], &at(shard)).succeeded();
        assert!(built.stdout.contains(&format!("shard        {shard} of 3")), "{}", built.stdout);
    }
    let (a, b, c, whole, small) = (at("1"), at("2"), at("3"), at("whole.bank"), at("small.bank"));
    farout(["bank", "merge", &c, &a, &b, "-o", &whole]).succeeded();
    assert!(
        std::fs::read(&whole).unwrap() == std::fs::read(&given.bank).unwrap(),
        "another bank than one run's"
    );

    let kept = at("kept.bank");
    farout(["bank", "merge", &c, &a, &b, "--keep-held-out", "-o", &kept]).succeeded();
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
    let bare = farout(["bank", "prune", "-i", &whole, "--to", "200", "-o", &small]).succeeded();
    assert!(bare.stderr.contains("held-out"), "{}", bare.stderr);
    let told = farout(["bank", "inspect", "--json", &small]).succeeded().json();
    assert!(told["methods"].as_array().unwrap().iter().all(|m| m["method"] != "knn"), "{told}");

    // One line a method for people.
    let told = farout(["bank", "inspect", &whole]).succeeded().stdout;
    let lines: Vec<&str> = told.lines().filter(|line| line.contains("thresholds")).collect();
    let methods = farout(["bank", "inspect", "--json", &whole]).succeeded().json();
    assert_eq!(lines.len(), methods["methods"].as_array().unwrap().len(), "{told}");
    assert!(
        lines[0].contains("knn") && lines[0].contains("(10 %)") && lines[0].contains("(0.1 %)"),
        "{told}"
    );
    assert!(told.contains('~') && told.contains("false region"), "{told}");

    for (args, code, words) in [
        (vec!["bank", "merge", &a, &b, "-o", &small], 1, vec!["3 of 3 are missing"]),
        (vec!["bank", "merge", &a, &a, "-o", &small], 1, vec!["shard 1 of 3", "once"]),
        (vec!["bank", "merge", &a, &whole, "-o", &small], 1, vec!["whole.bank", "--shard"]),
        (vec!["bank", "merge", &a, &b, &c, "-o", &a], 2, vec!["overwrite"]),
        (vec!["bank", "prune", "-i", &whole, "--to", "2001", "-o", &small], 1, vec!["1 to 2000"]),
        (vec!["bank", "prune", "-i", &a, "--to", "10", "-o", &small], 1, vec!["farout bank merge"]),
        (vec!["bank", "prune", "-i", &whole, "--to", "10", "-o", &whole], 2, vec!["overwrite"]),
    ] {
        let refused = farout(&args);
        assert_eq!(refused.code, Some(code), "{args:?}: {}", refused.stderr);
        words.iter().for_each(|w| assert!(refused.stderr.contains(w), "{w}: {}", refused.stderr));
    }
    let whitened = at("whitened.bank");
    let flags = ["--transform", "center:image,pca:4,whiten:0.25", "--split-heads", "2", "--combine", "sum"];
    build(&flags, &whitened).succeeded();
    let told = farout(["bank", "inspect", "--json", &whitened]).succeeded().json();
    assert_eq!((told["stored_width"].as_u64(), told["width"].as_u64()), (Some(8), Some(16)));
    let part = &told["recipe"]["parts"][1];
    assert_eq!((part["from"].as_u64(), part["stored"].as_u64()), (Some(8), Some(4)), "{told}");
    assert_eq!(part["steps"], serde_json::json!(["center:image", "pca:4", "whiten:0.25"]));
    assert!(part["baseline"]["deviation"].as_f64().unwrap() > 0.0);
    let scores = at("scores");
    let drive = "synthetic:seed=5,width=320,height=180,frames=3,stride=7";
    let replay =
        ["replay", drive, "--device", "cpu", "--model", model, "--bank", &whitened, "--scores", &scores];
    farout(replay).succeeded();
    assert!(std::fs::read_dir(&scores).unwrap().count() > 0);
    let strange = at("strange.bank");
    let tensor = told["model"]["features"].as_str().unwrap().to_owned();
    let outliers = [
        "--outliers",
        images,
        "--outlier-size",
        "50",
        "--outlier-use",
        "difference:0.5",
        "--affinity",
        &tensor,
    ];
    build(&outliers, &strange).succeeded();
    let told = farout(["bank", "inspect", "--json", &strange]).succeeded().json();
    assert_eq!(told["build"]["outliers"]["rows"].as_u64(), Some(50), "{told}");
    assert_eq!(told["recipe"]["outliers"], "difference:0.5", "{told}");
    for (flag, value, words) in [
        ("--outlier-use", "ratio", "--outliers"),
        ("--affinity", "norm", "no part"),
        ("--transform", "whiten:within", "--classes"),
        ("--transform", "pca:17", "only 16"),
        ("--transform", "bleach", "known are"),
        ("--parts", "key:3", "no part"),
        ("--split-heads", "3", "do not divide"),
        ("--classes", "labels", "--labels"),
    ] {
        let refused = build(&[flag, value], &small);
        assert!(refused.code != Some(0) && refused.stderr.contains(words), "{value}: {}", refused.stderr);
    }

    for wrong in ["0/3", "4/3", "x"] {
        let refused = build(&["--shard", wrong], &small);
        assert_eq!(refused.code, Some(2), "{}", refused.stderr);
        assert!(refused.stderr.contains("such as 2/8"), "{}", refused.stderr);
    }
}
