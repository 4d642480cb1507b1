//! All texts of one section of a YAML document, for files that are not a
//! tenant's.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_saphyr::Spanned;

use super::yaml::{options, place_of, problem_of};
use super::{MAX_FILE_BYTES, Problem, SettingsError};

/// A text of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SectionText {
    /// The text as it is written.
    pub value: String,
    /// Its line, counted from 1, where the parser knows it.
    pub line: Option<u64>,
}

/// The texts of the section `name`, by key; those that are empty are left out.
/// `None` when there is no such section.
///
/// # Errors
/// When the document cannot be read, or the section has anything but texts.
pub fn section(
    text: &str,
    name: &str,
) -> Result<Option<BTreeMap<String, SectionText>>, SettingsError> {
    if text.len() > MAX_FILE_BYTES {
        return Err(SettingsError {
            key: None,
            problem: Problem::TooLarge,
            place: None,
        });
    }
    let found = serde_saphyr::with_deserializer_from_str_with_options(text, options(), |yaml| {
        Document(name).deserialize(yaml)
    });
    let found = found.map_err(|error| SettingsError {
        key: None,
        problem: problem_of(&error),
        place: error.location().and_then(place_of),
    })?;
    Ok(found.map(|texts| texts.into_iter().filter_map(known).collect()))
}

type Texts = BTreeMap<String, Option<Spanned<String>>>;

fn known((key, text): (String, Option<Spanned<String>>)) -> Option<(String, SectionText)> {
    let text = text.filter(|text| !text.value.trim().is_empty())?;
    let line = place_of(text.referenced).map(|(line, _)| line);
    // Rails' files may have symbols for keys.
    let key = key.strip_prefix(':').unwrap_or(&key).to_owned();
    let value = text.value.trim().to_owned();
    Some((key, SectionText { value, line }))
}

/// A document, of which only the section of this name is kept.
struct Document<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = Option<Texts>;

    fn deserialize<D: Deserializer<'de>>(self, yaml: D) -> Result<Self::Value, D::Error> {
        yaml.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = Option<Texts>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a mapping")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            if key == self.0 {
                found = map
                    .next_value::<Option<Texts>>()?
                    .or_else(|| Some(Texts::new()));
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}
