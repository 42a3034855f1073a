//! W615: no such secret in the cluster. What it asks, and why, is on its page, `docs/codes/W615.md`.

use super::view::View;
use crate::ir::{Requests, Rule};
use weir_grammar::diagnostic::{Code, Diagnostic};
use weir_grammar::span::Span;
use weir_grammar::tree::SecretName;

pub(super) fn check(view: &View<'_>, found: &mut Vec<Diagnostic>) {
    if view.cluster.secrets.is_empty() {
        return;
    }
    for rule in &view.set.rules {
        if let Some(Requests::Http(rules)) = &rule.requests {
            for header in rules.iter().flat_map(|rule| &rule.header_matches) {
                let consequence = match header.value {
                    Some(_) => "the value written beside it counts instead",
                    None => "the header never matches",
                };
                let secret = header.secret.as_ref();
                found.extend(secret.and_then(|secret| missing(view, rule, header.span, secret, consequence)));
            }
        }
        for context in &rule.tls {
            found.extend(missing(view, rule, context.span, &context.secret, "TLS cannot be intercepted"));
        }
    }
}

fn missing(
    view: &View<'_>,
    rule: &Rule,
    span: Span,
    secret: &SecretName,
    consequence: &str,
) -> Option<Diagnostic> {
    let own = view.set.policies[rule.policy].namespace.as_deref();
    let namespace = secret.namespace.as_deref().or(own).unwrap_or_default();
    let secrets = &view.cluster.secrets;
    if secrets.contains(&(namespace.to_owned(), secret.name.clone())) {
        return None;
    }
    let elsewhere =
        secrets.iter().filter(|(_, name)| *name == secret.name).map(|(namespace, _)| namespace).min();
    let finding = view
        .finding(
            Code::UnknownSecret,
            rule,
            span,
            format!("there is no secret `{}` in namespace `{namespace}`", secret.name),
        )
        .labelled(consequence);
    Some(match elsewhere {
        Some(elsewhere) => {
            finding.help(format!("there is one in namespace `{elsewhere}`: add `namespace: {elsewhere}`"))
        }
        None => finding.help("create it, or name the one that is meant"),
    })
}

#[cfg(test)]
mod tests {
    use crate::check::case::{CLUSTER, cnp, found};

    fn header(secret: &str) -> String {
        let rules = format!(
            "ingress: [{{toPorts: [{{ports: [{{port: '80', protocol: TCP}}], rules: {{http: [{{headerMatches: [{{name: X-Token, secret: {{{secret}}}}}]}}]}}}}]}}]"
        );
        cnp("", "app: web", &rules)
    }

    #[test]
    fn a_header_without_its_secret() {
        let lines = found(&header("name: tokne"), CLUSTER);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].contains("no secret `tokne` in namespace `shop` | the header never matches"),
            "{lines:?}"
        );
        let lines = found(&header("name: token, namespace: ops"), CLUSTER);
        assert!(lines[0].ends_with("there is one in namespace `shop`: add `namespace: shop`"), "{lines:?}");
        assert_eq!(found(&header("name: token"), CLUSTER), [""; 0]);
        assert_eq!(found(&header("name: tokne"), ""), [""; 0]);
    }

    #[test]
    fn a_tls_context_without_its_secret() {
        let rules = "ingress: [{toPorts: [{ports: [{port: '443', protocol: TCP}], terminatingTLS: {secret: {name: cert, namespace: shop}}}]}]";
        let lines = found(&cnp("", "app: web", rules), CLUSTER);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("no secret `cert`") && lines[0].contains("TLS cannot"), "{lines:?}");
    }
}
