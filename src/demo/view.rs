//! What a running demo looks like at one moment, and the terminal it is shown on.
//!
//! The demo fills a [`Snapshot`]; [`draw`] paints it, [`lines`] says what changed where there is no terminal. Both are
//! functions of snapshots alone. [`Screen`] is the only thing here that touches a terminal, and gives it back however
//! the program ends (except by SIGKILL or `process::exit`).
//! While a screen is open nothing else may write to the terminal, log lines included.

mod draw;
mod lines;

pub use draw::draw;
pub use lines::lines;

use amoskys_proto::v1::Alert;
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
};
use std::{collections::VecDeque, io, time::Duration};

/// What the demo is about now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    #[default]
    Starting,
    /// Nothing is staged; nothing should be alerted.
    Control,
    Staging,
    /// Both behaviours have been staged; their windows have to close.
    Waiting,
    /// Going on until it is ended (`--forever`).
    Running,
    Ending,
}

impl Phase {
    pub fn title(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Control => "control period",
            Self::Staging => "staging",
            Self::Waiting => "waiting for alerts",
            Self::Running => "running",
            Self::Ending => "ending",
        }
    }
}

/// A running demo at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// Address of the log.
    pub bus: String,
    pub phase: Phase,
    /// What is left of the phase, where that is known.
    pub phase_left: Option<Duration>,
    /// Since the demo began.
    pub elapsed: Duration,
    /// Events read in each of the last seconds, oldest first; about two minutes of them are shown.
    pub events_per_second: Vec<u64>,
    pub events_read: u64,
    pub events_dropped: u64,
    pub rows_late: u64,
    pub windows_closed: u64,
    pub partitions: Vec<PartitionState>,
    /// Best first; as many as fit are shown.
    pub entities: Vec<EntityScore>,
    pub alerts: Recent<SeenAlert>,
    /// What the demo did and what went otherwise than planned, a line each.
    pub notes: Recent<String>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct PartitionState {
    pub topic: String,
    pub partition: i32,
    /// Event time, milliseconds since 1970.
    pub watermark_ms: Option<i64>,
    /// How far the watermark is behind the clock.
    pub behind: Option<Duration>,
    /// Records in the log that have not been read, where that is known.
    pub lag_records: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct EntityScore {
    pub entity: String,
    /// 0 to 1.
    pub score: f64,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct SeenAlert {
    pub alert: Alert,
    /// From the event to the moment the alert could be read.
    pub latency: Option<Duration>,
}

/// The last things of a kind, and how many there were in all.
#[derive(Debug, Clone, PartialEq)]
pub struct Recent<T> {
    total: u64,
    items: VecDeque<T>,
}

/// Kept of each kind.
const RECENT_MAX: usize = 64;

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { total: 0, items: VecDeque::new() }
    }
}

impl<T> Recent<T> {
    pub fn push(&mut self, item: T) {
        if self.items.len() == RECENT_MAX {
            self.items.pop_front();
        }
        self.items.push_back(item);
        self.total += 1;
    }

    /// How many there were, those forgotten included.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Newest first.
    pub fn newest(&self) -> impl Iterator<Item = &T> {
        self.items.iter().rev()
    }

    /// What came after `previous`, oldest first, as far as it is kept.
    pub fn since(&self, previous: &Self) -> impl Iterator<Item = &T> {
        let new = usize::try_from(self.total.saturating_sub(previous.total)).unwrap_or(usize::MAX);
        self.items.iter().skip(self.items.len().saturating_sub(new))
    }
}

/// The terminal, taken over for as long as this lives.
pub struct Screen {
    terminal: DefaultTerminal,
}

impl Screen {
    /// Takes over the terminal that standard output is. Keys are not signals then: ask [`Screen::wants_to_end`].
    pub fn open() -> io::Result<Self> {
        match ratatui::try_init() {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                // It may have come half-way.
                let _ = ratatui::try_restore();
                Err(error)
            }
        }
    }

    pub fn draw(&mut self, now: &Snapshot) -> io::Result<()> {
        self.terminal.draw(|frame| draw(frame, now)).map(|_| ())
    }

    /// Waits at most `timeout` for a key, and says whether it was Ctrl-C, q or Esc.
    pub fn wants_to_end(&mut self, timeout: Duration) -> io::Result<bool> {
        let mut wait = timeout;
        while event::poll(wait)? {
            if let Event::Key(key) = event::read()?
                && is_end(&key)
            {
                return Ok(true);
            }
            // What else is there already: a pasted text, a resized window.
            wait = Duration::ZERO;
        }
        Ok(false)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.terminal.show_cursor();
        let _ = ratatui::try_restore();
    }
}

fn is_end(key: &KeyEvent) -> bool {
    let control_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind != KeyEventKind::Release && (control_c || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recent_things_are_bounded_and_counted() {
        let mut recent = Recent::default();
        let before = recent.clone();
        for number in 0..RECENT_MAX as u64 + 10 {
            recent.push(number);
        }
        assert_eq!((recent.total(), recent.newest().next(), recent.newest().count()), (74, Some(&73), RECENT_MAX));
        assert_eq!(recent.since(&before).next(), Some(&10), "the oldest were forgotten");
        let then = recent.clone();
        recent.push(74);
        assert_eq!(recent.since(&then).collect::<Vec<_>>(), [&74]);
        assert_eq!(recent.since(&recent).count(), 0);
    }

    #[test]
    fn three_keys_end_it() {
        let key = |code, modifiers| is_end(&KeyEvent::new(code, modifiers));
        assert!(key(KeyCode::Char('c'), KeyModifiers::CONTROL));
        assert!(key(KeyCode::Char('q'), KeyModifiers::NONE));
        assert!(key(KeyCode::Esc, KeyModifiers::NONE));
        assert!(!key(KeyCode::Char('c'), KeyModifiers::NONE));
    }
}
