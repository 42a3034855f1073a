//! Patterns against the table of cnp-semantics and its expressions; lock files, good and bad.

use super::*;
use proptest::prelude::*;
use regex_automata::meta::Regex;

fn pattern(text: &str) -> FqdnPattern {
    FqdnPattern::from_text(text, true)
}

/// The regular expressions that cnp-semantics §7 gives for patterns.
fn expression(pattern: &str) -> String {
    const LABEL: &str = "[-a-zA-Z0-9_]";
    let mut text = pattern.to_ascii_lowercase();
    let stars = text.bytes().take_while(|&byte| byte == b'*').count();
    if stars > 0 && (text.len() == stars || stars > 1 && &text[stars..] == ".") {
        return format!(r"\A(?:(?:{LABEL}+[.])+|[.])\z");
    }
    if !text.ends_with('.') {
        text.push('.');
    }
    let mut regex = String::from(r"\A(?:");
    if stars > 1 && text[stars..].starts_with('.') {
        regex += &format!("(?:{LABEL}+(?:[.]{LABEL}+){{0,}})[.]");
        text.drain(..=stars);
    }
    for character in text.chars() {
        match character {
            '*' => regex += &format!("{LABEL}*"),
            '.' => regex += "[.]",
            other => regex.push(other),
        }
    }
    regex + r")\z"
}

#[test]
fn the_table_of_patterns() {
    for (text, yes, no) in [
        ("*", &["a", "a.b", "."][..], &["a..b", "a b"][..]),
        ("**.", &["a.b.c.", ".", ""], &[".."]),
        (".", &["."], &["a"]),
        ("*.x.test", &["a.x.test", "A.X.test."], &["x.test", "b.a.x.test"]),
        ("*x.test", &["x.test", "subx.test"], &["a.x.test"]),
        ("sub*.x.test", &["sub.x.test", "sub1.x.test"], &["asub.x.test"]),
        ("**.x.test", &["a.x.test", "b.a.x.test"], &["x.test", ".x.test"]),
        ("a.**.b", &["a.z.b", "a..b"], &["a.y.z.b", "a.b"]),
    ] {
        for name in yes {
            assert!(pattern(text).matches(name), "{text} should match {name}");
        }
        for name in no {
            assert!(!pattern(text).matches(name), "{text} should not match {name}");
        }
    }
}

#[test]
fn names_are_literal() {
    let name = FqdnPattern::from_text("Api.Example.com", false);
    assert!(name.matches("api.example.com."));
    assert!(!name.matches("api.example.com.."));
    assert!(!name.matches("apixexample.com"));
    assert!(!FqdnPattern::from_text("*", false).matches("a"));
}

proptest! {
    #[test]
    fn patterns_are_their_expressions(text in "[a*.]{1,7}", name in "[aAb.]{0,8}") {
        let regex = Regex::new(&expression(&text)).unwrap();
        let mut full = name.to_ascii_lowercase();
        if !full.ends_with('.') {
            full.push('.');
        }
        prop_assert_eq!(pattern(&text).matches(&name), regex.is_match(&full), "{} on {}", text, name);
    }
}

fn lock(text: &str) -> Result<FqdnLock, Box<Diagnostic>> {
    FqdnLock::parse(FileId(0), text)
}

#[test]
fn a_lock_file_is_looked_up_both_ways() {
    let lock = lock(
        r#"{"version":1,"names":{"b.test.":["192.0.2.1"],"A.test":["2001:db8::1","192.0.2.1","192.0.2.1"]}}"#,
    )
    .unwrap();
    let shared: IpAddr = "192.0.2.1".parse().unwrap();
    assert_eq!(lock.names(shared), ["a.test", "b.test"]);
    assert_eq!(lock.addresses("A.test.").len(), 2);
    assert!(lock.addresses("c.test").is_empty());
}

#[test]
fn a_bad_lock_file_is_one_finding_in_its_place() {
    for (text, line, part) in [
        ("{\"version\":2,\n\"names\":{}}", 1, "version 2"),
        ("{\"version\":1,\n\"names\":{\"a.test\":[\"1.2.3\"]}}", 2, "invalid IP address"),
        ("{\"version\":1,\n\"names\":{\"a..test\":[]}}", 2, "not a DNS name"),
        ("{\"version\":1,\"names\":{\"a.test\":[],\n\"A.test.\":[]}}", 2, "given twice"),
        ("{\"version\":1,\"names\":{},\"more\":1}", 1, "unknown field"),
        ("{\"version\":1}", 1, "missing field"),
        ("", 1, "EOF"),
    ] {
        let finding = lock(text).unwrap_err();
        assert_eq!(finding.code, Code::LockFile);
        assert!(finding.message.contains(part), "{}", finding.message);
        let before = &text[..finding.span.start as usize];
        assert_eq!(before.matches('\n').count() + 1, line, "{text}");
    }
}
