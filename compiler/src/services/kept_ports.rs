//! Ports that cannot be led to: SCTP keeps its port, so a frontend whose backends have another is served by nobody.
//!
//! The checksum of SCTP is over its ports and its data, and is none that the datapath could change in part. Not here: what the datapath does
//! with such packets (`bpf/services/rewrite.h`).

use super::model::{Balanced, Pool};
use std::collections::BTreeSet;
use weir_abi::services::FrontendKind;
use weir_grammar::diagnostic::{Code, Diagnostic};
use weir_grammar::tree::{Protocol, ServiceType, TargetPort};

/// Finds the ports of a service that lead to others and cannot.
pub(super) fn find(balanced: &Balanced<'_>, found: &mut Vec<Diagnostic>) {
    // The pools of a port, one a family, stand side by side.
    let ports = balanced.pools.chunk_by(|one, next| std::ptr::eq(one.port, next.port));
    found.extend(ports.filter_map(|pools| of_port(balanced, pools)));
}

fn of_port(balanced: &Balanced<'_>, pools: &[Pool<'_>]) -> Option<Diagnostic> {
    let port = pools.first()?.port;
    if port.protocol != Protocol::Sctp {
        return None;
    }
    let mut unserved = BTreeSet::new();
    let mut backends = BTreeSet::new();
    for pool in pools {
        let led_to = led_to(pool);
        for frontend in &pool.frontends {
            if let Some(backend) = led_to.iter().find(|backend| **backend != frontend.port) {
                unserved.insert((frontend.kind == FrontendKind::NodePort, frontend.port));
                backends.insert(*backend);
            }
        }
    }
    let (&(is_of_nodes, _), &backend) = (unserved.first()?, backends.first()?);
    let told = unserved.iter().map(|(is_of_nodes, number)| {
        if *is_of_nodes { format!("port {number} of nodes") } else { format!("port {number}") }
    });
    let told = told.collect::<Vec<String>>().join(" and ");
    let message = format!("{} leads SCTP from {told} to port {backend} of backends", balanced.name());
    let help = match (is_of_nodes, balanced.service.kind) {
        (false, _) => "let `port` be the port that the backends serve at",
        (true, ServiceType::LoadBalancer) => {
            "where nobody asks for ports of nodes, write `allocateLoadBalancerNodePorts: false` and no `nodePort`"
        }
        (true, _) => "let the backends serve at `nodePort`, and let `port` be the same number",
    };
    let finding = Diagnostic::new(Code::SctpPortChanges, port.span, message);
    Some(finding.labelled(format!("not served at {told}")).help(help))
}

/// The ports of a pool's backends; what the service says of them, where there are none.
fn led_to(pool: &Pool<'_>) -> BTreeSet<u16> {
    let own: BTreeSet<u16> = pool.candidates.iter().map(|candidate| candidate.port).collect();
    match &pool.port.target {
        TargetPort::Number(number) if own.is_empty() => BTreeSet::from([*number]),
        _ => own,
    }
}
