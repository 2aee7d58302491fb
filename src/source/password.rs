//! A password that stands in a file, put into the address that it is for.

use std::borrow::Cow;
use std::path::Path;

use super::escapes::escaped_whole;
use super::{SourceConfig, SourceError};
use crate::secret;

/// `location`, with the password of `config` behind its user if there is one.
///
/// # Errors
/// [`SourceError::Unreadable`]: the file does not hold a password, or `location` is no address with a user and without a
/// password.
pub(super) fn with_password<'a>(
    location: &'a str,
    config: &SourceConfig,
) -> Result<Cow<'a, str>, SourceError> {
    let Some(path) = &config.password_file else { return Ok(location.into()) };
    match joined(location, path) {
        Ok(whole) => Ok(whole.into()),
        Err(why) => Err(SourceError::unreadable(location, format!("password_file: {why}"))),
    }
}

fn joined(location: &str, path: &Path) -> Result<String, String> {
    let how = "write the user, and only that, into the address: rtsp://USER@HOST/1";
    let (scheme, rest) =
        location.split_once("://").ok_or_else(|| format!("this source takes no password; {how}"))?;
    let host = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (user, _) =
        rest[..host].rsplit_once('@').ok_or_else(|| format!("the address names no user; {how}"))?;
    if user.contains(':') {
        return Err(format!("the address has a password of its own; {how}"));
    }
    let password = secret::read(path)?;
    Ok(format!("{scheme}://{user}:{}{}", escaped_whole(&password), &rest[user.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Address;

    #[test]
    fn the_password_stands_behind_the_user_and_is_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("camera");
        std::fs::write(&file, "p@ss 100%41\n").unwrap();
        let config = SourceConfig { password_file: Some(file), ..SourceConfig::default() };
        let given = |location| with_password(location, &config).map(Cow::into_owned);
        let whole = given("rtsp://me@cam:554/1?q=@").unwrap();
        assert_eq!(whole, "rtsp://me:p%40ss%20100%2541@cam:554/1?q=@");
        let address = Address::from(whole.clone());
        // What goes to the camera is what stands in the file.
        assert_eq!(address.mended(), whole);
        let shown = address.to_string();
        assert!(shown.starts_with("rtsp://me:***@") && !shown.contains("ss"), "{shown}");
        assert!(!address.hide("no p@ss 100%41, no p%40ss%20100%2541").contains("ss"));
        assert_eq!(given("http://me@[::1]").unwrap(), "http://me:p%40ss%20100%2541@[::1]");
        for (location, want) in [
            ("clip.mp4", "takes no password"),
            ("gst:videotestsrc", "takes no password"),
            ("rtsp://cam/1?mail=a@b", "names no user"),
            ("http://cam?mail=a@b", "names no user"),
            ("rtsp://me:other@cam/1", "of its own"),
        ] {
            let why = given(location).unwrap_err().to_string();
            assert!(
                why.contains("password_file") && why.contains(want) && why.contains("USER@HOST"),
                "{why}"
            );
        }
        let none = SourceConfig { password_file: Some("/nowhere".into()), ..SourceConfig::default() };
        assert!(with_password("rtsp://me@cam/1", &none).unwrap_err().to_string().contains("/nowhere"));
        assert_eq!(with_password("clip.mp4", &SourceConfig::default()).unwrap(), "clip.mp4");
    }
}
