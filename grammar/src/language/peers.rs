//! Peers of a rule: for Cilium's policies a field for each kind of peers, for a NetworkPolicy one list.

use super::blocks::{Block, Sets};
use super::build::{Build, Field};
use super::selector::{self, selector};
use super::{Rule, misplaced, texts};
use crate::diagnostic::{Code, Diagnostic};
use crate::manifest::ENTITY_NAMES;
use crate::span::Span;
use crate::yaml::NodeId;
use pest::iterators::Pair;

/// A kind of peers: its word where none of it is named, and its field on ingress and on egress. Where the
/// API has no such field the decoder says so.
pub(super) const KINDS: &[(Rule, &str, &str)] = &[
    (Rule::Pods, "fromEndpoints", "toEndpoints"),
    (Rule::Nodes, "fromNodes", "toNodes"),
    (Rule::Entities, "fromEntities", "toEntities"),
    (Rule::Cidr, "fromCIDR", "toCIDR"),
    (Rule::Cidrset, "fromCIDRSet", "toCIDRSet"),
    (Rule::Services, "fromServices", "toServices"),
    (Rule::Fqdn, "fromFQDNs", "toFQDNs"),
];

/// The peers of one rule, by kind, in the order in which the kinds first stand.
struct Lists {
    ingress: bool,
    lists: Vec<(Rule, Span, Vec<NodeId>)>,
}

impl Lists {
    fn add(&mut self, kind: Rule, at: Span, items: &[NodeId]) {
        match self.lists.iter_mut().find(|(known, ..)| *known == kind) {
            Some((_, span, list)) => {
                *span = span.to(at);
                list.extend_from_slice(items);
            }
            None => self.lists.push((kind, at, items.to_vec())),
        }
    }

    fn fields(self, build: &mut Build<'_, '_>) -> Vec<Field> {
        let mut fields = Vec::new();
        for (kind, at, items) in self.lists {
            let Some(&(_, from, to)) = KINDS.iter().find(|(known, ..)| *known == kind) else { continue };
            let list = build.list(at, &items);
            fields.push(build.field(at, if self.ingress { from } else { to }, list));
        }
        fields
    }
}

/// The peers among a rule's pieces. A comma after a selector and before bare labels is refused: it would
/// widen, and read as if it narrowed.
pub(super) fn separated<'p>(
    build: &mut Build<'_, '_>,
    pieces: impl Iterator<Item = Pair<'p, Rule>>,
) -> Vec<Pair<'p, Rule>> {
    let mut peers: Vec<Pair<'p, Rule>> = Vec::new();
    let mut comma = None;
    for piece in pieces {
        match piece.as_rule() {
            Rule::also => comma = Some(build.span(&piece)),
            Rule::Or => comma = None,
            Rule::peer | Rule::end => {
                let Some(peer) = piece.into_inner().next() else { continue };
                let is_selector = |peer: &Pair<'_, Rule>| {
                    matches!(peer.as_rule(), Rule::pods | Rule::nodes | Rule::namespaces | Rule::services)
                };
                let is_bare =
                    peer.clone().into_inner().next().is_some_and(|first| first.as_rule() == Rule::selector);
                if let Some(at) = comma.filter(|_| is_bare && peers.last().is_some_and(is_selector)) {
                    build.findings.push(
                        Diagnostic::new(Code::PolicySyntax, at, "a comma before labels that narrow nothing")
                            .labelled("reads as `and`, but what is before it is whole")
                            .help("write `or` for another peer; labels that must all hold stand together, before `in`"),
                    );
                }
                peers.push(peer);
            }
            _ => {}
        }
    }
    peers
}

/// The fields of a rule of Cilium's policies.
pub(super) fn cilium<'t, 'p>(
    build: &mut Build<'t, '_>,
    sets: &Sets<'t>,
    ingress: bool,
    peers: impl Iterator<Item = Pair<'p, Rule>>,
) -> Vec<Field> {
    let mut lists = Lists { ingress, lists: Vec::new() };
    // Which list of blocks is meant shows only at the last of them.
    let mut blocks: Vec<Block> = Vec::new();
    for peer in peers {
        let at = build.span(&peer);
        match peer.as_rule() {
            Rule::no_peers => {
                if let Some(kind) = peer.into_inner().next() {
                    lists.add(kind.as_rule(), at, &[]);
                }
            }
            Rule::pods => {
                let item = pods(build, peer);
                lists.add(Rule::Pods, at, &[item]);
            }
            Rule::nodes => {
                let item = selector(build, &peer, None);
                lists.add(Rule::Nodes, at, &[item]);
            }
            Rule::namespaces => {
                misplaced(
                    build,
                    at,
                    "`namespaces`",
                    "a policy of Cilium",
                    "name one behind pods, `all pods in shop`, or select by `io.cilium.k8s.namespace.labels.KEY=value`",
                );
            }
            Rule::service | Rule::services => {
                let item = service(build, peer);
                lists.add(Rule::Services, at, &[item]);
            }
            Rule::fqdn => {
                let items = dns_names(build, peer);
                lists.add(Rule::Fqdn, at, &items);
            }
            Rule::cidr | Rule::cidrset => {
                let is_set = peer.as_rule() == Rule::cidrset;
                let written = peer.into_inner().filter(|piece| piece.as_rule() == Rule::block);
                let entries: Vec<Block> = written.flat_map(|block| sets.block(build, block)).collect();
                let kind = if is_set { Rule::Cidrset } else { Rule::Cidr };
                let items: Vec<NodeId> = entries.iter().map(|block| item(build, block, is_set)).collect();
                lists.add(kind, at, &items);
            }
            _ => match named(build, sets, &peer) {
                Named::Blocks(more) => blocks.extend(more),
                Named::Entity(id) => lists.add(Rule::Entities, at, &[id]),
                Named::Unknown => {
                    let id = build.broken(at);
                    lists.add(Rule::Entities, at, &[id]);
                }
                Named::None => blocks.extend(sets.block(build, peer)),
            },
        }
    }
    let is_set = blocks.iter().any(|block| block.plain().is_none());
    for block in &blocks {
        let id = item(build, block, is_set);
        lists.add(if is_set { Rule::Cidrset } else { Rule::Cidr }, block.at, &[id]);
    }
    lists.fields(build)
}

/// The list of peers of a NetworkPolicy's rule.
pub(super) fn network<'t, 'p>(
    build: &mut Build<'t, '_>,
    sets: &Sets<'t>,
    peers: impl Iterator<Item = Pair<'p, Rule>>,
) -> Vec<NodeId> {
    let mut items = Vec::new();
    for peer in peers {
        let at = build.span(&peer);
        match peer.as_rule() {
            Rule::pods => items.push(network_pods(build, peer)),
            Rule::namespaces => {
                let namespaces = selector(build, &peer, None);
                items.push(build.wrapped(at, "namespaceSelector", namespaces));
            }
            Rule::block => {
                let blocks = match named(build, sets, &peer) {
                    Named::Blocks(blocks) => blocks,
                    Named::Entity(_) => {
                        let help =
                            "only Cilium's policies know entities; to mean everybody leave the peers out";
                        misplaced(build, at, "an entity", "a network policy", help);
                        Vec::new()
                    }
                    Named::Unknown => Vec::new(),
                    Named::None => sets.block(build, peer),
                };
                for block in blocks {
                    if block.is_group() {
                        misplaced(
                            build,
                            at,
                            "a group",
                            "a network policy",
                            "write a `policy`, or the addresses",
                        );
                    }
                    let entry = block.entry(build);
                    items.push(build.wrapped(block.at, "ipBlock", entry));
                }
            }
            _ => {
                let word = peer.as_str().split([' ', '\t']).next().unwrap_or("");
                misplaced(
                    build,
                    at,
                    &format!("`{word}`"),
                    "a network policy",
                    "write a `policy`; a network policy has pods, namespaces and address blocks",
                );
            }
        }
    }
    items
}

/// What a bare name among peers stands for.
enum Named {
    Blocks(Vec<Block>),
    Entity(NodeId),
    Unknown,
    /// The peer is no bare name.
    None,
}

fn named<'t>(build: &mut Build<'t, '_>, sets: &Sets<'t>, peer: &Pair<'_, Rule>) -> Named {
    let Some(name) = peer.clone().into_inner().next().filter(|piece| piece.as_rule() == Rule::name) else {
        return Named::None;
    };
    if let Some(blocks) = sets.named(build, &name) {
        return Named::Blocks(blocks);
    }
    if ENTITY_NAMES.contains(&name.as_str()) {
        return Named::Entity(build.text(&name));
    }
    sets.report_unknown(build, &name, ENTITY_NAMES);
    Named::Unknown
}

fn item(build: &mut Build<'_, '_>, block: &Block, is_set: bool) -> NodeId {
    match block.plain() {
        Some(prefix) if !is_set => prefix,
        _ => block.entry(build),
    }
}

/// Pods of a Cilium policy, whose namespace is a label like any other.
pub(super) fn pods(build: &mut Build<'_, '_>, part: Pair<'_, Rule>) -> NodeId {
    let at = build.span(&part);
    let mut namespace = None;
    for piece in part.clone().into_inner() {
        match piece.as_rule() {
            Rule::namespace => namespace = texts(piece).next().map(|name| build.text(&name)),
            Rule::namespace_of => {
                let help = "name one, `in shop`, or select by `io.cilium.k8s.namespace.labels.KEY=value`";
                misplaced(build, at, "`in namespaces`", "a policy of Cilium", help);
            }
            _ => {}
        }
    }
    selector(build, &part, namespace)
}

fn network_pods(build: &mut Build<'_, '_>, part: Pair<'_, Rule>) -> NodeId {
    let at = build.span(&part);
    let pods = selector(build, &part, None);
    let mut fields = vec![build.field(at, "podSelector", pods)];
    for piece in part.into_inner() {
        let piece_at = build.span(&piece);
        let namespaces = match piece.as_rule() {
            Rule::namespace => match texts(piece).next() {
                Some(name) => {
                    let name = build.text(&name);
                    selector::namespace_named(build, name)
                }
                None => continue,
            },
            Rule::namespace_of => {
                match piece.into_inner().find(|inner| inner.as_rule() == Rule::namespaces) {
                    Some(namespaces) => selector(build, &namespaces, None),
                    None => continue,
                }
            }
            _ => continue,
        };
        fields.push(build.field(piece_at, "namespaceSelector", namespaces));
    }
    build.object(at, &fields)
}

fn service(build: &mut Build<'_, '_>, part: Pair<'_, Rule>) -> NodeId {
    let at = build.span(&part);
    let (key, mut fields) = if part.as_rule() == Rule::service {
        let name = texts(part.clone()).next();
        ("k8sService", name.map(|name| build.text_field("serviceName", name)).into_iter().collect())
    } else {
        let labels = selector(build, &part, None);
        ("k8sServiceSelector", vec![build.field(at, "selector", labels)])
    };
    let namespace = part.into_inner().find(|piece| piece.as_rule() == Rule::namespace);
    if let Some(name) = namespace.and_then(|namespace| texts(namespace).next()) {
        fields.push(build.text_field("namespace", name));
    }
    let inner = build.object(at, &fields);
    build.wrapped(at, key, inner)
}

/// The names and patterns among a part's pieces. A star makes a pattern; without one `pattern` does.
pub(super) fn dns_names(build: &mut Build<'_, '_>, part: Pair<'_, Rule>) -> Vec<NodeId> {
    let mut items = Vec::new();
    for piece in part.into_inner().filter(|piece| piece.as_rule() == Rule::dns_name) {
        let at = build.span(&piece);
        let mut is_pattern = false;
        let mut value = None;
        for inner in piece.into_inner() {
            match inner.as_rule() {
                Rule::Pattern => is_pattern = true,
                _ => value = Some(build.text(&inner)),
            }
        }
        let Some(value) = value else { continue };
        let key = if is_pattern || build.name_of(value).contains('*') { "matchPattern" } else { "matchName" };
        items.push(build.wrapped(at, key, value));
    }
    items
}
