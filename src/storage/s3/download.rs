//! Downloads: one ranged GET for what fits a part; for more, ranges read ahead
//! in parallel and handed out in order; resumed when a body breaks; and never
//! ended as if complete when it is not.

use std::collections::VecDeque;
use std::time::Duration;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumMode;
use aws_smithy_types::DateTime;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures_util::stream;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use super::put::DIGEST;
use super::{S3Store, claim, error};
use crate::key::StoreKey;
use crate::storage::buffer::Buffer;
use crate::storage::verify::{Expected, Verifier};
use crate::storage::{ByteRange, GetOptions, Object, ObjectInfo, StoreError, stored_name};

/// How often a body is taken up again without a byte of progress.
const MAX_RESUMES: u32 = 5;
/// The wait before the first of them; doubled each time.
const RESUME_BACKOFF: Duration = Duration::from_millis(100);
/// Buffered ranges are handed out in slices, so that no step takes long.
const SLICE_BYTES: usize = 256 * 1024;

impl S3Store {
    pub(super) async fn describe(&self, key: &StoreKey) -> Result<ObjectInfo, StoreError> {
        let head = self.bucket.client.head_object();
        let head = head.bucket(&self.bucket.name).key(key.as_str());
        match head.send().await.map_err(error::meaning) {
            Ok(output) => {
                let _ = self.bucket.seen.set(());
                info_of_head(output)
            }
            Err(StoreError::NotFound) => Err(self.not_found().await),
            Err(error) => Err(error),
        }
    }

    /// The answer to HEAD has no text, so a missing bucket looks just like a
    /// missing object; until one object has been seen the bucket is asked for.
    async fn not_found(&self) -> StoreError {
        if self.bucket.seen.initialized() {
            return StoreError::NotFound;
        }
        match self.list_objects(self.layout.folder(), None, 1).await {
            Ok(_) => {
                let _ = self.bucket.seen.set(());
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
        let range = match options.range {
            // Where a long tail begins is not known, and parts of it are to be
            // read in parallel.
            Some(ByteRange::Last(count)) if count > self.part_bytes() => {
                let size_bytes = self.describe(key).await?.size_bytes;
                Some(ByteRange::From(size_bytes.saturating_sub(count)))
            }
            range => range,
        };
        let first = self.first_range(range);
        match self
            .open(key, Some(first), options.if_match.as_deref())
            .await
        {
            Ok(output) => self.object(key, range, output),
            Err(StoreError::RangeNotSatisfiable { .. }) => {
                let info = self.describe(key).await?;
                match range {
                    None if info.size_bytes == 0 => Ok(empty(info)),
                    None => Err(StoreError::Unavailable("S3 refused a range".into())),
                    Some(_) => Err(StoreError::RangeNotSatisfiable {
                        size_bytes: info.size_bytes,
                    }),
                }
            }
            Err(error) => Err(error),
        }
    }

    fn part_bytes(&self) -> u64 {
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

    async fn open(
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
        if received.start != first || size_bytes == 0 {
            // A server that ignores ranges sends the object from its start.
            return match range {
                None => Ok(empty(info)),
                Some(_) => Err(StoreError::Unavailable("S3 ignored a range".into())),
            };
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
            current: Segment::Streaming(Box::new(Streaming {
                source: source.clone(),
                position: first,
                end: received.end.min(last + 1),
                body: Some(body),
            })),
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

/// The object that is being read: every request for more of it makes sure that
/// it is still the same.
#[derive(Clone)]
struct Source {
    store: S3Store,
    key: StoreKey,
    etag: String,
}

impl Source {
    async fn open(&self, first: u64, last: u64) -> Result<ByteStream, StoreError> {
        let range = ByteRange::Inclusive(first, last);
        let output = self
            .store
            .open(&self.key, Some(range), Some(&self.etag))
            .await?;
        let (received, _) = received_range(&output)?;
        if received.start != first {
            return Err(StoreError::Unavailable("S3 sent another range".into()));
        }
        Ok(output.body)
    }

    /// Knows the whole object again by the digest in its metadata or, for a
    /// large upload whose digest was not known beforehand, by the checksum
    /// that S3 keeps, which costs one HEAD among the many requests.
    fn verifier(&self, info: &ObjectInfo) -> Verifier {
        let large = info.size_bytes > self.store.part_bytes();
        let source = self.clone();
        Verifier::new(match info.digest {
            Some(digest) => Expected::Digest(digest),
            None if large && self.store.bucket.options.checksums => {
                Expected::Crc64(AbortOnDropHandle::new(tokio::spawn(
                    async move { source.stored_crc64().await }.in_current_span(),
                )))
            }
            None => Expected::Nothing,
        })
    }

    async fn stored_crc64(&self) -> Option<u64> {
        let head = self.store.bucket.client.head_object();
        let head = head.bucket(&self.store.bucket.name).key(self.key.as_str());
        let head = head
            .if_match(&self.etag)
            .checksum_mode(ChecksumMode::Enabled);
        let encoded = head.send().await.ok()?.checksum_crc64_nvme?;
        let bytes = BASE64.decode(encoded).ok()?;
        Some(u64::from_be_bytes(bytes.try_into().ok()?))
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
            if let Some(previous) = verifier.push(bytes) {
                self.verifier = Some(verifier);
                return Ok(Some(previous));
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
            let streaming = Streaming::of(self.source.clone(), range);
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
        let streaming = Streaming::of(self.source.clone(), range);
        Some(Segment::Streaming(Box::new(streaming)))
    }
}

/// A range that is read byte by byte, and taken up again where it broke.
struct Streaming {
    source: Source,
    position: u64,
    end: u64,
    body: Option<ByteStream>,
}

impl Streaming {
    fn of(source: Source, range: std::ops::Range<u64>) -> Self {
        Self {
            source,
            position: range.start,
            end: range.end,
            body: None,
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        let mut resumes = 0;
        while self.position < self.end {
            let broken = match self.try_next().await {
                Ok(bytes) => {
                    self.position += bytes.len() as u64;
                    return Ok(Some(bytes));
                }
                Err(StoreError::Unavailable(detail)) => detail,
                // It is not the same object any more.
                Err(StoreError::NotFound | StoreError::PreconditionFailed) => {
                    return Err(StoreError::PreconditionFailed);
                }
                Err(error) => return Err(error),
            };
            self.body = None;
            if resumes == MAX_RESUMES {
                return Err(StoreError::Unavailable(broken));
            }
            tracing::info!(detail = broken, "a download from S3 broke and is resumed");
            tokio::time::sleep(RESUME_BACKOFF * 2u32.pow(resumes)).await;
            resumes += 1;
        }
        Ok(None)
    }

    async fn try_next(&mut self) -> Result<Bytes, StoreError> {
        let idle = self.source.store.bucket.options.idle_body;
        let body = match &mut self.body {
            Some(body) => body,
            none => none.insert(self.source.open(self.position, self.end - 1).await?),
        };
        let broken = |detail: &str| StoreError::Unavailable(detail.to_owned());
        match tokio::time::timeout(idle, body.next()).await {
            Ok(Some(Ok(bytes))) if bytes.len() as u64 > self.end - self.position => {
                Err(StoreError::Corrupt)
            }
            Ok(Some(Ok(bytes))) => Ok(bytes),
            Ok(Some(Err(error))) => Err(broken(&error::chain(&error))),
            Ok(None) => Err(broken("the body ended early")),
            Err(_) => Err(broken("the body stalled")),
        }
    }

    async fn collect(mut self, mut buffer: Buffer) -> Result<Bytes, StoreError> {
        while let Some(bytes) = self.next().await? {
            buffer.fill(&bytes);
        }
        Ok(buffer.freeze())
    }
}

fn empty(info: ObjectInfo) -> Object {
    Object {
        info,
        range: None,
        body: Box::pin(stream::empty()),
    }
}

/// Which bytes an answer has, and the size of the whole object.
fn received_range(output: &GetObjectOutput) -> Result<(std::ops::Range<u64>, u64), StoreError> {
    let Some(text) = output.content_range() else {
        let size_bytes = unsigned(output.content_length())?;
        return Ok((0..size_bytes, size_bytes));
    };
    let parse = || {
        let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        Some((first..last.checked_add(1)?, size.parse().ok()?))
    };
    parse().ok_or_else(|| StoreError::Unavailable(format!("S3 sent Content-Range: {text}")))
}

fn info_of_head(output: HeadObjectOutput) -> Result<ObjectInfo, StoreError> {
    info(
        unsigned(output.content_length)?,
        output.e_tag,
        output.last_modified,
        output.content_type,
        output.content_disposition.as_deref(),
        output.metadata,
    )
}

fn info_of_get(
    output: GetObjectOutput,
    size_bytes: u64,
) -> Result<(ObjectInfo, ByteStream), StoreError> {
    let info = info(
        size_bytes,
        output.e_tag,
        output.last_modified,
        output.content_type,
        output.content_disposition.as_deref(),
        output.metadata,
    )?;
    Ok((info, output.body))
}

fn info(
    size_bytes: u64,
    etag: Option<String>,
    modified: Option<DateTime>,
    content_type: Option<String>,
    content_disposition: Option<&str>,
    metadata: Option<std::collections::HashMap<String, String>>,
) -> Result<ObjectInfo, StoreError> {
    let metadata = metadata.unwrap_or_default();
    if metadata.contains_key(claim::METADATA) {
        return Err(StoreError::NotFound);
    }
    let modified = modified.and_then(|time| time.try_into().ok());
    Ok(ObjectInfo {
        size_bytes,
        etag: etag.ok_or_else(|| StoreError::Unavailable("S3 sent no ETag".into()))?,
        modified: modified.unwrap_or(std::time::UNIX_EPOCH),
        content_type,
        file_name: content_disposition.and_then(stored_name::parse_stored),
        digest: metadata.get(DIGEST).and_then(|digest| digest.parse().ok()),
    })
}

pub(super) fn unsigned(length: Option<i64>) -> Result<u64, StoreError> {
    length
        .and_then(|length| u64::try_from(length).ok())
        .ok_or_else(|| StoreError::Unavailable("S3 sent no length".into()))
}
