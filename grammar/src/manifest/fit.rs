//! Whether request rules fit where they stand: the section, the ports, the protocols, the subject.

use super::context::Context;
use super::ports::Entry;
use super::section::Section;
use crate::diagnostic::{Code, Diagnostic};
use crate::span::Span;
use crate::tree::{Port, Protocol, RequestRules};

/// Whether request rules fit the ports they stand beside.
pub(crate) fn check(
    cx: &mut Context<'_>,
    at: Span,
    requests: &RequestRules,
    entries: &[Entry],
    section: Section,
) {
    let dns = matches!(requests, RequestRules::Dns(_));
    let kind = if dns { "dns" } else { "http" };
    if dns && section.ingress {
        cx.report(
            Diagnostic::new(Code::L7Place, at, "DNS rules are not possible on ingress")
                .labelled("queries are judged where they leave")
                .help("move the rule to `egress` of the pods that ask"),
        );
    }
    if section.nodes && !dns {
        cx.report(
            Diagnostic::new(Code::HostPolicy, at, "a policy for nodes takes no HTTP rules")
                .labelled("the node's own traffic is not proxied")
                .help("remove the rules; ports and peers alone can be judged here"),
        );
    }
    if dns && entries.is_empty() {
        cx.report(
            Diagnostic::new(Code::L7Port, at, "DNS rules need a port")
                .labelled("no `ports` beside these rules")
                .help("add `ports: [{port: \"53\", protocol: ANY}]`"),
        );
    }
    for entry in entries {
        if entry.spec.port == Port::All {
            cx.report(
                Diagnostic::new(
                    Code::L7Port,
                    entry.port_at,
                    format!("`{kind}` rules need a definite port, not every port"),
                )
                .labelled("every port")
                .also(at, "the request rules"),
            );
        } else if dns && entry.is_range {
            cx.report(
                Diagnostic::new(Code::L7Port, entry.port_at, "DNS rules do not take a port range")
                    .labelled("a range")
                    .also(at, "the request rules")
                    .help("list the ports one by one; DNS is at 53"),
            );
        }
        let fits = match entry.spec.protocol {
            Protocol::Tcp => true,
            Protocol::Udp | Protocol::Any => dns,
            Protocol::Sctp | Protocol::Other(_) => false,
        };
        if !fits {
            let help = if dns {
                "DNS rules stand beside TCP, UDP or ANY"
            } else {
                "write `protocol: TCP`; HTTP rules stand beside TCP alone"
            };
            cx.report(
                Diagnostic::new(
                    Code::L7Protocol,
                    entry.protocol_at,
                    format!("`{kind}` rules do not fit this port's protocol"),
                )
                .labelled(match entry.spec.protocol {
                    Protocol::Any => "ANY protocol",
                    Protocol::Udp => "UDP",
                    Protocol::Sctp => "SCTP",
                    _ => "not TCP",
                })
                .also(at, "the request rules")
                .help(help),
            );
        }
    }
}
