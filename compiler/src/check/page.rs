//! The guide's page is made of the heads of the checks; this says when it is stale, and then prints it:
//!
//! ```text
//! cargo test -q -p weir-compiler check::page 2>&1 |
//!     sed -n '/^# Surprises/,/^end of the page/p' | sed '$d' > docs/guide/surprises.md
//! ```

use weir_grammar::diagnostic::{Code, Severity};

const PAGE: &str = include_str!("../../../docs/guide/surprises.md");

const CHECKS: [(Code, &str); 9] = [
    (Code::SelectsNothing, include_str!("selects_nothing.rs")),
    (Code::NeverMatches, include_str!("never_matches.rs")),
    (Code::CidrCoversPods, include_str!("cidr_covers_pods.rs")),
    (Code::Shadowed, include_str!("shadowed.rs")),
    (Code::FqdnWithoutDns, include_str!("fqdn_without_dns.rs")),
    (Code::CiliumDiffers, include_str!("cilium_differs.rs")),
    (Code::NoDefaultDeny, include_str!("no_default_deny.rs")),
    (Code::UnknownSecret, include_str!("unknown_secret.rs")),
    (Code::MapOverflow, include_str!("map_overflow.rs")),
];

const OPENING: &str = "\
# Surprises: what `policyc check` warns of

A warning is about a manifest that is legal and probably not what was meant. Warnings do not keep policies from being
compiled; `policyc check --fail-on warning` makes them fail a build.

Those told here at length need the cluster (`-c`) or several policies. What a check asks of the cluster it asks only if
the cluster has such objects: without pods no selector is called empty. Where a check cannot be sure it says nothing.

This page is made from the heads of the files in `compiler/src/check`; edit it there.
";

const OTHERS: &str = "
## The other warnings

One object shows these by itself, so they need no cluster; the message says what to write instead.

| code | warns that |
|---|---|
";

fn page() -> String {
    let mut page = OPENING.to_owned();
    for (code, file) in CHECKS {
        let head = file
            .lines()
            .map_while(|line| line.strip_prefix("//!"))
            .map(|line| line.strip_prefix(' ').unwrap_or(line));
        assert_eq!(head.clone().next(), Some(format!("# {}: {}", code.as_str(), code.title()).as_str()));
        page.push('\n');
        for line in head {
            page.push_str(if line.starts_with('#') { "#" } else { "" });
            page.push_str(line);
            page.push('\n');
        }
    }
    page.push_str(OTHERS);
    let told = |code: &Code| CHECKS.iter().any(|(check, _)| check == code);
    for code in Code::ALL.iter().filter(|code| code.severity() == Severity::Warning && !told(code)) {
        page.push_str(&format!("| {} | {} |\n", code.as_str(), code.title()));
    }
    page
}

#[test]
fn the_page_is_made_of_the_heads() {
    let page = page();
    assert!(page == PAGE, "docs/guide/surprises.md is stale; it should be\n{page}end of the page");
}

/// The examples of the page are warned of as they say; what overflows a map is too long for a page.
#[test]
fn the_examples_surprise() {
    for (code, file) in CHECKS.into_iter().filter(|(code, _)| *code != Code::MapOverflow) {
        let head: Vec<&str> = file.lines().map_while(|line| line.strip_prefix("//!")).collect();
        let text =
            head.iter().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n");
        let example = text.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let lines = super::case::found(example, super::case::CLUSTER);
        assert!(lines.iter().any(|line| line.starts_with(code.as_str())), "{} {lines:?}", code.as_str());
    }
}
