//! The folder of a round: what was done to it and when, and what the processes said. Kept when the round fails.

use std::{
    fs::{File, create_dir_all},
    io::Write,
    path::{Path, PathBuf},
    process::Stdio,
    time::Instant,
};

pub struct Story {
    folder: Option<tempfile::TempDir>,
    log: File,
    begun: Instant,
    name: String,
    seed: u64,
    processes: usize,
}

impl Story {
    /// `name` is what `make chaos` calls the kind of round.
    pub fn begin(name: &str, seed: u64) -> Self {
        let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
        create_dir_all(parent).expect("the folder for tests' files");
        let prefix = format!("chaos-{name}-{seed}-");
        let folder = tempfile::Builder::new().prefix(&prefix).tempdir_in(parent).expect("a folder");
        let log = File::create(folder.path().join("faults.log")).expect("made");
        Self { folder: Some(folder), log, begun: Instant::now(), name: name.to_owned(), seed, processes: 0 }
    }

    pub fn path(&self) -> &Path {
        self.folder.as_ref().expect("until dropped").path()
    }

    pub fn tell(&mut self, what: impl std::fmt::Display) {
        writeln!(self.log, "{:8.3} {what}", self.begun.elapsed().as_secs_f64()).expect("written");
    }

    /// Where the next process writes its log, and its name here.
    pub fn next_log(&mut self) -> (Stdio, PathBuf) {
        self.processes += 1;
        let path = self.path().join(format!("process-{}.log", self.processes));
        (File::create(&path).expect("made").into(), path)
    }

    /// Fails the round when there are differences; all of them are written down.
    pub fn no_difference(&mut self, differences: &[String]) {
        if differences.is_empty() {
            return;
        }
        std::fs::write(self.path().join("differences.txt"), differences.join("\n")).expect("written");
        let first: Vec<&str> = differences.iter().take(9).map(String::as_str).collect();
        panic!("{} differences, the first:\n{}", differences.len(), first.join("\n"));
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let kept = self.folder.take().map(tempfile::TempDir::keep).unwrap_or_default();
            eprintln!("chaos: what happened is in {}", kept.display());
            eprintln!("chaos: again by make chaos ARGS=\"--only {} --seed {} --kills 1\"", self.name, self.seed);
        }
    }
}
