//! What `scripts/gpu-check` promises to those who read its exit code, its JSON and its page, rehearsed on the CPU.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::examples::{self, python_is_there};
use crate::support::given::given;
use crate::support::program::{DEADLINE, Outcome, Running};
use crate::support::skipped::skipped;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The example; `GPU_CHECK` names a ready one.
fn example() -> PathBuf {
    std::env::var_os("GPU_CHECK").map_or_else(|| examples::built("gpu_check"), PathBuf::from)
}

/// Runs the script with `args`, its results in `out`.
fn check(out: &Path, args: &[&str]) -> (Outcome, Value, String) {
    let mut command = Command::new(Path::new(ROOT).join("scripts/gpu-check"));
    command.args(args).arg("--out").arg(out).stdin(Stdio::null());
    command.env("FAROUT", env!("CARGO_BIN_EXE_farout")).env("GPU_CHECK", example());
    let outcome = Running::start(command).outcome();
    let json = std::fs::read_to_string(out.join("gpu-check.json"))
        .unwrap_or_else(|e| panic!("{e}, after at most {DEADLINE:?}: {outcome:?}"));
    let page = std::fs::read_to_string(out.join("gpu-check.md")).unwrap();
    (outcome, serde_json::from_str(&json).unwrap(), page)
}

/// The steps of a part: name, result, reason.
fn steps<'a>(report: &'a Value, part: &str) -> Vec<(&'a str, &'a str, &'a str)> {
    let word = |step: &'a Value, key: &str| step[key].as_str().unwrap();
    let all = report["steps"].as_array().unwrap().iter().filter(|step| step["part"] == part);
    all.map(|step| (word(step, "step"), word(step, "result"), word(step, "why"))).collect()
}

#[test]
fn a_rehearsal_passes_and_what_it_skips_is_no_pass() {
    if !python_is_there("scripts/gpu-check") {
        return;
    }
    let (out, given) = (tempfile::tempdir().unwrap(), given());
    let own = ["--model", given.model.to_str().unwrap(), "--bank", given.bank.to_str().unwrap()];
    let only = ["--rehearse", "--only", "answers,search,model"];
    let (outcome, report, page) = check(out.path(), &[&only[..], &own].concat());
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    assert!(report["rehearsal"] == true && report["exit_code"] == 3, "{report}");
    let taken: Vec<_> = ["answers", "search", "model"].iter().flat_map(|part| steps(&report, part)).collect();
    assert!(taken.iter().filter(|step| step.1 == "passed").count() >= 7, "{taken:?}");
    for part in ["machine", "sanitizer", "peers", "live"] {
        let left = steps(&report, part);
        assert!(!left.is_empty() && left.iter().all(|s| s.1 != "passed" || s.0 == "software"), "{left:?}");
    }
    let mut skipped = 0;
    for step in report["steps"].as_array().unwrap() {
        assert_ne!(step["result"], "failed", "{step}");
        assert_eq!(step["result"] == "skipped", !step["why"].as_str().unwrap().is_empty(), "{step}");
        assert!(step["result"] == "passed" || step["figures"].is_null(), "{step}");
        skipped += usize::from(step["result"] == "skipped");
    }
    assert!(skipped > 10, "{report}");
    let verdict = outcome.stdout.lines().last().unwrap();
    assert!(verdict.contains("INCOMPLETE") && verdict.contains("says nothing of a GPU"), "{verdict}");
    assert!(page.contains(verdict) && page.contains("| *skipped* | live |"), "{page}");
    let of = |part: &str, key: &str| -> Vec<f64> {
        let all = report["steps"].as_array().unwrap().iter().filter(|step| step["part"] == part);
        all.filter_map(|step| step["figures"][key].as_f64()).collect()
    };
    assert!(of("answers", "cases")[0] > 40.0);
    let times = of("search", "ms_from_host");
    assert!(times.len() == 2 && times.iter().all(|ms| *ms > 0.0), "{times:?}");
    assert!(page.contains("150 patches x 1000 rows x 48 numbers"), "{page}");
    assert_eq!(of("model", "off_features"), [0.0; 3], "the same on the CPU");
}

#[test]
fn what_goes_wrong_fails_it() {
    if !python_is_there("scripts/gpu-check") {
        return;
    }
    let (out, given) = (tempfile::tempdir().unwrap(), given());
    let own = ["--model", given.model.to_str().unwrap(), "--bank", given.bank.to_str().unwrap()];
    let planted = [
        ("answers", "answers"),
        ("death", "answers"),
        ("search", "search"),
        ("recipe", "search"),
        ("model", "model"),
    ];
    for (fault, part) in planted {
        let args = ["--rehearse", "--only", part, "--plant", fault];
        let (outcome, report, page) = check(out.path(), &[&args[..], &own].concat());
        assert_eq!(outcome.code, Some(1), "{fault}: {outcome:?}");
        let all = steps(&report, part);
        let failed: Vec<_> = all.iter().filter(|step| step.1 == "failed").collect();
        assert!(!failed.is_empty() && failed.iter().all(|step| !step.2.is_empty()), "{fault}: {all:?}");
        assert!(outcome.stdout.lines().last().unwrap().contains("FAILED"), "{fault}: {}", outcome.stdout);
        assert!(page.contains(&format!("| **FAILED** | {part} |")), "{fault}: {page}");
    }
}

#[test]
fn without_a_gpu_it_says_so() {
    if !python_is_there("scripts/gpu-check") {
        return;
    }
    let look =
        Command::new("python3").arg(Path::new(ROOT).join("scripts/gpu_check.py")).arg("--look").status();
    if look.unwrap().success() {
        skipped("scripts/gpu-check without a GPU", "there is one");
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let (outcome, report, page) = check(out.path(), &[]);
    assert_eq!(outcome.code, Some(4), "{outcome:?}");
    let verdict = outcome.stdout.lines().last().unwrap();
    assert!(verdict.contains("THERE IS NO GPU HERE") && page.contains(verdict), "{verdict}\n{page}");
    for part in ["answers", "sanitizer", "search", "peers", "model", "live"] {
        let all = steps(&report, part);
        assert!(!all.is_empty() && all.iter().all(|step| step.1 == "skipped"), "{all:?}");
    }
}

#[test]
fn pieces_come_together_and_tell_what_is_missing() {
    if !python_is_there("scripts/gpu-check") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    let mut noise = crate::support::made_up::Noise::new(1);
    let mut numbers = |bytes: usize| (0..bytes).map(|_| noise.bits() as u8).collect::<Vec<u8>>();
    let files = [("programs/farout", numbers(10_000)), ("onnxruntime/lib.so", numbers(1_500_000))];
    for (name, bytes) in &files {
        std::fs::create_dir_all(whole.join(name).parent().unwrap()).unwrap();
        std::fs::write(whole.join(name), bytes).unwrap();
    }
    let python = |code: &str, args: &[&Path]| {
        let mut command = Command::new("python3");
        command.arg("-c").arg(format!(
            "import sys, pathlib; sys.path.insert(0, {ROOT:?} + '/scripts'); import gpu_pieces as g; a = [*map(pathlib.Path, sys.argv[1:])]; {code}"
        ));
        let told = command.args(args).output().unwrap();
        assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
        String::from_utf8(told.stdout).unwrap().trim().to_owned()
    };
    let script = Path::new(ROOT).join("scripts/gpu_pieces.py");
    // A guard for the main module: compression works in processes.
    let told = Command::new("python3")
        .arg(&script)
        .arg("pack")
        .arg(folder.path())
        .arg("1")
        .arg(&script)
        .output()
        .unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let unpacked = folder.path().join("unpacked");
    let unpack = || python("print(g.unpack(a[0], a[1]))", &[folder.path(), &unpacked]);
    assert_eq!(unpack(), "{}");
    for (name, bytes) in &files {
        assert_eq!(std::fs::read(unpacked.join(name)).unwrap(), *bytes, "{name}");
    }
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.join("pieces.json").exists() {
            let bytes: u64 =
                std::fs::read_dir(&path).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum();
            assert!(bytes < 1 << 20, "{}: {bytes}", path.display());
        }
    }
    std::fs::remove_dir_all(&unpacked).unwrap();
    std::fs::remove_dir_all(folder.path().join("2")).unwrap();
    assert!(unpack().contains("'onnxruntime': 'piece 2 of"), "{}", unpack());
    assert!(unpacked.join("programs/farout").exists() && !unpacked.join("onnxruntime/lib.so").exists());
    let part = folder.path().join("1/000.xz");
    std::fs::write(&part, &std::fs::read(&part).unwrap()[..5000]).unwrap();
    std::fs::remove_dir_all(&unpacked).unwrap();
    assert!(unpack().contains("programs/farout is damaged"), "{}", unpack());
}
