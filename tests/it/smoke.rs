use serde_json::Value;

use crate::support::app::TestApp;
use crate::support::pattern;
use crate::support::s3_server::S3Server;

#[tokio::test]
async fn smoke() {
    let server = S3Server::start().await.with_bucket("files");
    let app = TestApp::s3(&server).await;
    for size in [0, 1, 100_000, 8 << 20, (8 << 20) + 1, 50 << 20] {
        let body = pattern(size as u64, size);
        let r = app
            .upload(&format!("261122194501_{size}.bin"), body.clone())
            .send()
            .await
            .unwrap();
        let st = r.status();
        let v: Value = r.json().await.unwrap();
        assert_eq!(st, 201, "{v}");
        println!(
            "{v} {:?}",
            server
                .take_requests()
                .iter()
                .map(|r| (r.operation, r.status))
                .collect::<Vec<_>>()
        );
        let g = app
            .get(&format!("/v1/files/{}", v["key"].as_str().unwrap()))
            .send()
            .await
            .unwrap();
        println!("{:?}", g.headers());
        assert_eq!(g.status(), 200);
        assert!(g.bytes().await.unwrap() == body);
        println!(
            "{:?}",
            server
                .take_requests()
                .iter()
                .map(|r| (r.operation, r.status))
                .collect::<Vec<_>>()
        );
    }
    let l: Value = app
        .get("/v1/files")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    println!("{l:#}");
    println!("{:?}", server.keys("files"));
    let m = app
        .client
        .get(format!("{}/metrics", app.url))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    println!("{m}");
    app.shut_down().await;
}
