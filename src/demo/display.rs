//! Where a running demo is shown: a screen on a terminal, plain lines anywhere else.

use super::view::{Screen, Snapshot, lines};
use crate::topics::alert::describe;
use anyhow::Result;
use std::{io::IsTerminal, time::Duration};

pub enum Display {
    Screen(Box<Screen>),
    Lines { previous: Box<Snapshot>, quiet: bool },
}

impl Display {
    pub fn open(quiet: bool) -> Result<Self> {
        if std::io::stdout().is_terminal() && std::io::stdin().is_terminal() && !quiet {
            return Ok(Display::Screen(Box::new(Screen::open()?)));
        }
        Ok(Display::Lines { previous: Box::default(), quiet })
    }

    /// Shows the moment, and waits a little. True when the user asked for the end.
    pub fn show(&mut self, now: &Snapshot) -> Result<bool> {
        const PAUSE: Duration = Duration::from_millis(50);
        match self {
            Display::Screen(screen) => {
                screen.draw(now)?;
                Ok(screen.wants_to_end(PAUSE)?)
            }
            Display::Lines { previous, quiet } => {
                if !*quiet {
                    lines(previous, now).iter().for_each(|line| println!("{line}"));
                }
                **previous = now.clone();
                std::thread::sleep(PAUSE);
                Ok(false)
            }
        }
    }

    /// Gives the terminal back, with the last alerts as text below it.
    pub fn close(self, now: &Snapshot) {
        if let Display::Screen(screen) = self {
            drop(screen);
            let mut alerts: Vec<String> = now.alerts.newest().map(|seen| describe(&seen.alert)).collect();
            alerts.reverse();
            alerts.iter().for_each(|alert| println!("{alert}"));
        }
    }
}
