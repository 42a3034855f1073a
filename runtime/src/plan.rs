//! Installed against wanted -> steps. Pure.
//!
//! The order of the steps is what keeps the invariants, whatever step is the last before a crash: who is known already and is
//! another under the new image becomes so in one step with it; a new address leads to an identity only once the image in force knows it
//! (I2); a pod's interface has its
//! endpoint before the programs stand at it (I3). What goes away goes
//! last: until then it leads to an identity that the new image may not know, which is closed. Programs at an interface without
//! endpoint let nothing pass.
//!
//! Not here: how a step is taken ([`crate::datapath`]), where wishes come from ([`crate::wanted`]).

use crate::datapath::Endpoint;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use weir_abi::Identity;

/// What is, or should be, in the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The image in force, by its checksum; `None`: none is.
    pub image: Option<u64>,
    /// Whose an address is.
    pub addresses: BTreeMap<IpAddr, Identity>,
    /// Pods' interfaces, by index.
    pub endpoints: BTreeMap<u32, Endpoint>,
    /// Interfaces that the programs stand at, by index. Where there is no endpoint nothing passes.
    pub attached: BTreeSet<u32>,
}

/// Whose identity changes together with the image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renaming {
    /// Addresses that lead to another identity.
    pub addresses: BTreeMap<IpAddr, Identity>,
    /// Interfaces whose pod has another identity, and the same addresses.
    pub endpoints: BTreeMap<u32, Identity>,
}

/// One thing to do to the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Put the wanted image in force.
    InstallImage(Renaming),
    /// Let an address lead to an identity.
    SetAddress(IpAddr, Identity),
    /// Let an address lead nowhere.
    RemoveAddress(IpAddr),
    /// Have known connections judged again, because an address or interface changed hands.
    JudgeAgain,
    /// Say which pod an interface is.
    SetEndpoint(u32, Endpoint),
    /// Forget an interface.
    RemoveEndpoint(u32),
    /// Put the programs at an interface.
    Attach(u32),
    /// Take them away.
    Detach(u32),
}

/// The steps from one state to another. None if they are the same.
///
/// A wanted image of `None` leaves the one in force: the kernel gives none up.
pub fn plan(installed: &State, wanted: &State) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut installed = installed.clone();
    if wanted.image.is_some() && wanted.image != installed.image {
        let step = Step::InstallImage(renaming(&installed, wanted));
        installed.take(&step, wanted.image);
        steps.push(step);
    }

    let begun = steps.len();
    for (&address, &identity) in &wanted.addresses {
        if installed.addresses.get(&address) != Some(&identity) {
            steps.push(Step::SetAddress(address, identity));
        }
    }
    for (&interface, &endpoint) in &wanted.endpoints {
        if installed.endpoints.get(&interface) != Some(&endpoint) {
            steps.push(Step::SetEndpoint(interface, endpoint));
        }
    }
    if steps.len() > begun {
        steps.push(Step::JudgeAgain);
    }

    let (new, gone) =
        (wanted.attached.difference(&installed.attached), installed.attached.difference(&wanted.attached));
    steps.extend(new.map(|&interface| Step::Attach(interface)));
    steps.extend(gone.map(|&interface| Step::Detach(interface)));

    let gone = installed.endpoints.keys().filter(|interface| !wanted.endpoints.contains_key(interface));
    steps.extend(gone.map(|&interface| Step::RemoveEndpoint(interface)));
    let begun = steps.len();
    let gone = installed.addresses.keys().filter(|address| !wanted.addresses.contains_key(address));
    steps.extend(gone.map(|&address| Step::RemoveAddress(address)));
    if steps.len() > begun {
        steps.push(Step::JudgeAgain);
    }
    steps
}

/// Who is known, stays, and is another.
fn renaming(installed: &State, wanted: &State) -> Renaming {
    let addresses = wanted.addresses.iter().filter(|(address, identity)| {
        installed.addresses.get(address).is_some_and(|known| known != *identity)
    });
    let endpoints = wanted.endpoints.iter().filter(|(interface, endpoint)| {
        let known = installed.endpoints.get(interface);
        known.is_some_and(|known| {
            known.identity != endpoint.identity && (known.v4, known.v6) == (endpoint.v4, endpoint.v6)
        })
    });
    Renaming {
        addresses: addresses.map(|(&address, &identity)| (address, identity)).collect(),
        endpoints: endpoints.map(|(&interface, endpoint)| (interface, endpoint.identity)).collect(),
    }
}

impl State {
    /// The state after a step was taken; `image` is the one that [`Step::InstallImage`] stands for.
    pub fn take(&mut self, step: &Step, image: Option<u64>) {
        match *step {
            Step::InstallImage(ref renaming) => {
                self.image = image;
                self.addresses.extend(&renaming.addresses);
                for (interface, &identity) in &renaming.endpoints {
                    if let Some(endpoint) = self.endpoints.get_mut(interface) {
                        endpoint.identity = identity;
                    }
                }
            }
            Step::SetAddress(address, identity) => _ = self.addresses.insert(address, identity),
            Step::RemoveAddress(address) => _ = self.addresses.remove(&address),
            Step::JudgeAgain => {}
            Step::SetEndpoint(interface, endpoint) => _ = self.endpoints.insert(interface, endpoint),
            Step::RemoveEndpoint(interface) => _ = self.endpoints.remove(&interface),
            Step::Attach(interface) => _ = self.attached.insert(interface),
            Step::Detach(interface) => _ = self.attached.remove(&interface),
        }
    }
}

#[cfg(test)]
mod tests;
