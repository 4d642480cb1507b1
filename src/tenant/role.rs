//! The role by which a tenant's objects are reached, where it has one: with
//! its credentials the store itself refuses everything outside of the tenant's
//! folders.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A role, and how a session of it is held to one tenant's folders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Which.
    pub arn: RoleArn,
    /// What its trust policy wants to hear, if anything.
    pub external_id: Option<ExternalId>,
    /// How a session is held to the tenant's folders.
    pub session: RoleSession,
}

/// What a tenant's file says of its role; for what it does not say the
/// deployment's settings stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleChoice {
    /// Which role.
    pub arn: Option<RoleArn>,
    /// What its trust policy wants to hear.
    pub external_id: Option<ExternalId>,
    /// How a session is held to the tenant's folders.
    pub session: Option<RoleSession>,
}

impl RoleChoice {
    /// The role, if there is to be one: with `default`s for what is not said.
    #[must_use]
    pub fn over(&self, default: &Self) -> Option<Role> {
        let either = self.arn.as_ref().or(default.arn.as_ref());
        let external_id = self.external_id.as_ref().or(default.external_id.as_ref());
        Some(Role {
            arn: either?.clone(),
            external_id: external_id.cloned(),
            session: self.session.or(default.session).unwrap_or_default(),
        })
    }
}

/// How a session of a role is held to one tenant's folders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RoleSession {
    /// By a session policy that names them: the role itself may reach more.
    #[default]
    Policy,
    /// By the session tag `kura-folder`, which the role's own policy has to
    /// look at.
    Tag,
}

/// The text says no way to hold a session.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("must be `policy` or `tag`")]
pub struct InvalidRoleSession;

impl FromStr for RoleSession {
    type Err = InvalidRoleSession;

    fn from_str(text: &str) -> Result<Self, InvalidRoleSession> {
        match text {
            "policy" => Ok(Self::Policy),
            "tag" => Ok(Self::Tag),
            _ => Err(InvalidRoleSession),
        }
    }
}

/// The name of a role, such as `arn:aws:iam::123456789012:role/kura-tenant`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleArn(String);

/// The text is no role's name.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("must be a role's ARN, such as arn:aws:iam::123456789012:role/NAME")]
pub struct InvalidRoleArn;

impl RoleArn {
    /// `aws`, or that of another partition, such as `aws-cn`.
    #[must_use]
    pub fn partition(&self) -> &str {
        self.0.split(':').nth(1).unwrap_or("aws")
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RoleArn {
    type Err = InvalidRoleArn;

    /// The limits are those of STS's `RoleArn`.
    fn from_str(text: &str) -> Result<Self, InvalidRoleArn> {
        let parts: Vec<_> = text.splitn(6, ':').collect();
        let shaped = match parts[..] {
            ["arn", partition, "iam", "", account, resource] => {
                partition.starts_with("aws")
                    && account.len() == 12
                    && account.bytes().all(|c| c.is_ascii_digit())
                    && resource.len() > "role/".len()
                    && resource.starts_with("role/")
            }
            _ => false,
        };
        let printable = text.bytes().all(|c| c.is_ascii_graphic());
        let valid = shaped && printable && text.len() <= 2048;
        valid.then(|| Self(text.to_owned())).ok_or(InvalidRoleArn)
    }
}

impl fmt::Display for RoleArn {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// What a role's trust policy may want to hear. Not a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalId(String);

/// The text is no external id.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("must be 2 to 1,224 letters, digits or any of _+=,.@:/-")]
pub struct InvalidExternalId;

impl ExternalId {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ExternalId {
    type Err = InvalidExternalId;

    /// The limits are those of STS's `ExternalId`.
    fn from_str(text: &str) -> Result<Self, InvalidExternalId> {
        let allowed = |c: u8| c.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&c);
        let valid = (2..=1224).contains(&text.len()) && text.bytes().all(allowed);
        valid
            .then(|| Self(text.to_owned()))
            .ok_or(InvalidExternalId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_arns_of_roles_are_taken() {
        for good in [
            "arn:aws:iam::123456789012:role/kura",
            "arn:aws-cn:iam::123456789012:role/path/kura",
        ] {
            assert_eq!(good.parse::<RoleArn>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "kura",
            "arn:aws:iam::123456789012:user/kura",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam::1234:role/kura",
            "arn:aws:sts::123456789012:role/kura",
            "arn:aws:iam::123456789012:role/ku ra",
        ] {
            assert_eq!(bad.parse::<RoleArn>(), Err(InvalidRoleArn), "{bad:?}");
        }
    }

    #[test]
    fn tenants_choice_goes_before_the_deployments() {
        let arn = |name: &str| {
            format!("arn:aws:iam::123456789012:role/{name}")
                .parse()
                .ok()
        };
        let default = RoleChoice {
            arn: arn("all"),
            external_id: "theirs".parse().ok(),
            session: None,
        };
        assert_eq!(RoleChoice::default().over(&RoleChoice::default()), None);
        let own = RoleChoice {
            arn: arn("own"),
            session: Some(RoleSession::Tag),
            ..RoleChoice::default()
        };
        let role = own.over(&default).unwrap();
        assert_eq!(Some(role.arn), arn("own"));
        assert_eq!(role.external_id, "theirs".parse().ok());
        assert_eq!(role.session, RoleSession::Tag);
        let role = RoleChoice::default().over(&default).unwrap();
        assert_eq!(
            (Some(role.arn), role.session),
            (arn("all"), RoleSession::Policy)
        );
    }
}
