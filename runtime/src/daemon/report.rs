//! The daemon's state in words: what is in force, and what is wrong.

use super::{Daemon, checksum};
use crate::balancing::Balancing;
use crate::clock::rfc3339;
use crate::status::{DropCount, EndpointStatus, ImageStatus, SourceStatus, Status};
use std::net::IpAddr;
use std::time::SystemTime;
use weir_abi::Reason;
use weir_abi::state::Counter;

/// A map is told of when it is so full, in hundredths.
const NEARLY_FULL: usize = 90;
/// Problems of one kind that are told one by one.
const TOLD: usize = 10;

impl Daemon {
    pub(super) fn status(&self) -> Status {
        let counters = &self.measured.counters;
        let named = counters.named.iter().map(|(counter, count)| (counter.as_str().to_owned(), *count));
        let balancing = self.balancing.as_ref().map(Balancing::status);
        let mut problems = self.problems();
        limited(
            &mut problems,
            balancing.iter().flat_map(|balancing| balancing.problems.clone()).collect::<Vec<_>>().into_iter(),
        );
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.settings.node.clone(),
            up_seconds: self.began.elapsed().as_secs(),
            problems,
            image: self.image_status(),
            source: self.source_status(),
            endpoints: self.endpoints(),
            unplaced: self.wanted.unplaced.clone(),
            datapath: self.features.clone(),
            sizes: self.measured.sizes.clone(),
            conntrack: self.measured.conntrack,
            drops: self.drops(),
            counters: named.collect(),
            balancing,
        }
    }

    fn image_status(&self) -> Option<ImageStatus> {
        let in_force = self.believed.as_ref()?.image?;
        let told = ImageStatus { checksum: checksum(in_force), ..ImageStatus::default() };
        // An image of an earlier daemon, whose bytes are gone, is known by its checksum alone.
        let Some(legend) = self.legends.iter().find(|legend| legend.checksum == in_force) else {
            return Some(told);
        };
        let target = self.target.as_ref().filter(|target| target.legend.checksum == in_force);
        let since = target.and_then(|target| target.since);
        let age = since.and_then(|since| SystemTime::now().duration_since(since).ok());
        Some(ImageStatus {
            since: since.map(rfc3339),
            age_seconds: age.map(|age| age.as_secs()),
            is_restored: target.is_some_and(|target| target.is_restored),
            policies: legend.policies,
            rules: legend.rule_count(),
            bytes: legend.bytes,
            ..told
        })
    }

    fn source_status(&self) -> SourceStatus {
        let read = &self.last_read;
        SourceStatus {
            name: self.settings.source.to_string(),
            read: read.at.map(rfc3339),
            took_milliseconds: read.took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
            is_good: read.is_good,
            findings: read.findings.lines.clone(),
            findings_left_out: read.findings.more,
        }
    }

    fn endpoints(&self) -> Vec<EndpointStatus> {
        let empty = Default::default();
        let attached = self.believed.as_ref().map_or(&empty, |state| &state.attached);
        let endpoint = |(index, placement): (&u32, &crate::wanted::Placement)| {
            let endpoint = self.wanted.state.endpoints.get(index)?;
            let addresses = [endpoint.v4.map(IpAddr::V4), endpoint.v6.map(IpAddr::V6)];
            Some(EndpointStatus {
                pod: placement.pod.clone(),
                interface: placement.interface.clone(),
                index: *index,
                identity: endpoint.identity.0,
                addresses: addresses.iter().flatten().map(ToString::to_string).collect(),
                by: placement.by,
                attached: attached.contains(index),
            })
        };
        let mut endpoints: Vec<EndpointStatus> = self.wanted.placements.iter().filter_map(endpoint).collect();
        endpoints.sort_by(|a, b| (&a.pod, a.index).cmp(&(&b.pod, b.index)));
        endpoints
    }

    /// Interfaces where programs stand and no pod is.
    fn closed(&self) -> Vec<&str> {
        let attached = self.wanted.state.attached.iter();
        let nobodys = attached.filter(|index| !self.wanted.placements.contains_key(index));
        let links = self.interfaces.as_ref().map(|known| &known.links);
        nobodys.filter_map(|index| links?.get(index)).map(|link| link.name.as_str()).collect()
    }

    fn drops(&self) -> Vec<DropCount> {
        let reasons = self.measured.counters.reasons.iter().filter(|(_, reason, _)| is_drop(*reason));
        let mut drops: Vec<DropCount> = reasons
            .map(|(hook, reason, count)| DropCount {
                reason: reason.as_str().to_owned(),
                direction: hook.as_str().to_owned(),
                packets: count.packets,
                bytes: count.bytes,
            })
            .collect();
        drops.sort_by(|a, b| b.packets.cmp(&a.packets).then_with(|| a.reason.cmp(&b.reason)));
        drops
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let read = &self.last_read;
        let in_force = self.believed.as_ref().and_then(|state| state.image);
        if read.at.is_some() && !read.is_good {
            let count = read.findings.lines.len() + read.findings.more;
            let first = read.findings.lines.first().map_or("", String::as_str);
            problems.push(match count {
                1 => format!("the source is refused: {first}"),
                _ => format!("the source is refused, {count} findings; the first: {first}"),
            });
        }
        if read.at.is_none() {
            problems.push("the source has not answered yet".to_owned());
        }
        match (in_force, &self.target) {
            (image, _) if self.features.is_upgrade => problems.push(format!(
                "another version's programs stand at pods {}",
                if image.is_some() {
                    "still"
                } else {
                    "and enforce what it left: there is no image of this version"
                }
            )),
            (None, _) => problems.push(
                "no image is in force: nothing passes where programs stand, and everything elsewhere"
                    .to_owned(),
            ),
            (Some(now), Some(target)) if now != target.legend.checksum => {
                problems.push(format!("the image in force is {}, not the newest", checksum(now)));
            }
            _ => {}
        }
        limited(&mut problems, self.failures.iter().cloned());
        let unplaced = self.wanted.unplaced.iter();
        limited(
            &mut problems,
            unplaced.map(|pod| format!("pod {pod} has no known interface: its policy is not enforced")),
        );
        limited(
            &mut problems,
            self.closed().iter().map(|name| {
                format!("interface {name} was a pod's and is nobody's: nothing passes there until it goes")
            }),
        );
        if let Some(trouble) = self.interface_trouble.borrow().as_ref() {
            problems.push(format!("this node's interfaces are not watched: {trouble}"));
        } else if self.interfaces.is_none() {
            problems.push("this node's interfaces are not known yet".to_owned());
        }
        problems
            .extend(self.keep_failure.iter().map(|why| format!("the last good image cannot be kept: {why}")));
        problems.extend(self.measured.trouble.iter().map(|why| format!("the kernel cannot be asked: {why}")));
        problems.extend(self.full_maps());
        problems
    }

    fn full_maps(&self) -> Vec<String> {
        let conntrack = &self.measured.conntrack;
        let maps =
            self.measured.sizes.maps.iter().map(|size| (size.map.as_str(), size.entries, size.capacity));
        let connections = [
            ("conntrack_v4", conntrack.entries_v4, conntrack.capacity_v4),
            ("conntrack_v6", conntrack.entries_v6, conntrack.capacity_v6),
        ];
        let known: Vec<(&str, usize, usize)> = maps.chain(connections).collect();
        let mut told: Vec<String> = known
            .iter()
            .filter(|(_, entries, capacity)| *capacity > 0 && entries * 100 >= capacity * NEARLY_FULL)
            .map(|(map, entries, capacity)| format!("map {map} is nearly full: {entries} of {capacity}"))
            .collect();
        told.dedup();
        if conntrack.evicted > 0 && told.iter().any(|told| told.contains("conntrack")) {
            told.push(format!("{} connections were forgotten for want of room", conntrack.evicted));
        }
        let refused =
            self.measured.counters.named.iter().find(|(name, _)| *name == Counter::ConnectionsRefused);
        if let Some((_, count)) = refused.filter(|(_, count)| *count > 0) {
            told.push(format!("{count} connections could not be recorded and were dropped"));
        }
        told
    }
}

/// Whether packets are dropped for this reason. Those of policy depend on the verdict, and each has its own.
const fn is_drop(reason: Reason) -> bool {
    match reason {
        Reason::DeniedByRule
        | Reason::DefaultDeny
        | Reason::UnknownEndpoint
        | Reason::Malformed
        | Reason::UnsupportedProtocol
        | Reason::SpoofedSource
        | Reason::UnknownInterface
        | Reason::NoImage
        | Reason::UnknownFragment
        | Reason::ConntrackFull
        | Reason::ProxyUnavailable
        | Reason::BadImage => true,
        Reason::NoPolicy
        | Reason::AllowedByRule
        | Reason::DefaultAllow
        | Reason::OwnNode
        | Reason::EnforcedElsewhere
        | Reason::Reply
        | Reason::Related
        | Reason::Neighbour => false,
    }
}

/// Adds problems of one kind, the first few and how many more there are.
fn limited(problems: &mut Vec<String>, of_one_kind: impl ExactSizeIterator<Item = String>) {
    let more = of_one_kind.len().saturating_sub(TOLD);
    problems.extend(of_one_kind.take(TOLD));
    if more > 0 {
        problems.push(format!("and {more} more like this"));
    }
}
