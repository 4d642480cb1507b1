//! Credentials that are renewed ahead of their end.
//!
//! However many requests ask at once, they are asked for once. While the old
//! ones are good nobody waits for the new, and a renewal that fails harms
//! nobody. What S3 has rejected is not used again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_sdk_s3::config::Credentials;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::interceptors::InterceptorContext;
use aws_sdk_s3::config::retry::{ClassifyRetry, RetryAction};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::time::Instant;

use super::error;
use crate::metrics::{Metrics, RenewalLabels};

/// So long before their end credentials are renewed, and up to twice as long:
/// those of tenants that were opened together are not renewed together.
const LEAD: Duration = Duration::from_mins(5);
/// So long before their end they are not used any more: a request that is sent
/// then would arrive too late.
const MARGIN: Duration = Duration::from_secs(10);
/// A renewal that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// The wait after a first failure, doubled with each that follows.
const BACKOFF: Duration = Duration::from_secs(1);
/// The longest such wait.
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// S3's word that they are bad is taken once in this time: if the new ones are
/// no better, newer ones would not be, and each costs a request.
const REJECTION: Duration = Duration::from_mins(1);
/// So long after that requests may be rejected that had the old ones.
const AFTERMATH: Duration = Duration::from_secs(15);

/// Where credentials come from, and those that are in use. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Renewed(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: Box<dyn ProvideCredentials>,
    /// Whose they are, for log lines and metrics.
    of: Holder,
    metrics: Metrics,
    state: Mutex<State>,
}

/// Whose credentials they are.
#[derive(Clone, Debug)]
pub(super) enum Holder {
    /// The server's own.
    Server,
    /// A tenant's role.
    Tenant(String),
}

type Outcome = Result<Credentials, Failure>;

/// Why there are none.
#[derive(Clone, Debug)]
enum Failure {
    /// Whoever gives them out has refused, or there is nobody to ask.
    Refused(String),
    /// Whoever gives them out did not answer as they should.
    Unavailable(String),
}

#[derive(Debug, Default)]
struct State {
    current: Option<Current>,
    trouble: Option<Trouble>,
    renewal: Option<Shared<BoxFuture<'static, Outcome>>>,
    /// When S3 last rejected what was in use.
    rejected: Option<Instant>,
}

#[derive(Debug)]
struct Current {
    credentials: Credentials,
    /// When to renew them, and when they are over; `None` for never.
    times: Option<(Instant, Instant)>,
}

/// Renewals that have failed one after the other.
#[derive(Debug)]
struct Trouble {
    last: Failure,
    times: u32,
    not_before: Instant,
}

/// What to do for who asks.
#[derive(Debug)]
enum Step {
    Have(Credentials),
    /// They are good, and it is time for others.
    HaveAndRenew(Credentials),
    Renew,
    Fail(Failure),
}

impl Renewed {
    pub(super) fn new(
        source: impl ProvideCredentials + 'static,
        of: Holder,
        metrics: Metrics,
    ) -> Self {
        Self(Arc::new(Inner {
            source: Box::new(source),
            of,
            metrics,
            state: Mutex::default(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn provide(&self) -> Outcome {
        let renewal = {
            let mut state = self.state();
            match state.step(Instant::now()) {
                Step::Have(credentials) => return Ok(credentials),
                Step::HaveAndRenew(credentials) => {
                    drop(self.renewal(&mut state));
                    return Ok(credentials);
                }
                Step::Renew => self.renewal(&mut state),
                Step::Fail(failure) => return Err(failure),
            }
        };
        renewal.await
    }

    /// The renewal under way, or a new one: a task of its own, which no caller
    /// can cut short.
    fn renewal(&self, state: &mut State) -> Shared<BoxFuture<'static, Outcome>> {
        let begin = || {
            let (this, next) = (self.clone(), self.clone());
            let task = tokio::spawn(async move { this.renew().await });
            let outcome = async move {
                task.await.unwrap_or_else(|panicked| {
                    next.state().renewal = None;
                    Err(Failure::Unavailable(panicked.to_string()))
                })
            };
            outcome.boxed().shared()
        };
        state.renewal.get_or_insert_with(begin).clone()
    }

    async fn renew(&self) -> Outcome {
        let asked = tokio::time::timeout(PATIENCE, self.0.source.provide_credentials()).await;
        let outcome = match asked {
            Ok(Ok(credentials)) => Ok(credentials),
            Ok(Err(error)) => Err(Failure::from(&error)),
            Err(elapsed) => Err(Failure::Unavailable(elapsed.to_string())),
        };
        self.report(&outcome);
        let mut state = self.state();
        state.renewal = None;
        state.learn(outcome.clone(), Instant::now());
        outcome
    }

    fn report(&self, outcome: &Outcome) {
        if let (Holder::Server, Ok(credentials)) = (&self.0.of, outcome) {
            let ends = credentials.expiry();
            let ends = ends.and_then(|ends| ends.duration_since(UNIX_EPOCH).ok());
            let ends = ends.map_or(0, |ends| ends.as_secs());
            self.0.metrics.credentials_end.set(ends);
        }
        let (of, tenant) = match &self.0.of {
            Holder::Server => ("server", None),
            Holder::Tenant(id) => ("tenant", Some(id.as_str())),
        };
        let (outcome, failure) = match outcome {
            Ok(_) => ("renewed", None),
            Err(Failure::Refused(why)) => ("refused", Some(why)),
            Err(Failure::Unavailable(why)) => ("failed", Some(why)),
        };
        let labels = RenewalLabels { of, outcome };
        self.0
            .metrics
            .credential_renewals
            .get_or_create(&labels)
            .inc();
        if let Some(error) = failure {
            tracing::warn!(tenant, error, "credentials could not be had");
        } else {
            tracing::debug!(tenant, "credentials have been had");
        }
    }

    /// True when a request that S3 rejected is worth another try, because
    /// other credentials may be used for it.
    fn reject(&self) -> bool {
        self.state().reject(Instant::now())
    }
}

impl State {
    fn step(&self, now: Instant) -> Step {
        let may_renew = self.trouble.as_ref().is_none_or(|it| now >= it.not_before);
        match (&self.current, &self.trouble) {
            (Some(current), _) if current.is_good(now) => {
                let credentials = current.credentials.clone();
                if may_renew && current.is_due(now) {
                    Step::HaveAndRenew(credentials)
                } else {
                    Step::Have(credentials)
                }
            }
            (_, Some(trouble)) if !may_renew => Step::Fail(trouble.last.clone()),
            _ => Step::Renew,
        }
    }

    fn learn(&mut self, outcome: Outcome, now: Instant) {
        match outcome {
            Ok(credentials) => {
                self.current = Some(Current::new(credentials, now));
                self.trouble = None;
            }
            Err(last) => {
                let times = self.trouble.as_ref().map_or(0, |trouble| trouble.times);
                let wait = BACKOFF * 2_u32.saturating_pow(times);
                self.trouble = Some(Trouble {
                    last,
                    times: (times + 1).min(10),
                    not_before: now + wait.min(MAX_BACKOFF),
                });
            }
        }
    }

    fn reject(&mut self, now: Instant) -> bool {
        if let Some(before) = self.rejected
            && now < before + REJECTION
        {
            return now < before + AFTERMATH;
        }
        self.rejected = Some(now);
        self.current = None;
        true
    }
}

impl Current {
    fn new(credentials: Credentials, now: Instant) -> Self {
        let times = credentials.expiry().map(|expiry| {
            let left = expiry.duration_since(SystemTime::now()).unwrap_or_default();
            let lead = (LEAD + spread(&credentials)).min(left / 2);
            (
                now + left.saturating_sub(lead),
                now + left.saturating_sub(MARGIN),
            )
        });
        Self { credentials, times }
    }

    fn is_good(&self, now: Instant) -> bool {
        self.times.is_none_or(|(_, over)| now < over)
    }

    fn is_due(&self, now: Instant) -> bool {
        self.times.is_some_and(|(due, _)| now >= due)
    }
}

/// Up to [`LEAD`], as the key's id will have it: that is as good as a die.
fn spread(credentials: &Credentials) -> Duration {
    let bytes = credentials.access_key_id().bytes();
    let sum: u32 = bytes.fold(0, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(byte.into())
    });
    LEAD * (sum % 64) / 64
}

impl ProvideCredentials for Renewed {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let provided = async { self.provide().await.map_err(CredentialsError::from) };
        future::ProvideCredentials::new(provided)
    }
}

impl ClassifyRetry for Renewed {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        match context.response() {
            Some(response) if blames_credentials(response) && self.reject() => {
                RetryAction::transient_error()
            }
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "Renewed"
    }
}

/// True for S3's words that credentials are over, and for the wordless answer
/// to a HEAD that means the same.
fn blames_credentials(response: &HttpResponse) -> bool {
    let words = response.body().bytes().unwrap_or_default();
    let says = |code: &str| memchr::memmem::find(words, code.as_bytes()).is_some();
    match response.status().as_u16() {
        400 if words.is_empty() => true,
        400 | 403 => [
            "<Code>ExpiredToken<",
            "<Code>InvalidToken<",
            "<Code>InvalidAccessKeyId<",
        ]
        .into_iter()
        .any(says),
        _ => false,
    }
}

impl From<&CredentialsError> for Failure {
    fn from(reason: &CredentialsError) -> Self {
        let text = error::of_credentials(reason);
        match reason {
            CredentialsError::CredentialsNotLoaded(_)
            | CredentialsError::InvalidConfiguration(_) => Self::Refused(text),
            _ => Self::Unavailable(text),
        }
    }
}

impl From<Failure> for CredentialsError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(why) => Self::invalid_configuration(why),
            Failure::Unavailable(why) => Self::provider_error(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn lasting(key_id: &str, time: Duration) -> Credentials {
        let ends = SystemTime::now() + time;
        Credentials::new(key_id, "secret", None, Some(ends), "test")
    }

    fn state_with(credentials: Credentials) -> (State, Instant) {
        let (mut state, now) = (State::default(), Instant::now());
        state.learn(Ok(credentials), now);
        (state, now)
    }

    fn failure() -> Outcome {
        Err(Failure::Unavailable("no answer".into()))
    }

    #[test]
    fn credentials_are_renewed_while_the_old_are_still_good() {
        let (state, now) = state_with(lasting("one", HOUR));
        let after = |minutes| state.step(now + Duration::from_mins(minutes));
        assert!(matches!(after(49), Step::Have(_)));
        assert!(matches!(after(56), Step::HaveAndRenew(_)));
        assert!(matches!(after(60), Step::Renew));
    }

    #[test]
    fn credentials_that_never_end_are_never_renewed() {
        let endless = Credentials::new("one", "secret", None, None, "test");
        let (state, now) = state_with(endless);
        assert!(matches!(state.step(now + 10_000 * HOUR), Step::Have(_)));
    }

    #[test]
    fn failed_renewal_harms_nobody_until_the_old_are_over_and_is_not_tried_at_once() {
        let (mut state, now) = state_with(lasting("one", HOUR));
        let due = now + Duration::from_mins(56);
        state.learn(failure(), due);
        assert!(matches!(state.step(due), Step::Have(_)));
        assert!(matches!(state.step(due + BACKOFF), Step::HaveAndRenew(_)));
        state.learn(failure(), now + HOUR);
        assert!(matches!(state.step(now + HOUR), Step::Fail(_)));
        assert!(matches!(state.step(now + HOUR + BACKOFF), Step::Fail(_)));
        assert!(matches!(state.step(now + HOUR + 2 * BACKOFF), Step::Renew));
    }

    #[test]
    fn waits_between_failures_grow_to_a_bound() {
        let (mut state, now) = (State::default(), Instant::now());
        for _ in 0..40 {
            state.learn(failure(), now);
        }
        assert!(matches!(state.step(now + MAX_BACKOFF / 2), Step::Fail(_)));
        assert!(matches!(state.step(now + MAX_BACKOFF), Step::Renew));
    }

    #[test]
    fn rejected_credentials_are_replaced_but_not_again_and_again() {
        let (mut state, now) = state_with(lasting("one", HOUR));
        assert!(state.reject(now));
        assert!(matches!(state.step(now), Step::Renew));
        state.learn(Ok(lasting("two", HOUR)), now);
        assert!(state.reject(now), "of a request that had the old ones");
        assert!(matches!(state.step(now), Step::Have(_)));
        assert!(!state.reject(now + AFTERMATH));
        assert!(state.reject(now + REJECTION));
        assert!(matches!(state.step(now + REJECTION), Step::Renew));
    }

    #[derive(Debug, Default)]
    struct Counting(Arc<AtomicU32>);

    impl ProvideCredentials for Counting {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::new(async {
                let time = self.0.fetch_add(1, Ordering::Relaxed);
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                // The first are over at once.
                Ok(lasting("one", HOUR * time))
            })
        }
    }

    #[tokio::test]
    async fn a_thousand_who_ask_at_the_end_make_one_request() {
        let counting = Counting::default();
        let asked = Arc::clone(&counting.0);
        let renewed = Renewed::new(counting, Holder::Server, Metrics::default());
        for times in [1, 2, 2] {
            let asking = (0..1000).map(|_| renewed.provide());
            let answers = futures_util::future::join_all(asking).await;
            assert!(answers.iter().all(Result::is_ok));
            assert_eq!(asked.load(Ordering::Relaxed), times);
        }
    }
}
