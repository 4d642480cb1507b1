//! Bytes that are kept in the pieces they arrived in.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use sha2::{Digest as _, Sha256};

/// A sequence of bytes in pieces. Cloning, slicing and joining do not copy
/// the bytes, so that tests can afford very large objects.
#[derive(Clone, Debug, Default)]
pub struct Content {
    pieces: Vec<Bytes>,
    len: usize,
}

impl Content {
    /// Appends a piece.
    pub fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.len += piece.len();
            self.pieces.push(piece);
        }
    }

    /// Appends all of another content.
    pub fn append(&mut self, other: Self) {
        self.len += other.len;
        self.pieces.extend(other.pieces);
    }

    /// The number of bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The pieces in order; none of them is empty.
    pub fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// The bytes of a range, which is cut off where the content ends.
    pub fn slice(&self, range: Range<usize>) -> Self {
        let mut slice = Self::default();
        let mut start = 0;
        for piece in &self.pieces {
            let end = start + piece.len();
            let from = range.start.clamp(start, end) - start;
            let to = range.end.clamp(start, end) - start;
            slice.push(piece.slice(from..to));
            start = end;
        }
        slice
    }

    /// The same content with its first byte altered.
    pub fn with_wrong_byte(&self) -> Self {
        let mut wrong = Self::default();
        if let Some(&first) = self.pieces.first().and_then(|piece| piece.first()) {
            wrong.push(Bytes::copy_from_slice(&[!first]));
            wrong.append(self.slice(1..self.len));
        }
        wrong
    }

    /// All bytes in one piece.
    pub fn to_bytes(&self) -> Bytes {
        match self.pieces.as_slice() {
            [piece] => piece.clone(),
            pieces => {
                let mut bytes = BytesMut::with_capacity(self.len);
                for piece in pieces {
                    bytes.extend_from_slice(piece);
                }
                bytes.freeze()
            }
        }
    }

    /// The SHA-256 of the bytes.
    pub fn sha256(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        for piece in &self.pieces {
            hasher.update(piece);
        }
        hasher.finalize().into()
    }
}

impl<B: Into<Bytes>> From<B> for Content {
    fn from(bytes: B) -> Self {
        let mut content = Self::default();
        content.push(bytes.into());
        content
    }
}

/// Writes bytes as lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
