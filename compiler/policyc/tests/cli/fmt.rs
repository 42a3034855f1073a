//! `policyc fmt`: files in place, checks, and what it will not touch.

use crate::session::Session;

const UNTIDY: &str = "# who\npolicy p in q {\n  for app = \"web\"; allow ingress from world # all\n}\n";
const TIDY: &str = "# who\npolicy p in q {\n    for app=web\n    allow ingress from world # all\n}\n";

#[test]
fn files_are_laid_out_in_place() {
    let session = Session::new();
    session
        .file("a.policy", UNTIDY)
        .file("sub/b.policy", UNTIDY)
        .file("sub/c.policy", TIDY)
        .file("d.yaml", "a:   b\n");
    let ran = session.run("fmt .");
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{}", ran.err);
    assert_eq!(ran.err, "3 files: 2 laid out anew\n");
    for name in ["a.policy", "sub/b.policy", "sub/c.policy"] {
        assert_eq!(session.read(name), TIDY.as_bytes(), "{name}");
    }
    assert_eq!(session.read("d.yaml"), b"a:   b\n");
    assert_eq!(session.run("fmt . a.policy").err, "3 files: nothing to change\n");
}

#[test]
fn a_check_writes_nothing() {
    let session = Session::new();
    session.file("a.policy", UNTIDY).file("b.policy", TIDY);
    let ran = session.run("fmt --check .");
    assert_eq!((ran.code, ran.out.as_str()), (1, "./a.policy\n"));
    assert_eq!(ran.err, "2 files: 1 would change\n");
    let ran = session.run("fmt --diff a.policy");
    assert_eq!(ran.code, 1);
    assert_eq!(
        ran.out,
        "--- a.policy\n+++ a.policy\n@@ -1,4 +1,5 @@\n # who\n policy p in q {\n\
         -  for app = \"web\"; allow ingress from world # all\n\
         +    for app=web\n+    allow ingress from world # all\n }\n"
    );
    assert_eq!(session.read("a.policy"), UNTIDY.as_bytes());
    let ran = session.run("fmt --check --diff b.policy");
    assert_eq!((ran.code, ran.out.as_str()), (0, ""));
}

#[test]
fn stdin_is_laid_out_on_stdout() {
    let session = Session::new();
    let ran = session.run_with(&["fmt", "-"], UNTIDY);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, TIDY, ""));
    let ran = session.run_with(&["fmt", "--check", "-"], UNTIDY);
    assert_eq!((ran.code, ran.out.as_str()), (1, "<stdin>\n"));
}

#[test]
fn what_is_not_well_formed_is_told_and_left_alone() {
    let session = Session::new();
    let broken = "policy p {\n  for  all pods\n  alow ingress\n}\n";
    session.file("broken.policy", broken).file("other.policy", UNTIDY);
    let ran = session.run("fmt .");
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("error[E111]") && ran.err.contains("broken.policy:3:3"), "{}", ran.err);
    assert!(ran.err.ends_with("2 files: 1 laid out anew, 1 not well-formed and left alone\n"), "{}", ran.err);
    assert_eq!(session.read("broken.policy"), broken.as_bytes());
    assert_eq!(session.read("other.policy"), TIDY.as_bytes());
}

#[test]
fn what_is_no_policy_file_is_refused() {
    let session = Session::shop();
    for (words, told) in [
        ("fmt policy.yaml", "policy.yaml is not a .policy file"),
        ("fmt none.policy", "cannot read none.policy"),
        ("fmt - -", "`-` is given 2 times"),
    ] {
        let ran = session.run(words);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{words}");
        assert!(ran.err.contains(told), "{}", ran.err);
    }
}

/// A link in a folder is another's file; one that is named is followed, and stays a link.
#[cfg(unix)]
#[test]
fn links_stay_links() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let session = Session::new();
    session.file("outside/a.policy", UNTIDY).file("inside/b.policy", TIDY);
    symlink("../outside/a.policy", session.path("inside/a.policy")).unwrap();
    symlink("../outside", session.path("inside/folder")).unwrap();
    assert_eq!(session.run("fmt inside").err, "1 file: nothing to change\n");
    assert_eq!(session.read("outside/a.policy"), UNTIDY.as_bytes());
    let real = session.path("outside/a.policy");
    std::fs::set_permissions(&real, PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(session.run("fmt inside/a.policy").err, "1 file: 1 laid out anew\n");
    assert!(session.path("inside/a.policy").is_symlink());
    assert_eq!(session.read("outside/a.policy"), TIDY.as_bytes());
    assert_eq!(std::fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o600);
}
