//! Why a connection passes or not, for people and as JSON.

use super::json;
use super::text::renderer;
use super::window::Block;
use crate::explanation::{Close, Explanation, SideStory};
use annotate_snippets::{AnnotationKind, Group, Level, Snippet};
use serde::Serialize;
use std::fmt::Write;
use weir_abi::{Action, Part, Reason};
use weir_compiler::cluster::Party;
use weir_compiler::flow::{Flow, Verdict};
use weir_compiler::ir::{Direction, Policy, PortMatch, Ports, Requests, Rule, protocol};
use weir_grammar::span::Span;
use weir_project::Project;
use weir_project::place::Places;
use weir_project::visible::visible;

/// Lines of a rule that are shown.
const LINES: usize = 12;
/// Lines of a rule beside which its request rule is shown.
const FEW_LINES: usize = 3;
/// Isolating policies that are shown.
const POLICIES: usize = 3;
/// Ports of a rule that are named.
const PORTS: usize = 4;

/// For people.
pub(crate) fn text(explanation: &Explanation<'_>, project: &Project, colors: bool) -> String {
    let teller = Teller { project, flow: explanation.flow, places: places(explanation, project) };
    let mut text = teller.connection();
    let verdict = match explanation.judgement.verdict {
        Verdict::Allow => "allowed",
        Verdict::Deny => "denied",
        Verdict::RedirectAllow => "handed to the proxy, which lets it pass",
        Verdict::RedirectDeny => "handed to the proxy, which refuses it",
    };
    let _ = writeln!(text, ": {verdict} ({})\n", explanation.judgement.reason());
    text.push_str(&sides(explanation, project, colors, |_| true));
    text.truncate(text.trim_end().len());
    text + "\n"
}

/// What some sides of a connection say, an empty line after each.
pub(crate) fn sides(
    explanation: &Explanation<'_>,
    project: &Project,
    colors: bool,
    is_told: impl Fn(&SideStory<'_>) -> bool,
) -> String {
    let teller = Teller { project, flow: explanation.flow, places: places(explanation, project) };
    let renderer = renderer(colors);
    let told = explanation.sides.iter().filter(|story| is_told(story));
    told.map(|story| renderer.render(&teller.side(story)) + "\n\n").collect()
}

/// Who connects to whom, on which port, and what is asked.
pub(crate) fn connection(flow: &Flow, project: &Project) -> String {
    Teller { project, flow, places: Places::of([], &project.sources) }.connection()
}

fn places<'p>(explanation: &Explanation<'_>, project: &'p Project) -> Places<'p> {
    let mut places = Places::of([], &project.sources);
    for story in &explanation.sides {
        let policies = story.isolated_by.iter().map(|policy| policy.span);
        let rules = story.rule.iter().copied().chain(story.close.iter().map(|close| close.rule));
        for span in policies.chain(rules.map(|rule| rule.span)) {
            places.add(span.file);
        }
    }
    places
}

struct Teller<'p> {
    project: &'p Project,
    flow: &'p Flow,
    places: Places<'p>,
}

impl<'p> Teller<'p> {
    fn connection(&self) -> String {
        let (source, destination) = (self.flow.source, self.flow.destination);
        let mut text = format!("{} to {} on {}", self.name(source), self.name(destination), self.port());
        if let [name, ..] = self.flow.fqdn.as_slice() {
            let _ = write!(text, ", known as {}", visible(name));
        }
        if let Some(asked) = self.asked() {
            let _ = write!(text, ", {asked}");
        }
        text
    }

    fn name(&self, party: Party) -> String {
        let name = self.project.cluster.name(party);
        match party {
            Party::Node(_) => format!("node {}", visible(&name)),
            Party::Pod(_) | Party::Outside(_) => visible(&name).into_owned(),
        }
    }

    fn port(&self) -> String {
        let Flow { protocol, port, .. } = *self.flow;
        let name = protocol_name(protocol);
        if is_icmp(protocol) { format!("{name} type {port}") } else { format!("{name} {port}") }
    }

    fn asked(&self) -> Option<String> {
        match (&self.flow.http, &self.flow.dns) {
            (Some(http), _) => Some(format!("`{} {}`", visible(&http.method), visible(&http.path))),
            (None, Some(dns)) => Some(format!("asking for `{}`", visible(&dns.query))),
            (None, None) => None,
        }
    }

    fn rule(&self, rule: &Rule) -> String {
        let policy = self.project.set.policies.get(rule.policy).map(policy).unwrap_or_default();
        format!("{} of {policy}", rule.path)
    }

    /// A side as a heading and excerpts.
    fn side(&self, story: &SideStory<'_>) -> Vec<Group<'p>> {
        let level = match (story.side.action, story.side.passes) {
            (Action::Deny, _) => Level::ERROR.with_name("denied"),
            (Action::Redirect, Some(true)) => Level::NOTE.with_name("redirected"),
            (Action::Redirect, _) => Level::ERROR.with_name("redirected"),
            (Action::Allow, _) => Level::NOTE.with_name("allowed"),
        };
        let mut group = Group::with_title(level.primary_title(self.heading(story)));
        if let Some(rule) = story.rule {
            // The request rule that decides is shown below.
            let lines = if story.request.is_some() { FEW_LINES } else { LINES };
            group = self.rule_excerpt(group, rule, lines, &format!("by {}", self.rule(rule)));
        }
        if let (Some(rule), Some((place, span))) = (story.rule, story.request) {
            let list = requests(rule);
            group = self.excerpt(group, span, LINES, &format!("rules.{list}[{place}] admits the request"));
        }
        if story.side.reason == Reason::DefaultDeny {
            for isolating in story.isolated_by.iter().take(POLICIES) {
                group = self.excerpt(group, isolating.span, 1, &format!("{} isolates it", policy(isolating)));
            }
            if let Some(more @ 1..) = story.isolated_by.len().checked_sub(POLICIES) {
                group = group.element(Level::NOTE.message(format!("so do {} more", super::policies(more))));
            }
        }
        if let Some(note) = self.note(story) {
            group = group.element(Level::NOTE.message(note));
        }
        let mut groups = vec![group];
        for close in &story.close {
            let title = Level::HELP.with_name("nearly").secondary_title(self.close(story, close));
            let group = Group::with_title(title);
            groups.push(self.rule_excerpt(group, close.rule, LINES, Self::shortfall(close)));
        }
        groups
    }

    fn heading(&self, story: &SideStory<'_>) -> String {
        let side = match story.direction {
            Direction::Ingress => "ingress to",
            Direction::Egress => "egress of",
        };
        let how = match (story.side.reason, story.subject) {
            (Reason::NoPolicy, Party::Outside(_)) => ", an address outside the cluster",
            (Reason::NoPolicy, _) => ", which no policy selects",
            (Reason::DefaultDeny | Reason::DefaultAllow, _) => ", by default",
            (Reason::OwnNode, _) => ", from its own node",
            _ => "",
        };
        format!("{side} {}{how}", self.name(story.subject))
    }

    fn note(&self, story: &SideStory<'_>) -> Option<String> {
        match (story.side.action, story.side.reason) {
            (Action::Redirect, _) => Some(self.request(story)),
            (_, Reason::DeniedByRule) => Some("a deny rule is stronger than any allow".into()),
            (_, Reason::DefaultDeny) => {
                let verb = match story.direction {
                    Direction::Ingress => "admits",
                    Direction::Egress => "lets it reach",
                };
                Some(format!("no rule {verb} {} on {}", self.name(story.peer), self.port()))
            }
            (_, Reason::DefaultAllow) => {
                Some("policies select it, but none isolates it (enableDefaultDeny: false)".into())
            }
            (_, Reason::OwnNode) => Some("a pod's own node may always reach it".into()),
            _ => None,
        }
    }

    fn request(&self, story: &SideStory<'_>) -> String {
        let asked = self.asked();
        let proxy = match story.rule.map(|rule| &rule.requests) {
            Some(Some(Requests::Http(_))) => "the HTTP proxy",
            Some(Some(Requests::Dns(_))) => "the DNS proxy",
            _ => "the proxy",
        };
        match (story.side.passes, asked, story.request) {
            (Some(true), Some(_), Some(_)) => format!("handed to {proxy}, which lets the request pass"),
            (Some(true), Some(_), None) => format!("handed to {proxy}, which here lets every request pass"),
            (Some(true), None, _) => format!("handed to {proxy}, which decides by the request"),
            (_, Some(asked), _) => format!("handed to {proxy}, which has no rule for {asked}"),
            (_, None, _) => format!("handed to {proxy}, which lets no request pass"),
        }
    }

    fn close(&self, story: &SideStory<'_>, close: &Close<'_>) -> String {
        let (rule, peer, port) = (self.rule(close.rule), self.name(story.peer), self.port());
        let admits = match story.direction {
            Direction::Ingress => format!("{rule} admits"),
            Direction::Egress => format!("{rule} lets it reach"),
        };
        match (close.is_of_peer, story.direction) {
            (true, _) => format!("{admits} {peer}, but on {}", ports(&close.rule.ports)),
            (false, Direction::Ingress) => format!("{admits} {port}, but not from {peer}"),
            (false, Direction::Egress) => format!("{admits} {port}, but not of {peer}"),
        }
    }

    /// What is wrong with a rule that comes close.
    const fn shortfall(close: &Close<'_>) -> &'static str {
        if close.is_of_peer { "other ports" } else { "other peers" }
    }

    /// A rule; if it is one of several port lists, with the peers it is about.
    fn rule_excerpt(&self, group: Group<'p>, rule: &Rule, lines: usize, label: &str) -> Group<'p> {
        let (text, span) = (self.places.text(rule.span), rule.span);
        let (start, end) = (span.start as usize, span.end as usize);
        let block = match rule.path.part {
            Part::Ports(_) => Block::in_item(text, start, end, lines, "toPorts:"),
            Part::Section => Block::new(text, start, end, 1),
            Part::Whole | Part::Icmps => Block::new(text, start, end, lines),
        };
        self.block(group, span, block, label)
    }

    fn excerpt(&self, group: Group<'p>, span: Span, lines: usize, label: &str) -> Group<'p> {
        let block = Block::new(self.places.text(span), span.start as usize, span.end as usize, lines);
        self.block(group, span, block, label)
    }

    fn block(&self, group: Group<'p>, span: Span, block: Block, label: &str) -> Group<'p> {
        let place = self.places.place(span);
        let line = usize::try_from(place.line.saturating_sub(block.above)).unwrap_or(usize::MAX);
        let shown = block.shown.into_iter().filter(|range| !range.is_empty());
        let snippet = Snippet::source(block.text).line_start(line).path(visible(place.file));
        let mark = AnnotationKind::Primary.span(block.mark).label(visible(label).into_owned());
        group.element(
            snippet.annotations(shown.map(|range| AnnotationKind::Visible.span(range)).chain([mark])),
        )
    }
}

fn policy(policy: &Policy) -> String {
    format!("{} {}", policy.kind.as_str(), visible(&policy.qualified_name()))
}

const fn requests(rule: &Rule) -> &'static str {
    match rule.requests {
        Some(Requests::Dns(_)) => "dns",
        _ => "http",
    }
}

const fn is_icmp(number: u8) -> bool {
    matches!(number, protocol::ICMP | protocol::ICMPV6)
}

fn protocol_name(number: u8) -> String {
    match number {
        protocol::TCP => "TCP".into(),
        protocol::UDP => "UDP".into(),
        protocol::SCTP => "SCTP".into(),
        protocol::ICMP => "ICMP".into(),
        protocol::ICMPV6 => "ICMPv6".into(),
        other => format!("protocol {other}"),
    }
}

fn ports(ports: &Ports) -> String {
    let Ports::Any(matches) = ports else { return "every port".into() };
    let one = |port: &PortMatch| match port {
        PortMatch::Range { protocol, first: 0, last: u16::MAX } => {
            format!("any {} port", protocol_name(*protocol))
        }
        PortMatch::Range { protocol, first, last } if first == last => {
            format!("{} {first}", protocol_name(*protocol))
        }
        PortMatch::Range { protocol, first, last } => format!("{} {first}-{last}", protocol_name(*protocol)),
        PortMatch::Named { protocol, name } => {
            format!("{} port `{}`", protocol_name(*protocol), visible(name))
        }
    };
    let mut named: Vec<String> = matches.iter().take(PORTS).map(one).collect();
    if let Some(more @ 1..) = matches.len().checked_sub(PORTS) {
        named.push(format!("{more} more"));
    }
    if named.is_empty() { "no port at all".into() } else { named.join(", ") }
}

#[derive(Serialize)]
struct Told<'a> {
    from: String,
    to: String,
    protocol: String,
    port: u16,
    verdict: &'static str,
    reason: &'static str,
    sides: Vec<ToldSide<'a>>,
}

#[derive(Serialize)]
struct ToldSide<'a> {
    direction: &'static str,
    subject: String,
    peer: String,
    action: &'static str,
    reason: &'static str,
    request_passes: Option<bool>,
    by: Option<ToldRule<'a>>,
    request: Option<ToldRule<'a>>,
    isolated_by: Vec<ToldRule<'a>>,
    close: Vec<ToldClose<'a>>,
}

/// A rule, a request rule (without policy) or a policy (without rule).
#[derive(Serialize)]
struct ToldRule<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    file: &'a str,
    line: u32,
    column: u32,
}

#[derive(Serialize)]
struct ToldClose<'a> {
    #[serde(flatten)]
    rule: ToldRule<'a>,
    peer_fits: bool,
    port_fits: bool,
}

/// As one JSON object.
pub(crate) fn json(explanation: &Explanation<'_>, project: &Project) -> serde_json::Result<String> {
    let places = places(explanation, project);
    let cluster = &project.cluster;
    let at = |span: Span, of: Option<&Policy>, rule: Option<String>| {
        let place = places.place(span);
        ToldRule {
            kind: of.map(|policy| policy.kind.as_str()),
            policy: of.map(Policy::qualified_name),
            rule,
            file: place.file,
            line: place.line,
            column: place.column,
        }
    };
    let of_rule =
        |rule: &Rule| at(rule.span, project.set.policies.get(rule.policy), Some(rule.path.to_string()));
    let side = |story: &SideStory<'_>| ToldSide {
        direction: story.direction.as_str(),
        subject: cluster.name(story.subject),
        peer: cluster.name(story.peer),
        action: match story.side.action {
            Action::Allow => "allow",
            Action::Redirect => "redirect",
            Action::Deny => "deny",
        },
        reason: story.side.reason.as_str(),
        request_passes: story.side.passes,
        by: story.rule.map(of_rule),
        request: story.rule.zip(story.request).map(|(rule, (place, span))| {
            let list = requests(rule);
            at(span, None, Some(format!("rules.{list}[{place}]")))
        }),
        isolated_by: story.isolated_by.iter().map(|policy| at(policy.span, Some(policy), None)).collect(),
        close: story
            .close
            .iter()
            .map(|close| ToldClose {
                rule: of_rule(close.rule),
                peer_fits: close.is_of_peer,
                port_fits: !close.is_of_peer,
            })
            .collect(),
    };
    json::text(&Told {
        from: cluster.name(explanation.flow.source),
        to: cluster.name(explanation.flow.destination),
        protocol: protocol_name(explanation.flow.protocol),
        port: explanation.flow.port,
        verdict: explanation.judgement.verdict.as_str(),
        reason: explanation.judgement.reason(),
        sides: explanation.sides.iter().map(side).collect(),
    })
}
