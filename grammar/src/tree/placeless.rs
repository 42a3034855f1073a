//! Objects without their places, to see whether two texts say the same.

use super::Object;

/// What an object says, as a text that tells no places: two objects say the same if these texts are equal.
///
/// It is the object's `Debug` form less its spans, so nothing that a tree holds can be forgotten here.
pub fn placeless(object: &Object) -> String {
    let written = format!("{object:?}");
    let mut told = String::with_capacity(written.len());
    let mut rest = written.as_str();
    while let Some(c) = rest.chars().next() {
        let length = if c == '"' {
            string(rest)
        } else if rest.starts_with("Span {") {
            // A span holds one pair of brackets, that of its file, and no text.
            rest = rest.get(rest.find('}').map_or(rest.len(), |end| end + 1)..).unwrap_or("");
            continue;
        } else if rest.starts_with("at: ") {
            rest = rest.get(4..).unwrap_or("").trim_start_matches(|c: char| c.is_ascii_digit());
            continue;
        } else {
            c.len_utf8()
        };
        let (kept, after) = rest.split_at(length);
        told.push_str(kept);
        rest = after;
    }
    told
}

/// The length of the string literal that `text` begins with.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    text.len()
}
