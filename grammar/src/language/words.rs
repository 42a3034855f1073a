//! What the decoders find, in the words of the language.
//!
//! Decoders name the fields that a manifest has, and show what to write as YAML. Whoever wrote a policy in the
//! language wrote neither, so each such word or snippet is put into the language's form, here and nowhere else.
//!
//! What the file itself has at a finding's place is its writer's word, and stays.
//!
//! Not here: the findings of this module's neighbours, which speak of the language anyway.

use super::is_used;
use super::mistake::keyword;
use super::peers::KINDS;
use crate::diagnostic::Diagnostic;
use crate::source::Sources;
use crate::span::{FileId, Span};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What decoders write, and what the language says for it. The first that fits is put in first, so what is part of
/// another stands below it. Kinds of peers are in [`KINDS`].
const PHRASES: &[(&str, &str)] = &[
    // What to write.
    ("an `endpointSelector` and at least one rule", "`for` and at least one rule"),
    ("at least one of `ingress`, `ingressDeny`, `egress` and `egressDeny`", "an `allow` or a `deny`"),
    ("nothing, `ingress: [{}]`", "nothing, `allow ingress from nobody`"),
    ("nothing, `egress: [{}]`", "nothing, `allow egress to nobody`"),
    ("`ingress: [{}]`", "`isolate ingress`"),
    ("`enableDefaultDeny: {ingress: true}`", "`isolate ingress`"),
    ("`enableDefaultDeny: {egress: true}`", "`isolate egress`"),
    ("`enableDefaultDeny.ingress`", "`isolate ingress no`"),
    ("`enableDefaultDeny.egress`", "`isolate egress no`"),
    ("`endpointSelector: {}`", "`for all pods`"),
    ("`nodeSelector: {}`", "`for all nodes`"),
    ("`fromEntities: [all]`", "`from all`"),
    ("`toEntities: [all]`", "`to all`"),
    ("`rules: {dns: [{matchPattern: \"*\"}]}`", "`dns \"*\"`"),
    ("`ports: [{port: \"53\", protocol: ANY}]`", "`on any/53`"),
    ("`secret: {namespace: …, name: …}`", "`secret NAMESPACE/NAME`"),
    ("`protocol: TCP`", "`tcp/…`"),
    ("`matchPattern: \"*\"`", "`\"*\"`"),
    ("two items of `specs`", "two `spec` blocks"),
    ("an item of `toPorts`", "an `on`"),
    ("two items of `toPorts`", "`on` twice"),
    ("items of `toPorts`", "`on`"),
    ("use `endPort`", "use a range"),
    ("to an item of their own", "behind an `on` of their own"),
    ("add `values`, or use `Exists` or `DoesNotExist`", "add values, or write `has` or `!`"),
    ("name `Ingress` and `Egress`", "name `ingress` and `egress`"),
    ("one by one; left out it is TCP", "one by one: on tcp/53, udp/53"),
    (
        "LOG, ADD, DELETE or REPLACE, or leave the field out",
        "log, add, delete or replace, or leave `else` out",
    ),
    ("leave the field out to admit every name", "leave `server names` out to admit every name"),
    ("items of `icmps`", "`on`"),
    ("`rules.http` or `rules.dns`", "`http` or `dns`"),
    ("out to mean every peer, or name some", "out and name peers; everybody is `all`"),
    // What is wrong.
    ("the selector has neither `matchName` nor `matchPattern`", "the name is empty"),
    ("`ingress` is given twice", "`isolate ingress` is given twice"),
    ("`egress` is given twice", "`isolate egress` is given twice"),
    ("`In` needs", "`in` needs"),
    ("`NotIn` needs", "`not in` needs"),
    ("`endPort: ", "`-"),
    ("it is below `port`, so only the one port", "it is below the first port, so only that"),
    ("`endPort`", "the range's end"),
    ("is below `port`", "is below its beginning"),
    ("`fromCIDR` must be a string, not an object", "`cidr` takes address blocks without exceptions alone"),
    ("`toCIDR` must be a string, not an object", "`cidr` takes address blocks without exceptions alone"),
    ("expected a string", "expected an address block"),
    // What there is not.
    ("names are matched on egress alone: `toFQDNs`", "names are matched on egress alone"),
    ("services are matched on egress alone: `toServices`", "services are matched on egress alone"),
    ("cannot deny; CiliumNetworkPolicy has `ingressDeny`", "cannot deny; write a `policy`"),
    ("cannot deny; CiliumNetworkPolicy has `egressDeny`", "cannot deny; write a `policy`"),
    ("cannot name ICMP; CiliumNetworkPolicy has `icmps`", "cannot name ICMP; write a `policy`"),
    (
        "it belongs directly into `spec` of a Cilium policy",
        "the types of a network policy isolate: types ingress, egress",
    ),
    ("its fields are `podSelector`, ", "it has `for`, "),
    ("has one `spec`; write several objects", "is about one selector; write several policies"),
    ("it belongs into an allow rule, beside the peers", "write a `policy`; a network policy has none"),
    ("has no field", "has no"),
    ("no such field", "not possible here"),
    ("both `icmps` and `toPorts`", "both ICMP types and ports"),
    // Objects.
    ("the `spec` of a NetworkPolicy", "a network policy"),
    ("the `spec` of a Cilium policy", "a policy"),
    ("a NetworkPolicy", "a network policy"),
    ("a CiliumNetworkPolicy", "a policy of a namespace"),
    ("a CiliumClusterwideNetworkPolicy", "a `cluster policy`"),
    ("a CiliumCIDRGroup", "a `group`"),
    // Fields.
    ("endpointSelector", "for"),
    ("podSelector", "for"),
    ("nodeSelector", "for nodes"),
    ("ingressDeny", "deny ingress"),
    ("egressDeny", "deny egress"),
    ("enableDefaultDeny", "isolate"),
    ("policyTypes", "types"),
    ("toPorts", "on"),
    ("icmps", "on icmp"),
    ("`specs`", "`spec` blocks"),
    ("`authentication`", "`auth`"),
    ("cidrGroupRef", "group"),
    ("cidrGroupSelector", "groups"),
    ("k8sServiceSelector", "services"),
    ("k8sService", "service"),
    ("serviceName", "service"),
    ("matchPattern", "pattern"),
    ("headerMatches", "match"),
    ("serverNames", "server names"),
    ("terminatingTLS", "terminating tls"),
    ("originatingTLS", "originating tls"),
    ("trustedCA", "ca"),
    ("privateKey", "key"),
];

/// Puts the findings of one text, which is in the language, into its words.
pub(crate) fn put(text: &str, findings: &mut [Diagnostic]) {
    let kinds: Vec<(&str, String)> = KINDS
        .iter()
        .flat_map(|&(kind, from, to)| [from, to].map(|field| (field, keyword(kind).unwrap_or_default())))
        .collect();
    let kinds = kinds.iter().map(|(field, word)| (*field, word.as_str()));
    let phrases: Vec<(&str, &str)> = PHRASES.iter().copied().chain(kinds).collect();
    for finding in findings {
        let Diagnostic { message, span, label, labels, help, .. } = finding;
        let texts = [(message, *span), (label, *span)];
        let more = labels.iter_mut().map(|label| (&mut label.text, label.span));
        for (said, at) in texts.into_iter().chain(more).chain(help.as_mut().map(|help| (help, *span))) {
            let own = written(text, at);
            for &(phrase, word) in phrases.iter().filter(|(phrase, _)| !own.contains(phrase)) {
                if let Cow::Owned(better) = replaced(said, phrase, word) {
                    *said = better;
                }
            }
        }
    }
}

/// Puts findings of several files into the words of each.
pub(crate) fn put_in_files(sources: &Sources, findings: &mut [Diagnostic]) {
    let mut known: BTreeMap<FileId, bool> = BTreeMap::new();
    for finding in findings {
        let file = finding.span.file;
        let is_policy = known.entry(file).or_insert_with(|| is_used(sources.name(file), sources.text(file)));
        if *is_policy {
            put(sources.text(file), std::slice::from_mut(finding));
        }
    }
}

fn written(text: &str, at: Span) -> &str {
    text.get(at.start as usize..at.end as usize).unwrap_or("")
}

/// The text with a phrase replaced where it is no part of a longer word.
fn replaced<'s>(said: &'s str, phrase: &str, word: &str) -> Cow<'s, str> {
    let mut better = String::new();
    let (mut copied, mut from) = (0, 0);
    while let Some(at) = said.get(from..).and_then(|rest| rest.find(phrase)).map(|at| from + at) {
        let (before, after) = (said.get(..at).unwrap_or(""), said.get(at + phrase.len()..).unwrap_or(""));
        from = at + phrase.len();
        let is_letter = |c: char| c.is_ascii_alphanumeric();
        let is_part = before.ends_with(is_letter) && phrase.starts_with(is_letter)
            || after.starts_with(is_letter) && phrase.ends_with(is_letter);
        if !is_part {
            better.push_str(said.get(copied..at).unwrap_or(""));
            better.push_str(word);
            copied = from;
        }
    }
    if copied == 0 {
        return Cow::Borrowed(said);
    }
    better.push_str(said.get(copied..).unwrap_or(""));
    Cow::Owned(better)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Code;

    #[test]
    fn a_field_is_a_whole_word_and_no_one_elses() {
        assert_eq!(replaced("`toPorts` and toPortsX, toPorts", "toPorts", "on"), "`on` and toPortsX, on");
        let text = "app=toPorts";
        let finding = |end| {
            Diagnostic::new(Code::LabelValue, Span { file: FileId(0), start: 0, end }, "`toPorts` is wrong")
        };
        let mut findings = [finding(3), finding(11)];
        put(text, &mut findings);
        assert_eq!(findings.map(|finding| finding.message), ["`on` is wrong", "`toPorts` is wrong"]);
    }
}
