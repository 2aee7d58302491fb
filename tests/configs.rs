//! The configurations that ship load, and the full one is complete and true.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use farout::config::Config;
use farout::source::SourceConfig;

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("configs").join(name)
}

#[test]
fn every_shipped_file_loads() {
    let mut seen = 0;
    for entry in shipped("").read_dir().unwrap() {
        let path = entry.unwrap().path();
        let config = Config::read(&path).unwrap_or_else(|e| panic!("{e}"));
        config.check().unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        seen += 1;
    }
    assert!(seen >= 4, "{seen} files");
}

#[test]
fn the_full_file_holds_every_key_at_its_default() {
    let text = std::fs::read_to_string(shipped("full.toml")).unwrap();
    let full: Config = toml::from_str(&text).unwrap();
    let mut expected = Config { streams: vec![SourceConfig::default()], ..Config::default() };
    expected.model.path = "../models/synthetic-vit.onnx".into();
    expected.bank.path = "../models/synthetic.bank".into();
    assert_eq!(full, expected);
}

/// All `table.key` of a TOML text; keys of commented-out lines of the form `# key = value` too.
fn keys(text: &str) -> BTreeSet<String> {
    let mut table = String::new();
    let mut keys = BTreeSet::new();
    for line in text.lines() {
        let line = line.strip_prefix("# ").unwrap_or(line);
        if line.starts_with('[') {
            table = line.trim_matches(['[', ']']).to_owned();
            // A list of tables below a table is the value of one key.
            if line.starts_with("[[") && table.contains('.') {
                keys.insert(table.clone());
                table.clear();
            }
        } else if !table.is_empty()
            && let Some((key, _)) = line.split_once(" = ")
            && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        {
            keys.insert(format!("{table}.{key}"));
        }
    }
    keys
}

#[test]
fn no_key_is_missing_from_the_full_file() {
    // The fields with values for all that is optional: the default leaves those out.
    let text = r##"
        [[stream]]
        [model]
        size = "8x8"
        height = 8
        multiple = 8
        channels = "rgb"
        scale = 1.0
        mean = [0.0, 0.0, 0.0]
        std = [1.0, 1.0, 1.0]
        features = "f"
        layout = "nchw"
        skip_tokens = 1
        logits = "l"
        logits_kind = "masks"
        patch = 8
        parts = [{ name = "p", width = 8 }]
        [runtime]
        library = "x"
        engines = "x"
        [search]
        kernels = "x"
        [score]
        roi = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]
        [output]
        record = "x"
        events = "x"
    "##;
    let every: Config = toml::from_str(text).unwrap();
    let written = keys(&toml::to_string(&every).unwrap());
    let documented = keys(&std::fs::read_to_string(shipped("full.toml")).unwrap());
    assert_eq!(written.difference(&documented).collect::<Vec<_>>(), Vec::<&String>::new(), "not documented");
    assert_eq!(documented.difference(&written).collect::<Vec<_>>(), Vec::<&String>::new(), "do not exist");
}

#[test]
fn paths_are_relative_to_the_file() {
    let config = Config::read(&shipped("demo.toml")).unwrap();
    assert!(config.model.path.is_file(), "{}", config.model.path.display());
    assert!(config.bank.path.is_file(), "{}", config.bank.path.display());
    assert!(config.streams[0].source.secret().starts_with("synthetic:"));
}
