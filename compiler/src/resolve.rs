//! Selectors to sets of identities, by an inverted index over labels.

use crate::identity::{Identities, Kind};
use crate::ir::Subject;
use crate::labels::{AdmitsSource, Source};
use roaring::RoaringBitmap;
use rustc_hash::FxHashMap;
use weir_grammar::tree::{Operator, Requirement};

/// Which identities (by place) carry which label.
#[derive(Debug)]
pub struct LabelIndex<'i> {
    keys: FxHashMap<&'i str, Vec<(Source, &'i str, RoaringBitmap)>>,
    all: RoaringBitmap,
    pods: RoaringBitmap,
    own_nodes: RoaringBitmap,
}

impl<'i> LabelIndex<'i> {
    /// Indexes the labels of all identities.
    pub fn new(identities: &'i Identities<'_>) -> Self {
        let mut values: FxHashMap<(&str, Source, &str), RoaringBitmap> = FxHashMap::default();
        let mut index = LabelIndex {
            keys: FxHashMap::default(),
            all: RoaringBitmap::new(),
            pods: RoaringBitmap::new(),
            own_nodes: RoaringBitmap::new(),
        };
        for (place, entry) in (0u32..).zip(&identities.entries) {
            index.all.insert(place);
            match entry.kind {
                Kind::Pods => _ = index.pods.insert(place),
                Kind::OwnNode(_) => _ = index.own_nodes.insert(place),
                Kind::Entity | Kind::RemoteNode(_) => {}
            }
            for label in entry.labels.iter() {
                values.entry((label.key, label.source, label.value)).or_default().insert(place);
            }
        }
        for ((key, source, value), places) in values {
            index.keys.entry(key).or_default().push((source, value, places));
        }
        index
    }

    /// The identities that a selector selects.
    pub fn select(&self, selector: &[Requirement]) -> RoaringBitmap {
        self.select_among(self.all.clone(), selector)
    }

    /// The endpoints that a subject names: pods, or nodes seen from themselves.
    pub fn subject(&self, subject: &Subject) -> RoaringBitmap {
        match subject {
            Subject::Pods(selector) => self.select_among(self.pods.clone(), selector),
            Subject::Nodes(selector) => self.select_among(self.own_nodes.clone(), selector),
        }
    }

    fn select_among(&self, mut selected: RoaringBitmap, selector: &[Requirement]) -> RoaringBitmap {
        for requirement in selector {
            if selected.is_empty() {
                break;
            }
            let key = &requirement.key.value;
            let labels = self.keys.get(key.name.as_str()).map_or(&[][..], Vec::as_slice);
            let any_value = matches!(requirement.operator, Operator::Exists | Operator::DoesNotExist);
            let mut carriers = RoaringBitmap::new();
            for (source, value, places) in labels {
                let asked = any_value || requirement.values.iter().any(|asked| asked == value);
                if asked && key.source.admits(*source) {
                    carriers |= places;
                }
            }
            match requirement.operator {
                Operator::In | Operator::Exists => selected &= carriers,
                Operator::NotIn | Operator::DoesNotExist => selected -= carriers,
            }
        }
        selected
    }
}
