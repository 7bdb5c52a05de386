//! How far an export is, in one line of standard error that is written over; nothing when that is no terminal.

use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

const EVERY: Duration = Duration::from_millis(200);

pub struct Progress {
    shown: bool,
    total: i64,
    began: Instant,
    last: Option<Instant>,
}

impl Progress {
    /// `total` is the number of offsets to be read.
    pub fn new(total: i64, now: Instant) -> Self {
        Self { shown: std::io::stderr().is_terminal(), total, began: now, last: None }
    }

    /// Shows the state, at most every 200 ms. That it cannot be shown is no reason to stop.
    pub fn show(&mut self, records: u64, rows: u64, now: Instant) {
        if self.shown && self.last.is_none_or(|last| now.saturating_duration_since(last) >= EVERY) {
            self.last = Some(now);
            let line = line(records, rows, self.total, now.saturating_duration_since(self.began));
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

fn line(records: u64, rows: u64, total: i64, time: Duration) -> String {
    let percent = if total > 0 { (records as f64 / total as f64 * 100.0).min(100.0) } else { 100.0 };
    let rate = rows as f64 / time.as_secs_f64().max(1e-3);
    format!("{percent:3.0} %  {records} records  {rows} rows  {rate:.0} rows/s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_part_and_rate() {
        assert_eq!(line(50, 1000, 200, Duration::from_secs(2)), " 25 %  50 records  1000 rows  500 rows/s");
        assert_eq!(line(0, 0, 0, Duration::ZERO), "100 %  0 records  0 rows  0 rows/s");
    }
}
