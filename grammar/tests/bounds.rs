//! Whatever the bytes are, reading ends soon, in little memory, and without a panic.

#![expect(clippy::disallowed_methods, reason = "a test reads its own data, and looks at the clock")]
#![expect(clippy::unwrap_used, reason = "a test ends where its data cannot be read")]

use proptest::prelude::*;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};
use weir_grammar::diagnostic::{Code, Severity};
use weir_grammar::{Limits, Reading, read};

fn read_bytes(bytes: impl Into<Vec<u8>>) -> Reading {
    let mut reading = Reading::default();
    read(&mut reading, "test", bytes.into(), &Limits::default());
    reading
}

fn codes(reading: &Reading) -> Vec<Code> {
    reading.diagnostics.iter().map(|finding| finding.code).collect()
}

/// The valid manifests of the test data.
fn valid() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/accept");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

const HEAD: &str = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p}\nspec:\n  endpointSelector: {}\n";

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        read_bytes(bytes);
    }

    #[test]
    fn any_text_of_yaml_characters(text in "[-a-z0-9 \\n\\t:#\\[\\]{}&*!|>'\"%@,?~.<]{0,200}") {
        read_bytes(text);
    }

    #[test]
    fn mutated_manifests(
        which in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 1..6),
    ) {
        let valid = valid();
        let mut bytes = valid[which.index(valid.len())].clone().into_bytes();
        for (index, byte, kind) in edits {
            if bytes.is_empty() { break; }
            let at = index.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => { bytes.remove(at); }
                2 => bytes.insert(at, byte),
                _ => {
                    let end = (at + usize::from(byte)).min(bytes.len());
                    let piece = bytes[at..end].to_vec();
                    bytes.splice(at..at, piece);
                }
            }
        }
        let reading = read_bytes(bytes);
        for finding in &reading.diagnostics {
            let text = reading.sources.text(finding.span.file);
            prop_assert!(finding.span.end as usize <= text.len().max(finding.span.start as usize + 3), "{finding:?}");
        }
    }
}

#[test]
fn deep_nesting_ends_soon() {
    for (open, close) in [("[", "]"), ("{a: ", "}"), ("- ", ""), ("? ", "")] {
        let text = format!("{HEAD}  ingress: {}{}\n", open.repeat(60_000), close.repeat(60_000));
        let reading = read_bytes(text);
        assert!(reading.objects.is_empty() && !reading.diagnostics.is_empty(), "{open}");
    }
    let text = "- ".repeat(60_000);
    assert!(codes(&read_bytes(text)).contains(&Code::TooDeep));
    let mut text = String::new();
    for depth in 0..2_000 {
        let _ = writeln!(text, "{}a:", " ".repeat(depth));
    }
    assert!(codes(&read_bytes(text)).contains(&Code::TooDeep));
}

#[test]
fn alias_bombs_end_soon() {
    let start = Instant::now();
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..40 {
        let _ = writeln!(text, "a{level}: &a{level} [{}]", vec![format!("*a{}", level - 1); 10].join(", "));
    }
    assert_eq!(codes(&read_bytes(text)), [Code::AliasExpansion]);
    // The same with merge keys.
    let mut text = String::from("a0: &a0 {k: v}\n");
    for level in 1..10_000 {
        let _ = writeln!(text, "a{level}: &a{level} {{<<: *a{}, k{level}: v}}", level - 1);
    }
    assert_eq!(codes(&read_bytes(text)), [Code::AliasExpansion]);
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn many_documents_share_one_bound() {
    let limits = Limits { values: 1_000, diagnostics: 10_000, ..Limits::default() };
    let mut reading = Reading::default();
    read(&mut reading, "test", "a: [b, c]\n---\n".repeat(1_000).into_bytes(), &limits);
    assert_eq!(codes(&reading).iter().filter(|&&code| code == Code::TooLarge).count(), 1);
}

#[test]
fn findings_are_bounded_and_counted() {
    let mut text = format!("{HEAD}  ingress:\n");
    for _ in 0..1_000 {
        text.push_str("  - fromEntities: [nobody]\n  - fromCIDR: [10.1.2.3/8]\n");
    }
    let limits = Limits { diagnostics: 10, ..Limits::default() };
    let mut reading = Reading::default();
    read(&mut reading, "test", text.into_bytes(), &limits);
    let errors = reading.diagnostics.iter().filter(|finding| finding.severity == Severity::Error).count();
    assert_eq!((errors, reading.diagnostics.len()), (11, 22));
    assert!(codes(&reading).ends_with(&[Code::MoreErrors, Code::MoreWarnings]));
}

#[test]
fn bytes_that_are_no_text() {
    assert_eq!(codes(&read_bytes(b"a: \xED\xA0\x80".to_vec())), [Code::NotUtf8]);
    assert_eq!(codes(&read_bytes(b"\xFF\xFEa\0:\0".to_vec())), [Code::NotUtf8]);
    assert_eq!(codes(&read_bytes(b"kind: a\0b".to_vec())), [Code::Syntax]);
    assert_eq!(codes(&read_bytes(b"".to_vec())), []);
    let limits = Limits { file_bytes: 3, ..Limits::default() };
    let mut reading = Reading::default();
    read(&mut reading, "test", b"a: b".to_vec(), &limits);
    assert_eq!(codes(&reading), [Code::TooLarge]);
}

#[test]
fn a_broken_object_is_not_handed_on_and_its_neighbours_are() {
    let good = format!("{HEAD}  ingress: [{{fromEntities: [all]}}]\n");
    let bad = format!("{HEAD}  ingress: [{{fromEntities: [nobody]}}]\n");
    let broken = format!("{HEAD}  ingress: [\n");
    let reading = read_bytes(format!("{good}---\n{bad}---\n{broken}---\n{good}"));
    assert_eq!(reading.objects.len(), 2);
    assert_eq!(codes(&reading), [Code::Entity, Code::Syntax]);
}
