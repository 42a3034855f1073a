//! `policyc inspect`: whether an image is sound, and what is in it.

use super::{Outcome, inspect_services};
use crate::args::{Format, InspectArgs};
use crate::images;
use crate::output::{Out, Terminal};
use crate::render::json;
use crate::sections::{self, SectionSize, grouped};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use weir_abi::layout::{Section, TableRecord};
use weir_abi::{Image, MappedImage, PolicyEntry};
use weir_compiler::compile::NODE_FACT;
use weir_project::visible::visible;

/// The command.
pub(crate) fn run(args: &InspectArgs, terminal: &Terminal) -> anyhow::Result<Outcome> {
    let mapped = images::map(&args.image)?;
    if mapped.is_of_services() {
        return of_services(args, &mapped, terminal);
    }
    let Some(image) = images::open(&mapped, &args.image, terminal) else { return Ok(Outcome::Findings) };
    let found = Found::new(args.image.display().to_string(), &image);
    match args.format {
        Format::Text => Out::print(found.text(&image))?,
        Format::Json => Out::print(json::text(&found)?)?,
    }
    Ok(Outcome::Fine)
}

fn of_services(args: &InspectArgs, mapped: &MappedImage, terminal: &Terminal) -> anyhow::Result<Outcome> {
    let Some(image) = images::open_services(mapped, &args.image, terminal) else {
        return Ok(Outcome::Findings);
    };
    let found = inspect_services::Found::new(args.image.display().to_string(), &image);
    match args.format {
        Format::Text => Out::print(found.text(&image))?,
        Format::Json => Out::print(json::text(&found)?)?,
    }
    Ok(Outcome::Fine)
}

/// What `-o json` prints.
#[derive(Serialize)]
struct Found<'i> {
    file: String,
    version: u32,
    checksum: String,
    node: Option<&'i str>,
    policies: Vec<FoundPolicy<'i>>,
    rules: usize,
    identities: usize,
    endpoints: Endpoints,
    classes: Classes,
    tables: usize,
    prefixes: Prefixes,
    request_sets: usize,
    fqdns: Vec<Fqdn<'i>>,
    bytes: Bytes,
}

#[derive(Serialize)]
struct FoundPolicy<'i> {
    kind: &'i str,
    namespace: Option<&'i str>,
    name: &'i str,
    file: &'i str,
    rules: usize,
}

/// Identities by what the image does for them.
#[derive(Serialize)]
struct Endpoints {
    /// Their policy is in the image.
    enforced: usize,
    /// Known as peers only.
    peers_only: usize,
}

#[derive(Serialize)]
struct Classes {
    peers: u32,
    ports: u32,
}

#[derive(Serialize)]
struct Prefixes {
    v4_bytes: u32,
    v6_bytes: u32,
}

#[derive(Serialize)]
struct Fqdn<'i> {
    text: &'i str,
    is_pattern: bool,
}

/// Bytes of any image.
#[derive(Serialize)]
pub(super) struct Bytes {
    pub(super) image: u32,
    pub(super) kernel: u32,
    sections: BTreeMap<&'static str, u32>,
}

impl Bytes {
    pub(super) fn new(image: u32, kernel: u32, sections: Vec<SectionSize>) -> Self {
        let sections = sections.into_iter().map(|size| (size.name, size.bytes)).collect();
        Bytes { image, kernel, sections }
    }
}

impl<'i> Found<'i> {
    fn new(file: String, image: &Image<'i>) -> Self {
        let header = image.header();
        let bytes = |parts: &[Section]| parts.iter().map(|&part| sections::bytes(image, part)).sum();
        let known = image.identities().filter_map(|entry| image.endpoint(entry.identity));
        let (enforced, peers_only): (Vec<_>, Vec<_>) = known.partition(|endpoint| endpoint.enforced_here);
        let tables = sections::bytes(image, Section::Tables) as usize / size_of::<TableRecord>();
        Found {
            file,
            version: header.version,
            checksum: format!("{:016x}", header.checksum),
            node: image.fact(NODE_FACT),
            policies: policies(image),
            rules: image.rule_count(),
            identities: image.identities().len(),
            endpoints: Endpoints { enforced: enforced.len(), peers_only: peers_only.len() },
            classes: Classes { peers: header.peer_classes, ports: header.port_classes },
            // Number 0 is no table: no policy.
            tables: tables.saturating_sub(1),
            prefixes: Prefixes {
                v4_bytes: bytes(&[Section::V4Directory, Section::V4Ranges]),
                v6_bytes: bytes(&[
                    Section::V6Keys,
                    Section::V6Values,
                    Section::V6LowTables,
                    Section::V6LowKeys,
                    Section::V6LowValues,
                ]),
            },
            request_sets: image.request_set_count(),
            fqdns: image
                .fqdns()
                .map(|entry| Fqdn { text: entry.text, is_pattern: entry.is_pattern })
                .collect(),
            bytes: Bytes::new(header.image_bytes, header.kernel_bytes, sections::sizes(image)),
        }
    }

    fn text(&self, image: &Image<'_>) -> String {
        let number = |number: usize| grouped(u64::try_from(number).unwrap_or(u64::MAX));
        let mut text = String::new();
        let mut row = |what: &str, told: String| _ = writeln!(text, "{what:<12} {told}");
        let node = self.node.map_or("the whole cluster".into(), |node| format!("node {}", visible(node)));
        row("image", format!("{} for {node}", visible(&self.file)));
        row("layout", format!("version {}; sound, checksum {}", self.version, self.checksum));
        let rules = crate::render::count(self.rules, "rule");
        row("policies", format!("{} with {rules}", number(self.policies.len())));
        let (enforced, peers) = (number(self.endpoints.enforced), number(self.endpoints.peers_only));
        row("identities", format!("{enforced} with their policy, {peers} as peers only"));
        let (peers, ports) = (self.classes.peers, self.classes.ports);
        row("classes", format!("{} of peers, {} of ports", grouped(peers.into()), grouped(ports.into())));
        row("tables", number(self.tables));
        if self.request_sets > 0 {
            row("requests", format!("{} sets of request rules", number(self.request_sets)));
        }
        if !self.fqdns.is_empty() {
            row("DNS names", number(self.fqdns.len()));
        }
        let (all, kernel) = (self.bytes.image.into(), self.bytes.kernel.into());
        row("bytes", format!("{}, of which the kernel reads {}", grouped(all), grouped(kernel)));
        let _ = writeln!(
            text,
            "\nparts, the largest first:\n{}",
            sections::rows(sections::sizes(image), self.bytes.image)
        );
        let _ = writeln!(text, "{}:", crate::render::policies(self.policies.len()));
        for policy in &self.policies {
            let name =
                policy.namespace.map_or_else(|| policy.name.into(), |ns| format!("{ns}/{}", policy.name));
            let _ = writeln!(
                text,
                "  {} {}: {}, {}",
                visible(policy.kind),
                visible(&name),
                crate::render::count(policy.rules, "rule"),
                visible(policy.file)
            );
        }
        text
    }
}

/// The policies, each with the number of its rules.
fn policies<'i>(image: &Image<'i>) -> Vec<FoundPolicy<'i>> {
    let count = u32::try_from(image.policy_count()).unwrap_or(u32::MAX);
    let mut found: Vec<FoundPolicy<'i>> = (0..count)
        .filter_map(|number| image.policy(number))
        .map(|PolicyEntry { kind, namespace, name, file }| FoundPolicy {
            kind,
            namespace: Some(namespace).filter(|namespace| !namespace.is_empty()),
            name,
            file,
            rules: 0,
        })
        .collect();
    let rules = u32::try_from(image.rule_count()).unwrap_or(u32::MAX);
    let mut at = 0;
    for rule in (0..rules).filter_map(|id| image.rule(id)) {
        let is_of = |policy: &FoundPolicy<'_>| {
            (policy.kind, policy.namespace.unwrap_or_default(), policy.name)
                == (rule.policy.kind, rule.policy.namespace, rule.policy.name)
        };
        // Rules are in the order of their policies.
        while found.get(at).is_some_and(|policy| !is_of(policy)) {
            at += 1;
        }
        if let Some(policy) = found.get_mut(at) {
            policy.rules += 1;
        }
    }
    found
}
