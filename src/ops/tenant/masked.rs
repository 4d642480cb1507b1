//! What may be shown of a tenant's file: everything but secrets, whatever
//! program of the operator's they are for.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// What is shown in place of a secret.
pub(in crate::ops) const MASK: &str = "********";

/// What names of secrets have in them, in lower case.
const SECRET: &[&str] = &[
    "pass",
    "pw",
    "auth",
    "secret",
    "token",
    "key",
    "credential",
    "salt",
];

/// A key whose value differs, with what may be shown of both.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) key: String,
    pub(super) before: Option<Value>,
    pub(super) after: Option<Value>,
}

/// The contents of a file by key path, without secrets.
pub(super) fn shown(contents: &Map<String, Value>) -> BTreeMap<String, Value> {
    let mut leaves = leaves(contents);
    for (key, value) in &mut leaves {
        *value = masked(key, value);
    }
    leaves
}

/// What differs between two files.
pub(super) fn differences(
    before: &Map<String, Value>,
    after: &Map<String, Value>,
) -> Vec<Difference> {
    let (before, after) = (leaves(before), leaves(after));
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let differing = keys
        .into_iter()
        .filter(|key| before.get(*key) != after.get(*key));
    differing
        .map(|key| Difference {
            key: key.clone(),
            before: before.get(key).map(|value| masked(key, value)),
            after: after.get(key).map(|value| masked(key, value)),
        })
        .collect()
}

/// A value in one line, for people.
pub(super) fn in_a_line(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "–".to_owned(),
        Some(Value::String(text)) => text.replace(char::is_control, "\u{fffd}"),
        Some(Value::Array(list)) if list.iter().all(Value::is_string) => {
            let texts: Vec<_> = list.iter().map(|it| in_a_line(Some(it))).collect();
            texts.join(", ")
        }
        Some(value) => value.to_string(),
    }
}

fn leaves(contents: &Map<String, Value>) -> BTreeMap<String, Value> {
    let mut leaves = BTreeMap::new();
    for (key, value) in contents {
        match value {
            Value::Object(section) => {
                let inner = self::leaves(section).into_iter();
                leaves.extend(inner.map(|(inner, value)| (format!("{key}.{inner}"), value)));
            }
            value => drop(leaves.insert(key.clone(), value.clone())),
        }
    }
    leaves
}

/// Whether a text must not be shown: its key or a key around it is a secret's,
/// or it is an address with a password in it.
pub(in crate::ops) fn is_secret(key: &str, text: &str) -> bool {
    let key = key.to_lowercase();
    let address = text.contains("://") && text.contains('@');
    address || SECRET.iter().any(|word| key.contains(word))
}

fn masked(key: &str, value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::String(text) if is_secret(key, text) => MASK.into(),
        _ if is_secret(key, "") => MASK.into(),
        Value::Array(list) => list.iter().map(|value| masked(key, value)).collect(),
        Value::Object(map) => {
            let map = map.iter();
            map.map(|(key, value)| (key.clone(), masked(key, value)))
                .collect()
        }
        value => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn contents(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn secrets_of_any_section_are_masked_and_nothing_else_is() {
        let file = contents(&json!({
            "db": {"name": "redmine_a", "PassWord": "hidden", "empty_password": null},
            "mail": {"smtp": {"api-key": "hidden"}, "url": "smtp://a:hidden@host", "auth": "hidden"},
            "smtp": {"pass": "hidden"},
            "ldap": {"bind_pw": "hidden", "host": "shown"},
            "tokens": ["hidden", {"a": "hidden"}],
            "list": [{"secret_key_base": "hidden", "name": "shown"}],
            "property": {"sub_domain": "sitea", "limit_ips": ["::1"], "vip": true},
        }));
        let shown = shown(&file);
        let text = format!("{shown:?}");
        assert!(!text.contains("hidden"), "{text}");
        assert_eq!(shown["db.name"], json!("redmine_a"));
        assert_eq!(shown["db.PassWord"], json!(MASK));
        assert_eq!(shown["db.empty_password"], json!(null));
        assert_eq!(shown["list"][0]["name"], json!("shown"));
        assert_eq!(shown["ldap.host"], json!("shown"));
        assert_eq!(shown["property.limit_ips"], json!(["::1"]));
    }

    #[test]
    fn changed_secret_differs_without_being_shown() {
        let before = contents(&json!({"db": {"password": "one", "name": "a"}, "old": "1"}));
        let after = contents(&json!({"db": {"password": "two", "name": "a"}, "new": ["1", "2"]}));
        let difference = |key: &str, before: Option<Value>, after: Option<Value>| Difference {
            key: key.to_owned(),
            before,
            after,
        };
        let expected = [
            difference("db.password", Some(json!(MASK)), Some(json!(MASK))),
            difference("new", None, Some(json!(["1", "2"]))),
            difference("old", Some(json!("1")), None),
        ];
        assert_eq!(differences(&before, &after), expected);
        assert_eq!(in_a_line(expected[1].after.as_ref()), "1, 2");
        assert_eq!(in_a_line(None), "–");
        assert_eq!(
            in_a_line(Some(&json!("\"a\"\x1b[2J\n"))),
            "\"a\"\u{fffd}[2J\u{fffd}"
        );
    }
}
