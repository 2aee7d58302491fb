//! The Python wheel of the metrics (`tools/python`): its own tests, with the module built on the library as it is here.

use std::path::Path;
use std::process::Command;

use crate::metrics::python;
use crate::support::examples::python_module;

#[test]
fn its_numbers_are_those_of_scikit_learn() {
    let Some(python) = python("the Python wheel of the metrics", "numpy, scipy, sklearn, PIL, pytest") else {
        return;
    };
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/python");
    let folder = tempfile::tempdir().unwrap();
    let package = folder.path().join("farout_metrics");
    std::fs::create_dir(&package).unwrap();
    std::fs::copy(tools.join("farout_metrics/__init__.py"), package.join("__init__.py")).unwrap();
    std::fs::copy(python_module(), package.join("_farout_metrics.abi3.so")).unwrap();
    let mut paths = vec![folder.path().to_path_buf()];
    paths.extend(std::env::var_os("PYTHONPATH").iter().flat_map(std::env::split_paths));
    let told = Command::new(python)
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider"])
        .arg(tools.join("tests"))
        .env("PYTHONPATH", std::env::join_paths(paths).unwrap())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&told.stdout);
    assert!(
        told.status.success() && words.contains(" passed"),
        "{words}{}",
        String::from_utf8_lossy(&told.stderr)
    );
}
