//! Which interface a pod has, as told by whoever made it (a CNI plugin).
//!
//! A registration outlives restarts, and may come before the pod is known. It wins over routes. Bounded: as many as a
//! node can have pods, with names that Kubernetes and the kernel admit.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Registrations, at most: as many as the kernel's map of interfaces holds.
const MOST: usize = 4096;
/// Bytes of a namespace or of a pod's name, at most.
const NAME: usize = 253;
/// Bytes of an interface's name, at most: `IFNAMSIZ` without its end.
const INTERFACE: usize = 15;

/// Interfaces by `namespace/pod`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Registrations(BTreeMap<String, String>);

/// Why a registration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrationError {
    /// Not a pod's name.
    #[error("`{name}` is not `namespace/pod`")]
    Pod {
        /// As given.
        name: String,
    },
    /// Not an interface's name.
    #[error("`{name}` is not the name of an interface")]
    Interface {
        /// As given.
        name: String,
    },
    /// The node's own.
    #[error("`{name}` is no veth and has an address of the node: it is no pod's")]
    OfNode {
        /// As given.
        name: String,
    },
    /// There are enough.
    #[error("there are {most} registrations already; unregister pods that are gone")]
    Full {
        /// How many are possible.
        most: usize,
    },
}

impl Registrations {
    /// Says which interface a pod has, in place of what was said before.
    ///
    /// # Errors
    /// [`RegistrationError`].
    pub fn register(&mut self, pod: &str, interface: &str) -> Result<(), RegistrationError> {
        check_pod(pod)?;
        let fits = |byte: u8| byte.is_ascii_graphic() && byte != b'/';
        if interface.is_empty() || interface.len() > INTERFACE || !interface.bytes().all(fits) {
            return Err(RegistrationError::Interface { name: interface.to_owned() });
        }
        if self.0.len() >= MOST && !self.0.contains_key(pod) {
            return Err(RegistrationError::Full { most: MOST });
        }
        // An interface is one pod's: who had it before has it no more.
        self.0.retain(|_, known| known != interface);
        self.0.insert(pod.to_owned(), interface.to_owned());
        Ok(())
    }

    /// Forgets a pod; the interface that it had, if it was registered.
    ///
    /// # Errors
    /// [`RegistrationError::Pod`].
    pub fn unregister(&mut self, pod: &str) -> Result<Option<String>, RegistrationError> {
        check_pod(pod)?;
        Ok(self.0.remove(pod))
    }

    /// Pods and their interfaces, by pod.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(pod, interface)| (pod.as_str(), interface.as_str()))
    }
}

/// A `namespace/pod` of letters that Kubernetes admits.
fn check_pod(pod: &str) -> Result<(), RegistrationError> {
    let fits = |name: &str| {
        let admitted = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
        !name.is_empty() && name.len() <= NAME && name.bytes().all(admitted)
    };
    match pod.split_once('/') {
        Some((namespace, name)) if fits(namespace) && fits(name) => Ok(()),
        _ => Err(RegistrationError::Pod { name: pod.chars().take(NAME).collect() }),
    }
}

impl TryFrom<BTreeMap<String, String>> for Registrations {
    type Error = RegistrationError;

    fn try_from(given: BTreeMap<String, String>) -> Result<Self, RegistrationError> {
        let mut registrations = Registrations::default();
        given.iter().try_for_each(|(pod, interface)| registrations.register(pod, interface))?;
        Ok(registrations)
    }
}

impl From<Registrations> for BTreeMap<String, String> {
    fn from(registrations: Registrations) -> Self {
        registrations.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_one_pods() {
        let mut registrations = Registrations::default();
        registrations.register("shop/web", "veth1").unwrap();
        registrations.register("shop/db", "veth2").unwrap();
        registrations.register("shop/web-2", "veth1").unwrap();
        let known: Vec<_> = registrations.iter().collect();
        assert_eq!(known, [("shop/db", "veth2"), ("shop/web-2", "veth1")]);
        assert_eq!(registrations.unregister("shop/db"), Ok(Some("veth2".to_owned())));
        assert_eq!(registrations.unregister("shop/db"), Ok(None));
    }

    #[test]
    fn names_that_cannot_be_are_refused() {
        let mut registrations = Registrations::default();
        let long = format!("a/{}", "b".repeat(254));
        for pod in ["web", "/web", "shop/", "shop/we b", "shop/Web", "a/b/c", "shop/\u{1b}", long.as_str()] {
            assert!(registrations.register(pod, "veth1").is_err(), "{pod}");
        }
        for interface in ["", "sixteen-letters-", "a/b", "a b", "veth\n"] {
            assert!(registrations.register("shop/web", interface).is_err(), "{interface}");
        }
        assert_eq!(registrations, Registrations::default());
    }

    #[test]
    fn there_is_an_end() {
        let mut registrations = Registrations::default();
        for number in 0..MOST {
            registrations.register(&format!("shop/web-{number}"), &format!("veth{number}")).unwrap();
        }
        let full = registrations.register("shop/db", "veth-db");
        assert_eq!(full, Err(RegistrationError::Full { most: MOST }));
        assert_eq!(registrations.register("shop/web-0", "veth-db"), Ok(()));
    }
}
