//! Programs that a test starts, ended with it by their own ids.

use std::{
    io::ErrorKind,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

/// A child that is ended with the test.
pub struct Running(pub Child);

impl Running {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.spawn();
        let begun = Instant::now();
        // A child that another thread was just starting has the file open for writing until it is a program itself.
        while child.as_ref().is_err_and(|error| error.kind() == ErrorKind::ExecutableFileBusy)
            && begun.elapsed() < Duration::from_secs(10)
        {
            thread::sleep(Duration::from_millis(1));
            child = command.spawn();
        }
        Self(child.unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}")))
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    pub fn end(&mut self) {
        let _ = self.0.kill();
        self.0.wait().expect("waits for its own child");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}
