//! What is behind a service: its EndpointSlices; or, where no slice names it, the pods that its selector finds, as the controller that writes slices
//! would find them.
//!
//! A slice that is there is the word of whoever wrote it, also an empty one: then no pod is looked for. Not here: what they are fit for
//! (`candidates`).

use crate::cluster::Cluster;
use rustc_hash::FxHashMap;
use std::cell::OnceCell;
use std::net::IpAddr;
use weir_grammar::diagnostic::{Code, Diagnostic};
use weir_grammar::tree::{EndpointSlice, Pod, Service, ServicePort, TargetPort};

/// Names of ports that are told where one is not there.
const NAMED: usize = 5;

/// Where a service's endpoints come from.
#[derive(Clone, Debug)]
pub(super) enum Behind<'c> {
    /// Slices, by name.
    Slices(Vec<&'c EndpointSlice>),
    /// Pods that have addresses and have not finished, by name.
    Pods(Vec<&'c Pod>),
}

/// Pods by namespace and label.
type ByLabel<'c> = FxHashMap<(&'c str, &'c str, &'c str), Vec<&'c Pod>>;

/// The cluster, asked for many services.
#[derive(Debug)]
pub(super) struct Backing<'c> {
    cluster: &'c Cluster,
    /// Made for the first service that has no slice.
    by_label: OnceCell<ByLabel<'c>>,
}

impl<'c> Backing<'c> {
    pub(super) fn new(cluster: &'c Cluster) -> Self {
        Backing { cluster, by_label: OnceCell::new() }
    }

    /// What is behind a service.
    pub(super) fn of(&self, service: &Service) -> Behind<'c> {
        let namespace = service.meta.namespace.as_deref().unwrap_or_default();
        let slices: Vec<&EndpointSlice> = self.cluster.slices_of(namespace, &service.meta.name).collect();
        if !slices.is_empty() {
            return Behind::Slices(slices);
        }
        let Some(selector) = &service.selector else { return Behind::Pods(Vec::new()) };
        let by_label = self.by_label.get_or_init(|| by_label(self.cluster));
        let with =
            selector.iter().map(|(key, value)| by_label.get(&(namespace, key.as_str(), value.as_str())));
        let with = with.map(|pods| pods.map_or(&[][..], Vec::as_slice));
        let fewest = with.min_by_key(|pods| pods.len()).unwrap_or_default();
        let is_selected = |pod: &&&Pod| selector.iter().all(|label| pod.meta.labels.contains(label));
        Behind::Pods(fewest.iter().filter(is_selected).copied().collect())
    }

    /// Whether pods are behind some service.
    pub(super) fn has_pods(&self) -> bool {
        self.by_label.get().is_some()
    }

    /// What is wrong with what is behind a service.
    pub(super) fn find(&self, service: &Service, behind: &Behind<'c>, found: &mut Vec<Diagnostic>) {
        let Behind::Pods(pods) = behind else { return };
        if !pods.is_empty() {
            found.extend(service.ports.iter().filter_map(|port| no_such_port(service, port, pods)));
            return;
        }
        let Cluster { pods, slices, .. } = self.cluster;
        let name = super::model::name(service);
        let nobody = |message, help| {
            let finding = Diagnostic::new(Code::NobodyBehind, service.meta.span, message);
            finding.labelled("nobody is behind it").help(help)
        };
        match &service.selector {
            Some(selector) if !pods.is_empty() => {
                let namespace = service.meta.namespace.as_deref().unwrap_or_default();
                let is_near = |pod: &&Pod| pod.meta.namespace.as_deref() == Some(namespace);
                let nobody_has = |label: &&(String, String)| {
                    !pods.iter().filter(is_near).any(|pod| pod.meta.labels.contains(label))
                };
                let help = match selector.iter().find(nobody_has) {
                    Some((key, value)) => format!("no pod in namespace `{namespace}` has `{key}: {value}`"),
                    None => "pods have its labels, and none has all of them and an address".to_owned(),
                };
                found.push(nobody(format!("{name} selects no pod, and no EndpointSlice names it"), help));
            }
            None if !slices.is_empty() => found.push(nobody(
                format!("{name} has no selector, and no EndpointSlice names it"),
                format!(
                    "label the EndpointSlice of its backends `kubernetes.io/service-name: {}`",
                    service.meta.name
                ),
            )),
            _ => {}
        }
    }
}

fn by_label(cluster: &Cluster) -> ByLabel<'_> {
    let mut by_label = ByLabel::default();
    for pod in cluster.pods.iter().filter(|pod| !pod.finished && !pod.addresses.is_empty()) {
        let namespace = pod.meta.namespace.as_deref().unwrap_or_default();
        for (key, value) in &pod.meta.labels {
            by_label.entry((namespace, key, value)).or_default().push(pod);
        }
    }
    by_label
}

/// The port at which a pod serves a service's port; `None` if it has none of the name.
pub(super) fn target(pod: &Pod, port: &ServicePort) -> Option<u16> {
    match &port.target {
        TargetPort::Number(number) => Some(*number),
        TargetPort::Name(name, _) => {
            let own = pod.ports.iter().filter(|own| own.protocol == port.protocol);
            own.filter(|own| own.name.as_ref() == Some(name)).map(|own| own.port).next()
        }
    }
}

/// The addresses at which a pod serves: the first of each family that the service has.
pub(super) fn addresses(pod: &Pod, service: &Service) -> impl Iterator<Item = IpAddr> {
    let wanted = match service.families {
        [false, false] => [true, true],
        families => families,
    };
    let of_family = |is_v4: bool| {
        pod.addresses.iter().map(IpAddr::to_canonical).find(|address| address.is_ipv4() == is_v4)
    };
    let found = [wanted[0].then(|| of_family(true)), wanted[1].then(|| of_family(false))];
    found.into_iter().flatten().flatten()
}

fn no_such_port(service: &Service, port: &ServicePort, pods: &[&Pod]) -> Option<Diagnostic> {
    let TargetPort::Name(wanted, span) = &port.target else { return None };
    if pods.iter().any(|pod| target(pod, port).is_some()) {
        return None;
    }
    let own = pods.iter().flat_map(|pod| &pod.ports).filter(|own| own.protocol == port.protocol);
    let mut names: Vec<&str> = own.filter_map(|own| own.name.as_deref()).collect();
    names.sort_unstable();
    names.dedup();
    names.truncate(NAMED);
    let help = if names.is_empty() {
        "give the container's port this name, or write its number here".to_owned()
    } else {
        format!("its pods' ports of that protocol are `{}`", names.join("`, `"))
    };
    let message = format!("no pod of {} has a port named `{wanted}`", super::model::name(service));
    Some(Diagnostic::new(Code::TargetPortName, *span, message).labelled("nobody serves it").help(help))
}
