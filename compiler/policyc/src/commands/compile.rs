//! `policyc compile`: policies and a cluster to one image file.

use super::Outcome;
use crate::args::{CompileArgs, Format};
use crate::locks;
use crate::output::{Out, Terminal};
use crate::render::{json, text};
use crate::sections::{self, grouped};
use crate::stages::Stages;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;
use weir_abi::Image;
use weir_compiler::compile::Contents;
use weir_compiler::compile::cost::prefixes;
use weir_project::visible::visible;
use weir_project::{Project, replace};

/// The command.
pub(crate) fn run(args: &CompileArgs, terminal: &Terminal) -> anyhow::Result<Outcome> {
    let mut stages = Stages::new();
    let world = &args.world;
    let mut project = Project::read(&world.policies, &world.cluster, &mut stages.reading())?;
    let (fqdn, mut identities) = locks::read(&args.locks, &mut project)?;
    if project.has_errors() {
        stages.finish();
        text::tell(&project, terminal, true);
        return Ok(Outcome::Findings);
    }
    let node = project.node(args.node.as_deref())?;
    let compiled = project.image(node, &mut identities, fqdn.as_ref(), &mut stages.compiling())?;
    let Some(compiled) = compiled else {
        stages.finish();
        text::tell(&project, terminal, true);
        return Ok(Outcome::Findings);
    };
    // Nothing on disk is replaced by an image that no reader would take.
    let image = Image::open(compiled.bytes.as_bytes())?;
    let services = match &args.services {
        None => None,
        Some(path) => {
            stages.begin("services", 0);
            match project.compile_services(node, None) {
                Ok(compiled) => {
                    // No more than of policies.
                    weir_abi::services::ServiceImage::open(compiled.bytes.as_bytes())?;
                    project.add(compiled.findings);
                    Some((path, compiled.bytes, compiled.contents))
                }
                Err(error) => {
                    stages.finish();
                    project.refuse_services(error)?;
                    text::tell(&project, terminal, true);
                    return Ok(Outcome::Findings);
                }
            }
        }
    };
    stages.begin("save", 0);
    identities.save()?;
    replace(&args.output, compiled.bytes.as_bytes())?;
    if let Some((path, bytes, _)) = &services {
        replace(path, bytes.as_bytes())?;
    }
    stages.finish();
    text::tell(&project, terminal, true);
    let written = project.set.peers.iter().map(|peers| prefixes(peers, &project.cluster)).sum();
    let mut summary = Summary::new(args, &compiled.contents, written, &image, stages.times());
    summary.services = services.map(|(path, bytes, contents)| Services {
        output: path.display().to_string(),
        services: contents.services,
        frontends: contents.frontends,
        backends: contents.backends,
        tables: contents.tables,
        slots: contents.slots,
        bytes: bytes.as_bytes().len(),
    });
    match args.format {
        Format::Text => Out::print(summary.text())?,
        Format::Json => Out::print(json::text(&summary)?)?,
    }
    Ok(Outcome::Fine)
}

/// What `-o json` prints.
#[derive(Serialize)]
struct Summary<'a> {
    output: String,
    node: Option<&'a str>,
    policies: usize,
    rules: usize,
    identities: usize,
    endpoints: usize,
    classes: Classes,
    tables: usize,
    prefixes: Prefixes,
    bytes: Bytes,
    /// With `--services`.
    #[serde(skip_serializing_if = "Option::is_none")]
    services: Option<Services>,
    times_ms: BTreeMap<&'static str, f64>,
    #[serde(skip)]
    times: &'a [(&'static str, Duration)],
}

#[derive(Serialize)]
struct Classes {
    peers: usize,
    ports: usize,
}

#[derive(Serialize)]
struct Services {
    output: String,
    services: usize,
    frontends: usize,
    backends: usize,
    tables: usize,
    slots: usize,
    bytes: usize,
}

#[derive(Serialize)]
struct Prefixes {
    /// As written, exceptions included.
    written: usize,
    v4_ranges: usize,
    v6_ranges: usize,
}

#[derive(Serialize)]
struct Bytes {
    image: u32,
    kernel: u32,
    sections: BTreeMap<&'static str, u32>,
}

impl<'a> Summary<'a> {
    fn new(
        args: &'a CompileArgs,
        contents: &Contents,
        written: usize,
        image: &Image<'_>,
        times: &'a [(&'static str, Duration)],
    ) -> Self {
        let header = image.header();
        let mut times_ms = BTreeMap::new();
        for (name, time) in times {
            *times_ms.entry(*name).or_default() += milliseconds(*time);
        }
        Summary {
            output: args.output.display().to_string(),
            node: args.node.as_deref(),
            policies: contents.policies,
            rules: contents.rules,
            identities: contents.identities,
            endpoints: contents.endpoints,
            classes: Classes { peers: contents.peer_classes, ports: contents.port_classes },
            tables: contents.tables,
            prefixes: Prefixes { written, v4_ranges: contents.v4_ranges, v6_ranges: contents.v6_ranges },
            bytes: Bytes {
                image: header.image_bytes,
                kernel: header.kernel_bytes,
                sections: sections::sizes(image).into_iter().map(|size| (size.name, size.bytes)).collect(),
            },
            services: None,
            times_ms,
            times,
        }
    }

    fn text(&self) -> String {
        let number = |number: usize| grouped(u64::try_from(number).unwrap_or(u64::MAX));
        let mut text = String::new();
        let mut row = |what: &str, told: String| _ = writeln!(text, "{what:<12} {told}");
        let node = self.node.map_or("the whole cluster".to_owned(), |node| format!("node {}", visible(node)));
        row("image", format!("{} for {node}", visible(&self.output)));
        row("policies", format!("{} with {} rules", number(self.policies), number(self.rules)));
        row(
            "identities",
            format!("{}, of which {} are endpoints here", number(self.identities), number(self.endpoints)),
        );
        row(
            "classes",
            format!("{} of peers, {} of ports", number(self.classes.peers), number(self.classes.ports)),
        );
        row("tables", number(self.tables));
        row(
            "prefixes",
            format!(
                "{} written, {} IPv4 and {} IPv6 ranges",
                number(self.prefixes.written),
                number(self.prefixes.v4_ranges),
                number(self.prefixes.v6_ranges)
            ),
        );
        let bytes = |bytes: u32| grouped(u64::from(bytes));
        row(
            "bytes",
            format!("{}, of which the kernel reads {}", bytes(self.bytes.image), bytes(self.bytes.kernel)),
        );
        if let Some(services) = &self.services {
            row(
                "services",
                format!(
                    "{} with {} frontends, {} backends and {} slots: {} bytes in {}",
                    number(services.services),
                    number(services.frontends),
                    number(services.backends),
                    number(services.slots),
                    number(services.bytes),
                    visible(&services.output)
                ),
            );
        }
        let total: Duration = self.times.iter().map(|(_, time)| *time).sum();
        // What takes less than a hundredth is left out.
        let long = self.times.iter().filter(|(_, time)| *time * 100 >= total);
        let times: Vec<String> =
            long.map(|(name, time)| format!("{name} {:.1}", milliseconds(*time))).collect();
        row("time", format!("{:.1} ms ({})", milliseconds(total), times.join(", ")));
        text
    }
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
