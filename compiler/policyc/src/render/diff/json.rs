//! Differences as one JSON object. Its schema is `docs/schemas/diff.schema.json`; fields are added, never changed, while
//! the version stays.

use super::counted;
use crate::render::json;
use serde::Serialize;
use weir_abi::Action;
use weir_compiler::cluster::{Cluster, Party};
use weir_compiler::diff::{
    Asked, Difference, HeaderRule, Kind, NameTerm, Names, Outside, Peers, PortRange, Ports, Request, Said,
    Trend,
};
use weir_compiler::flow::{Origins, RuleLine, protocol_name};
use weir_compiler::ir::Direction;
use weir_grammar::tree::Mismatch;
use weir_project::Comparison;

/// The version of the schema.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Told<'a> {
    version: u32,
    from: Set,
    to: Set,
    summary: Summary,
    differences: Vec<OneDifference<'a>>,
}

#[derive(Serialize)]
struct Set {
    policies: usize,
    rules: usize,
}

#[derive(Serialize)]
struct Summary {
    opened: usize,
    closed: usize,
    requests: usize,
}

#[derive(Serialize)]
struct OneDifference<'a> {
    kind: &'static str,
    requests: Option<&'static str>,
    direction: &'static str,
    subjects: Subjects,
    peers: OnePeers<'a>,
    ports: OnePorts,
    before: OneSaid<'a>,
    after: OneSaid<'a>,
    other_side_denies: Vec<String>,
}

#[derive(Serialize)]
struct Subjects {
    pods: Vec<String>,
    nodes: Vec<String>,
}

#[derive(Serialize)]
struct OnePeers<'a> {
    everyone: bool,
    pods: Vec<String>,
    nodes: Vec<String>,
    own_nodes: Vec<String>,
    entities: &'a [&'static str],
    outside: Vec<OneOutside<'a>>,
}

#[derive(Serialize)]
struct OneOutside<'a> {
    blocks: Vec<String>,
    names: Option<OneNames<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum OneNames<'a> {
    Of(Vec<OneTerm<'a>>),
    NoneOf(Vec<OneTerm<'a>>),
}

#[derive(Serialize)]
struct OneTerm<'a> {
    all_of: Vec<Pattern<'a>>,
    none_of: Vec<Pattern<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Pattern<'a> {
    Name(&'a str),
    Pattern(&'a str),
}

#[derive(Serialize)]
struct OnePorts {
    ranges: Vec<OneRange>,
    other_protocols: bool,
    /// Of everything that `other_protocols` stands for.
    except: Vec<OneRange>,
}

#[derive(Serialize)]
struct OneRange {
    protocol: String,
    first: u16,
    last: u16,
}

#[derive(Serialize)]
struct OneSaid<'a> {
    action: &'static str,
    reason: &'static str,
    by: Vec<RuleLine<'a>>,
    requests: Option<OneAsked<'a>>,
}

#[derive(Serialize)]
struct OneAsked<'a> {
    everything: bool,
    rules: Vec<OneRequest<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum OneRequest<'a> {
    Http {
        method: Option<&'a str>,
        path: Option<&'a str>,
        host: Option<&'a str>,
        headers: Vec<OneHeader<'a>>,
    },
    Dns(Pattern<'a>),
    Tls {
        contexts: &'a [String],
        server_names: &'a [String],
    },
}

#[derive(Serialize)]
struct OneHeader<'a> {
    name: &'a str,
    value: Option<&'a str>,
    secret: Option<&'a str>,
    mismatch: &'static str,
}

/// The object, a line break after it.
pub(crate) fn render(
    comparison: &Comparison,
    differences: &[Difference],
    origins: &dyn Origins,
) -> serde_json::Result<String> {
    let cluster = &comparison.project.cluster;
    let [from, to] =
        [0, 1].map(|side: usize| Set { policies: comparison.policies[side], rules: comparison.rules[side] });
    let [(_, opened), (_, closed), (_, requests)] = counted(differences);
    json::text(&Told {
        version: VERSION,
        from,
        to,
        summary: Summary { opened, closed, requests },
        differences: differences.iter().map(|one| difference(one, cluster, origins)).collect(),
    })
}

fn difference<'a>(
    difference: &'a Difference,
    cluster: &Cluster,
    origins: &'a dyn Origins,
) -> OneDifference<'a> {
    let trend = match difference.trend() {
        Trend::Wider => "wider",
        Trend::Narrower => "narrower",
        Trend::Other => "other",
    };
    let Difference { direction, subjects, peers, ports, before, after, other_side_denies } = difference;
    let named = |of: fn(&Party) -> bool| {
        subjects.iter().filter(|party| of(party)).map(|&party| cluster.name(party)).collect()
    };
    OneDifference {
        kind: difference.kind().as_str(),
        requests: (difference.kind() == Kind::Requests).then_some(trend),
        direction: direction.as_str(),
        subjects: Subjects {
            pods: named(|party| matches!(party, Party::Pod(_))),
            nodes: named(|party| matches!(party, Party::Node(_))),
        },
        peers: one_peers(peers, cluster),
        ports: one_ports(ports),
        before: said(before, *direction, origins),
        after: said(after, *direction, origins),
        other_side_denies: other_side_denies.iter().map(|&pod| cluster.name(Party::Pod(pod))).collect(),
    }
}

fn one_peers<'a>(peers: &'a Peers, cluster: &Cluster) -> OnePeers<'a> {
    let named = |places: &[usize], party: fn(usize) -> Party| {
        places.iter().map(|&place| cluster.name(party(place))).collect()
    };
    let outside = |outside: &'a Outside| OneOutside {
        blocks: outside.blocks.iter().map(ToString::to_string).collect(),
        names: match &outside.names {
            Names::Any => None,
            Names::Of(terms) => Some(OneNames::Of(terms.iter().map(term).collect())),
            Names::NoneOf(terms) => Some(OneNames::NoneOf(terms.iter().map(term).collect())),
        },
    };
    OnePeers {
        everyone: peers.everyone,
        pods: named(&peers.pods, Party::Pod),
        nodes: named(&peers.nodes, Party::Node),
        own_nodes: named(&peers.own_nodes, Party::Node),
        entities: &peers.entities,
        outside: peers.outside.iter().map(outside).collect(),
    }
}

fn term(term: &NameTerm) -> OneTerm<'_> {
    OneTerm { all_of: patterns(&term.all_of), none_of: patterns(&term.none_of) }
}

fn patterns(names: &[(String, bool)]) -> Vec<Pattern<'_>> {
    names.iter().map(|(text, is_pattern)| pattern(text, *is_pattern)).collect()
}

fn pattern(text: &str, is_pattern: bool) -> Pattern<'_> {
    if is_pattern { Pattern::Pattern(text) } else { Pattern::Name(text) }
}

fn one_ports(ports: &Ports) -> OnePorts {
    let range = |&PortRange { protocol, first, last }: &PortRange| OneRange {
        protocol: protocol_name(protocol),
        first,
        last,
    };
    let ranges = |ranges: &[PortRange]| ranges.iter().map(range).collect();
    OnePorts {
        ranges: ranges(&ports.ranges),
        other_protocols: ports.other_protocols,
        except: if ports.other_protocols { ranges(&ports.rest) } else { Vec::new() },
    }
}

fn said<'a>(said: &'a Said, direction: Direction, origins: &'a dyn Origins) -> OneSaid<'a> {
    OneSaid {
        action: match said.action {
            Action::Allow => "allow",
            Action::Redirect => "redirect",
            Action::Deny => "deny",
        },
        reason: said.reason.as_str(),
        by: said.rules.iter().filter_map(|&rule| RuleLine::new(direction, rule, origins)).collect(),
        requests: said.requests.as_ref().map(|Asked { everything, rules }| OneAsked {
            everything: *everything,
            rules: rules.iter().map(request).collect(),
        }),
    }
}

fn request(request: &Request) -> OneRequest<'_> {
    match request {
        Request::Http(rule) => OneRequest::Http {
            method: rule.method.as_deref(),
            path: rule.path.as_deref(),
            host: rule.host.as_deref(),
            headers: rule.headers.iter().map(header).collect(),
        },
        Request::Dns { name, is_pattern } => OneRequest::Dns(pattern(name, *is_pattern)),
        Request::Tls { contexts, server_names } => OneRequest::Tls { contexts, server_names },
    }
}

fn header(header: &HeaderRule) -> OneHeader<'_> {
    OneHeader {
        name: &header.name,
        value: header.value.as_deref(),
        secret: header.secret.as_deref(),
        mismatch: match header.mismatch {
            Mismatch::Fail => "fail",
            Mismatch::Log => "log",
            Mismatch::Add => "add",
            Mismatch::Delete => "delete",
            Mismatch::Replace => "replace",
        },
    }
}
