//! `policyc explain`: one connection, its verdict, and why; or a finding's code, and what it means.

use super::Outcome;
use crate::args::{ConnectionArgs, ExplainArgs, Format, Sides};
use crate::explanation;
use crate::output::{Out, Terminal};
use crate::render;
use crate::stages::Stages;
use anyhow::bail;
use weir_compiler::cluster::{Cluster, Party};
use weir_compiler::flow::{self, Enforced, Flow};
use weir_compiler::requests::{DnsRequest, HttpRequest};
use weir_grammar::span::{FileId, Span};
use weir_project::Project;

/// Names offered for one that is not there.
const OFFERED: usize = 8;

/// The command.
pub(crate) fn run(args: &ExplainArgs, terminal: &Terminal) -> anyhow::Result<Outcome> {
    let colors = terminal.colors_stdout();
    match (args.code, &args.connection) {
        (Some(code), _) => Out::print(render::page::text(code, colors))?,
        (None, Some(connection)) => return explain(connection, terminal),
        (None, None) => Out::print(render::page::list(colors))?,
    }
    Ok(Outcome::Fine)
}

fn explain(args: &ConnectionArgs, terminal: &Terminal) -> anyhow::Result<Outcome> {
    let mut stages = Stages::new();
    let mut project = Project::read(&args.policies, &args.cluster, &mut stages.reading())?;
    let lock = project.fqdn_lock(args.fqdn_lock.as_deref())?;
    if project.has_errors() {
        stages.finish();
        render::text::tell(&project, terminal, false);
        return Ok(Outcome::Findings);
    }
    stages.begin("explain", 0);
    let flow = flow(args, &project.cluster)?;
    let explanation = explanation::explain(&project, lock.as_ref(), &flow);
    stages.finish();
    match args.format {
        Format::Text => {
            Out::print(render::explanation::text(&explanation, &project, terminal.colors_stdout()))?;
        }
        Format::Json => Out::print(render::explanation::json(&explanation, &project)?)?,
    }
    Ok(Outcome::Fine)
}

fn flow(args: &ConnectionArgs, cluster: &Cluster) -> anyhow::Result<Flow> {
    let http = args.http.as_deref().map(|request| {
        let (method, path) = match request.trim().split_once(char::is_whitespace) {
            Some((method, path)) => (method, path.trim()),
            None if request.starts_with('/') => ("GET", request),
            None => (request, "/"),
        };
        HttpRequest {
            method: method.to_owned(),
            path: path.to_owned(),
            host: args.host.clone().unwrap_or_default(),
            headers: args.headers.clone(),
        }
    });
    Ok(Flow {
        id: String::new(),
        span: Span::point(FileId(0), 0),
        source: party("--from", &args.from, cluster)?,
        destination: party("--to", &args.to, cluster)?,
        protocol: args.port.protocol,
        port: args.port.number,
        enforced: match args.direction {
            Sides::Both => Enforced::Both,
            Sides::Ingress => Enforced::Ingress,
            Sides::Egress => Enforced::Egress,
        },
        http,
        dns: args.dns.clone().map(|query| DnsRequest { query }),
        fqdn: args.names.clone(),
        expected: Vec::new(),
        why: None,
    })
}

/// A party as in flows, or a node by its name.
fn party(flag: &str, text: &str, cluster: &Cluster) -> anyhow::Result<Party> {
    if let Some(node) = cluster.node_named(text) {
        return Ok(Party::Node(node));
    }
    let error = match flow::endpoint(text, cluster) {
        Ok(party) => return Ok(party),
        Err(error) => error,
    };
    let Some((namespace, _)) = text.split_once('/') else { bail!("{flag}: {error}, nor the name of a node") };
    let of_namespace = cluster.pods.iter().filter(|pod| pod.meta.namespace.as_deref() == Some(namespace));
    let names: Vec<&str> = of_namespace.map(|pod| pod.meta.name.as_str()).take(OFFERED + 1).collect();
    match names.len() {
        0 => bail!("{flag}: {error}, nor any other of that namespace"),
        1..=OFFERED => bail!("{flag}: {error}; that namespace has {}", names.join(", ")),
        _ => bail!("{flag}: {error}"),
    }
}
