//! Other people's tools, run.

use std::io::Write as _;
use std::process::{Command, Stdio};

/// Runs a command line with text on its standard input; what it says.
pub fn run(line: &str, text: &str) -> Result<String, String> {
    let told = |error: std::io::Error| format!("`{line}`: {error}");
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(told)?;
    // A tool that ends early says why by its status.
    _ = child.stdin.take().map(|mut stdin| stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().map_err(told)?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("`{line}` ended with {}: {}", output.status, said.lines().next().unwrap_or_default()))
    }
}
