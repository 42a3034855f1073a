//! The policy language means what its page says: every form of `docs/guide/language.md` reads to the very
//! objects that the YAML beside it does; and mistakes are told one by one, each in its place.

#![expect(clippy::disallowed_methods, reason = "a test reads its own data")]
#![expect(clippy::unwrap_used, reason = "a test ends where its data cannot be read")]

use proptest::prelude::*;
use std::path::Path;
use std::time::{Duration, Instant};
use weir_grammar::diagnostic::Severity;
use weir_grammar::source::LineIndex;
use weir_grammar::tree::placeless;
use weir_grammar::{Included, Limits, Reading, includes, read, read_including};

/// What every file holds that is included.
const NETWORKS: &str = "set office = { 192.0.2.0/24 }\n";

fn reading(name: &str, text: &str) -> Reading {
    let (mut reading, mut included) = (Reading::default(), Included::default());
    for path in includes(name, text.as_bytes()) {
        let file = reading.sources.next_id();
        read(&mut reading, &path, NETWORKS.as_bytes().to_vec(), &Limits::default());
        included.file(path, file);
    }
    read_including(&mut reading, name, text.as_bytes().to_vec(), &Limits::default(), &included);
    reading
}

/// The findings, as `CODE line:column message`.
fn found(reading: &Reading) -> Vec<String> {
    let findings = reading.diagnostics.iter().map(|finding| {
        let at = LineIndex::new(reading.sources.text(finding.span.file)).locate(finding.span.start);
        format!("{} {}:{} {}", finding.code.as_str(), at.line, at.column, finding.message)
    });
    findings.collect()
}

fn objects(name: &str, text: &str) -> Vec<String> {
    let reading = reading(name, text);
    let errors: Vec<_> = reading.diagnostics.iter().filter(|f| f.severity == Severity::Error).collect();
    assert!(errors.is_empty(), "{text}\n{:#?}", found(&reading));
    reading.objects.iter().map(placeless).collect()
}

/// The page's blocks of one kind.
fn blocks(page: &str, kind: &str) -> Vec<String> {
    let fence = format!("```{kind}\n");
    page.split(fence.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn every_form_reads_as_its_yaml() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide/language.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (policies, manifests) = (blocks(&page, "policy"), blocks(&page, "yaml"));
    assert_eq!(policies.len(), manifests.len());
    assert!(policies.len() > 10);
    for (policy, manifest) in policies.iter().zip(&manifests) {
        assert_eq!(objects("page.policy", policy), objects("page.yaml", manifest), "{policy}");
    }
}

/// A text and what is found in it.
const MISTAKES: &[(&str, &[&str])] = &[
    (
        // Several mistakes of several kinds, each told once; what is right between them goes on.
        "policy web in shop {
    for app=web
    allow ingres from app=a
    allow ingress from app=a on tcp/80800
    alow egress to world
    deny egress to 10.0.0.0/33
    allow egress to wrold
}
",
        &[
            "E110 3:11 `ingres` does not belong here",
            "E312 4:37 `80800` is not a port",
            "E111 5:5 a statement of a policy does not begin with `alow`",
            "E308 6:20 `10.0.0.0/33` is not a CIDR",
            "E112 7:21 there is no set and no entity `wrold`",
        ],
    ),
    (
        // A bracket that is never closed ends where a statement begins.
        "policy a in b {
    for app=web
    allow ingress from app=x on tcp/80 http { GET \"/\"
    deny egress to 10.0.0.0/33
}
policy c in d {
    for app=web
    allow ingress frm app=x

policy e in f { for x=y; allow ingress from all }
polcy g in h {
    for app=web
    alow ingress
}
}
",
        &[
            "E110 3:54 the statement ends too early",
            "E308 4:20 `10.0.0.0/33` is not a CIDR",
            "E110 8:19 `frm` does not belong here",
            "E110 10:1 a `}` is missing before this",
            "E111 11:1 an item of a file does not begin with `polcy`",
            "E111 13:5 a statement of a policy does not begin with `alow`",
            "E110 15:1 `}` closes nothing",
        ],
    ),
    (
        // What is missing or twice is told by the decoders, at the words that stand for it.
        "policy a in b { }
policy c {
    for x=y
    for x=z
    allow ingress from app=a, world
}
cluster policy d in e { for all pods; allow ingress on 443 }
policy p in q \"why\" { spec { for all pods; allow ingress from world } }
network policy f in g { for all pods; deny ingress; allow ingress from world on tcp/80 http { } }
",
        &[
            "E301 1:1 the policy has no `for`",
            "E302 1:1 the policy has no rules at all",
            "E107 4:9 `for` is given twice",
            "E307 5:31 one rule cannot have both `pods` and `entities`",
            "E211 7:21 a cluster-wide object is in no namespace, but this one names `e`",
            "E314 7:56 a port stands behind its protocol",
            "E113 8:15 a description has no place in a policy of `spec` blocks alone",
            "E204 9:39 a network policy has no `deny ingress`",
            "E113 9:72 an entity has no place in a network policy",
            "E113 9:88 `http` has no place in a network policy",
        ],
    ),
    (
        // A set's values are checked where they are written, once, used or not.
        "set a = { 10.0.0.0/33, b }
set a = { 10.0.0.0/8 }
set world = { 10.0.0.0/8 }
set c = { 10.0.0.1/8 }
group g { c, c }
policy p in q { for all pods; allow ingress from c; allow ingress from c, c }
",
        &[
            "E308 1:11 `10.0.0.0/33` is not a CIDR",
            "E112 1:24 there is no set `b`",
            "E112 2:5 the set `a` is defined twice",
            "E112 3:5 `world` is an entity and cannot name a set",
            "W610 4:11 `10.0.0.1/8` has bits set beyond its prefix length",
        ],
    ),
    (
        // What would be read in two ways is no form at all.
        "policy p in q {
    for all pods
    allow ingress from 10.0.0.0/8 except 10.1.0.0/16, 10.2.0.0/16
    allow ingress from 10.0.0.0/8 except 10.1.0.0/16 or 10.2.0.0/16
    allow ingress from app=b in other, tier=x
    allow ingress from all pods, tier=x or tier=y, all pods in a
    allow egress to world on tcp/80 http { GET \"/\" POST \"/\" }
    allow egress to world tcp/80
    log two words
}
",
        &[
            "E110 3:42 `10.1.0.0/16` does not belong here",
            "E110 4:54 `or` does not belong here",
            "E110 5:38 a comma before labels that narrow nothing",
            "E110 6:32 a comma before labels that narrow nothing",
            "E110 7:52 `POST` does not belong here",
            "E110 8:27 `tcp/80` does not belong here",
            "E110 9:13 `words` does not belong here",
        ],
    ),
    (
        // A rule says whom it means; isolation that is said surprises nobody.
        "policy p in q {
    for all pods
    allow ingress
    deny egress
    allow ingress from nobody on tcp/80
}
network policy r in q { for all pods; allow ingress from nobody }
policy s in q { for all pods; allow ingress from nobody; allow egress to nobody; isolate egress }
policy t in q { for all pods; isolate ingress; isolate egress no }
policy u in q { for all pods; isolate ingress no }
",
        &[
            "E110 3:5 the rule names neither peers nor ports",
            "E110 4:5 the rule names neither peers nor ports",
            "E113 5:24 `nobody` has no place in a rule that says more",
            "E113 7:58 `nobody` has no place in a network policy",
            "W603 8:31 an empty rule in `ingress` matches nothing, and isolates ingress",
            "E302 10:1 the policy has no rules at all",
        ],
    ),
    (
        "policy p in q {
    for app=\"x
    log \"\\d\"
    allow ingress from app=\"\\u{d800}\"
}
\u{fffd}
",
        &[
            "E110 2:13 a string is opened and not closed on its line, or has an escape that there is not",
            "E110 3:9 a string is opened and not closed on its line, or has an escape that there is not",
            "E304 4:28 the label value `\u{fffd}` is not valid: it may hold only letters, digits, `-`, `_` and `.`",
            "E111 6:1 an item of a file does not begin with `\u{fffd}`",
        ],
    ),
    (
        // An expectation's mistakes are told as a policy's are, and those of what is around it.
        "shop/web -> shop/db tcp/1 allow
expect Shop \"x\" y {
    world -> shop/web tcp/80 allow
}
expect {
    shop/web shop/db tcp/80 allow
    shop/web -> shop/db tcp/80
    shop/web -> shop/db 80 allow
    shop/web -> nobody tcp/80 deny
    app=a in shop, tier=x -> shop/db deny
    shop/Web -> 10.0.0.0/33 tcp/80800 GET deny
    fqdn \"*.x\" -> fqdn a.example allow by both
    shop/web -> shop/db tcp/80 get /x allow
    allow ingress from world
    world -> shop/web tcp/80 deny
policy p in q { for all pods; allow ingress from world }
expect
",
        &[
            "E113 1:1 an expectation stands outside of `expect`",
            "E110 2:17 `y` does not belong here",
            "E110 6:14 `shop/db` does not belong here",
            "E110 7:31 the statement ends too early",
            "E314 8:25 a port stands behind its protocol",
            "E112 9:17 there is no set and no entity `nobody`",
            "E110 10:18 a comma before labels that narrow nothing",
            "E207 11:5 the name `Web` is not valid: it may hold only lower-case letters, digits, `-` and `.`",
            "E308 11:17 `10.0.0.0/33` is not a CIDR",
            "E312 11:33 `80800` is not a port",
            "E110 12:43 `both` does not belong here",
            "E110 13:32 `get` does not belong here",
            "E110 14:11 `ingress` does not belong here",
            "E110 16:1 a `}` is missing before this",
            "E110 17:1 `expect` has no body",
        ],
    ),
    (
        "include
include \"a.policy\" b
include \"a.policy\"
set office = { 10.0.0.0/8 }
include \"a.policy\"
group g { office }
",
        &[
            "E110 1:8 the statement ends too early",
            "E110 2:20 `b` does not belong here",
            "E112 4:5 the set `office` is defined twice",
        ],
    ),
];

#[test]
fn mistakes_are_told_one_by_one() {
    for (text, expected) in MISTAKES {
        assert_eq!(found(&reading("mistakes.policy", text)), *expected, "{text}");
    }
}

/// What the decoders find speaks of fields elsewhere; here of what was written, with help that can be typed.
const ANSWERS: &[(&str, &[&str])] = &[
    (
        "policy a in b {
    allow ingress from world
    spec { for x=y }
    spec { for x=z; for x=y; allow ingress from world }
}
cluster policy c { for all pods; for nodes a=b; deny egress to all }
policy d in b { for nodes a=b; deny egress to all }
cluster policy e { deny egress to all }
",
        &[
            "E301 1:1 the policy has no `for`: add `for all pods` to select every pod of the namespace",
            "E302 3:5 the policy has no rules at all: add an `allow` or a `deny`; to isolate write `isolate ingress`",
            "E107 4:25 `for` is given twice: keep one of the two",
            "E301 6:38 `for` and `for nodes` exclude each other: write two policies, or two `spec` blocks",
            "E301 7:21 a policy of a namespace cannot select nodes: write a `cluster policy`",
            "E301 8:1 the policy has no `for`: add `for all pods` to select every pod, or `for all nodes` to select every node",
        ],
    ),
    (
        "policy a in b {
    for all pods
    allow ingress from service db
    allow ingress from fqdn a.example
    deny egress to fqdn a.example
    deny ingress from app=x auth required
    types ingress
    allow egress to fqdn a.example or app=x on tcp/80 on icmp/8
}
network policy c in b {
    for all pods
    deny egress to app=x
    isolate ingress
    log x
}
",
        &[
            "E204 3:24 an ingress rule has no `services`: services are matched on egress alone",
            "E204 4:24 an ingress rule has no `fqdn`: names are matched on egress alone",
            "E204 5:20 an egress deny rule has no `fqdn`: names cannot be denied, as a name's addresses may serve other names too; allow the wanted ones in `egress`",
            "E204 6:29 an ingress deny rule has no `auth`: only allow rules ask for authentication",
            "E204 7:5 a policy has no `types`: Cilium's policies isolate a direction by having a rule for it, or by `isolate`",
            "E307 8:39 one rule cannot have both `fqdn` and `pods`: write two rules; their peers are added up",
            "E325 8:55 one rule cannot have both ICMP types and ports: write two rules",
            "E204 12:5 a network policy has no `deny egress`: a network policy cannot deny; write a `policy`",
            "E204 13:5 a network policy has no `isolate`: the types of a network policy isolate: types ingress, egress",
            "E204 14:5 a network policy has no `log`: it has `for`, `ingress`, `egress` and `types`",
        ],
    ),
    (
        "policy a in b {
    for all pods
    isolate ingress
    allow ingress []
    deny egress to nobody
    allow egress to pods []
}
policy b in b { for all pods; allow ingress from nobody }
",
        &[
            "W619 3:5 without a rule for ingress this isolates nothing: add a rule that matches nothing, `allow ingress from nobody`; it carries the isolation",
            "W603 5:5 an empty rule in `deny egress` matches nothing, and isolates egress: to deny all egress name a peer, `to all`; to isolate say so, `isolate egress`",
            "W604 6:21 the empty `pods` allows nobody: leave `pods` out and name peers; everybody is `all`",
            "W603 8:31 an empty rule in `ingress` matches nothing, and isolates ingress: to allow all ingress name a peer, `from all`; to isolate say so, `isolate ingress`",
        ],
    ),
    (
        "policy a in b {
    for app in ()
    allow ingress from cidr group x on tcp/80-70, udp/53 http { GET } dns \"*\"
    allow egress to fqdn \"\" on tcp/443 server names \"a.b\" http { GET match X value y else foo }
    isolate ingress
    isolate ingress no
}
network policy c in b {
    for all pods
    allow ingress auth required
    allow egress on any/53, tcp/80-70
    types ingress, egress, ingress
    spec { for a=b }
}
",
        &[
            "E306 2:16 `in` needs at least one value: add values, or write `has` or `!`",
            "E206 3:35 `cidr` takes address blocks without exceptions alone: ",
            "W616 3:47 `-70` has no effect: it is below the first port, so only that is meant: remove it, or give a number for `port` that is not above it",
            "E317 3:71 `http` and `dns` exclude each other: write `on` twice",
            "E323 4:26 the name is empty: to mean every name write `\"*\"`",
            "E331 4:40 `server names` beside request rules needs `terminating tls`: add `terminating tls`, or move the request rules behind an `on` of their own",
            "E321 4:91 `foo` is not what may happen on a mismatch: write log, add, delete or replace, or leave `else` out to refuse the request",
            "E107 6:5 `isolate ingress` is given twice: keep one of the two",
            "E204 10:19 an ingress rule of a network policy has no `auth`: write a `policy`; a network policy has none",
            "E314 11:21 `ANY` is not a transport protocol: list the protocols one by one: on tcp/53, udp/53",
            "E313 11:36 the range's end 70 is below its beginning 80: exchange the two",
            "E327 12:28 `types` has more than two items: name `ingress` and `egress` at most once each",
            "E204 13:11 a network policy has no `spec` blocks: a network policy is about one selector; write several policies",
        ],
    ),
    (
        "// what it is for -> nothing
policy a in b {
    /* why */
    for all pods
    allow ingress from pods
    allow ingress from any // everybody
    allow ingress from any
}
expect {
    // world -> a/b deny
    world -> a/b tcp/sql alow
    world -> nodes tcp/sql dney
}
",
        &[
            "E111 1:1 an item of a file does not begin with `//`: comments begin with `#`, and end with their line",
            "E111 3:5 a statement of a policy does not begin with `/*`: comments begin with `#`, and end with their line",
            "E112 5:24 there is no set and no entity `pods`: write `all pods`, or whose by labels: app=web",
            "E110 6:28 `//` does not belong here: comments begin with `#`, and end with their line",
            "E112 7:24 there is no set and no entity `any`: everybody is `all`",
            "E110 10:8 `world` does not belong here: comments begin with `#`, and end with their line",
            "E110 11:26 `alow` does not belong here: did you mean `allow`?",
            "E110 12:28 `dney` does not belong here: did you mean `deny`?",
        ],
    ),
];

#[test]
fn the_language_is_answered_in_its_words() {
    for (text, expected) in ANSWERS {
        let reading = reading("answers.policy", text);
        let helps = reading.diagnostics.iter().map(|finding| finding.help.as_deref().unwrap_or_default());
        let answers = found(&reading).into_iter().zip(helps).map(|(found, help)| format!("{found}: {help}"));
        assert_eq!(answers.collect::<Vec<_>>(), *expected, "{text}");
    }
}

/// A field such as `toPorts` has a capital behind a small letter, and words of the language have not.
#[test]
fn no_finding_speaks_of_fields() {
    for (text, _) in MISTAKES.iter().chain(ANSWERS) {
        for finding in reading("mistakes.policy", text).diagnostics {
            let labels = finding.labels.iter().map(|label| label.text.as_str());
            let texts =
                [finding.message.as_str(), &finding.label, finding.help.as_deref().unwrap_or_default()];
            for said in texts.into_iter().chain(labels) {
                let mut words = said.split(|c: char| !c.is_ascii_alphanumeric());
                let is_field = |word: &str| {
                    word.starts_with(|c: char| c.is_ascii_lowercase())
                        && word.contains(|c: char| c.is_ascii_uppercase())
                };
                assert!(!words.any(is_field), "{said}");
            }
        }
    }
}

#[test]
fn a_slip_is_answered_with_the_word_that_was_meant() {
    let reading = reading("slips.policy", MISTAKES[0].0);
    let helps: Vec<&str> = reading.diagnostics.iter().filter_map(|f| f.help.as_deref()).collect();
    for (place, meant) in [(0, "ingress"), (2, "allow"), (4, "world")] {
        assert_eq!(helps[place], format!("did you mean `{meant}`?"));
    }
    let label = reading.diagnostics[0].label.as_str();
    assert_eq!(label, "expected `ingress` or `egress`");
}

/// Files come from every editor.
#[test]
fn byte_order_marks_and_line_ends_of_others_mean_nothing() {
    let text = "# first\npolicy p in q {\n    for app=a,\n        tier=b # why\n    allow ingress from 10.0.0.0/8,\n\n        # and\n        192.0.2.0/24\n        on tcp/80 http {\n            GET\n            POST \"/\"\n        }\n}";
    let given = objects("p.policy", text);
    assert_eq!(given.len(), 1);
    assert_eq!(objects("p.policy", &text.replace('\n', "\r\n")), given);
    assert_eq!(objects("P.POLICY", &format!("\u{feff}{text}\n\n")), given);
    assert_eq!(objects("p.policy", ""), [""; 0]);
}

/// What comes from a pipe has no ending that says how it is written.
#[test]
fn a_text_without_a_name_says_by_itself_how_it_is_written() {
    let text = "\u{feff}# why\n\npolicy p in q { for all pods; allow ingress from world }\n";
    let given = objects("p.policy", text);
    assert_eq!(given.len(), 1);
    assert_eq!(objects("-", text), given);
    assert_eq!(objects("/dev/fd/63", text), given);
    let yaml = "apiVersion: v1\nkind: Namespace\nmetadata: {name: policy}\n";
    assert_eq!(objects("-", yaml), objects("n.yaml", yaml));
    for (name, text) in [("p.yaml", text), ("-", "policy: p\n"), ("-", "policy"), ("-", "")] {
        assert!(reading(name, text).objects.is_empty(), "{name} {text}");
    }
}

#[test]
fn a_rule_has_the_place_of_its_statement() {
    let text = "policy p in q {\n    for all pods\n    allow ingress from world # everybody\n}\n";
    let reading = reading("p.policy", text);
    let [weir_grammar::tree::Object::Cilium(policy)] = reading.objects.as_slice() else { panic!() };
    let span = policy.specs[0].ingress.as_ref().unwrap()[0].span;
    assert_eq!(&text[span.start as usize..span.end as usize], "allow ingress from world");
    assert_eq!(&text[policy.meta.span.start as usize..policy.meta.span.end as usize], "p");
}

/// What has a mistake anywhere is not handed on, though the rest of it could be read.
#[test]
fn a_policy_with_a_mistake_is_not_handed_on() {
    for mistake in [
        "policy p { for all pods; allow ingress from world; alow }",
        "policy p { spec x { for all pods; allow ingress from world } }",
        "policy p { for all pods; allow ingress from world; deny ingress frm world }",
        "policy p { for all pods; allow ingress from world, wrold }",
        "policy p { for all pods; allow ingress from app=a in b, c=d }",
        "policy p x { for all pods; allow ingress from world }",
        "policy p { for all pods; allow ingress from world",
        "network policy p { for all pods; allow ingress from world, app=a; types ingress }",
        "group g { 192.0.2.0/24, nobody }",
        "group g { 192.0.2.0/24",
    ] {
        let reading = reading("p.policy", &format!("{mistake}\n"));
        assert!(reading.objects.is_empty() && !reading.diagnostics.is_empty(), "{mistake}");
    }
}

/// A mistake is told once, where it is written; but nobody who names the set is handed on without it.
#[test]
fn what_names_a_broken_set_is_broken() {
    for mistake in ["10.0.0.0/33", "nobody", "10.0.0.0/8 except 11.0.0.0/8"] {
        for user in [
            "policy p { for all pods; deny ingress from a }",
            "group g { a }",
            "set b = { a }\ngroup g { b }",
        ] {
            let reading = reading("p.policy", &format!("set a = {{ 192.0.2.0/24, {mistake} }}\n{user}\n"));
            assert_eq!(reading.objects.len(), 0, "{mistake} {user}");
            assert!(found(&reading)[0].contains(" 1:"), "{:?}", found(&reading));
        }
    }
}

#[test]
fn sets_of_sets_cannot_grow_without_bound() {
    let mut text = String::from("set s0 = { 10.0.0.0/8, 10.0.0.0/8 }\n");
    for level in 1..64 {
        text.push_str(&format!("set s{level} = {{ s{0}, s{0} }}\n", level - 1));
    }
    let mut reading = Reading::default();
    let limits = Limits { values: 100_000, ..Limits::default() };
    read(&mut reading, "sets.policy", text.into_bytes(), &limits);
    assert!(found(&reading)[0].contains("more than 100000 values"), "{:?}", found(&reading));
}

/// What names stand for is bounded by what is written, whatever a machine could hold; and a long list may still be named often.
#[test]
fn a_short_text_stands_for_little() {
    let mut text = String::from("set s0 = { 10.0.0.0/8 }\n");
    for level in 1..40 {
        text.push_str(&format!("set s{level} = {{ s{0}, s{0} }}\n", level - 1));
    }
    text.push_str("policy p in q { for all pods; allow ingress from s39 }\n");
    let told = found(&reading("sets.policy", &text));
    assert!(told.len() == 1 && told[0].contains("entries"), "{told:?}");
    let mut text = String::from("set long = {\n");
    for number in 0..100_000u32 {
        text.push_str(&format!("    {}/32\n", std::net::Ipv4Addr::from(number * 7)));
    }
    text.push_str("}\n");
    for user in 0..20 {
        text.push_str(&format!("group g{user} {{ long }}\n"));
    }
    let reading = reading("long.policy", &text);
    assert_eq!((reading.objects.len(), found(&reading)), (20, vec![]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// Whatever the bytes are, reading ends without a panic, and every finding is about a place that exists.
    #[test]
    fn mutated_policies(
        which in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), "[-a-z0-9 \\n{}\\[\\]()\"\\\\=!,;#:/*ü]{0,3}", 0..4u8), 1..6),
    ) {
        let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide/language.md")).unwrap();
        let valid = blocks(&page, "policy");
        let mut text = valid[which.index(valid.len())].clone();
        for (index, more, kind) in edits {
            let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
            let Some(&at) = places.get(index.index(places.len().max(1))) else { break };
            match kind {
                0 => text.insert_str(at, &more),
                1 => { text.remove(at); }
                2 => text.truncate(at),
                _ => text = text[at..].to_owned(),
            }
        }
        let reading = reading("mutated.policy", &text);
        let file = reading.sources.iter().last().unwrap().0;
        for finding in reading.diagnostics.iter().filter(|finding| finding.span.file == file) {
            for span in std::iter::once(finding.span).chain(finding.labels.iter().map(|label| label.span)) {
                prop_assert!(text.get(span.start as usize..span.end as usize).is_some(), "{finding:?}");
            }
        }
    }

    #[test]
    fn any_text(text in "[-a-z0-9 \\n{}\\[\\]()\"\\\\=!,;#:/*.]{0,200}") {
        reading("any.policy", &text);
    }
}

/// Inputs that would cost their square if anything were looked at again and again.
#[test]
fn long_texts_end_soon() {
    let start = Instant::now();
    for text in [
        "group;".repeat(50_000),
        "{".repeat(50_000),
        "{}".repeat(50_000),
        "a;".repeat(50_000),
        "\n".repeat(500_000),
        "policy a { ".repeat(20_000),
        format!("policy a {{ {} }}", "group;".repeat(50_000)),
        format!("policy a {{ for {} }}", vec!["a=b"; 50_000].join(", ")),
        format!(
            "policy a with {} {{ for all pods; allow ingress }}",
            (0..30_000).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(", ")
        ),
        format!("policy a {{ for all pods\nallow ingress from {} }}", vec!["nobody"; 10_000].join(", ")),
        format!("policy a {{ for all pods\n{} }}", "allow ingress fro\n".repeat(20_000)),
        format!("group a {{ {} }}", "10.0.0.0/8\n".repeat(50_000)),
        "\"".repeat(100_000),
        "set a = { b }\n".repeat(10_000),
    ] {
        let reading = reading("long.policy", &text);
        assert!(reading.diagnostics.len() <= 402, "{}", reading.diagnostics.len());
    }
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

/// Reads what was written of `objects` in one way.
fn written(
    reading: &Reading,
    name: &str,
    write: fn(&weir_grammar::tree::Object) -> Option<String>,
) -> String {
    let between = if name.ends_with(".yaml") { "---\n" } else { "\n" };
    let items: Vec<String> = reading.objects.iter().map(|object| write(object).unwrap()).collect();
    items.join(between)
}

/// A word of the grammar that no form shows could not be found by those who read the page.
#[test]
fn every_word_of_the_language_is_on_its_page() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(folder.join("../docs/guide/language.md")).unwrap();
    let grammar = std::fs::read_to_string(folder.join("src/language/policy.pest")).unwrap();
    let forms = blocks(&page, "policy").concat();
    let used: Vec<&str> = forms.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let keywords =
        grammar.lines().filter_map(|line| line.split_once("= @{ \"")?.1.strip_suffix("\" ~ !word_char }"));
    let missing: Vec<&str> = keywords.clone().filter(|keyword| !used.contains(keyword)).collect();
    assert!(keywords.count() > 40);
    assert_eq!(missing, [""; 0]);
}

#[test]
fn what_is_written_reads_the_same() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide/language.md");
    let page = std::fs::read_to_string(page).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/accept");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let texts: Vec<String> = blocks(&page, "yaml")
        .into_iter()
        .chain(files.map(|file| std::fs::read_to_string(file).unwrap()))
        .collect();
    for text in texts {
        let mut read = reading("given.yaml", &text);
        read.objects.retain(|object| weir_grammar::write::yaml(object).is_some());
        let given: Vec<String> = read.objects.iter().map(placeless).collect();
        for (name, write) in [
            ("again.yaml", weir_grammar::write::yaml as fn(&_) -> _),
            ("again.policy", weir_grammar::write::policy),
        ] {
            let written = written(&read, name, write);
            assert_eq!(objects(name, &written), given, "{text}\n{written}");
        }
    }
}

/// Expectations that the language and YAML can hold, in the words of the language.
fn expectation() -> impl Strategy<Value = String> {
    let end = prop::sample::select(vec![
        "shop/web",
        "app=a, tier in (x, y)",
        "all pods in shop",
        "all pods",
        "nodes role=worker",
        "all nodes",
        "world",
        "host",
        "10.0.0.0/8",
        "2001:db8::/32 except { 2001:db8:1::/48, 2001:db8:2::/48 }",
        "192.0.2.7",
        "2001:db8::7",
        "group banks",
        "groups owner=a",
        "all groups",
        "office",
    ]);
    let ends = prop::collection::vec(end, 1..8).prop_map(|ends| ends.join(" or "));
    let to = prop_oneof![ends.clone(), Just("fqdn \"a.example\", \"b.example\"".to_owned())];
    let port = prop::sample::select(vec![
        "tcp/80",
        "udp/53-60",
        "any",
        "tcp",
        "sctp/http",
        "icmp/8",
        "icmpv6/128",
        "vrrp",
        "tcp/1-65535",
    ]);
    let ports = prop::collection::vec(port, 0..9).prop_map(|ports| ports.join(", "));
    let asked = prop::sample::select(vec![
        "",
        "GET",
        "http POST /x",
        "method \"purge\" \"/a b?c\\\"d\"",
        "GET \"\" host \"a b\" header X header \"Y: z: w\"",
        "dns \"a.example\"",
    ]);
    let verdict = prop::sample::select(vec!["allow", "deny", "allow by ingress", "deny by egress"]);
    (ends, to, ports, asked, verdict)
        .prop_map(|(from, to, ports, asked, verdict)| format!("{from} -> {to} {ports} {asked} {verdict}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Both ways of writing hold the same expectations.
    #[test]
    fn expectations_go_both_ways(
        lines in prop::collection::vec(expectation(), 0..6),
        head in prop::sample::select(vec!["", "a.b", "with k=v", "x with k=\"\", l=m \"a \\\"b\\n\"", "\"\""]),
    ) {
        let text = format!("include \"networks.policy\"\nexpect {head} {{\n{}\n}}\n", lines.join("\n"));
        let read = reading("given.policy", &text);
        prop_assert_eq!(found(&read), [""; 0]);
        let given: Vec<String> = read.objects.iter().map(placeless).collect();
        prop_assert_eq!(given.len(), 1);
        for (name, write) in [
            ("again.yaml", weir_grammar::write::yaml as fn(&_) -> _),
            ("again.policy", weir_grammar::write::policy),
        ] {
            let written = written(&read, name, write);
            prop_assert_eq!(objects(name, &written), given.clone(), "{}", written);
        }
    }
}
