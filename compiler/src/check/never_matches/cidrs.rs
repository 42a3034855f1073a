//! Blocks whose exceptions leave nothing.

use super::finding;
use crate::check::reach::{overlap, prefixes, without};
use crate::check::view::View;
use crate::ir::{CidrPart, Rule};
use ipnet::IpNet;
use weir_grammar::diagnostic::Diagnostic;
use weir_grammar::tree::{CidrBlock, CidrSet};

/// Prefixes times exceptions of a group that are still looked into.
const MOST_IN_GROUP: usize = 1 << 20;

pub(super) fn check(view: &View<'_>, rule: &Rule, found: &mut Vec<Diagnostic>) {
    for part in &view.peers(rule).cidrs {
        match part {
            CidrPart::Written(list) => found.extend(written(view, rule, list)),
            CidrPart::Group { group, except } if !except.is_empty() => {
                let group = &view.cluster.groups[*group];
                let all_out = |net: &IpNet| without(net, except.iter()).is_empty();
                if prefixes(part, view.cluster) <= MOST_IN_GROUP
                    && !group.cidrs.is_empty()
                    && group.cidrs.iter().all(|placed| all_out(&placed.net))
                {
                    let message = format!("the exceptions leave nothing of group `{}`", group.meta.name);
                    found.push(
                        finding(view, rule, rule.span, message)
                            .labelled("no address of the group is left")
                            .also(group.meta.span, "the group")
                            .help("remove the entry or narrow `except`"),
                    );
                }
            }
            CidrPart::Group { .. } | CidrPart::Addresses(_) => {}
        }
    }
}

/// One finding for a list, at the first block of which nothing is left.
fn written(view: &View<'_>, rule: &Rule, list: &CidrSet) -> Option<Diagnostic> {
    if list.excepts.is_empty() {
        return None;
    }
    let mut empty = list.blocks.iter().filter(|block| is_empty(list, block));
    let first = empty.next()?;
    let more = empty.count();
    let rest = match more {
        0 => String::new(),
        more => format!(", and of {more} more in this list"),
    };
    let message = format!("the exceptions leave nothing of {}{rest}", first.cidr.net);
    Some(
        finding(view, rule, view.cidr_span(list.span, first.cidr.at), message)
            .labelled("no address is left")
            .help("remove the entry or narrow `except`; an exception only takes out of its own block"),
    )
}

fn is_empty(list: &CidrSet, block: &CidrBlock) -> bool {
    let except = list.excepts_of(block);
    // Most blocks have an exception or two that are far too small together.
    let bits = |net: &IpNet| u32::from(net.max_prefix_len() - net.prefix_len());
    let enough = |out: &IpNet| bits(out) + except.len().ilog2() + 1 >= bits(&block.cidr.net);
    !except.is_empty()
        && except.iter().any(|out| overlap(&out.net, &block.cidr.net) && enough(&out.net))
        && without(&block.cidr.net, except.iter().map(|placed| &placed.net)).is_empty()
}

#[cfg(test)]
mod tests {
    use crate::check::case::{cnp, found};

    #[test]
    fn exceptions_that_leave_nothing() {
        let rule = |except: &str| {
            format!(
                "egress: [{{toCIDRSet: [{{cidr: 192.0.2.0/24, except: [{except}]}}, {{cidr: 198.51.100.0/24}}]}}]"
            )
        };
        let lines = found(&cnp("", "app: db", &rule("192.0.2.128/25, 192.0.2.0/25")), "");
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].starts_with("W602 6:32 the exceptions leave nothing of 192.0.2.0/24 |"),
            "{lines:?}"
        );
        assert_eq!(found(&cnp("", "app: db", &rule("192.0.2.128/25, 192.0.2.0/26")), ""), [""; 0]);
    }
}
