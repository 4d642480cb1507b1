//! Every request to S3 costs money: each operation makes exactly those listed
//! here.

use bytes::Bytes;
use kura::digest::Digest;
use reqwest::Method;
use reqwest::header::{IF_NONE_MATCH, RANGE};

use crate::support::app::{BUCKET, FOLDER, SECRET, TestApp};
use crate::support::bench::{Bench, PART, created, until};
use crate::support::pattern;
use crate::support::s3_server::S3Server;
use crate::support::task::TenantFiles;

#[tokio::test]
async fn upload_and_download_of_what_fits_a_part_are_one_request_each() {
    let bench = Bench::start().await;
    for size in [0, 1, 100_000, PART] {
        let body = pattern(size as u64, size);
        let key = bench
            .store(&format!("26112219450{}_{size}", size % 7), &body)
            .await;
        assert_eq!(bench.operations(), ["PutObject"], "{size}");
        bench.assert_reads(&key, &body).await;
        // S3 refuses any range of nothing, and then has to be asked again.
        let expected: &[_] = match size {
            0 => &["GetObject", "HeadObject"],
            _ => &["GetObject"],
        };
        assert_eq!(bench.operations(), expected, "{size}");
    }
}

#[tokio::test]
async fn upload_of_one_part_is_stored_with_the_sha_256_as_its_checksum() {
    let bench = Bench::start().await;
    let body = pattern(1, 1000);
    let key = bench.store("261122194501_a", &body).await;
    let object = bench
        .server
        .object(BUCKET, &format!("{FOLDER}/{key}"))
        .unwrap();
    assert_eq!(object.checksum_kind(), ("SHA256", "FULL_OBJECT"));
    let digest = Digest::of(&body).to_string();
    assert_eq!(object.metadata("digest"), Some(digest.as_str()));
}

#[tokio::test]
async fn put_under_a_given_key_is_one_request() {
    let bench = Bench::start().await;
    let put = || bench.on_file(Method::PUT, "2026/11/a").body("bytes");
    let response = put().send().await.unwrap();
    assert_eq!(response.status(), 201);
    assert_eq!(bench.operations(), ["PutObject"]);
    let response = put().header(IF_NONE_MATCH, "*").send().await.unwrap();
    assert_eq!(response.status(), 412);
    assert_eq!(bench.operations(), ["PutObject"]);
}

#[tokio::test]
async fn reading_without_all_bytes_is_one_request() {
    let bench = Bench::start().await;
    let body = pattern(1, 1000);
    let key = bench.store("261122194501_a", &body).await;
    bench.operations();

    let head = bench.on_file(Method::HEAD, &key).send().await.unwrap();
    assert_eq!(head.status(), 200);
    assert_eq!(bench.operations(), ["HeadObject"]);

    let etag = head.headers()["etag"].clone();
    let again = bench.file(&key).header(IF_NONE_MATCH, etag).send().await;
    assert_eq!(again.unwrap().status(), 304);
    assert_eq!(bench.operations(), ["HeadObject"]);

    for (range, expected) in [
        ("bytes=10-19", 10..20),
        ("bytes=-10", 990..1000),
        ("bytes=990-", 990..1000),
    ] {
        let part = bench.file(&key).header(RANGE, range).send().await.unwrap();
        assert_eq!(part.status(), 206);
        assert_eq!(part.bytes().await.unwrap(), body.slice(expected));
        assert_eq!(bench.operations(), ["GetObject"], "{range}");
    }
}

#[tokio::test]
async fn what_is_missing_costs_one_request_to_find_out() {
    let bench = Bench::start().await;
    let response = bench.file("2026/11/none").send().await.unwrap();
    assert_eq!(response.status(), 404);
    assert_eq!(bench.operations(), ["GetObject"]);
    // HEAD does not say what is missing: the first asks for the bucket, too.
    for expected in [&["HeadObject", "ListObjectsV2"][..], &["HeadObject"]] {
        let head = bench.on_file(Method::HEAD, "2026/11/none").send().await;
        assert_eq!(head.unwrap().status(), 404);
        assert_eq!(bench.operations(), expected);
    }
}

#[tokio::test]
async fn delete_is_one_request() {
    let bench = Bench::start().await;
    let key = bench.store("261122194501_a", &Bytes::from("a")).await;
    bench.operations();
    for _ in 0..2 {
        let response = bench.on_file(Method::DELETE, &key).send().await.unwrap();
        assert_eq!(response.status(), 204);
        assert_eq!(bench.operations(), ["DeleteObject"]);
    }
}

#[tokio::test]
async fn import_is_one_request_to_store_and_one_for_each_read() {
    let bench = Bench::start().await;
    let path = "/v1/imports/0123456789abcdef";
    let put = bench.app.request(Method::PUT, path).body("a,b").send();
    assert_eq!(put.await.unwrap().status(), 201);
    assert_eq!(bench.operations(), ["PutObject"]);
    for _ in 0..3 {
        let read = bench.app.get(path).send().await.unwrap();
        assert_eq!(read.text().await.unwrap(), "a,b");
        let operations = bench.operations();
        assert!(
            operations.is_empty() || operations == ["GetObject"],
            "{operations:?}"
        );
    }
}

#[tokio::test]
async fn page_of_a_listing_is_one_request_and_digests_are_one_more_for_each_file() {
    let bench = Bench::start().await;
    for name in ["261122194501_a", "261122194502_b", "261122194503_c"] {
        bench.store(name, &Bytes::from(name)).await;
    }
    bench.operations();
    let list = |query: &'static str| bench.app.get(&format!("/v1/files{query}")).send();
    assert_eq!(list("?digests=false").await.unwrap().status(), 200);
    assert_eq!(bench.operations(), ["ListObjectsV2"]);
    assert_eq!(list("?limit=2").await.unwrap().status(), 200);
    assert_eq!(
        bench.operations(),
        ["ListObjectsV2", "HeadObject", "HeadObject"]
    );
}

#[tokio::test]
async fn move_is_four_requests() {
    let bench = Bench::start().await;
    let body = pattern(1, 1000);
    let key = bench.store("261122194501_a", &body).await;
    bench.operations();
    let response = bench.rename(&key, "2026/12/a").send().await.unwrap();
    assert_eq!(response.status(), 204);
    // Look at the source, claim the target, fill it, remove the source.
    assert_eq!(
        bench.operations(),
        ["HeadObject", "PutObject", "CopyObject", "DeleteObject"]
    );
    bench.assert_reads("2026/12/a", &body).await;
    bench.assert_only(&["2026/12/a"]);
}

#[tokio::test]
async fn large_upload_is_a_claim_and_its_parts_and_a_large_download_its_ranges() {
    let bench = Bench::start().await;
    let body = pattern(1, 2 * PART + 100);
    let digest = Digest::of(&body).to_string();
    for declared in [false, true] {
        let mut upload = bench.app.upload("261122194501_a", body.clone());
        if declared {
            upload = upload.header("x-kura-digest", &digest);
        }
        let key = created(upload.send().await.unwrap(), &body).await;
        let operations = bench.operations();
        // The name of the first is taken when the second comes.
        let claims = if declared { 2 } else { 1 };
        assert_eq!(operations[..claims], ["PutObject"].repeat(claims));
        assert_eq!(
            operations[claims..],
            [
                "CreateMultipartUpload",
                "UploadPart",
                "UploadPart",
                "UploadPart",
                "CompleteMultipartUpload"
            ]
        );
        let object = bench.server.object(BUCKET, &format!("{FOLDER}/{key}"));
        assert_eq!(
            object.unwrap().checksum_kind(),
            ("CRC64NVME", "FULL_OBJECT")
        );

        bench.assert_reads(&key, &body).await;
        let mut expected = ["GetObject"].repeat(3);
        if !declared {
            // S3 keeps the checksum of what nobody knew the digest of.
            expected.push("HeadObject");
        }
        assert_eq!(bench.sorted_operations(), expected, "declared: {declared}");
    }
}

#[tokio::test]
async fn taken_name_costs_one_more_request_for_each_that_is_taken() {
    let bench = Bench::start().await;
    for second in 1..=3 {
        let key = format!("{FOLDER}/2026/11/26112219450{second}_a");
        bench.server.put_object(BUCKET, &key, "taken", &[]);
    }
    let key = bench.store("261122194501_a", &Bytes::from("new")).await;
    assert_eq!(key, "2026/11/261122194504_a");
    assert_eq!(bench.operations(), ["PutObject"].repeat(4));
    // How far it has been counted up is remembered.
    let key = bench.store("261122194501_a", &Bytes::from("newer")).await;
    assert_eq!(key, "2026/11/261122194505_a");
    assert_eq!(bench.operations(), ["PutObject"].repeat(2));
}

#[tokio::test]
async fn bucket_is_probed_once_however_many_tenants_it_has() {
    let server = S3Server::start().await.with_bucket(BUCKET);
    let ids = ["sitea", "siteb", "sitec"];
    let tenants = TenantFiles::with_folders(ids);
    let endpoint = server.endpoint();
    let source = tenants.source();
    let app = TestApp::with(
        &[
            ("KURA_STORE", "s3"),
            ("KURA_SECRET", SECRET),
            ("KURA_TENANTS", &source),
            ("AWS_ENDPOINT_URL_S3", &endpoint),
            ("AWS_REGION", "us-east-1"),
            ("KURA_S3_CONDITIONAL_WRITES", "auto"),
            ("KURA_PING_SECONDS", "86400"),
        ],
        |_| {},
    )
    .await;
    until(|| server.count("DeleteObject") == 1, "the probe").await;
    for id in ids {
        let path = "/v1/files?directory=2026/11&name=261122194501_a";
        let response = app.request_as(id, Method::POST, path).body(id).send().await;
        assert_eq!(response.unwrap().status(), 201);
    }
    assert_eq!(server.count("DeleteObject"), 1);
    assert_eq!(server.count("PutObject"), 2 + ids.len());
    assert_eq!(
        server.keys(BUCKET),
        ids.map(|id| format!("{id}/2026/11/261122194501_a"))
    );
}
