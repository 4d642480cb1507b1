//! Downloads: one ranged GET for what fits a part; for more, ranges read ahead
//! in parallel and handed out in order; and never ended as if complete when
//! they are not.

use std::collections::VecDeque;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use bytes::Bytes;
use futures_util::stream;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use super::answer::{info_of_get, info_of_head, received_range};
use super::streaming::{Source, Streaming};
use super::{S3Store, error};
use crate::key::StoreKey;
use crate::storage::buffer::Buffer;
use crate::storage::verify::Verifier;
use crate::storage::{ByteRange, GetOptions, Object, ObjectInfo, StoreError};

/// Buffered ranges are handed out in slices, so that no step takes long.
const SLICE_BYTES: usize = 256 * 1024;

impl S3Store {
    pub(super) async fn describe(&self, key: &StoreKey) -> Result<ObjectInfo, StoreError> {
        let head = self.head_request(key.as_str());
        match head.send().await.map_err(error::meaning) {
            Ok(output) => {
                let _ = self.bucket.known.seen.set(());
                info_of_head(output)
            }
            Err(StoreError::NotFound) => Err(self.not_found().await),
            Err(error) => Err(self.unless_missing(key, error).await),
        }
    }

    /// Who may list only under a condition on the prefix, as a tenant's role
    /// may, is refused an object that is missing just as one that is not
    /// theirs: S3 answers 404 only to who may list without condition. A list of
    /// that one key tells.
    async fn unless_missing(&self, key: &StoreKey, error: StoreError) -> StoreError {
        if !matches!(error, StoreError::Forbidden(_)) {
            return error;
        }
        match self.list_all_objects(key.as_str(), None, 1).await {
            Ok(page) if page.entries.first().is_none_or(|it| it.key != key.as_str()) => {
                StoreError::NotFound
            }
            _ => error,
        }
    }

    /// The answer to HEAD has no text, so a missing bucket looks just like a
    /// missing object; until one object has been seen the bucket is asked for.
    async fn not_found(&self) -> StoreError {
        if self.bucket.known.seen.initialized() {
            return StoreError::NotFound;
        }
        match self.list_objects(self.layout.folder(), None, 1).await {
            Ok(_) => {
                let _ = self.bucket.known.seen.set(());
                StoreError::NotFound
            }
            Err(error) => error,
        }
    }

    pub(super) async fn download(
        &self,
        key: &StoreKey,
        options: GetOptions,
    ) -> Result<Object, StoreError> {
        // What is seldom needed is boxed: each request to S3 is a future of many
        // KB, and they would all be a part of this one.
        let mut if_match = options.if_match;
        let range = match options.range {
            // Where a long tail begins is not known, and parts of it are to be
            // read in parallel.
            Some(ByteRange::Last(count)) if count > self.part_bytes() => {
                let info = Box::pin(self.describe(key)).await?;
                if_match = if_match.or(Some(info.etag));
                Some(ByteRange::From(info.size_bytes.saturating_sub(count)))
            }
            range => range,
        };
        let first = self.first_range(range);
        match self.open(key, Some(first), if_match.as_deref()).await {
            Ok(output) => self.object(key, range, output),
            Err(StoreError::RangeNotSatisfiable { .. }) => {
                let info = Box::pin(self.describe(key)).await?;
                match range {
                    None if info.size_bytes == 0 => Ok(empty(info)),
                    None => Err(StoreError::Unavailable("S3 refused a range".into())),
                    Some(_) => Err(StoreError::RangeNotSatisfiable {
                        size_bytes: info.size_bytes,
                    }),
                }
            }
            Err(error) => Err(Box::pin(self.unless_missing(key, error)).await),
        }
    }

    pub(super) fn part_bytes(&self) -> u64 {
        self.bucket.options.part_bytes as u64
    }

    /// The first part of what is wanted. Asking for a range at once, instead
    /// of all, costs nothing and leaves the rest to be read in parallel.
    fn first_range(&self, range: Option<ByteRange>) -> ByteRange {
        let part = self.part_bytes();
        let upto = |first: u64| first.saturating_add(part - 1);
        match range {
            None => ByteRange::Inclusive(0, upto(0)),
            Some(ByteRange::From(first)) => ByteRange::Inclusive(first, upto(first)),
            Some(ByteRange::Inclusive(first, last)) => {
                ByteRange::Inclusive(first, last.min(upto(first)))
            }
            Some(last) => last,
        }
    }

    pub(super) async fn open(
        &self,
        key: &StoreKey,
        range: Option<ByteRange>,
        if_match: Option<&str>,
    ) -> Result<GetObjectOutput, StoreError> {
        let range = range.map(|range| match range {
            ByteRange::From(first) => format!("bytes={first}-"),
            ByteRange::Inclusive(first, last) => format!("bytes={first}-{last}"),
            ByteRange::Last(count) => format!("bytes=-{count}"),
        });
        let get = self.bucket.client.get_object();
        get.bucket(&self.bucket.name)
            .key(key.as_str())
            .set_range(range)
            .set_if_match(if_match.map(str::to_owned))
            .send()
            .await
            .map_err(error::meaning)
    }

    /// Makes the object out of the answer to the first range.
    fn object(
        &self,
        key: &StoreKey,
        range: Option<ByteRange>,
        output: GetObjectOutput,
    ) -> Result<Object, StoreError> {
        let (received, size_bytes) = received_range(&output)?;
        let (info, body) = info_of_get(output, size_bytes)?;
        let wanted = match range {
            None => Some((0, size_bytes.saturating_sub(1))),
            Some(range) => range.resolve(size_bytes),
        };
        let Some((first, last)) = wanted else {
            return Err(StoreError::RangeNotSatisfiable { size_bytes });
        };
        if size_bytes == 0 {
            return Ok(empty(info));
        }
        // A server that ignores ranges sends the object from its start.
        if received.start != first {
            return Err(StoreError::Unavailable("S3 sent another range".into()));
        }
        let source = Source {
            store: self.clone(),
            key: key.clone(),
            etag: info.etag.clone(),
        };
        let whole = range.is_none() || (first == 0 && last + 1 == size_bytes);
        let verifier = whole.then(|| source.verifier(&info));
        let body = Download {
            next_offset: received.end.min(last + 1),
            end: last + 1,
            ahead: VecDeque::new(),
            current: Segment::Streaming(Box::new(Streaming::new(
                source.clone(),
                first..received.end.min(last + 1),
                Some(body),
            ))),
            source,
            verifier,
        };
        Ok(Object {
            range: range.map(|_| (first, last)),
            body: Box::pin(stream::try_unfold(body, |mut body| async {
                Ok(body.next().await?.map(|bytes| (bytes, body)))
            })),
            info,
        })
    }
}

/// A body being handed out.
struct Download {
    source: Source,
    /// Where the first range begins that nobody has asked for.
    next_offset: u64,
    end: u64,
    current: Segment,
    ahead: VecDeque<Segment>,
    verifier: Option<Verifier>,
}

/// A range of the body.
enum Segment {
    /// Passed on as it comes, with no memory of its own.
    Streaming(Box<Streaming>),
    /// Being read ahead into a buffer.
    Prefetching(AbortOnDropHandle<Result<Bytes, StoreError>>),
    /// Read ahead.
    Buffered(Bytes),
}

impl Download {
    /// The next bytes, verified; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        let Some(mut verifier) = self.verifier.take() else {
            return self.next_unverified().await;
        };
        // The last bytes are held back until all are known to be right: a
        // client that has them all can trust them.
        loop {
            let Some(bytes) = self.next_unverified().await? else {
                return verifier.finish().await;
            };
            if let Some(bytes) = verifier.push(bytes) {
                self.verifier = Some(verifier);
                return Ok(Some(bytes));
            }
        }
    }

    async fn next_unverified(&mut self) -> Result<Option<Bytes>, StoreError> {
        loop {
            self.read_ahead();
            let bytes = match &mut self.current {
                Segment::Streaming(streaming) => streaming.next().await?,
                Segment::Prefetching(task) => {
                    let bytes = task.await.map_err(|error| {
                        StoreError::Unavailable(format!("reading ahead failed: {error}"))
                    })??;
                    self.current = Segment::Buffered(bytes);
                    continue;
                }
                Segment::Buffered(bytes) => {
                    let slice = bytes.split_to(bytes.len().min(SLICE_BYTES));
                    (!slice.is_empty()).then_some(slice)
                }
            };
            if bytes.is_some() {
                return Ok(bytes);
            }
            match self.ahead.pop_front().or_else(|| self.next_streaming()) {
                Some(segment) => self.current = segment,
                None => return Ok(None),
            }
        }
    }

    /// Starts to read ahead as far as memory can be spared: what a slow reader
    /// holds is missing elsewhere, and no download needs it to go on.
    fn read_ahead(&mut self) {
        let options = &self.source.store.bucket.options;
        while self.ahead.len() + 1 < options.parallel_parts && self.next_offset < self.end {
            let range =
                self.next_offset..self.end.min(self.next_offset + options.part_bytes as u64);
            let Ok(len) = usize::try_from(range.end - range.start) else {
                return;
            };
            let Some(buffer) = Buffer::try_acquire(&self.source.store.share, len) else {
                return;
            };
            self.next_offset = range.end;
            let streaming = Streaming::new(self.source.clone(), range, None);
            let task = tokio::spawn(streaming.collect(buffer).in_current_span());
            self.ahead
                .push_back(Segment::Prefetching(AbortOnDropHandle::new(task)));
        }
    }

    /// The next range without memory to read it ahead.
    fn next_streaming(&mut self) -> Option<Segment> {
        if self.next_offset >= self.end {
            return None;
        }
        let part_bytes = self.source.store.part_bytes();
        let range = self.next_offset..self.end.min(self.next_offset + part_bytes);
        self.next_offset = range.end;
        let streaming = Streaming::new(self.source.clone(), range, None);
        Some(Segment::Streaming(Box::new(streaming)))
    }
}

fn empty(info: ObjectInfo) -> Object {
    Object {
        info,
        range: None,
        body: Box::pin(stream::empty()),
    }
}
