//! Differences as GitHub workflow commands: each at the rule that decides now, or where there is none, at the one that decided before.
//!
//! What opens access is an error where that fails the run, else a warning; what else changes is a notice.

use super::{one, title};
use crate::render::diff::parties::Roster;
use crate::render::github::{data, property};
use std::fmt::Write;
use weir_compiler::diff::{Difference, Said};
use weir_compiler::flow::{Origin, Origins};
use weir_project::Comparison;

/// One command a line. `opening_fails`: access that opens is an error.
pub(crate) fn render(
    comparison: &Comparison,
    differences: &[Difference],
    origins: &dyn Origins,
    opening_fails: bool,
) -> String {
    let roster = Roster::new(&comparison.project.cluster);
    let mut lines = String::new();
    for difference in differences {
        let level = match (difference.opens(), opening_fails) {
            (true, true) => "error",
            (true, false) => "warning",
            (false, _) => "notice",
        };
        let rule = |said: &Said| said.rules.iter().find_map(|&rule| origins.origin(rule));
        let place = match rule(&difference.after).or_else(|| rule(&difference.before)) {
            Some(Origin { file, line, .. }) => {
                format!(" file={},line={line}", property(comparison.path_in_tree(file)))
            }
            None => String::new(),
        };
        let mut message = String::new();
        one(&mut message, difference, &roster, origins);
        let message: Vec<&str> = message.lines().map(str::trim_start).collect();
        let comma = if place.is_empty() { " " } else { "," };
        let title = format!("{} by this change", title(difference.kind()));
        _ = writeln!(
            lines,
            "::{level}{place}{comma}title={}::{}",
            property(&title),
            data(&message.join("\n"))
        );
    }
    lines
}
