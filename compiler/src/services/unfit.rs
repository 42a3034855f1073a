//! Backends that health checks found unfit: whoever checks them says so, and the compiler takes it as it takes the cluster.
//!
//! An unfit backend is one that is not ready. Where that would leave nobody for a port in a family, the checks are passed over there: when all seem to
//! be down it is more likely the checks that are wrong, and a flow that may reach somebody is better than one that surely does not. Not here: the
//! checks (the daemon's `probes`), and which backends have one (`probed`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// A backend as it is checked: address, port and IP protocol.
pub type Checked = (IpAddr, u16, u8);

/// Unfit backends by service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unfit(BTreeMap<(String, String), BTreeSet<Checked>>);

/// Every backend is fit, or nobody asked.
pub static NOBODY_UNFIT: Unfit = Unfit(BTreeMap::new());

impl Unfit {
    /// Adds a backend of a service.
    pub fn insert(&mut self, namespace: &str, service: &str, backend: Checked) {
        self.0.entry((namespace.to_owned(), service.to_owned())).or_default().insert(backend);
    }

    /// Those of a service.
    pub fn of(&self, namespace: &str, service: &str) -> Option<&BTreeSet<Checked>> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(&(namespace.to_owned(), service.to_owned()))
    }

    /// Whether one is.
    pub fn contains(&self, namespace: &str, service: &str, backend: Checked) -> bool {
        self.of(namespace, service).is_some_and(|unfit| unfit.contains(&backend))
    }

    /// All of them: namespace and name of the service, and the backend.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, Checked)> {
        self.0.iter().flat_map(|((namespace, name), unfit)| {
            unfit.iter().map(move |&backend| (namespace.as_str(), name.as_str(), backend))
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
