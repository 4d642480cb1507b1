//! The API's description is kept in the documents, and says what the running
//! server does: a property-based tester makes requests out of it.

use std::process::Command;

use crate::support::app::TestApp;
use crate::support::process::run;
use crate::support::s3_server::S3Server;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn description_in_the_documents_is_the_codes_own() {
    let printed = run(&["openapi"], &[]);
    let kept = std::fs::read_to_string(format!("{ROOT}/docs/openapi.json")).unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert!(
        printed == kept,
        "run: cargo run -- openapi > docs/openapi.json"
    );
}

/// Lets schemathesis make requests, good and bad, and check every answer:
/// status, media type and body as described, no 5xx, nothing accepted that
/// should not be.
async fn check_by_schemathesis(app: &TestApp) {
    let tester = format!("{ROOT}/.venv/bin/schemathesis");
    let (url, token) = (app.url.clone(), app.token("default"));
    let directory = tempfile::tempdir().unwrap();
    let working_directory = directory.path().to_owned();
    let run = tokio::task::spawn_blocking(move || {
        Command::new(tester)
            .current_dir(working_directory)
            .args(["--config-file", &format!("{ROOT}/tests/schemathesis.toml")])
            .args([
                "run",
                &format!("{url}/openapi.json"),
                "--no-color",
                "--seed=1",
            ])
            .args(["-H", &format!("Authorization: Bearer {token}")])
            .args([
                "--max-examples=40",
                "--checks=all",
                "--phases=coverage,fuzzing",
            ])
            // Not every request that the description allows can be carried
            // out: a digest has to be the body's.
            .arg("--exclude-checks=positive_data_acceptance")
            .output()
            .expect("schemathesis is missing: `make test-deps` installs it")
    });
    let output = run.await.unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}");
    assert!(report.contains("Tested: 22"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn server_on_a_directory_does_what_the_description_says() {
    check_by_schemathesis(&TestApp::with(&[], |_| {}).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_on_s3_does_what_the_description_says() {
    let server = S3Server::start().await.with_bucket("files");
    check_by_schemathesis(&TestApp::s3(&server).await).await;
}
