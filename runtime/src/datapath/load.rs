//! The programs in the kernel: loaded for one size class, with the maps that an earlier run pinned.

use super::Options;
use super::attach::{Order, Stand, Standing};
use super::error::DatapathError;
use super::pins::Versions;
use super::slots::Slots;
use crate::snapshot::chain;
use aya::programs::{SchedClassifier, TcAttachType};
use aya::{Ebpf, EbpfLoader};
use std::path::Path;
use weir_abi::state::Hook;
use weir_object::POLICY;

/// Maps that outlive programs, besides `images`.
pub(super) const PINNED: &[&str] = &[
    "settings",
    "blocks",
    "addresses_v4",
    "addresses_v6",
    "interfaces",
    "learned",
    "fragments",
    "rule_counters",
    "reason_counters",
    "named_counters",
    "events",
];

/// Maps that outlive versions too.
const CONNECTIONS: &[&str] = &["conntrack_v4", "conntrack_v6"];

/// Where both stand, as seen from the host's side of a veth: what a pod sends comes in there. In the order of [`Hook`].
pub(super) static STANDS: [Stand; 2] = [
    Stand {
        program: "from_pod",
        side: TcAttachType::Ingress,
        priority: 2,
        order: Order::Behind(FROM_POD_BALANCED),
    },
    Stand { program: "to_pod", side: TcAttachType::Egress, priority: 1, order: Order::First },
];

/// The program that gives what a pod sends a backend; policy judges what comes of it.
pub(super) const FROM_POD_BALANCED: &str = "from_pod_balanced";

/// The program of a hook.
pub(super) const fn stand_of(hook: Hook) -> &'static Stand {
    let [from_pod, to_pod] = &STANDS;
    match hook {
        Hook::FromPod => from_pod,
        Hook::ToPod => to_pod,
    }
}

/// The loaded programs.
pub(super) struct Programs {
    ebpf: Ebpf,
}

impl std::fmt::Debug for Programs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Programs")
    }
}

impl Programs {
    /// Loads both for the class of `slots`, with the maps that are, or will be, pinned in this version's folders.
    pub(super) fn load(options: &Options, versions: &Versions, slots: &Slots) -> Result<Self, DatapathError> {
        let mask = u32::try_from(slots.class() - 1).unwrap_or(0);
        let aggregation = options.aggregation as u8;
        let mut loader = EbpfLoader::new();
        loader
            .override_global("IMAGE_MASK", &mask, true)
            .override_global("AGGREGATION", &aggregation, true)
            .override_global("DROPS_PER_TICK", &options.drops_per_second, true)
            .map_max_entries("conntrack_v4", options.conntrack_v4)
            .map_max_entries("conntrack_v6", options.conntrack_v6)
            .map_max_entries("interfaces", options.interfaces)
            .map_max_entries("addresses_v4", options.addresses)
            .map_max_entries("addresses_v6", options.addresses)
            .map_pin_path("images", slots.path().to_owned());
        for (folder, names) in [(&versions.own, PINNED), (&versions.connections, CONNECTIONS)] {
            for name in names {
                loader.map_pin_path(name, folder.join(name));
            }
        }
        let mut programs =
            Programs { ebpf: loader.load(POLICY).map_err(|error| refused(&error, chain(&error)))? };
        for stand in &STANDS {
            let loaded = programs.program_mut(stand).map(SchedClassifier::load);
            match loaded {
                Some(Ok(())) => {}
                Some(Err(error)) => return Err(refused(&error, useful_line(&format!("{error:?}")))),
                None => {
                    return Err(refused(&stand.program, "a program is missing in the object".to_owned()));
                }
            }
        }
        Ok(programs)
    }
}

impl Standing for Programs {
    fn stands(&self) -> &'static [Stand] {
        &STANDS
    }

    fn program(&self, stand: &Stand) -> Option<&SchedClassifier> {
        self.ebpf.program(stand.program)?.try_into().ok()
    }

    fn program_mut(&mut self, stand: &Stand) -> Option<&mut SchedClassifier> {
        self.ebpf.program_mut(stand.program)?.try_into().ok()
    }
}

pub(super) fn refused(error: &impl std::fmt::Debug, told: String) -> DatapathError {
    DatapathError::Load { told, source: format!("{error:?}").into() }
}

/// The line of a verifier's log that says why: the last but for its statistics and what an error's debug form ends in.
pub(super) fn useful_line(log: &str) -> String {
    let is_statistic = |line: &&str| {
        line.starts_with("processed ")
            || line.starts_with("verification time")
            || line.starts_with("stack depth")
            || line.starts_with(['}', '"'])
    };
    let lines = log.split("\\n").flat_map(str::lines).map(str::trim).filter(|line| !line.is_empty());
    lines.filter(|line| !is_statistic(line)).last().unwrap_or("no reason given").to_owned()
}

/// Whether the kernel has tcx, which is asked by listing what stands at the loopback interface.
pub(super) fn has_tcx() -> bool {
    SchedClassifier::query_tcx("lo", TcAttachType::Ingress).is_ok()
}

/// A folder below the BPF file system.
pub(super) fn make_folder(path: &Path) -> Result<(), DatapathError> {
    std::fs::create_dir_all(path).map_err(|source| DatapathError::Pin {
        what: "make the folder",
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::useful_line;

    #[test]
    fn the_verifier_is_quoted_where_it_says_why() {
        let log = "0: R1=ctx()\n12: (61) r0 = *(u32 *)(r1 +900)\ninvalid bpf_context access off=900 size=4\nprocessed 13 insns\n }\" }";
        assert_eq!(useful_line(log), "invalid bpf_context access off=900 size=4");
        assert_eq!(useful_line(""), "no reason given");
    }
}
