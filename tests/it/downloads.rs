//! Reading files: headers, conditions and presentation.

use reqwest::header::HeaderMap;
use reqwest::{Method, Response};

use crate::support::app::{BUCKET, problem_code};
use crate::support::pattern;
use crate::support::stand::Stand;

const PATH: &str = "/v1/files/2026/11/a.pdf";
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox";

/// Both stands with one file of a Japanese name at [`PATH`].
async fn stands() -> [Stand; 2] {
    let stands = Stand::both().await;
    for stand in &stands {
        let put = stand.app.request(Method::PUT, PATH).body(pattern(1, 1000));
        let put = put
            .header("Content-Type", "application/pdf")
            .header("X-Kura-Filename", "%E8%A6%8B%E7%A9%8D.pdf");
        assert_eq!(put.send().await.unwrap().status(), 201);
    }
    stands
}

async fn get(stand: &Stand, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = stand.app.get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers[name].to_str().unwrap()
}

#[tokio::test]
async fn file_comes_back_with_its_name_type_and_policy() {
    for stand in stands().await {
        let response = get(&stand, PATH, &[]).await;
        assert_eq!(response.status(), 200);
        let headers = response.headers().clone();
        assert_eq!(headers["content-type"], "application/pdf");
        assert_eq!(headers["content-length"], "1000");
        assert_eq!(
            headers["content-disposition"],
            "inline; filename=\"__.pdf\"; filename*=UTF-8''%E8%A6%8B%E7%A9%8D.pdf"
        );
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["content-security-policy"], POLICY);
        assert_eq!(headers["accept-ranges"], "bytes");
        assert!(text(&headers, "etag").starts_with('"'));
        assert!(httpdate::parse_http_date(text(&headers, "last-modified")).is_ok());
        assert!(response.bytes().await.unwrap() == pattern(1, 1000));
    }
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    for stand in stands().await {
        let empty = stand.app.request(Method::PUT, "/v1/files/empty");
        assert_eq!(empty.send().await.unwrap().status(), 201);
        for path in [PATH, "/v1/files/empty", "/v1/files/none"] {
            let own = |mut headers: HeaderMap| {
                for name in ["date", "x-request-id"] {
                    headers.remove(name);
                }
                headers
            };
            let got = get(&stand, path, &[]).await;
            let head = stand.app.request(Method::HEAD, path).send().await.unwrap();
            assert_eq!(head.status(), got.status(), "{path}");
            if got.status() == 200 {
                assert_eq!(own(head.headers().clone()), own(got.headers().clone()));
            }
            assert_eq!(head.bytes().await.unwrap(), "");
        }
    }
}

#[tokio::test]
async fn missing_file_is_404_and_nothing_else_is() {
    for stand in Stand::both().await {
        let response = get(&stand, PATH, &[]).await;
        assert_eq!(response.status(), 404);
        assert_eq!(problem_code(response).await, "not_found");
    }
    let stand = Stand::s3(&[("S3_BUCKET_NAME", BUCKET), ("KURA_S3_MAX_ATTEMPTS", "1")]).await;
    stand
        .server
        .as_ref()
        .unwrap()
        .reject_credentials("AccessDenied");
    let response = get(&stand, PATH, &[]).await;
    assert_eq!(response.status(), 502);
    assert_eq!(problem_code(response).await, "storage_forbidden");
}

#[tokio::test]
async fn objects_of_redmica_s3_read_as_they_were_meant() {
    let stand = Stand::s3(&[]).await;
    let server = stand.server.as_ref().unwrap();
    let body = pattern(2, 300);
    let digest = kura::digest::Digest::of(&body).to_string();
    // An MD5 is what rows of Redmine before 3.4 have.
    for (key, digest) in [
        ("a", digest.as_str()),
        ("b", "900150983cd24fb0d6963f7d28e17f72"),
    ] {
        let headers = [
            ("content-type", "image/png"),
            ("content-disposition", "inline; filename=%E5%9B%B3%201.png"),
            ("x-amz-meta-digest", digest),
        ];
        server.put_object(
            BUCKET,
            &format!("user001/2026/11/{key}"),
            body.clone(),
            &headers,
        );
        let response = get(&stand, &format!("/v1/files/2026/11/{key}"), &[]).await;
        assert_eq!(response.status(), 200);
        let headers = response.headers();
        assert_eq!(headers["content-type"], "image/png");
        assert_eq!(
            headers["content-disposition"],
            "inline; filename=\"_ 1.png\"; filename*=UTF-8''%E5%9B%B3%201.png"
        );
        let told = headers.get("x-kura-digest").map(|it| it.to_str().unwrap());
        assert_eq!(told, (digest.len() == 64).then_some(digest));
        assert!(response.bytes().await.unwrap() == body);
    }
}

#[tokio::test]
async fn what_the_caller_has_already_is_not_sent_again() {
    for stand in stands().await {
        let first = get(&stand, PATH, &[]).await;
        let etag = text(first.headers(), "etag").to_owned();
        let modified = text(first.headers(), "last-modified").to_owned();
        let weak = format!("W/{etag}");
        let listed = format!("\"x\", {etag}");
        for (name, value) in [
            ("If-None-Match", etag.as_str()),
            ("If-None-Match", &weak),
            ("If-None-Match", &listed),
            ("If-None-Match", "*"),
            ("If-Modified-Since", &modified),
        ] {
            for method in [Method::GET, Method::HEAD] {
                let request = stand.app.request(method, PATH).header(name, value);
                let response = request.send().await.unwrap();
                assert_eq!(response.status(), 304, "{name}: {value}");
                assert_eq!(text(response.headers(), "etag"), etag);
                // A length may be left out; one of 0 would be said of the file.
                let length = response.headers().get("content-length");
                assert!(length.is_none_or(|length| length == "1000"), "{length:?}");
                assert_eq!(response.bytes().await.unwrap(), "");
            }
        }
    }
}

#[tokio::test]
async fn conditions_that_do_not_hold_are_told_apart() {
    for stand in stands().await {
        let first = get(&stand, PATH, &[]).await;
        let etag = text(first.headers(), "etag").to_owned();
        for (name, value, status) in [
            ("If-None-Match", "\"other\"", 200),
            ("If-Modified-Since", "Mon, 01 Jan 2001 00:00:00 GMT", 200),
            ("If-Modified-Since", "yesterday", 200),
            ("If-Match", etag.as_str(), 200),
            ("If-Match", "*", 200),
            ("If-Match", "\"other\"", 412),
            ("If-Unmodified-Since", "Mon, 01 Jan 2001 00:00:00 GMT", 412),
        ] {
            let response = get(&stand, PATH, &[(name, value)]).await;
            assert_eq!(response.status(), status, "{name}: {value}");
            match status {
                412 => assert_eq!(problem_code(response).await, "precondition_failed"),
                _ => assert!(response.bytes().await.unwrap() == pattern(1, 1000)),
            }
        }
    }
}

#[tokio::test]
async fn etag_changes_with_the_bytes() {
    for stand in stands().await {
        let before = get(&stand, PATH, &[]).await;
        let put = stand.app.request(Method::PUT, PATH).body(pattern(2, 1000));
        assert_eq!(put.send().await.unwrap().status(), 201);
        let after = get(&stand, PATH, &[]).await;
        assert_ne!(before.headers()["etag"], after.headers()["etag"]);
    }
}

#[tokio::test]
async fn caller_may_choose_disposition_name_and_type() {
    for stand in stands().await {
        for (query, name, value) in [
            (
                "disposition=attachment&filename=b.txt",
                "content-disposition",
                "attachment; filename=\"b.txt\"",
            ),
            (
                "filename=%E5%9B%B3.png",
                "content-disposition",
                "inline; filename=\"_.png\"; filename*=UTF-8''%E5%9B%B3.png",
            ),
            (
                "filename=a%0D%0ASet-Cookie:%20x=1",
                "content-disposition",
                "inline; filename=\"aSet-Cookie: x=1\"",
            ),
            (
                "filename=a%22;%20b=%22c",
                "content-disposition",
                "inline; filename=\"a_; b=_c\"; filename*=UTF-8''a%22%3B%20b%3D%22c",
            ),
            (
                "filename=..%2F..%2Fetc%2Fpasswd",
                "content-disposition",
                "inline; filename=\"../../etc/passwd\"",
            ),
            (
                "type=text/plain;%20charset=utf-8",
                "content-type",
                "text/plain; charset=utf-8",
            ),
            ("type=image/svg%2Bxml", "content-type", "image/svg+xml"),
        ] {
            let response = get(&stand, &format!("{PATH}?{query}"), &[]).await;
            assert_eq!(response.status(), 200, "{query}");
            let headers = response.headers();
            assert_eq!(text(headers, name), value, "{query}");
            assert_eq!(headers["content-security-policy"], POLICY, "{query}");
            assert_eq!(headers["x-content-type-options"], "nosniff", "{query}");
            assert!(!headers.contains_key("set-cookie"), "{query}");
        }
    }
}

#[tokio::test]
async fn hostile_presentation_is_refused() {
    let [stand, _] = stands().await;
    for query in [
        "disposition=form-data",
        "disposition=inline%0D%0AX:%20y",
        "disposition=",
        "type=text/html%0D%0A",
        "type=text/html%0D%0ASet-Cookie:%20x=1",
        "type=text",
        "type=/",
        "type=",
        "type=text/html%00",
        "type=%E8%A6%8B/x",
        "type=a,b/c",
        "filename=%ff",
        "disposition=inline&disposition=attachment",
    ] {
        let response = get(&stand, &format!("{PATH}?{query}"), &[]).await;
        if response.status() == 200 && query == "filename=%ff" {
            // A query is decoded leniently; the header stays one line of ASCII.
            let disposition = response.headers()["content-disposition"].to_str();
            assert!(disposition.unwrap().contains("%EF%BF%BD"));
            continue;
        }
        assert_eq!(response.status(), 400, "{query}");
        assert_eq!(problem_code(response).await, "invalid_parameter", "{query}");
    }
}

#[tokio::test]
async fn hostile_headers_of_an_upload_are_refused() {
    for stand in Stand::both().await {
        for (name, value) in [
            ("Content-Type", "text"),
            ("Content-Type", "text/html\tx"),
            ("X-Kura-Filename", "%ff%fe"),
            ("X-Kura-Filename", ""),
            ("X-Kura-Digest", "abc"),
            ("X-Kura-Size", "-1"),
            ("X-Kura-Size", "1e3"),
        ] {
            let upload = stand.app.upload("a.txt", "abc").header(name, value);
            let response = upload.send().await.unwrap();
            assert_eq!(response.status(), 400, "{name}: {value}");
            assert_eq!(problem_code(response).await, "invalid_parameter");
            stand.assert_empty(value);
        }
        let long = "x".repeat(1025);
        let upload = stand.app.upload("a.txt", "abc");
        let response = upload.header("X-Kura-Filename", long).send().await.unwrap();
        assert_eq!(response.status(), 400);
        stand.assert_empty("a long name");
    }
}

#[tokio::test]
async fn name_with_line_ends_cannot_leave_its_header() {
    for stand in Stand::both().await {
        let upload = stand.app.upload("a.txt", "abc");
        let upload = upload.header("X-Kura-Filename", "a%0D%0ASet-Cookie:%20x%3D1%22.txt");
        assert_eq!(upload.send().await.unwrap().status(), 201);
        let response = get(&stand, "/v1/files/2026/11/a.txt", &[]).await;
        assert!(!response.headers().contains_key("set-cookie"));
        let disposition = text(response.headers(), "content-disposition");
        assert!(
            disposition.starts_with("inline; filename=\"aSet-Cookie: x=1_.txt\""),
            "{disposition}"
        );
    }
}
