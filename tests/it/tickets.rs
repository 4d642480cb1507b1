//! Downloads by ticket: one file, one name, one way, for a while, and nothing
//! else.

use std::time::{SystemTime, UNIX_EPOCH};

use kura::tenant::Ticket;
use reqwest::header::{ACCEPT, ACCEPT_LANGUAGE, IF_NONE_MATCH, IF_RANGE, RANGE};
use reqwest::{Method, RequestBuilder, Response};

use crate::support::app::{SECRET, TestApp, problem_code};
use crate::support::pattern;
use crate::support::process::run;
use crate::support::stand::Stand;
use crate::support::task::TenantFiles;

const KEY: &str = "2026/11/261122194501_report.pdf";

fn in_seconds(seconds: i64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs().saturating_add_signed(seconds)
}

fn ticket() -> Ticket {
    Ticket {
        tenant: "default".parse().unwrap(),
        key: KEY.into(),
        disposition: "attachment".into(),
        content_type: None,
        expires_at: in_seconds(60),
    }
}

fn path_of(app: &TestApp, ticket: &Ticket, file_name: &str) -> String {
    let signed = ticket.sign(&app.token(ticket.tenant.as_str()), file_name);
    format!("/kura/t/{signed}/{file_name}")
}

/// A request as a browser's: without a token.
fn request(app: &TestApp, method: Method, path: &str) -> RequestBuilder {
    app.client.request(method, format!("{}{path}", app.url))
}

async fn get(app: &TestApp, path: &str) -> Response {
    request(app, Method::GET, path).send().await.unwrap()
}

async fn store(app: &TestApp, body: impl Into<reqwest::Body>) {
    let put = app.request(Method::PUT, &format!("/v1/files/{KEY}"));
    let put = put.header("Content-Type", "application/pdf").body(body);
    assert_eq!(put.send().await.unwrap().status(), 201);
}

#[tokio::test]
async fn ticket_downloads_its_file_as_it_says() {
    for stand in Stand::both().await {
        let app = &stand.app;
        store(app, "a report").await;
        let typed = Ticket {
            disposition: "inline".into(),
            content_type: Some("text/plain".into()),
            ..ticket()
        };
        for (ticket, disposition, media_type) in [
            (ticket(), "attachment", "application/pdf"),
            (typed, "inline", "text/plain"),
        ] {
            let path = path_of(app, &ticket, "Q3 見積.pdf");
            for method in [Method::GET, Method::HEAD] {
                let answer = request(app, method.clone(), &path).send().await.unwrap();
                assert_eq!(answer.status(), 200);
                let header = |name| answer.headers()[name].to_str().unwrap();
                assert_eq!(header("content-type"), media_type);
                let expected = format!(
                    "{disposition}; filename=\"Q3 __.pdf\"; filename*=UTF-8''Q3%20%E8%A6%8B%E7%A9%8D.pdf"
                );
                assert_eq!(header("content-disposition"), expected);
                assert_eq!(header("cache-control"), "private");
                assert_eq!(header("referrer-policy"), "no-referrer");
                assert_eq!(header("x-content-type-options"), "nosniff");
                assert!(header("content-security-policy").ends_with("sandbox"));
                assert_eq!(header("content-length"), "8");
                if method == Method::GET {
                    assert_eq!(answer.text().await.unwrap(), "a report");
                }
            }
        }
    }
}

#[tokio::test]
async fn query_changes_nothing() {
    let stand = Stand::directory(&[]).await;
    store(&stand.app, "a report").await;
    let path = path_of(&stand.app, &ticket(), "a.pdf");
    let query = "?disposition=inline&filename=b.html&type=text/html";
    let answer = get(&stand.app, &format!("{path}{query}")).await;
    let header = |name| answer.headers()[name].to_str().unwrap();
    assert_eq!(header("content-type"), "application/pdf");
    assert_eq!(
        header("content-disposition"),
        "attachment; filename=\"a.pdf\""
    );
}

#[tokio::test]
async fn interrupted_download_is_resumed_and_a_known_one_not_sent() {
    for stand in Stand::both().await {
        let app = &stand.app;
        let body = pattern(1, 300_000);
        store(app, body.clone()).await;
        let path = path_of(app, &ticket(), "a.pdf");
        let etag = get(app, &path).await.headers()["etag"].clone();
        // The browser goes on with another ticket for the same file.
        let later = Ticket {
            expires_at: in_seconds(90),
            ..ticket()
        };
        let path = path_of(app, &later, "a.pdf");
        let resumed = request(app, Method::GET, &path).header(RANGE, "bytes=200000-");
        let resumed = resumed.header(IF_RANGE, etag.clone()).send().await.unwrap();
        assert_eq!(resumed.status(), 206);
        assert!(resumed.bytes().await.unwrap() == body[200_000..]);
        let known = request(app, Method::GET, &path).header(IF_NONE_MATCH, etag);
        let known = known.send().await.unwrap();
        assert_eq!(known.status(), 304);
        assert_eq!(known.headers()["cache-control"], "private");
    }
}

#[tokio::test]
async fn download_by_ticket_is_one_request_to_s3() {
    let stand = Stand::s3(&[]).await;
    store(&stand.app, "a report").await;
    let server = stand.server.as_ref().unwrap();
    server.take_requests();
    get(&stand.app, &path_of(&stand.app, &ticket(), "a.pdf")).await;
    let requests = server.take_requests();
    let operations: Vec<_> = requests.iter().map(|request| request.operation).collect();
    assert_eq!(operations, ["GetObject"]);
}

#[tokio::test]
async fn hostile_tickets_open_nothing() {
    let stand = Stand::s3(&[]).await;
    let app = &stand.app;
    store(app, "a report").await;
    let good = path_of(app, &ticket(), "a.pdf");
    let signed = good.split('/').nth(3).unwrap();
    let (payload, mac) = signed.split_once('.').unwrap();
    let other_key = Ticket {
        key: "2026/11/261122194502_secret.pdf".into(),
        ..ticket()
    };
    let other_key = path_of(app, &other_key, "a.pdf");
    let other_payload = other_key
        .split('/')
        .nth(3)
        .unwrap()
        .split_once('.')
        .unwrap();
    let of_tenant = |tenant: &str| Ticket {
        tenant: tenant.parse().unwrap(),
        ..ticket()
    };
    let by_other = ticket().sign(&app.token("siteb"), "a.pdf");
    let by_secret = ticket().sign(SECRET, "a.pdf");
    let days_ahead = Ticket {
        expires_at: in_seconds(86_400 + 60),
        ..ticket()
    };
    for (path, case) in [
        (format!("/kura/t/{signed}/b.pdf"), "another name"),
        (format!("/kura/t/{signed}/%61.pdf%00"), "a name with a NUL"),
        (format!("/kura/t/{signed}/%ff"), "a name that is no text"),
        (
            format!("/kura/t/{}.{mac}/a.pdf", other_payload.0),
            "another key",
        ),
        (
            format!("/kura/t/{payload}.{}/a.pdf", other_payload.1),
            "another MAC",
        ),
        (format!("/kura/t/{payload}/a.pdf"), "no MAC"),
        (format!("/kura/t/{payload}./a.pdf"), "an empty MAC"),
        (format!("/kura/t/.{mac}/a.pdf"), "an empty payload"),
        (
            format!("/kura/t/{}/a.pdf", &signed[..signed.len() - 1]),
            "cut short",
        ),
        (format!("/kura/t/{signed}./a.pdf"), "a second dot"),
        (
            format!("/kura/t/{by_other}/a.pdf"),
            "another tenant's token",
        ),
        (
            format!("/kura/t/{by_secret}/a.pdf"),
            "the secret for a token",
        ),
        (
            path_of(app, &of_tenant("nobody"), "a.pdf"),
            "a tenant that there is not",
        ),
        (path_of(app, &days_ahead, "a.pdf"), "for more than a day"),
        (format!("/kura/t/{}/a.pdf", app.token("default")), "a token"),
        (format!("/kura/t/{}/a.pdf", "A".repeat(9000)), "a long one"),
    ] {
        let refused = get(app, &path).await;
        assert_eq!(refused.status(), 403, "{case}");
        assert_eq!(problem_code(refused).await, "ticket_invalid", "{case}");
    }
    for method in [Method::PUT, Method::POST, Method::DELETE, Method::PATCH] {
        let refused = request(app, method, &good).body("x").send().await.unwrap();
        assert_eq!(refused.status(), 405);
    }
    // A ticket is no token.
    let listed = request(app, Method::GET, "/v1/files").bearer_auth(signed);
    assert_eq!(listed.send().await.unwrap().status(), 401);
    assert_eq!(get(app, &good).await.status(), 200);
}

#[tokio::test]
async fn expired_ticket_opens_nothing() {
    let stand = Stand::directory(&[]).await;
    store(&stand.app, "a report").await;
    let expired = Ticket {
        expires_at: in_seconds(-1),
        ..ticket()
    };
    let refused = get(&stand.app, &path_of(&stand.app, &expired, "a.pdf")).await;
    assert_eq!(refused.status(), 403);
    assert_eq!(refused.headers()["cache-control"], "no-store");
    assert_eq!(problem_code(refused).await, "ticket_expired");
}

#[tokio::test]
async fn genuine_ticket_of_nonsense_is_refused() {
    let stand = Stand::directory(&[]).await;
    let app = &stand.app;
    store(app, "a report").await;
    let up = Ticket {
        key: "../../etc/passwd".into(),
        ..ticket()
    };
    let reserved = Ticket {
        key: "tmp/imports/0123456789abcdef".into(),
        ..ticket()
    };
    let disposition = Ticket {
        disposition: "form-data".into(),
        ..ticket()
    };
    let media_type = Ticket {
        content_type: Some("text/html\r\nX: y".into()),
        ..ticket()
    };
    let missing = Ticket {
        key: "missing".into(),
        ..ticket()
    };
    for (ticket, status, code) in [
        (up, 400, "invalid_key"),
        (reserved, 400, "invalid_key"),
        (disposition, 400, "invalid_parameter"),
        (media_type, 400, "invalid_parameter"),
        (missing, 404, "not_found"),
    ] {
        let refused = get(app, &path_of(app, &ticket, "a.pdf")).await;
        assert_eq!(refused.status(), status);
        assert_eq!(problem_code(refused).await, code);
    }
}

#[tokio::test]
async fn browsers_are_told_in_their_language_what_to_do() {
    let stand = Stand::directory(&[]).await;
    let app = &stand.app;
    let expired = Ticket {
        expires_at: in_seconds(-1),
        ..ticket()
    };
    for (ticket, status, words) in [
        (expired, 403, ["no longer valid", "無効"]),
        (ticket(), 404, ["not there", "見つかりません"]),
    ] {
        let path = path_of(app, &ticket, "a.pdf");
        for (language, word) in ["en-GB", "ja,en;q=0.5"].into_iter().zip(words) {
            let browser = request(app, Method::GET, &path)
                .header(ACCEPT, "text/html,application/xhtml+xml,*/*;q=0.8")
                .header(ACCEPT_LANGUAGE, language);
            let page = browser.send().await.unwrap();
            assert_eq!(page.status(), status);
            assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
            let id = page.headers()["x-request-id"].to_str().unwrap().to_owned();
            let text = page.text().await.unwrap();
            assert!(text.contains(word) && text.contains(&id), "{text}");
        }
    }
}

#[tokio::test]
async fn tickets_take_the_places_of_their_tenant_and_are_counted_by_route() {
    let stand = Stand::directory(&[]).await;
    let app = &stand.app;
    store(app, "a report").await;
    let tenant = app.served.tenants.get(&"default".parse().unwrap()).unwrap();
    let path = path_of(app, &ticket(), "a.pdf");
    let places = tenant.inner.places.available_permits();
    let all = tenant.inner.places.clone();
    let held = all.acquire_many_owned(u32::try_from(places).unwrap());
    let held = held.await.unwrap();
    let refused = get(app, &path).await;
    assert_eq!(refused.status(), 429);
    assert_eq!(problem_code(refused).await, "tenant_busy");
    drop(held);
    assert_eq!(get(app, &path).await.text().await.unwrap(), "a report");
    let metrics = get(app, "/metrics").await.text().await.unwrap();
    let counted = "route=\"/kura/t/{ticket}/{filename}\",method=\"GET\",status=\"429\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
    assert!(!metrics.contains("a.pdf"));
}

#[tokio::test]
async fn suspended_tenants_tickets_open_nothing() {
    let yaml = |id, state| format!("s3: {{folder: {id}}}\nkura: {{state: {state}}}\n");
    let states = [("a", "active"), ("b", "suspended")];
    let tenants = TenantFiles::new(states.map(|(id, state)| (id, yaml(id, state))));
    let source = tenants.source();
    let app = TestApp::with(&[("KURA_TENANTS", &source)], |_| {}).await;
    app.wait_until_ready().await;
    for (tenant, status, code) in [("a", 404, "not_found"), ("b", 403, "tenant_suspended")] {
        let ticket = Ticket {
            tenant: tenant.parse().unwrap(),
            ..ticket()
        };
        let answer = get(&app, &path_of(&app, &ticket, "a.pdf")).await;
        assert_eq!(answer.status(), status);
        assert_eq!(problem_code(answer).await, code);
    }
}

#[tokio::test]
async fn command_prints_a_path_that_works() {
    let stand = Stand::directory(&[]).await;
    store(&stand.app, "a report").await;
    for (more, disposition) in [
        (&[][..], "inline; filename=\"261122194501_report.pdf\""),
        (
            &["--attachment", "--filename", "a b.pdf", "--seconds", "9"],
            "attachment; filename=\"a b.pdf\"",
        ),
    ] {
        let arguments = [&["ticket", "default", KEY], more].concat();
        let printed = run(&arguments, &[("KURA_SECRET", SECRET)]);
        let path = String::from_utf8(printed.stdout).unwrap();
        let answer = get(&stand.app, path.trim_end()).await;
        assert_eq!(answer.headers()["content-disposition"], disposition);
    }
    let refused = run(&["ticket", "default", "../a"], &[("KURA_SECRET", SECRET)]);
    assert_eq!(refused.status.code(), Some(1));
}
