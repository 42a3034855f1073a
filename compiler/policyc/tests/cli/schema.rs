//! JSON held against the schemas that are kept with the documentation. Of JSON Schema, as much as they use: what is not known
//! here fails.

use serde_json::Value;

/// Holds a value against a schema of `docs/schemas`.
pub(crate) fn conforms(value: &Value, schema: &str) -> Result<(), String> {
    let path = format!("{}/../../docs/schemas/{schema}", env!("CARGO_MANIFEST_DIR"));
    let root: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    Schema { root: &root }.holds(&root, value).map_err(|wrong| format!("{wrong}\n{value:#}"))
}

struct Schema<'s> {
    root: &'s Value,
}

impl Schema<'_> {
    fn holds(&self, schema: &Value, value: &Value) -> Result<(), String> {
        for (word, asked) in schema.as_object().unwrap() {
            let holds = match word.as_str() {
                "$schema" | "$id" | "$defs" | "title" | "description" => true,
                "$ref" => {
                    let place = asked.as_str().unwrap().strip_prefix('#').unwrap();
                    self.holds(self.root.pointer(place).unwrap(), value)?;
                    true
                }
                "const" => value == asked,
                "enum" => asked.as_array().unwrap().contains(value),
                "minimum" => value.as_i64() >= asked.as_i64(),
                "type" => match asked.as_array() {
                    Some(types) => types.iter().any(|one| is_of(value, one)),
                    None => is_of(value, asked),
                },
                "oneOf" => {
                    let holding = |one: &&Value| self.holds(one, value).is_ok();
                    asked.as_array().unwrap().iter().filter(holding).count() == 1
                }
                "items" => {
                    value.as_array().unwrap().iter().try_for_each(|item| self.holds(asked, item))?;
                    true
                }
                "required" => {
                    asked.as_array().unwrap().iter().all(|name| value.get(name.as_str().unwrap()).is_some())
                }
                "additionalProperties" => {
                    let known = schema["properties"].as_object().unwrap();
                    *asked == false
                        && value
                            .as_object()
                            .is_some_and(|fields| fields.keys().all(|name| known.contains_key(name)))
                }
                "properties" => {
                    for (name, asked) in asked.as_object().unwrap() {
                        if let Some(field) = value.get(name) {
                            self.holds(asked, field).map_err(|wrong| format!("{name}: {wrong}"))?;
                        }
                    }
                    true
                }
                other => return Err(format!("the schema says `{other}`, which is not known here")),
            };
            if !holds {
                return Err(format!("`{word}` asks for {asked}, and there is {value}"));
            }
        }
        Ok(())
    }
}

fn is_of(value: &Value, name: &Value) -> bool {
    match name.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}
