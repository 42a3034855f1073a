//! Services as people read them: who serves each address and port, from where, and on which nodes.

use super::count;
use crate::commands::services::{By, Served, Told, ToldCheck, ToldFrontend, ToldPort, ToldService, reason};
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use weir_project::visible::visible;

/// Backends and nodes that are named in one line; of more there is the number.
const NAMED: usize = 4;

/// All services.
pub(crate) fn text(told: &Told<'_>) -> String {
    if told.services.is_empty() {
        return "no services\n".to_owned();
    }
    let mut text = String::new();
    let mut left_out = Vec::new();
    for service in &told.services {
        match &service.left_out {
            Some(why) => left_out.push((service, why)),
            None => text.push_str(&of_service(told, service)),
        }
    }
    if !left_out.is_empty() {
        text.push_str("not balanced\n");
        for (service, why) in left_out {
            _ = writeln!(text, "  {}: {}", name(service), visible(why));
        }
    }
    text
}

fn name(service: &ToldService<'_>) -> String {
    visible(&format!("{}/{}", service.namespace, service.name)).into_owned()
}

fn of_service(told: &Told<'_>, service: &ToldService<'_>) -> String {
    let mut text = String::new();
    let place = visible(service.file);
    _ = writeln!(text, "{} {} ({place}:{})", name(service), service.kind, service.line);
    let traits = traits(service);
    if !traits.is_empty() {
        _ = writeln!(text, "  {}", traits.join(", "));
    }
    for port in &service.ports {
        text.push_str(&of_port(told, port));
    }
    text.push('\n');
    text
}

/// What is not as it is for most services.
fn traits(service: &ToldService<'_>) -> Vec<String> {
    let mut traits = Vec::new();
    if service.external_traffic_policy == "Local" {
        traits.push("from outside only backends of the node".to_owned());
    }
    if service.internal_traffic_policy == "Local" {
        traits.push("from inside only backends of the node".to_owned());
    }
    if let Some(forwarding) = service.forwarding {
        traits.push(format!("forwarded by {}", forwarding.to_uppercase()));
    }
    if service.algorithm == "random" {
        traits.push("chosen at random".to_owned());
    }
    if let Some(seconds) = service.affinity_seconds {
        traits.push(format!("clients stay for {}", duration(seconds)));
    }
    if !service.source_ranges.is_empty() {
        let ranges = match service.source_ranges.len() {
            ..=NAMED => service.source_ranges.join(" "),
            more => format!("{more} ranges"),
        };
        let who = if service.source_ranges_deny { "all but" } else { "only" };
        traits.push(format!("at load balancers' addresses {who} {ranges}"));
    }
    if let Some(port) = service.health_check_port {
        traits.push(format!("health check at port {port}"));
    }
    if let Some(check) = &service.health_check {
        traits.push(checked(check));
    }
    if let Some(class) = service.load_balancer_class {
        traits.push(format!("class {}", visible(class)));
    }
    traits
}

fn checked(check: &ToldCheck<'_>) -> String {
    let how = match check.request {
        Some([method, path]) => format!("by {method} {}", visible(path)),
        None => "by a connection".to_owned(),
    };
    let every = match u32::try_from(check.interval_ms / 1000) {
        Ok(seconds @ 1..) if check.interval_ms.is_multiple_of(1000) => duration(seconds),
        _ => format!("{} ms", check.interval_ms),
    };
    format!("backends checked every {every} {how}")
}

fn duration(seconds: u32) -> String {
    match seconds {
        _ if seconds.is_multiple_of(3600) => format!("{} h", seconds / 3600),
        _ if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
}

fn of_port(told: &Told<'_>, port: &ToldPort<'_>) -> String {
    let protocol = port.protocol.to_lowercase();
    let mut rows: Vec<[String; 4]> = Vec::new();
    for frontend in &port.frontends {
        let mut heads = heads(told, port, frontend).into_iter();
        let mut lines = lines(told, port, frontend).into_iter();
        loop {
            let (head, line) = (heads.next(), lines.next());
            if head.is_none() && line.is_none() {
                break;
            }
            let kind = if head.is_some() { frontend.kind } else { "" };
            let (who, what) = line.unwrap_or_default();
            rows.push([head.unwrap_or_default(), kind.to_owned(), who, what]);
        }
    }
    let mut text = String::new();
    let title = if port.name.is_empty() { String::new() } else { format!("{} ", visible(port.name)) };
    let family = if port.family == "IPv6" { " over IPv6" } else { "" };
    _ = writeln!(text, "  {title}{}/{protocol}{family}", port.port);
    text.push_str(&table(&rows, "    "));
    let backends: Vec<[String; 4]> = port
        .backends
        .iter()
        .map(|backend| {
            let weight =
                if backend.weight == 1 { String::new() } else { format!("weight {}", backend.weight) };
            [
                format!("-> {}", SocketAddr::new(backend.address, backend.port)),
                backend.state.to_owned(),
                backend.node.map_or(String::new(), |node| visible(node).into_owned()),
                weight,
            ]
        })
        .collect();
    text.push_str(&table(&backends, "      "));
    text
}

/// The addresses of a frontend: a port of nodes has one for each address of one node, and of several nodes none.
fn heads(told: &Told<'_>, port: &ToldPort<'_>, frontend: &ToldFrontend) -> Vec<String> {
    let protocol = port.protocol.to_lowercase();
    let shown = |address: &IpAddr| format!("{}/{protocol}", SocketAddr::new(*address, frontend.port));
    let is_of_family = |address: &IpAddr| address.is_ipv6() == (port.family == "IPv6");
    match (frontend.address, &told.nodes[..]) {
        (Some(address), _) => vec![shown(&address)],
        (None, [node]) if node.addresses.iter().any(is_of_family) => {
            node.addresses.iter().filter(|address| is_of_family(address)).map(shown).collect()
        }
        (None, _) => vec![format!("<node>:{}/{protocol}", frontend.port)],
    }
}

/// From where and on which nodes, and who serves there.
fn lines(told: &Told<'_>, port: &ToldPort<'_>, frontend: &ToldFrontend) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    for (scope, of) in [
        ("outside", (|served: &Served| served.external.clone()) as fn(&Served) -> By),
        ("inside", |served| served.internal.clone()),
    ] {
        let mut groups: Vec<(By, Vec<usize>)> = Vec::new();
        for served in &frontend.served {
            let by = of(served);
            match groups.iter_mut().find(|(known, _)| *known == by) {
                Some((_, nodes)) => nodes.extend(&served.nodes),
                None => groups.push((by, served.nodes.clone())),
            }
        }
        let all = groups.len() == 1;
        for (by, nodes) in groups {
            let Some(what) = by_whom(&by, port) else { continue };
            let at = if all { String::new() } else { format!(" on {}", nodes_of(told, &nodes)) };
            lines.push((format!("{scope}{at}"), what));
        }
    }
    // The same from both sides is said once.
    if let [(_, outside), (_, inside)] = &lines[..]
        && outside == inside
        && lines.iter().all(|(who, _)| !who.contains(" on "))
    {
        return vec![("both sides".to_owned(), outside.clone())];
    }
    lines
}

fn nodes_of(told: &Told<'_>, nodes: &[usize]) -> String {
    let names = nodes.iter().filter_map(|&node| told.nodes.get(node));
    match nodes.len() {
        ..=NAMED => names.map(|node| visible(node.name)).collect::<Vec<_>>().join(" "),
        more => count(more, "node"),
    }
}

fn by_whom(by: &By, port: &ToldPort<'_>) -> Option<String> {
    let places = match by {
        By::None(why) => return reason(why).map(|why| format!("nobody: {why}")),
        By::Backends(places) => places,
    };
    let all = port.backends.len();
    if places.len() == all {
        return Some(if all == 1 { "the backend".to_owned() } else { format!("all {all} backends") });
    }
    let mut told = format!("{} of {all}", places.len());
    if places.len() <= NAMED {
        let named = places.iter().filter_map(|&place| port.backends.get(place));
        let named: Vec<String> =
            named.map(|one| SocketAddr::new(one.address, one.port).to_string()).collect();
        _ = write!(told, ": {}", named.join(" "));
    }
    Some(told)
}

/// Rows with their columns under each other.
fn table(rows: &[[String; 4]], indent: &str) -> String {
    let mut text = String::new();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [0, 1, 2].map(width);
    for [a, b, c, d] in rows {
        let [first, second, third] = widths;
        let row = format!("{indent}{a:<first$}  {b:<second$}  {c:<third$}  {d}");
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}
