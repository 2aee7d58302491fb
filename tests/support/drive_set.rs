//! Data sets of the synthetic drive: its frames in a folder, with masks of its strangers.
#![allow(dead_code, reason = "each test uses what it needs")]

use std::path::{Path, PathBuf};
use std::process::Command;

use super::given::{given, text};
use super::program::{Outcome, Running, farout, program};

/// So many frames of a drive, every `stride`-th, in `dir/images`, masks in `dir/masks`, and a description that takes them for
/// a sequence or for single pictures: the images, and what `--dataset` takes.
pub fn drive_set(dir: &Path, frames: usize, stride: usize, sequences: bool) -> (PathBuf, String) {
    let (images, truth, masks) = (dir.join("images"), dir.join("truth"), dir.join("masks"));
    let source = format!("synthetic:seed=5,width=320,height=180,frames={frames},stride={stride}");
    let args = ["replay", "--bypass", &source, "--frames-out", text(&images), "--truth", text(&truth)];
    farout(args).succeeded();
    std::fs::create_dir(&masks).unwrap();
    for entry in truth.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if let Some(stem) = path.file_stem().unwrap().to_str().unwrap().strip_suffix("_stranger") {
            std::fs::copy(&path, masks.join(format!("{stem}.png"))).unwrap();
        }
    }
    let anomaly = (1..=255).map(|v| v.to_string()).collect::<Vec<_>>().join(", ");
    let toml = format!(
        "images = \"images\"\nmasks = \"masks\"\nsequences = {sequences}\nnormal = [0]\nanomaly = [{anomaly}]\n"
    );
    std::fs::write(dir.join("dataset.toml"), toml).unwrap();
    (images, format!("folder:{}", text(dir)))
}

/// A data set in a folder: synthetic frames, strangers as anomalies.
pub struct Set {
    /// Its folder, which goes with it.
    pub dir: tempfile::TempDir,
    /// As `--dataset` takes it.
    pub dataset: String,
    /// Names the tiny model, with its logits.
    pub config: PathBuf,
}

impl Set {
    /// So many frames of a drive.
    pub fn new(frames: usize) -> Set {
        let dir = tempfile::tempdir().unwrap();
        let (_, dataset) = drive_set(dir.path(), frames, 31, false);
        let config = dir.path().join("model.toml");
        let model = text(&given().model);
        std::fs::write(&config, format!("[model]\npath = \"{model}\"\nlogits = \"logits\"\n")).unwrap();
        Set { dir, dataset, config }
    }

    /// A path in its folder.
    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A command that judges the set, with `extra` arguments.
    pub fn command(&self, extra: &[&str]) -> Command {
        let mut command = program();
        command.args(["eval", "--device", "cpu", "-c", text(&self.config), "--bank", text(&given().bank)]);
        command.args(["--dataset", &self.dataset, "--replicates", "50"]).args(extra);
        command
    }

    /// What [`Set::command`] says.
    pub fn eval(&self, extra: &[&str]) -> Outcome {
        Running::start(self.command(extra)).outcome()
    }
}

/// The JSON in a file.
pub fn read(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}
