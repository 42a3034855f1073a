//! Programs at the host's side of pods' veths, around policy's: what a pod sends is given a backend before policy judges it, what comes to a
//! pod is named after it, and so is what a pod answers to its own node.
//!
//! Not here: which interfaces are pods', how programs stand there ([`crate::datapath::attach`]).

use super::KernelBalancer;
use crate::datapath::attach::{self, Order, Stand, Standing};
use crate::datapath::error::DatapathError;
use crate::datapath::load::{FROM_POD_BALANCED, refused, useful_line};
use aya::Ebpf;
use aya::programs::{SchedClassifier, TcAttachType};
use std::collections::BTreeSet;

/// Where they stand.
pub(super) static STANDS: [Stand; 3] = [
    Stand { program: FROM_POD_BALANCED, side: TcAttachType::Ingress, priority: 1, order: Order::First },
    Stand { program: "to_node_balanced", side: TcAttachType::Ingress, priority: 3, order: Order::Last },
    Stand { program: "to_pod_balanced", side: TcAttachType::Egress, priority: 2, order: Order::Last },
];

/// The loaded programs.
pub(super) struct Pods(Ebpf);

impl Pods {
    /// Loads the programs of the object.
    pub(super) fn load(mut ebpf: Ebpf) -> Result<Self, DatapathError> {
        for stand in &STANDS {
            let program = ebpf.program_mut(stand.program);
            let program: Option<&mut SchedClassifier> = program.and_then(|program| program.try_into().ok());
            let program = program
                .ok_or_else(|| refused(&stand.program, "a program is missing in the object".to_owned()))?;
            program.load().map_err(|error| refused(&error, useful_line(&format!("{error:?}"))))?;
        }
        Ok(Pods(ebpf))
    }
}

impl Standing for Pods {
    fn stands(&self) -> &'static [Stand] {
        &STANDS
    }

    fn program(&self, stand: &Stand) -> Option<&SchedClassifier> {
        self.0.program(stand.program)?.try_into().ok()
    }

    fn program_mut(&mut self, stand: &Stand) -> Option<&mut SchedClassifier> {
        self.0.program_mut(stand.program)?.try_into().ok()
    }
}

/// Puts the programs at these interfaces and takes them from all others. One that the kernel refuses keeps no other from its own; the first
/// is told.
pub(super) fn set(balancer: &mut KernelBalancer, interfaces: &BTreeSet<u32>) -> Result<(), DatapathError> {
    let KernelBalancer { versions, programs, has_tcx, .. } = balancer;
    let standing = attach::interfaces(&versions.own, &STANDS)?;
    let mut first = Ok(());
    for &interface in standing.difference(interfaces) {
        first = first.and(attach::detach(versions, &STANDS, interface));
    }
    for &interface in interfaces {
        first = first.and(attach::attach(programs.pods_mut(), versions, interface, *has_tcx));
    }
    first
}
