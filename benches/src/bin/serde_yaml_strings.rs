//! The thing to beat: a policy file parsed by serde_yaml into typed structs of strings, and nothing else done with it.
//!
//! ```text
//! serde_yaml_strings FILE
//! ```
//!
//! No place is kept, no CIDR is parsed, nothing is checked. A compiler that does all of that in less has earned its parser.

use serde::Deserialize;
use std::process::ExitCode;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Policy {
    #[expect(dead_code, reason = "parsed, as a typed reader would")]
    api_version: String,
    #[expect(dead_code, reason = "parsed, as a typed reader would")]
    kind: String,
    metadata: Metadata,
    spec: Spec,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    egress: Vec<Rule>,
    #[serde(default)]
    egress_deny: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    #[serde(rename = "toCIDR", default)]
    to_cidr: Vec<String>,
    #[serde(rename = "toCIDRSet", default)]
    to_cidr_set: Vec<CidrRule>,
}

#[derive(Deserialize)]
struct CidrRule {
    #[expect(dead_code, reason = "parsed, as a typed reader would")]
    cidr: String,
    #[serde(default)]
    except: Vec<String>,
}

fn main() -> ExitCode {
    match std::env::args()
        .nth(1)
        .ok_or_else(|| "usage: serde_yaml_strings FILE".to_owned())
        .and_then(|file| count(&file))
    {
        Ok(count) => {
            println!("{count}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("serde_yaml_strings: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// How many CIDRs and exceptions the file's policy holds.
fn count(file: &str) -> Result<usize, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    let policy: Policy = serde_yaml::from_str(&text).map_err(|error| format!("{file}: {error}"))?;
    let rules = policy.spec.egress.iter().chain(&policy.spec.egress_deny);
    let count = rules
        .map(|rule| {
            let exceptions: usize = rule.to_cidr_set.iter().map(|entry| entry.except.len()).sum();
            rule.to_cidr.len() + rule.to_cidr_set.len() + exceptions
        })
        .sum();
    if count == 0 { Err(format!("{file}: `{}` holds no CIDR", policy.metadata.name)) } else { Ok(count) }
}
