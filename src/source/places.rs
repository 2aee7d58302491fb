//! The files that a glob names.

use std::path::{Path, PathBuf};

/// The files that fit `pattern`, in no order that matters. The longest folder part that exists as it is
/// written is taken literally, so that a folder may be called `clips [1]`; `*`, `?`, `[...]` and `**` have
/// their meaning after it.
///
/// # Errors
/// In words: the pattern is none, or a folder cannot be read.
pub fn matching(pattern: &str) -> Result<Vec<PathBuf>, String> {
    let (folder, rest) = literal_folder(pattern);
    let whole = format!("{}{rest}", glob::Pattern::escape(folder));
    let found = glob::glob(&whole).map_err(|e| format!("not a valid glob: {e}"))?;
    found.collect::<Result<_, _>>().map_err(|e| e.to_string())
}

/// Splits a glob into the folder that exists as written, with its slash (`""`: the working folder), and the
/// pattern below it.
pub fn literal_folder(pattern: &str) -> (&str, &str) {
    let end =
        pattern.rmatch_indices('/').map(|(at, _)| at + 1).find(|end| Path::new(&pattern[..*end]).is_dir());
    pattern.split_at(end.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_with_brackets_are_taken_literally() {
        let dir = tempfile::tempdir().unwrap();
        let odd = dir.path().join("clips [1]*/deep?");
        std::fs::create_dir_all(&odd).unwrap();
        std::fs::write(odd.join("a1.png"), "x").unwrap();
        std::fs::write(odd.join("b2.png"), "x").unwrap();
        let dir = dir.path().display();
        for (pattern, count) in [
            ("clips [1]*/deep?/*.png", 2),
            ("clips [1]*/deep?/a[0-9].png", 1),
            ("clips [1]*/**/*.png", 2),
            ("clips*/*/b?.png", 1),
            ("clips [[]1[]]*/*/*.png", 2),
            ("clips [2]/*.png", 0),
        ] {
            assert_eq!(matching(&format!("{dir}/{pattern}")).unwrap().len(), count, "{pattern}");
        }
        assert_eq!(literal_folder(&format!("{dir}/clips [1]*/x[0].png")).1, "x[0].png");
        assert!(matching("a[").is_err());
    }
}
