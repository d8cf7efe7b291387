//! Messages for programs against their schemas in `docs/schema`.
//!
//! The schemas use a few words of JSON Schema, and this knows just those: a schema with another is
//! an error. It is stricter in one thing: a message may have no property that its schema doesn't
//! describe, so that none goes undocumented.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// Words that say nothing of what is valid.
const SILENT: [&str; 3] = ["$schema", "title", "description"];

/// Reads messages, an object a line, and checks each against the schema of its type.
///
/// # Panics
/// Where one isn't as its schema says.
#[must_use]
pub fn messages(text: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(text).expect("messages are text");
    let read = text.lines().map(|line| {
        let message: Value = serde_json::from_str(line)
            .unwrap_or_else(|error| panic!("{line} is no object on a line: {error}"));
        check_message(&message);
        message
    });
    read.collect()
}

/// Checks a message against the schema of its type.
///
/// # Panics
/// Where it isn't as that says.
pub fn check_message(message: &Value) {
    let word = |name: &str| message[name].as_str().unwrap_or_else(|| panic!("{name}: {message}"));
    let name = match word("message_type") {
        "summary" if word("command") == "resume" => "summary-pack".to_owned(),
        "summary" => format!("summary-{}", word("command")),
        other => other.to_owned(),
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema");
    let path = folder.join(format!("{name}.json"));
    let text = fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("no schema {}: {error}: {message}", path.display()));
    let schema: Value = serde_json::from_str(&text).expect("a schema is JSON");
    let mut wrong = Vec::new();
    check(&schema, message, &name, &mut wrong);
    assert!(wrong.is_empty(), "{wrong:#?} in {message}");
}

fn check(schema: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
    let schema = schema.as_object().expect("a schema is an object");
    for (word, rule) in schema {
        let holds = match word.as_str() {
            "const" => value == rule,
            "enum" => rule.as_array().expect("a list").contains(value),
            "type" => match rule {
                Value::Array(types) => types.iter().any(|rule| is_of(value, rule)),
                rule => is_of(value, rule),
            },
            "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
            "required" => value.as_object().is_none_or(|object| {
                rule.as_array()
                    .expect("a list")
                    .iter()
                    .all(|name| object.contains_key(name.as_str().expect("a name")))
            }),
            "properties" => {
                for (name, value) in value.as_object().into_iter().flatten() {
                    match rule.get(name) {
                        Some(rule) => check(rule, value, &format!("{at}.{name}"), wrong),
                        None => wrong.push(format!("{at}.{name} is in no schema")),
                    }
                }
                true
            }
            "items" => {
                for (number, value) in value.as_array().into_iter().flatten().enumerate() {
                    check(rule, value, &format!("{at}[{number}]"), wrong);
                }
                true
            }
            word if SILENT.contains(&word) => true,
            word => panic!("{at}: the checker doesn't know {word}"),
        };
        if !holds {
            wrong.push(format!("{at}: {value} is not {word} {rule}"));
        }
    }
}

fn is_of(value: &Value, rule: &Value) -> bool {
    match rule.as_str().expect("a type's name") {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("the checker doesn't know the type {other}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_wrong_is_found() {
        let schema = json!({
            "type": "object", "required": ["a"], "properties": {
                "a": { "type": ["integer", "null"], "minimum": 0 },
                "b": { "enum": ["x", null] },
                "c": { "type": "array", "items": { "const": 1 } },
            }
        });
        let count = |value: Value| {
            let mut wrong = Vec::new();
            check(&schema, &value, "it", &mut wrong);
            wrong.len()
        };
        for right in [json!({"a": 1}), json!({"a": null, "b": null}), json!({"a": 0, "c": [1, 1]})]
        {
            assert_eq!(count(right.clone()), 0, "{right}");
        }
        for wrong in [
            json!([]),
            json!({}),
            json!({"a": -1}),
            json!({"a": 1.5}),
            json!({"a": "1"}),
            json!({"a": 1, "b": "y"}),
            json!({"a": 1, "c": [1, 2]}),
            json!({"a": 1, "d": 1}),
        ] {
            assert_eq!(count(wrong.clone()), 1, "{wrong}");
        }
    }
}
