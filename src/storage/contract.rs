//! The suite that every [`BlobStore`] passes: the promises of the trait, one
//! case each. Test support, not used by the running program.
//!
//! Each case keeps to a folder of its own, so that all may run on one store
//! and again on the same one, and clears it when it is done.

#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "a failed expectation is what a test reports"
)]

mod listing;
mod moving;
mod reading;
mod writing;

pub(super) use self::writing::stalling_payload;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, TryStreamExt as _};

use super::{BlobStore, GetOptions, Object, Payload, PutMode, PutRequest, StoreError, Stored};
use crate::key::{FileKey, Layout, StoreKey};

type Case = (&'static str, fn(Bench) -> BoxFuture<'static, ()>);

/// Makes a list of cases from the names of functions.
macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        /// The cases of this theme.
        pub(super) const CASES: &[super::Case] = &[
            $((stringify!($case), |bench| Box::pin($case(bench)))),*
        ];
    };
}
use cases;

/// Runs every case on `store`.
///
/// # Panics
/// When a case fails; the message names it.
pub async fn run(store: Arc<dyn BlobStore>, layout: &Layout) {
    run_except(store, layout, &[]).await;
}

/// Runs the cases but those named, which a server cannot pass.
///
/// # Panics
/// When a case fails; the message names it.
pub async fn run_except(store: Arc<dyn BlobStore>, layout: &Layout, excepted: &[&str]) {
    let themes = [
        writing::CASES,
        reading::CASES,
        moving::CASES,
        listing::CASES,
    ];
    let cases = themes.into_iter().flatten();
    for (name, case) in cases.filter(|(name, _)| !excepted.contains(name)) {
        let bench = Bench {
            store: Arc::clone(&store),
            layout: layout.clone(),
            case: name,
        };
        let folder = bench.folder();
        store.delete_prefix(&folder).await.expect("a clean start");
        let outcome = AssertUnwindSafe(case(bench)).catch_unwind().await;
        assert!(outcome.is_ok(), "the store fails the case `{name}`");
        store.delete_prefix(&folder).await.expect("a clean end");
    }
}

/// A store and a folder of it for one case, with the usual steps of a test.
struct Bench {
    store: Arc<dyn BlobStore>,
    layout: Layout,
    case: &'static str,
}

impl Bench {
    /// What all keys of the case begin with.
    fn folder(&self) -> String {
        format!("{}{}/", self.layout.folder(), self.case)
    }

    fn key(&self, name: &str) -> StoreKey {
        let key = FileKey::parse(&format!("{}/{name}", self.case)).unwrap();
        self.layout.file(&key).unwrap()
    }

    async fn try_put(&self, key: &StoreKey, mode: PutMode, bytes: &[u8]) -> PutOutcome {
        let request = PutRequest::new(key.clone(), mode);
        let payload = Payload::from_bytes(bytes.to_vec());
        self.store.put(request, payload).await
    }

    async fn put(&self, key: &StoreKey, bytes: &[u8]) -> Stored {
        self.try_put(key, PutMode::CreateOnly, bytes)
            .await
            .expect("the key is free")
    }

    async fn open(&self, key: &StoreKey) -> Object {
        let opened = self.store.get(key, GetOptions::default()).await;
        opened.expect("the object is there")
    }

    async fn read(&self, key: &StoreKey) -> Vec<u8> {
        collect(self.open(key).await).await.expect("a whole body")
    }

    async fn is_missing(&self, key: &StoreKey) -> bool {
        matches!(self.store.head(key).await, Err(StoreError::NotFound))
    }

    /// The names of all objects of the case, as `key` takes them.
    async fn names(&self) -> Vec<String> {
        let folder = self.folder();
        let page = self.store.list(&folder, None, 1000).await.unwrap();
        assert!(!page.more);
        let keys = page.entries.iter();
        keys.map(|entry| entry.key.strip_prefix(&folder).unwrap().to_owned())
            .collect()
    }
}

type PutOutcome = Result<Stored, StoreError>;

/// Reads a body to its end.
pub(super) async fn collect(object: Object) -> Result<Vec<u8>, StoreError> {
    object
        .body
        .try_fold(Vec::new(), async |mut all, chunk| {
            all.extend_from_slice(&chunk);
            Ok(all)
        })
        .await
}

/// Bytes in which no two stretches are alike.
pub(super) fn pattern(seed: u64, size: usize) -> Vec<u8> {
    let mut numbers = super::model::Numbers::new(seed);
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        bytes.extend_from_slice(&numbers.draw().to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// True when `got` is a name that may be taken in place of `wanted`: in the
/// same folder, with the same rest behind the number.
pub(super) fn may_stand_for(wanted: &StoreKey, got: &StoreKey) -> bool {
    fn split(key: &StoreKey) -> (&str, &str) {
        key.as_str().rsplit_once('/').unwrap_or(("", key.as_str()))
    }
    let ((wanted_folder, wanted_name), (folder, name)) = (split(wanted), split(got));
    let rest = wanted_name.trim_start_matches(|c: char| c.is_ascii_digit());
    folder == wanted_folder && name.ends_with(rest)
}
