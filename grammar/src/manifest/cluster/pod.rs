//! Pods: labels, addresses, ports, which node they run on, and whether they are ready.

use super::super::context::Context;
use super::super::metadata::metadata;
use super::{NAMESPACED, address, object, port_kind, port_number};
use crate::tree::{ContainerPort, Pod};
use crate::yaml::Value;

/// Reads a Pod.
pub(crate) fn pod(cx: &mut Context<'_>, value: Value<'_>) -> Option<Pod> {
    let meta = metadata(cx, value, NAMESPACED);
    let mut pod = Pod {
        meta: meta?,
        node: None,
        host_network: false,
        service_account: None,
        addresses: Vec::new(),
        ports: Vec::new(),
        owner: value.get("metadata").and_then(owner),
        finished: false,
        ready: true,
        ending: value
            .get("metadata")
            .and_then(|metadata| metadata.get("deletionTimestamp"))
            .is_some_and(|time| !time.is_null()),
    };
    if let Some(spec) = object(cx, value, "spec") {
        let mut text =
            |field| spec.get(field).and_then(|value| cx.string(value, field)).map(|text| text.value);
        pod.node = text("nodeName").filter(|name| !name.is_empty());
        // `serviceAccount` is the older name of the same field.
        pod.service_account =
            text("serviceAccountName").or_else(|| text("serviceAccount")).filter(|name| !name.is_empty());
        pod.host_network =
            spec.get("hostNetwork").and_then(|value| cx.boolean(value, "hostNetwork")).unwrap_or(false);
        containers(cx, spec, "containers", &mut pod.ports);
        containers(cx, spec, "initContainers", &mut pod.ports);
    }
    if let Some(status) = object(cx, value, "status") {
        if let Some(phase) = status.get("phase").and_then(|value| cx.text(value, "phase")) {
            pod.finished = matches!(phase.value, "Succeeded" | "Failed");
        }
        if let Some(list) = status.get("conditions") {
            cx.items(list, "conditions", |_, item| {
                let text = |field| item.get(field).and_then(Value::raw);
                if text("type") == Some("Ready") {
                    pod.ready = text("status") == Some("True");
                }
            });
        }
        if let Some(ip) = status.get("podIP") {
            address(cx, ip, "podIP", &mut pod.addresses);
        }
        if let Some(list) = status.get("podIPs") {
            cx.items(list, "podIPs", |cx, item| match item.get("ip") {
                Some(ip) => address(cx, ip, "ip", &mut pod.addresses),
                None => cx.wrong_type(item, "an item of `podIPs`", "an object with `ip`"),
            });
        }
    }
    Some(pod)
}

/// The owner that controls the pod; what cannot be read is nobody's.
fn owner(metadata: Value<'_>) -> Option<(String, String)> {
    let owners = metadata.get("ownerReferences")?.items()?;
    let controls = |owner: &Value<'_>| owner.get("controller").and_then(Value::raw) == Some("true");
    let owner = owners.clone().find(controls).or_else(|| owners.clone().next())?;
    Some((owner.get("kind")?.raw()?.to_owned(), owner.get("name")?.raw()?.to_owned()))
}

fn containers(cx: &mut Context<'_>, spec: Value<'_>, field: &str, ports: &mut Vec<ContainerPort>) {
    let Some(list) = spec.get(field) else { return };
    cx.items(list, field, |cx, container| {
        // Of init containers only sidecars go on running beside the others.
        let sidecar = container.get("restartPolicy").and_then(Value::raw) == Some("Always");
        if field == "initContainers" && !sidecar {
            return;
        }
        if container.pairs().is_none() {
            cx.wrong_type(container, "a container", "an object");
        } else if let Some(list) = container.get("ports") {
            cx.items(list, "ports", |cx, item| ports.extend(port(cx, item)));
        }
    });
}

fn port(cx: &mut Context<'_>, value: Value<'_>) -> Option<ContainerPort> {
    let (name, protocol) = port_kind(cx, value)?;
    let Some(number) = value.get("containerPort") else {
        cx.missing(value.head(), "a port of a container", "containerPort", "give the number");
        return None;
    };
    let port = port_number(cx, number, "containerPort")?;
    Some(ContainerPort { name: name.map(|name| name.to_ascii_lowercase()), port, protocol })
}
