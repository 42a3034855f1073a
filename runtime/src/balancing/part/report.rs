//! The state of balancing in words: what is in force, where, and what is wrong.

use super::Part;
use crate::balancer::BalanceReport;
use crate::balancing::in_force::InForce;
use crate::clock::rfc3339;
use crate::status::{BalancingStatus, DeviceStatus, ServiceImageStatus, UnfitStatus};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

/// A map is told of when it is so full, in hundredths.
const NEARLY_FULL: usize = 90;

impl Part {
    pub(super) fn status(&self) -> BalancingStatus {
        let placed = self.placed.as_ref();
        let node =
            placed.map_or([None, None], |placed| [placed.v4.map(Into::into), placed.v6.map(Into::into)]);
        let node: Vec<IpAddr> = node.into_iter().flatten().collect();
        let devices = self.reports.iter().map(|report| DeviceStatus {
            device: self.device(report.index),
            index: report.index,
            by: report.by,
            no_xdp: report.no_xdp.clone(),
            trouble: report.trouble.clone(),
        });
        BalancingStatus {
            problems: self.problems(),
            image: self.in_force.as_deref().map(image_status),
            node: node.iter().map(ToString::to_string).collect(),
            devices: devices.collect(),
            pods: placed.and_then(|placed| placed.pods.as_ref()).map_or(0, BTreeSet::len),
            sockets: self.in_force.is_some() && self.means.settings.sockets,
            health_checks: self.in_force.as_ref().map(|image| image.checks.clone()).unwrap_or_default(),
            probed: self.probes.checked(),
            unfit: self.unfit(),
            sweep: if self.in_force.is_some() { self.sweep } else { BalanceReport::default() },
            counters: self
                .counters
                .iter()
                .map(|(counter, count)| (counter.as_str().to_owned(), *count))
                .collect(),
            findings: self.warnings.lines.clone(),
            findings_left_out: self.warnings.more,
        }
    }

    fn unfit(&self) -> Vec<UnfitStatus> {
        let found = self.probes.found();
        let told = found.failures.iter().map(|(target, failure)| UnfitStatus {
            service: format!("{}/{}", target.namespace, target.service),
            backend: SocketAddr::new(target.address, target.port).to_string(),
            why: failure.to_string(),
        });
        told.collect()
    }

    fn device(&self, index: u32) -> String {
        let link = self.interfaces.as_ref().and_then(|interfaces| interfaces.links.get(&index));
        link.map_or_else(|| index.to_string(), |link| link.name.clone())
    }

    fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> = Vec::new();
        problems.extend(self.heard.refused.iter().map(|why| format!("services stay as they were: {why}")));
        problems.extend(self.refused.iter().map(|why| format!("services stay as they were: {why}")));
        problems.extend(self.trouble.clone());
        if let Some(in_force) = self.in_force.as_deref().filter(|in_force| in_force.image.is_none()) {
            problems.push(format!(
                "the services in force are {:016x}, of which nothing is on disk",
                in_force.checksum
            ));
        }
        problems.extend(
            self.keep_failure.iter().map(|why| format!("the services in force cannot be kept: {why}")),
        );
        problems.extend(self.place_failures.iter().cloned());
        if let (Some(placed), true) = (&self.placed, self.in_force.is_some()) {
            let knows = self.heard.services.is_some() && self.interfaces.is_some();
            problems
                .extend(placed.missing.iter().map(|name| format!("there is no device {name} to balance at")));
            let bare = placed.bare.iter();
            problems.extend(bare.map(|name| {
                format!("packets of device {name} have no Ethernet header: nothing is balanced there")
            }));
            if knows && placed.devices.is_empty() {
                problems.push("no device has an address of the node or a default route: nothing from outside is balanced".to_owned());
            }
        }
        let troubled =
            self.reports.iter().filter_map(|report| Some((report.index, report.trouble.as_ref()?)));
        problems.extend(troubled.map(|(index, why)| format!("device {}: {why}", self.device(index))));
        problems.extend(self.health.trouble());
        problems.extend(self.sweep_trouble.clone());
        let BalanceReport { translations, translation_capacity, .. } = self.sweep;
        if translation_capacity > 0 && translations * 100 >= translation_capacity * NEARLY_FULL {
            problems
                .push(format!("map translations is nearly full: {translations} of {translation_capacity}"));
        }
        problems
    }
}

fn image_status(in_force: &InForce) -> ServiceImageStatus {
    let age = in_force.since.and_then(|since| SystemTime::now().duration_since(since).ok());
    ServiceImageStatus {
        checksum: format!("{:016x}", in_force.checksum),
        since: in_force.since.map(rfc3339),
        age_seconds: age.map(|age| age.as_secs()),
        is_restored: in_force.is_restored,
        contents: in_force.contents,
    }
}
