//! What the walls are tried with: a "picture" that orders its worker to do
//! what a picture that has taken it over might.
//!
//! `KURA-DRILL WHAT ARGUMENT…`; each `WHAT` is a [`Drill`]. Only a worker that
//! was started for it obeys, which the server never does.

use std::hint::black_box;
use std::io::{self, Write};

use crate::render::format::Format;
use crate::render::protocol::{HEADER_BYTES, MAX_THUMBNAIL_BYTES};
use crate::render::{Refusal, Rendered};

/// What a drill begins with.
pub const MAGIC: &[u8] = b"KURA-DRILL ";

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drill {
    /// `echo N`: answer with a thumbnail of N bytes.
    Echo(usize),
    /// `panic`.
    Panic,
    /// `abort`.
    Abort,
    /// `exit`: end as if all were well.
    Exit,
    /// `allocate`: take memory until there is no more.
    Allocate,
    /// `recurse`: take stack until there is no more.
    Recurse,
    /// `spin`: compute for ever.
    Spin,
    /// `hang`: wait for ever.
    Hang,
    /// `segfault`: read where nothing is.
    Segfault,
    /// `babble`: say what is not of the protocol.
    Babble,
    /// `boast`: announce a thumbnail that never comes.
    Boast,
    /// `syscall N A B C D`: call the kernel by number, with numbers.
    Syscall([i64; 5]),
}

impl Drill {
    /// The drill that `source` orders.
    #[must_use]
    pub fn of(source: &[u8]) -> Option<Self> {
        let line = source.strip_prefix(MAGIC)?;
        let line = line.split(|byte| *byte == b'\n').next()?;
        let mut words = str::from_utf8(line).ok()?.split_ascii_whitespace();
        Some(match words.next()? {
            "echo" => Self::Echo(words.next()?.parse().ok()?),
            "panic" => Self::Panic,
            "abort" => Self::Abort,
            "exit" => Self::Exit,
            "allocate" => Self::Allocate,
            "recurse" => Self::Recurse,
            "spin" => Self::Spin,
            "hang" => Self::Hang,
            "segfault" => Self::Segfault,
            "babble" => Self::Babble,
            "boast" => Self::Boast,
            "syscall" => {
                let mut call = [0; 5];
                for (to, word) in call.iter_mut().zip(words) {
                    *to = word.parse().ok()?;
                }
                Self::Syscall(call)
            }
            _ => return None,
        })
    }

    /// Does it; `socket` leads to the server. A drill that comes back with a
    /// thumbnail met no wall.
    ///
    /// # Errors
    /// [`Refusal::Broken`] for a thumbnail that is too large to be one.
    ///
    /// # Panics
    /// When that is the drill.
    #[allow(clippy::panic, reason = "it is what was ordered")]
    pub fn obey(self, mut socket: impl Write) -> Result<Rendered, Refusal> {
        match self {
            Self::Echo(length) => return thumbnail(length),
            Self::Panic => panic!("a drill"),
            Self::Abort => std::process::abort(),
            Self::Exit => std::process::exit(0),
            Self::Allocate => {
                let mut all = Vec::new();
                loop {
                    all.push(black_box(vec![1_u8; 1 << 20]));
                }
            }
            Self::Recurse => {
                black_box(recurse(black_box(1)));
            }
            Self::Spin => loop {
                black_box(());
            },
            Self::Hang => loop {
                std::thread::park();
            },
            Self::Segfault => segfault(),
            Self::Babble => {
                let _ = socket.write_all(&[b'?'; HEADER_BYTES]);
            }
            Self::Boast => {
                let length = u32::try_from(MAX_THUMBNAIL_BYTES).unwrap_or_default();
                let _ = socket.write_all(b"R");
                let _ = socket.write_all(&length.to_be_bytes());
                loop {
                    std::thread::park();
                }
            }
            Self::Syscall([number, arguments @ ..]) => {
                let _ = syscall(number, arguments);
            }
        }
        thumbnail(64)
    }
}

fn thumbnail(length: usize) -> Result<Rendered, Refusal> {
    if length > MAX_THUMBNAIL_BYTES {
        return Err(Refusal::Broken);
    }
    let mut bytes = b"GIF89a".to_vec();
    bytes.resize(length.max(bytes.len()), 0);
    Ok(Rendered {
        format: Format::Gif,
        bytes,
    })
}

/// Uses a kilobyte of stack at each depth, and has no end that is ever met.
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 128]);
    if frame[0] == 0 {
        return depth;
    }
    recurse(depth + 1) + frame[1]
}

#[allow(unsafe_code)]
fn segfault() {
    // SAFETY: There is none. This is a drill for code that is wrong about its
    // own: nothing is mapped there, and the worker dies.
    black_box(unsafe { black_box(std::ptr::without_provenance::<u8>(1)).read_volatile() });
}

#[allow(unsafe_code)]
fn syscall(number: i64, [a, b, c, d]: [i64; 4]) -> io::Result<()> {
    // SAFETY: There is none. This is a drill for code that has been taken
    // over: what it may do is for the walls to decide.
    let result = unsafe { libc::syscall(number, a, b, c, d, -1_i64, 0_i64) };
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drills_are_told_by_their_first_bytes() {
        for (source, drill) in [
            (&b"KURA-DRILL panic"[..], Some(Drill::Panic)),
            (b"KURA-DRILL echo 7\nwhatever", Some(Drill::Echo(7))),
            (
                b"KURA-DRILL syscall 41 2 1",
                Some(Drill::Syscall([41, 2, 1, 0, 0])),
            ),
            (b"KURA-DRILL dance", None),
            (b"KURA-DRILL ", None),
            (b"kura-drill panic", None),
        ] {
            assert_eq!(Drill::of(source), drill);
        }
    }
}
