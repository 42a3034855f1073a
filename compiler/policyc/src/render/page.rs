//! The pages of codes: with colours for a person at a terminal, as the Markdown that they are otherwise.

use std::fmt::Write as _;
use weir_grammar::diagnostic::{Code, Severity};

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[1;91m";
const YELLOW: &str = "\x1b[1;33m";
const BLUE: &str = "\x1b[1;94m";
const CYAN: &str = "\x1b[36m";
const PLAIN: &str = "\x1b[0m";

/// The page of a code.
pub(crate) fn text(code: Code, colors: bool) -> String {
    if !colors {
        return code.page().to_owned();
    }
    let mut text = String::new();
    let mut is_example = false;
    for line in code.page().lines() {
        let _ = if line.starts_with("```") {
            is_example = !is_example;
            // The fences are for Markdown; an indentation says the same here.
            continue;
        } else if is_example {
            writeln!(text, "    {}", yaml(line))
        } else if let Some(title) = line.strip_prefix("# ") {
            let title = title.strip_prefix(code.as_str()).unwrap_or(title);
            writeln!(text, "{}{}{PLAIN}{BOLD}:{title}{PLAIN}", color(code), code.as_str())
        } else if let Some(heading) = line.strip_prefix("## ") {
            writeln!(text, "{BLUE}{heading}{PLAIN}")
        } else {
            writeln!(text, "{}", prose(line))
        };
    }
    text
}

/// Every code with its title, a line each.
pub(crate) fn list(colors: bool) -> String {
    let line = |code: &Code| {
        let (start, end) = if colors { (color(*code), PLAIN) } else { ("", "") };
        format!("{start}{}{end}  {}\n", code.as_str(), code.title())
    };
    Code::ALL.iter().map(line).collect()
}

/// The colour that findings of the code have.
fn color(code: Code) -> &'static str {
    match code.severity() {
        Severity::Error => RED,
        Severity::Warning => YELLOW,
    }
}

/// A line of an example, its comment less bright.
fn yaml(line: &str) -> String {
    match line.split_once(" # ") {
        Some((code, comment)) => format!("{code} {DIM}# {comment}{PLAIN}"),
        None => line.to_owned(),
    }
}

/// A line of prose: what stands between back-quotes is coloured, and a link is its text.
fn prose(line: &str) -> String {
    let mut text = String::new();
    for (place, part) in line.split('`').enumerate() {
        let is_code = place % 2 == 1;
        if is_code {
            let _ = write!(text, "{CYAN}{part}{PLAIN}");
            continue;
        }
        let mut rest = part;
        while let Some((before, link)) = rest.split_once('[') {
            let Some((words, after)) = link.split_once("](") else { break };
            let Some((_, after)) = after.split_once(')') else { break };
            text.push_str(before);
            text.push_str(words);
            rest = after;
        }
        text.push_str(rest);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_markdown_or_coloured() {
        assert_eq!(text(Code::Port, false), Code::Port.page());
        let colored = text(Code::Port, true);
        assert!(colored.starts_with("\x1b[1;91mE312\x1b[0m\x1b[1m: not a port\x1b[0m\n"), "{colored}");
        assert!(!colored.contains("```") && !colored.contains('`'), "{colored}");
        assert!(colored.contains("\n\x1b[1;94mExample\x1b[0m\n\n    apiVersion"), "{colored}");
        let linked = prose("see [E209](E209.md), and a list[0]");
        assert_eq!(linked, "see E209, and a list[0]");
        assert_eq!(list(false).lines().count(), Code::ALL.len());
    }
}
