//! How far long work is, in one line of standard error that is written over; nothing when that is no terminal.

use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

const EVERY: Duration = Duration::from_millis(200);

pub struct Progress {
    shown: bool,
    began: Instant,
    last: Option<Instant>,
}

/// How far it is.
#[derive(Debug, Clone, Copy)]
pub struct Done {
    /// Of `total`; of an unknown one when that is zero.
    pub part: u64,
    pub total: u64,
    pub rows: u64,
}

impl Progress {
    pub fn new(now: Instant) -> Self {
        Self { shown: std::io::stderr().is_terminal(), began: now, last: None }
    }

    /// Shows the state, at most every 200 ms. That it cannot be shown is no reason to stop.
    pub fn show(&mut self, done: Done, now: Instant) {
        if self.shown && self.last.is_none_or(|last| now.saturating_duration_since(last) >= EVERY) {
            self.last = Some(now);
            let line = line(done, now.saturating_duration_since(self.began));
            let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
        }
    }

    /// Clears the line.
    pub fn finish(&mut self) {
        if self.last.take().is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// Also on the way out of an error.
impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

fn line(Done { part, total, rows }: Done, time: Duration) -> String {
    let fraction = if total > 0 { (part as f64 / total as f64).min(1.0) } else { 0.0 };
    let rate = rows as f64 / time.as_secs_f64().max(1e-3);
    let known = format!("{:3.0} %  {rows} rows  {rate:.0} rows/s", fraction * 100.0);
    // Too early to say.
    if fraction < 0.01 {
        return known;
    }
    let left_s = (time.as_secs_f64() * (1.0 - fraction) / fraction).ceil() as u64;
    format!("{known}  {} left", humantime::format_duration(Duration::from_secs(left_s)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_part_rate_and_the_time_left() {
        let done = |part, total, rows| Done { part, total, rows };
        let told = line(done(50, 200, 1000), Duration::from_secs(30));
        assert_eq!(told, " 25 %  1000 rows  33 rows/s  1m 30s left");
        assert_eq!(line(done(0, 0, 7), Duration::from_secs(1)), "  0 %  7 rows  7 rows/s");
    }
}
