//! STS as far as Kura asks it: roles, counted, with trouble on purpose.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;

/// A role that is given out.
pub const GOOD: &str = "arn:aws:iam::123456789012:role/good";
/// A role that nobody may assume.
pub const FORBIDDEN: &str = "arn:aws:iam::123456789012:role/forbidden";
/// A role about which STS fails.
pub const FAILING: &str = "arn:aws:iam::123456789012:role/failing";

/// A running STS.
pub struct Sts {
    /// Its URL.
    pub endpoint: String,
    asked: Arc<AtomicUsize>,
}

impl Sts {
    /// One on a free port.
    pub async fn start() -> Self {
        let asked = Arc::<AtomicUsize>::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/", post(answer));
        let router = router.with_state(Arc::clone(&asked));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { endpoint, asked }
    }

    /// How often it was asked for a role.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn answer(State(asked): State<Arc<AtomicUsize>>, form: String) -> (StatusCode, String) {
    let nth = asked.fetch_add(1, Ordering::SeqCst);
    assert!(form.contains("Action=AssumeRole"), "{form}");
    let is_for = |role: &str| form.contains(&role.replace(':', "%3A").replace('/', "%2F"));
    let refusal = |code| {
        format!(
            "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code></Error><RequestId>r</RequestId></ErrorResponse>"
        )
    };
    if is_for(FORBIDDEN) {
        return (StatusCode::FORBIDDEN, refusal("AccessDenied"));
    }
    if is_for(FAILING) {
        let code = refusal("ServiceUnavailable");
        return (StatusCode::SERVICE_UNAVAILABLE, code);
    }
    assert!(is_for(GOOD) && form.contains("Policy="), "{form}");
    let ends = SystemTime::now() + Duration::from_hours(1);
    let ends = humantime::format_rfc3339_seconds(ends);
    let given = format!(
        "<AssumeRoleResponse><AssumeRoleResult><Credentials>\
         <AccessKeyId>ASIA{nth}</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>\
         <SessionToken>token</SessionToken><Expiration>{ends}</Expiration>\
         </Credentials></AssumeRoleResult></AssumeRoleResponse>"
    );
    (StatusCode::OK, given)
}
