//! Changes single keys of a settings file and leaves the operator's file
//! otherwise as it is: comments, order, quotes, and what Kura does not know.
//!
//! `yaml_edit` does the writing. What comes of it is read as the server reads
//! it, and handed out only if it is the old file but for the changed keys.

use std::str::FromStr;

use serde_json::{Map, Value};
use thiserror::Error;
use yaml_edit::path::{PathError, YamlPath};
use yaml_edit::{Document, YamlValue};

use super::{Problem, SettingsError, document};

/// A key by its path, such as `s3.folder`: letters, digits, underscores and
/// hyphens, each part beginning with a letter or underscore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(String);

/// The text is not a key's path.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("a key is written like `s3.folder`, with letters, digits, underscores and hyphens")]
pub struct InvalidKey;

impl Key {
    /// The path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Key {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let is_part = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && part
                    .bytes()
                    .all(|c| c.is_ascii_alphanumeric() || b"_-".contains(&c))
        };
        let valid = text.split('.').all(is_part);
        valid.then(|| Self(text.to_owned())).ok_or(InvalidKey)
    }
}

/// What a key is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// One text.
    Text(String),
    /// Several.
    List(Vec<String>),
    /// Not there.
    Nothing,
}

/// Why a file is not changed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EditError {
    /// The file cannot be read as it is.
    #[error(transparent)]
    File(#[from] SettingsError),
    /// The key cannot be changed.
    #[error("{0}: {1}")]
    Key(String, Obstacle),
}

/// What is in the way of a change. Never holds a value.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Obstacle {
    /// What is to be taken out is not there.
    #[error("there is no such key")]
    Absent,
    /// The key is a section, or lies in what is none.
    #[error("would put a value in place of a section, or a section in place of a value")]
    Shape,
    /// The section stands in several places of the file.
    #[error("shared with another place of the file by an alias: change it by hand")]
    Shared,
    /// A text that no settings file has.
    #[error("line breaks and other control characters cannot be written")]
    ControlCharacter,
    /// Something else would change, too.
    #[error("cannot be changed without changing more of the file: do it by hand")]
    Entangled,
}

/// All that stands in a settings file, passwords included. An empty file is an
/// empty mapping.
///
/// # Errors
/// When it cannot be read, or is anything but a mapping.
pub fn contents(text: &str) -> Result<Map<String, Value>, SettingsError> {
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    match document(text)?.to_json() {
        Value::Object(contents) => Ok(contents),
        _ => Err(SettingsError {
            key: None,
            problem: Problem::WrongShape,
            place: None,
        }),
    }
}

/// The text of a settings file with one key changed.
///
/// # Errors
/// When nothing else of the file can be kept as it is.
pub fn edit(text: &str, key: &Key, wanted: &Wanted) -> Result<String, EditError> {
    let in_the_way = |obstacle| EditError::Key(key.0.clone(), obstacle);
    let mut expected = contents(text)?;
    change(&mut expected, key.as_str(), wanted).map_err(in_the_way)?;
    let changed = write(text, key.as_str(), wanted).map_err(in_the_way)?;
    match contents(&changed) {
        Ok(found) if found == expected => Ok(changed),
        _ => Err(in_the_way(Obstacle::Entangled)),
    }
}

fn write(text: &str, path: &str, wanted: &Wanted) -> Result<String, Obstacle> {
    if has_control_character(wanted) {
        return Err(Obstacle::ControlCharacter);
    }
    let file = Document::from_str(text).map_err(|_| Obstacle::Entangled)?;
    let written = match wanted {
        Wanted::Text(value) => file.try_set_path(path, value),
        Wanted::List(values) => {
            let values = values.iter().map(|value| YamlValue::from(value.as_str()));
            file.try_set_path(path, values.collect::<Vec<_>>())
        }
        Wanted::Nothing => file.try_remove_path(path).map(drop),
    };
    match written {
        Ok(()) => Ok(file.to_string()),
        Err(PathError::AliasRefused { .. }) => Err(Obstacle::Shared),
        Err(_) => Err(Obstacle::Entangled),
    }
}

/// Changes the key in what the file says.
fn change(section: &mut Map<String, Value>, path: &str, wanted: &Wanted) -> Result<(), Obstacle> {
    let Some((name, rest)) = path.split_once('.') else {
        if section.get(path).is_some_and(Value::is_object) {
            return Err(Obstacle::Shape);
        }
        let value: Value = match wanted {
            Wanted::Text(text) => text.clone().into(),
            Wanted::List(texts) => texts.clone().into(),
            Wanted::Nothing => return section.remove(path).map(drop).ok_or(Obstacle::Absent),
        };
        section.insert(path.to_owned(), value);
        return Ok(());
    };
    let inner = section.entry(name).or_insert(Value::Null);
    if inner.is_null() {
        *inner = Value::Object(Map::new());
    }
    change(inner.as_object_mut().ok_or(Obstacle::Shape)?, rest, wanted)
}

fn has_control_character(wanted: &Wanted) -> bool {
    let texts = match wanted {
        Wanted::Text(text) => std::slice::from_ref(text),
        Wanted::List(texts) => texts,
        Wanted::Nothing => &[],
    };
    texts.iter().any(|text| text.contains(char::is_control))
}

#[cfg(test)]
mod tests;
