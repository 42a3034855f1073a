//! The typed reading of values: mappings with known fields, lists, text, numbers, truth values.
//!
//! Every function reports what does not fit and returns `None`, so a decoder goes on with the next
//! field and a document's problems come out together. Null is an absent field, as for the API
//! server, except as an item of a list.

use super::context::Context;
use super::hint;
use crate::diagnostic::{Code, Diagnostic};
use crate::span::{Span, Spanned};
use crate::yaml::{Content, Resolved, Value};

/// A kind of mapping: its name for people, and its fields.
#[derive(Debug)]
pub(crate) struct Shape {
    /// With its article: `an ingress rule`.
    pub(crate) what: &'static str,
    /// The fields it may have.
    pub(crate) fields: &'static [&'static str],
    /// Fields that people write here, and what to do instead.
    pub(crate) elsewhere: &'static [(&'static str, &'static str)],
}

impl Shape {
    /// Whether a mapping has a field that the shape has not. Then a field that seems to be missing
    /// may be there under a wrong name, which is reported already.
    pub(crate) fn is_misspelt(&self, value: Value<'_>) -> bool {
        let mut keys = value.pairs().into_iter().flatten().filter_map(|(key, _)| key.raw());
        keys.any(|key| !self.fields.contains(&key))
    }
}

impl Context<'_> {
    /// Calls `each` for every known field that has a value, reports unknown ones.
    /// Returns whether it was a mapping at all.
    pub(crate) fn fields<'d>(
        &mut self,
        value: Value<'d>,
        shape: &Shape,
        mut each: impl FnMut(&mut Self, &'d str, Value<'d>, Span),
    ) -> bool {
        let Some(pairs) = value.pairs() else {
            self.wrong_type(value, shape.what, "an object");
            return false;
        };
        for (key, field) in pairs {
            let Some(name) = key.raw() else { continue };
            if !shape.fields.contains(&name) {
                self.report(hint::unknown_field(name, key.span(), shape));
            } else if !field.is_null() {
                each(self, name, field, key.span());
            }
        }
        true
    }

    /// Calls `each` for every item. Returns whether it was a list; runs of CIDRs have no place in it.
    pub(crate) fn items<'d>(
        &mut self,
        value: Value<'d>,
        name: &str,
        mut each: impl FnMut(&mut Self, Value<'d>),
    ) -> bool {
        let Some(items) = value.items() else {
            self.wrong_type(value, &format!("`{name}`"), "a list");
            return false;
        };
        for item in items {
            match item.content() {
                Content::Run(_) => self.run_misplaced = true,
                _ if item.is_null() => self.wrong_type(item, &format!("an item of `{name}`"), "a value"),
                _ => each(self, item),
            }
        }
        true
    }

    /// A list of which only the shape matters.
    pub(crate) fn list_of<'d, T>(
        &mut self,
        value: Value<'d>,
        name: &str,
        mut item: impl FnMut(&mut Self, Value<'d>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let mut list = Vec::with_capacity(value.items().map_or(0, |items| items.len()));
        self.items(value, name, |cx, value| list.extend(item(cx, value))).then_some(list)
    }

    /// Text.
    pub(crate) fn text<'d>(&mut self, value: Value<'d>, name: &str) -> Option<Spanned<&'d str>> {
        match value.scalar() {
            Some(Resolved::Text(text)) => Some(Spanned::new(text, value.span())),
            _ => {
                self.wrong_type(value, &format!("`{name}`"), "a string");
                None
            }
        }
    }

    /// Text that is kept.
    pub(crate) fn string(&mut self, value: Value<'_>, name: &str) -> Option<Spanned<String>> {
        self.text(value, name).map(|text| text.map(str::to_owned))
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&mut self, value: Value<'_>, name: &str) -> Option<bool> {
        match value.scalar() {
            Some(Resolved::Bool(value)) => Some(value),
            _ => {
                self.wrong_type(value, &format!("`{name}`"), "true or false");
                None
            }
        }
    }

    /// An integer. JSON knows one kind of number, so `80.0` is one.
    pub(crate) fn integer(&mut self, value: Value<'_>, name: &str) -> Option<i64> {
        match integer(value) {
            Some(value) => Some(value),
            None => {
                self.wrong_type(value, &format!("`{name}`"), "an integer");
                None
            }
        }
    }

    /// Checks that a field whose content means nothing here has the right outer form.
    pub(crate) fn is_object(&mut self, value: Value<'_>, name: &str) {
        if value.pairs().is_none() {
            self.wrong_type(value, &format!("`{name}`"), "an object");
        }
    }

    /// Reports that a required field is missing from a mapping.
    pub(crate) fn missing(&mut self, at: Span, what: &str, field: &str, help: &str) {
        self.report(
            Diagnostic::new(Code::MissingField, at, format!("{what} needs the field `{field}`"))
                .labelled(format!("`{field}` is missing here"))
                .help(help),
        );
    }

    /// Reports a value of the wrong type, unless it was reported already.
    pub(crate) fn wrong_type(&mut self, value: Value<'_>, what: &str, wanted: &str) {
        if value.is_broken() {
            return;
        }
        let found = found(value);
        let mut finding =
            Diagnostic::new(Code::WrongType, value.head(), format!("{what} must be {wanted}, not {found}"))
                .labelled(format!("expected {wanted}"));
        let raw = value.raw().unwrap_or("");
        finding.help = match (wanted, value.content()) {
            ("a string", _) if value.is_null() => Some("write \"\" for an empty string".into()),
            ("a string", Content::Scalar(..)) if !value.is_null() => Some(format!("quote it: \"{raw}\"")),
            ("an integer", Content::Scalar(..)) if raw.parse::<i64>().is_ok() => {
                Some(format!("write {raw} without quotes"))
            }
            ("true or false", Content::Scalar(..)) if matches!(raw, "true" | "false") => {
                Some(format!("write {raw} without quotes"))
            }
            ("a list", Content::Mapping { .. }) => {
                Some("put `- ` before the first key, to make it the item of a list".into())
            }
            ("a list", Content::Scalar(..)) if !raw.is_empty() => {
                Some(format!("write it as a list: [{raw}]"))
            }
            ("an object", Content::Sequence { .. }) => Some("remove the `- ` before its keys".into()),
            _ => None,
        };
        self.report(finding);
    }
}

/// The integer a value is, without reporting.
pub(crate) fn integer(value: Value<'_>) -> Option<i64> {
    match value.scalar()? {
        Resolved::Int(value) => Some(value),
        Resolved::Float(value) if value.fract() == 0.0 && value.abs() < 9e15 => Some(value as i64),
        _ => None,
    }
}

fn found(value: Value<'_>) -> String {
    match (value.content(), value.scalar()) {
        (Content::Sequence { .. } | Content::Run(_), _) => "a list".into(),
        (Content::Mapping { .. }, _) => "an object".into(),
        (_, Some(Resolved::Null)) => "null".into(),
        (_, Some(Resolved::Bool(_))) => format!("the truth value `{}`", value.raw().unwrap_or("")),
        (_, Some(Resolved::Int(_) | Resolved::Float(_))) => {
            format!("the number {}", value.raw().unwrap_or(""))
        }
        _ => format!("the string `{}`", hint::short(value.raw().unwrap_or(""))),
    }
}
