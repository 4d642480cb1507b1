//! Getting: all of the bytes, or the wanted ones, or an error that says why.

use super::{Bench, cases, collect, pattern};
use crate::storage::{ByteRange, GetOptions, PutMode, StoreError};

cases![
    get_gives_ranges_of_every_form,
    get_gives_ranges_of_large_objects,
    get_outside_of_the_object_tells_its_size,
    get_honours_if_match,
    get_goes_on_when_the_object_is_removed,
    reads_of_a_missing_object_say_not_found,
    head_and_get_agree,
];

fn only(range: ByteRange) -> GetOptions {
    GetOptions {
        range: Some(range),
        if_match: None,
    }
}

async fn get_gives_ranges_of_every_form(bench: Bench) {
    let key = bench.key("a");
    bench.put(&key, b"0123456789").await;
    for (range, expected, span) in [
        (ByteRange::From(0), "0123456789", (0, 9)),
        (ByteRange::From(7), "789", (7, 9)),
        (ByteRange::Inclusive(0, 0), "0", (0, 0)),
        (ByteRange::Inclusive(2, 4), "234", (2, 4)),
        (ByteRange::Inclusive(8, 99), "89", (8, 9)),
        (ByteRange::Last(3), "789", (7, 9)),
        (ByteRange::Last(99), "0123456789", (0, 9)),
    ] {
        let object = bench.store.get(&key, only(range)).await.unwrap();
        assert_eq!(object.range, Some(span), "{range:?}");
        assert_eq!(object.info.size_bytes, 10, "{range:?}");
        let bytes = collect(object).await.unwrap();
        assert_eq!(bytes, expected.as_bytes(), "{range:?}");
    }
}

async fn get_gives_ranges_of_large_objects(bench: Bench) {
    let (key, bytes) = (bench.key("a"), pattern(9, 10_000_000));
    bench.put(&key, &bytes).await;
    for (first, last) in [(0, 9_999_999), (8_388_607, 8_388_608), (100, 9_000_000)] {
        let range = ByteRange::Inclusive(first as u64, last as u64);
        let object = bench.store.get(&key, only(range)).await.unwrap();
        assert!(collect(object).await.unwrap() == bytes[first..=last]);
    }
}

async fn get_outside_of_the_object_tells_its_size(bench: Bench) {
    let (empty, key) = (bench.key("empty"), bench.key("ten"));
    bench.put(&empty, b"").await;
    bench.put(&key, b"0123456789").await;
    for (key, range, size) in [
        (&key, ByteRange::From(10), 10),
        (&key, ByteRange::Inclusive(10, 12), 10),
        (&key, ByteRange::Last(0), 10),
        (&empty, ByteRange::From(0), 0),
        (&empty, ByteRange::Inclusive(0, 0), 0),
        (&empty, ByteRange::Last(1), 0),
    ] {
        let got = bench.store.get(key, only(range)).await;
        assert!(
            matches!(got, Err(StoreError::RangeNotSatisfiable { size_bytes }) if size_bytes == size),
            "{range:?} of {size} bytes: {got:?}"
        );
    }
}

async fn get_honours_if_match(bench: Bench) {
    let key = bench.key("a");
    bench.put(&key, b"one").await;
    let matching = GetOptions {
        range: Some(ByteRange::From(1)),
        if_match: Some(bench.store.head(&key).await.unwrap().etag),
    };
    let object = bench.store.get(&key, matching.clone()).await.unwrap();
    assert_eq!(collect(object).await.unwrap(), b"ne");
    let put = bench.try_put(&key, PutMode::Overwrite, b"two").await;
    put.unwrap();
    let got = bench.store.get(&key, matching).await;
    assert!(
        matches!(got, Err(StoreError::PreconditionFailed)),
        "{got:?}"
    );
}

async fn get_goes_on_when_the_object_is_removed(bench: Bench) {
    let key = bench.key("a");
    bench.put(&key, b"still here").await;
    let object = bench.open(&key).await;
    bench.store.delete(&key).await.unwrap();
    // A store may have read ahead or not; it must not end short.
    match collect(object).await {
        Ok(bytes) => assert_eq!(bytes, b"still here"),
        Err(error) => assert!(matches!(
            error,
            StoreError::NotFound | StoreError::PreconditionFailed
        )),
    }
}

async fn reads_of_a_missing_object_say_not_found(bench: Bench) {
    bench.put(&bench.key("d/a"), b"").await;
    // The first is what others' keys begin with.
    for name in ["d", "d/b", "e/a", "日本語"] {
        let key = bench.key(name);
        let got = bench.store.get(&key, GetOptions::default()).await;
        assert!(matches!(got, Err(StoreError::NotFound)), "{got:?}");
        let got = bench.store.get(&key, only(ByteRange::Last(1))).await;
        assert!(matches!(got, Err(StoreError::NotFound)), "{got:?}");
        assert!(bench.is_missing(&key).await);
    }
}

async fn head_and_get_agree(bench: Bench) {
    for size in [0, 1, 100_000] {
        let key = bench.key(&format!("{size}"));
        bench.put(&key, &pattern(2, size)).await;
        let object = bench.open(&key).await;
        assert_eq!(object.info, bench.store.head(&key).await.unwrap());
        assert_eq!(object.range, None);
        let etag = &object.info.etag;
        assert!(etag.len() > 2 && etag.starts_with('"') && etag.ends_with('"'));
    }
}
