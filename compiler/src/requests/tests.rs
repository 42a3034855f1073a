//! One request rule against one request: whole strings, headers, secrets.

use super::*;

fn request(path: &str, headers: &[(&str, &str)]) -> HttpRequest {
    HttpRequest {
        method: "GET".into(),
        path: path.into(),
        host: "api.test".into(),
        headers: headers.iter().map(|&(name, value)| (name.into(), value.into())).collect(),
    }
}

fn admits(parts: &HttpParts<'_>, request: &HttpRequest) -> bool {
    let secrets = [("shop".to_owned(), "known".to_owned())].into_iter().collect();
    Matcher::http(parts, &secrets).admits(Asked { http: Some(request), dns: None })
}

#[test]
fn expressions_match_whole_strings() {
    let parts = HttpParts { path: Some("/a|/ab"), ..HttpParts::default() };
    assert!(admits(&parts, &request("/ab", &[])));
    assert!(!admits(&parts, &request("/abc", &[])));
    assert!(!admits(&HttpParts { path: Some("/a)|(.*"), ..HttpParts::default() }, &request("/a", &[])));
}

#[test]
fn header_lines_split_at_the_first_space() {
    let value = |line| HeaderParts::from_line(line).value;
    assert_eq!(HeaderParts::from_line("X-Pass: k7").name, "X-Pass");
    assert_eq!(value("X-Pass: k7"), Some("k7"));
    assert_eq!(value("X-Pass k7 k8"), Some("k7 k8"));
    assert_eq!(value("X-Pass"), None);
}

#[test]
fn headers_compare_names_without_case_and_values_with_it() {
    let parts = HttpParts { headers: vec![HeaderParts::from_line("X-Pass: k7")], ..HttpParts::default() };
    assert!(admits(&parts, &request("/", &[("x-pass", "k7")])));
    assert!(!admits(&parts, &request("/", &[("X-Pass", "K7")])));
    assert!(!admits(&parts, &request("/", &[])));
}

#[test]
fn a_secret_asks_for_presence_if_it_exists() {
    let with = |secret, value, fails| HttpParts {
        headers: vec![HeaderParts { name: "X-Key", value, secret: Some(("shop", secret)), fails }],
        ..HttpParts::default()
    };
    let keyed = request("/", &[("X-Key", "v")]);
    assert!(admits(&with("known", Some("other"), true), &keyed));
    assert!(!admits(&with("known", None, true), &request("/", &[])));
    assert!(admits(&with("gone", Some("v"), true), &keyed));
    assert!(!admits(&with("gone", Some("w"), true), &keyed));
    assert!(!admits(&with("gone", None, true), &keyed));
    assert!(admits(&with("gone", None, false), &request("/", &[])));
}

#[test]
fn another_kind_of_request_is_not_a_rules_business() {
    let dns = DnsRequest { query: "a.test".into() };
    let rule = Matcher::dns("b.test", false);
    assert!(!rule.admits(Asked { http: None, dns: Some(&dns) }));
    assert!(rule.admits(Asked { http: Some(&request("/", &[])), dns: None }));
}
