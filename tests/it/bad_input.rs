//! Whatever a caller sends, it gets a clear error, and the store stays empty.

use reqwest::Method;
use tokio::io::AsyncWriteExt;

use crate::support::app::{BUCKET, TestApp, problem_code};
use crate::support::raw::read_answer;
use crate::support::stand::Stand;

#[tokio::test]
async fn keys_that_lead_elsewhere_are_refused() {
    let long_segment = "a".repeat(256);
    let long_key = ["b".repeat(250).as_str(); 4].join("/");
    let keys = [
        "..",
        "../a",
        "a/../b",
        "2026/11/..",
        ".",
        "./a",
        "%2e%2e",
        "%2E%2e%2fa",
        "%2e%2e%2Fuser002%2Fa",
        "a%2f..%2fb",
        "/a",
        "a//b",
        "%2Fetc%2Fpasswd",
        "a%2F%2Fb",
        "a/",
        "2026/11/",
        "a%00",
        "a%00.txt",
        "%ff",
        "%C0%AE%C0%AE/a",
        "a%0D%0Ab",
        "a%7F",
        "a\\b",
        "..%5C..%5Ca",
        "tmp/imports/0123456789abcdef",
        "tmp/thumbnails/x.thumb",
        "tmp/a",
        "tmp%2Fa",
        &long_segment,
        &long_key,
    ];
    for stand in Stand::both().await {
        for key in keys {
            for method in ["PUT", "GET", "DELETE"] {
                let target = format!("/v1/files/{key}");
                let answer = stand.app.raw(method, &target, &[], b"bytes").await;
                let about = format!("{} {method} {key}", stand.name());
                assert_eq!(answer.status, 400, "{about}");
                assert_eq!(answer.code(), "invalid_key", "{about}");
                stand.assert_empty(&about);
            }
        }
    }
}

#[tokio::test]
async fn names_of_uploads_that_lead_elsewhere_are_refused() {
    for stand in Stand::both().await {
        for (query, code) in [
            ("directory=..&name=a", "invalid_key"),
            ("directory=2026/11&name=..", "invalid_key"),
            ("directory=2026/11&name=%2e%2e%2fa", "invalid_key"),
            ("directory=2026/11&name=a%2Fb", "invalid_key"),
            ("directory=2026/11&name=", "invalid_key"),
            ("directory=2026//11&name=a", "invalid_key"),
            ("directory=/2026&name=a", "invalid_key"),
            ("directory=2026/&name=a", "invalid_key"),
            ("directory=&name=a%00b", "invalid_key"),
            ("directory=tmp/imports&name=0123456789abcdef", "invalid_key"),
            ("directory=tmp&name=a", "invalid_key"),
            ("name=a%5Cb", "invalid_key"),
            ("directory=2026/11", "invalid_parameter"),
            ("", "invalid_parameter"),
            ("name=a&name=b", "invalid_parameter"),
        ] {
            let target = format!("/v1/files?{query}");
            let answer = stand.app.raw("POST", &target, &[], b"bytes").await;
            assert_eq!(answer.status, 400, "{query}");
            assert_eq!(answer.code(), code, "{query}");
            stand.assert_empty(query);
        }
    }
}

#[tokio::test]
async fn bad_json_is_refused() {
    for stand in Stand::both().await {
        for body in [
            &b""[..],
            b"{",
            b"{\"from\": \"a\"}",
            b"{\"from\": 1, \"to\": \"b\"}",
            b"{\"from\": \"a\", \"to\": \"\xff\"}",
            b"null",
        ] {
            for target in ["/v1/move", "/v1/archives"] {
                let headers = [("Content-Type", "application/json")];
                let answer = stand.app.raw("POST", target, &headers, body).await;
                assert_eq!(answer.status, 400, "{target}");
                assert_eq!(answer.code(), "invalid_parameter");
            }
        }
        stand.assert_empty("bad JSON");
    }
}

#[tokio::test]
async fn json_over_the_limit_is_not_read() {
    for stand in Stand::both().await {
        for target in ["/v1/move", "/v1/archives"] {
            let head = [
                ("Content-Type", "application/json"),
                ("Content-Length", "1000000000"),
            ];
            let mut stream = stand.app.connect().await;
            let head = stand.app.head("POST", target, &head);
            stream.write_all(head.as_bytes()).await.unwrap();
            // Nothing follows: only a server that does not wait for it answers.
            let answer = read_answer(&mut stream).await.unwrap();
            assert_eq!(answer.status, 413, "{target}");
            assert_eq!(answer.code(), "body_too_large");
        }
    }
}

#[tokio::test]
async fn unknown_routes_and_methods_are_problems_too() {
    for stand in Stand::both().await {
        for (method, target, status, code) in [
            ("GET", "/", 404, "no_such_route"),
            ("GET", "/v1", 404, "no_such_route"),
            ("GET", "/v1/file/a", 404, "no_such_route"),
            ("PUT", "/v1/files/", 404, "no_such_route"),
            ("GET", "/v2/files", 404, "no_such_route"),
            ("GET", "/v1/imports", 404, "no_such_route"),
            ("PATCH", "/v1/files/a", 405, "method_not_allowed"),
            ("BREW", "/v1/files/a", 405, "method_not_allowed"),
            ("PUT", "/v1/files", 405, "method_not_allowed"),
            ("GET", "/v1/move", 405, "method_not_allowed"),
            ("DELETE", "/v1/archives", 405, "method_not_allowed"),
            ("POST", "/healthz", 405, "method_not_allowed"),
        ] {
            let answer = stand.app.raw(method, target, &[], b"").await;
            assert_eq!(answer.status, status, "{method} {target}");
            assert_eq!(answer.code(), code, "{method} {target}");
            if status == 405 {
                assert!(answer.header("allow").is_some(), "{method} {target}");
            }
        }
        stand.assert_empty("unknown routes");
    }
}

#[tokio::test]
async fn methods_that_clients_invent_do_not_become_metrics() {
    let app = TestApp::directory().await;
    for n in 0..5 {
        app.raw(&format!("BREW{n}"), "/v1/files/a", &[], b"").await;
    }
    let text = app.served.metrics.encode();
    assert!(!text.contains("BREW"), "{text}");
    assert!(
        text.contains("method=\"other\",status=\"405\"} 5"),
        "{text}"
    );
}

#[tokio::test]
async fn request_id_is_passed_through_or_made() {
    let stand = Stand::directory(&[]).await;
    let long = "x".repeat(129);
    for (given, kept) in [
        (Some("abc-123_./:+=Z"), true),
        (Some(long.as_str()), false),
        (Some("a b"), false),
        (Some("a\",\"b\":\"c"), false),
        (Some("\u{1b}[31m"), false),
        (Some(""), false),
        (None, false),
    ] {
        for target in ["/healthz", "/v1/files", "/v1/files/none", "/none"] {
            let given: Vec<_> = given.iter().map(|id| ("X-Request-Id", *id)).collect();
            let answer = stand.app.raw("GET", target, &given, b"").await;
            if given.iter().any(|(_, id)| id.contains('\u{1b}')) {
                // No header may have such a character, so this is no request.
                assert_eq!(answer.status, 400);
                continue;
            }
            let told = answer.header("x-request-id").unwrap();
            match given.first() {
                Some((_, id)) if kept => assert_eq!(told, *id),
                given => {
                    assert!(told.len() >= 8 && told.len() <= 64, "{told}");
                    assert!(told.bytes().all(|c| c.is_ascii_alphanumeric()), "{told}");
                    assert!(given.is_none_or(|(_, id)| told != *id));
                }
            }
            if answer.status == 404 {
                assert_eq!(answer.problem()["request_id"], told);
            }
        }
    }
}

#[tokio::test]
async fn errors_tell_no_internals() {
    let attempts = [("KURA_S3_MAX_ATTEMPTS", "1")];
    for stand in Stand::both_with(&attempts).await {
        let place = if let Some(server) = &stand.server {
            server.reject_credentials("AccessDenied");
            server.endpoint().replace("http://", "")
        } else {
            // Nothing can be made or read where a file is in the way.
            let objects = stand.app.root.path().join(BUCKET).join("objects");
            std::fs::remove_dir_all(&objects).unwrap();
            std::fs::write(&objects, "").unwrap();
            stand.app.root.path().display().to_string()
        };
        for (method, path) in [
            (Method::PUT, "/v1/files/2026/11/a"),
            (Method::GET, "/v1/files/2026/11/a"),
            (Method::GET, "/v1/files"),
            (Method::GET, "/v1/imports/0123456789abcdef"),
        ] {
            let response = stand.app.request(method, path).body("x").send().await;
            let response = response.unwrap();
            let status = response.status();
            assert!(status.is_server_error(), "{} {path} {status}", stand.name());
            let text = response.text().await.unwrap();
            let token = stand.app.token("default");
            for secret in [
                &place,
                BUCKET,
                "user001",
                "AccessDenied",
                "os error",
                &token,
            ] {
                assert!(!text.contains(secret), "{path} tells {secret}: {text}");
            }
            let problem: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert!(problem["code"].as_str().unwrap().starts_with("storage_"));
        }
    }
}

#[tokio::test]
async fn what_is_no_http_is_not_served() {
    let stand = Stand::directory(&[]).await;
    for request in [
        "GET /healthz HTTP/1.1\r\nHost: kura\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: kura\r\nContent-Length: x\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: kura\r\nTransfer-Encoding: gzip\r\n\r\n",
        "GET  /healthz  HTTP/1.1\r\n\r\n",
        "\r\nnonsense\r\n\r\n",
    ] {
        let mut stream = stand.app.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = read_answer(&mut stream).await;
        let refused = answer.as_ref().is_ok_and(|answer| answer.status == 400);
        assert!(refused, "{request:?}: {answer:?}");
    }
    let answer = stand.app.raw("GET", "/healthz", &[], b"").await;
    assert_eq!(answer.status, 200, "others are served all the same");
}

#[tokio::test]
async fn query_that_is_none_is_refused() {
    for stand in Stand::both().await {
        let request = stand.app.get("/v1/files?limit=99999999999999999999999");
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 400);
        assert_eq!(problem_code(response).await, "invalid_parameter");
    }
}
