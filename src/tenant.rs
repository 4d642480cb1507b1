//! Tenants: who may ask, and which folders of which bucket are theirs.
//!
//! A [`token`] names a tenant, a [`ticket`] made with it one of its files. The
//! [`registry`] knows the [`TenantSettings`] that the operator's files give it.
//! Of no two tenants in force does one own a folder that contains, or lies in,
//! the folder of the other.

mod claims;
mod files;
pub mod registry;
pub mod role;
pub mod settings;
pub mod source;
pub mod ticket;
pub mod token;

pub use self::registry::{Registry, Tenant};
pub use self::ticket::Ticket;
pub use self::token::Secrets;

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::role::RoleChoice;
use crate::key::Layout;

/// The longest id: it stands in tokens, log lines and file names.
const MAX_ID_BYTES: usize = 64;

/// The id of a tenant: the stem of its settings file, or the operator's own
/// word for the only tenant.
///
/// 1 to 64 of `A-Z a-z 0-9 . _ -`, beginning with a letter or digit, so that
/// it is safe in a file name, a token and a log line. Ids that differ only in
/// case are different tenants.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct TenantId(String);

/// The text is not a tenant's id.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "a tenant's id is 1 to 64 letters, digits, dots, underscores or hyphens, beginning with a letter or digit"
)]
pub struct InvalidTenantId;

impl TenantId {
    /// The text of the id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TenantId {
    type Err = InvalidTenantId;

    fn from_str(text: &str) -> Result<Self, InvalidTenantId> {
        let allowed = |c: u8| c.is_ascii_alphanumeric() || b"._-".contains(&c);
        let valid = text.len() <= MAX_ID_BYTES
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.bytes().all(allowed);
        valid.then(|| Self(text.to_owned())).ok_or(InvalidTenantId)
    }
}

impl TryFrom<String> for TenantId {
    type Error = InvalidTenantId;

    fn try_from(text: String) -> Result<Self, InvalidTenantId> {
        text.parse()
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Whether a tenant is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Requests are served.
    #[default]
    Active,
    /// The tenant is known and its data kept, but requests are refused.
    Suspended,
}

/// What Kura knows of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantSettings {
    /// Who it is.
    pub id: TenantId,
    /// The bucket that holds its folder.
    pub bucket: String,
    /// Its folders in that bucket.
    pub layout: Layout,
    /// Whether it is served.
    pub state: State,
    /// What its file says of the role by which its objects are reached.
    pub role: RoleChoice,
    /// How many bytes its files may take altogether.
    pub quota_bytes: Option<NonZeroU64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_held_to_their_alphabet_and_length() {
        for good in ["a", "9", "Site-A", "site.example_1", &"x".repeat(64)] {
            assert_eq!(good.parse::<TenantId>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            ".",
            "..",
            "-a",
            "_a",
            ".hidden",
            "a/b",
            "a b",
            "a\n",
            "a\0",
            "é",
            "ａ",
            &"x".repeat(65),
        ] {
            assert_eq!(bad.parse::<TenantId>(), Err(InvalidTenantId), "{bad:?}");
        }
    }

    #[test]
    fn ids_that_differ_in_case_differ() {
        assert_ne!("a".parse::<TenantId>(), "A".parse::<TenantId>());
    }
}
