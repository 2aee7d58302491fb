//! Addresses as they are given, with the passwords in them, and as they may be shown, without.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::escapes::{decoded, escaped};

/// What stands for a secret.
const HIDDEN: &str = "***";
/// A shorter secret is only hidden where an address or a key shows that it is one: elsewhere it would
/// tear other words apart.
const SHORTEST: usize = 4;

/// A location as it was given. Shown, logged, formatted for debugging or serialised it has `***` for its
/// passwords; only [`Address::secret`] gives it whole.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Address(String);

impl Address {
    /// All of it, for whoever opens it and nobody else.
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// All of it, with user and password written as RFC 3986 wants them: a raw `@`, `%`, `/`, `#` or `?`
    /// in a password would end it where it does not end.
    pub fn mended(&self) -> String {
        let Some((scheme, rest)) = self.0.split_once("://") else {
            return self.0.clone();
        };
        let host = rest.find('/').unwrap_or(rest.len());
        let Some(end) = rest[..host].rfind('@').or_else(|| user_end(rest).and(rest.find('@'))) else {
            return self.0.clone();
        };
        let (user, password) = rest[..end].split_once(':').unzip();
        let user = escaped(user.unwrap_or(&rest[..end]));
        // GStreamer takes no RTSP address that has a user and no colon.
        let none = if scheme.to_ascii_lowercase().starts_with("rtsp") { ":" } else { "" };
        let password = password.map_or_else(|| none.to_owned(), |p| format!(":{}", escaped(p)));
        format!("{scheme}://{user}{password}{}", &rest[end..])
    }

    /// `text` without the secrets of this address, nor any other that addresses in it hold.
    pub fn hide(&self, text: &str) -> String {
        let shown = self.to_string();
        let mut text = if shown == self.0 { text.to_owned() } else { text.replace(&self.0, &shown) };
        for secret in self.secrets().iter().filter(|secret| secret.len() >= SHORTEST) {
            text = text.replace(secret.as_str(), HIDDEN);
        }
        masked(&text)
    }

    /// What to try where a server refuses user or password, or where nothing comes from an address in whose
    /// password something may be written wrong; else nothing.
    #[cfg(feature = "media")]
    pub(super) fn hint(&self, why: &str) -> &'static str {
        let why = why.to_ascii_lowercase();
        let refused = ["unauthorized", "not authorized", "(401)", "401 ", "forbidden", "(403)", "authenti"];
        let refused = refused.iter().any(|word| why.contains(word));
        let rest = self.0.split_once("://").map_or("", |(_, rest)| rest);
        let user = user_end(rest).map(|end| &rest[..end]);
        match user {
            Some(user) if refused || user.contains(['@', '/', '#', '?', ' ']) || decoded(user).is_err() => {
                "; check user and password: in the address @ is written %40, : %3A, / %2F, ? %3F, # %23 and % itself %25"
            }
            None if refused => {
                "; it wants a user and a password: write them before the host, as in USER:PASSWORD@HOST"
            }
            _ => "",
        }
    }

    /// The password of the user part and the values of secret keys, as written and decoded.
    fn secrets(&self) -> Vec<String> {
        let mut found = Vec::new();
        if let Some((_, rest)) = self.0.split_once("://")
            && let Some(end) = user_end(rest)
            && let Some((_, password)) = rest[..end].split_once(':')
        {
            // An @ may stand in the password, or far behind it: each may be where it ends.
            found.extend(password.match_indices('@').map(|(at, _)| password[..at].to_owned()));
            found.push(password.to_owned());
        }
        let mut values = |mut rest: &str, whole: bool| {
            while let Some(value) = secret_value(rest, whole) {
                found.push(rest[value.clone()].to_owned());
                rest = &rest[value.end..];
            }
        };
        values(&self.0, whole_address(&self.0).is_some());
        for (place, quoted) in addresses(&self.0) {
            values(&self.0[place], quoted);
        }
        let plain = found.iter().filter_map(|text| String::from_utf8(decoded(text).ok()?).ok());
        found.extend(plain.collect::<Vec<_>>());
        // The longer first: one may be part of another.
        found.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        found
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The whole text is one address: a blank in a password does not end it.
        let shown = match whole_address(&self.0) {
            Some((scheme, rest)) => format!("{scheme}://{}", without_values(&without_password(rest), true)),
            None => self.0.clone(),
        };
        f.write_str(&masked(&shown))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl From<&str> for Address {
    fn from(text: &str) -> Self {
        Address(text.to_owned())
    }
}

impl From<String> for Address {
    fn from(text: String) -> Self {
        Address(text)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Address)
    }
}

/// `text` with `***` for every password in it: those of addresses (`://user:password@`), and the values of
/// keys that say that they are secret (`?password=`, `token=`, GStreamer's `user-pw=`).
pub fn masked(text: &str) -> String {
    let (mut shown, mut from) = (String::with_capacity(text.len()), 0);
    for (place, quoted) in addresses(text) {
        shown += &text[from..place.start];
        shown += &without_values(&without_password(&text[place.clone()]), quoted);
        from = place.end;
    }
    without_values(&(shown + &text[from..]), false)
}

/// Scheme and rest, if all of a text is one address.
fn whole_address(text: &str) -> Option<(&str, &str)> {
    text.split_once("://").filter(|(scheme, _)| !scheme.contains([' ', ':']))
}

/// The addresses in a text, each from behind its `://` on, and whether it stands in quotes: then it may hold blanks.
fn addresses(text: &str) -> Vec<(Range<usize>, bool)> {
    let (mut found, mut from) = (Vec::new(), 0);
    let named = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    while let Some(at) = text[from..].find("://").map(|at| from + at) {
        let start = at + 3;
        let scheme = text[..at].bytes().rev().take_while(named).count();
        let quote = text[..at - scheme].chars().next_back().filter(|c| matches!(c, '"' | '\''));
        let closed = quote.and_then(|quote| closing(&text[start..], quote));
        let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '<' | '>' | '`');
        from = closed.or_else(|| text[start..].find(ends)).map_or(text.len(), |end| start + end);
        found.push((start..from, closed.is_some()));
    }
    found
}

/// `text` with `***` for the values of secret keys; `whole` if it is one address.
fn without_values(text: &str, whole: bool) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(value) = secret_value(rest, whole) {
        out += &rest[..value.start];
        out += HIDDEN;
        rest = &rest[value.end..];
    }
    out + rest
}

/// What follows `://`, with `***` for the password.
fn without_password(rest: &str) -> String {
    match user_end(rest).and_then(|end| rest[..end].find(':').map(|colon| (colon, end))) {
        Some((colon, end)) => format!("{}:{HIDDEN}{}", &rest[..colon], &rest[end..]),
        None => rest.to_owned(),
    }
}

/// Where the user part of what follows `://` ends: the place of its `@`. Passwords with a raw `@` or `/` are
/// no valid addresses, and are found all the same: rather too much is hidden than too little.
fn user_end(rest: &str) -> Option<usize> {
    let host = &rest[..rest.find('/').unwrap_or(rest.len())];
    let port = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let odd = !host.starts_with('[') && host.split_once(':').is_some_and(|(_, tail)| !port(tail));
    if !host.contains('@') && !odd {
        return None;
    }
    rest.rfind('@')
}

/// The value of the first `key=value` in `text` whose key is that of a secret. In prose blanks and quotes end it; in a
/// `whole` address only what separates keys does.
fn secret_value(text: &str, whole: bool) -> Option<Range<usize>> {
    let named = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    for (equals, _) in text.match_indices('=') {
        let before = text[..equals].trim_end_matches(' ');
        let start = before.len() - before.bytes().rev().take_while(|b| named(b)).count();
        if !is_secret(&before[start..]) {
            continue;
        }
        let mut from = equals + 1;
        let end = if whole {
            text[from..].find(['&', ';'])
        } else {
            let spaced = before.len() < equals || text[from..].starts_with(' ');
            from += text[from..].len() - text[from..].trim_start_matches(' ').len();
            // GStreamer writes the kind of a value before it.
            if text[from..].starts_with('(') {
                from += text[from..].find(')').map_or(0, |at| at + 1);
            }
            let quote = text[from..].chars().next().filter(|c| matches!(c, '"' | '\''));
            let in_query = text[..start].ends_with(['?', '&', ';', '/', '_']);
            match quote {
                Some(quote) => {
                    from += 1;
                    closing(&text[from..], quote)
                }
                // `key = value` without quotes is prose.
                None if spaced => continue,
                None => text[from..].find(|c: char| {
                    c.is_whitespace() || c == '"' || in_query && matches!(c, '&' | ';' | '>' | '`')
                }),
            }
        };
        let end = end.map_or(text.len(), |end| from + end);
        if end > from && &text[from..end] != HIDDEN {
            return Some(from..end);
        }
    }
    None
}

/// Where an unescaped `quote` stands.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, c)| {
        let ends = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        ends.then_some(at)
    })
}

/// Whether a key's name says that its value is a secret.
fn is_secret(key: &str) -> bool {
    const PARTS: [&str; 11] = [
        "pass",
        "pwd",
        "psw",
        "token",
        "secret",
        "auth",
        "apikey",
        "api_key",
        "api-key",
        "credential",
        "signature",
    ];
    let key = key.to_ascii_lowercase();
    PARTS.iter().any(|part| key.contains(part))
        || ["pw", "key", "sig", "pas"].iter().any(|name| {
            key.strip_suffix(name)
                .is_some_and(|rest| rest.is_empty() || *name == "pas" || rest.ends_with(['-', '_']))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_shown() {
        for (given, shown) in [
            ("rtsp://admin:Geheim77@10.0.0.5:554/live", "rtsp://admin:***@10.0.0.5:554/live"),
            ("rtsp://admin@cam/live", "rtsp://admin@cam/live"),
            ("rtsp://cam:554/live?x=a@b", "rtsp://cam:554/live?x=a@b"),
            ("rtsp://[fe80::1]:554/live", "rtsp://[fe80::1]:554/live"),
            ("RTSP://admin:Gehe@im77@cam/1", "RTSP://admin:***@cam/1"),
            ("rtsp://admin:Gehe/im77@cam/1", "rtsp://admin:***@cam/1"),
            ("rtsp://admin:Gehe#im?77@cam/1", "rtsp://admin:***@cam/1"),
            ("rtsp://admin:Gehe im77@cam/1", "rtsp://admin:***@cam/1"),
            ("rtsp://:Geheim77@cam/1", "rtsp://:***@cam/1"),
            ("http://cam/v.mjpg?user=a&pwd=Geheim77&x=1", "http://cam/v.mjpg?user=a&pwd=***&x=1"),
            ("http://cam/v?access_token=Geheim77", "http://cam/v?access_token=***"),
            ("http://cam/v?loginuse=a&loginpas=Geheim77", "http://cam/v?loginuse=a&loginpas=***"),
            (
                "rtsp://cam/user=a&password=Geheim77&channel=1.sdp",
                "rtsp://cam/user=a&password=***&channel=1.sdp",
            ),
            (
                "gst:rtspsrc location=rtsp://a:Geheim77@cam/1 ! x",
                "gst:rtspsrc location=rtsp://a:***@cam/1 ! x",
            ),
            ("gst:souphttpsrc user-id=a user-pw=Geheim77 ! x", "gst:souphttpsrc user-id=a user-pw=*** ! x"),
            ("gst:rtspsrc user-pw=\"Geh eim77\" ! x", "gst:rtspsrc user-pw=\"***\" ! x"),
            ("gst:rtspsrc user-pw=(string)\"Geh\\\"eim77\" ! x", "gst:rtspsrc user-pw=(string)\"***\" ! x"),
            ("http://cam/v?password=Geh eim77&x=1", "http://cam/v?password=***&x=1"),
            ("http://cam/v?password= Geh\"eim77&x=1", "http://cam/v?password=***&x=1"),
            ("http://a:b c@cam/v?x=1&pwd=Geh eim77", "http://a:***@cam/v?x=1&pwd=***"),
            (
                "gst:souphttpsrc location=\"http://cam/v?pwd=Geh eim77&x=1\" ! x",
                "gst:souphttpsrc location=\"http://cam/v?pwd=***&x=1\" ! x",
            ),
            (
                "gst:souphttpsrc location=\"http://a:Geh eim77@cam/v\" retries=0",
                "gst:souphttpsrc location=\"http://a:***@cam/v\" retries=0",
            ),
            (
                "gst:souphttpsrc location=http://cam/v?pwd=Geheim77 retries=0",
                "gst:souphttpsrc location=http://cam/v?pwd=*** retries=0",
            ),
            ("drive/clip 1.mp4", "drive/clip 1.mp4"),
            ("synthetic:seed=1,strangers=2", "synthetic:seed=1,strangers=2"),
        ] {
            let address = Address::from(given);
            assert_eq!(address.to_string(), shown);
            assert_eq!(format!("{address:?}"), format!("{shown:?}"));
            assert_eq!(serde_json::to_string(&address).unwrap(), serde_json::to_string(shown).unwrap());
            assert_eq!(address.secret(), given);
            assert_eq!(masked(shown), shown, "hiding twice changes nothing");
            let wrong = if given.contains("Geheim77") { "Geheim77" } else { "that" };
            let said = address.hide(&format!("no answer: {given} (URI {given}), {wrong} is wrong"));
            assert!(!said.contains("eim77") || shown == given, "{said}");
        }
    }

    #[test]
    fn secrets_are_found_in_text() {
        let text = "Cannot connect to \"http://a:b@h/x?auth=cd\" (rtsp://a:e f@g), user-pw=h";
        assert_eq!(
            masked(text),
            "Cannot connect to \"http://a:***@h/x?auth=***\" (rtsp://a:e f@g), user-pw=***"
        );
        let text = "not found: http://h/x?token=Geheim77 (404), see 'http://h/y?token=Geh eim77&z=1' there";
        assert_eq!(
            masked(text),
            "not found: http://h/x?token=*** (404), see 'http://h/y?token=***&z=1' there"
        );
        // What a server repeats of it, as written and decoded.
        let address = Address::from("http://cam/v?password=Geh eim%2077&x=1");
        assert_eq!(address.hide("no \"Geh eim%2077\", no Geh eim 77"), "no \"***\", no ***");
        let toml = "2 | password = \"Geheim77\"\n3 | threshold = 2";
        assert_eq!(masked(toml), "2 | password = \"***\"\n3 | threshold = 2");
        // The password as GStreamer decodes it.
        let address = Address::from("rtsp://a:Ge%40heim@cam/1");
        assert_eq!(address.hide("user a, password Ge@heim"), "user a, password ***");
    }

    #[test]
    fn raw_characters_are_escaped_for_the_pipeline() {
        for (given, mended) in [
            ("rtsp://a:p@ss@cam/1", "rtsp://a:p%40ss@cam/1"),
            ("rtsp://a:p%40ss@cam/1", "rtsp://a:p%40ss@cam/1"),
            ("rtsp://a:5%&x%zz@cam/1", "rtsp://a:5%25&x%25zz@cam/1"),
            ("rtsp://a:p/s#s?@cam/1?q=@", "rtsp://a:p%2Fs%23s%3F@cam/1?q=@"),
            ("rtsp://cam/1?mail=a@b", "rtsp://cam/1?mail=a@b"),
            ("rtsp://a:b@cam/1@2", "rtsp://a:b@cam/1@2"),
            ("rtsp://a@cam:554/1", "rtsp://a:@cam:554/1"),
            ("http://a@cam/1", "http://a@cam/1"),
        ] {
            assert_eq!(Address::from(given).mended(), mended);
        }
    }
}
