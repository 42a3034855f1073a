//! `policyd verdict`: flows asked of the kernel's programs, through the daemon that attached them.
//!
//! One JSON line a flow, in order, as `policyc verdict` prints them. A line that is no flow is a finding; then no verdict is
//! printed.

use super::Outcome;
use crate::args::VerdictArgs;
use crate::output::{print, read_bounded, tell};
use anyhow::bail;
use weir_runtime::control::client::Client;
use weir_runtime::control::{Answered, MAX_FLOWS, Request, Response};

/// Bytes of flows, at most.
const LARGEST: u64 = 256 << 20;

/// The command.
pub(crate) fn run(args: &VerdictArgs) -> anyhow::Result<Outcome> {
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
