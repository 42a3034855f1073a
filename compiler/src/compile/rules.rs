//! The rules that an endpoint is under, made concrete: peers as marks, port names as numbers.

use super::marks::{PeerMarks, PortName, Who, named_ports};
use crate::classes::ports::{PortMarks, PortRange};
use crate::identity::{Entry, Kind};
use crate::ir::{Direction, Effect, PolicySet, PortMatch, Ports, Requests, Rule};
use crate::tables::{Clause, ClausePorts, Strength, TableRules};
use weir_abi::RequestKind;

/// Collects the rules of one endpoint in one direction. `rules` are ids, sorted.
pub(super) fn concrete(
    set: &PolicySet,
    rules: &[u32],
    direction: Direction,
    endpoint: &Entry<'_>,
    peers: &mut PeerMarks<'_, '_>,
    ports: &mut PortMarks,
) -> TableRules {
    let mut table = TableRules::default();
    for &id in rules {
        let rule = &set.rules[id as usize];
        if rule.isolates && table.isolated_by.is_none() {
            table.isolated_by = Some(id);
        }
        let own_ports: Vec<(PortName, u16)> = match direction {
            Direction::Ingress => named_ports(endpoint).collect(),
            Direction::Egress => Vec::new(),
        };
        add_rule(&mut table, id, rule, &own_ports, peers, ports);
    }
    // A pod's own node may always reach it, where isolation would forbid it.
    let is_pod = endpoint.kind == Kind::Pods;
    if direction == Direction::Ingress
        && is_pod
        && table.isolated_by.is_some()
        && let Who::Marked(mark) = peers.entity("host")
    {
        let (ports, strength) = (ClausePorts::Everything, Strength::OwnNode);
        table.clauses.push(Clause { rule: u32::MAX, peers: Some(mark), ports, strength });
    }
    table
}

fn add_rule(
    table: &mut TableRules,
    id: u32,
    rule: &Rule,
    own_ports: &[(PortName, u16)],
    peers: &mut PeerMarks<'_, '_>,
    ports: &mut PortMarks,
) {
    let strength = match (rule.effect, &rule.requests) {
        (Effect::Deny, _) => Strength::Deny,
        (Effect::Allow, None) => Strength::Allow,
        (Effect::Allow, Some(Requests::Http(_))) => Strength::Redirect(RequestKind::Http),
        (Effect::Allow, Some(Requests::Dns(_))) => Strength::Redirect(RequestKind::Dns),
        (Effect::Allow, Some(Requests::Tls)) => Strength::Redirect(RequestKind::Tls),
    };
    let mut push = |who: Who, ports: ClausePorts| {
        let peers = match who {
            Who::Nobody => return,
            Who::Anyone => None,
            Who::Marked(mark) => Some(mark),
        };
        table.clauses.push(Clause { rule: id, peers, ports, strength });
    };
    let matches = match &rule.ports {
        Ports::Everything => {
            push(peers.who(rule.peers, None), ClausePorts::Everything);
            return;
        }
        Ports::Any(matches) => matches,
    };
    let mut marks = Vec::new();
    let single = |protocol, port, ports: &mut PortMarks| {
        (ports.mark(PortRange { protocol, first: port, last: port }), true)
    };
    for port in matches {
        match port {
            &PortMatch::Range { protocol, first, last } => {
                marks.push((ports.mark(PortRange { protocol, first, last }), first == last));
            }
            PortMatch::Named { protocol, name } if rule.direction == Direction::Ingress => {
                for ((own_name, own_protocol), number) in own_ports {
                    if own_name == name && own_protocol == protocol {
                        marks.push(single(*protocol, *number, ports));
                    }
                }
            }
            PortMatch::Named { protocol, name } => {
                // Each destination pod has its own number for the name.
                let name: PortName = (name.clone(), *protocol);
                for number in peers.numbers(&name) {
                    let who = peers.who(rule.peers, Some((name.clone(), number)));
                    push(who, ClausePorts::Marks(vec![single(*protocol, number, ports)]));
                }
            }
        }
    }
    if !marks.is_empty() {
        marks.sort_unstable();
        marks.dedup();
        push(peers.who(rule.peers, None), ClausePorts::Marks(marks));
    }
}
