//! Manifests to an image, as the tool does it, without a file in between.

#![expect(clippy::unwrap_used, reason = "a workload that does not compile has nothing to measure")]

use weir_abi::{Endpoint, Identity, Image};
use weir_compiler::cluster::Cluster;
use weir_compiler::compile::{Compiled, Input, Options, compile};
use weir_compiler::identity::IdentityLock;
use weir_compiler::services;
use weir_compiler::translate::translate;
use weir_grammar::source::Sources;
use weir_grammar::{Limits, Reading, read};

/// Texts to trees.
pub fn parsed(policies: String, cluster: String) -> Reading {
    let mut reading = Reading::default();
    let limits = Limits::default();
    read(&mut reading, "policies.yaml", policies.into_bytes(), &limits);
    read(&mut reading, "cluster.yaml", cluster.into_bytes(), &limits);
    reading
}

/// The image; what it was made from comes along, so that freeing it is not inside a clock.
pub fn image_of(reading: Reading, node: Option<&str>) -> (Compiled, impl Sized) {
    let Reading { sources, mut objects, mut diagnostics, .. } = reading;
    let cluster = Cluster::collect(&mut objects, &mut diagnostics);
    let set = translate(objects, &cluster, &mut diagnostics);
    let node = node.map(|name| cluster.node_named(name).unwrap());
    let input = Input { set: &set, cluster: &cluster, sources: &sources, addresses_of: &|_, _| Vec::new() };
    let options = Options { node, ..Options::default() };
    let compiled = compile(&input, &mut IdentityLock::default(), &options, &mut |_| ()).unwrap();
    (compiled, (sources, set, cluster))
}

/// A cluster whose services are compiled, seen from its first node.
#[derive(Debug)]
pub struct Balanced {
    /// The cluster.
    pub cluster: Cluster,
    sources: Sources,
}

impl Balanced {
    /// Reads manifests.
    pub fn read(cluster: String) -> Self {
        let Reading { sources, mut objects, mut diagnostics, .. } = parsed(String::new(), cluster);
        let cluster = Cluster::collect(&mut objects, &mut diagnostics);
        Balanced { cluster, sources }
    }

    /// The image, after another if there is one.
    pub fn compiled(&self, previous: Option<services::Previous<'_>>) -> services::Compiled {
        self.compiled_at(0, previous)
    }

    /// The image of a node by its name.
    pub fn compiled_for(&self, node: &str, previous: Option<services::Previous<'_>>) -> services::Compiled {
        self.compiled_at(self.cluster.node_named(node).unwrap(), previous)
    }

    fn compiled_at(&self, node: usize, previous: Option<services::Previous<'_>>) -> services::Compiled {
        let node = Some(node);
        let input = services::Input { node, previous, ..services::Input::new(&self.cluster, &self.sources) };
        services::compile(&input).unwrap()
    }
}

/// The first endpoint that a policy selects for what it sends.
pub fn subject(image: &Image<'_>) -> Option<(Identity, Endpoint)> {
    image
        .identities()
        .map(|entry| entry.identity)
        .filter(|identity| identity.0 >= Identity::FIRST_POD)
        .filter_map(|identity| Some((identity, image.endpoint(identity)?)))
        .find(|(_, endpoint)| endpoint.egress.0 != 0)
}
