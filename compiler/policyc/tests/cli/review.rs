//! The GitHub action's script on the repository of `examples/ci`: what it marks, and how it ends.

use crate::session::{Ran, Session};
use std::path::Path;
use std::process::Command;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn git(session: &Session, arguments: &[&str]) -> String {
    let identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"];
    let mut command = Command::new("git");
    let output = command.args(identity).args(arguments).current_dir(session.path("")).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The example as a repository with one commit; its name.
fn repository() -> (Session, String) {
    let session = Session::new();
    copy(&Path::new(ROOT).join("examples/ci"), &session.path(""));
    git(&session, &["init", "--quiet"]);
    git(&session, &["add", "--all"]);
    git(&session, &["commit", "--quiet", "--message", "base"]);
    let base = git(&session, &["rev-parse", "HEAD"]);
    (session, base)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (entry, to) = (entry.unwrap().path(), to);
        let target = to.join(entry.file_name().unwrap());
        if entry.is_dir() {
            copy(&entry, &target);
        } else {
            std::fs::copy(&entry, target).unwrap();
        }
    }
}

/// Runs the script as the action does, with some of its inputs given otherwise.
fn review(session: &Session, base: &str, inputs: &[(&str, &str)]) -> Ran {
    let program = Path::new(env!("CARGO_BIN_EXE_policyc"));
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("bash");
    command
        .arg(format!("{ROOT}/deploy/github-action/review.sh"))
        .current_dir(session.path(""))
        .env("PATH", path);
    let usual = [("POLICIES", "policies"), ("CLUSTER", "cluster.yaml"), ("BASE", base), ("FAIL_ON", "error")];
    command.envs(usual).env("ALLOW_OPENING", "false").envs(inputs.iter().copied());
    let output = command.env("GITHUB_STEP_SUMMARY", session.path("summary")).output().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn marks(ran: &Ran) -> Vec<&str> {
    ran.out.lines().filter(|line| line.starts_with("::") && !line.contains("group::")).collect()
}

#[test]
fn a_port_opened_by_mistake_is_marked_at_its_line() {
    let (session, base) = repository();
    let ran = review(&session, &base, &[]);
    assert_eq!((ran.code, marks(&ran).len()), (0, 0), "{ran:?}");
    git(&session, &["apply", "opens-a-port.patch"]);
    let ran = review(&session, &base, &[]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let [mark] = marks(&ran)[..] else { panic!("{ran:?}") };
    let told = "::error file=policies/orders.policy,line=3,title=opened by this change::\
                shop/frontend -> shop/orders  every port but 8080/tcp  ingress%0A";
    assert!(mark.starts_with(told), "{mark}");
    let summary = String::from_utf8(session.read("summary")).unwrap();
    assert!(summary.contains("\n1 difference: 1 opened, 0 closed, 0 with other requests\n"), "{summary}");
    // Whoever says that access is to be opened may open it.
    let ran = review(&session, &base, &[("ALLOW_OPENING", "true")]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(marks(&ran)[0].starts_with("::warning file=policies/orders.policy,line=3,"), "{ran:?}");
}

#[test]
fn an_expectation_that_breaks_and_a_mistake_are_marked() {
    let (session, base) = repository();
    let policy = String::from_utf8(session.read("policies/database.policy")).unwrap();
    session.file("policies/database.policy", policy.replace("app=orders", "app=orders or app=frontend"));
    let ran = review(&session, &base, &[("ALLOW_OPENING", "true")]);
    assert_eq!(ran.code, 1, "{ran:?}");
    // The expectation, and the rule that decides against it; then what opens.
    for place in ["file=policies/database.policy,line=8,", "file=policies/database.policy,line=3,"] {
        assert!(marks(&ran).iter().any(|mark| mark.starts_with(&format!("::error {place}"))), "{ran:?}");
    }
    session.file("policies/database.policy", policy.replacen("tcp/5432", "tcp/54320000", 1));
    let ran = review(&session, &base, &[]);
    assert_eq!((ran.code, marks(&ran).len()), (1, 1), "{ran:?}");
    assert!(marks(&ran)[0].starts_with("::error file=policies/database.policy,line=3,"), "{ran:?}");
    // What cannot be done is not taken for fine.
    let ran = review(&session, "0123456789012345678901234567890123456789", &[]);
    assert_eq!(ran.code, 1, "what has mistakes is not compared: {ran:?}");
    session.file("policies/database.policy", policy);
    assert_eq!(review(&session, "0123456789012345678901234567890123456789", &[]).code, 2);
    assert_eq!(review(&session, &base, &[("CLUSTER", "none.yaml")]).code, 2);
}

/// Paths are written in many ways, and a folder may be new.
#[test]
fn paths_are_those_of_the_pull_request_and_may_be_new() {
    let (session, base) = repository();
    git(&session, &["apply", "opens-a-port.patch"]);
    for policies in ["./policies/", "policies/../policies", "examples/../policies//"] {
        let ran = review(&session, &base, &[("POLICIES", policies)]);
        let [mark] = marks(&ran)[..] else { panic!("{policies} {ran:?}") };
        assert!(mark.starts_with("::error file=policies/orders.policy,line=3,"), "{mark}");
    }
    // The whole repository, its policies at the top.
    let (flat, _) = repository();
    std::fs::remove_dir_all(flat.path(".github")).unwrap();
    std::fs::rename(flat.path("policies/orders.policy"), flat.path("orders.policy")).unwrap();
    git(&flat, &["add", "--all"]);
    git(&flat, &["commit", "--quiet", "--message", "flat"]);
    let flat_base = git(&flat, &["rev-parse", "HEAD"]);
    assert_eq!(review(&flat, &flat_base, &[("POLICIES", ".")]).code, 0);
    let orders = String::from_utf8(flat.read("orders.policy")).unwrap();
    flat.file("orders.policy", orders.replace(" on tcp/8080", ""));
    let ran = review(&flat, &flat_base, &[("POLICIES", "./")]);
    assert!(marks(&ran)[0].starts_with("::error file=orders.policy,line=3,"), "{ran:?}");
    // What is new closes; the rest is compared.
    session.file(
        "more/a:b.policy",
        "policy p in shop { for app=frontend; allow ingress from world on tcp/443 }\n",
    );
    let ran = review(&session, &base, &[("POLICIES", "policies more")]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        marks(&ran).iter().any(|mark| mark.starts_with("::notice file=more/a%3Ab.policy,line=1,")),
        "{ran:?}"
    );
    let ran = review(&session, &base, &[("POLICIES", "more")]);
    assert_eq!(ran.code, 0, "{ran:?}");
}

/// What the action and the guide say is what there is.
#[test]
fn the_workflow_of_the_guide_is_that_of_the_example() {
    let read = |path: &str| std::fs::read_to_string(Path::new(ROOT).join(path)).unwrap();
    let (guide, workflow) =
        (read("docs/guide/ci.md"), read("examples/ci/.github/workflows/network-policy.yaml"));
    assert!(guide.contains(&workflow), "the guide's workflow is another");
    assert!(read("README.md").contains(&workflow), "the README's workflow is another");
    let action = read("action.yml");
    for input in ["policies", "cluster", "base", "fail-on", "allow-opening"] {
        assert!(
            action.contains(&format!("\n  {input}:\n")) && action.contains(&format!("inputs.{input} ")),
            "{input}"
        );
    }
}
