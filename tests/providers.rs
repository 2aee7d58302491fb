//! Execution providers besides the CPU: OpenVINO really runs, where its build of ONNX Runtime is at hand; libraries that
//! are no plug-ins are named.
#![allow(clippy::unwrap_used, reason = "a test may fail anywhere")]

use std::path::Path;

use crate::support::program::{Running, farout, program};
use crate::support::skipped::skipped;

fn tiny(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models").join(name);
    path.to_str().unwrap().to_owned()
}

#[test]
fn openvino_gives_what_the_cpu_gives() {
    let Some(library) = std::env::var_os("FAROUT_TEST_OPENVINO") else {
        return skipped(
            "OpenVINO",
            "FAROUT_TEST_OPENVINO does not name its ONNX Runtime; scripts/test fetches it on x86-64",
        );
    };
    let with_openvino = |args: &[&str]| {
        let mut command = program();
        command.args(args).env("ORT_DYLIB_PATH", &library);
        Running::start(command).outcome()
    };
    let dir = tempfile::tempdir().unwrap();
    for (file, features) in
        [("timm-vit.ts.onnx", "key:2"), ("hf-dinov2-any.ts.onnx", "tokens:2"), ("resnet.dy.onnx", "stage:3")]
    {
        let model = dir.path().join(file);
        let model = model.to_str().unwrap();
        farout(["model", "prepare", &tiny(file), "-o", model, "--features", features]).succeeded();
        for (device, runs_on) in [("openvino", "openvino"), ("auto", "openvino"), ("cpu", "cpu")] {
            let args = ["model", "warm", "--model", model, "--device", device, "--json"];
            let told = with_openvino(&args).succeeded().json();
            assert!(told["runs_on"].as_str().unwrap().starts_with(runs_on), "{file} on {device}: {told}");
            if runs_on == "openvino" {
                assert!(told["off_golden_frame"].as_f64().unwrap() < 0.02, "{file}: {told}");
            }
        }
    }
    let told = with_openvino(&["doctor", "--json"]).stdout;
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let told = told.to_string();
    assert!(told.contains("openvino") && told.contains("\"loads\""), "{told}");
}

#[test]
fn a_library_that_is_no_plug_in_is_named_and_the_next_provider_taken() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("farout.toml");
    let model = dir.path().join("m.onnx");
    let model = model.to_str().unwrap();
    farout(["model", "prepare", &tiny("timm-vit.ts.onnx"), "-o", model, "--features", "key:2"]).succeeded();
    let warm = |library: &str, more: &str| {
        let text = format!(
            "[model]\npath = \"{model}\"\n[runtime]\nproviders = [\"other\", \"cpu\"]\n{more}\
             [runtime.provider.other]\nlibrary = \"{library}\"\n"
        );
        std::fs::write(&config, text).unwrap();
        farout(["model", "warm", "-c", config.to_str().unwrap()])
    };
    let none = warm("none.so", "");
    let told = none.succeeded().stdout;
    // Relative to the configuration.
    let beside = dir.path().join("none.so");
    assert!(told.contains(&format!("other: there is no library {}", beside.display())), "{told}");
    std::fs::write(&beside, "no library").unwrap();
    let told = warm("none.so", "").succeeded().stdout;
    assert!(told.contains("ELF header"), "{told}");
    let told = warm("/proc/self/exe", "").succeeded().stdout;
    assert!(told.contains("passed over  other: "), "{told}");
    let insisted = warm("none.so", "device = \"other\"\n");
    assert_eq!(insisted.code, Some(1), "{}", insisted.stderr);
    assert!(insisted.stderr.contains("device = \"other\" is asked for"), "{}", insisted.stderr);
}

#[test]
fn ways_to_run_a_model_are_timed_and_one_is_recommended() {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("m.onnx");
    let model = model.to_str().unwrap();
    farout(["model", "prepare", &tiny("timm-vit.ts.onnx"), "-o", model, "--features", "key:2"]).succeeded();
    let config = dir.path().join("farout.toml");
    // Relative to the configuration, which is named relative to another folder.
    std::fs::write(&config, "[model]\npath = \"m.onnx\"\n[runtime]\nproviders = [\"cuda\", \"cpu\"]\n")
        .unwrap();
    let mut command = program();
    command.current_dir(dir.path()).args([
        "bench",
        "-c",
        "farout.toml",
        "--rounds",
        "1",
        "--runs",
        "1",
        "--json",
    ]);
    let told = Running::start(command).outcome().succeeded().json();
    let ways = told["ways"].as_array().unwrap();
    let cpu = ways.iter().find(|way| way["device"] == "cpu").unwrap();
    assert!(
        cpu["per_second"].as_f64().unwrap() > 0.0 && cpu["peak_memory_mb"].as_f64().unwrap() > 1.0,
        "{told}"
    );
    assert!(cpu["of_cpu"] == 1.0 && cpu["input_size"].as_str().unwrap().contains("48x32"), "{told}");
    if ways.iter().all(|way| way["device"] != "cuda" || way["per_second"].is_null()) {
        assert_eq!(told["write"], "[runtime]\ndevice = \"cpu\"\n");
        assert!(
            ways.iter().filter(|way| way["device"] == "cuda").all(|way| way["why"].is_string()),
            "{told}"
        );
    }
    std::fs::write(&config, "[model]\npath = \"m.onnx\"\n[runtime]\nproviders = [\"cuda\"]\n").unwrap();
    let only_cuda =
        farout(["bench", "-c", config.to_str().unwrap(), "--rounds", "1", "--runs", "1", "--json"]);
    match only_cuda.json()["ways"].as_array().unwrap().iter().all(|way| way["per_second"].is_null()) {
        true => assert!(
            only_cuda.code == Some(1) && only_cuda.stderr.contains("no way to run the model works"),
            "{}",
            only_cuda.stderr
        ),
        // A machine with a GPU.
        false => assert_eq!(only_cuda.code, Some(0)),
    }
    let none = farout(["bench"]);
    assert!(none.code == Some(2) && none.stderr.contains("--model FILE"), "{}", none.stderr);
}
