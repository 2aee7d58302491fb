//! Secrets in files: a password or a token in the one line of a file, or a credential that systemd hands over.

use std::path::{Path, PathBuf};

/// What a path begins with that is the name of a credential (`LoadCredential=` of systemd.exec(5)).
const CREDENTIAL: &str = "credential:";

/// Whether `path` names a credential and no file.
pub fn is_credential(path: &Path) -> bool {
    path.to_str().is_some_and(|text| text.starts_with(CREDENTIAL))
}

/// Where the secret that a configuration calls `path` lies: there, or for `credential:NAME` in the folder that systemd made
/// for the service.
///
/// # Errors
/// In words: a credential of a name that cannot be, or without a service that was given credentials.
pub fn place(path: &Path) -> Result<PathBuf, String> {
    place_in(path, std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from).as_deref())
}

fn place_in(path: &Path, folder: Option<&Path>) -> Result<PathBuf, String> {
    let Some(name) = path.to_str().and_then(|text| text.strip_prefix(CREDENTIAL)) else {
        return Ok(path.to_owned());
    };
    if name.is_empty() || name.contains('/') || name == ".." {
        return Err(format!("{}: write credential:NAME, without a slash", path.display()));
    }
    folder.map(|folder| folder.join(name)).ok_or_else(|| {
        format!(
            "{}: systemd has given no credentials; the unit hands one over with LoadCredential, as in {name}:/path/to/file",
            path.display()
        )
    })
}

/// The one line of the file that a configuration calls `path`; what everybody may read is warned of.
///
/// # Errors
/// In words, with the file: it cannot be read, or does not hold a single line.
pub fn read(path: &Path) -> Result<String, String> {
    let place = place(path)?;
    let text = std::fs::read_to_string(&place).map_err(|why| format!("{}: {why}", place.display()))?;
    if is_open(&place) {
        tracing::warn!("{} can be read by everybody on this machine: chmod o= it", place.display());
    }
    let text = text.trim_end_matches(['\r', '\n']);
    match text.is_empty() || text.contains(['\r', '\n', '\0']) {
        true => Err(format!("{} holds no single line", place.display())),
        false => Ok(text.to_owned()),
    }
}

/// Whether everybody on this machine may read a file.
pub fn is_open(place: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(place).is_ok_and(|file| file.permissions().mode() & 0o007 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_lie_where_systemd_put_them() {
        let folder = Path::new("/run/credentials/farout.service");
        let at = |path: &str, folder| place_in(Path::new(path), folder);
        assert_eq!(at("/etc/token", None), Ok("/etc/token".into()));
        assert_eq!(at("credential:camera", Some(folder)), Ok(folder.join("camera")));
        assert!(at("credential:camera", None).unwrap_err().contains("camera:/path"));
        for wrong in ["credential:", "credential:../shadow", "credential:.."] {
            assert!(at(wrong, Some(folder)).unwrap_err().contains("credential:NAME"), "{wrong}");
        }
        assert!(is_credential(Path::new("credential:x")) && !is_credential(Path::new("/credential:x")));
    }

    #[test]
    fn one_line_is_a_secret() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        for (text, want) in
            [("s3cret\n", Some("s3cret")), ("a b\r\n", Some("a b")), ("\n", None), ("a\nb", None)]
        {
            std::fs::write(&file, text).unwrap();
            assert_eq!(read(&file).ok().as_deref(), want, "{text:?}");
        }
        assert!(read(&dir.path().join("none")).unwrap_err().contains("none: "));
        for (mode, open) in [(0o600, false), (0o640, false), (0o604, true)] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_open(&file), open, "{mode:o}");
        }
    }
}
