//! Any bytes as a manifest: reading ends with objects and findings, never with a panic, and every finding is about a place
//! that exists.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_grammar::{Limits, Reading, read};

/// Small, so that each bound is reached often.
const LIMITS: Limits = Limits { file_bytes: 1 << 18, depth: 24, values: 20_000, diagnostics: 40 };

fuzz_target!(|data: &[u8]| {
    let mut reading = Reading::default();
    read(&mut reading, "fuzz.yaml", data.to_vec(), &LIMITS);
    // One more for the finding that counts the rest.
    assert!(reading.diagnostics.len() <= LIMITS.diagnostics + 1, "more findings than the bound permits");
    for finding in &reading.diagnostics {
        for span in std::iter::once(finding.span).chain(finding.labels.iter().map(|label| label.span)) {
            let text = reading.sources.text(span.file);
            assert!(text.get(span.start as usize..span.end as usize).is_some(), "{finding:?} is about no place");
        }
    }
    // What was accepted without a word can be read again, and says the same.
    if reading.diagnostics.is_empty() {
        let mut again = Reading::default();
        read(&mut again, "fuzz.yaml", data.to_vec(), &LIMITS);
        assert!(again.diagnostics.is_empty() && again.objects.len() == reading.objects.len());
    }
});
