//! Where a running demo is shown: a screen on a terminal, plain lines anywhere else.

use super::view::{Screen, Snapshot, lines};
use crate::{print, topics::alert::describe};
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

    /// Shows the moment, and waits a little. True when the user asked for the end. An error that `print::is_closed`
    /// knows means that nobody looks any more; nothing is printed after it.
    pub fn show(&mut self, now: &Snapshot) -> Result<bool> {
        const PAUSE: Duration = Duration::from_millis(50);
        match self {
            Display::Screen(screen) => {
                screen.draw(now)?;
                Ok(screen.wants_to_end(PAUSE)?)
            }
            Display::Lines { previous, quiet } => {
                let new = if *quiet { Vec::new() } else { lines(previous, now) };
                let printed = new.iter().try_for_each(print::line);
                *quiet |= printed.is_err();
                printed?;
                **previous = now.clone();
                std::thread::sleep(PAUSE);
                Ok(false)
            }
        }
    }

    /// Gives the terminal back, with the last alerts as text below it.
    pub fn close(self, now: &Snapshot) -> Result<()> {
        if let Display::Screen(screen) = self {
            drop(screen);
            let mut alerts: Vec<String> = now.alerts.newest().map(|seen| describe(&seen.alert)).collect();
            alerts.reverse();
            alerts.iter().try_for_each(print::line)?;
        }
        Ok(())
    }
}
