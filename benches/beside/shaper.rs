//! A line to S3 as it is from afar: a proxy that holds bytes back for the time
//! they travel, and lets through only so many a second on each connection.
//! Without root, unlike `tc netem`.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;

/// What is held back at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// More than is ever on the way: a rate times a delay.
const CHUNKS_ON_THE_WAY: usize = 64;

/// By which a timer may be late.
const LATENESS: Duration = Duration::from_millis(5);

/// A line.
#[derive(Clone, Copy)]
pub(crate) struct Line {
    /// There and back.
    pub(crate) round_trip: Duration,
    /// Of each connection, in each direction.
    pub(crate) bytes_per_second: f64,
}

/// A proxy over such a line, until it is dropped.
pub(crate) struct Shaper {
    /// The URL by which the server is reached over the line.
    pub(crate) endpoint: String,
    _accepting: AbortOnDropHandle<()>,
}

impl Shaper {
    pub(crate) async fn start(upstream: &str, line: Line) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let upstream = upstream.to_owned();
        let accepting = tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let upstream = upstream.clone();
                tokio::spawn(async move {
                    // The handshake has taken a round trip, too.
                    sleep(line.round_trip).await;
                    if let Ok(far) = TcpStream::connect(upstream).await {
                        join(near, far, line);
                    }
                });
            }
        });
        Self {
            endpoint,
            _accepting: AbortOnDropHandle::new(accepting),
        }
    }
}

fn join(near: TcpStream, far: TcpStream, line: Line) {
    let _ = near.set_nodelay(true);
    let _ = far.set_nodelay(true);
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    carry(near_read, far_write, line);
    carry(far_read, near_write, line);
}

/// One direction.
fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, line: Line) -> JoinHandle<()> {
    let (sender, mut on_the_way) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_ON_THE_WAY);
    tokio::spawn(async move {
        let mut free_at = Instant::now();
        loop {
            let mut chunk = vec![0; CHUNK_BYTES];
            let Ok(len @ 1..) = from.read(&mut chunk).await else {
                return;
            };
            chunk.truncate(len);
            // The last of it leaves once all before it has, and it has itself.
            let seconds = len as f64 / line.bytes_per_second;
            // A timer that is late does not make the line slower.
            let now = Instant::now();
            free_at = free_at.max(now - LATENESS) + Duration::from_secs_f64(seconds);
            let arrives = free_at + line.round_trip / 2;
            if sender.send((arrives, chunk)).await.is_err() {
                return;
            }
            // The sender sees no more room than the line has.
            sleep_until(free_at).await;
        }
    });
    tokio::spawn(async move {
        while let Some((arrives, chunk)) = on_the_way.recv().await {
            sleep_until(arrives).await;
            if to.write_all(&chunk).await.is_err() {
                return;
            }
        }
    })
}
