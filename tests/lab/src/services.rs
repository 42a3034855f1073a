//! Services of a lab, as manifests: each with its EndpointSlices, one a family, of pods of the lab.
//!
//! A service is written into a daemon's folder beside the cluster, and written anew to change it. Not here: who answers under its addresses,
//! which is the datapath's.

use super::PodPlan;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

/// A service to be; every method adds to it.
#[derive(Clone, Debug)]
pub struct ServicePlan {
    namespace: String,
    name: String,
    kind: String,
    annotations: BTreeMap<String, String>,
    cluster_ips: Vec<IpAddr>,
    balancer_ips: Vec<IpAddr>,
    ports: Vec<Port>,
    /// What its manifest says besides, by field.
    spec: Map<String, Value>,
    endpoints: Vec<EndpointPlan>,
    weight: Option<u16>,
}

#[derive(Clone, Debug)]
struct Port {
    name: String,
    protocol: String,
    port: u16,
    target: u16,
    node_port: Option<u16>,
}

/// A pod as the endpoint of a service, ready unless it is told otherwise.
#[derive(Clone, Debug)]
pub struct EndpointPlan {
    pod: String,
    ready: bool,
    serving: bool,
    terminating: bool,
    zone: Option<String>,
    for_zones: Vec<String>,
}

impl ServicePlan {
    /// A service, named `namespace/name`, of type ClusterIP.
    pub fn new(name: &str) -> ServicePlan {
        let (namespace, name) = name.split_once('/').unwrap_or(("", name));
        ServicePlan {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            kind: "ClusterIP".to_owned(),
            annotations: BTreeMap::new(),
            cluster_ips: Vec::new(),
            balancer_ips: Vec::new(),
            ports: Vec::new(),
            spec: Map::new(),
            endpoints: Vec::new(),
            weight: None,
        }
    }

    /// Its type, as Kubernetes writes it.
    #[must_use]
    pub fn kind(mut self, kind: &str) -> ServicePlan {
        kind.clone_into(&mut self.kind);
        self
    }

    /// A cluster address; one of each family for both.
    #[must_use]
    pub fn cluster_ip(mut self, address: impl Into<IpAddr>) -> ServicePlan {
        self.cluster_ips.push(address.into());
        self
    }

    /// An address of its load balancer.
    #[must_use]
    pub fn balancer_ip(mut self, address: impl Into<IpAddr>) -> ServicePlan {
        self.balancer_ips.push(address.into());
        self
    }

    /// External addresses.
    #[must_use]
    pub fn external_ips(self, addresses: &[IpAddr]) -> ServicePlan {
        self.with("externalIPs", json!(addresses))
    }

    /// A port, the port of its endpoints that serves it, and the protocol as Kubernetes writes it.
    #[must_use]
    pub fn port(mut self, protocol: &str, port: u16, target: u16) -> ServicePlan {
        let name = format!("{}-{port}", protocol.to_lowercase());
        self.ports.push(Port { name, protocol: protocol.to_owned(), port, target, node_port: None });
        self
    }

    /// The port of nodes, for every port that was given; those of one protocol count on from it.
    #[must_use]
    pub fn node_ports(mut self, first: u16) -> ServicePlan {
        let mut next: BTreeMap<&str, u16> = BTreeMap::new();
        for port in &mut self.ports {
            let next = next.entry(&port.protocol).or_insert(first);
            port.node_port = Some(*next);
            *next = next.saturating_add(1);
        }
        self
    }

    /// The port of nodes for the port that was given last.
    #[must_use]
    pub fn node_port(mut self, node_port: u16) -> ServicePlan {
        if let Some(port) = self.ports.last_mut() {
            port.node_port = Some(node_port);
        }
        self
    }

    /// `externalTrafficPolicy`: `Cluster` or `Local`.
    #[must_use]
    pub fn external_policy(self, policy: &str) -> ServicePlan {
        self.with("externalTrafficPolicy", json!(policy))
    }

    /// `internalTrafficPolicy`: `Cluster` or `Local`.
    #[must_use]
    pub fn internal_policy(self, policy: &str) -> ServicePlan {
        self.with("internalTrafficPolicy", json!(policy))
    }

    /// Session affinity by client, for so many seconds.
    #[must_use]
    pub fn affinity(self, seconds: u32) -> ServicePlan {
        let config = json!({"clientIP": {"timeoutSeconds": seconds}});
        self.with("sessionAffinity", json!("ClientIP")).with("sessionAffinityConfig", config)
    }

    /// Who may come to the addresses of its load balancer.
    #[must_use]
    pub fn source_ranges(self, ranges: &[&str]) -> ServicePlan {
        self.with("loadBalancerSourceRanges", json!(ranges))
    }

    /// The port that tells how many endpoints a node has.
    #[must_use]
    pub fn health_check_port(self, port: u16) -> ServicePlan {
        self.with("healthCheckNodePort", json!(port))
    }

    /// Anything else of the service's `spec`.
    #[must_use]
    pub fn with(mut self, field: &str, value: Value) -> ServicePlan {
        self.spec.insert(field.to_owned(), value);
        self
    }

    /// An annotation of the service.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> ServicePlan {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    /// The weight of its endpoints.
    #[must_use]
    pub fn weight(mut self, weight: u16) -> ServicePlan {
        self.weight = Some(weight);
        self
    }

    /// An endpoint.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<EndpointPlan>) -> ServicePlan {
        self.endpoints.push(endpoint.into());
        self
    }

    fn manifest(&self) -> Value {
        let mut spec = self.spec.clone();
        let ports: Vec<Value> = self.ports.iter().map(Port::of_service).collect();
        spec.insert("type".to_owned(), json!(self.kind));
        spec.insert("ports".to_owned(), json!(ports));
        if let Some(first) = self.cluster_ips.first() {
            let family = |address: &IpAddr| if address.is_ipv4() { "IPv4" } else { "IPv6" };
            let families: Vec<&str> = self.cluster_ips.iter().map(family).collect();
            spec.insert("clusterIP".to_owned(), json!(first));
            spec.insert("clusterIPs".to_owned(), json!(self.cluster_ips));
            spec.insert("ipFamilies".to_owned(), json!(families));
        }
        let ingress: Vec<Value> = self.balancer_ips.iter().map(|address| json!({"ip": address})).collect();
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": self.name, "namespace": self.namespace, "annotations": self.annotations},
            "spec": spec,
            "status": {"loadBalancer": {"ingress": ingress}},
        })
    }

    /// The slice of a family.
    fn slice<'p>(&self, family: usize, pod: &impl Fn(&str) -> &'p PodPlan) -> Value {
        let (kind, suffix) = [("IPv4", "v4"), ("IPv6", "v6")][family];
        let endpoint = |endpoint: &EndpointPlan| {
            let plan = pod(&endpoint.pod);
            let addresses: [IpAddr; 2] = [plan.v4().into(), plan.v6().into()];
            endpoint.of_slice(addresses[family], plan)
        };
        let endpoints: Vec<Value> = self.endpoints.iter().map(endpoint).collect();
        let ports: Vec<Value> = self.ports.iter().map(Port::of_slice).collect();
        let weight = self.weight.map(|weight| ("service.cilium.io/weight", weight.to_string()));
        let annotations: BTreeMap<&str, String> = weight.into_iter().collect();
        json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": format!("{}-{suffix}", self.name),
                "namespace": self.namespace,
                "labels": {"kubernetes.io/service-name": self.name},
                "annotations": annotations,
            },
            "addressType": kind,
            "ports": ports,
            "endpoints": endpoints,
        })
    }
}

impl Port {
    fn of_service(&self) -> Value {
        let mut port = json!({
            "name": self.name, "protocol": self.protocol, "port": self.port, "targetPort": self.target,
        });
        if let Some(node_port) = self.node_port {
            port["nodePort"] = json!(node_port);
        }
        port
    }

    fn of_slice(&self) -> Value {
        json!({"name": self.name, "protocol": self.protocol, "port": self.target})
    }
}

impl EndpointPlan {
    /// A pod of the lab, named `namespace/name`.
    pub fn new(pod: &str) -> EndpointPlan {
        EndpointPlan {
            pod: pod.to_owned(),
            ready: true,
            serving: true,
            terminating: false,
            zone: None,
            for_zones: Vec::new(),
        }
    }

    /// It is not ready, and serves nobody.
    #[must_use]
    pub fn unready(mut self) -> EndpointPlan {
        (self.ready, self.serving) = (false, false);
        self
    }

    /// It ends, and serves meanwhile.
    #[must_use]
    pub fn terminating(mut self) -> EndpointPlan {
        (self.ready, self.terminating) = (false, true);
        self
    }

    /// The zone it is in.
    #[must_use]
    pub fn zone(mut self, zone: &str) -> EndpointPlan {
        self.zone = Some(zone.to_owned());
        self
    }

    /// The zone whose clients it is for.
    #[must_use]
    pub fn for_zone(mut self, zone: &str) -> EndpointPlan {
        self.for_zones.push(zone.to_owned());
        self
    }

    fn of_slice(&self, address: IpAddr, plan: &PodPlan) -> Value {
        let (ready, serving, terminating) = (self.ready, self.serving, self.terminating);
        let mut endpoint = json!({
            "addresses": [address],
            "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
            "nodeName": plan.node,
            "targetRef": {"kind": "Pod", "namespace": plan.namespace, "name": plan.name},
        });
        if let Some(zone) = &self.zone {
            endpoint["zone"] = json!(zone);
        }
        if !self.for_zones.is_empty() {
            let zones: Vec<Value> = self.for_zones.iter().map(|zone| json!({"name": zone})).collect();
            endpoint["hints"] = json!({"forZones": zones});
        }
        endpoint
    }
}

impl From<&str> for EndpointPlan {
    fn from(pod: &str) -> EndpointPlan {
        EndpointPlan::new(pod)
    }
}

/// Services and their slices, one document each, in JSON, which YAML contains.
pub(super) fn render<'p>(services: &[ServicePlan], pod: impl Fn(&str) -> &'p PodPlan) -> String {
    let mut text = String::from("# Services of a lab.\n");
    for service in services {
        for document in [service.manifest(), service.slice(0, &pod), service.slice(1, &pod)] {
            let _ = writeln!(text, "---\n{document}");
        }
    }
    text
}
