//! An error with its causes in one line, each said once.

/// What [`anyhow`] prints with `{:#}`, less the causes that the words before them already hold: typed
/// errors that tell their cause in their own sentence would repeat it.
pub fn in_one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let words = cause.to_string();
        if line.contains(&words) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&words);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot write x: {source}; make room")]
    struct Told {
        source: std::io::Error,
    }

    #[test]
    fn no_cause_is_told_twice() {
        let told = anyhow::Error::from(Told { source: std::io::Error::other("disk full") });
        assert_eq!(in_one_line(&told), "cannot write x: disk full; make room");
        assert_eq!(in_one_line(&told.context("events")), "events: cannot write x: disk full; make room");
        let plain = Err::<(), _>(std::io::Error::other("disk full")).context("events").unwrap_err();
        assert_eq!(in_one_line(&plain), "events: disk full");
    }
}
