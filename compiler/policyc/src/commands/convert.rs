//! `policyc convert`: the same policies, written the other way.
//!
//! What is printed has been read again and compared: a policy that would come back otherwise is a failure
//! of ours and never reaches a file.

use super::Outcome;
use crate::args::{ConvertArgs, Way};
use crate::output::{Out, Terminal};
use crate::render::{count, text};
use anyhow::ensure;
use weir_grammar::diagnostic::Severity;
use weir_grammar::tree::{Object, placeless};
use weir_grammar::{Limits, Reading, write};
use weir_project::read_objects;

/// The command.
pub(crate) fn run(args: &ConvertArgs, terminal: &Terminal) -> anyhow::Result<Outcome> {
    let reading = read_objects(&args.policies)?;
    if reading.diagnostics.iter().any(|finding| finding.severity == Severity::Error) {
        text::tell_of(&reading.diagnostics, &reading.sources, terminal, false);
        return Ok(Outcome::Findings);
    }
    let (write, between): (fn(&Object) -> Option<String>, &str) = match args.to {
        Way::Yaml => (write::yaml, "---\n"),
        Way::Policy => (write::policy, "\n"),
    };
    let (mut items, mut given) = (Vec::new(), Vec::new());
    for object in &reading.objects {
        if let Some(item) = write(object) {
            items.push(item);
            given.push(object);
        }
    }
    let converted = items.join(between);
    ensure!(reads_as(&converted, args.to, &given), "what was written would not mean the same; this is a bug");
    Out::print(converted)?;
    let left_out = reading.objects.len() - given.len();
    if left_out > 0 {
        terminal.tell(&format!("{} left out: no policy and no CIDR group\n", count(left_out, "object")));
    }
    Ok(Outcome::Fine)
}

fn reads_as(text: &str, way: Way, objects: &[&Object]) -> bool {
    let name = match way {
        Way::Yaml => "converted.yaml",
        Way::Policy => "converted.policy",
    };
    let mut again = Reading::default();
    weir_grammar::read(&mut again, name, text.as_bytes().to_vec(), &Limits::default());
    again.objects.len() == objects.len()
        && again.objects.iter().zip(objects).all(|(again, given)| placeless(again) == placeless(given))
}
