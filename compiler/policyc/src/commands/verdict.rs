//! `policyc verdict`: one JSON line per flow, in order.

use super::Outcome;
use crate::args::{EngineName, VerdictArgs};
use crate::images;
use crate::inputs;
use crate::output::{CANNOT_WRITE, Out, Terminal};
use crate::project::{Project, addresses_of};
use crate::render::visible::VisibleJson;
use crate::stages::Stages;
use anyhow::Context;
use serde::Serialize;
use serde_json::ser::CompactFormatter;
use std::io::{self, Write};
use weir_abi::{Image, Reason};
use weir_compiler::cluster::{Cluster, Party};
use weir_compiler::compile;
use weir_compiler::flow::{self, Engine, Flow, Origins, Side, VerdictLine, WrittenRules};
use weir_compiler::fqdn::FqdnLock;
use weir_compiler::interpret::Interpreter;
use weir_compiler::ir::Direction;
use weir_compiler::reference::Reference;
use weir_grammar::diagnostic::{Code, Diagnostic};
use weir_grammar::span::Span;

/// Bad lines of flows that are told one by one.
const BAD_LINES: usize = 200;

/// The command.
pub(crate) fn run(args: &VerdictArgs, terminal: &Terminal) -> anyhow::Result<Outcome> {
    inputs::refuse_stdin_twice(args.policies.iter().chain(&args.cluster).chain([&args.flows]))?;
    let mapped = args.image.as_deref().map(images::map).transpose()?;
    let mut stages = Stages::new();
    let mut project = Project::read(&args.policies, &args.cluster, &mut stages)?;
    let fqdn = project.fqdn_lock(args.locks.fqdn.as_deref())?;
    let (mut identities, lock_file) = project.identity_lock(args.locks.identities.as_deref(), true)?;
    stages.begin("flows", 0);
    let flows = read_flows(args, &mut project)?;
    if project.has_errors() {
        stages.finish();
        project.tell(terminal, false);
        return Ok(Outcome::Findings);
    }
    if let (Some(path), Some(mapped)) = (&args.image, &mapped) {
        stages.begin("open", 0);
        let Some(image) = images::open(mapped, path, terminal) else { return Ok(Outcome::Findings) };
        stages.finish();
        from_image(image, &project.cluster, fqdn.as_ref(), &flows)?;
        return Ok(Outcome::Fine);
    }
    let node = project.node(args.node.as_deref())?;
    if args.engine == EngineName::Reference {
        stages.finish();
        let reference = Reference::new(&project.set, &project.cluster, fqdn.as_ref());
        let engine = OnNode { engine: reference, cluster: &project.cluster, node };
        answer(&engine, &flows, &WrittenRules::new(&project.set, &project.sources))?;
        return Ok(Outcome::Fine);
    }
    let input = compile::Input {
        set: &project.set,
        cluster: &project.cluster,
        sources: &project.sources,
        addresses_of: &|text, is_pattern| addresses_of(fqdn.as_ref(), text, is_pattern),
    };
    let options = compile::Options { node, ..compile::Options::default() };
    let compiled =
        compile::compile(&input, &mut identities, &options, &mut |stage| stages.begin(stage.as_str(), 0));
    stages.finish();
    match compiled {
        Ok(compiled) => {
            let image = Image::open(compiled.bytes.as_bytes())?;
            from_image(image, &project.cluster, fqdn.as_ref(), &flows)?;
            Ok(Outcome::Fine)
        }
        Err(error) => {
            project.refuse(error, lock_file)?;
            project.tell(terminal, false);
            Ok(Outcome::Findings)
        }
    }
}

/// All flows; what is wrong with their lines joins the findings.
fn read_flows(args: &VerdictArgs, project: &mut Project) -> anyhow::Result<Vec<Flow>> {
    let file = match inputs::read_text(&args.flows, &mut project.sources)? {
        Ok(file) => file,
        Err(finding) => {
            project.findings.push(*finding);
            return Ok(Vec::new());
        }
    };
    let text = project.sources.text(file);
    let mut findings = Vec::new();
    let flows = flow::read(file, text, &project.cluster, &mut findings);
    if let Some(more @ 1..) = findings.len().checked_sub(BAD_LINES) {
        findings.truncate(BAD_LINES);
        let end = u32::try_from(text.len()).unwrap_or(u32::MAX);
        let message = format!("{} in this file", crate::render::count(more, "more bad line"));
        findings.push(Diagnostic::new(Code::MoreErrors, Span::point(file, end), message));
    }
    project.findings.extend(findings);
    Ok(flows)
}

fn from_image(
    image: Image<'_>,
    cluster: &Cluster,
    fqdn: Option<&FqdnLock>,
    flows: &[Flow],
) -> anyhow::Result<()> {
    let interpreter = Interpreter::new(image, cluster, fqdn);
    let node =
        match interpreter.node() {
            Some(name) => {
                let known = cluster.node_named(name);
                Some(known.with_context(|| {
                    format!("the image is for node {name}, which the cluster does not have")
                })?)
            }
            None => None,
        };
    answer(&OnNode { engine: interpreter, cluster, node }, flows, &image)
}

/// Prints the answers as they come, until nobody reads them.
fn answer(engine: &impl Engine, flows: &[Flow], origins: &dyn Origins) -> anyhow::Result<()> {
    let mut out = Out::new();
    for flow in flows {
        let judgement = flow::judge(engine, flow);
        let line = VerdictLine::new(flow, &judgement, origins);
        let formatter = VisibleJson(CompactFormatter);
        line.serialize(&mut serde_json::Serializer::with_formatter(&mut out, formatter))
            .map_err(io::Error::from)
            .and_then(|()| out.write_all(b"\n"))
            .context(CANNOT_WRITE)?;
        if out.is_closed() {
            break;
        }
    }
    out.flush().context(CANNOT_WRITE)
}

/// An engine asked on behalf of one node, by place in the cluster: for endpoints elsewhere their own
/// node decides. The same labels may stand for pods on several nodes, so an image alone cannot tell.
struct OnNode<'c, E> {
    engine: E,
    cluster: &'c Cluster,
    node: Option<usize>,
}

impl<E: Engine> Engine for OnNode<'_, E> {
    fn side(&self, flow: &Flow, direction: Direction) -> Side {
        let (subject, _) = flow.subject_and_peer(direction);
        let is_elsewhere = self.node.is_some() && self.cluster.home(subject) != self.node;
        if is_elsewhere && !matches!(subject, Party::Outside(_)) {
            return Side { reason: Reason::EnforcedElsewhere, ..Side::NO_POLICY };
        }
        self.engine.side(flow, direction)
    }
}
