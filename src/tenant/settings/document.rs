//! A tenant's whole file, for commands that hand the operator's own settings
//! on: `kura vhosts` writes the database's password to where Redmine reads it.
//!
//! The server never comes here, and what is read here has no `Debug`.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{NonFiniteFloatPolicy, Spanned};

use super::yaml::{options, place_of, problem_of};
use super::{MAX_FILE_BYTES, Problem, SettingsError};

/// A value of the file.
pub struct Node {
    /// What stands there.
    pub value: Value,
    /// Its line, counted from 1, where the parser knows it.
    pub line: Option<u64>,
}

/// What a value is.
pub enum Value {
    /// A key with nothing behind it.
    Nothing,
    /// `true` or `false`, without quotes.
    Truth(bool),
    /// Anything else that is neither list nor mapping, as it is written: `007`
    /// is a password, not the number 7.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping.
    Map(BTreeMap<String, Node>),
}

/// Reads the only document of `text`.
///
/// # Errors
/// When it cannot be read.
pub fn document(text: &str) -> Result<Node, SettingsError> {
    let whole = |problem, place| SettingsError {
        key: None,
        problem,
        place,
    };
    if text.len() > MAX_FILE_BYTES {
        return Err(whole(Problem::TooLarge, None));
    }
    let mut options = options();
    options.strict_booleans = true;
    options.non_finite_float_policy = NonFiniteFloatPolicy::PassThrough;
    let read: Spanned<Raw> =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let place = error.location().and_then(place_of);
            whole(problem_of(&error), place)
        })?;
    node(text, read).ok_or_else(|| whole(Problem::NotYaml, None))
}

impl Node {
    /// The value at a path such as `db.password`.
    #[must_use]
    pub fn at(&self, path: &str) -> Option<&Self> {
        path.split('.')
            .try_fold(self, |node, key| match &node.value {
                Value::Map(map) => map.get(key),
                _ => None,
            })
    }

    /// The text, where it is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The same as JSON, with texts for numbers and nothing for lines.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Nothing => serde_json::Value::Null,
            Value::Truth(truth) => (*truth).into(),
            Value::Text(text) => text.as_str().into(),
            Value::List(list) => list.iter().map(Self::to_json).collect(),
            Value::Map(map) => {
                let map = map.iter();
                map.map(|(key, node)| (key.clone(), node.to_json()))
                    .collect()
            }
        }
    }
}

/// A value as the parser takes it, which knows `007` only as a number.
enum Raw {
    Nothing,
    /// A truth value or a number: its text is in the file.
    Typed,
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(BTreeMap<String, Spanned<Raw>>),
}

/// `None` when the parser does not know where a number stands.
fn node(source: &str, raw: Spanned<Raw>) -> Option<Node> {
    let line = place_of(raw.referenced).map(|(line, _)| line);
    let value = match raw.value {
        Raw::Nothing => Value::Nothing,
        Raw::Text(text) => Value::Text(text),
        Raw::Typed => {
            let span = raw.defined.span();
            let start = usize::try_from(span.byte_offset()?).ok()?;
            let end = start + usize::try_from(span.byte_len()?).ok()?;
            match source.get(start..end)?.trim() {
                "true" => Value::Truth(true),
                "false" => Value::Truth(false),
                text => Value::Text(text.to_owned()),
            }
        }
        Raw::List(list) => {
            let nodes = list.into_iter().map(|raw| node(source, raw));
            Value::List(nodes.collect::<Option<_>>()?)
        }
        Raw::Map(map) => {
            let nodes = map.into_iter();
            let nodes = nodes.map(|(key, raw)| Some((key, node(source, raw)?)));
            Value::Map(nodes.collect::<Option<_>>()?)
        }
    };
    Some(Node { value, line })
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(yaml: D) -> Result<Self, D::Error> {
        yaml.deserialize_any(Reading)
    }
}

struct Reading;

impl<'de> Visitor<'de> for Reading {
    type Value = Raw;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a text, a list or a mapping")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Nothing)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Raw, E> {
        Ok(Raw::Typed)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Typed)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Typed)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Raw, E> {
        Ok(Raw::Typed)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Raw, E> {
        Ok(Raw::Typed)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Typed)
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Raw, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = list.next_element()? {
            all.push(item);
        }
        Ok(Raw::List(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut all = BTreeMap::new();
        while let Some((key, value)) = map.next_entry()? {
            all.insert(key, value);
        }
        Ok(Raw::Map(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stay_as_they_are_written() {
        for text in [
            "007",
            "0x1F",
            "1_000",
            "1e3",
            "1.50",
            "+5",
            "-0",
            ".5",
            ".inf",
            "18446744073709551616",
            "yes",
            "No",
            "True",
            "2026-11-22",
            "é",
        ] {
            for file in [
                format!("db: {{password: {text}, name: x}}"),
                format!("db:\n  password: {text}  # comment\n"),
                format!("a: &it {text}\ndb: {{password: *it}}"),
                format!("a: &it {{password: {text}}}\ndb: {{<<: *it}}"),
                format!("db: {{password: '{text}'}}"),
            ] {
                let read = document(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
                let found = read.at("db.password").and_then(Node::text);
                assert_eq!(found, Some(text), "{file}");
            }
        }
    }

    #[test]
    fn truth_lists_and_nothing_are_told_apart_and_lines_are_known() {
        let read = document("property:\n  vip: true\n  said: 'true'\n  ips: [1.2.3.4, 5]\n  no:\n");
        let read = read.ok().unwrap();
        let at = |path| &read.at(path).unwrap().value;
        assert!(matches!(at("property.vip"), Value::Truth(true)));
        assert!(matches!(at("property.said"), Value::Text(text) if text == "true"));
        assert!(matches!(at("property.ips"), Value::List(list) if list[1].text() == Some("5")));
        assert!(matches!(at("property.no"), Value::Nothing));
        assert_eq!(read.at("property.ips").unwrap().line, Some(4));
        assert!(read.at("property.vip.more").is_none());
    }

    #[test]
    fn json_has_the_same_texts() {
        let read = document("a: {b: 007, c: [1, true]}\nd:\n").ok().unwrap();
        let expected = serde_json::json!({"a": {"b": "007", "c": ["1", true]}, "d": null});
        assert_eq!(read.to_json(), expected);
    }

    #[test]
    fn errors_show_no_value() {
        for text in ["db: {password: hunter2", "db: {a: hunter2, a: hunter2}"] {
            let error = document(text).err().unwrap().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
