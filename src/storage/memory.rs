//! [`MemoryStore`]: the reference model of a [`BlobStore`], for tests.
//!
//! It is the contract written as plainly as it can be: a sorted map under a
//! lock. Whatever a real store answers is held against what this one answers.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{TryStreamExt as _, stream};

use super::{
    BlobStore, Entry, GetOptions, Object, ObjectInfo, Page, Payload, PayloadError, PutMode,
    PutRequest, StoreError, Stored,
};
use crate::digest::Digest;
use crate::key::StoreKey;

/// A store that keeps its objects in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    objects: Mutex<BTreeMap<String, Kept>>,
}

#[derive(Clone, Debug)]
struct Kept {
    bytes: Bytes,
    info: ObjectInfo,
}

impl MemoryStore {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Kept>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, key: &StoreKey) -> Result<Kept, StoreError> {
        let found = self.lock().get(key.as_str()).cloned();
        found.ok_or(StoreError::NotFound)
    }
}

#[async_trait]
impl BlobStore for MemoryStore {
    async fn put(&self, request: PutRequest, payload: Payload) -> Result<Stored, StoreError> {
        let bytes = receive(payload).await?;
        let digest = Digest::of(&bytes);
        if request.expected_digest.is_some_and(|it| it != digest) {
            return Err(PayloadError::WrongDigest.into());
        }
        let mut objects = self.lock();
        let free = |key: &StoreKey| !objects.contains_key(key.as_str());
        let key = match request.mode {
            PutMode::Overwrite => request.key,
            PutMode::CreateOnly if free(&request.key) => request.key,
            PutMode::CreateOnly => return Err(StoreError::AlreadyExists),
            PutMode::FirstFree => (0..=u64::MAX)
                .map(|n| request.key.successor(n))
                .find(free)
                .ok_or(StoreError::AlreadyExists)?,
        };
        let size_bytes = bytes.len() as u64;
        let info = ObjectInfo {
            size_bytes,
            etag: format!("\"{digest}\""),
            modified: SystemTime::now(),
            content_type: request.content_type,
            file_name: request.file_name,
            digest: Some(digest),
        };
        objects.insert(key.as_str().to_owned(), Kept { bytes, info });
        Ok(Stored {
            key,
            size_bytes,
            digest,
        })
    }

    async fn get(&self, key: &StoreKey, options: GetOptions) -> Result<Object, StoreError> {
        let Kept { bytes, info } = self.find(key)?;
        if options.if_match.is_some_and(|etag| etag != info.etag) {
            return Err(StoreError::PreconditionFailed);
        }
        let size_bytes = info.size_bytes;
        let range = match options.range {
            None => None,
            Some(range) => Some(
                range
                    .resolve(size_bytes)
                    .ok_or(StoreError::RangeNotSatisfiable { size_bytes })?,
            ),
        };
        let wanted = match range {
            None => bytes,
            Some((first, last)) => bytes.slice(offset(first)..=offset(last)),
        };
        Ok(Object {
            info,
            range,
            body: Box::pin(stream::iter([Ok(wanted)])),
        })
    }

    async fn head(&self, key: &StoreKey) -> Result<ObjectInfo, StoreError> {
        Ok(self.find(key)?.info)
    }

    async fn copy(&self, from: &StoreKey, to: &StoreKey) -> Result<(), StoreError> {
        let mut objects = self.lock();
        let source = objects.get(from.as_str()).cloned();
        let source = source.ok_or(StoreError::NotFound)?;
        if objects.contains_key(to.as_str()) {
            return Err(StoreError::AlreadyExists);
        }
        objects.insert(to.as_str().to_owned(), source);
        Ok(())
    }

    async fn delete(&self, key: &StoreKey) -> Result<(), StoreError> {
        self.lock().remove(key.as_str());
        Ok(())
    }

    async fn delete_prefix(&self, prefix: &str) -> Result<u64, StoreError> {
        let mut objects = self.lock();
        let before = objects.len();
        objects.retain(|key, _| !key.starts_with(prefix));
        Ok((before - objects.len()) as u64)
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let objects = self.lock();
        let mut matching = objects
            .iter()
            .filter(|(key, _)| key.starts_with(prefix))
            .filter(|(key, _)| after.is_none_or(|after| key.as_str() > after));
        let entries = matching
            .by_ref()
            .take(limit)
            .map(|(key, kept)| Entry {
                key: key.clone(),
                size_bytes: kept.info.size_bytes,
                modified: kept.info.modified,
                digest: kept.info.digest,
            })
            .collect();
        Ok(Page {
            entries,
            more: matching.next().is_some(),
        })
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

async fn receive(payload: Payload) -> Result<Bytes, PayloadError> {
    let bytes: Vec<u8> = payload
        .stream
        .try_fold(Vec::new(), async |mut all, chunk| {
            all.extend_from_slice(&chunk);
            Ok(all)
        })
        .await?;
    match payload.length {
        Some(length) if length != bytes.len() as u64 => Err(PayloadError::WrongLength),
        _ => Ok(bytes.into()),
    }
}

fn offset(at: u64) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::key::Layout;
    use crate::storage::{contract, model};

    #[tokio::test]
    async fn the_model_keeps_the_contract() {
        let layout = Layout::new("user001", None, None).unwrap();
        contract::run(Arc::new(MemoryStore::default()), &layout).await;
    }

    #[tokio::test]
    async fn the_model_agrees_with_itself() {
        let layout = Layout::new("user001", None, None).unwrap();
        model::run_random(Arc::new(MemoryStore::default()), &layout, 1, 2_000).await;
    }
}
