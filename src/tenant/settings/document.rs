//! All that stands in a settings file, what Kura does not know included: for
//! operators to look at, and to compare before and after a change.
//!
//! It has passwords in it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_saphyr::{Location, Spanned};

use super::yaml::{options, place_of, problem_of};
use super::{MAX_FILE_BYTES, Problem, SettingsError};

/// The file's mapping. Texts are as they are written, numbers and truth values
/// too: `001` is a folder, not the number 1. An empty file is an empty mapping.
///
/// # Errors
/// When it cannot be read, or is anything but a mapping.
pub fn document(text: &str) -> Result<Map<String, Value>, SettingsError> {
    let error = |problem, place| SettingsError {
        key: None,
        problem,
        place,
    };
    if text.len() > MAX_FILE_BYTES {
        return Err(error(Problem::TooLarge, None));
    }
    let root = serde_saphyr::with_deserializer_from_str_with_options(text, options(), |yaml| {
        Spanned::<Node>::deserialize(yaml)
    });
    let root = root.map_err(|found| {
        let place = found.location().and_then(place_of);
        error(problem_of(&found), place)
    })?;
    match value(text, root) {
        Value::Object(map) => Ok(map),
        Value::Null => Ok(Map::new()),
        _ => Err(error(Problem::WrongShape, None)),
    }
}

/// A node, before its text is looked up.
enum Node {
    Nothing,
    Text(String),
    /// A number or a truth value. How it is written only the file knows.
    Typed,
    List(Vec<Spanned<Node>>),
    Mapping(Vec<(String, Spanned<Node>)>),
}

fn value(text: &str, node: Spanned<Node>) -> Value {
    match node.value {
        Node::Nothing => Value::Null,
        Node::Text(text) => Value::String(text),
        Node::Typed => Value::String(written(text, node.defined)),
        Node::List(items) => items.into_iter().map(|item| value(text, item)).collect(),
        Node::Mapping(entries) => {
            let entries = entries.into_iter();
            Value::Object(entries.map(|(key, it)| (key, value(text, it))).collect())
        }
    }
}

fn written(text: &str, at: Location) -> String {
    let offset = |bytes: Option<u64>| bytes.and_then(|bytes| usize::try_from(bytes).ok());
    let span = at.span();
    offset(span.byte_offset())
        .zip(offset(span.byte_len()))
        .and_then(|(start, len)| text.get(start..start.checked_add(len)?))
        .unwrap_or_default()
        .to_owned()
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(yaml: D) -> Result<Self, D::Error> {
        yaml.deserialize_any(AnyNode)
    }
}

struct AnyNode;

impl<'de> Visitor<'de> for AnyNode {
    type Value = Node;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("anything")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Nothing)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Nothing)
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Typed)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Typed)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Typed)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Node, E> {
        Ok(Node::Typed)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Node, E> {
        Ok(Node::Typed)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Typed)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Mapping(entries))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_is_read_as_it_is_written() {
        let text = "é: ü # 001\n\
                    s3: &s3 {bucket: 12.10, folder: 001, port: 5432, on: yes, at: 1e3}\n\
                    list: [010, '1', {a: 1}, 2001-01-01]\n\
                    copy: *s3\n\
                    nothing:\n\
                    block: |\n  two\n  lines\n";
        let s3 =
            json!({"bucket": "12.10", "folder": "001", "port": "5432", "on": "yes", "at": "1e3"});
        let expected = json!({
            "é": "ü",
            "s3": s3,
            "list": ["010", "1", {"a": "1"}, "2001-01-01"],
            "copy": s3,
            "nothing": null,
            "block": "two\nlines\n",
        });
        assert_eq!(Value::Object(document(text).unwrap()), expected);
        assert_eq!(document("# nothing\n"), Ok(Map::new()));
    }

    #[test]
    fn what_is_no_mapping_or_too_much_is_refused() {
        let problem = |text: &str| document(text).unwrap_err().problem;
        assert_eq!(problem("text"), Problem::WrongShape);
        assert_eq!(problem("a: [\n"), Problem::NotYaml);
        assert_eq!(problem("a: 1\na: 2\n"), Problem::DuplicateKey);
        let deep = format!("a: {}{}", "[".repeat(100), "]".repeat(100));
        assert_eq!(problem(&deep), Problem::TooComplex);
        assert_eq!(problem(&" ".repeat(MAX_FILE_BYTES + 1)), Problem::TooLarge);
    }
}
