//! Stdout, stderr and colour.
//!
//! A reader that closes the pipe has seen enough: what follows is dropped and nothing fails. Text from
//! inputs never reaches a terminal with its control characters (see `render::visible`).

use crate::args::Color;
use crate::render::visible::visible;
use anstream::ColorChoice;
use anyhow::Context;
use std::io::{self, BufWriter, ErrorKind, Write};

/// How to speak to people.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    color: Color,
}

impl Terminal {
    /// As asked for on the command line.
    pub(crate) fn new(color: Color) -> Self {
        Terminal { color }
    }

    /// Whether stderr gets colour.
    pub(crate) fn colors_stderr(&self) -> bool {
        self.colors(anstream::AutoStream::choice(&io::stderr()))
    }

    /// Whether stdout gets colour.
    pub(crate) fn colors_stdout(&self) -> bool {
        self.colors(anstream::AutoStream::choice(&io::stdout()))
    }

    fn colors(&self, auto: ColorChoice) -> bool {
        match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => auto != ColorChoice::Never,
        }
    }

    /// Tells a person something.
    pub(crate) fn tell(&self, text: &str) {
        // If stderr is gone there is nobody to tell.
        _ = io::stderr().lock().write_all(text.as_bytes());
    }

    /// `error: …`, a line for every cause.
    pub(crate) fn error(&self, message: &str) {
        let (start, end) = if self.colors_stderr() { ("\x1b[1;91m", "\x1b[0m") } else { ("", "") };
        let lines = message.lines().map(|line| format!("{start}error{end}: {}\n", visible(line)));
        self.tell(&lines.collect::<String>());
    }

    /// A failure of the tool or of how it was called.
    pub(crate) fn failure(&self, failure: &anyhow::Error) {
        self.error(&format!("{failure:#}"));
    }
}

/// What is said if stdout is full.
pub(crate) const CANNOT_WRITE: &str = "cannot write to stdout";

/// Stdout, buffered, as long as somebody reads it.
pub(crate) struct Out {
    inner: BufWriter<io::StdoutLock<'static>>,
    is_closed: bool,
}

impl Out {
    /// Takes stdout.
    pub(crate) fn new() -> Self {
        Out { inner: BufWriter::with_capacity(1 << 16, io::stdout().lock()), is_closed: false }
    }

    /// Whether the reader has gone; nothing that follows is seen.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Writes a whole result.
    pub(crate) fn print(text: impl AsRef<[u8]>) -> anyhow::Result<()> {
        let mut out = Out::new();
        out.write_all(text.as_ref()).and_then(|()| out.flush()).context(CANNOT_WRITE)
    }

    fn unless_closed<T>(&mut self, result: io::Result<T>, if_closed: T) -> io::Result<T> {
        match result {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(if_closed)
            }
            other => other,
        }
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_closed {
            return Ok(bytes.len());
        }
        let result = self.inner.write(bytes);
        self.unless_closed(result, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.is_closed {
            return Ok(());
        }
        let result = self.inner.flush();
        self.unless_closed(result, ())
    }
}
