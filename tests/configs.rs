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
        // Recipes are read by what reads recipes.
        if path.is_dir() {
            continue;
        }
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
        name = "front"
        password_file = "x"
        [stream.score]
        threshold = 12.0
        [stream.overlay]
        colormap = "viridis"
        [stream.output]
        record = "x"
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
        [runtime.provider.openvino]
        hardware = "cpu"
        options = { num_streams = "1" }
        [runtime.provider.tensorrt-rtx]
        library = "x"
        hardware = "gpu"
        [search]
        kernels = "x"
        [score]
        roi = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]
        [roi]
        output = "l"
        size = "8x8"
        height = 8
        multiple = 8
        channels = "rgb"
        scale = 1.0
        mean = [0.0, 0.0, 0.0]
        std = [1.0, 1.0, 1.0]
        [output]
        record = "x"
        events = "x"
        [events]
        folder = "x"
        [supplement]
        folder = "x"
        [foxglove]
        listen = "x"
        record = "x"
        [mqtt]
        broker = "mqtt://x"
        user = "x"
        password_file = "x"
        authorities = "x"
        node = "x"
        [access]
        token_file = "x"
        user = "x"
        password_file = "x"
        certificate = "x"
        key = "x"
    "##;
    let every: Config = toml::from_str(text).unwrap();
    let written = keys(&toml::to_string(&every).unwrap());
    let documented = keys(&std::fs::read_to_string(shipped("full.toml")).unwrap());
    assert_eq!(written.difference(&documented).collect::<Vec<_>>(), Vec::<&String>::new(), "not documented");
    assert_eq!(documented.difference(&written).collect::<Vec<_>>(), Vec::<&String>::new(), "do not exist");
}

/// The numbers of a TOML table, each with its path.
fn numbers(value: &toml::Value, path: &[String], found: &mut Vec<Vec<String>>) {
    let below = |key: String| [path, &[key]].concat();
    match value {
        toml::Value::Integer(_) | toml::Value::Float(_) => found.push(path.to_vec()),
        toml::Value::Array(list) => {
            list.iter().enumerate().for_each(|(at, one)| numbers(one, &below(at.to_string()), found));
        }
        toml::Value::Table(table) => {
            table.iter().for_each(|(key, one)| numbers(one, &below(key.clone()), found))
        }
        _ => {}
    }
}

fn at<'a>(value: &'a mut toml::Value, path: &[String]) -> &'a mut toml::Value {
    path.iter().fold(value, |value, key| match value {
        toml::Value::Array(list) => &mut list[key.parse::<usize>().unwrap()],
        other => &mut other[key.as_str()],
    })
}

/// Whatever number stands there, a configuration is taken or refused by the name of its key.
#[test]
fn no_number_is_taken_that_cannot_be() {
    // What the full file holds, with all that is optional.
    let text = std::fs::read_to_string(shipped("full.toml")).unwrap();
    let mut config: toml::Table = toml::from_str(&text).unwrap();
    let more: toml::Table = toml::from_str(
        r#"
        [model]
        height = 364
        multiple = 14
        scale = 1.0
        mean = [0.0, 0.0, 0.0]
        std = [1.0, 1.0, 1.0]
        patch = 14
        parts = [{ name = "p", width = 8 }]
        [score]
        threshold = 1.0
        roi = [[0.1, 0.2], [0.8, 0.3], [0.4, 0.9]]
        [roi]
        model = "road.onnx"
        classes = ["road"]
        height = 364
        multiple = 14
        scale = 1.0
        mean = [0.0, 0.0, 0.0]
        std = [1.0, 1.0, 1.0]
        [[views.more]]
        crop = [0.1, 0.2, 0.8, 0.9]
        overlap = 0.2
        height = 364
        weight = 2.0
        "#,
    )
    .unwrap();
    for (section, keys) in more {
        let own = config[&section].as_table_mut().unwrap();
        own.extend(keys.as_table().unwrap().clone());
    }
    let whole = toml::Value::Table(config);
    let taken = |value: &toml::Value| -> Result<(), String> {
        let config: Config = value.clone().try_into().map_err(|e: toml::de::Error| e.to_string())?;
        config.check().map_err(|e| e.to_string())
    };
    assert_eq!(taken(&whole), Ok(()));
    let mut paths = Vec::new();
    numbers(&whole, &[], &mut paths);
    assert!(paths.len() > 50, "{}", paths.len());
    let floats = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300].map(toml::Value::Float);
    let wholes = [-1, i64::MIN, i64::MAX].map(toml::Value::Integer);
    let mut faults = Vec::new();
    for path in &paths {
        let is_float = at(&mut whole.clone(), path).is_float();
        let key = path.iter().rfind(|key| key.parse::<usize>().is_err()).unwrap();
        // A score has any size, and so have the pixels that a model was trained on; widths are compared with the model's.
        let free = ["threshold", "scale", "mean", "std", "width"].contains(&key.as_str())
            && !["output", "stream"].contains(&path[0].as_str());
        for wrong in if is_float { &floats[..] } else { &wholes[..] } {
            if free
                && *wrong != floats[1]
                && *wrong != floats[2]
                && !wrong.as_float().is_some_and(f64::is_nan)
            {
                continue;
            }
            let mut value = whole.clone();
            *at(&mut value, path) = wrong.clone();
            match taken(&value) {
                Ok(()) => faults.push(format!("{} = {wrong} is taken", path.join("."))),
                Err(why) if !why.contains(key.as_str()) => {
                    faults.push(format!("{} = {wrong}: not named in: {why}", path.join(".")));
                }
                Err(_) => {}
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn paths_are_relative_to_the_file() {
    let config = Config::read(&shipped("demo.toml")).unwrap();
    assert!(config.detector_folder.unwrap().join("detector.toml").is_file());
    assert!(config.streams[0].source.secret().starts_with("synthetic:"));
    let config = Config::read(&shipped("full.toml")).unwrap();
    assert!(config.model.path.is_file(), "{}", config.model.path.display());
    assert!(config.bank.path.is_file(), "{}", config.bank.path.display());
}
