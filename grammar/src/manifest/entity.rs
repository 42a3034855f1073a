//! `fromEntities` and `toEntities`.

use super::context::Context;
use super::hint;
use crate::diagnostic::{Code, Diagnostic};
use crate::span::Spanned;
use crate::tree::Entity;
use crate::yaml::Value;

const ENTITIES: &[(&str, Entity)] = &[
    ("all", Entity::All),
    ("world", Entity::World),
    ("world-ipv4", Entity::WorldIpv4),
    ("world-ipv6", Entity::WorldIpv6),
    ("cluster", Entity::Cluster),
    ("host", Entity::Host),
    ("init", Entity::Init),
    ("ingress", Entity::Ingress),
    ("unmanaged", Entity::Unmanaged),
    ("remote-node", Entity::RemoteNode),
    ("health", Entity::Health),
    ("none", Entity::None),
    ("kube-apiserver", Entity::KubeApiserver),
];

/// Their names, in the table's order.
pub(crate) const ENTITY_NAMES: &[&str] = &names();

const fn names() -> [&'static str; ENTITIES.len()] {
    let mut names = [""; ENTITIES.len()];
    let mut place = 0;
    while place < names.len() {
        names[place] = ENTITIES[place].0;
        place += 1;
    }
    names
}

/// The name of one.
pub(crate) fn name_of(entity: Entity) -> &'static str {
    ENTITIES.iter().find(|(_, known)| *known == entity).map_or("", |(name, _)| name)
}

/// Reads a list of entities.
pub(crate) fn entities(cx: &mut Context<'_>, value: Value<'_>, name: &str) -> Option<Vec<Spanned<Entity>>> {
    cx.list_of(value, name, |cx, item| entity(cx, item, name))
}

/// Reads one.
pub(crate) fn entity(cx: &mut Context<'_>, value: Value<'_>, name: &str) -> Option<Spanned<Entity>> {
    let text = cx.text(value, name)?;
    if let Some(&(_, entity)) = ENTITIES.iter().find(|(name, _)| *name == text.value) {
        return Some(Spanned::new(entity, text.span));
    }
    let help = match hint::nearest(text.value, ENTITY_NAMES) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("entities are {}", hint::list(ENTITY_NAMES)),
    };
    cx.report(
        Diagnostic::new(Code::Entity, text.span, format!("`{}` is not an entity", hint::short(text.value)))
            .labelled("no such entity")
            .help(help),
    );
    None
}
