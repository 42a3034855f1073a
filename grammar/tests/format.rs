//! Files of the policy language are laid out in one way, which means nothing and loses nothing.

#![expect(clippy::disallowed_methods, reason = "a test reads its own data")]
#![expect(clippy::unwrap_used, reason = "a test ends where its data cannot be read")]

use proptest::prelude::*;
use std::path::Path;
use weir_grammar::format::{self, Refusal};
use weir_grammar::{Limits, Reading, read, write};

/// The text laid out; that it says the same, with the same comments, is checked by who lays it out.
fn laid_out(text: &str) -> String {
    let laid_out = format::policy("given.policy", text.as_bytes().to_vec(), &Limits::default());
    assert!(laid_out.is_ok(), "{text}\n{laid_out:?}");
    laid_out.unwrap()
}

fn is_well_formed(text: &str) -> bool {
    let given = format::policy("given.policy", text.as_bytes().to_vec(), &Limits::default());
    !matches!(given, Err(Refusal::Findings(_)))
}

/// The policies of the page about the language.
fn forms() -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide/language.md");
    let page = std::fs::read_to_string(page).unwrap();
    page.split("```policy\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// Texts, and how they are laid out.
const LAYOUTS: &[(&str, &str)] = &[
    // Spaces, quotes, `;`, empty lines, and comments where they were.
    (
        "\u{feff}\r\n# first\r\npolicy   \"web\"  in shop{ # of the front\r\n\r\n  for app = \"web\" ,tier in( a,\"b c\" );allow ingress from world#all\r\n\r\n\r\n  # why\r\n\tdeny egress to host\r\n\r\n  # last\r\n\r\n}   # end\r\n# behind\r\n",
        "\
# first
policy web in shop { # of the front
    for app=web, tier in (a, \"b c\")
    allow ingress from world #all

    # why
    deny egress to host

    # last
} # end
# behind
",
    ),
    // Comments behind lines that follow each other stand in one column.
    (
        "\
set a = {
    10.0.0.0/8 # private
    192.0.2.0/24
    203.0.113.0/24 # for documentation
    198.51.100.0/24    # as well
}
policy p in q { # of everybody
    for all pods
    isolate ingress # why
    isolate egress no # é
}
",
        "\
set a = {
    10.0.0.0/8 # private
    192.0.2.0/24
    203.0.113.0/24  # for documentation
    198.51.100.0/24 # as well
}
policy p in q { # of everybody
    for all pods
    isolate ingress   # why
    isolate egress no # é
}
",
    ),
    // Expectations stand in columns.
    (
        "\
include other.policy
expect   \"all\" {
  shop/frontend ->   shop/web  tcp/8080 GET \"/api\" host \"a b\"  allow  # yes
    world         ->   shop/web  tcp/8080         deny # no

    a=b -> fqdn a.example tcp/443 dns a.example deny by egress
  }
expect named { world -> shop/web deny }
",
        "\
include \"other.policy\"
expect \"all\" {
    shop/frontend -> shop/web tcp/8080 GET /api host \"a b\" allow # yes
    world         -> shop/web tcp/8080                     deny  # no

    a=b -> fqdn \"a.example\" tcp/443 dns \"a.example\" deny by egress
}
expect named { world -> shop/web deny }
",
    ),
    // What is written on a line stays on one while it fits; a list begun on a new line has an entry a line.
    (
        "policy p in q { for all pods; allow ingress from world\n }
set a={10.0.0.0/8,192.0.2.0/24,}
set b = {
10.0.0.0/8, 192.0.2.0/24 except { 192.0.2.1/32 , 192.0.2.2/32 } # two
# none
}
set c = { 10.0.0.0/8 # why
}
set d = { }
set e = {
}
",
        "\
policy p in q { for all pods; allow ingress from world }
set a = { 10.0.0.0/8, 192.0.2.0/24 }
set b = {
    10.0.0.0/8
    192.0.2.0/24 except { 192.0.2.1/32, 192.0.2.2/32 } # two
    # none
}
set c = {
    10.0.0.0/8 # why
}
set d = { }
set e = { }
",
    ),
    // Long statements are broken at their clauses first, then between peers, then behind commas.
    (
        "policy p in q {
for app in (aaaaaaaaaaaaaaaaaaaaaaaa, bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb, cccccccccccccccccccccccc, ddddddddddddddddd), tier=front
allow ingress from app=frontend on tcp/8080 http { GET /api/v1/aaaaaaaaaaaaaaa; POST \"/api/v1/orders\" header X-Tenant }
allow ingress from app=frontend on tcp/8080 http { GET /a } on udp/53, tcp/53 dns \"*.payments.example\" auth disabled
allow ingress from app=aaaaaaaaaaaaaaaaaaaaaa, tier=bbbbbbbbbbbbbbb or app=c in other or all pods in monitoring-of-the-cluster on tcp/80
allow egress to fqdn \"aaaaaaaaaaaaaaaaaaaaaaaaaaaa.example\", \"bbbbbbbbbbbbbbbbbbbbbbbbbbbb.example\", pattern \"c.example\" on tcp/443
allow ingress from 10.0.0.0/8 except { 10.1.0.0/16, 10.2.0.0/16, 10.3.0.0/16, 10.4.0.0/16, 10.5.0.0/16, 10.6.0.0/16 }
allow ingress on tcp/80 http {
GET; POST }
}
",
        "\
policy p in q {
    for app in (
        aaaaaaaaaaaaaaaaaaaaaaaa,
        bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb,
        cccccccccccccccccccccccc,
        ddddddddddddddddd
    ),
        tier=front
    allow ingress from app=frontend on tcp/8080 http {
        GET \"/api/v1/aaaaaaaaaaaaaaa\"
        POST \"/api/v1/orders\" header X-Tenant
    }
    allow ingress from app=frontend
        on tcp/8080 http { GET \"/a\" }
        on udp/53, tcp/53 dns \"*.payments.example\"
        auth disabled
    allow ingress from app=aaaaaaaaaaaaaaaaaaaaaa, tier=bbbbbbbbbbbbbbb
        or app=c in other
        or all pods in monitoring-of-the-cluster
        on tcp/80
    allow egress to fqdn \"aaaaaaaaaaaaaaaaaaaaaaaaaaaa.example\",
        \"bbbbbbbbbbbbbbbbbbbbbbbbbbbb.example\",
        pattern \"c.example\"
        on tcp/443
    allow ingress from 10.0.0.0/8 except {
        10.1.0.0/16
        10.2.0.0/16
        10.3.0.0/16
        10.4.0.0/16
        10.5.0.0/16
        10.6.0.0/16
    }
    allow ingress on tcp/80 http {
        GET
        POST
    }
}
",
    ),
    // Words that would begin a statement if they began a line: what would be cut otherwise stays as it is.
    (
        "policy p in q { for app in (a, deny # no
 ), \"nodes\" not in (a), \"has\"=\"on\"
  allow ingress from nobody }
set log = { 10.0.0.0/8, group x # {y}
}
",
        "\
policy p in q {
    for app in (a, deny # no
 ), \"nodes\" not in (a), \"has\"=\"on\"
    allow ingress from nobody
}
set log = { 10.0.0.0/8, group x # {y}
}
",
    ),
    // Mistakes in what is said do not matter.
    (
        "policy p { allow ingress from somebody on tcp/80800; for   app=\"\\u{41}\", b=\"\\u{200b}\" }",
        "policy p { allow ingress from somebody on tcp/80800; for app=A, b=\"\\u{200b}\" }\n",
    ),
    ("", ""),
    ("\n\n# only\n\n", "# only\n"),
];

#[test]
fn texts_are_laid_out() {
    for (text, expected) in LAYOUTS {
        let laid_out = laid_out(text);
        assert_eq!(&laid_out, expected, "\n{laid_out}");
    }
}

#[test]
fn what_is_not_well_formed_is_left_alone() {
    for text in
        ["policy p {", "alow", "network policy p { for all pods; allow ingress on tcp/80 http { } }", "\0"]
    {
        assert!(!is_well_formed(text), "{text}");
    }
    let not_utf8 = format::policy("given.policy", vec![0xFF], &Limits::default());
    assert!(matches!(not_utf8, Err(Refusal::Findings(_))));
}

/// Everything that the page shows, and what is written of manifests.
#[test]
fn what_is_laid_out_stays_as_it_is() {
    for form in forms() {
        let once = laid_out(&form);
        assert_eq!(laid_out(&once), once);
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/accept");
    let mut policies = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let mut reading = Reading::default();
        read(&mut reading, "given.yaml", std::fs::read(entry.unwrap().path()).unwrap(), &Limits::default());
        for written in reading.objects.iter().filter_map(write::policy) {
            assert_eq!(laid_out(&written), written);
            policies += 1;
        }
    }
    assert!(policies > 5);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Wherever comments, blanks and lines may stand, they mean nothing; comments are kept, and once laid out
    /// a text stays as it is.
    #[test]
    fn comments_are_kept_wherever_they_may_stand(
        which in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..8usize), 1..12),
    ) {
        let forms = forms();
        let mut text = forms[which.index(forms.len())].clone();
        let mut comments = 0;
        for (number, (index, kind)) in edits.into_iter().enumerate() {
            let what = match kind {
                0 | 1 => format!(" # c{number}.\n"),
                2 | 3 => format!("\n# c{number}.\n"),
                4 => "\n\n\n".to_owned(),
                5 => " ; ".to_owned(),
                6 => "\n".to_owned(),
                _ => "  \t".to_owned(),
            };
            // Somewhere between two tokens.
            let places: Vec<usize> = text
                .char_indices()
                .filter(|(_, c)| " \n,;{}()".contains(*c))
                .flat_map(|(at, c)| [at, at + c.len_utf8()])
                .collect();
            let mut edited = text.clone();
            edited.insert_str(places[index.index(places.len())], &what);
            if is_well_formed(&edited) {
                comments += usize::from(edited.matches('#').count() > text.matches('#').count());
                text = edited;
            }
        }
        let once = laid_out(&text);
        prop_assert!(once.matches('#').count() >= comments);
        prop_assert!(once.lines().all(|line| line.trim_end() == line), "{once}");
        prop_assert!(!once.contains("\n\n\n"), "{once}");
        prop_assert_eq!(laid_out(&once), once);
    }
}
