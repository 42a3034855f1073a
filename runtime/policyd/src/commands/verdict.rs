//! `policyd verdict`: flows asked of the kernel's programs: of those that the daemon attached, or of the same programs loaded apart
//! with policies from files.
//!
//! One JSON line a flow, in order, as `policyc verdict` prints them. A line that is no flow is a finding; then no verdict is
//! printed.

use super::Outcome;
use crate::args::VerdictArgs;
use crate::output::{print, read_bounded, tell};
use anyhow::bail;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use weir_abi::Image;
use weir_project::{OnNode, Project, answer, refuse_stdin_twice};
use weir_runtime::control::client::Client;
use weir_runtime::control::{Answered, MAX_FLOWS, Request, Response};
use weir_runtime::datapath::{Options, remove_abandoned};
use weir_runtime::voice::{Stands, Voice};

/// Bytes of flows, at most.
const LARGEST: u64 = 256 << 20;
/// Where programs loaded apart are pinned; the number of the process follows.
const APART: &str = "/sys/fs/bpf/weir-verdict-";
/// Connections that a datapath apart has room for: a question records none.
const NO_CONNECTIONS: u32 = 64;

/// The command.
pub(crate) fn run(args: &VerdictArgs) -> anyhow::Result<Outcome> {
    if args.cluster.is_empty() { of_daemon(args) } else { apart(args) }
}

/// Asks programs that are loaded for this and attached nowhere.
fn apart(args: &VerdictArgs) -> anyhow::Result<Outcome> {
    refuse_stdin_twice(args.policies.iter().chain(&args.cluster).chain([&args.flows]))?;
    let mut project = Project::read(&args.policies, &args.cluster, &mut |_| ())?;
    let fqdn = project.fqdn_lock(args.fqdn.as_deref())?;
    let mut identities = project.identity_file(None)?;
    let flows = project.flows(&args.flows)?;
    if project.has_errors() {
        project.finding_lines().for_each(|line| tell(&line));
        return Ok(Outcome::Findings);
    }
    let node = project.node(args.node.as_deref())?;
    let Some(compiled) = project.image(node, &mut identities, fqdn.as_ref(), &mut |_| ())? else {
        project.finding_lines().for_each(|line| tell(&line));
        return Ok(Outcome::Findings);
    };
    // Of questions that were cut short.
    remove_abandoned(Path::new(APART));
    let options = Options {
        pin_root: PathBuf::from(format!("{APART}{}", std::process::id())),
        conntrack_v4: NO_CONNECTIONS,
        conntrack_v6: NO_CONNECTIONS,
        interfaces: 1,
        ..Options::default()
    };
    let stands = Rc::new(RefCell::new(Stands::new(options)));
    let bytes = compiled.bytes.as_bytes();
    let voice = Voice::new(&stands, &project.cluster, fqdn.as_ref(), [bytes])?;
    let engine = OnNode::new(&voice, &project.cluster, node);
    let mut told = Vec::new();
    answer(&engine, &flows, &Image::open(bytes)?, &mut told)?;
    if let Some(failure) = voice.failure() {
        bail!("the kernel cannot be asked: {failure}");
    }
    print(&String::from_utf8(told)?)?;
    Ok(Outcome::Fine)
}

/// Asks the programs that the daemon attached.
fn of_daemon(args: &VerdictArgs) -> anyhow::Result<Outcome> {
    let flows = read_bounded(&args.flows, LARGEST)?;
    let file = args.flows.display();
    let Ok(flows) = String::from_utf8(flows) else {
        tell(&format!("{file}: error: this is not UTF-8"));
        return Ok(Outcome::Findings);
    };
    let lines: Vec<(usize, &str)> =
        flows.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).collect();
    let mut client = Client::connect(&args.socket.socket)?;
    let (mut answers, mut findings) = (String::new(), false);
    for some in lines.chunks(MAX_FLOWS) {
        let flows = some.iter().map(|(_, line)| (*line).to_owned()).collect();
        let Response::Answers(answered) = client.ask(&Request::Ask { flows })? else {
            bail!("policyd answers something else than what was asked");
        };
        for ((number, _), answer) in some.iter().zip(answered) {
            match answer {
                Answered::Line(line) => answers += &(line + "\n"),
                Answered::Finding(what) => {
                    tell(&format!("{file}:{}:1: error: {what}", number + 1));
                    findings = true;
                }
            }
        }
    }
    if findings {
        return Ok(Outcome::Findings);
    }
    print(&answers)?;
    Ok(Outcome::Fine)
}
