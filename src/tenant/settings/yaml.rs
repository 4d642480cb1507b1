//! Takes the texts of the known keys out of a YAML document, and nothing else.
//!
//! The document is read as a stream: what is unknown is skipped and never kept.

use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_saphyr::{Location, Options, Spanned};

use super::{
    BUCKET, FOLDER, IMPORT_FOLDER, Problem, QUOTA, ROLE_ARN, ROLE_EXTERNAL_ID, ROLE_SESSION, STATE,
    SettingsError, THUMB_FOLDER,
};

/// The sections that Kura reads, and in them the keys that it knows.
const SECTIONS: [&str; 2] = ["s3", "kura"];
const KEYS: [&str; 9] = [
    BUCKET,
    FOLDER,
    STATE,
    THUMB_FOLDER,
    IMPORT_FOLDER,
    ROLE_ARN,
    ROLE_EXTERNAL_ID,
    ROLE_SESSION,
    QUOTA,
];

/// The texts of the known keys, by key path, as they are written: `001` is a
/// folder, not the number 1. A key with nothing behind it is absent.
pub(super) type Texts = HashMap<&'static str, Spanned<String>>;

/// Reads the known keys of the only document of `text`.
pub(super) fn read(text: &str) -> Result<Texts, SettingsError> {
    let mut walk = Walk::default();
    let root = Section {
        name: None,
        walk: &mut walk,
    };
    serde_saphyr::with_deserializer_from_str_with_options(text, options(), |yaml| {
        root.deserialize(yaml)
    })
    .map_err(|error| SettingsError {
        key: walk.failed,
        problem: problem_of(&error),
        place: error.location().and_then(place_of),
    })?;
    Ok(walk.texts)
}

/// Reads the known keys while the document passes by, and remembers which one
/// could not be read: the parser tells the place, but not the key.
#[derive(Default)]
struct Walk {
    texts: Texts,
    failed: Option<&'static str>,
}

/// A mapping of the document: the document itself, or one of [`SECTIONS`].
struct Section<'a> {
    name: Option<&'static str>,
    walk: &'a mut Walk,
}

impl<'de> DeserializeSeed<'de> for Section<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Section<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a mapping")
    }

    /// `kura:` with nothing behind it is an empty section.
    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match Meaning::of(self.name, &key) {
                Meaning::Section(name) => {
                    self.walk.failed = Some(name);
                    map.next_value_seed(Section {
                        name: Some(name),
                        walk: self.walk,
                    })?;
                }
                Meaning::Text(key) => {
                    self.walk.failed = Some(key);
                    if let Some(text) = map.next_value::<Option<Spanned<String>>>()? {
                        self.walk.texts.insert(key, text);
                    }
                }
                Meaning::Unknown => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            self.walk.failed = self.name;
        }
        Ok(())
    }
}

/// What a key means in its section.
enum Meaning {
    Section(&'static str),
    Text(&'static str),
    Unknown,
}

impl Meaning {
    fn of(section: Option<&str>, key: &str) -> Self {
        let found = match section {
            None => SECTIONS.iter().find(|name| **name == key),
            Some(section) => KEYS
                .iter()
                .find(|path| path.split_once('.') == Some((section, key))),
        };
        match (found, section) {
            (Some(name), None) => Self::Section(name),
            (Some(path), Some(_)) => Self::Text(path),
            (None, _) => Self::Unknown,
        }
    }
}

/// Far more than a settings file needs, and little enough that the worst file
/// is refused within milliseconds.
pub(super) fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 32,
            max_documents: 1,
            max_nodes: 10_000,
            max_events: 20_000,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_recorded_anchor_events: 20_000,
            max_recorded_anchor_bytes: 1024 * 1024,
            max_merge_keys: 100,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 10_000,
            max_replay_stack_depth: 8,
        },
        emit_comments: false,
        // A snippet would put the file's passwords into the error.
        with_snippet: false,
    }
}

/// Only the kind of the parser's error is taken: its text may quote the file.
pub(super) fn problem_of(error: &serde_saphyr::Error) -> Problem {
    use serde_saphyr::Error as Yaml;
    match error {
        Yaml::AliasError { error, .. } | Yaml::WithSnippet { error, .. } => problem_of(error),
        Yaml::Budget { .. }
        | Yaml::AliasReplayCounterOverflow { .. }
        | Yaml::AliasReplayLimitExceeded { .. }
        | Yaml::AliasExpansionLimitExceeded { .. }
        | Yaml::AliasReplayStackDepthExceeded { .. } => Problem::TooComplex,
        Yaml::DuplicateMappingKey { .. } => Problem::DuplicateKey,
        Yaml::Unexpected { .. }
        | Yaml::SerdeInvalidType { .. }
        | Yaml::TaggedScalarCannotDeserializeIntoString { .. } => Problem::WrongShape,
        _ => Problem::NotYaml,
    }
}

/// The parser's line and column; it gives 0 for a place that it does not know.
pub(super) fn place_of(location: Location) -> Option<(u64, u64)> {
    (location.line() > 0).then(|| (location.line(), location.column()))
}
