//! Stdout, stderr and colour.
//!
//! A reader that closes the pipe has seen enough: what follows is dropped and nothing fails. Text from
//! inputs never reaches a terminal with its control characters (see `weir_project::visible`).

use crate::args::Color;
use anstream::ColorChoice;
use anyhow::Context;
use std::io::{self, BufWriter, ErrorKind, Write};
use weir_project::visible::visible;

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

/// Stdout, as long as somebody reads it.
pub(crate) struct Out;

impl Out {
    /// Writes a whole result.
    pub(crate) fn print(text: impl AsRef<[u8]>) -> anyhow::Result<()> {
        Out::stream(|out| out.write_all(text.as_ref()))
    }

    /// Writes a result as it comes. `write` need not go on after a failure.
    pub(crate) fn stream(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> anyhow::Result<()> {
        let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
        match write(&mut out).and_then(|()| out.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            written => written.context("cannot write to stdout"),
        }
    }
}
