//! `policyc replay`: recorded Hubble flows whose verdict would change under these policies.

use super::Outcome;
use crate::args::{ReplayArgs, ReplayFormat};
use crate::locks;
use crate::output::{Out, Terminal};
use crate::render::text;
use crate::stages::Stages;
use std::fmt::Write;
use weir_abi::Image;
use weir_compiler::flow::RuleLine;
use weir_project::visible::visible;
use weir_project::{Change, Changes, OnNode, Project, refuse_stdin_twice};

/// The command.
pub(crate) fn run(args: &ReplayArgs, terminal: &Terminal) -> anyhow::Result<Outcome> {
    let world = &args.world;
    refuse_stdin_twice(world.policies.iter().chain(&world.cluster).chain([&args.flows]))?;
    let mut stages = Stages::new();
    let mut project = Project::read(&world.policies, &world.cluster, &mut stages.reading())?;
    let (fqdn, mut identities) = locks::read(&args.locks, &mut project)?;
    stages.begin("flows", 0);
    let recording = project.recording(&args.flows)?;
    if project.has_errors() {
        stages.finish();
        text::tell(&project, terminal, false);
        return Ok(Outcome::Findings);
    }
    let compiled = project.image(None, &mut identities, fqdn.as_ref(), &mut stages.compiling())?;
    stages.finish();
    let Some(compiled) = compiled else {
        text::tell(&project, terminal, false);
        return Ok(Outcome::Findings);
    };
    let image = Image::open(compiled.bytes.as_bytes())?;
    let engine = OnNode::of_image(image, &project.cluster, fqdn.as_ref())?;
    let changes = recording.replay(&engine, &image);
    match args.format {
        ReplayFormat::Text => Out::print(told(&changes))?,
        ReplayFormat::Json => Out::print(serde_json::to_string_pretty(&changes)? + "\n")?,
    }
    let is_same = changes.breaks.is_empty() && changes.opens.is_empty();
    Ok(if is_same { Outcome::Fine } else { Outcome::Findings })
}

fn told(changes: &Changes<'_>) -> String {
    let sum = |changes: &[Change<'_>]| changes.iter().map(|change| change.count).sum::<usize>();
    let mut text = String::new();
    _ = writeln!(
        text,
        "{} {} replayed: {} as recorded, {} would break, {} would open",
        changes.replayed,
        if changes.replayed == 1 { "flow" } else { "flows" },
        changes.same,
        sum(&changes.breaks),
        sum(&changes.opens)
    );
    let left_out: Vec<String> =
        changes.left_out.iter().map(|(why, count)| format!("{count} {why}")).collect();
    if !left_out.is_empty() {
        _ = writeln!(text, "left out: {}", left_out.join(", "));
    }
    for (title, changes) in [("would break", &changes.breaks), ("would open", &changes.opens)] {
        if changes.is_empty() {
            continue;
        }
        _ = writeln!(text, "\n{title}");
        let width = changes.iter().map(|change| change.count.to_string().len()).max().unwrap_or(0);
        for change in changes {
            let Change { count, source, destination, protocol, port, direction, reason, .. } = change;
            let (source, destination) = (visible(source), visible(destination));
            _ = write!(
                text,
                "  {count:>width$}  {source} -> {destination} {port}/{} {direction}: {reason}",
                protocol.to_lowercase()
            );
            if let Some(RuleLine { kind, policy, rule, file, line, .. }) = change.by.first() {
                _ = write!(text, ", {kind} {} {rule} {}:{line}", visible(policy), visible(file));
            }
            text.push('\n');
        }
    }
    text
}
