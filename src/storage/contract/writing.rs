//! Putting: the whole payload or nothing, under a name that is nobody else's.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use tokio::sync::oneshot;

use super::{Bench, cases, may_stand_for, pattern};
use crate::digest::Digest;
use crate::storage::{Payload, PayloadError, PutMode, PutRequest, StoreError};

const PART_BYTES: usize = 8 * 1024 * 1024;

cases![
    put_overwrite_replaces_the_object,
    put_create_only_leaves_a_taken_key_alone,
    put_first_free_moves_on_from_a_taken_key,
    put_first_free_keeps_what_each_of_many_sent,
    put_create_only_lets_one_of_many_win,
    put_keeps_sizes_about_the_part_size,
    put_keeps_the_headers,
    put_takes_chunks_of_any_size,
    put_with_the_expected_digest_succeeds,
    put_of_another_digest_stores_nothing,
    put_of_another_length_stores_nothing,
    put_of_a_broken_payload_stores_nothing,
    put_that_is_dropped_stores_nothing,
    put_that_fails_leaves_the_old_object,
];

async fn put_overwrite_replaces_the_object(bench: Bench) {
    let key = bench.key("a");
    bench.put(&key, b"old").await;
    let etag = bench.store.head(&key).await.unwrap().etag;
    let stored = bench.try_put(&key, PutMode::Overwrite, b"new").await;
    assert_eq!(stored.unwrap().key, key);
    assert_eq!(bench.read(&key).await, b"new");
    assert_ne!(bench.store.head(&key).await.unwrap().etag, etag);
}

async fn put_create_only_leaves_a_taken_key_alone(bench: Bench) {
    let key = bench.key("a");
    bench.put(&key, b"first").await;
    let second = bench.try_put(&key, PutMode::CreateOnly, b"second").await;
    assert!(matches!(second, Err(StoreError::AlreadyExists)));
    assert_eq!(bench.read(&key).await, b"first");
}

async fn put_first_free_moves_on_from_a_taken_key(bench: Bench) {
    for name in ["261122194559_a.pdf", "日本語.txt"] {
        let wanted = bench.key(name);
        for bytes in [b"1", b"2", b"3"] {
            let stored = bench.try_put(&wanted, PutMode::FirstFree, bytes).await;
            let stored = stored.unwrap();
            assert!(may_stand_for(&wanted, &stored.key), "{}", stored.key);
            assert_eq!(bench.read(&stored.key).await, bytes);
        }
    }
    assert_eq!(bench.names().await.len(), 6);
}

async fn put_first_free_keeps_what_each_of_many_sent(bench: Bench) {
    let wanted = bench.key("261122194501_a.txt");
    let bodies: Vec<Vec<u8>> = (0..50).map(|seed| pattern(seed, 1000)).collect();
    let puts = bodies
        .iter()
        .map(|body| bench.try_put(&wanted, PutMode::FirstFree, body));
    let mut keys = HashSet::new();
    for (put, body) in join_all(puts).await.into_iter().zip(&bodies) {
        let key = put.unwrap().key;
        assert_eq!(bench.read(&key).await, *body);
        assert!(keys.insert(key), "two uploads were told the same name");
    }
}

async fn put_create_only_lets_one_of_many_win(bench: Bench) {
    let key = bench.key("a");
    let bodies: Vec<Vec<u8>> = (0..10).map(|seed| pattern(seed, 1000)).collect();
    let puts = bodies
        .iter()
        .map(|body| bench.try_put(&key, PutMode::CreateOnly, body));
    let mut winners = Vec::new();
    for (put, body) in join_all(puts).await.into_iter().zip(&bodies) {
        match put {
            Ok(_) => winners.push(body),
            Err(error) => assert!(matches!(error, StoreError::AlreadyExists), "{error}"),
        }
    }
    assert_eq!(winners, [&bench.read(&key).await]);
}

async fn put_keeps_sizes_about_the_part_size(bench: Bench) {
    for size in [
        0,
        1,
        PART_BYTES - 1,
        PART_BYTES,
        PART_BYTES + 1,
        20 * 1024 * 1024,
    ] {
        let (key, bytes) = (bench.key(&format!("{size}")), pattern(7, size));
        let stored = bench.put(&key, &bytes).await;
        assert_eq!(stored.size_bytes, size as u64);
        assert_eq!(stored.digest, Digest::of(&bytes));
        let info = bench.store.head(&key).await.unwrap();
        assert_eq!(info.size_bytes, size as u64);
        assert!(
            bench.read(&key).await == bytes,
            "{size} bytes came back changed"
        );
    }
}

async fn put_keeps_the_headers(bench: Bench) {
    let key = bench.key("a");
    let request = PutRequest {
        content_type: Some("text/csv; charset=Shift_JIS".to_owned()),
        file_name: Some("見積書 \"最終\" 100%+α.csv".to_owned()),
        ..PutRequest::new(key.clone(), PutMode::CreateOnly)
    };
    let put = bench
        .store
        .put(request.clone(), Payload::from_bytes("a,b"))
        .await;
    put.unwrap();
    let info = bench.store.head(&key).await.unwrap();
    assert_eq!(info.content_type, request.content_type);
    assert_eq!(info.file_name, request.file_name);
    assert_eq!(info.digest, Some(Digest::of(b"a,b")));
    assert_eq!(bench.open(&key).await.info, info);
}

async fn put_takes_chunks_of_any_size(bench: Bench) {
    let (key, bytes) = (bench.key("a"), Bytes::from(pattern(3, 300_000)));
    let ends = [0, 0, 1, 2, 2, 70_000, 299_999, 300_000, 300_000];
    let chunks: Vec<_> = ends
        .windows(2)
        .map(|it| bytes.slice(it[0]..it[1]))
        .collect();
    let payload = Payload {
        stream: stream::iter(chunks).map(Ok).boxed(),
        length: None,
    };
    let request = PutRequest::new(key.clone(), PutMode::CreateOnly);
    let stored = bench.store.put(request, payload).await.unwrap();
    assert_eq!(stored.size_bytes, 300_000);
    assert!(bench.read(&key).await == bytes);
}

async fn put_with_the_expected_digest_succeeds(bench: Bench) {
    for size in [0, 10, PART_BYTES + 1] {
        let bytes = pattern(5, size);
        let request = PutRequest {
            expected_digest: Some(Digest::of(&bytes)),
            ..PutRequest::new(bench.key(&format!("{size}")), PutMode::FirstFree)
        };
        let put = bench.store.put(request, Payload::from_bytes(bytes.clone()));
        let info = bench.store.head(&put.await.unwrap().key).await.unwrap();
        assert_eq!(info.digest, Some(Digest::of(&bytes)));
    }
}

async fn put_of_another_digest_stores_nothing(bench: Bench) {
    for size in [0, 10, PART_BYTES + 1] {
        let request = PutRequest {
            expected_digest: Some(Digest::of(b"other")),
            ..PutRequest::new(bench.key("a"), PutMode::FirstFree)
        };
        let payload = Payload::from_bytes(pattern(1, size));
        fails_with(&bench, request, payload, PayloadError::WrongDigest).await;
    }
}

async fn put_of_another_length_stores_nothing(bench: Bench) {
    for (size, said) in [
        (0, 1),
        (10, 9),
        (10, 11),
        (10, 0),
        (PART_BYTES, PART_BYTES + 1),
        (PART_BYTES + 1, PART_BYTES),
        (2 * PART_BYTES, 3 * PART_BYTES),
    ] {
        let payload = Payload {
            length: Some(said as u64),
            ..Payload::from_bytes(pattern(1, size))
        };
        let request = PutRequest::new(bench.key("a"), PutMode::CreateOnly);
        fails_with(&bench, request, payload, PayloadError::WrongLength).await;
    }
}

async fn put_of_a_broken_payload_stores_nothing(bench: Bench) {
    for (size, error) in [
        (0, PayloadError::TooSlow),
        (10, PayloadError::Interrupted),
        (PART_BYTES, PayloadError::TooLarge { limit_bytes: 1 }),
        (2 * PART_BYTES + 1, PayloadError::Interrupted),
    ] {
        let sent = stream::iter([Ok(Bytes::from(pattern(1, size))), Err(error)]);
        let payload = Payload {
            stream: sent.boxed(),
            length: None,
        };
        let request = PutRequest::new(bench.key("a"), PutMode::Overwrite);
        fails_with(&bench, request, payload, error).await;
    }
}

async fn put_that_is_dropped_stores_nothing(bench: Bench) {
    for size in [10, PART_BYTES, 2 * PART_BYTES + 1] {
        let (payload, taken) = stalling_payload(pattern(1, size));
        let request = PutRequest::new(bench.key("a"), PutMode::CreateOnly);
        tokio::select! {
            put = bench.store.put(request, payload) => panic!("ended early: {put:?}"),
            taken = taken => taken.unwrap(),
        }
        assert!(bench.is_missing(&bench.key("a")).await);
        assert!(bench.names().await.is_empty());
    }
    // What a dropped upload has begun is undone by a task of its own.
    let free_again = async {
        while bench
            .try_put(&bench.key("a"), PutMode::CreateOnly, b"free")
            .await
            .is_err()
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(10), free_again).await;
    in_time.expect("the key is free again");
}

async fn put_that_fails_leaves_the_old_object(bench: Bench) {
    let key = bench.key("a");
    bench.put(&key, b"old").await;
    let request = PutRequest {
        expected_digest: Some(Digest::of(b"other")),
        ..PutRequest::new(key.clone(), PutMode::Overwrite)
    };
    let put = bench.store.put(request, Payload::from_bytes("new")).await;
    assert!(put.is_err());
    assert_eq!(bench.read(&key).await, b"old");
}

async fn fails_with(bench: &Bench, request: PutRequest, payload: Payload, expected: PayloadError) {
    let put = bench.store.put(request, payload).await;
    assert!(
        matches!(put, Err(StoreError::Payload(error)) if error == expected),
        "{put:?} instead of {expected:?}"
    );
    assert!(bench.names().await.is_empty());
}

/// A payload that stops after `bytes` without ending, and says when it does.
pub(in crate::storage) fn stalling_payload(bytes: Vec<u8>) -> (Payload, oneshot::Receiver<()>) {
    let (stalled, taken) = oneshot::channel();
    let rest = stream::once(async move {
        // Nobody listens any more once the put is being dropped.
        let _ = stalled.send(());
        std::future::pending().await
    });
    let payload = Payload {
        stream: stream::iter([Ok(Bytes::from(bytes))]).chain(rest).boxed(),
        length: None,
    };
    (payload, taken)
}
