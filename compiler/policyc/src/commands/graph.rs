//! `policyc graph`: who may talk to whom, drawn.

use super::Outcome;
use crate::args::{GraphArgs, GraphFormat};
use crate::drawing::{self, Drawing};
use crate::locks;
use crate::output::{Out, Terminal};
use crate::render::{count, text};
use crate::stages::Stages;
use anyhow::bail;
use weir_abi::Image;
use weir_compiler::graph::{self, Choice, GraphError};
use weir_project::{Project, addresses_of};

/// Names offered for one that is not there.
const OFFERED: usize = 12;

/// The command.
pub(crate) fn run(args: &GraphArgs, terminal: &Terminal) -> anyhow::Result<Outcome> {
    let mut stages = Stages::new();
    let mut project = Project::read(&args.world.policies, &args.world.cluster, &mut stages.reading())?;
    let (fqdn, mut identities) = locks::read(&args.locks, &mut project)?;
    if project.has_errors() {
        stages.finish();
        text::tell(&project, terminal, false);
        return Ok(Outcome::Findings);
    }
    let compiled = project.image(None, &mut identities, fqdn.as_ref(), &mut stages.compiling())?;
    let Some(compiled) = compiled else {
        stages.finish();
        text::tell(&project, terminal, false);
        return Ok(Outcome::Findings);
    };
    stages.begin("graph", 0);
    let image = Image::open(compiled.bytes.as_bytes())?;
    let input = graph::Input {
        image,
        cluster: &project.cluster,
        set: &project.set,
        addresses_of: &|text, is_pattern| addresses_of(fqdn.as_ref(), text, is_pattern),
    };
    let choice =
        Choice { namespaces: args.namespaces.iter().cloned().collect(), workload: args.focus.clone() };
    let graph = match graph::graph(&input, &choice) {
        Ok(graph) => graph,
        Err(error) => bail!("{error}{}", instead(&error)),
    };
    stages.finish();
    let drawing = Drawing { graph: &graph, image: &image, denied: args.denied };
    Out::print(match args.format {
        GraphFormat::Svg => drawing::matrix::svg(&drawing),
        GraphFormat::Dot => drawing::dot::dot(&drawing),
    })?;
    if graph.outside_left_out > 0 {
        terminal.tell(&format!("{}\n", drawing::left_out(&graph)));
    }
    Ok(Outcome::Fine)
}

/// What to ask for instead.
fn instead(error: &GraphError) -> String {
    match error {
        GraphError::TooMany { namespaces, .. } => {
            let mut told: Vec<String> =
                namespaces.iter().take(OFFERED).map(|(name, count)| format!("{name} {count}")).collect();
            if let Some(more @ 1..) = namespaces.len().checked_sub(OFFERED) {
                told.push(format!("and {}", count(more, "more namespace")));
            }
            format!("; choose by --namespace or --focus: {}", told.join(", "))
        }
        GraphError::NoSuchWorkload { others, namespace, .. } if others.is_empty() => {
            format!(", and no other in {namespace}")
        }
        GraphError::NoSuchWorkload { others, .. } => {
            let more = others.len().saturating_sub(OFFERED);
            let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
            let named: Vec<&str> = others.iter().take(OFFERED).map(String::as_str).collect();
            format!("; that namespace has {}{rest}", named.join(", "))
        }
        GraphError::TooLong { .. } => "; choose fewer by --namespace or --focus".to_owned(),
        _ => String::new(),
    }
}
