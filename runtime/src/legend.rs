//! What the numbers of one image stand for: rules, request sets, identities.
//!
//! Read once when an image comes into force, so that a name is a lookup and the image's bytes need not stay. Events carry
//! the checksum of the image that judged; a legend is found by it.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;
use weir_abi::{Identity, Image, PolicyEntry, RulePath};

/// A rule as people name it, and where it is written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RuleName {
    /// Kind of its policy.
    pub kind: String,
    /// `namespace/name`, or `name` alone if cluster-wide.
    pub policy: String,
    /// Such as `egress[0].toPorts[1]`.
    pub rule: String,
    /// The file.
    pub file: String,
    /// Line from 1.
    pub line: u32,
}

/// The names under one image.
#[derive(Debug, Default)]
pub struct Legend {
    /// The image's checksum.
    pub checksum: u64,
    /// Bytes of the image.
    pub bytes: usize,
    /// How many policies it has.
    pub policies: usize,
    rules: Vec<Rule>,
    /// The rule of each request set.
    sets: Vec<u32>,
    labels: HashMap<Identity, Arc<[String]>>,
}

#[derive(Debug)]
struct Rule {
    policy: Arc<Policy>,
    path: RulePath,
    line: u32,
}

#[derive(Debug)]
struct Policy {
    kind: String,
    name: String,
    file: String,
}

impl Legend {
    /// Reads the names out of an image.
    pub fn new(image: &Image<'_>) -> Self {
        let mut rules: Vec<Rule> = Vec::with_capacity(image.rule_count());
        let mut last: Option<(PolicyEntry<'_>, Arc<Policy>)> = None;
        let count = u32::try_from(image.rule_count()).unwrap_or(u32::MAX);
        // Every rule has its place in the list, so one that cannot be read ends it.
        for entry in (0..count).map_while(|id| image.rule(id)) {
            let policy = match &last {
                Some((known, policy)) if *known == entry.policy => Arc::clone(policy),
                _ => {
                    let policy = Arc::new(Policy::new(&entry.policy));
                    last = Some((entry.policy, Arc::clone(&policy)));
                    policy
                }
            };
            rules.push(Rule { policy, path: entry.path, line: entry.line });
        }
        let sets = u32::try_from(image.request_set_count()).unwrap_or(u32::MAX);
        let lines = |labels: &str| labels.lines().map(str::to_owned).collect();
        Legend {
            checksum: image.header().checksum,
            bytes: image.bytes().len(),
            policies: image.policy_count(),
            rules,
            sets: (0..sets).map_while(|set| image.request_set(set)).map(|set| set.rule).collect(),
            labels: image.identities().map(|entry| (entry.identity, lines(entry.labels))).collect(),
        }
    }

    /// How many rules the image has.
    pub fn rule_count(&self) -> usize {
        self.rules.len()
    }

    /// All rules, by id.
    pub fn rules(&self) -> impl Iterator<Item = RuleName> {
        let count = u32::try_from(self.rules.len()).unwrap_or(u32::MAX);
        (0..count).filter_map(|id| self.rule(id))
    }

    /// A rule by its id.
    pub fn rule(&self, id: u32) -> Option<RuleName> {
        let rule = self.rules.get(id as usize)?;
        Some(RuleName {
            kind: rule.policy.kind.clone(),
            policy: rule.policy.name.clone(),
            rule: rule.path.to_string(),
            file: rule.policy.file.clone(),
            line: rule.line,
        })
    }

    /// The first rule of a request set.
    pub fn rule_of_set(&self, set: u32) -> Option<RuleName> {
        self.rule(*self.sets.get(set as usize)?)
    }

    /// The labels of an identity, sorted.
    pub fn labels(&self, identity: Identity) -> Option<&Arc<[String]>> {
        self.labels.get(&identity)
    }
}

impl Policy {
    fn new(entry: &PolicyEntry<'_>) -> Self {
        let name = if entry.namespace.is_empty() {
            entry.name.to_owned()
        } else {
            format!("{}/{}", entry.namespace, entry.name)
        };
        Policy { kind: entry.kind.to_owned(), name, file: entry.file.to_owned() }
    }
}
