//! Copying, moving and removing.

use super::{Bench, cases, pattern};
use crate::digest::Digest;
use crate::storage::{Payload, PutMode, PutRequest, StoreError};

cases![
    copy_keeps_bytes_and_headers,
    rename_keeps_bytes_and_headers,
    moving_a_large_object_keeps_it_whole,
    moving_to_a_taken_key_changes_nothing,
    moving_to_itself_changes_nothing,
    moving_what_is_missing_says_not_found,
    delete_of_what_is_gone_succeeds,
    delete_frees_the_key,
    delete_prefix_removes_only_what_it_names,
];

async fn put_with_headers(bench: &Bench, name: &str) -> PutRequest {
    let request = PutRequest {
        content_type: Some("image/png".to_owned()),
        file_name: Some("画像 1.png".to_owned()),
        ..PutRequest::new(bench.key(name), PutMode::CreateOnly)
    };
    let put = bench.store.put(request.clone(), Payload::from_bytes("png"));
    put.await.unwrap();
    request
}

async fn is_unchanged(bench: &Bench, name: &str, request: &PutRequest) {
    let key = bench.key(name);
    let info = bench.store.head(&key).await.unwrap();
    assert_eq!(info.content_type, request.content_type);
    assert_eq!(info.file_name, request.file_name);
    assert_eq!(info.digest, Some(Digest::of(b"png")));
    assert_eq!(bench.read(&key).await, b"png");
}

async fn copy_keeps_bytes_and_headers(bench: Bench) {
    let request = put_with_headers(&bench, "from/日本 語+%.png").await;
    let (from, to) = (&request.key, bench.key("to/日本 語+%.png"));
    bench.store.copy(from, &to).await.unwrap();
    is_unchanged(&bench, "to/日本 語+%.png", &request).await;
    is_unchanged(&bench, "from/日本 語+%.png", &request).await;
    bench.store.delete(from).await.unwrap();
    is_unchanged(&bench, "to/日本 語+%.png", &request).await;
}

async fn rename_keeps_bytes_and_headers(bench: Bench) {
    let request = put_with_headers(&bench, "from/a b.png").await;
    let to = bench.key("to/deeper/a b.png");
    bench.store.rename(&request.key, &to).await.unwrap();
    is_unchanged(&bench, "to/deeper/a b.png", &request).await;
    assert_eq!(bench.names().await, ["to/deeper/a b.png"]);
}

async fn moving_a_large_object_keeps_it_whole(bench: Bench) {
    let (first, second, third) = (bench.key("1"), bench.key("2"), bench.key("3"));
    let bytes = pattern(4, 20_000_000);
    bench.put(&first, &bytes).await;
    bench.store.copy(&first, &second).await.unwrap();
    bench.store.rename(&second, &third).await.unwrap();
    assert!(bench.read(&third).await == bytes);
}

async fn moving_to_a_taken_key_changes_nothing(bench: Bench) {
    let request = put_with_headers(&bench, "from").await;
    let taken = bench.key("taken");
    bench.put(&taken, b"mine").await;
    let copied = bench.store.copy(&request.key, &taken).await;
    assert!(matches!(copied, Err(StoreError::AlreadyExists)));
    let renamed = bench.store.rename(&request.key, &taken).await;
    assert!(matches!(renamed, Err(StoreError::AlreadyExists)));
    is_unchanged(&bench, "from", &request).await;
    assert_eq!(bench.read(&taken).await, b"mine");
}

async fn moving_to_itself_changes_nothing(bench: Bench) {
    let request = put_with_headers(&bench, "from").await;
    let copied = bench.store.copy(&request.key, &request.key).await;
    assert!(matches!(copied, Err(StoreError::AlreadyExists)));
    let renamed = bench.store.rename(&request.key, &request.key).await;
    assert!(matches!(renamed, Err(StoreError::AlreadyExists)));
    is_unchanged(&bench, "from", &request).await;
}

async fn moving_what_is_missing_says_not_found(bench: Bench) {
    let (from, to) = (bench.key("missing/a"), bench.key("to/a"));
    let copied = bench.store.copy(&from, &to).await;
    assert!(matches!(copied, Err(StoreError::NotFound)), "{copied:?}");
    let renamed = bench.store.rename(&from, &to).await;
    assert!(matches!(renamed, Err(StoreError::NotFound)), "{renamed:?}");
    assert!(bench.names().await.is_empty());
}

async fn delete_of_what_is_gone_succeeds(bench: Bench) {
    let (key, sibling) = (bench.key("d/a"), bench.key("d/b"));
    bench.put(&key, b"a").await;
    bench.put(&sibling, b"b").await;
    // Neither what was never there nor what other keys begin with.
    for other in ["d", "never/there"] {
        bench.store.delete(&bench.key(other)).await.unwrap();
    }
    for _ in 0..2 {
        bench.store.delete(&key).await.unwrap();
        assert!(bench.is_missing(&key).await);
    }
    assert_eq!(bench.names().await, ["d/b"]);
}

async fn delete_frees_the_key(bench: Bench) {
    let key = bench.key("d/e/a");
    bench.put(&key, b"first").await;
    bench.store.delete(&key).await.unwrap();
    bench.put(&key, b"second").await;
    assert_eq!(bench.read(&key).await, b"second");
}

async fn delete_prefix_removes_only_what_it_names(bench: Bench) {
    let names = ["ab", "t/1_a", "t/1_b", "t/1_c/d", "t/2_a", "t1", "u/1"];
    for name in names {
        bench.put(&bench.key(name), b"").await;
    }
    let folder = bench.folder();
    let remove = async |prefix: &str| {
        let prefix = format!("{folder}{prefix}");
        bench.store.delete_prefix(&prefix).await.unwrap()
    };
    assert_eq!(remove("t/1_").await, 3);
    assert_eq!(remove("t/1_").await, 0);
    assert_eq!(bench.names().await, ["ab", "t/2_a", "t1", "u/1"]);
    assert_eq!(remove("t/").await, 1);
    assert_eq!(remove("a").await, 1);
    assert_eq!(bench.names().await, ["t1", "u/1"]);
    assert_eq!(remove("").await, 2);
}
