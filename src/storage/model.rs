//! Random operations on a store, each held against what the [`MemoryStore`]
//! answers to the same. Test support, not used by the running program.
//!
//! A run is wholly determined by its seed, which a failure names.

#![allow(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "a failed expectation is what a test reports"
)]

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};

use super::contract::{collect, may_stand_for, pattern, stalling_payload};
use super::memory::MemoryStore;
use super::{
    BlobStore, ByteRange, GetOptions, ObjectInfo, Payload, PayloadError, PutMode, PutRequest,
    StoreError, Stored,
};
use crate::digest::Digest;
use crate::key::{FileKey, Layout, StoreKey};

/// Few, so that operations meet, and none that is a directory of another.
const NAMES: [&str; 9] = [
    "1_a",
    "2_a",
    "d/1_a",
    "d/9_b",
    "e-x",
    "e.d/1_a",
    "d/e/f/1_c",
    "日本 語/4 100%+.txt",
    "日本 語/9",
];
/// Most objects are small; some take several chunks.
const SIZES: [usize; 8] = [0, 1, 10, 100, 1000, 1001, 70_000, 600_000];

/// Runs `operations` random operations on `store`, in a folder of their own.
///
/// # Panics
/// When the store answers otherwise than the model; the message names the
/// seed, the step and the operation.
pub async fn run_random(store: Arc<dyn BlobStore>, layout: &Layout, seed: u64, operations: usize) {
    let mut trial = Trial::new(store, layout, seed);
    let everything = Operation::DeletePrefix(trial.folder.clone());
    outcome(&*trial.store, &everything).await.unwrap();
    for step in 0..operations {
        let operation = trial.draw().await;
        if let Err(difference) = trial.run(&operation).await {
            panic!("seed {seed}, step {step}: {operation:?}\n{difference}");
        }
    }
    for key in trial.keys().await {
        let operation = Operation::Get(key, None, Match::Any);
        trial.run(&operation).await.unwrap();
    }
    trial.run(&everything).await.unwrap();
}

/// Runs a thousand short sequences of random operations, some at once.
///
/// # Panics
/// As [`run_random`] does.
pub async fn run_thousand(store: Arc<dyn BlobStore>, layout: &Layout) {
    let run = |seed| run_random(Arc::clone(&store), layout, seed, 12);
    stream::iter(1_000..2_000).for_each_concurrent(8, run).await;
}

#[derive(Clone, Debug)]
enum Operation {
    Put(PutRequest, Body),
    Get(StoreKey, Option<ByteRange>, Match),
    Head(StoreKey),
    Copy(StoreKey, StoreKey),
    Rename(StoreKey, StoreKey),
    Delete(StoreKey),
    DeletePrefix(String),
    List(String, Option<String>, usize),
}

#[derive(Clone, Debug)]
struct Body {
    seed: u64,
    size: usize,
    fault: Option<Fault>,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Digest,
    TooShort,
    TooLong,
    Broken,
    Dropped,
}

#[derive(Clone, Copy, Debug)]
enum Match {
    Any,
    Current,
    Stale,
}

/// What an operation answered, as far as all stores must agree on it.
#[derive(Debug, PartialEq)]
enum Answer {
    Done,
    Put(Stored),
    Info(Headers),
    Body(Headers, Option<(u64, u64)>, Vec<u8>),
    Removed(u64),
    Listed(Vec<(String, u64)>, bool),
}

#[derive(Debug, PartialEq)]
struct Headers {
    size_bytes: u64,
    content_type: Option<String>,
    file_name: Option<String>,
    digest: Option<Digest>,
}

impl From<ObjectInfo> for Headers {
    fn from(info: ObjectInfo) -> Self {
        Self {
            size_bytes: info.size_bytes,
            content_type: info.content_type,
            file_name: info.file_name,
            digest: info.digest,
        }
    }
}

struct Trial {
    store: Arc<dyn BlobStore>,
    model: MemoryStore,
    layout: Layout,
    folder: String,
    numbers: Numbers,
    /// Which bytes each `ETag` of each key has stood for.
    etags: HashMap<(StoreKey, String), Option<Digest>>,
}

impl Trial {
    fn new(store: Arc<dyn BlobStore>, layout: &Layout, seed: u64) -> Self {
        Self {
            store,
            model: MemoryStore::default(),
            layout: layout.clone(),
            folder: format!("{}random-{seed}/", layout.folder()),
            numbers: Numbers::new(seed),
            etags: HashMap::new(),
        }
    }

    /// The keys of all objects there are.
    async fn keys(&self) -> Vec<StoreKey> {
        let page = self.model.list("", None, usize::MAX).await.unwrap();
        let keys = page.entries.iter();
        let own = |key: &str| self.layout.file_of(key).unwrap();
        keys.map(|entry| self.layout.file(&own(&entry.key)).unwrap())
            .collect()
    }

    async fn draw(&mut self) -> Operation {
        let (key, other) = (self.draw_key().await, self.draw_key().await);
        match self.numbers.below(20) {
            0..8 => self.draw_put(key),
            8..11 => self.draw_get(key),
            11 => Operation::Head(key),
            12 => Operation::Copy(key, other),
            13 | 14 => Operation::Rename(key, other),
            15 | 16 => Operation::Delete(key),
            17 if self.numbers.below(4) == 0 => Operation::DeletePrefix(self.draw_prefix(&key)),
            _ => {
                let after = self.numbers.below(2) == 0;
                let limit = 1 + self.numbers.below(6);
                let after = after.then(|| other.as_str().to_owned());
                Operation::List(self.draw_prefix(&key), after, limit)
            }
        }
    }

    /// A key of the small space, or one that an upload has moved on to.
    async fn draw_key(&mut self) -> StoreKey {
        let present = self.keys().await;
        if !present.is_empty() && self.numbers.below(2) == 0 {
            return self.numbers.pick(&present);
        }
        let suffix = self.folder.strip_prefix(self.layout.folder()).unwrap();
        let name = format!("{suffix}{}", self.numbers.pick(&NAMES));
        self.layout.file(&FileKey::parse(&name).unwrap()).unwrap()
    }

    /// What some keys begin with, down to the trial's whole folder.
    fn draw_prefix(&mut self, key: &StoreKey) -> String {
        let name = key.as_str().strip_prefix(&self.folder).unwrap();
        let kept = self.numbers.below(name.chars().count() + 1);
        let prefix: String = name.chars().take(kept).collect();
        format!("{}{prefix}", self.folder)
    }

    fn draw_put(&mut self, key: StoreKey) -> Operation {
        let modes = [
            PutMode::Overwrite,
            PutMode::CreateOnly,
            PutMode::FirstFree,
            PutMode::FirstFree,
        ];
        let faults = [
            Fault::Digest,
            Fault::TooShort,
            Fault::TooLong,
            Fault::Broken,
            Fault::Dropped,
        ];
        let body = Body {
            seed: self.numbers.draw(),
            size: self.numbers.pick(&SIZES),
            fault: (self.numbers.below(3) == 0).then(|| self.numbers.pick(&faults)),
        };
        let bytes = pattern(body.seed, body.size);
        let expected_digest = match body.fault {
            Some(Fault::Digest) => Some(Digest::of(b"other")),
            _ => (self.numbers.below(2) == 0).then(|| Digest::of(&bytes)),
        };
        // Without a type each server would guess one of its own.
        let types = ["text/plain", "image/png"];
        let names = [None, Some("a.txt"), Some("添付 \"1\".txt")];
        let request = PutRequest {
            content_type: Some(self.numbers.pick(&types).to_owned()),
            file_name: self.numbers.pick(&names).map(str::to_owned),
            expected_digest,
            ..PutRequest::new(key, self.numbers.pick(&modes))
        };
        Operation::Put(request, body)
    }

    fn draw_get(&mut self, key: StoreKey) -> Operation {
        let size = self.numbers.pick(&SIZES);
        let first = self.numbers.below(size + 1) as u64;
        let last = first + self.numbers.below(size + 1) as u64;
        let range = match self.numbers.below(6) {
            0 => Some(ByteRange::From(first)),
            1 => Some(ByteRange::Inclusive(first, last)),
            2 => Some(ByteRange::Last(first)),
            _ => None,
        };
        let matches = match range {
            None => [Match::Any, Match::Current, Match::Stale],
            Some(_) => [Match::Any, Match::Current, Match::Current],
        };
        Operation::Get(key, range, self.numbers.pick(&matches))
    }

    /// Runs an operation on both stores and says how they differ, if they do.
    async fn run(&mut self, operation: &Operation) -> Result<(), String> {
        let got = outcome(&*self.store, operation).await;
        let expected = self.expected(operation, &got).await?;
        if let (Operation::Rename(from, to), Ok(Answer::Done), Err(_)) =
            (operation, &got, &expected)
        {
            return self.finish_move(from, to).await;
        }
        if !agree(operation, &got, &expected) {
            return Err(format!("answers {got:?}\nand not {expected:?}"));
        }
        match operation {
            Operation::Head(key) => self.check_etag(key).await,
            _ => Ok(()),
        }
    }

    /// A store may take a target that is a copy of the source for what an
    /// earlier try of the same move has left.
    async fn finish_move(&self, from: &StoreKey, to: &StoreKey) -> Result<(), String> {
        let (source, target) = tokio::join!(self.model.head(from), self.model.head(to));
        let headers = |info: Result<ObjectInfo, StoreError>| info.ok().map(Headers::from);
        let (source, target) = (headers(source), headers(target));
        if from == to || source.is_none() || source != target {
            return Err(format!("moved {from} onto {to}"));
        }
        self.model
            .delete(from)
            .await
            .map_err(|error| error.to_string())
    }

    /// What the model answers. Which free name an upload moves on to is the
    /// store's choice, and the model's after it.
    async fn expected(
        &self,
        operation: &Operation,
        got: &Result<Answer, String>,
    ) -> Result<Result<Answer, String>, String> {
        let Operation::Put(request, body) = operation else {
            return Ok(outcome(&self.model, operation).await);
        };
        let mut request = request.clone();
        if let (PutMode::FirstFree, Ok(Answer::Put(stored))) = (request.mode, got) {
            if !may_stand_for(&request.key, &stored.key) {
                return Err(format!("took the name {}", stored.key));
            }
            request.key = stored.key.clone();
            request.mode = PutMode::CreateOnly;
        }
        Ok(outcome(&self.model, &Operation::Put(request, body.clone())).await)
    }

    async fn check_etag(&mut self, key: &StoreKey) -> Result<(), String> {
        let Ok(info) = self.store.head(key).await else {
            return Ok(());
        };
        let digest = self.model.head(key).await.unwrap().digest;
        let before = self.etags.insert((key.clone(), info.etag), digest);
        match before {
            Some(before) if before != digest => Err("gave other bytes the same ETag".to_owned()),
            _ => Ok(()),
        }
    }
}

/// Where two errors are due, either may be told.
fn agree(
    operation: &Operation,
    got: &Result<Answer, String>,
    expected: &Result<Answer, String>,
) -> bool {
    match (operation, got, expected) {
        (Operation::Put(_, Body { fault: Some(_), .. }), Err(got), Err(_)) => {
            got == "AlreadyExists" || got.starts_with("Payload")
        }
        (Operation::Copy(..) | Operation::Rename(..), Err(got), Err(_)) => {
            got == "AlreadyExists" || got == "NotFound"
        }
        (_, Ok(Answer::Listed(got, more)), Ok(Answer::Listed(expected, more_expected))) => {
            got == expected && (*more || !more_expected)
        }
        _ => got == expected,
    }
}

async fn outcome(store: &dyn BlobStore, operation: &Operation) -> Result<Answer, String> {
    answer(store, operation)
        .await
        .map_err(|error| format!("{error:?}"))
}

async fn answer(store: &dyn BlobStore, operation: &Operation) -> Result<Answer, StoreError> {
    Ok(match operation {
        Operation::Put(request, body) => return put(store, request.clone(), body).await,
        Operation::Get(key, range, matching) => {
            let options = GetOptions {
                range: *range,
                if_match: match matching {
                    Match::Any => None,
                    Match::Current => store.head(key).await.ok().map(|info| info.etag),
                    Match::Stale => Some("\"stale\"".to_owned()),
                },
            };
            let object = store.get(key, options).await?;
            let (headers, range) = (object.info.clone().into(), object.range);
            Answer::Body(headers, range, collect(object).await?)
        }
        Operation::Head(key) => Answer::Info(store.head(key).await?.into()),
        Operation::Copy(from, to) => store.copy(from, to).await.map(|()| Answer::Done)?,
        Operation::Rename(from, to) => store.rename(from, to).await.map(|()| Answer::Done)?,
        Operation::Delete(key) => store.delete(key).await.map(|()| Answer::Done)?,
        Operation::DeletePrefix(prefix) => Answer::Removed(store.delete_prefix(prefix).await?),
        Operation::List(prefix, after, limit) => {
            let page = store.list(prefix, after.as_deref(), *limit).await?;
            let entries = page.entries.into_iter();
            let entries = entries.map(|entry| (entry.key, entry.size_bytes));
            Answer::Listed(entries.collect(), page.more)
        }
    })
}

async fn put(
    store: &dyn BlobStore,
    request: PutRequest,
    body: &Body,
) -> Result<Answer, StoreError> {
    let bytes = pattern(body.seed, body.size);
    let mut payload = Payload::from_bytes(bytes.clone());
    match body.fault {
        None | Some(Fault::Digest) => {}
        Some(Fault::TooShort) => payload.length = Some(body.size as u64 + 1),
        Some(Fault::TooLong) => {
            payload.length = Some(body.size as u64);
            let surplus = stream::iter([Ok("surplus".into())]);
            payload.stream = payload.stream.chain(surplus).boxed();
        }
        Some(Fault::Broken) => {
            let broken = stream::iter([Err(PayloadError::Interrupted)]);
            payload.stream = payload.stream.chain(broken).boxed();
        }
        Some(Fault::Dropped) => {
            let (payload, taken) = stalling_payload(bytes);
            return tokio::select! {
                put = store.put(request, payload) => put.map(Answer::Put),
                _ = taken => Ok(Answer::Done),
            };
        }
    }
    store.put(request, payload).await.map(Answer::Put)
}

/// A small generator of numbers (splitmix64), the same on every machine.
pub(super) struct Numbers(u64);

impl Numbers {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.draw() % bound as u64).unwrap()
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
}
