//! Percent escapes of addresses (RFC 3986, 2.1).

/// The bytes that `text` stands for.
///
/// # Errors
/// In words: a `%` without two hexadecimal digits.
pub(super) fn decoded(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            out.push(*first);
            continue;
        }
        let value = tail.get(..2).and_then(|hex| Some(digit(hex[0])? * 16 + digit(hex[1])?));
        let Some(value) = value else {
            let shown: String = String::from_utf8_lossy(tail).chars().take(2).collect();
            return Err(format!("`%{shown}` is no escape; a % itself is written %25"));
        };
        out.push(value);
        rest = &tail[2..];
    }
    Ok(out)
}

/// The value of a hexadecimal digit.
fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// `text` with all that is not allowed in a user part (RFC 3986, 3.2.1) escaped. Escapes stay.
pub(super) fn escaped(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    for (at, byte) in bytes.iter().enumerate() {
        let escape = *byte == b'%'
            && bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
        if escape || byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:".contains(byte) {
            out.push(char::from(*byte));
        } else {
            out += &format!("%{byte:02X}");
        }
    }
    out
}

/// `text` with all escaped that means anything in an address, `%` included.
pub(super) fn escaped_whole(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_read_and_written() {
        assert_eq!(decoded("a%20b%C3%A4%2f").unwrap(), "a b\u{e4}/".as_bytes());
        for bad in ["100%", "%zz", "%1", "a%\u{e4}b"] {
            assert!(decoded(bad).unwrap_err().contains("%25"), "{bad}");
        }
        assert_eq!(escaped("p@s s%41%"), "p%40s%20s%41%25");
        assert_eq!(escaped_whole("p@s%41:\u{e4}"), "p%40s%2541%3A%C3%A4");
    }
}
