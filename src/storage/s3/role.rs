//! Sessions of a tenant's role: what STS is asked for, so that S3 itself
//! refuses everything outside of the tenant's folders.

use std::fmt::Write as _;

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_sdk_s3::config::Credentials;
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::RequestId;
use aws_sdk_sts::types::Tag;
use serde_json::json;
use thiserror::Error;

use super::error::chain;
use crate::key::Layout;
use crate::tenant::TenantId;
use crate::tenant::role::{Role, RoleSession};

/// The longest session policy, in characters:
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>
const MAX_POLICY_CHARS: usize = 2048;
/// The longest name of a session, in characters; from the same page.
const MAX_NAME_CHARS: usize = 64;
/// The longest value of a session tag, in characters; from the same page.
const MAX_TAG_CHARS: usize = 256;
/// The longest session of a role that was assumed by a role, in seconds. A
/// server's own credentials mostly are a role's.
const SESSION_SECONDS: i32 = 3600;
/// The session tag with the tenant's folder.
const FOLDER_TAG: &str = "kura-folder";

/// Why no session can be held to a tenant's folders.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RoleError {
    /// The folders' names take too much room.
    #[error(
        "the session policy for its folders has {0} characters, and STS takes {MAX_POLICY_CHARS}: use kura.role_session: tag, or shorter folders"
    )]
    PolicyTooLong(usize),
    /// The folder cannot be a tag.
    #[error(
        "its folder cannot be a session tag: 1 to {MAX_TAG_CHARS} letters, digits, spaces or any of _.:/=+-@"
    )]
    FolderNoTag,
    /// There is one tag, and several folders.
    #[error(
        "folders outside of its own cannot be reached by a session tag: use kura.role_session: policy"
    )]
    FolderOutside,
}

/// What STS is asked for.
#[derive(Debug)]
pub(super) struct Sessions {
    sts: aws_sdk_sts::Client,
    role: Role,
    name: String,
    hold: Hold,
}

/// What holds a session to a tenant's folders.
#[derive(Debug, PartialEq, Eq)]
enum Hold {
    Policy(String),
    Tag(String),
}

impl Sessions {
    pub(super) fn new(
        sts: aws_sdk_sts::Client,
        role: &Role,
        tenant: &TenantId,
        bucket: &str,
        layout: &Layout,
    ) -> Result<Self, RoleError> {
        Ok(Self {
            sts,
            role: role.clone(),
            name: session_name(tenant),
            hold: match role.session {
                RoleSession::Policy => {
                    Hold::Policy(session_policy(role.arn.partition(), bucket, layout)?)
                }
                RoleSession::Tag => Hold::Tag(folder_tag(layout)?),
            },
        })
    }

    async fn assume(&self) -> Result<Credentials, CredentialsError> {
        let request = self.sts.assume_role();
        let request = request
            .role_arn(self.role.arn.as_str())
            .role_session_name(&self.name)
            .duration_seconds(SESSION_SECONDS)
            .set_external_id(
                self.role
                    .external_id
                    .as_ref()
                    .map(|id| id.as_str().to_owned()),
            );
        let request = match &self.hold {
            Hold::Policy(policy) => request.policy(policy),
            Hold::Tag(folder) => {
                let tag = Tag::builder().key(FOLDER_TAG).value(folder).build();
                request.tags(tag.map_err(CredentialsError::unhandled)?)
            }
        };
        let answer = request.send().await.map_err(|error| self.meaning(&error))?;
        let given = answer.credentials;
        let given = given.ok_or_else(|| CredentialsError::unhandled("STS sent no credentials"))?;
        let ends = given.expiration.try_into();
        Ok(Credentials::new(
            given.access_key_id,
            given.secret_access_key,
            Some(given.session_token),
            Some(ends.map_err(CredentialsError::unhandled)?),
            "tenant's role",
        ))
    }

    /// A refusal is the operator's to mend; anything else may pass.
    fn meaning<E, R>(&self, error: &SdkError<E, R>) -> CredentialsError
    where
        SdkError<E, R>: std::error::Error + ProvideErrorMetadata + RequestId + 'static,
    {
        let role = &self.role.arn;
        let Some(code) = error.code() else {
            return CredentialsError::provider_error(format!(
                "STS was asked for {role}: {}",
                chain(error)
            ));
        };
        let id = error.request_id().unwrap_or("-");
        let text = format!("STS answered {code} for {role} (request id {id})");
        match code {
            "Throttling"
            | "ThrottlingException"
            | "RequestLimitExceeded"
            | "ServiceUnavailable"
            | "InternalFailure"
            | "InternalError"
            | "IDPCommunicationError" => CredentialsError::provider_error(text),
            _ => CredentialsError::invalid_configuration(text),
        }
    }
}

impl ProvideCredentials for Sessions {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.assume())
    }
}

/// What `CloudTrail` will call the session. A tenant's id has no other
/// characters than a session's name may have.
fn session_name(tenant: &TenantId) -> String {
    let mut name = format!("kura-{tenant}");
    name.truncate(MAX_NAME_CHARS);
    name
}

/// What a session may do: everything that Kura does with objects, in these
/// folders. What the role itself may not do, it may not do either.
///
/// Open multipart uploads are not among it: to list them cannot be limited to
/// a prefix.
fn session_policy(partition: &str, bucket: &str, layout: &Layout) -> Result<String, RoleError> {
    let folders = [layout.folder()].into_iter().chain(layout.shared_folders());
    let mut folders: Vec<_> = folders.map(literally).collect();
    folders.dedup();
    let bucket = format!("arn:{partition}:s3:::{bucket}");
    let objects: Vec<_> = folders
        .iter()
        .map(|folder| format!("{bucket}/{folder}*"))
        .collect();
    let prefixes: Vec<_> = folders.iter().map(|folder| format!("{folder}*")).collect();
    let policy = json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": [
                    "s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload",
                    "s3:GetObjectVersion", "s3:DeleteObjectVersion",
                ],
                "Resource": objects,
            },
            {
                "Effect": "Allow",
                "Action": ["s3:ListBucket", "s3:ListBucketVersions"],
                "Resource": bucket,
                "Condition": {"StringLike": {"s3:prefix": prefixes}},
            },
        ],
    });
    let policy = in_ascii(&policy.to_string());
    match policy.len() {
        len if len > MAX_POLICY_CHARS => Err(RoleError::PolicyTooLong(len)),
        _ => Ok(policy),
    }
}

/// A folder as policies write what has a meaning to them:
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html>
fn literally(folder: &str) -> String {
    let written = folder.chars().map(|c| match c {
        '*' | '?' | '$' => format!("${{{c}}}"),
        c => c.to_string(),
    });
    written.collect()
}

/// JSON with nothing but ASCII in it: STS takes no characters beyond U+00FF.
fn in_ascii(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a `String` cannot fail.
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    out
}

/// The folder without its last slash, as the value of a tag.
fn folder_tag(layout: &Layout) -> Result<String, RoleError> {
    if layout.shared_folders().next().is_some() {
        return Err(RoleError::FolderOutside);
    }
    let folder = layout.folder().trim_end_matches('/');
    let allowed = |c: char| c.is_alphanumeric() || " _.:/=+-@".contains(c);
    let chars = folder.chars().count();
    if (1..=MAX_TAG_CHARS).contains(&chars) && folder.chars().all(allowed) {
        Ok(folder.to_owned())
    } else {
        Err(RoleError::FolderNoTag)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn layout(folder: &str, thumbs: Option<&str>) -> Layout {
        Layout::new(folder, thumbs, None).unwrap()
    }

    fn policy(layout: &Layout) -> Value {
        let policy = session_policy("aws", "files", layout).unwrap();
        serde_json::from_str(&policy).unwrap()
    }

    #[test]
    fn policy_names_the_tenants_folders_and_nothing_else() {
        let policy = policy(&layout("user001", Some("tmp")));
        let [objects, listing] = [0, 1].map(|at| &policy["Statement"][at]);
        assert_eq!(
            objects["Resource"],
            json!(["arn:aws:s3:::files/user001/*", "arn:aws:s3:::files/tmp/*"])
        );
        assert_eq!(
            listing["Condition"],
            json!({"StringLike": {"s3:prefix": ["user001/*", "tmp/*"]}})
        );
        assert_eq!(policy["Statement"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn folder_cannot_be_a_pattern_that_means_more_than_itself() {
        let policy = policy(&layout("a*b?c${d}", None));
        let resource = &policy["Statement"][0]["Resource"][0];
        assert_eq!(resource, "arn:aws:s3:::files/a${*}b${?}c${$}{d}/*");
    }

    #[test]
    fn policy_is_ascii_whatever_the_folder_is_called() {
        let layout = layout("顧客𠮷", None);
        let policy = session_policy("aws", "files", &layout).unwrap();
        assert!(policy.is_ascii(), "{policy}");
        let policy: Value = serde_json::from_str(&policy).unwrap();
        let resource = &policy["Statement"][0]["Resource"][0];
        assert_eq!(resource, "arn:aws:s3:::files/顧客𠮷/*");
    }

    #[test]
    fn policy_that_sts_would_refuse_is_not_sent() {
        let long = "客".repeat(80);
        let error = session_policy("aws", "files", &layout(&long, Some(&format!("t/{long}"))));
        assert!(matches!(error, Err(RoleError::PolicyTooLong(len)) if len > 2048));
        assert!(session_policy("aws", "files", &layout(&"x".repeat(255), None)).is_ok());
    }

    #[test]
    fn tag_is_the_folder_and_only_one() {
        assert_eq!(folder_tag(&layout("a/b", None)), Ok("a/b".into()));
        assert_eq!(folder_tag(&layout("", None)), Err(RoleError::FolderNoTag));
        assert_eq!(folder_tag(&layout("a*", None)), Err(RoleError::FolderNoTag));
        assert_eq!(
            folder_tag(&layout("a", Some("tmp"))),
            Err(RoleError::FolderOutside)
        );
    }

    #[test]
    fn name_of_a_session_is_not_too_long() {
        let name = session_name(&"x".repeat(64).parse().unwrap());
        assert_eq!(name.len(), 64);
        assert!(name.starts_with("kura-xxx"));
    }
}
