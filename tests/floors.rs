//! The house rules that a compiler does not check: imports go down the floors, rooms of floor 1 do
//! not import each other, files of a room do not import each other in rings, outside libraries stay in
//! their rooms, files stay small.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Modules by floor, from the ground up.
const FLOORS: [&[&str]; 4] = [
    &[
        "causes",
        "clock",
        "colour",
        "digest",
        "exif",
        "file",
        "finding",
        "frame",
        "gpu_stream",
        "grid",
        "heaps",
        "identity",
        "jpeg",
        "library",
        "luma",
        "motion",
        "pending",
        "pool",
        "random",
        "ranges",
        "region",
        "secret",
        "stop",
        "views",
        "written",
    ],
    &["source", "model", "features", "bank", "nearest", "score", "overlay", "sink"],
    &[
        "config", "flow", "detector", "collect", "eval", "foxglove", "health", "learn", "live", "mqtt",
        "prepare", "steer", "web",
    ],
    &["cli", "cmd"],
];

/// What a room of floor 1 may import of another.
const EXCEPTIONS: [(&str, &str); 3] = [("nearest", "bank"), ("score", "bank"), ("features", "model")];

/// Outside libraries and the only rooms that may mention them.
const LIBRARIES: [(&str, &[&str]); 3] =
    [("gstreamer", &["source", "sink"]), ("ort::", &["features"]), ("cudarc", &["nearest"])];

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
        let generated = text.contains("// This file is @generated");
        if text.lines().count() > LONGEST_FILE && !generated {
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

/// A file without its tests and comments.
fn code_of(text: &str) -> String {
    let text = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The paths of a tree such as `super::{a::B, c::{D, E}}`.
fn leaves(tree: &str) -> Vec<String> {
    let Some((stem, rest)) = tree.split_once('{') else {
        return vec![tree.split(" as ").next().unwrap_or_default().trim().to_owned()];
    };
    let (mut found, mut depth, mut part) = (Vec::new(), 0, String::new());
    for c in rest.trim_end().trim_end_matches('}').chars().chain([',']) {
        depth += i32::from(c == '{') - i32::from(c == '}');
        if c == ',' && depth == 0 {
            if !part.trim().is_empty() {
                found.extend(leaves(&part).iter().map(|leaf| format!("{}{leaf}", stem.trim())));
            }
            part.clear();
        } else {
            part.push(c);
        }
    }
    found
}

/// The paths that `code` of `module` names, from the top of the crate on; whether they are given on to others.
fn named(module: &str, code: &str, modules: &BTreeMap<String, String>) -> Vec<(String, bool)> {
    let words: Vec<&str> = code.split(';').collect();
    let mut found = Vec::new();
    let mut add = |path: String, given: bool| {
        let path: String = path.split_whitespace().collect();
        let (mut home, mut rest) = (module, path.as_str());
        if let Some(below) = rest.strip_prefix("crate::") {
            (home, rest) = ("", below);
        }
        while let Some(above) = rest.strip_prefix("super::") {
            (home, rest) = (home.rsplit_once('/').map_or("", |(home, _)| home), above);
        }
        let rest = rest.trim_start_matches("self::").replace("::", "/");
        let whole = if home.is_empty() { rest } else { format!("{home}/{rest}") };
        // What another file of the crate holds, not an outside library.
        if modules.keys().any(|known| whole == *known || whole.starts_with(&format!("{known}/"))) {
            found.push((whole, given));
        }
    };
    for statement in words {
        if let Some((before, tree)) = statement.rsplit_once("use ") {
            let given = before.trim_end().ends_with("pub") || before.trim_end().ends_with(')');
            leaves(tree).into_iter().for_each(|leaf| add(leaf, given));
        }
    }
    for word in code.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')) {
        if word.starts_with("crate::") || word.starts_with("super::") {
            add(word.trim_end_matches(':').to_owned(), false);
        }
    }
    found
}

/// The file that a path leads to, through what others give on.
fn home_of(
    path: &str,
    given: &BTreeMap<String, String>,
    modules: &BTreeMap<String, String>,
) -> Option<String> {
    let mut path = path.to_owned();
    for _ in 0..5 {
        match given.get(&path) {
            Some(behind) if *behind != path => path.clone_from(behind),
            _ => break,
        }
    }
    let inside = |known: &&String| path == **known || path.starts_with(&format!("{known}/"));
    modules.keys().filter(inside).max_by_key(|known| known.len()).cloned()
}

/// Files that import each other in a ring, each ring in one line. A folder's opening file and the files in it count
/// as no ring: it names them, and they use its words.
fn circles(modules: &BTreeMap<String, String>) -> Vec<String> {
    let all: Vec<(&String, Vec<(String, bool)>)> =
        modules.iter().map(|(module, code)| (module, named(module, code, modules))).collect();
    let mut given = BTreeMap::new();
    for (module, paths) in &all {
        for (path, _) in paths.iter().filter(|(_, given)| *given) {
            let name = path.rsplit('/').next().unwrap_or_default();
            given.insert(format!("{module}/{name}"), path.clone());
        }
    }
    let mut reach: BTreeMap<&String, BTreeSet<String>> = BTreeMap::new();
    for (module, paths) in &all {
        let homes = paths.iter().filter_map(|(path, _)| home_of(path, &given, modules));
        let mine = |home: &String| home != *module && !home.starts_with(&format!("{module}/"));
        reach.insert(*module, homes.filter(mine).collect());
    }
    loop {
        let mut grown = false;
        for module in modules.keys() {
            let further: BTreeSet<String> =
                reach[module].iter().flat_map(|m| reach[m].iter().cloned()).collect();
            let own = reach.get_mut(module).unwrap();
            let before = own.len();
            own.extend(further);
            grown |= own.len() > before;
        }
        if !grown {
            break;
        }
    }
    let ring = |module: &String| {
        let back = reach[module].iter().filter(|other| reach[*other].contains(module));
        back.cloned().collect::<Vec<_>>().join(" ")
    };
    let rings: BTreeSet<String> = modules.keys().map(ring).filter(|ring| !ring.is_empty()).collect();
    rings.into_iter().collect()
}

#[test]
fn files_do_not_import_each_other_in_rings() {
    let mut modules = BTreeMap::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (path, _) in files(&root) {
        let below = path.strip_prefix(&root).unwrap().with_extension("").display().to_string();
        let name = below.trim_end_matches("/mod").to_owned();
        let is_test = name.contains("/tests") || name.ends_with("_tests");
        if !is_test && !["lib", "main"].contains(&name.as_str()) {
            modules.insert(name, code_of(&fs::read_to_string(&path).unwrap()));
        }
    }
    assert_eq!(circles(&modules), [""; 0], "files import each other in a circle: break it");
}

#[test]
fn rings_are_found_in_every_way_of_writing() {
    let house = |files: &[(&str, &str)]| -> BTreeMap<String, String> {
        files.iter().map(|(name, code)| ((*name).to_owned(), code_of(code))).collect()
    };
    for (back, ring) in [
        ("use super::a::A;", "r/a r/b"),
        ("use super::{\n    c,\n    a::{A, B},\n};", "r/a r/b"),
        ("fn f() { crate::r::a::f() }", "r/a r/b"),
        ("use super::A;", "r/a r/b"),
        ("use crate::r::{A as Other};", "r/a r/b"),
        ("use super::Word;", ""),
        ("// use super::a::A;", ""),
        ("#[cfg(test)]\nmod tests {\n    use crate::r::a::A;\n}", ""),
    ] {
        let back = format!("\n{back}");
        let files = [
            ("r", "pub use a::{A};\npub struct Word;"),
            ("r/a", "use super::b::B;"),
            ("r/b", &back),
            ("r/c", ""),
        ];
        assert_eq!(circles(&house(&files)).join("; "), ring, "{back}");
    }
}

/// A file that is no module of the suite and no program of its own is never run.
#[test]
fn every_file_of_tests_is_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let suite = fs::read_to_string(root.join("tests/suite.rs")).unwrap();
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let mut seen = 0;
    for entry in ["tests", "tests/support"].iter().flat_map(|folder| fs::read_dir(root.join(folder)).unwrap())
    {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "rs") {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap();
        let module = suite
            .lines()
            .any(|line| line.trim() == format!("mod {name};") || line.trim() == format!("pub mod {name};"));
        let program = manifest.contains(&format!("path = \"tests/{name}.rs\""));
        assert!(module || program, "{} is named in neither tests/suite.rs nor Cargo.toml", path.display());
        seen += 1;
    }
    assert!(seen > 30, "{seen} files");
}
