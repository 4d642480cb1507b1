//! Connections, and bodies of responses, that can break at an exact position.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::vec;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::content::Content;

/// Closes a [`Connection`] as soon as all bytes before have been sent.
#[derive(Clone, Default)]
pub struct Cutter(Arc<AtomicBool>);

impl Cutter {
    /// Lets the next flush of the connection fail. hyper flushes when it has
    /// handed over all bytes that it has got, and gives up the connection when
    /// the flush fails.
    pub fn cut(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A TCP connection and its [`Cutter`].
pub struct Connection {
    stream: TcpStream,
    cutter: Cutter,
}

impl Connection {
    /// Puts a stream under the control of a cutter.
    pub fn new(stream: TcpStream, cutter: Cutter) -> Self {
        Self { stream, cutter }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.cutter.0.load(Ordering::Relaxed) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// The body of a response, which may end badly.
pub struct ResponseBody<G> {
    pieces: vec::IntoIter<Bytes>,
    ending: Ending,
    _guard: G,
}

/// What comes behind the last byte of a response.
pub enum Ending {
    /// The end of the response.
    Clean,
    /// Nothing, for ever.
    Stalled,
    /// The end of the connection.
    Cut(Cutter),
}

impl<G> ResponseBody<G> {
    /// A body that drops `guard` when the response is over.
    pub fn new(content: &Content, ending: Ending, guard: G) -> Self {
        Self {
            pieces: content.pieces().to_vec().into_iter(),
            ending,
            _guard: guard,
        }
    }
}

impl<G: Unpin> Body for ResponseBody<G> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(piece) = self.pieces.next() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match &self.ending {
            Ending::Clean => Poll::Ready(None),
            Ending::Stalled => Poll::Pending,
            Ending::Cut(cutter) => {
                cutter.cut();
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.as_slice().is_empty() && matches!(self.ending, Ending::Clean)
    }
}
