//! `policyc verdict`: one JSON line per flow, in order.

use super::Outcome;
use crate::args::{EngineName, VerdictArgs};
use crate::images;
use crate::locks;
use crate::output::{Out, Terminal};
use crate::render::text;
use crate::stages::Stages;
use weir_abi::Image;
use weir_compiler::cluster::Cluster;
use weir_compiler::flow::{Flow, WrittenRules};
use weir_compiler::fqdn::FqdnLock;
use weir_compiler::reference::Reference;
use weir_project::{OnNode, Project, answer, refuse_stdin_twice};

/// The command.
pub(crate) fn run(args: &VerdictArgs, terminal: &Terminal) -> anyhow::Result<Outcome> {
    refuse_stdin_twice(args.policies.iter().chain(&args.cluster).chain([&args.flows]))?;
    let mapped = args.image.as_deref().map(images::map).transpose()?;
    let mut stages = Stages::new();
    let mut project = Project::read(&args.policies, &args.cluster, &mut stages.reading())?;
    let (fqdn, mut identities) = locks::read(&args.locks, &mut project)?;
    stages.begin("flows", 0);
    let flows = project.flows(&args.flows)?;
    if project.has_errors() {
        stages.finish();
        text::tell(&project, terminal, false);
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
        let engine = OnNode::new(reference, &project.cluster, node);
        let rules = WrittenRules::new(&project.set, &project.sources);
        Out::stream(|out| answer(&engine, &flows, &rules, out))?;
        return Ok(Outcome::Fine);
    }
    let compiled = project.image(node, &mut identities, fqdn.as_ref(), &mut stages.compiling())?;
    stages.finish();
    let Some(compiled) = compiled else {
        text::tell(&project, terminal, false);
        return Ok(Outcome::Findings);
    };
    let image = Image::open(compiled.bytes.as_bytes())?;
    from_image(image, &project.cluster, fqdn.as_ref(), &flows)?;
    Ok(Outcome::Fine)
}

fn from_image(
    image: Image<'_>,
    cluster: &Cluster,
    fqdn: Option<&FqdnLock>,
    flows: &[Flow],
) -> anyhow::Result<()> {
    let engine = OnNode::of_image(image, cluster, fqdn)?;
    Out::stream(|out| answer(&engine, flows, &image, out))
}
