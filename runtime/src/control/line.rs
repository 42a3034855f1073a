//! Lines with an end: what a peer sends is read up to a bound, and no further.

use std::io;
use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// A line without its end; `None` where the peer has gone.
///
/// # Errors
/// The peer's, and [`io::ErrorKind::FileTooLarge`] for a line of more than `most` bytes.
pub async fn read<R: AsyncBufRead + Unpin>(reader: &mut R, most: usize) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    loop {
        let available = reader.fill_buf().await?;
        if available.is_empty() {
            // What a peer says without an end to it may be half of what it meant.
            return if line.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        let end = memchr::memchr(b'\n', available);
        let taken = end.unwrap_or(available.len());
        if line.len() + taken > most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        line.extend_from_slice(available.get(..taken).unwrap_or_default());
        reader.consume(end.map_or(taken, |end| end + 1));
        if end.is_some() {
            return Ok(Some(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::BufReader;

    #[tokio::test]
    async fn lines_end_where_they_end() {
        let mut reader = BufReader::with_capacity(3, &b"status\n\nmore\nhalf"[..]);
        for line in ["status", "", "more"] {
            assert_eq!(read(&mut reader, 6).await.unwrap().unwrap(), line.as_bytes());
        }
        assert_eq!(read(&mut reader, 6).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(read(&mut BufReader::new(&b""[..]), 6).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_line_without_end_is_read_no_further() {
        let mut endless = BufReader::new(tokio::io::repeat(b'x'));
        assert_eq!(read(&mut endless, 1000).await.unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
