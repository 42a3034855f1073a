//! Inputs that want to crash, stall or fool. Each ends in a finding, in bounded time.

use crate::session::Session;
use std::time::{Duration, Instant};

const HEAD: &str =
    "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: x, namespace: shop}\n";

fn refused(name: &str, bytes: &[u8]) -> String {
    let session = Session::new();
    session.file("x.yaml", bytes).file("cluster.yaml", "");
    session.file("flows.jsonl", "");
    let begun = Instant::now();
    let mut told = String::new();
    for words in [
        "check -f x.yaml",
        "check -f x.yaml --format json",
        "compile -f x.yaml -c cluster.yaml --output image",
        "verdict -f x.yaml -c cluster.yaml --flows flows.jsonl",
        "explain -f x.yaml -c cluster.yaml --from 192.0.2.1 --to 192.0.2.2 --port 1",
    ] {
        let ran = session.run(words);
        assert_eq!(ran.code, 1, "{name}: {words}: {}", ran.err);
        assert!(!ran.err.contains('\u{1b}') && !ran.out.contains('\u{1b}'), "{name}: {words}");
        told = told + &ran.err + &ran.out;
    }
    assert!(!session.path("image").exists(), "{name}");
    assert!(begun.elapsed() < Duration::from_secs(30), "{name} takes too long");
    told
}

#[test]
fn bytes_that_are_no_text() {
    for (name, bytes) in [
        ("not UTF-8", b"a: \xff\xfe".as_slice()),
        ("UTF-16", b"\xff\xfea\0:\0"),
        ("NUL", b"a: \0"),
        ("an escape", b"a: \x1b]0;x\x07"),
    ] {
        refused(name, bytes);
    }
}

#[test]
fn yaml_that_grows() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let last = format!("*a{}", level - 1);
        bomb += &format!("a{level}: &a{level} [{}]\n", [last.as_str(); 10].join(", "));
    }
    assert!(refused("aliases", bomb.as_bytes()).contains("E105"));
    assert!(refused("nesting", format!("{HEAD}spec: {}", "[".repeat(60_000)).as_bytes()).contains("E103"));
    assert!(refused("a merge with itself", b"a: &a {<<: *a}").contains("E10"));
}

#[test]
fn a_flood_of_mistakes_is_counted_not_told() {
    let cidrs = "    - 10.0.0.0/33\n".repeat(10_000);
    let text = format!("{HEAD}spec:\n  endpointSelector: {{}}\n  egress:\n  - toCIDR:\n{cidrs}");
    let told = refused("mistakes", text.as_bytes());
    assert!(told.contains("9800 more errors in this file"), "{}", &told[told.len() - 500..]);
}

#[test]
fn one_line_of_megabytes_is_not_printed() {
    let text = format!(
        "{HEAD}spec: {{endpointSelector: {{}}, egress: [{{toCIDR: [\"{}\"]}}]}}",
        "1".repeat(4 << 20)
    );
    let told = refused("one line", text.as_bytes());
    let longest = told.lines().map(str::len).max().unwrap_or_default();
    assert!(longest < 2000, "a line of {longest} bytes");
}

#[test]
fn names_of_files_are_text_too() {
    let session = Session::new();
    session.file("a\u{1b}[31m:\n::error::,%.yaml", "a: [");
    for format in ["text", "json", "sarif", "junit", "github"] {
        let ran = session.run(&format!("check -f . --format {format}"));
        assert_eq!(ran.code, 1, "{format}");
        assert!(!ran.err.contains('\u{1b}') && !ran.out.contains('\u{1b}'), "{format}");
        assert!(!ran.out.contains("\n::error::,"), "{}", ran.out);
    }
}
