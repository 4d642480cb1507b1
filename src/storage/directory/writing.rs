//! From a payload to a staged file, with constant memory.
//!
//! While one batch of chunks is hashed and written on a blocking thread, the
//! next is gathered from the sender.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::task::{self, JoinHandle};

use super::staging::{StagedFile, Staging};
use super::{errors, finished};
use crate::storage::{Payload, PayloadError, StoreError};

const BATCH_BYTES: usize = 128 * 1024;
/// A sender of tiny chunks must not make a batch cost far more than its bytes.
const BATCH_CHUNKS: usize = 64;

type Chunks = stream::Fuse<BoxStream<'static, Result<Bytes, PayloadError>>>;
type Writing = JoinHandle<Result<StagedFile, StoreError>>;

/// Writes the whole payload to a staged file, or fails.
pub(super) async fn receive(
    staging: Arc<Staging>,
    payload: Payload,
) -> Result<StagedFile, StoreError> {
    let mut chunks = payload.stream.fuse();
    let mut received_bytes = 0;
    let mut writing: Writing = task::spawn_blocking(move || {
        let created = staging.create();
        created.map_err(|error| errors::write_error(&error))
    });
    loop {
        let batch = next_batch(&mut chunks).await;
        // Awaited before the sender's error is told, so that the file is gone
        // by then.
        let staged = finished(writing).await?;
        let batch = batch?;
        received_bytes += batch.iter().map(|chunk| chunk.len() as u64).sum::<u64>();
        check_length(payload.length, received_bytes, batch.is_empty())?;
        if batch.is_empty() {
            return Ok(staged);
        }
        writing = task::spawn_blocking(move || write(staged, &batch));
    }
}

fn write(mut staged: StagedFile, batch: &[Bytes]) -> Result<StagedFile, StoreError> {
    match staged.write(batch) {
        Ok(()) => Ok(staged),
        Err(error) => Err(errors::write_error(&error)),
    }
}

/// The next chunks; none at the end of the payload.
async fn next_batch(chunks: &mut Chunks) -> Result<Vec<Bytes>, PayloadError> {
    let mut batch = Vec::new();
    let mut batch_bytes = 0;
    while batch_bytes < BATCH_BYTES && batch.len() < BATCH_CHUNKS {
        let Some(chunk) = chunks.try_next().await? else {
            break;
        };
        if !chunk.is_empty() {
            batch_bytes += chunk.len();
            batch.push(chunk);
        }
    }
    Ok(batch)
}

fn check_length(said: Option<u64>, received: u64, complete: bool) -> Result<(), PayloadError> {
    match said {
        Some(said) if received > said || (complete && received != said) => {
            Err(PayloadError::WrongLength)
        }
        _ => Ok(()),
    }
}
