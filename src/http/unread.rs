//! Request bodies that no handler wanted.
//!
//! A client that is still sending when it is refused has its connection reset,
//! and often never sees why. So before an error is answered, the rest of the
//! body is read and thrown away, within bounds.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::EXPECT;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;

/// How long a refused body is read.
const MAX_TIME: Duration = Duration::from_secs(2);

/// A body that comes back when whoever had it drops it.
struct Lent {
    body: Option<Body>,
    /// True when nothing more is to come, or nothing is being sent yet.
    nothing_to_read: bool,
    home: Arc<Mutex<Option<Body>>>,
}

/// Where a lent body comes back to.
pub(super) struct Unread(Arc<Mutex<Option<Body>>>);

/// Lends the request's body to the handlers.
pub(super) fn lend(request: Request) -> (Request, Unread) {
    let home = Arc::default();
    let unread = Unread(Arc::clone(&home));
    // Who waits for `100 Continue` has not begun to send.
    let nothing_to_read = request.headers().contains_key(EXPECT);
    let request = request.map(|body| {
        Body::new(Lent {
            nothing_to_read: nothing_to_read || body.is_end_stream(),
            body: Some(body),
            home,
        })
    });
    (request, unread)
}

impl Unread {
    /// Reads what is left of the body, as far as that is quick.
    pub(super) async fn drain(self) {
        let body = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut body) = body {
            let drained = async { while let Some(Ok(_)) = body.frame().await {} };
            let _ = tokio::time::timeout(MAX_TIME, drained).await;
        }
    }
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = Pin::new(body).poll_frame(context);
        self.nothing_to_read = matches!(frame, Poll::Ready(None | Some(Err(_))));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map(HttpBody::size_hint)
            .unwrap_or_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.nothing_to_read {
            *self.home.lock().unwrap_or_else(PoisonError::into_inner) = self.body.take();
        }
    }
}
