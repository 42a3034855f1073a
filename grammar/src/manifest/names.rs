//! The forms of names in Kubernetes: objects, labels, ports.

/// Why a name is not one, as the end of the sentence "… is not valid: it".
pub(crate) type Fault = &'static str;

/// A DNS-1123 subdomain: names of most objects.
pub(crate) fn subdomain(name: &str) -> Result<(), Fault> {
    if name.is_empty() {
        return Err("is empty");
    }
    if name.len() > 253 {
        return Err("has more than 253 characters");
    }
    name.split('.').try_for_each(|part| dns_characters(part))
}

/// A DNS-1123 label: names of namespaces.
pub(crate) fn dns_label(name: &str) -> Result<(), Fault> {
    if name.is_empty() {
        return Err("is empty");
    }
    if name.len() > 63 {
        return Err("has more than 63 characters");
    }
    if name.contains('.') {
        return Err("contains a dot");
    }
    dns_characters(name)
}

fn dns_characters(part: &str) -> Result<(), Fault> {
    let edge = |byte: Option<u8>| matches!(byte, Some(b'a'..=b'z' | b'0'..=b'9'));
    let bytes = part.as_bytes();
    if bytes.iter().any(|byte| !matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')) {
        return Err("may hold only lower-case letters, digits, `-` and `.`");
    }
    if !edge(bytes.first().copied()) || !edge(bytes.last().copied()) {
        return Err("must begin and end each part with a letter or digit");
    }
    Ok(())
}

/// A qualified name: the key of a label, with an optional prefix.
pub(crate) fn label_key(key: &str) -> Result<(), Fault> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if let Some(prefix) = prefix {
        if prefix.is_empty() {
            return Err("has an empty prefix before `/`");
        }
        subdomain(prefix).map_err(|_| "has a prefix that is no DNS subdomain")?;
    }
    if name.is_empty() {
        return Err("has an empty name");
    }
    if name.contains('/') {
        return Err("has more than one `/`");
    }
    if name.len() > 63 {
        return Err("has a name of more than 63 characters");
    }
    label_characters(name)
}

/// The value of a label.
pub(crate) fn label_value(value: &str) -> Result<(), Fault> {
    if value.len() > 63 {
        return Err("has more than 63 characters");
    }
    if value.is_empty() { Ok(()) } else { label_characters(value) }
}

fn label_characters(text: &str) -> Result<(), Fault> {
    let bytes = text.as_bytes();
    if bytes.iter().any(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))) {
        return Err("may hold only letters, digits, `-`, `_` and `.`");
    }
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    if !edge(bytes.first()) || !edge(bytes.last()) {
        return Err("must begin and end with a letter or digit");
    }
    Ok(())
}

/// An IANA service name, as Kubernetes and Cilium take it for the name of a port. The case of its
/// letters is the caller's matter.
pub(crate) fn port_name(name: &str) -> Result<(), Fault> {
    let bytes = name.as_bytes();
    if bytes.is_empty() {
        return Err("is empty");
    }
    if bytes.len() > 15 {
        return Err("has more than 15 characters");
    }
    if bytes.iter().any(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'-')) {
        return Err("may hold only letters, digits and `-`");
    }
    if !bytes.iter().any(u8::is_ascii_alphabetic) {
        return Err("must hold a letter");
    }
    if name.contains("--") {
        return Err("may not hold `--`");
    }
    if bytes.first() == Some(&b'-') || bytes.last() == Some(&b'-') {
        return Err("must begin and end with a letter or digit");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_labels() {
        for good in [
            "app",
            "app.kubernetes.io/name",
            "A_b-c.d",
            "io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name",
        ] {
            assert_eq!(label_key(good), Ok(()), "{good}");
        }
        for bad in ["", "/a", "a/", "a/b/c", "-a", "a b", "A.B/name", &"k".repeat(64)] {
            assert!(label_key(bad).is_err(), "{bad}");
        }
        assert_eq!(label_key(&"k".repeat(63)), Ok(()));
    }

    #[test]
    fn names_of_ports() {
        for good in ["http", "a", "0x10", "dns-tcp", "HTTP"] {
            assert_eq!(port_name(good), Ok(()), "{good}");
        }
        for bad in ["", "80", "a--b", "-a", "a-", "sixteen-letters-x", "a_b"] {
            assert!(port_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_of_objects() {
        assert_eq!(subdomain("a.b-c.1"), Ok(()));
        for bad in ["", "A", "a..b", ".a", "a_b", "-a"] {
            assert!(subdomain(bad).is_err(), "{bad}");
        }
        assert!(dns_label("a.b").is_err());
    }
}
