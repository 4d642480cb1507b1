//! The S3 store. The SDK is used here and below, nowhere else.
//!
//! A request to S3 costs money, so each operation makes as few as can be:
//! one for what fits a part. What the server cannot be asked to do atomically
//! is made safe by *claims* (see `claim.rs`).

mod answer;
mod claim;
mod client;
mod conditions;
mod copy;
mod credentials;
mod download;
mod error;
pub mod examine;
mod listing;
mod multipart;
mod observe;
mod put;
mod remains;
mod role;
mod streaming;
mod tenant_files;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::Builder as ConfigOverride;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::operation::delete_object::builders::DeleteObjectFluentBuilder;
use aws_sdk_s3::operation::head_object::builders::HeadObjectFluentBuilder;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use self::client::Access;
pub use self::client::{ConnectError, ConnectOptions, Connection, StaticKey};
use self::conditions::Conditions;
use self::credentials::Renewed;
pub use self::role::RoleError;
pub use self::tenant_files::S3Source;
use super::names::Names;
use super::{
    BlobStore, GetOptions, Object, ObjectInfo, Page, Payload, PutRequest, StoreError, Stored,
};
use crate::budget::Share;
use crate::key::{Layout, StoreKey};
use crate::tenant::TenantId;
use crate::tenant::role::Role;

/// How the S3 store goes about its work.
#[derive(Clone, Copy, Debug)]
pub struct S3Options {
    /// The size of a part and of a range read ahead, in bytes; S3 wants 5 MiB
    /// at least.
    pub part_bytes: usize,
    /// How many parts of one upload, or ranges of one download, are under way
    /// at once.
    pub parallel_parts: usize,
    /// The largest payload, in bytes: parts grow so that 10,000 are enough.
    pub max_payload_bytes: u64,
    /// Whether checksums are sent along. Some S3-compatible servers refuse
    /// those they do not know.
    pub checksums: bool,
    /// Whether the server honours `If-None-Match`; `None` to find out.
    pub conditional_writes: Option<bool>,
    /// After so long without a byte a download is taken up anew.
    pub idle_body: Duration,
    /// The rate at which a part is sent at least, or it is sent anew.
    pub min_bytes_per_second: u64,
    /// How long S3 may take to copy an object or to put its parts together.
    /// That grows with the object: minutes for the largest.
    pub slow_answer: Duration,
    /// The largest object that is copied by one request, in bytes. S3's own
    /// limit is 5 GiB.
    pub max_single_copy_bytes: u64,
}

impl Default for S3Options {
    fn default() -> Self {
        Self {
            part_bytes: 8 << 20,
            parallel_parts: 6,
            max_payload_bytes: 5 << 30,
            checksums: true,
            conditional_writes: None,
            idle_body: Duration::from_secs(20),
            min_bytes_per_second: 128 << 10,
            slow_answer: Duration::from_mins(10),
            max_single_copy_bytes: 5 << 30,
        }
    }
}

/// A bucket, and what has been learned of its server. Shared by all tenants
/// who have a folder in it.
#[derive(Debug)]
pub struct Bucket {
    client: Client,
    credentials: Renewed,
    read_timeout: Duration,
    name: String,
    options: S3Options,
    known: Arc<Known>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// What has been learned of a bucket, whoever asked.
#[derive(Debug, Default)]
struct Known {
    conditions: OnceCell<Conditions>,
    seen: OnceCell<()>,
    names: Names,
}

impl Bucket {
    /// Work that outlives its request, such as aborting an upload whose
    /// sender has gone, is tracked by `tasks`. When `stop` is cancelled large
    /// uploads are aborted, whatever they wait for.
    #[must_use]
    pub fn new(
        connection: &Connection,
        name: &str,
        options: S3Options,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let Access {
            client,
            credentials,
        } = connection.own();
        Arc::new(Self {
            client,
            credentials,
            read_timeout: connection.read_timeout(),
            name: name.to_owned(),
            options,
            known: Arc::default(),
            tasks,
            stop,
        })
    }

    /// The same bucket, reached by a tenant's role. What is learned of it is
    /// shared; no request is made yet.
    ///
    /// # Errors
    /// When no session of the role can be held to the tenant's folders.
    pub fn assuming(
        &self,
        connection: &Connection,
        role: &Role,
        tenant: &TenantId,
        layout: &Layout,
    ) -> Result<Arc<Self>, RoleError> {
        let Access {
            client,
            credentials,
        } = connection.assuming(role, tenant, &self.name, layout)?;
        Ok(Arc::new(Self {
            client,
            credentials,
            read_timeout: self.read_timeout,
            name: self.name.clone(),
            options: self.options,
            known: Arc::clone(&self.known),
            tasks: self.tasks.clone(),
            stop: self.stop.clone(),
        }))
    }
}

impl Bucket {
    /// Time limits for a request with a body. The SDK takes the sending of it
    /// for a part of the wait for the answer, which has to be longer then.
    fn time_to_send(&self, bytes: usize) -> ConfigOverride {
        let sending = bytes as u64 / self.options.min_bytes_per_second;
        let sending = Duration::from_secs(sending);
        let timeouts = TimeoutConfig::builder()
            .read_timeout(self.read_timeout + sending)
            .operation_attempt_timeout(self.read_timeout * 2 + sending);
        ConfigOverride::default().timeout_config(timeouts.build())
    }
}

/// One tenant's way into a [`Bucket`].
#[derive(Clone)]
pub struct S3Store {
    bucket: Arc<Bucket>,
    layout: Layout,
    share: Share,
}

impl fmt::Debug for S3Store {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("S3Store")
            .field("bucket", &self.bucket.name)
            .field("folder", &self.layout.folder())
            .finish_non_exhaustive()
    }
}

impl S3Store {
    /// `share` is the tenant's part of the memory for buffers.
    #[must_use]
    pub fn new(bucket: Arc<Bucket>, layout: Layout, share: Share) -> Self {
        Self {
            bucket,
            layout,
            share,
        }
    }

    fn head_request(&self, key: &str) -> HeadObjectFluentBuilder {
        let head = self.bucket.client.head_object();
        head.bucket(&self.bucket.name).key(key)
    }

    fn delete_request(&self, key: &StoreKey) -> DeleteObjectFluentBuilder {
        let delete = self.bucket.client.delete_object();
        delete.bucket(&self.bucket.name).key(key.as_str())
    }

    /// Finds out whether the server honours conditional writes, unless that
    /// is known. Called at start so that the first upload need not wait.
    ///
    /// # Errors
    /// When the server does not answer as one that could be asked.
    pub async fn find_out_conditions(&self) -> Result<(), StoreError> {
        self.conditions().await.map(|_| ())
    }

    /// Lets work go on to its end also when the caller is dropped.
    async fn to_its_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let task = self.bucket.tasks.spawn(work.in_current_span());
        let result = task.await;
        result.unwrap_or_else(|error| Err(StoreError::Unavailable(error.to_string())))
    }
}

#[async_trait]
impl BlobStore for S3Store {
    /// The upload is a task of its own that owns the payload: when the caller
    /// is dropped it still ends in order, and leaves nothing behind.
    async fn put(&self, request: PutRequest, payload: Payload) -> Result<Stored, StoreError> {
        let store = self.clone();
        let abandoned = CancellationToken::new();
        let abandon_on_drop = abandoned.clone().drop_guard();
        let upload = async move { store.upload(request, payload, abandoned).await };
        let stored = self.to_its_end(upload).await;
        abandon_on_drop.disarm();
        stored
    }

    async fn get(&self, key: &StoreKey, options: GetOptions) -> Result<Object, StoreError> {
        self.download(key, options).await
    }

    async fn head(&self, key: &StoreKey) -> Result<ObjectInfo, StoreError> {
        self.describe(key).await
    }

    /// A task of its own, as an upload is: cut short it would leave its claim
    /// behind.
    async fn copy(&self, from: &StoreKey, to: &StoreKey) -> Result<(), StoreError> {
        let (store, from, to) = (self.clone(), from.clone(), to.clone());
        self.to_its_end(async move { store.copy_object(&from, &to).await.map(|_| ()) })
            .await
    }

    async fn rename(&self, from: &StoreKey, to: &StoreKey) -> Result<(), StoreError> {
        let (store, from, to) = (self.clone(), from.clone(), to.clone());
        self.to_its_end(async move {
            let etag = match store.copy_object(&from, &to).await {
                // An earlier try of this move may have got so far.
                Err(StoreError::AlreadyExists) if from != to => {
                    let copied = store.etag_of_copied(&from, &to).await?;
                    copied.ok_or(StoreError::AlreadyExists)?
                }
                copied => copied?,
            };
            store.delete_unchanged(&from, &etag).await
        })
        .await
    }

    async fn delete(&self, key: &StoreKey) -> Result<(), StoreError> {
        match self
            .delete_request(key)
            .send()
            .await
            .map_err(error::meaning)
        {
            Ok(_) | Err(StoreError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<u64, StoreError> {
        self.delete_listed(prefix).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.list_objects(prefix, after, limit).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.list_objects(self.layout.folder(), None, 1)
            .await
            .map(|_| ())
    }
}
