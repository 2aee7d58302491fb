//! What a detector needs, made once per test program: a tiny model, pictures of a normal drive, a bank.
#![allow(dead_code, reason = "each test uses what it needs")]

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::program::farout;
use super::tiny_model::Tiny;

/// A drive with strangers, as small as the pictures that the bank is made of.
pub const DRIVE: &str = "synthetic:seed=5,width=320,height=180,fps=25,stride=7";

/// The files; they live as long as the test program.
pub struct Given {
    /// Features 16 wide, patches of 8 pixels.
    pub model: PathBuf,
    /// The same features, patches of 16 pixels: another model.
    pub other_model: PathBuf,
    /// 30 PNGs of a drive without strangers, 320x180.
    pub pictures: PathBuf,
    /// 2000 features of `model` from `pictures`.
    pub bank: PathBuf,
}

/// The files, made at the first call.
pub fn given() -> &'static Given {
    static GIVEN: OnceLock<Given> = OnceLock::new();
    GIVEN.get_or_init(|| make(&folder()))
}

/// A folder that is removed when the test program ends: static values are not dropped.
fn folder() -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    extern "C" fn remove() {
        if let Some(folder) = FOLDER.get() {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
    let folder =
        FOLDER.get_or_init(|| tempfile::Builder::new().prefix("farout-tests-").tempdir().unwrap().keep());
    // SAFETY: `remove` takes nothing, does not unwind and touches nothing that exit has torn down.
    unsafe { libc::atexit(remove) };
    folder.clone()
}

fn make(folder: &Path) -> Given {
    let at = |name: &str| folder.join(name);
    let given = Given {
        model: at("tiny.onnx"),
        other_model: at("other.onnx"),
        pictures: at("pictures"),
        bank: at("tiny.bank"),
    };
    Tiny { unrelated: false, ..Tiny::default() }.write(&given.model);
    Tiny { unrelated: false, patch: 16, ..Tiny::default() }.write(&given.other_model);
    let normal = "synthetic:seed=9,width=320,height=180,strangers=off,frames=30,stride=40";
    farout([
        "replay".as_ref(),
        "--bypass".as_ref(),
        normal.as_ref(),
        "--frames-out".as_ref(),
        given.pictures.as_os_str(),
    ])
    .succeeded();
    build(&given.model, &given.pictures, &given.bank);
    given
}

/// Builds a bank of 2000 features.
pub fn build(model: &Path, pictures: &Path, bank: &Path) {
    let args = ["bank", "build", "--device", "cpu", "--size", "2000", "--model"].map(AsRef::as_ref);
    let paths =
        [model.as_os_str(), "--images".as_ref(), pictures.as_os_str(), "-o".as_ref(), bank.as_os_str()];
    farout(args.into_iter().chain(paths)).succeeded();
}

/// `path` as text for arguments.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
