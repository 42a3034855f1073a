//! What is expected of a case, from what the Service API says and what a mode promises, and from nothing that balances.
//!
//! Not here: how it is asked (`suite.rs`).

use super::table::{Asked, Backends, Case, Front, Policy, Way};

/// What is expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// One of these answers, and every one of them in the long run, unless the client has affinity.
    Answer(Vec<Backend>),
    /// Nobody answers.
    Nobody,
}

/// A backend, and what is expected where it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backend {
    pub(crate) pod: &'static str,
    pub(crate) sees: Sees,
    pub(crate) path: Path,
}

/// The client's address as the backend sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sees {
    /// The client's own, and its port.
    Client,
    /// The balancer's.
    Balancer,
    /// One that stands for the pod itself, so that its answer leaves it.
    Itself,
}

/// The way that the answer takes on the wires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// The balancer has no part in it: it is not asked, or the backend is on it.
    Any,
    /// Through the balancer.
    Back,
    /// From the backend's node to the client, not through the balancer.
    Direct,
}

const B1: &str = "shop/b1";
const B2: &str = "shop/b2";

impl Case {
    pub(crate) fn expected(&self) -> Expected {
        let pods: Vec<&'static str> = [B1, B2].into_iter().filter(|pod| self.may_answer(pod)).collect();
        if pods.is_empty() {
            return Expected::Nobody;
        }
        let backend = |pod| Backend { pod, sees: self.seen_by(pod), path: self.path_from(pod) };
        Expected::Answer(pods.into_iter().map(backend).collect())
    }

    fn may_answer(&self, pod: &str) -> bool {
        let Asked { front, backends, policy, .. } = self.asked;
        let is_one = match backends {
            Backends::Here => pod == B1,
            Backends::There => pod == B2,
            Backends::Both => true,
        };
        // Internal policy keeps to the client's node, external policy to the balancer, and only what comes from outside of it.
        let keeps_to = match (front, self.way()) {
            (Front::ClusterIp, _) => self.client.node(),
            (_, Some(Way::Wire)) => Some("n1"),
            _ => None,
        };
        let keeps = policy == Policy::Local && keeps_to.is_some();
        is_one && (!keeps || keeps_to == Some(node_of(pod)))
    }

    fn seen_by(&self, pod: &str) -> Sees {
        match self.way() {
            Some(Way::Veth) if self.client.pod() == Some(pod) => Sees::Itself,
            Some(Way::Wire) if node_of(pod) != "n1" && !self.is_direct() => Sees::Balancer,
            _ => Sees::Client,
        }
    }

    fn path_from(&self, pod: &str) -> Path {
        match self.way() {
            Some(Way::Wire) if node_of(pod) != "n1" && self.is_direct() => Path::Direct,
            Some(Way::Wire) if node_of(pod) != "n1" => Path::Back,
            _ => Path::Any,
        }
    }
}

fn node_of(pod: &str) -> &'static str {
    if pod == B1 { "n1" } else { "n2" }
}
