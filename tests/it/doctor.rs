//! `kura doctor`, as an operator runs it.

use serde_json::Value;

use crate::support::app::SECRET;
use crate::support::process::run;
use crate::support::seaweed::{ROLE, Seaweed, static_key};

/// The exit code, and what has been found.
fn doctor(arguments: &[&str], settings: &[(&str, &str)]) -> (Option<i32>, Vec<Value>) {
    let arguments = [&["doctor", "--json"], arguments].concat();
    let output = run(&arguments, settings);
    let findings = serde_json::from_slice(&output.stdout);
    let findings = findings.unwrap_or_else(|_| panic!("{output:?}"));
    (output.status.code(), findings)
}

/// The grades of all findings of a check.
fn grades<'a>(findings: &'a [Value], check: &str) -> Vec<&'a str> {
    let of_check = findings.iter().filter(|finding| finding["check"] == check);
    of_check.map(|it| it["grade"].as_str().unwrap()).collect()
}

#[test]
fn directory_store_is_found_to_be_well_before_it_is_there_and_is_not_made() {
    let root = tempfile::tempdir().unwrap();
    let store = format!("dir:{}/new", root.path().display());
    let (code, findings) = doctor(&[], &[("KURA_STORE", &store)]);
    assert_eq!(code, Some(0), "{findings:#?}");
    for check in ["configuration", "sandbox", "store", "folder"] {
        assert_eq!(grades(&findings, check), ["ok"], "{findings:#?}");
    }
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_found_with_a_way_to_mend_it() {
    let seaweed = Seaweed::shared();
    seaweed.bucket("doctor").await;
    let files = tempfile::tempdir().unwrap();
    for (name, yaml) in [
        ("good", "s3: {folder: good}".to_owned()),
        (
            "held",
            format!("s3: {{folder: held}}\nkura: {{role_arn: '{ROLE}'}}"),
        ),
        ("overlapping", "s3: {folder: good/inside}".to_owned()),
        (
            "roleless",
            format!("s3: {{folder: r}}\nkura: {{role_arn: '{ROLE}-not'}}"),
        ),
    ] {
        std::fs::write(files.path().join(format!("{name}.yml")), yaml).unwrap();
    }
    let (tenants, key) = (format!("dir:{}", files.path().display()), static_key());
    let settings = [
        ("KURA_STORE", "s3"),
        ("KURA_SECRET", SECRET),
        ("KURA_TENANTS", tenants.as_str()),
        ("AWS_ENDPOINT_URL", seaweed.endpoint.as_str()),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", key.id.as_str()),
        ("AWS_SECRET_ACCESS_KEY", key.secret.as_str()),
        ("S3_BUCKET_NAME", "doctor"),
    ];
    let (code, findings) = doctor(&[], &settings);
    assert_eq!(code, Some(1));
    let failures: Vec<_> = findings
        .iter()
        .filter(|it| it["grade"] == "failure")
        .collect();
    let about: Vec<_> = failures.iter().map(|it| &it["about"]).collect();
    assert_eq!(about, ["overlapping", "roleless"], "{failures:#?}");
    assert!(failures.iter().all(|it| it["hint"].is_string()));
    assert_eq!(grades(&findings, "conditional writes"), ["ok"]);
    assert_eq!(grades(&findings, "checksums"), ["ok"]);
    assert_eq!(grades(&findings, "unfinished uploads"), ["warning"]);

    let (code, findings) = doctor(&["held"], &settings);
    assert_eq!(code, Some(1), "the broken file is still a failure");
    assert_eq!(grades(&findings, "role"), ["ok"]);
    let left = run(&["doctor", "held", "--read-only", "--json"], &settings);
    assert!(
        !String::from_utf8(left.stdout)
            .unwrap()
            .contains(&key.secret)
    );
}

#[test]
fn settings_that_cannot_be_understood_are_told_as_by_every_command() {
    let output = run(&["doctor"], &[("KURA_STORE", "nowhere")]);
    assert_eq!(output.status.code(), Some(2));
}
