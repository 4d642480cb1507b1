//! `kura verify` and `kura gc`: what is damaged or missing is found, and what
//! is removed is what nobody needs.

use std::fs;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use kura::digest::Digest;
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::support::app::{BUCKET, FOLDER};
use crate::support::operator::Operator;
use crate::support::s3_server::{Fault, FaultRule, S3Server};

const HEADER: &str = "disk_directory,disk_filename,filename,content_type,filesize,digest\n";
const DAY: Duration = Duration::from_hours(24);

fn listing(rows: &str) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    fs::write(file.path(), format!("{HEADER}{rows}")).unwrap();
    file
}

/// A file of the tenant that was stored so long ago.
fn hold(server: &S3Server, key: &str, body: &'static [u8], digest: Option<Digest>, age: Duration) {
    let key = format!("{FOLDER}/{key}");
    let digest = digest.map(|it| it.to_string());
    let headers: Vec<_> = digest
        .iter()
        .map(|it| ("x-amz-meta-digest", it.as_str()))
        .collect();
    server.put_object(BUCKET, &key, Bytes::from_static(body), &headers);
    server.set_modified(BUCKET, &key, SystemTime::now() - age);
}

fn json(output: &std::process::Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_finds_damaged_missing_and_wrong_files() {
    let server = S3Server::start().await.with_bucket(BUCKET);
    let operator = Operator::s3(&server);
    let right = |bytes: &[u8]| Some(Digest::of(bytes));
    hold(&server, "d/good", b"good", right(b"good"), DAY);
    hold(&server, "d/damaged", b"bad", right(b"good"), DAY);
    hold(&server, "d/other", b"other", right(b"other"), DAY);
    hold(&server, "d/foreign", b"foreign", None, DAY);
    let listing = listing(&format!(
        "d,good,,,4,0c6e5d5bda5f4ab8d05e79b5a0e7ec3d\nd,lost,,,4,\nd,other,,,5,{}\n",
        Digest::of(b"another")
    ));
    let path = listing.path().to_str().unwrap();

    let output = operator.run(&["verify", "default", "--json"]);
    let report = &json(&output)[0];
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(report["wrong"].as_array().unwrap().len(), 1);
    assert_eq!(report["wrong"][0]["key"], "d/damaged");
    assert_eq!(report["without_digest"][0], "d/foreign");

    let output = operator.run(&["verify", "default", "--json", "--listing", path]);
    let report = &json(&output)[0];
    let mut wrong: Vec<_> = report["wrong"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            format!(
                "{} {}",
                it["key"].as_str().unwrap(),
                it["problem"].as_str().unwrap()
            )
        })
        .collect();
    wrong.sort();
    assert_eq!(
        wrong,
        [
            "d/damaged damaged: the stored bytes are damaged",
            "d/good digest: not that of the listing",
            "d/lost missing: the listing names it",
            "d/other digest: not that of the listing",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn gc_removes_old_orphans_and_what_died_and_nothing_else() {
    let server = S3Server::start().await.with_bucket(BUCKET);
    let operator = Operator::s3(&server);
    let old = 3 * DAY;
    for (key, age) in [
        ("d/kept", old),
        ("d/kept2", old),
        ("d/orphan", old),
        ("d/new", DAY / 2),
    ] {
        hold(&server, key, b"x", None, age);
    }
    hold(&server, "tmp/imports/0123456789abcdef", b"x", None, 2 * DAY);
    hold(&server, "tmp/imports/0123456789abcde0", b"x", None, DAY / 2);
    hold(&server, "tmp/else", b"x", None, old);
    hold(&server, "d/47", &[b'x'; 47], None, DAY / 2);
    let claim = format!("{FOLDER}/d/claimed");
    server.put_object(
        BUCKET,
        &claim,
        vec![b'x'; 47],
        &[("x-amz-meta-kura-claim", "n")],
    );
    server.set_modified(BUCKET, &claim, SystemTime::now() - old);
    let before = server.keys(BUCKET);
    let good = listing("d,kept,,,1,\nd,kept2,,,1,\nd,47,,,47,\n");
    let good = good.path().to_str().unwrap();

    let output = operator.run(&["gc", "default", "--json", "--listing", good]);
    assert!(output.status.success(), "{output:?}");
    let found = &json(&output)[0];
    assert_eq!(found["orphans"].as_array().unwrap(), &["d/orphan"]);
    assert_eq!(found["found"]["expired_imports"]["count"], 1);
    assert_eq!(found["found"]["stale_claims"]["count"], 1);
    assert_eq!(server.keys(BUCKET), before, "nothing is removed unasked");

    for wrong in [listing(""), listing("another,tenants,,,1,\n")] {
        let path = wrong.path().to_str().unwrap();
        let output = operator.run(&["gc", "default", "--remove", "--listing", path]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(server.keys(BUCKET), before);
    }

    let output = operator.run(&["gc", "default", "--remove", "--listing", good]);
    assert!(output.status.success(), "{output:?}");
    let removed: Vec<_> = before
        .iter()
        .filter(|key| !server.keys(BUCKET).contains(key))
        .collect();
    assert_eq!(
        removed,
        ["d/claimed", "d/orphan", "tmp/imports/0123456789abcdef"]
            .map(|it| format!("{FOLDER}/{it}"))
            .each_ref()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_died_is_given_up_when_it_is_old() {
    let server = S3Server::start().await.with_bucket(BUCKET);
    let operator = Operator::s3(&server);
    let begin = async |key: &str| {
        let url = format!("{}/{BUCKET}/{key}?uploads", server.endpoint());
        let begun = reqwest::Client::new().post(url).send().await.unwrap();
        assert!(begun.status().is_success());
    };
    begin("user001/d/old").await;
    begin("user001/d/new").await;
    begin("user0011/d/anothers").await;
    for (key, id) in server.open_uploads() {
        if !key.ends_with("new") {
            server.set_initiated(&id, SystemTime::now() - 2 * DAY);
        }
    }
    let output = operator.run(&["gc", "default", "--remove"]);
    assert!(output.status.success(), "{output:?}");
    let mut open: Vec<_> = server.open_uploads().into_iter().map(|it| it.0).collect();
    open.sort();
    assert_eq!(open, ["user001/d/new", "user0011/d/anothers"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_list_unfinished_uploads_is_told_so_and_gets_the_rest_done() {
    let server = S3Server::start().await.with_bucket(BUCKET);
    let operator = Operator::s3(&server);
    hold(&server, "tmp/imports/0123456789abcdef", b"x", None, 2 * DAY);
    hold(&server, "d/kept", b"x", None, DAY);
    server.fail(FaultRule {
        times: usize::MAX,
        ..FaultRule::once("ListMultipartUploads", Fault::status(403, "AccessDenied"))
    });
    let output = operator.run(&["gc", "default", "--remove"]);
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("s3:ListBucketMultipartUploads"), "{told}");
    assert_eq!(server.keys(BUCKET), ["user001/d/kept"]);

    let erase = ["tenant", "delete", "default", "--json"];
    let found = json(&operator.run(&erase));
    assert_eq!(found["unfinished_uploads"], Value::Null);
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("record.json");
    let confirmed = ["--confirm", "default", "--even-active", "--record"];
    let output = operator.run(&[&erase[..], &confirmed, &[record.to_str().unwrap()]].concat());
    assert!(output.status.success(), "{output:?}");
    assert_eq!(server.keys(BUCKET), [""; 0]);
    let record: Value = serde_json::from_slice(&fs::read(record).unwrap()).unwrap();
    let left = record["left"][0].as_str().unwrap();
    assert!(left.contains("s3:ListBucketMultipartUploads"), "{left}");
}
