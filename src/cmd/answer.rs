//! What a subcommand answers on standard output, for people or programs: the one place that prints.
//!
//! A reader that has gone, such as `head` after its lines, has what it wanted: that is no error, and the command goes on to
//! its own end. SIGPIPE stays ignored, as Rust's runtime leaves it: the daemon's sockets need that.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use anyhow::Context;
use serde::Serialize;

/// Prints `answer` as it is displayed, or as indented JSON with a line's end.
///
/// # Errors
/// If standard output does not take it.
pub(super) fn answer<T: Serialize + Display>(json: bool, answer: &T) -> anyhow::Result<()> {
    match json {
        true => print_json(answer),
        false => print(answer.to_string()),
    }
}

/// Prints indented JSON with a line's end.
///
/// # Errors
/// As [`print()`].
pub(super) fn print_json(answer: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_vec_pretty(answer)?;
    text.push(b'\n');
    print(text)
}

/// Prints JSON in one line.
///
/// # Errors
/// As [`print()`].
pub(super) fn print_json_line(answer: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_vec(answer)?;
    text.push(b'\n');
    print(text)
}

/// Prints `text` as it is.
///
/// # Errors
/// If standard output does not take it, for other reasons than a reader that has gone.
pub(super) fn print(text: impl AsRef<[u8]>) -> anyhow::Result<()> {
    unless_gone(write_to(&mut io::stdout().lock(), text.as_ref())).context("cannot write to standard output")
}

fn write_to(out: &mut impl Write, text: &[u8]) -> io::Result<()> {
    out.write_all(text)?;
    out.flush()
}

/// `written`, but nothing wrong if nobody reads any more.
fn unless_gone(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(why) if why.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_reader_that_has_gone_is_no_error() {
        let (reader, mut writer) = io::pipe().unwrap();
        drop(reader);
        let broken = write_to(&mut writer, b"text");
        assert_eq!(broken.as_ref().unwrap_err().kind(), ErrorKind::BrokenPipe);
        unless_gone(broken).unwrap();
        let full = write_to(&mut std::fs::File::options().write(true).open("/dev/full").unwrap(), b"text");
        assert_eq!(unless_gone(full).unwrap_err().kind(), ErrorKind::StorageFull);
    }
}
