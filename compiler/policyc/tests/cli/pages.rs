//! The pages of codes: every example gives its code, and what is to be written instead gives no finding.

use crate::session::Session;
use serde_json::Value;
use std::fmt::Write as _;
use weir_grammar::diagnostic::Code;

/// Codes whose examples are not run, and why.
const UNCHECKED: &[(Code, &str)] = &[
    (Code::NotUtf8, "a page is UTF-8 itself"),
    (Code::TooLarge, "a gigabyte"),
    (Code::MoreErrors, "more than two hundred errors"),
    (Code::LockFile, "a lock is no manifest; `fqdn/tests.rs` and `compile.rs` here give it"),
    (Code::UnknownNode, "nothing gives it today"),
    (Code::ImageTooLarge, "thousands of rules; `tests/limits.rs` gives it"),
    (Code::TooManyClasses, "thousands of rules; `tests/limits.rs` gives it"),
    (Code::TooManyIdentities, "tens of thousands of pods; `tests/limits.rs` gives it"),
    (Code::MoreWarnings, "more than two hundred warnings"),
    (Code::TooManyBackends, "a hundred thousand endpoints"),
    (Code::MapOverflow, "hundreds of blocks; its own tests give it"),
];

/// A block of a page: what stands behind its fence, and its text.
fn block<'p>(page: &'p str, part: &str) -> Option<(&'p str, &'p str)> {
    let (_, part) = page.split_once(&format!("\n## {part}\n"))?;
    let part = part.split("\n## ").next()?;
    part.split_once("```")?.1.split_once("```")?.0.split_once('\n')
}

/// The codes that `check` finds in a block; with the shop's cluster if the block asks for it. Those of `test` if it is to be tested.
fn found(session: &Session, (info, text): (&str, &str)) -> Vec<String> {
    let mut words = info.split(' ');
    let name = format!("example.{}", words.next().unwrap());
    session.file(&name, text);
    if words.clone().any(|word| word == "tested") {
        let ran = session.run(&format!("test --coverage --format github -c cluster.yaml {name}"));
        assert!(ran.code < 2, "{text}\n{}", ran.err);
        let titles = ran.out.lines().filter_map(|line| line.split_once(",title="));
        return titles.filter_map(|(_, title)| title.get(.."E000".len())).map(str::to_owned).collect();
    }
    let cluster = if words.any(|word| word == "cluster") { " -c cluster.yaml" } else { "" };
    let ran = session.run(&format!("check -o json -f {name}{cluster}"));
    assert!(ran.code < 2, "{text}\n{}", ran.err);
    let findings: Value = serde_json::from_str(&ran.out).unwrap();
    findings.as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_example_gives_its_code_and_what_is_written_instead_none() {
    let session = Session::new();
    let cluster = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/shop/cluster.yaml");
    session.file("cluster.yaml", std::fs::read(cluster).unwrap());
    let mut wrong = String::new();
    for &code in Code::ALL {
        let example = block(code.page(), "Example");
        let is_checked = !example.is_some_and(|(info, _)| info.ends_with(" unchecked"));
        assert_eq!(is_checked, UNCHECKED.iter().all(|&(other, _)| other != code), "{}", code.as_str());
        if !is_checked {
            continue;
        }
        let (example, instead) = (example.unwrap(), block(code.page(), "Instead").unwrap());
        let given = found(&session, example);
        if !given.iter().any(|found| found == code.as_str()) {
            let _ = writeln!(wrong, "the example of {} gives {given:?}", code.as_str());
        }
        // An example of the cluster's objects alone holds no policy.
        let left: Vec<String> =
            found(&session, instead).into_iter().filter(|found| found != Code::EmptyInput.as_str()).collect();
        if !left.is_empty() || code == Code::EmptyInput && instead.1.trim().is_empty() {
            let _ = writeln!(wrong, "what stands instead on {} gives {left:?}", code.as_str());
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// A page without a code would be found by nobody, and a code without a page does not compile.
#[test]
fn every_page_is_a_code_and_is_listed() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/codes");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut pages: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
    pages.sort();
    let mut expected: Vec<String> = Code::ALL.iter().map(|code| format!("{}.md", code.as_str())).collect();
    expected.push("README.md".to_owned());
    expected.sort();
    assert_eq!(pages, expected);
    let listed = std::fs::read_to_string(format!("{folder}/README.md")).unwrap();
    let listed: Vec<&str> = listed.lines().filter(|line| line.starts_with("| [")).collect();
    let row = |code: &Code| format!("| [{0}]({0}.md) | {1} |", code.as_str(), code.title());
    let rows: Vec<String> = Code::ALL.iter().map(row).collect();
    assert_eq!(listed, rows, "{}", rows.join("\n"));
}

#[test]
fn a_code_is_explained_and_findings_say_so() {
    let session = Session::new();
    let ran = session.run("explain e312");
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, Code::Port.page(), ""));
    let ran = session.run("explain E312 --color always");
    assert!(ran.out.starts_with("\u{1b}["), "{}", ran.out);
    let ran = session.run("explain --list");
    assert!(ran.out.contains("\nE312  not a port\n"), "{}", ran.out);
    assert_eq!(ran.out.lines().count(), Code::ALL.len());
    let ran = session.run("explain E999");
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("policyc explain --list"), "{}", ran.err);
    session.file("p.policy", "policy p {\n    for all pods\n    allow ingress on tcp/80800\n}\n");
    let ran = session.run("check -f p.policy");
    assert!(
        ran.err.ends_with("\n\nwhat a code means: policyc explain E312\n1 error in 1 file\n"),
        "{}",
        ran.err
    );
}
