//! Standard output: the one place that writes to it, so that a reader who goes away ends a command instead of failing
//! it (`amoskys … | head -3`).
//!
//! Deliberately not here: logs (they go to standard error), the demo's screen. What writes through a buffer of its own
//! (`topics`, `sql run`) gets the same ending by [`is_closed`], asked once, in `main`.

use rustix::io::Errno;
use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
};

/// Who an answer is for, and so its errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Prints a line. [`is_closed`] tells an error that means that nobody reads any more.
pub fn line(text: impl Display) -> io::Result<()> {
    write(&mut io::stdout().lock(), format_args!("{text}\n"))
}

/// Prints text that ends its own lines.
pub fn text(text: impl Display) -> io::Result<()> {
    write(&mut io::stdout().lock(), format_args!("{text}"))
}

fn write(out: &mut dyn Write, text: std::fmt::Arguments<'_>) -> io::Result<()> {
    out.write_fmt(text).and_then(|()| out.flush()).map_err(|error| match error.raw_os_error() {
        // A terminal that was closed.
        Some(code) if code == Errno::IO.raw_os_error() => io::Error::new(io::ErrorKind::BrokenPipe, error),
        _ => error,
    })
}

/// Nobody reads our output any more: done, not failed.
pub fn is_closed(error: &anyhow::Error) -> bool {
    let kinds = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    kinds.map(io::Error::kind).any(|kind| kind == io::ErrorKind::BrokenPipe)
}

/// `1 stream`, `2 streams`.
pub fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// How wide standard output is, where it is a terminal.
pub fn terminal_columns() -> Option<usize> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    ratatui::crossterm::terminal::size().ok().map(|(columns, _)| usize::from(columns))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    struct Failing(i32);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::from_raw_os_error(self.0))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_and_a_closed_terminal_are_an_end_and_a_full_disk_is_not() {
        let ends = |errno: Errno| {
            let result = write(&mut Failing(errno.raw_os_error()), format_args!("x"));
            is_closed(&result.context("printing").expect_err("it fails"))
        };
        assert_eq!([Errno::PIPE, Errno::IO, Errno::NOSPC].map(ends), [true, true, false]);
    }
}
