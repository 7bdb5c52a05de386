//! SIGTERM, SIGINT, SIGQUIT and SIGHUP as a flag that loops look at.
//!
//! A second signal ends the process at once. Not a second SIGHUP: a terminal that is closed may send several, from the
//! kernel and from the shell. Under `nohup`, which has it ignored, SIGHUP stays ignored. A role may take it for something else where no
//! terminal could have sent it.

use anyhow::{Context, Result};
use signal_hook::{
    consts::{SIGHUP, TERM_SIGNALS},
    flag,
};
use std::{
    io::IsTerminal,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

const REFUSED: &str = "signals cannot be handled";

/// Set by the first signal. Call once per process.
pub fn on_signal() -> Result<Arc<AtomicBool>> {
    let stop = on_term_signal()?;
    if !hangup_is_ignored() {
        flag::register(SIGHUP, stop.clone()).context(REFUSED)?;
    }
    Ok(stop)
}

/// SIGHUPs that ask for something.
#[derive(Debug, Default)]
pub struct Hangup(Arc<AtomicBool>);

impl Hangup {
    /// Whether one has come since this was asked last.
    pub fn was_asked(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// As [`on_signal`], but SIGHUP only where a terminal is standard input, and else by itself.
pub fn on_signal_but_hangup() -> Result<(Arc<AtomicBool>, Hangup)> {
    if std::io::stdin().is_terminal() {
        return Ok((on_signal()?, Hangup::default()));
    }
    let (stop, hangup) = (on_term_signal()?, Hangup::default());
    if !hangup_is_ignored() {
        flag::register(SIGHUP, hangup.0.clone()).context(REFUSED)?;
    }
    Ok((stop, hangup))
}

fn on_term_signal() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in TERM_SIGNALS {
        // In this order: the first signal finds the flag unset and sets it, the second ends the process.
        flag::register_conditional_shutdown(*signal, 1, stop.clone()).context(REFUSED)?;
        flag::register(*signal, stop.clone()).context(REFUSED)?;
    }
    Ok(stop)
}

fn hangup_is_ignored() -> bool {
    is_ignored(&std::fs::read_to_string("/proc/self/status").unwrap_or_default(), SIGHUP)
}

/// Whether the signal is ignored, by the text of `/proc/PID/status`.
fn is_ignored(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_told_by_their_bit() {
        let status = "Name:\tx\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000001001\nSigCgt:\t0\n";
        assert!(is_ignored(status, SIGHUP) && is_ignored(status, 13));
        assert!(!is_ignored(status, 2) && !is_ignored("", SIGHUP));
    }
}
