//! Maps of the kernel that this process has open, and what they take, as the kernel tells itself.

use std::collections::BTreeMap;
use std::fs;

/// A map that this process has open.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// Bytes of a value.
    pub value_size: u64,
    /// Entries there is room for.
    pub entries: u64,
    /// Bytes it is accounted for.
    pub bytes: u64,
}

/// By number.
pub fn maps_held() -> BTreeMap<u64, Held> {
    let mut held = BTreeMap::new();
    for entry in fs::read_dir("/proc/self/fdinfo").into_iter().flatten().flatten() {
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        let number = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|value| value.trim().parse::<u64>().ok())
        };
        if let (Some(id), Some(value_size), Some(entries), Some(bytes)) =
            (number("map_id"), number("value_size"), number("max_entries"), number("memlock"))
        {
            held.insert(id, Held { value_size, entries, bytes });
        }
    }
    held
}
