//! Looks at how a bucket is set up, and tries what a tenant's credentials may
//! do, for `kura doctor`. What is learned is told as it is; what it means is
//! not decided here.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use aws_sdk_s3::config::ProvideCredentials as _;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    BucketVersioningStatus, ExpirationStatus, LifecycleRule, LifecycleRuleFilter,
};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::conditions::Conditions;
use super::error::chain;
use super::{Connection, S3Store, error};
use crate::digest::Digest;
use crate::key::StoreKey;
use crate::storage::names::nonce;
use crate::storage::{BlobStore as _, GetOptions, Payload, PutMode, PutRequest, StoreError};

/// Why something is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The credentials may not ask.
    Forbidden,
    /// The server has no such thing.
    Unsupported,
    /// Something else, in words.
    Failed(String),
}

/// Something that the server was asked for.
pub type Answer<T> = Result<T, Unknown>;

/// How a bucket answers.
#[derive(Clone, Debug)]
pub struct Reached {
    /// The region that the bucket says it is in.
    pub region: Option<String>,
    /// The server's clock, and this machine's when it was read.
    pub clocks: Option<(SystemTime, SystemTime)>,
    /// The bucket is there and may be used; else in words.
    pub outcome: Result<(), String>,
}

/// How a bucket is set up.
#[derive(Clone, Debug)]
pub struct BucketFacts {
    /// True when old versions of objects are kept.
    pub versioning: Answer<bool>,
    /// What is done about what is left behind.
    pub lifecycle: Answer<Lifecycle>,
    /// How objects are encrypted when nobody says how; `None` for not at all.
    pub encryption: Answer<Option<String>>,
    /// True when nothing in it can be made public.
    pub public_access_blocked: Answer<bool>,
}

/// What lifecycle rules do with the whole of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lifecycle {
    /// After so many days unfinished uploads are removed.
    pub aborts_uploads: Option<i32>,
    /// After so many days old versions are removed.
    pub expires_versions: Option<i32>,
    /// True when a rule removes objects themselves.
    pub expires_objects: bool,
}

/// Something that a tenant's credentials must be able to do, or must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// Listing its folder.
    List,
    /// Storing an object, with a checksum unless those are off.
    Put,
    /// Reading it.
    Get,
    /// Being told that an object is not there.
    Missing,
    /// Beginning a multipart upload, and aborting it.
    Abort,
    /// Removing the object.
    Delete,
    /// Being refused what lies outside of the tenant's folders.
    Outside,
}

impl Connection {
    /// Whose credentials the server has, as STS knows it.
    ///
    /// # Errors
    /// In words, when STS does not say.
    pub async fn identity(&self) -> Result<String, String> {
        let answer = self.sts().get_caller_identity().send().await;
        let identity = answer.map_err(|error| chain(&error))?;
        Ok(identity.arn.unwrap_or_default())
    }

    /// The region that requests are signed for.
    #[must_use]
    pub fn region(&self) -> String {
        let region = self.client().config().region().map(ToString::to_string);
        region.unwrap_or_default()
    }

    /// Asks for the bucket itself.
    pub async fn reach(&self, bucket: &str) -> Reached {
        let seen = Seen::default();
        let head = self.client().head_bucket().bucket(bucket).customize();
        let outcome = head.interceptor(seen.clone()).send().await;
        let head = seen.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (region, clocks) = head.unwrap_or_default();
        let outcome = outcome.map(|_| ()).map_err(|error| {
            let status = error.raw_response().map(|answer| answer.status().as_u16());
            match status {
                Some(301) => "it lies in another region".to_owned(),
                Some(404) => "there is no such bucket".to_owned(),
                Some(status) => format!("it answers {status}"),
                None => chain(&error),
            }
        });
        Reached {
            region,
            clocks,
            outcome,
        }
    }

    /// How the bucket is set up.
    pub async fn facts(&self, bucket: &str) -> BucketFacts {
        let client = self.client();
        let versioning = client.get_bucket_versioning().bucket(bucket);
        let versioning = versioning.send().await;
        let lifecycle = client.get_bucket_lifecycle_configuration().bucket(bucket);
        let lifecycle = lifecycle.send().await;
        let encryption = client.get_bucket_encryption().bucket(bucket).send().await;
        let blocked = client.get_public_access_block().bucket(bucket).send().await;
        BucketFacts {
            versioning: answer(versioning, |it| {
                it.status == Some(BucketVersioningStatus::Enabled)
            }),
            lifecycle: or_none("NoSuchLifecycleConfiguration", lifecycle, |it| {
                Lifecycle::of(it.rules())
            }),
            encryption: or_none(
                "ServerSideEncryptionConfigurationNotFoundError",
                encryption,
                |it| {
                    let rules = it.server_side_encryption_configuration?.rules;
                    let rule = rules
                        .into_iter()
                        .next()?
                        .apply_server_side_encryption_by_default?;
                    Some(rule.sse_algorithm.as_str().to_owned())
                },
            ),
            public_access_blocked: or_none("NoSuchPublicAccessBlockConfiguration", blocked, |it| {
                it.public_access_block_configuration.is_some_and(|block| {
                    [
                        block.block_public_acls,
                        block.ignore_public_acls,
                        block.block_public_policy,
                        block.restrict_public_buckets,
                    ]
                    .into_iter()
                    .all(|on| on == Some(true))
                })
            }),
        }
    }
}

impl Lifecycle {
    fn of(rules: &[LifecycleRule]) -> Self {
        let mut all = Self::default();
        for rule in rules {
            if *rule.status() != ExpirationStatus::Enabled || !is_for_all(rule) {
                continue;
            }
            let abort = rule.abort_incomplete_multipart_upload();
            let abort = abort.and_then(|it| it.days_after_initiation);
            let versions = rule.noncurrent_version_expiration();
            let versions = versions.and_then(|it| it.noncurrent_days);
            all.aborts_uploads = all.aborts_uploads.or(abort);
            all.expires_versions = all.expires_versions.or(versions);
            // A rule that only tidies up delete markers has no days.
            all.expires_objects |= rule
                .expiration()
                .is_some_and(|it| it.days.is_some() || it.date.is_some());
        }
        all
    }
}

/// True for a rule that is not only for a prefix, a tag or a size.
#[expect(deprecated, reason = "rules that were made long ago still have it")]
fn is_for_all(rule: &LifecycleRule) -> bool {
    let everything = |filter: &LifecycleRuleFilter| {
        filter.prefix().is_none_or(str::is_empty)
            && filter.tag().is_none()
            && filter.and().is_none()
            && filter.object_size_greater_than().is_none()
            && filter.object_size_less_than().is_none()
    };
    rule.prefix().is_none_or(str::is_empty) && rule.filter().is_none_or(everything)
}

fn answer<T, U, E>(
    result: Result<T, SdkError<E, HttpResponse>>,
    meaning: impl FnOnce(T) -> U,
) -> Answer<U>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    result.map(meaning).map_err(|error| {
        let status = error.raw_response().map(|answer| answer.status().as_u16());
        match (status, error.code()) {
            (Some(403), _) => Unknown::Forbidden,
            (Some(501 | 405), _) | (_, Some("NotImplemented" | "MethodNotAllowed")) => {
                Unknown::Unsupported
            }
            (Some(status), code) => {
                Unknown::Failed(format!("S3 answered {status} {}", code.unwrap_or_default()))
            }
            (None, _) => Unknown::Failed(chain(&error)),
        }
    })
}

/// The same, where S3 says "not set up" by an error with this code.
fn or_none<T, U: Default, E>(
    code: &str,
    result: Result<T, SdkError<E, HttpResponse>>,
    meaning: impl FnOnce(T) -> U,
) -> Answer<U>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match result {
        Err(error) if error.code() == Some(code) => Ok(U::default()),
        result => answer(result, meaning),
    }
}

impl S3Store {
    /// True when the server honours conditional writes. Unless that is
    /// configured, a small object is written twice and removed.
    ///
    /// # Errors
    /// When it does not let itself be asked.
    pub async fn honours_conditions(&self) -> Result<bool, StoreError> {
        Ok(self.conditions().await? == Conditions::Honoured)
    }

    /// True when the server refuses what does not have the checksum that it is
    /// said to have.
    ///
    /// # Errors
    /// When it does not let itself be asked.
    pub async fn refuses_wrong_checksums(&self) -> Result<bool, StoreError> {
        let key = self.layout.probe(&nonce());
        let put = self.bucket.client.put_object();
        let put = put
            .bucket(&self.bucket.name)
            .key(key.as_str())
            .checksum_sha256(BASE64_STANDARD.encode(Digest::of(b"something else").as_bytes()))
            .body(ByteStream::from_static(b"trial"));
        match put.send().await {
            Ok(_) => self.delete(&key).await.map(|()| false),
            Err(error) if refused(&error) => Ok(true),
            Err(error) => Err(error::meaning(error)),
        }
    }

    /// Gets the credentials that the tenant's objects are reached by.
    ///
    /// # Errors
    /// In words, why there are none.
    pub async fn credentials(&self) -> Result<(), String> {
        let provided = self.bucket.credentials.provide_credentials().await;
        provided
            .map(|_| ())
            .map_err(|error| error::of_credentials(&error))
    }

    /// Tries all that a tenant's credentials are needed for. What is written is
    /// removed; without `writes` nothing is.
    pub async fn try_out(&self, writes: bool) -> Vec<(Trial, Result<(), StoreError>)> {
        let key = self.layout.probe(&nonce());
        let listed = self.list_all_objects(self.layout.folder(), None, 1).await;
        let mut tried = vec![
            (Trial::List, listed.map(|_| ())),
            (Trial::Missing, self.misses(&key).await),
        ];
        if writes {
            let mode = PutMode::Overwrite;
            let put = self.put(
                PutRequest::new(key.clone(), mode),
                Payload::from_bytes("trial"),
            );
            tried.push((Trial::Put, put.await.map(|_| ())));
            let get = self.get(&key, GetOptions::default()).await;
            tried.push((Trial::Get, get.map(|_| ())));
            tried.push((Trial::Abort, self.begin_and_abort(&key).await));
            tried.push((Trial::Delete, self.delete(&key).await));
        }
        tried
    }

    /// True when neither reading nor listing outside of the tenant's folders is
    /// let through. Nothing is written there.
    ///
    /// # Errors
    /// When the server does not let itself be asked.
    pub async fn is_held_in(&self) -> Result<bool, StoreError> {
        let (client, bucket) = (&self.bucket.client, &self.bucket.name);
        let list = client.list_objects_v2().bucket(bucket).max_keys(1);
        let list = list.send().await.map(|_| ()).map_err(error::meaning);
        let head = client.head_object().bucket(bucket);
        let head = head.key(format!("kura-outside-{}", nonce()));
        let head = head.send().await.map(|_| ()).map_err(error::meaning);
        for tried in [list, head] {
            match tried {
                Err(StoreError::Forbidden(_)) => {}
                Ok(()) | Err(StoreError::NotFound) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    async fn misses(&self, key: &StoreKey) -> Result<(), StoreError> {
        match self.describe(key).await {
            Ok(_) => Err(StoreError::AlreadyExists),
            Err(StoreError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn begin_and_abort(&self, key: &StoreKey) -> Result<(), StoreError> {
        let client = &self.bucket.client;
        let create = client.create_multipart_upload();
        let create = create.bucket(&self.bucket.name).key(key.as_str());
        let created = create.send().await.map_err(error::meaning)?;
        let abort = client.abort_multipart_upload();
        let abort = abort.bucket(&self.bucket.name).key(key.as_str());
        let abort = abort.set_upload_id(created.upload_id);
        abort.send().await.map(|_| ()).map_err(error::meaning)
    }
}

fn refused<E>(error: &SdkError<E, HttpResponse>) -> bool {
    let status = error.raw_response().map(|answer| answer.status().as_u16());
    status == Some(400)
}

/// What the head of an answer says besides.
#[derive(Clone, Debug, Default)]
struct Seen(Arc<Mutex<Option<Heading>>>);

type Heading = (Option<String>, Option<(SystemTime, SystemTime)>);

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for Seen {
    fn name(&self) -> &'static str {
        "Seen"
    }

    fn read_after_transmit(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.response().headers();
        let region = headers.get("x-amz-bucket-region").map(str::to_owned);
        let date = headers.get("date");
        let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
        let clocks = date.map(|date| (date, SystemTime::now()));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((region, clocks));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::types::AbortIncompleteMultipartUpload;

    use super::*;

    fn rule(prefix: &str, status: ExpirationStatus) -> LifecycleRule {
        let abort = AbortIncompleteMultipartUpload::builder().days_after_initiation(2);
        let filter = LifecycleRuleFilter::builder().prefix(prefix);
        let rule = LifecycleRule::builder()
            .status(status)
            .filter(filter.build());
        let rule = rule.abort_incomplete_multipart_upload(abort.build());
        rule.build().unwrap()
    }

    #[test]
    fn only_rules_in_force_for_the_whole_bucket_count() {
        let (on, off) = (ExpirationStatus::Enabled, ExpirationStatus::Disabled);
        let aborts = |rules: &[LifecycleRule]| Lifecycle::of(rules).aborts_uploads;
        assert_eq!(aborts(&[rule("", on.clone())]), Some(2));
        assert_eq!(aborts(&[rule("logs/", on), rule("", off)]), None);
    }
}
