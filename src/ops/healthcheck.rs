//! `kura healthcheck`: asks the running server for a sign of life, for images
//! that have no shell and no curl.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::config::Listen;

const TIMEOUT: Duration = Duration::from_secs(3);
const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: kura\r\nConnection: close\r\n\r\n";

/// Succeeds when the server at `listen` is alive.
///
/// # Errors
/// When it is not.
pub fn run(listen: &Listen) -> Result<()> {
    let answer = match listen {
        Listen::Tcp(address) => connect(address).and_then(ask),
        Listen::Unix(path) => UnixStream::connect(path).and_then(|stream| {
            stream.set_read_timeout(Some(TIMEOUT))?;
            ask(stream)
        }),
    };
    let answer = answer.context("the server does not answer")?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "the server is not well");
    Ok(())
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for mut address in address.to_socket_addrs()? {
        if address.ip().is_unspecified() {
            // Listening on all addresses is not an address to connect to.
            address.set_ip(match address {
                std::net::SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(stream) => {
                stream.set_read_timeout(Some(TIMEOUT))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn ask(mut stream: impl Read + Write) -> io::Result<String> {
    stream.write_all(REQUEST)?;
    let mut answer = String::new();
    stream.take(1024).read_to_string(&mut answer)?;
    Ok(answer)
}
