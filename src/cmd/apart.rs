//! Refuses outputs that would overwrite the input or one another.

use std::path::{Path, PathBuf};

use crate::config::ConfigError;
use crate::source::Location;

/// What a command writes: the flag (or key) that names it, and the file or folder.
pub type Output<'a> = (&'a str, &'a Path);

/// Checks that no folder that pictures are written to, and no file, is the source's own or taken twice.
///
/// # Errors
/// [`ConfigError::Invalid`] with the two that meet.
pub fn apart(source: &str, outputs: &[Output<'_>]) -> Result<(), ConfigError> {
    let mut seen: Vec<(&str, PathBuf)> = Vec::new();
    // A location that is none is refused where it is opened.
    if let Some(path) = Location::parse(source).ok().and_then(|location| location.on_disk()) {
        seen.push(("the source", real(&path)));
    }
    for &(name, path) in outputs {
        let path = real(path);
        if let Some((other, _)) = seen.iter().find(|(_, taken)| *taken == path) {
            return Err(ConfigError::Invalid(format!(
                "{other} and {name} are both {}, one would overwrite the other; choose another place for {name}",
                path.display()
            )));
        }
        seen.push((name, path));
    }
    Ok(())
}

/// Checks that `output` is none of the files that are read.
///
/// # Errors
/// [`ConfigError::Invalid`] with the file.
pub fn from_inputs(inputs: &[&Path], output: &Path) -> Result<(), ConfigError> {
    let place = real(output);
    match inputs.iter().find(|input| real(input) == place) {
        Some(input) => Err(ConfigError::Invalid(format!(
            "--output would overwrite {}, which is read; choose another place for it",
            input.display()
        ))),
        None => Ok(()),
    }
}

/// The path without links and dots, as far as it exists.
pub fn real(path: &Path) -> PathBuf {
    let whole = path.canonicalize().or_else(|_| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = path.file_name().unwrap_or_default();
        folder.canonicalize().map(|folder| folder.join(name))
    });
    whole.or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_meets_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let clip = dir.path().join("clip.mp4");
        std::fs::write(&clip, b"no video").unwrap();
        std::os::unix::fs::symlink(&clip, dir.path().join("link.mp4")).unwrap();
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let (clip_text, dir_text) = (text(&clip), text(dir.path()));
        let link = dir.path().join("link.mp4");
        let dotted = dir.path().join("new/../.");
        std::fs::create_dir(dir.path().join("new")).unwrap();
        let new = dir.path().join("new");
        let star = format!("{dir_text}/*.png");
        std::fs::write(dir.path().join("a.png"), b"no picture").unwrap();
        for (source, outputs, meet) in [
            (clip_text.as_str(), vec![("--video", link.as_path())], true),
            (&clip_text, vec![("--video", new.as_path())], false),
            (&dir_text, vec![("--pictures", dotted.as_path())], true),
            (&star, vec![("--pictures", dir.path())], true),
            (&star, vec![("--pictures", new.as_path())], false),
            ("synthetic:", vec![("--pictures", dir.path()), ("--frames-out", dotted.as_path())], true),
            ("synthetic:", vec![("--pictures", dir.path()), ("--frames-out", new.as_path())], false),
        ] {
            assert_eq!(apart(source, &outputs).is_err(), meet, "{source} {outputs:?}");
        }
    }
}
