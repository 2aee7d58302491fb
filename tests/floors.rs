//! The house rules that a compiler does not check: imports go down the floors, rooms of floor 1 do
//! not import each other, outside libraries stay in their rooms, files stay small.

use std::fs;
use std::path::{Path, PathBuf};

/// Modules by floor, from the ground up.
const FLOORS: [&[&str]; 4] = [
    &[
        "causes",
        "colour",
        "digest",
        "file",
        "finding",
        "frame",
        "gpu_stream",
        "grid",
        "identity",
        "jpeg",
        "library",
        "luma",
        "motion",
        "pool",
        "region",
        "stop",
        "views",
        "written",
    ],
    &["source", "model", "features", "bank", "nearest", "score", "overlay", "sink"],
    &["config", "flow", "detector", "collect", "eval", "health", "prepare"],
    &["cli", "cmd"],
];

/// What a room of floor 1 may import of another.
const EXCEPTIONS: [(&str, &str); 3] = [("nearest", "bank"), ("score", "bank"), ("features", "model")];

/// Outside libraries and the only rooms that may mention them.
const LIBRARIES: [(&str, &[&str]); 3] =
    [("gstreamer", &["source", "sink", "overlay"]), ("ort::", &["features"]), ("cudarc", &["nearest"])];

const LONGEST_FILE: usize = 400;

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|modules| modules.contains(&module))
}

/// All Rust files below `folder`, each with the module of the crate's top level that it belongs to.
fn files(folder: &Path) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            let below = path.strip_prefix(&root).unwrap();
            let top = below.components().next().unwrap().as_os_str().to_string_lossy();
            let module = top.trim_end_matches(".rs").trim_end_matches("_tests").to_owned();
            found.push((path.clone(), module));
        }
    }
    found
}

/// The modules named right after `crate::` in a line of code: `crate::a::B`, `crate::{a::B, c}`.
fn imports(line: &str) -> Vec<String> {
    let mut names = Vec::new();
    for rest in line.split("crate::").skip(1) {
        let word =
            |s: &str| s.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        match rest.strip_prefix('{') {
            Some(list) => names.extend(list.split(',').map(word)),
            None => names.push(word(rest)),
        }
    }
    names.retain(|name| name.chars().next().is_some_and(char::is_lowercase));
    names
}

/// Every rule broken by one line of one module.
fn broken(module: &str, line: &str) -> Vec<String> {
    let code = line.split("//").next().unwrap_or("");
    let mut faults = Vec::new();
    if let Some(own) = floor(module) {
        for import in imports(code) {
            match floor(&import) {
                Some(other) if other > own => {
                    faults.push(format!(
                        "{module} (floor {own}) imports {import} (floor {other}): imports go down"
                    ));
                }
                Some(1) if own == 1 && import != module && !EXCEPTIONS.contains(&(module, &import)) => {
                    faults.push(format!(
                        "{module} imports {import}: rooms of floor 1 share words, not each other"
                    ));
                }
                _ => {}
            }
        }
    }
    for (library, rooms) in LIBRARIES {
        let mentioned = code
            .match_indices(library)
            .any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '"'));
        if mentioned && !rooms.contains(&module) {
            faults.push(format!("{module} mentions {library}: only {} may", rooms.join(", ")));
        }
    }
    faults
}

#[test]
fn the_house_is_in_order() {
    let mut faults = Vec::new();
    for (path, module) in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().display().to_string();
        let home = ["lib", "main"].contains(&module.as_str());
        if !home && floor(&module).is_none() {
            faults.push(format!("{name}: {module} stands on no floor; give it a place in FLOORS"));
        }
        for (number, line) in text.lines().enumerate() {
            faults.extend(broken(&module, line).iter().map(|f| format!("{name}:{}: {f}", number + 1)));
        }
        if text.lines().count() > LONGEST_FILE {
            faults.push(format!("{name}: more than {LONGEST_FILE} lines; look for the second noun"));
        }
        if !text.starts_with("//!") {
            faults.push(format!("{name}: opens without a //! sentence that says what it is"));
        }
    }
    assert!(faults.is_empty(), "{} rules broken:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn the_rules_catch_what_they_forbid() {
    for (module, line, rules) in [
        ("frame", "use crate::source::Source;", 1),
        ("source", "use crate::frame::Frame;", 0),
        ("source", "use crate::{frame::Frame, sink::Sink};", 1),
        ("source", "    let x = crate::bank::open();", 1),
        ("score", "use crate::bank::Bank;", 0),
        ("bank", "use crate::score::Scorer;", 1),
        ("score", "use crate::detector::Detector;", 1),
        ("detector", "use crate::score::Scorer;", 0),
        ("score", "// crate::sink is not ours", 0),
        ("score", "use gstreamer as gst;", 1),
        ("sink", "use gstreamer as gst;", 0),
        ("nearest", "use ort::session::Session;", 1),
        ("nearest", "fn report::x() { export::y() }", 0),
        ("features", "cudarc::driver::init()", 1),
    ] {
        assert_eq!(broken(module, line).len(), rules, "{module}: {line}");
    }
}
