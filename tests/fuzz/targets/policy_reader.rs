//! Any bytes as a file of the policy language: reading ends with objects and findings, never with a panic, every finding is
//! about a place that exists, what was accepted says the same when it is written again, and what is well-formed
//! is laid out in one way that says the same and stays as it is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_grammar::tree::placeless;
use weir_grammar::format::{self, Refusal};
use weir_grammar::{Included, Limits, Reading, includes, read, read_including, write};

/// Small, so that each bound is reached often.
const LIMITS: Limits = Limits { file_bytes: 1 << 18, depth: 24, values: 20_000, diagnostics: 40 };

/// What the text includes is the text itself, whatever the path.
fn reading(name: &str, bytes: &[u8], limits: &Limits) -> Reading {
    let (mut reading, mut included) = (Reading::default(), Included::default());
    let paths = includes(name, bytes);
    if !paths.is_empty() {
        let file = reading.sources.next_id();
        read(&mut reading, name, bytes.to_vec(), limits);
        paths.into_iter().for_each(|path| included.file(path, file));
    }
    read_including(&mut reading, name, bytes.to_vec(), limits, &included);
    reading
}

fuzz_target!(|data: &[u8]| {
    let given = reading("fuzz.policy", data, &LIMITS);
    // One of each kind more for the findings that count the rest.
    let readings = given.sources.iter().count();
    assert!(given.diagnostics.len() <= readings * (2 * LIMITS.diagnostics + 2), "more findings than the bound permits");
    for finding in &given.diagnostics {
        for span in std::iter::once(finding.span).chain(finding.labels.iter().map(|label| label.span)) {
            let text = given.sources.text(span.file);
            assert!(text.get(span.start as usize..span.end as usize).is_some(), "{finding:?} is about no place");
        }
    }
    for object in &given.objects {
        for (name, text) in [("again.policy", write::policy(object)), ("again.yaml", write::yaml(object))] {
            // The language writes policies and groups alone, and all of them.
            let text = text.unwrap_or_default();
            let again = reading(name, text.as_bytes(), &Limits::default());
            let again: Vec<String> = again.objects.iter().map(placeless).collect();
            assert_eq!(again, [placeless(object)], "{text}");
        }
    }
    match format::policy("fuzz.policy", data.to_vec(), &LIMITS) {
        Ok(once) => {
            // Longer than its text it may be, and so than the bound on files.
            let twice = format::policy("once.policy", once.clone().into_bytes(), &Limits::default());
            assert!(matches!(&twice, Ok(twice) if *twice == once), "{once}\n{twice:?}");
        }
        Err(Refusal::Unfaithful) => panic!("laid out anew it says something else"),
        Err(Refusal::Findings(_)) => {}
    }
});
