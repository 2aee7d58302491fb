//! What the package is made of: the unit is locked down, and what it names is there.

use std::path::Path;
use std::process::Command;

use crate::support::skipped::skipped;

const UNIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/farout.service");

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// How exposed systemd finds the unit, 0 to 10, with this in place of `from`.
fn exposure(from: &str, to: &str) -> Option<f64> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("farout.service");
    let text = std::fs::read_to_string(UNIT).unwrap();
    assert!(text.contains(from), "the unit has no {from}");
    std::fs::write(&path, text.replace(from, to)).unwrap();
    let told = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager"])
        .arg(&path)
        .output()
        .ok()?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let line = told.lines().find(|line| line.contains("Overall exposure level"))?;
    line.split(':').next_back()?.split_whitespace().next()?.parse().ok()
}

#[test]
fn the_unit_is_locked_down() {
    let Some(found) = exposure("[Service]", "[Service]") else {
        skipped("the exposure of the unit", "systemd-analyze security --offline (systemd 250) is missing");
        return;
    };
    assert!(found <= 2.5, "systemd-analyze security says {found}");
    // The measure measures.
    let open = exposure("ProtectSystem=strict", "ProtectSystem=no").unwrap();
    assert!(open > found, "{open} without ProtectSystem");
}

#[test]
fn what_the_package_names_is_there() {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let deb = manifest["package"]["metadata"]["deb"].as_table().unwrap();
    let mut targets = Vec::new();
    for asset in deb["assets"].as_array().unwrap() {
        let [from, to, _] = [0, 1, 2].map(|at| asset[at].as_str().unwrap());
        targets.push(to.to_owned());
        // What is built is there only then.
        if !from.starts_with("target/") {
            let pattern = Path::new(env!("CARGO_MANIFEST_DIR")).join(from);
            assert!(glob::glob(pattern.to_str().unwrap()).unwrap().count() > 0, "{from}");
        }
    }
    let conffile = deb["conf-files"][0].as_str().unwrap();
    assert!(targets.iter().any(|to| format!("/{to}") == conffile));
    let unit = read("systemd/farout.service");
    assert!(unit.contains(&format!("-c {conffile}")) && unit.contains("ExecStart=/usr/bin/farout run"));
}

#[test]
fn the_first_configuration_works() {
    // As installed: the detector is in /usr/share.
    let text = read("configs/service.toml");
    let installed = "detector = \"/usr/share/farout/demo\"";
    assert_eq!(text.matches(installed).count(), 1);
    let folder = tempfile::tempdir().unwrap();
    let models = concat!("detector = \"", env!("CARGO_MANIFEST_DIR"), "/models\"");
    let text = text.replace(installed, models).replace("/var/lib/farout", folder.path().to_str().unwrap());
    let path = folder.path().join("farout.toml");
    std::fs::write(&path, text).unwrap();
    let outcome = crate::support::program::farout(["check", path.to_str().unwrap()]).succeeded();
    assert!(outcome.stdout.contains("knn above"), "{}", outcome.stdout);
}
