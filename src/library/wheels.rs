//! NVIDIA's libraries in Python environments: PyPI's wheels put them where the system's loader does not look.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The folders of libraries that the wheels of CUDA, cuDNN and TensorRT make, in every environment at hand: the ones that
/// `VIRTUAL_ENV` and `CONDA_PREFIX` name, `.venv` in the working folder, and the one that a library in use (or the one that
/// `ORT_DYLIB_PATH` names) lies in.
pub fn folders() -> Vec<PathBuf> {
    let mut roots: Vec<PathBuf> =
        ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(std::env::var_os).map(PathBuf::from).collect();
    roots.push(".venv".into());
    let mut sites: Vec<PathBuf> = roots.iter().flat_map(|root| sites_of(root)).collect();
    let named = std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from);
    let used = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    sites.extend(named.iter().filter_map(|path| site_around(path)));
    sites.extend(mapped(&used).filter_map(site_around));
    let mut folders = Vec::new();
    for folder in sites.iter().flat_map(|site| folders_in(site)) {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders
}

/// The folders of packages of an environment.
fn sites_of(root: &Path) -> Vec<PathBuf> {
    let mut sites = Vec::new();
    for lib in ["lib", "lib64"] {
        for version in entries(&root.join(lib)) {
            let site = version.join("site-packages");
            if version.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"python"))
                && site.is_dir()
            {
                sites.push(site);
            }
        }
    }
    sites
}

/// The folder of packages that a file lies in.
fn site_around(file: &Path) -> Option<PathBuf> {
    let is_site = |folder: &&Path| {
        ["site-packages", "dist-packages"].map(OsStr::new).map(Some).contains(&folder.file_name())
    };
    file.ancestors().skip(1).find(is_site).map(Path::to_owned)
}

/// The files in a listing of what is mapped into a process, as Linux gives it.
fn mapped(listing: &str) -> impl Iterator<Item = &Path> {
    listing.lines().filter_map(|line| line.find('/').map(|at| Path::new(&line[at..])))
}

/// The folders of libraries in a folder of packages: `nvidia/cublas/lib` and its like of CUDA 12, `nvidia/cu13/lib` of
/// CUDA 13, `tensorrt_libs`.
fn folders_in(site: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        entries(&site.join("nvidia")).into_iter().map(|package| package.join("lib")).collect();
    folders.push(site.join("tensorrt_libs"));
    folders.retain(|folder| folder.is_dir());
    folders
}

/// What a folder holds, in the order of names.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wheels_of_an_environment_are_found() {
        let root = tempfile::tempdir().unwrap();
        let site = root.path().join("lib/python3.12/site-packages");
        for folder in
            ["nvidia/cu13/lib", "nvidia/cudnn/lib", "nvidia/cudnn/include", "tensorrt_libs", "numpy/lib"]
        {
            std::fs::create_dir_all(site.join(folder)).unwrap();
        }
        std::fs::create_dir_all(root.path().join("lib/other/site-packages/nvidia/x/lib")).unwrap();
        let wanted = ["nvidia/cu13/lib", "nvidia/cudnn/lib", "tensorrt_libs"].map(|folder| site.join(folder));
        let found: Vec<PathBuf> = sites_of(root.path()).iter().flat_map(|site| folders_in(site)).collect();
        assert_eq!(found, wanted);
        let library = site.join("onnxruntime/capi/libonnxruntime.so.1.23.2");
        assert_eq!(folders_in(&site_around(&library).unwrap()), wanted);
        assert_eq!(site_around(Path::new("/usr/lib/libonnxruntime.so.1")), None);
    }

    #[test]
    fn files_in_use_are_read_from_what_the_system_lists() {
        let listing = "7f00-7f10 r-xp 00000000 08:01 123   /a b/site-packages/onnxruntime/capi/libonnxruntime.so.1\n\
             7f20-7f30 rw-p 00000000 00:00 0 \n\
             7f40-7f50 rw-p 00000000 00:00 0   [heap]\n";
        let files: Vec<&Path> = mapped(listing).collect();
        assert_eq!(files, [Path::new("/a b/site-packages/onnxruntime/capi/libonnxruntime.so.1")]);
        assert_eq!(site_around(files[0]), Some("/a b/site-packages".into()));
    }
}
