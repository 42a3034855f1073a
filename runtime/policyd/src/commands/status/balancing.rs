//! What is balanced, for people.

use super::duration;
use std::fmt::Write as _;
use weir_project::visible::visible;
use weir_runtime::balancer::{BalanceReport, DeviceHook};
use weir_runtime::status::{BalancingStatus, ServiceContents, ServiceImageStatus, UnfitStatus};

/// Unfit backends that are told one by one.
const UNFIT: usize = 20;

/// Lines of a word and what it is.
pub(super) fn in_words(status: &BalancingStatus) -> String {
    let mut text = String::new();
    let mut line = |word: &str, what: &str| _ = writeln!(text, "{word:<12}{}", visible(what));
    let Some(image) = &status.image else {
        line("services", "none in force: nothing of balancing is in a packet's way");
        return text;
    };
    line("services", &services(image));
    if let Some(contents) = &image.contents {
        line("", &slots(contents));
    }
    let node = if status.node.is_empty() { "no address known".to_owned() } else { status.node.join(" ") };
    let sockets = if status.sockets { "on" } else { "off" };
    line("balanced at", &format!("node {node}, pods {}, sockets {sockets}", status.pods));
    for device in &status.devices {
        let by = match device.by {
            DeviceHook::Xdp => "xdp and tc",
            DeviceHook::Tc => "tc",
        };
        let trouble = device.trouble.as_ref().map_or_else(String::new, |why| format!(": {why}"));
        let no_xdp = device.no_xdp.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
        line("", &format!("device {}, by {by}{no_xdp}{trouble}", device.device));
    }
    line("flows", &flows(&status.sweep));
    for (place, check) in status.health_checks.iter().enumerate() {
        let word = if place == 0 { "checks" } else { "" };
        let (namespace, name, port) = (&check.namespace, &check.name, check.port);
        line(word, &format!("port {port} of {namespace}/{name}: {} here", backends(check.endpoints)));
    }
    if status.probed > 0 {
        let unfit =
            if status.unfit.is_empty() { "all".to_owned() } else { format!("{} not", status.unfit.len()) };
        line("probes", &format!("{} asked, {unfit} fit", backends(status.probed)));
        for UnfitStatus { service, backend, why } in status.unfit.iter().take(UNFIT) {
            line("", &format!("- {backend} of {service}: {why}"));
        }
    }
    for (place, (name, count)) in status.counters.iter().enumerate() {
        line(if place == 0 { "balanced" } else { "" }, &format!("{name}: {count}"));
    }
    text
}

fn services(image: &ServiceImageStatus) -> String {
    let mut told = image.checksum.clone();
    if let Some(contents) = &image.contents {
        let ServiceContents { services, frontends, backends, bytes, .. } = contents;
        let kib = bytes.div_ceil(1024);
        _ = write!(told, ": services {services}, frontends {frontends}, backends {backends}, {kib} KiB");
    }
    if let Some(age) = image.age_seconds {
        _ = write!(told, ", in force for {}", duration(age));
    }
    if image.is_restored {
        told += ", kept from the last run";
    }
    told
}

fn slots(contents: &ServiceContents) -> String {
    match contents.unsettled {
        0 => format!("slots {}, all settled", contents.slots),
        unsettled => {
            format!("slots {}, of which {unsettled} may have flows of former backends", contents.slots)
        }
    }
}

fn flows(report: &BalanceReport) -> String {
    let BalanceReport { translations, translation_capacity, flows, .. } = report;
    if *translation_capacity == 0 {
        return "not counted yet".to_owned();
    }
    format!("translations {translations} of {translation_capacity}, on record for unsettled slots {flows}")
}

fn backends(count: usize) -> String {
    if count == 1 { "1 backend".to_owned() } else { format!("{count} backends") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_runtime::balancing::HealthCheck;
    use weir_runtime::status::DeviceStatus;

    #[test]
    fn it_is_told_line_by_line() {
        let contents = ServiceContents {
            services: 2,
            frontends: 5,
            backends: 3,
            slots: 20_014,
            unsettled: 0,
            bytes: 9000,
        };
        let image = ServiceImageStatus {
            checksum: "00000000000000ff".to_owned(),
            age_seconds: Some(3),
            contents: Some(contents),
            ..ServiceImageStatus::default()
        };
        let device = |device: &str, by, no_xdp: Option<&str>, trouble: Option<&str>| DeviceStatus {
            device: device.to_owned(),
            index: 2,
            by,
            no_xdp: no_xdp.map(str::to_owned),
            trouble: trouble.map(str::to_owned),
        };
        let (namespace, name) = ("shop".to_owned(), "web".to_owned());
        let mut status = BalancingStatus {
            image: Some(image),
            node: vec!["10.0.0.1".to_owned(), "fd00::1".to_owned()],
            devices: vec![
                device("eth0", DeviceHook::Xdp, None, None),
                device("eth1", DeviceHook::Tc, Some("no XDP: not supported"), Some("it does not forward")),
            ],
            pods: 2,
            sockets: true,
            health_checks: vec![HealthCheck { port: 30900, namespace, name, endpoints: 1 }],
            sweep: BalanceReport { translations: 4, translation_capacity: 524_288, flows: 1, removed: 9 },
            probed: 3,
            unfit: vec![UnfitStatus {
                service: "shop/web".to_owned(),
                backend: "10.2.0.3:80".to_owned(),
                why: "no answer in time".to_owned(),
            }],
            counters: vec![("direct-fast".to_owned(), 12), ("delivered".to_owned(), 7)],
            ..BalancingStatus::default()
        };
        let expected = "\
services    00000000000000ff: services 2, frontends 5, backends 3, 9 KiB, in force for 3 s
            slots 20014, all settled
balanced at node 10.0.0.1 fd00::1, pods 2, sockets on
            device eth0, by xdp and tc
            device eth1, by tc (no XDP: not supported): it does not forward
flows       translations 4 of 524288, on record for unsettled slots 1
checks      port 30900 of shop/web: 1 backend here
probes      3 backends asked, 1 not fit
            - 10.2.0.3:80 of shop/web: no answer in time
balanced    direct-fast: 12
            delivered: 7
";
        assert_eq!(in_words(&status), expected);
        status.image = None;
        assert_eq!(
            in_words(&status),
            "services    none in force: nothing of balancing is in a packet's way\n"
        );
    }
}
