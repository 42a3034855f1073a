//! Which kinds Weir reads, which it refuses, and which it passes over.
//!
//! A kind that would change verdicts and is not read must be refused: to pass over a deny policy
//! is an open door. So every kind that ends in NetworkPolicy is refused unless it is known, and a
//! kind that is nearly one of ours is taken for a slip.

use super::hint;
use crate::tree::Scope;

/// A kind that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Cilium(Scope),
    NetworkPolicy,
    CidrGroup,
    Expectations,
    Namespace,
    Pod,
    Node,
    Service,
    EndpointSlice,
    Secret,
}

/// What to do with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Read it.
    Read(Kind),
    /// It is a policy that Weir does not enforce.
    Refuse,
    /// The kind exists in another API version, given here, or under another name.
    Mistaken(String),
    /// It has no say in policy.
    Skip,
}

const CILIUM: &str = "cilium.io";
const NETWORKING: &str = "networking.k8s.io";
const WEIR: &str = "weir.dev";

/// Kinds with their group and the versions that are read; the first is the one to write.
const KINDS: &[(&str, &str, &[&str], Kind)] = &[
    ("CiliumNetworkPolicy", CILIUM, &["v2"], Kind::Cilium(Scope::Namespaced)),
    ("CiliumClusterwideNetworkPolicy", CILIUM, &["v2"], Kind::Cilium(Scope::Clusterwide)),
    ("CiliumCIDRGroup", CILIUM, &["v2", "v2alpha1"], Kind::CidrGroup),
    ("NetworkPolicy", NETWORKING, &["v1"], Kind::NetworkPolicy),
    (EXPECTATIONS, WEIR, &["v1"], Kind::Expectations),
    ("Namespace", "", &["v1"], Kind::Namespace),
    ("Pod", "", &["v1"], Kind::Pod),
    ("Node", "", &["v1"], Kind::Node),
    ("Service", "", &["v1"], Kind::Service),
    ("EndpointSlice", "discovery.k8s.io", &["v1"], Kind::EndpointSlice),
    ("Secret", "", &["v1"], Kind::Secret),
];

/// A test that is passed over in silence would be taken for one that holds.
const EXPECTATIONS: &str = "Expectations";

/// Kinds whose misspelling must not pass unnoticed.
const POLICIES: &[&str] =
    &["CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy", "CiliumCIDRGroup", "NetworkPolicy"];

/// Policies of other APIs, whose names are near ours or do not tell.
const FOREIGN_POLICIES: &[&str] =
    &["AdminNetworkPolicy", "BaselineAdminNetworkPolicy", "ClusterNetworkPolicy", "GlobalNetworkPolicy"];

/// Other kinds of the two policy groups, which say nothing about who may talk to whom.
const BESIDE: &[&str] = &[
    "CiliumBGPAdvertisement",
    "CiliumBGPClusterConfig",
    "CiliumBGPNodeConfig",
    "CiliumBGPNodeConfigOverride",
    "CiliumBGPPeerConfig",
    "CiliumBGPPeeringPolicy",
    "CiliumClusterwideEnvoyConfig",
    "CiliumEgressGatewayPolicy",
    "CiliumEndpoint",
    "CiliumEndpointSlice",
    "CiliumEnvoyConfig",
    "CiliumExternalWorkload",
    "CiliumGatewayClassConfig",
    "CiliumIdentity",
    "CiliumL2AnnouncementPolicy",
    "CiliumLoadBalancerIPPool",
    "CiliumLocalRedirectPolicy",
    "CiliumNode",
    "CiliumNodeConfig",
    "CiliumPodIPPool",
    "IPAddress",
    "Ingress",
    "IngressClass",
    "ServiceCIDR",
];

/// Decides by `apiVersion` and `kind`.
pub(crate) fn verdict(api_version: &str, kind: &str) -> Verdict {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    if let Some(&(_, _, versions, read)) = KINDS.iter().find(|known| known.0 == kind && known.1 == group) {
        return if versions.contains(&version) {
            Verdict::Read(read)
        } else {
            Verdict::Mistaken(format!("write `apiVersion: {}`", join(group, versions[0])))
        };
    }
    if POLICIES.contains(&kind) {
        // NetworkPolicy is a common name: other projects' groups have their own.
        let foreign = group.contains('.') && !matches!(group, CILIUM | NETWORKING);
        let home = KINDS.iter().find(|known| known.0 == kind);
        return match home {
            Some((_, home, versions, _)) if kind != "NetworkPolicy" || !foreign => {
                Verdict::Mistaken(format!("write `apiVersion: {}`", join(home, versions[0])))
            }
            _ => Verdict::Refuse,
        };
    }
    if group == WEIR || kind == EXPECTATIONS && !group.contains('.') {
        return Verdict::Mistaken(format!("write `apiVersion: {WEIR}/v1` and `kind: {EXPECTATIONS}`"));
    }
    if FOREIGN_POLICIES.contains(&kind) {
        return Verdict::Refuse;
    }
    if let Some(near) = hint::nearest(kind, POLICIES).filter(|_| !BESIDE.contains(&kind)) {
        return Verdict::Mistaken(format!("did you mean `kind: {near}`?"));
    }
    // Staged policies are drafts that their own project does not enforce either.
    if kind.ends_with("NetworkPolicy") && !kind.starts_with("Staged") {
        return Verdict::Refuse;
    }
    if matches!(group, CILIUM | NETWORKING) && !BESIDE.contains(&kind) {
        return Verdict::Mistaken(format!("kinds that Weir reads are {}", hint::list(POLICIES)));
    }
    Verdict::Skip
}

fn join(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_change_verdicts_is_never_passed_over() {
        for (api, kind) in [
            ("policy.networking.k8s.io/v1alpha1", "AdminNetworkPolicy"),
            ("policy.networking.k8s.io/v1alpha1", "BaselineAdminNetworkPolicy"),
            ("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy"),
            ("projectcalico.org/v3", "GlobalNetworkPolicy"),
            ("projectcalico.org/v3", "NetworkPolicy"),
            ("crd.antrea.io/v1beta1", "ClusterNetworkPolicy"),
        ] {
            assert_eq!(verdict(api, kind), Verdict::Refuse, "{api} {kind}");
        }
        for (api, kind) in [
            ("cilium.io/v1", "CiliumNetworkPolicy"),
            ("v1", "CiliumNetworkPolicy"),
            ("cilium.io/v2", "NetworkPolicy"),
            ("cilium.io/v2", "CiliumNetworkPolcy"),
            ("cilium.io/v2", "CiliumThing"),
            ("extensions/v1beta1", "NetworkPolicy"),
            ("networking.k8s.io/v1", "networkpolicy"),
            ("networking.k8s.io/v1", "NetworkPolicies"),
        ] {
            assert!(matches!(verdict(api, kind), Verdict::Mistaken(_)), "{api} {kind}");
        }
    }

    #[test]
    fn other_objects_are_passed_over() {
        for (api, kind) in [
            ("apps/v1", "Deployment"),
            ("serving.knative.dev/v1", "Service"),
            ("cilium.io/v2", "CiliumNode"),
            ("networking.k8s.io/v1", "Ingress"),
            ("projectcalico.org/v3", "StagedNetworkPolicy"),
        ] {
            assert_eq!(verdict(api, kind), Verdict::Skip, "{api} {kind}");
        }
        assert_eq!(verdict("v1", "Pod"), Verdict::Read(Kind::Pod));
    }
}
