//! What a scalar is: text, number, truth value or nothing.
//!
//! The reading is that of the YAML library between kubectl and the API server, which is YAML 1.1
//! where the versions differ: `yes` and `on` are true, `010` is eight, `1_000` is a thousand.
//! Whoever writes `app: on` gets a type error from the API server, and gets it here.

use super::tree::Tag;

/// A scalar, read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Resolved<'d> {
    /// `~`, `null`, or nothing at all.
    Null,
    /// A truth value.
    Bool(bool),
    /// An integer; those beyond 64 bits are [`Resolved::Float`].
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Everything else.
    Text(&'d str),
}

/// Reads a scalar.
pub(crate) fn resolve(text: &str, tag: Tag) -> Resolved<'_> {
    if tag == Tag::Text {
        return Resolved::Text(text);
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Resolved::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Resolved::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Resolved::Bool(false);
        }
        _ => {}
    }
    // Only these can begin a number, so most text is decided by its first byte.
    if !matches!(text.as_bytes().first(), Some(b'0'..=b'9' | b'+' | b'-' | b'.')) {
        return Resolved::Text(text);
    }
    number(text).unwrap_or(Resolved::Text(text))
}

fn number(text: &str) -> Option<Resolved<'_>> {
    let plain: std::borrow::Cow<'_, str> =
        if text.contains('_') { text.replace('_', "").into() } else { text.into() };
    if let Some(value) = integer(&plain) {
        return Some(Resolved::Int(value));
    }
    match plain.as_ref() {
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Some(Resolved::Float(f64::INFINITY));
        }
        "-.inf" | "-.Inf" | "-.INF" => return Some(Resolved::Float(f64::NEG_INFINITY)),
        ".nan" | ".NaN" | ".NAN" => return Some(Resolved::Float(f64::NAN)),
        _ => {}
    }
    is_float(plain.as_bytes()).then(|| plain.parse().ok().map(Resolved::Float)).flatten()
}

/// Go's base-0 integers: sign, then `0x`, `0o`, `0b`, a leading `0` for octal, or decimal.
fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.as_bytes().first()?.is_ascii_hexdigit() {
        return None;
    }
    let value = i128::from(u64::from_str_radix(digits, radix).ok()?);
    i64::try_from(if negative { -value } else { value }).ok()
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &[u8]) -> bool {
    let digits = |from: usize| text[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut at = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let whole = digits(at);
    at += whole;
    let mut fraction = 0;
    if text.get(at) == Some(&b'.') {
        fraction = digits(at + 1);
        at += 1 + fraction;
    }
    if whole == 0 && fraction == 0 {
        return false;
    }
    if matches!(text.get(at), Some(b'e' | b'E')) {
        at += 1;
        at += usize::from(matches!(text.get(at), Some(b'-' | b'+')));
        let exponent = digits(at.min(text.len()));
        if exponent == 0 {
            return false;
        }
        at += exponent;
    }
    at == text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Resolved<'_> {
        resolve(text, Tag::None)
    }

    #[test]
    fn numbers_are_those_of_the_api_server() {
        assert_eq!(plain("8080"), Resolved::Int(8080));
        assert_eq!(plain("010"), Resolved::Int(8));
        assert_eq!(plain("0x1F"), Resolved::Int(31));
        assert_eq!(plain("1_000"), Resolved::Int(1000));
        assert_eq!(plain("-3"), Resolved::Int(-3));
        assert_eq!(plain("1.5"), Resolved::Float(1.5));
        assert_eq!(plain("1e3"), Resolved::Float(1000.0));
        assert_eq!(plain("80."), Resolved::Float(80.0));
        assert_eq!(plain("08"), Resolved::Float(8.0));
    }

    #[test]
    fn addresses_and_words_are_text() {
        for text in [
            "10.0.0.0/8",
            "1.2.3.4",
            "::1",
            "2001:db8::/32",
            "-",
            "+",
            ".",
            "0x",
            "1e",
            "2024-01-01",
            "http",
            "--1",
        ] {
            assert_eq!(plain(text), Resolved::Text(text), "{text}");
        }
    }

    #[test]
    fn words_of_yaml_1_1() {
        assert_eq!(plain("on"), Resolved::Bool(true));
        assert_eq!(plain("No"), Resolved::Bool(false));
        assert_eq!(plain("~"), Resolved::Null);
        assert_eq!(resolve("on", Tag::Text), Resolved::Text("on"));
    }
}
