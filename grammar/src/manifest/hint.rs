//! Unknown fields, and what was probably meant.

use super::decode::Shape;
use crate::diagnostic::{Code, Diagnostic};
use crate::span::Span;

/// Where fields belong that people often put a level too high or too low.
const HOMES: &[(&str, &str)] = &[
    (
        "matchLabels",
        "it belongs into a label selector, such as `endpointSelector` or an item of `fromEndpoints`",
    ),
    (
        "matchExpressions",
        "it belongs into a label selector, such as `endpointSelector` or an item of `fromEndpoints`",
    ),
    (
        "namespaceSelector",
        "it belongs into a peer: `spec.ingress[].from[]` or `spec.egress[].to[]` of a NetworkPolicy",
    ),
    (
        "podSelector",
        "it belongs into the `spec` or a peer of a NetworkPolicy; Cilium's policies have `endpointSelector`",
    ),
    (
        "endpointSelector",
        "it belongs directly into `spec` of a Cilium policy; a NetworkPolicy has `podSelector`",
    ),
    ("nodeSelector", "it belongs directly into `spec` of a CiliumClusterwideNetworkPolicy"),
    (
        "ipBlock",
        "it belongs into a peer of a NetworkPolicy; Cilium's policies have `fromCIDRSet` and `toCIDRSet`",
    ),
    ("toPorts", "it belongs into a rule, beside the peers"),
    ("icmps", "it belongs into a rule, beside the peers"),
    ("authentication", "it belongs into an allow rule, beside the peers"),
    ("ports", "it belongs into an item of `toPorts` (Cilium) or into a rule (NetworkPolicy)"),
    ("port", "it belongs into an item of `ports`"),
    ("endPort", "it belongs into an item of `ports`"),
    ("protocol", "it belongs into an item of `ports`"),
    ("rules", "it belongs into an item of `toPorts`, beside `ports`"),
    ("http", "it belongs into `rules` of an item of `toPorts`"),
    ("dns", "it belongs into `rules` of an item of `toPorts`"),
    ("method", "it belongs into an item of `rules.http`"),
    ("path", "it belongs into an item of `rules.http`"),
    ("matchName", "it belongs into an item of `toFQDNs` or of `rules.dns`"),
    ("matchPattern", "it belongs into an item of `toFQDNs` or of `rules.dns`"),
    ("cidr", "it belongs into an item of `fromCIDRSet` or `toCIDRSet`, or into an `ipBlock`"),
    ("except", "it belongs beside a `cidr`"),
    ("cidrGroupRef", "it belongs into an item of `fromCIDRSet` or `toCIDRSet`"),
    (
        "from",
        "it belongs into an ingress rule of a NetworkPolicy; Cilium's rules have `fromEndpoints`, `fromCIDR`, …",
    ),
    (
        "to",
        "it belongs into an egress rule of a NetworkPolicy; Cilium's rules have `toEndpoints`, `toCIDR`, …",
    ),
    ("ingress", "it belongs directly into `spec`"),
    ("egress", "it belongs directly into `spec`"),
    ("ingressDeny", "it belongs directly into `spec` of a Cilium policy"),
    ("egressDeny", "it belongs directly into `spec` of a Cilium policy"),
    ("enableDefaultDeny", "it belongs directly into `spec` of a Cilium policy"),
    ("policyTypes", "it belongs directly into `spec` of a NetworkPolicy"),
    ("labels", "it belongs into `metadata`"),
    ("namespace", "it belongs into `metadata`"),
    ("name", "it belongs into `metadata`"),
    ("specs", "it belongs beside `metadata`, in the place of `spec`"),
    ("spec", "it belongs beside `metadata`"),
];

/// The finding for a field that `shape` does not have.
pub(crate) fn unknown_field(name: &str, span: Span, shape: &Shape) -> Diagnostic {
    let shown = short(name);
    let finding = Diagnostic::new(Code::UnknownField, span, format!("{} has no field `{shown}`", shape.what))
        .labelled("no such field");
    if let Some((_, advice)) = shape.elsewhere.iter().find(|(field, _)| *field == name) {
        return finding.help(*advice);
    }
    if let Some(meant) = mirrored(name, shape.fields).or_else(|| nearest(name, shape.fields)) {
        return finding.help(format!("did you mean `{meant}`?"));
    }
    if let Some((_, home)) = HOMES.iter().find(|(field, _)| *field == name) {
        return finding.help(*home);
    }
    finding.help(match shape.fields {
        [] => "it has no fields at all".to_owned(),
        fields => format!("its fields are {}", list(fields)),
    })
}

/// `toEndpoints` where only `fromEndpoints` exists, and the other way.
fn mirrored<'a>(name: &str, fields: &[&'a str]) -> Option<&'a str> {
    let (from, to) = (name.strip_prefix("from"), name.strip_prefix("to"));
    fields.iter().copied().find(|field| match (from, to) {
        (Some(rest), _) => field.strip_prefix("to").is_some_and(|other| other.eq_ignore_ascii_case(rest)),
        (_, Some(rest)) => field.strip_prefix("from").is_some_and(|other| other.eq_ignore_ascii_case(rest)),
        _ => false,
    })
}

/// The candidate that a slip of the finger away from `word`, if one is.
pub(crate) fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    let lower = word.to_ascii_lowercase();
    candidates
        .iter()
        .map(|&candidate| (distance(&lower, &candidate.to_ascii_lowercase()), candidate))
        .filter(|&(distance, candidate)| distance <= (candidate.len() / 3).min(3) && distance < word.len())
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, swap neighbours) between two short words.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

/// `a`, `b` and `c`, each in backticks.
pub(crate) fn list(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => format!("`{one}`"),
        [rest @ .., last] => {
            let rest: Vec<String> = rest.iter().map(|word| format!("`{word}`")).collect();
            format!("{} and `{last}`", rest.join(", "))
        }
    }
}

/// The text for a message: bounded, on one line, without control characters.
pub(crate) fn short(text: &str) -> std::borrow::Cow<'_, str> {
    const MOST: usize = 80;
    if text.len() <= MOST && !text.chars().any(char::is_control) {
        return text.into();
    }
    let mut shown: String =
        text.chars().take(MOST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_near_and_other_words_are_not() {
        let fields = ["fromEndpoints", "fromCIDR", "toPorts"];
        assert_eq!(nearest("fromEndpoint", &fields), Some("fromEndpoints"));
        assert_eq!(nearest("fromCidr", &fields), Some("fromCIDR"));
        assert_eq!(nearest("toProts", &fields), Some("toPorts"));
        assert_eq!(nearest("namespaceSelector", &fields), None);
        assert_eq!(mirrored("toEndpoints", &fields), Some("fromEndpoints"));
    }
}
