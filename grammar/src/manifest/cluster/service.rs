//! Services: labels, the pods they select, and how they are reached.

use super::super::cidr::padded_prefix;
use super::super::context::Context;
use super::super::decode::integer;
use super::super::kubernetes_port::number_or_name;
use super::super::metadata::{key_text, metadata};
use super::{
    NAMESPACED, address, annotations, beyond_the_host, given, health_check, object, port_kind, port_number,
    reachable, word,
};
use crate::diagnostic::{Code, Diagnostic};
use crate::tree::{Meta, Port, Service, ServicePort, ServiceType, TargetPort, TrafficPolicy};
use crate::yaml::Value;
use hashbrown::HashSet;
use std::net::IpAddr;

/// The label by which a service is left to another proxy.
const OTHER_PROXY: &str = "service.kubernetes.io/service-proxy-name";
/// Seconds of affinity where none are given, and the most that the API takes.
const AFFINITY: (u32, u32) = (10_800, 86_400);
const TYPES: &[(&str, ServiceType)] = &[
    ("ClusterIP", ServiceType::ClusterIp),
    ("NodePort", ServiceType::NodePort),
    ("LoadBalancer", ServiceType::LoadBalancer),
    ("ExternalName", ServiceType::ExternalName),
];
const POLICIES: &[(&str, TrafficPolicy)] =
    &[("Cluster", TrafficPolicy::Cluster), ("Local", TrafficPolicy::Local)];

/// Reads a Service.
pub(crate) fn service(cx: &mut Context<'_>, value: Value<'_>) -> Option<Service> {
    let meta = metadata(cx, value, NAMESPACED)?;
    let mut service = Service {
        other_proxy: other_proxy(&meta),
        meta,
        selector: None,
        span: value.span(),
        kind: ServiceType::ClusterIp,
        headless: false,
        cluster_ips: Vec::new(),
        families: [false; 2],
        external_ips: Vec::new(),
        balancer_ips: Vec::new(),
        ports: Vec::new(),
        affinity: None,
        external_policy: TrafficPolicy::Cluster,
        internal_policy: TrafficPolicy::Cluster,
        source_ranges: Vec::new(),
        health_check_port: None,
        publish_not_ready: false,
        balancer_class: None,
        allocates_node_ports: true,
        annotations: annotations::of_service(cx, value),
        health_check: None,
    };
    if let Some(spec) = object(cx, value, "spec") {
        of_spec(cx, spec, &mut service);
    }
    balancer_ips(cx, value, &mut service.balancer_ips);
    asked_address(cx, value, &service);
    service.health_check = health_check::of_service(cx, value, &service.ports);
    Some(service)
}

/// `loadBalancerIP` asks for an address. Who gives it writes it into the status, so it has no effect by itself.
fn asked_address(cx: &mut Context<'_>, value: Value<'_>, service: &Service) {
    let asked = value.get("spec").and_then(|spec| spec.get("loadBalancerIP"));
    let Some(asked) = asked.filter(|asked| asked.raw().is_some_and(|text| !text.is_empty())) else { return };
    let status = value.get("status").and_then(|status| status.get("loadBalancer"));
    let given = status.and_then(|status| status.get("ingress")).and_then(Value::items);
    let is_given = given.is_some_and(|list| list.len() > 0) || !service.external_ips.is_empty();
    if service.kind == ServiceType::LoadBalancer && !asked.is_null() && !is_given {
        let message = "`loadBalancerIP` asks for an address, and nobody has given one";
        cx.report(
            Diagnostic::new(Code::AddressOnlyAsked, asked.head(), message)
                .labelled("has no effect")
                .help("where nothing gives addresses out, write `status: {loadBalancer: {ingress: [{ip: …}]}}`, or `externalIPs`"),
        );
    }
}

fn other_proxy(meta: &Meta) -> Option<String> {
    let label = meta.labels.iter().find(|(key, _)| key == OTHER_PROXY);
    label.map(|(_, value)| value.clone())
}

fn of_spec(cx: &mut Context<'_>, spec: Value<'_>, service: &mut Service) {
    service.kind = word(cx, spec, "type", TYPES).unwrap_or_default();
    // An ExternalName service has no endpoints, whatever its selector says.
    if service.kind != ServiceType::ExternalName {
        service.selector = selector(cx, spec);
        cluster_ips(cx, spec, service);
        families(cx, spec, service);
    }
    if let Some(list) = spec.get("externalIPs") {
        external_ips(cx, list, &mut service.external_ips);
    }
    if let Some(list) = spec.get("ports") {
        cx.items(list, "ports", |cx, item| service.ports.extend(port(cx, item)));
    }
    service.affinity = affinity(cx, spec);
    service.external_policy = word(cx, spec, "externalTrafficPolicy", POLICIES).unwrap_or_default();
    service.internal_policy = word(cx, spec, "internalTrafficPolicy", POLICIES).unwrap_or_default();
    if let Some(list) = spec.get("loadBalancerSourceRanges") {
        cx.items(list, "loadBalancerSourceRanges", |cx, item| {
            service
                .source_ranges
                .extend(padded_prefix(cx, item, "loadBalancerSourceRanges").map(|cidr| cidr.net));
        });
    }
    service.health_check_port = optional_port(cx, spec, "healthCheckNodePort");
    service.balancer_class = given(cx, spec, "loadBalancerClass");
    let mut boolean =
        |field, otherwise| spec.get(field).and_then(|value| cx.boolean(value, field)).unwrap_or(otherwise);
    service.publish_not_ready = boolean("publishNotReadyAddresses", false);
    service.allocates_node_ports = boolean("allocateLoadBalancerNodePorts", true);
}

fn selector(cx: &mut Context<'_>, spec: Value<'_>) -> Option<Vec<(String, String)>> {
    let mut labels = Vec::new();
    let selector = object(cx, spec, "selector")?;
    for (key, value) in selector.pairs()? {
        let Some(name) = key_text(cx, key) else { continue };
        if let Some(text) = cx.text(value, "selector") {
            labels.push((name.to_owned(), text.value.to_owned()));
        }
    }
    (!labels.is_empty()).then_some(labels)
}

/// `clusterIP` is the first of `clusterIPs`; `None` in either makes the service headless.
fn cluster_ips(cx: &mut Context<'_>, spec: Value<'_>, service: &mut Service) {
    let mut read = |cx: &mut Context<'_>, value: Value<'_>, field| {
        if value.raw() == Some("None") {
            service.headless = true;
        } else {
            address(cx, value, field, &mut service.cluster_ips);
            reachable(cx, value, field, &mut service.cluster_ips);
        }
    };
    if let Some(value) = spec.get("clusterIP") {
        read(cx, value, "clusterIP");
    }
    if let Some(list) = spec.get("clusterIPs") {
        cx.items(list, "clusterIPs", |cx, item| read(cx, item, "clusterIPs"));
    }
}

fn families(cx: &mut Context<'_>, spec: Value<'_>, service: &mut Service) {
    if let Some(list) = spec.get("ipFamilies") {
        cx.items(list, "ipFamilies", |cx, item| match item.raw() {
            Some("IPv4") => service.families[0] = true,
            Some("IPv6") => service.families[1] = true,
            _ => cx.wrong_type(item, "an item of `ipFamilies`", "IPv4 or IPv6"),
        });
    } else {
        service.families = [true, false].map(|v4| service.cluster_ips.iter().any(|ip| ip.is_ipv4() == v4));
    }
}

/// `externalIPs`, each once. There may be very many.
fn external_ips(cx: &mut Context<'_>, list: Value<'_>, ips: &mut Vec<IpAddr>) {
    let field = "externalIPs";
    let mut known = HashSet::new();
    cx.items(list, field, |cx, item| {
        let mut read = Vec::new();
        address(cx, item, field, &mut read);
        reachable(cx, item, field, &mut read);
        beyond_the_host(cx, item, field, &mut read);
        ips.extend(read.into_iter().filter(|&ip| known.insert(ip)));
    });
}

fn balancer_ips(cx: &mut Context<'_>, service: Value<'_>, ips: &mut Vec<IpAddr>) {
    let status = object(cx, service, "status").and_then(|status| object(cx, status, "loadBalancer"));
    let Some(list) = status.and_then(|status| status.get("ingress")) else { return };
    let mut known = HashSet::new();
    cx.items(list, "ingress", |cx, item| {
        if item.pairs().is_none() {
            cx.wrong_type(item, "an item of `ingress`", "an object");
        } else if item.get("ipMode").and_then(Value::raw) != Some("Proxy")
            && let Some(ip) = item.get("ip")
        {
            let mut read = Vec::new();
            address(cx, ip, "ip", &mut read);
            reachable(cx, ip, "ip", &mut read);
            ips.extend(read.into_iter().filter(|&ip| known.insert(ip)));
        }
    });
}

fn port(cx: &mut Context<'_>, value: Value<'_>) -> Option<ServicePort> {
    let (name, protocol) = port_kind(cx, value)?;
    let Some(number) = value.get("port") else {
        cx.missing(value.head(), "a port of a service", "port", "give the number");
        return None;
    };
    let port = port_number(cx, number, "port")?;
    let node_port = optional_port(cx, value, "nodePort");
    let target = target_port(cx, value, port)?;
    Some(ServicePort {
        span: number.span(),
        name: name.unwrap_or_default(),
        protocol,
        port,
        target,
        node_port,
    })
}

/// `targetPort`, where nothing, 0 and an empty name are the service's own.
fn target_port(cx: &mut Context<'_>, object: Value<'_>, own: u16) -> Option<TargetPort> {
    let is_own = |value: Value<'_>| value.is_null() || value.raw() == Some("") || integer(value) == Some(0);
    let Some(value) = object.get("targetPort").filter(|value| !is_own(*value)) else {
        return Some(TargetPort::Number(own));
    };
    match number_or_name(cx, value, "targetPort", "leave `targetPort` out to mean the service's own port")? {
        Port::Name(name) => Some(TargetPort::Name(name, value.span())),
        Port::Range(number, _) => Some(TargetPort::Number(number)),
        Port::All => Some(TargetPort::Number(own)),
    }
}

/// A port, where 0 is none.
fn optional_port(cx: &mut Context<'_>, object: Value<'_>, field: &str) -> Option<u16> {
    let value = object.get(field)?;
    if integer(value) == Some(0) {
        return None;
    }
    port_number(cx, value, field)
}

/// Seconds for which a client stays with its backend.
fn affinity(cx: &mut Context<'_>, spec: Value<'_>) -> Option<u32> {
    let kept = word(cx, spec, "sessionAffinity", &[("None", false), ("ClientIP", true)])?;
    if !kept {
        return None;
    }
    let timeout = object(cx, spec, "sessionAffinityConfig")
        .and_then(|config| object(cx, config, "clientIP"))
        .and_then(|config| config.get("timeoutSeconds"));
    let (default, most) = AFFINITY;
    let Some(value) = timeout else { return Some(default) };
    let written = cx.integer(value, "timeoutSeconds")?;
    let seconds = u32::try_from(written).ok().filter(|seconds| (1..=most).contains(seconds));
    if seconds.is_none() {
        cx.report(
            Diagnostic::new(
                Code::ServiceField,
                value.span(),
                format!("{written} seconds are no time for an affinity"),
            )
            .labelled(format!("from 1 to {most}")),
        );
    }
    seconds
}
