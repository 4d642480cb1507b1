//! What a directory promises beyond the contract of all stores: plain files,
//! several processes on one root, and damage that is seen.

use std::collections::HashSet;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::*;
use crate::digest::Digest;
use crate::key::{FileKey, Layout};
use crate::storage::contract::{self, collect, pattern, stalling_payload};
use crate::storage::{ByteRange, model};

fn layout() -> Layout {
    Layout::new("user001", None, None).unwrap()
}

fn key(text: &str) -> StoreKey {
    layout().file(&FileKey::parse(text).unwrap()).unwrap()
}

struct Bench {
    root: TempDir,
    store: DirectoryStore,
}

impl Bench {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let store = DirectoryStore::open(root.path()).unwrap();
        Self { root, store }
    }

    /// Where the object of a key has its file.
    fn file(&self, text: &str) -> PathBuf {
        let objects = self.root.path().join("objects/user001");
        objects.join(text)
    }

    async fn put(&self, text: &str, mode: PutMode, bytes: &[u8]) -> Result<StoreKey, StoreError> {
        let request = PutRequest::new(key(text), mode);
        let payload = Payload::from_bytes(bytes.to_vec());
        Ok(self.store.put(request, payload).await?.key)
    }

    async fn create(&self, text: &str, bytes: &[u8]) {
        self.put(text, PutMode::CreateOnly, bytes).await.unwrap();
    }

    async fn get(&self, text: &str) -> Result<Object, StoreError> {
        self.store.get(&key(text), GetOptions::default()).await
    }

    async fn read(&self, text: &str) -> Result<Vec<u8>, StoreError> {
        collect(self.get(text).await?).await
    }

    async fn listed(&self) -> Vec<String> {
        let page = self.store.list("user001/", None, 1000).await.unwrap();
        let keys = page.entries.into_iter().map(|entry| entry.key);
        keys.map(|key| key["user001/".len()..].to_owned()).collect()
    }

    /// Every file below `tmp` but the locks.
    fn unfinished(&self) -> Vec<PathBuf> {
        let files = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten();
        files(self.root.path().join("tmp"))
            .flat_map(|process| files(process.path()))
            .map(|file| file.path())
            .filter(|path| !path.ends_with("lock"))
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_directory_keeps_the_contract() {
    let bench = Bench::new();
    contract::run(Arc::new(bench.store.clone()), &layout()).await;
    assert!(!bench.file("").exists(), "empty directories are left");
    wait_until(|| bench.unfinished().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_directory_agrees_with_the_model() {
    let bench = Bench::new();
    for seed in 1..=4 {
        let store = Arc::new(bench.store.clone());
        model::run_random(store, &layout(), seed, 1_000).await;
    }
    model::run_thousand(Arc::new(bench.store.clone()), &layout()).await;
    wait_until(|| bench.unfinished().is_empty()).await;
}

#[tokio::test]
async fn an_object_is_a_plain_file_and_survives_reopening() {
    let bench = Bench::new();
    let request = PutRequest {
        content_type: Some("text/plain".to_owned()),
        file_name: Some("見積.txt".to_owned()),
        ..PutRequest::new(key("2026/11/1_a.txt"), PutMode::FirstFree)
    };
    let put = bench.store.put(request, Payload::from_bytes("abc"));
    put.await.unwrap();
    assert_eq!(fs::read(bench.file("2026/11/1_a.txt")).unwrap(), b"abc");
    let reopened = DirectoryStore::open(bench.root.path()).unwrap();
    let info = reopened.head(&key("2026/11/1_a.txt")).await.unwrap();
    assert_eq!(info.content_type.as_deref(), Some("text/plain"));
    assert_eq!(info.file_name.as_deref(), Some("見積.txt"));
    assert_eq!(info.digest, Some(Digest::of(b"abc")));
}

#[tokio::test]
async fn a_file_copied_in_by_hand_is_an_object() {
    let bench = Bench::new();
    fs::create_dir_all(bench.file("2026/11")).unwrap();
    fs::write(bench.file("2026/11/1_a.txt"), "by hand").unwrap();
    let info = bench.store.head(&key("2026/11/1_a.txt")).await.unwrap();
    assert_eq!((info.size_bytes, info.digest), (7, None));
    assert_eq!(bench.read("2026/11/1_a.txt").await.unwrap(), b"by hand");
    assert_eq!(bench.listed().await, ["2026/11/1_a.txt"]);
    let (from, to) = (key("2026/11/1_a.txt"), key("1_b"));
    bench.store.rename(&from, &to).await.unwrap();
    assert_eq!(bench.read("1_b").await.unwrap(), b"by hand");
    fs::write(bench.file("1_b"), "changed").unwrap();
    let changed = bench.store.head(&key("1_b")).await.unwrap();
    assert_ne!(info.etag, changed.etag);
}

#[tokio::test]
async fn flipped_byte_is_seen_before_the_last_chunk_is_given_out() {
    let bench = Bench::new();
    let mut bytes = pattern(1, 600_000);
    bench.create("a", &bytes).await;
    bytes[3] ^= 1;
    fs::write(bench.file("a"), &bytes).unwrap();
    let mut body = bench.get("a").await.unwrap().body;
    let mut received = 0;
    let error = loop {
        match body.next().await {
            Some(Ok(chunk)) => received += chunk.len(),
            Some(Err(error)) => break error,
            None => panic!("damaged bytes were passed off as whole"),
        }
    };
    assert!(matches!(error, StoreError::Corrupt));
    assert!(received < bytes.len());
}

#[tokio::test]
async fn file_cut_off_is_seen_at_once() {
    let bench = Bench::new();
    bench.create("a", b"0123456789").await;
    fs::write(bench.file("a"), "01234").unwrap();
    assert!(matches!(bench.get("a").await, Err(StoreError::Corrupt)));
    let head = bench.store.head(&key("a")).await;
    assert!(matches!(head, Err(StoreError::Corrupt)));
    assert_eq!(bench.listed().await, ["a"]);
}

#[tokio::test]
async fn file_cut_off_while_it_is_read_never_ends_short() {
    let bench = Bench::new();
    bench.create("a", b"").await;
    fs::write(bench.file("b"), pattern(1, 600_000)).unwrap();
    let options = GetOptions {
        range: Some(ByteRange::Last(500_000)),
        if_match: None,
    };
    let object = bench.store.get(&key("b"), options).await.unwrap();
    fs::write(bench.file("b"), "short").unwrap();
    assert!(matches!(collect(object).await, Err(StoreError::Corrupt)));
}

#[tokio::test]
async fn object_in_memory_is_read_at_once_unless_something_is_wrong() {
    let bench = Bench::new();
    let store = &bench.store;
    if !store.resident {
        return;
    }
    bench.create("a", b"0123456789").await;
    let whole = GetOptions::default();
    let ranged = |range| GetOptions {
        range: Some(range),
        if_match: None,
    };
    assert!(store.object_at_once(&key("a"), &whole).is_none(), "too new");
    let file = File::open(bench.file("a")).unwrap();
    let info = store.head(&key("a")).await.unwrap();
    let remember = || {
        let later = SystemTime::now() + Duration::from_secs(10);
        let about = file.metadata().unwrap();
        store.known.remember(&about, &info, later);
    };
    remember();
    for (options, bytes) in [
        (whole.clone(), "0123456789"),
        (ranged(ByteRange::Last(3)), "789"),
    ] {
        let object = store.object_at_once(&key("a"), &options).unwrap();
        assert_eq!(object.info, info);
        assert_eq!(collect(object).await.unwrap(), bytes.as_bytes());
    }
    let other = GetOptions {
        if_match: Some("other".to_owned()),
        range: None,
    };
    for refused in [other, ranged(ByteRange::From(10))] {
        assert!(store.object_at_once(&key("a"), &refused).is_none());
    }
    fs::write(bench.file("a"), "012345678?").unwrap();
    assert!(store.object_at_once(&key("a"), &whole).is_none(), "changed");
    remember();
    assert!(store.object_at_once(&key("a"), &whole).is_none(), "damaged");
}

#[tokio::test]
async fn damaged_record_is_seen() {
    let bench = Bench::new();
    bench.create("a", b"abc").await;
    xattr::set(bench.file("a"), "user.kura", b"{").unwrap();
    assert!(matches!(bench.get("a").await, Err(StoreError::Corrupt)));
    assert_eq!(bench.listed().await, ["a"]);
}

#[tokio::test]
async fn a_key_cannot_lie_beside_one_that_is_its_directory() {
    let bench = Bench::new();
    bench.create("a", b"file").await;
    bench.create("d/e", b"in a directory").await;
    for mode in [PutMode::Overwrite, PutMode::CreateOnly, PutMode::FirstFree] {
        for text in ["a/b", "a/b/c", "d"] {
            let put = bench.put(text, mode, b"new").await;
            assert!(matches!(put, Err(StoreError::KeyConflict)), "{text}");
        }
    }
    let copied = bench.store.copy(&key("a"), &key("d")).await;
    assert!(matches!(copied, Err(StoreError::KeyConflict)));
    let renamed = bench.store.rename(&key("a"), &key("d/e/f")).await;
    assert!(matches!(renamed, Err(StoreError::KeyConflict)));
    assert!(matches!(bench.read("a/b").await, Err(StoreError::NotFound)));
    assert!(matches!(bench.read("d").await, Err(StoreError::NotFound)));
    bench.store.delete(&key("a/b")).await.unwrap();
    assert_eq!(bench.read("a").await.unwrap(), b"file");
    assert!(bench.unfinished().is_empty());
}

#[tokio::test]
async fn a_successor_too_long_for_the_file_system_is_a_conflict() {
    let bench = Bench::new();
    let name = "x".repeat(255);
    bench.create(&name, b"").await;
    let put = bench.put(&name, PutMode::FirstFree, b"new").await;
    assert!(matches!(put, Err(StoreError::KeyConflict)), "{put:?}");
}

#[tokio::test]
async fn only_regular_files_are_objects_and_no_link_is_followed() {
    let bench = Bench::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    bench.create("a", b"").await;
    symlink(outside.path().join("secret"), bench.file("link")).unwrap();
    symlink(outside.path(), bench.file("folder")).unwrap();
    let mode = Mode::from(0o600);
    mknodat(CWD, bench.file("fifo"), FileType::Fifo, mode, 0).unwrap();
    for text in ["link", "folder", "folder/secret", "fifo"] {
        let read = bench.read(text).await;
        assert!(matches!(read, Err(StoreError::NotFound)), "{text} {read:?}");
        bench.store.delete(&key(text)).await.unwrap();
        let copied = bench.store.copy(&key(text), &key("copy")).await;
        assert!(matches!(copied, Err(StoreError::NotFound)), "{text}");
    }
    let put = bench.put("folder/new", PutMode::Overwrite, b"").await;
    assert!(matches!(put, Err(StoreError::KeyConflict)), "{put:?}");
    assert_eq!(bench.listed().await, ["a"]);
    assert_eq!(bench.store.delete_prefix("user001/").await.unwrap(), 1);
    assert!(outside.path().join("secret").exists());
    assert!(bench.file("link").is_symlink());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_stores_on_one_root_never_take_the_same_name() {
    let bench = Bench::new();
    let other = DirectoryStore::open(bench.root.path()).unwrap();
    let both = [&bench.store, &other];
    let wanted = key("261122194501_a");
    let puts = (0..200).map(|seed| {
        let request = PutRequest::new(wanted.clone(), PutMode::FirstFree);
        let payload = Payload::from_bytes(pattern(seed as u64, 100));
        let store = both[seed % 2].clone();
        tokio::spawn(async move { store.put(request, payload).await.unwrap() })
    });
    let mut keys = HashSet::new();
    for (seed, put) in join_all(puts).await.into_iter().enumerate() {
        let stored = put.unwrap();
        let object = other.get(&stored.key, GetOptions::default()).await;
        let bytes = collect(object.unwrap()).await.unwrap();
        assert_eq!(bytes, pattern(seed as u64, 100));
        assert!(keys.insert(stored.key));
    }
    assert!(keys.contains(&wanted));
}

#[tokio::test]
async fn a_name_that_is_free_again_is_taken_first() {
    let bench = Bench::new();
    for expected in ["100_a", "101_a", "102_a"] {
        let got = bench.put("100_a", PutMode::FirstFree, b"").await;
        assert_eq!(got.unwrap(), key(expected));
    }
    bench.store.delete(&key("100_a")).await.unwrap();
    let got = bench.put("100_a", PutMode::FirstFree, b"").await;
    assert_eq!(got.unwrap(), key("100_a"));
}

#[tokio::test(flavor = "multi_thread")]
async fn puts_survive_the_removal_of_their_directory() {
    let bench = Bench::new();
    let rounds = (0..300).map(|n| {
        let store = bench.store.clone();
        tokio::spawn(async move {
            let own = key(&format!("d/e/{n}"));
            let request = PutRequest::new(own.clone(), PutMode::CreateOnly);
            store.put(request, Payload::from_bytes("x")).await.unwrap();
            store.head(&own).await.unwrap();
            store.delete(&own).await.unwrap();
        })
    });
    for round in join_all(rounds).await {
        round.unwrap();
    }
    assert!(!bench.file("").exists());
}

#[tokio::test]
async fn leftovers_of_a_dead_process_are_swept() {
    let bench = Bench::new();
    let dead = bench.root.path().join("tmp/1-dead");
    fs::create_dir(&dead).unwrap();
    fs::write(dead.join("lock"), "").unwrap();
    fs::write(dead.join("0"), "half").unwrap();
    let unlocked = bench.root.path().join("tmp/2-died-sooner");
    fs::create_dir(&unlocked).unwrap();
    let _other = DirectoryStore::open(bench.root.path()).unwrap();
    assert!(!dead.exists());
    assert!(!unlocked.exists());
}

#[tokio::test]
async fn unfinished_files_of_a_live_process_are_left_alone() {
    let bench = Bench::new();
    let (sender, receiver) = mpsc::channel(1);
    let chunks = futures_util::stream::unfold(receiver, async |mut receiver| {
        let chunk: Bytes = receiver.recv().await?;
        Some((Ok(chunk), receiver))
    });
    let payload = Payload {
        stream: chunks.boxed(),
        length: None,
    };
    let request = PutRequest::new(key("a"), PutMode::CreateOnly);
    let store = bench.store.clone();
    let put = tokio::spawn(async move { store.put(request, payload).await });
    let half = Bytes::from(pattern(1, 2_000_000));
    sender.send(half.clone()).await.unwrap();
    wait_until(|| !bench.unfinished().is_empty()).await;
    drop(DirectoryStore::open(bench.root.path()).unwrap());
    assert_eq!(bench.unfinished().len(), 1);
    sender.send(half.clone()).await.unwrap();
    drop(sender);
    put.await.unwrap().unwrap();
    assert!(bench.read("a").await.unwrap() == [half.clone(), half].concat());
}

#[tokio::test]
async fn a_dropped_put_removes_its_file() {
    let bench = Bench::new();
    let (payload, taken) = stalling_payload(pattern(1, 3_000_000));
    let request = PutRequest::new(key("a"), PutMode::CreateOnly);
    tokio::select! {
        put = bench.store.put(request, payload) => panic!("ended early: {put:?}"),
        taken = taken => taken.unwrap(),
    }
    wait_until(|| bench.unfinished().is_empty()).await;
}

#[tokio::test]
async fn closing_the_store_leaves_nothing_in_tmp() {
    let Bench { root, store } = Bench::new();
    drop(store);
    let left = fs::read_dir(root.path().join("tmp")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["lock"]);
}

#[tokio::test]
async fn a_store_whose_directory_is_gone_is_not_empty_but_unavailable() {
    let bench = Bench::new();
    bench.store.ping().await.unwrap();
    fs::rename(
        bench.root.path().join("objects"),
        bench.root.path().join("away"),
    )
    .unwrap();
    let errors = [
        bench.store.ping().await.unwrap_err(),
        bench.store.head(&key("a")).await.unwrap_err(),
        bench.store.list("", None, 1).await.unwrap_err(),
        bench.store.delete(&key("a")).await.unwrap_err(),
        bench.put("a", PutMode::Overwrite, b"").await.unwrap_err(),
    ];
    let root = bench.root.path().to_string_lossy();
    for error in errors {
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        assert!(!error.to_string().contains(&*root), "{error}");
    }
}

#[test]
fn a_root_that_is_a_file_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let opened = DirectoryStore::open(file.path());
    assert!(matches!(opened, Err(OpenError::Io { .. })));
}

/// A dropped put's last write may still be on its way on another thread.
async fn wait_until(done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain");
        tokio::task::yield_now().await;
    }
}
