//! SIGTERM and SIGINT as a flag that loops look at; a second signal ends the process at once.

use anyhow::{Context, Result};
use signal_hook::{consts::TERM_SIGNALS, flag};
use std::sync::{Arc, atomic::AtomicBool};

/// Set by the first signal. Call once per process.
pub fn on_signal() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in TERM_SIGNALS {
        // In this order: the first signal finds the flag unset and sets it, the second ends the process.
        flag::register_conditional_shutdown(*signal, 1, stop.clone()).context("signals cannot be handled")?;
        flag::register(*signal, stop.clone()).context("signals cannot be handled")?;
    }
    Ok(stop)
}
