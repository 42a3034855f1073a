//! The lock file that keeps identity numbers from compile to compile.
//!
//! ```json
//! { "version": 1, "pods": { "256": ["k8s:app=web", "…"] }, "nodes": { "0": "n1" } }
//! ```
//!
//! A number, once given, stays with its label set, also while no pod has it. Only when the numbers
//! are used up do the lowest idle ones go to new sets.

#[cfg(test)]
mod tests;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;
use weir_abi::Identity;

/// Numbers given so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityLock {
    pods: BTreeMap<String, u32>,
    nodes: BTreeMap<String, u32>,
}

/// Why numbers cannot be given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Not the JSON that a lock file is.
    #[error("line {line}, column {column}: {source}")]
    Json {
        /// Line from 1.
        line: usize,
        /// Column from 1.
        column: usize,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// From another version.
    #[error("the file has version {found}, this program writes version 1")]
    Version {
        /// The file's.
        found: u32,
    },
    /// A number outside its range; reserved numbers are never handed out.
    #[error("number {number} is outside {first}..{end}, the numbers for {what}")]
    Range {
        /// The number.
        number: u32,
        /// First of the range.
        first: u32,
        /// One past the last.
        end: u32,
        /// Pods or nodes.
        what: &'static str,
    },
    /// One set under two numbers.
    #[error("numbers {first} and {second} stand for the same {what}")]
    Twice {
        /// One.
        first: u32,
        /// The other.
        second: u32,
        /// Pods or node.
        what: &'static str,
    },
    /// More sets than numbers.
    #[error("{needed} {what} need a number, there are {available}")]
    UsedUp {
        /// Sets.
        needed: usize,
        /// Numbers.
        available: usize,
        /// Pods or nodes.
        what: &'static str,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with `version`, `pods` and `nodes`")]
struct File {
    version: u32,
    #[serde(default)]
    pods: Numbered<Vec<String>>,
    #[serde(default)]
    nodes: Numbered<String>,
}

/// What numbers stand for. Of a number that is there twice a map would keep the last and say nothing.
struct Numbered<T>(BTreeMap<u32, T>);

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Numbered(BTreeMap::new())
    }
}

impl<T: Serialize> Serialize for Numbered<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(&self.0)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Numbered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Numbered<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an object with numbers as keys")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
                let mut numbered = Numbered::default();
                while let Some((number, value)) = entries.next_entry()? {
                    if numbered.0.insert(number, value).is_some() {
                        return Err(A::Error::custom(format!("number {number} is there twice")));
                    }
                }
                Ok(numbered)
            }
        }

        deserializer.deserialize_map(Entries(PhantomData))
    }
}

impl IdentityLock {
    /// Reads a lock file.
    ///
    /// # Errors
    /// [`LockError`] if it is not one, or holds numbers that cannot be.
    pub fn parse(text: &str) -> Result<Self, LockError> {
        let file: File = serde_json::from_str(text).map_err(|source| LockError::Json {
            line: source.line(),
            column: source.column(),
            source,
        })?;
        if file.version != 1 {
            return Err(LockError::Version { found: file.version });
        }
        let pods = file.pods.0.into_iter().map(|(number, labels)| (labels.join("\n"), number));
        let nodes = file.nodes.0.into_iter().map(|(number, name)| (name, number));
        Ok(IdentityLock {
            pods: unique(pods, Identity::FIRST_POD, Identity::END_POD, "pods")?,
            nodes: unique(nodes, 0, Identity::NODES, "nodes")?,
        })
    }

    /// The lock file's text, the same for the same numbers.
    pub fn to_json(&self) -> String {
        let labels = |key: &String| key.split('\n').map(str::to_owned).collect();
        let file = File {
            version: 1,
            pods: Numbered(self.pods.iter().map(|(key, &number)| (number, labels(key))).collect()),
            nodes: Numbered(self.nodes.iter().map(|(name, &number)| (number, name.clone())).collect()),
        };
        // Maps with integer keys and strings always serialize.
        serde_json::to_string_pretty(&file).unwrap_or_default() + "\n"
    }

    pub(super) fn pods<'k>(
        &mut self,
        keys: impl Iterator<Item = &'k String>,
    ) -> Result<Vec<Identity>, LockError> {
        let numbers = assign(&mut self.pods, keys, Identity::FIRST_POD, Identity::END_POD, "pods")?;
        Ok(numbers.into_iter().map(Identity).collect())
    }

    pub(super) fn nodes<'k>(
        &mut self,
        names: impl Iterator<Item = &'k String>,
    ) -> Result<Vec<u32>, LockError> {
        assign(&mut self.nodes, names, 0, Identity::NODES, "nodes")
    }
}

fn unique(
    entries: impl Iterator<Item = (String, u32)>,
    first: u32,
    end: u32,
    what: &'static str,
) -> Result<BTreeMap<String, u32>, LockError> {
    let mut numbers = BTreeMap::new();
    for (key, number) in entries {
        if number < first || number >= end {
            return Err(LockError::Range { number, first, end, what });
        }
        if let Some(other) = numbers.insert(key, number) {
            return Err(LockError::Twice { first: other, second: number, what });
        }
    }
    Ok(numbers)
}

/// A number for every key: the one it has, else the lowest never given, else the lowest idle one.
fn assign<'k>(
    given: &mut BTreeMap<String, u32>,
    keys: impl Iterator<Item = &'k String>,
    first: u32,
    end: u32,
    what: &'static str,
) -> Result<Vec<u32>, LockError> {
    let keys: Vec<&String> = keys.collect();
    let available = (end - first) as usize;
    if keys.len() > available {
        return Err(LockError::UsedUp { needed: keys.len(), available, what });
    }
    let fresh = keys.iter().filter(|key| !given.contains_key(**key)).count();
    if given.len() + fresh > available {
        let wanted: BTreeSet<&String> = keys.iter().copied().collect();
        let mut idle: Vec<(u32, String)> = given
            .iter()
            .filter(|(key, _)| !wanted.contains(key))
            .map(|(key, &number)| (number, key.clone()))
            .collect();
        idle.sort_unstable();
        let surplus = given.len() + fresh - available;
        for (_, key) in idle.into_iter().take(surplus) {
            given.remove(&key);
        }
    }
    let taken: BTreeSet<u32> = given.values().copied().collect();
    let mut free = (first..end).filter(|number| !taken.contains(number));
    let mut numbers = Vec::with_capacity(keys.len());
    for key in keys {
        let number = match given.get(key) {
            Some(&number) => number,
            None => {
                let used_up = LockError::UsedUp { needed: given.len() + 1, available, what };
                let number = free.next().ok_or(used_up)?;
                given.insert(key.clone(), number);
                number
            }
        };
        numbers.push(number);
    }
    Ok(numbers)
}
