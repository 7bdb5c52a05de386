//! Which installed package a path belongs to, by the lists of dpkg.
//!
//! An index of all paths that may be executables: a hash of each, with its package; 12 bytes a path. Read when it is first
//! asked and again when dpkg has changed its `status`, at most every [`LOAD_PAUSE_NS`]; until then the older one answers,
//! which [`Installed::state`] shows. While dpkg is at work its `status` is that of before.
//!
//! A path belongs to a package only where it names the very file that is asked about, so nothing is claimed for a file of
//! another root. Paths of a merged `/usr` and diversions are followed. Deliberately not here: whether the content is the
//! package's; links made by hand (`/opt` elsewhere), which dpkg does not know either. Limits: [`PATHS_MAX`],
//! [`PACKAGES_MAX`]; paths and packages beyond are not known, once more is there it is said in the log.

use super::{exe::FileId, files::Package};
use std::{
    collections::HashMap,
    fs::{self, File},
    hash::{BuildHasher, RandomState},
    io::{self, BufRead, BufReader, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

pub const PATHS_MAX: usize = 2_000_000;
pub const PACKAGES_MAX: usize = 65_536;
const LINE_BYTES_MAX: u64 = 8_192;
const LOAD_PAUSE_NS: u64 = 10_000_000_000;
/// Folders of many files and no executables.
const NO_EXECUTABLES: [&[u8]; 4] = [b"/usr/share/doc/", b"/usr/share/man/", b"/usr/share/locale/", b"/usr/include/"];
/// Folders that a merged `/usr` has as links into it.
const MERGED: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// What dpkg has installed, as far as it was read.
pub struct Installed {
    folder: PathBuf,
    root: PathBuf,
    index: Index,
    next_load_ns: u64,
}

/// Of one state of dpkg.
#[derive(Default)]
struct Index {
    /// `None`: nothing could be read.
    state: Option<FileId>,
    packages: Vec<Arc<Package>>,
    /// Sorted; with the place in `packages` beside each.
    paths: Vec<u64>,
    owners: Vec<u32>,
    hasher: RandomState,
}

impl Installed {
    /// `folder` is dpkg's, `root` what its paths begin at.
    pub fn new(folder: PathBuf, root: PathBuf) -> Self {
        Self { folder, root, index: Index::default(), next_load_ns: 0 }
    }

    /// The state of dpkg that answers are of.
    pub fn state(&self) -> Option<FileId> {
        self.index.state
    }

    /// The package of the file that `path` names, if that is `file`.
    pub fn owner(&mut self, path: &str, file: &FileId, now_ns: u64) -> Option<Arc<Package>> {
        if now_ns >= self.next_load_ns && state_of(&self.folder) != self.index.state {
            self.next_load_ns = now_ns + LOAD_PAUSE_NS;
            match Index::load(&self.folder, &self.root) {
                Ok(index) => self.index = index,
                Err(error) => tracing::warn!(%error, folder = %self.folder.display(), "packages are not known"),
            }
        }
        let owner = self.index.owner(path.as_bytes())?;
        let there = fs::metadata(self.root.join(path.trim_start_matches('/'))).ok()?;
        ((there.dev(), there.ino()) == (file.device, file.inode)).then(|| owner.clone())
    }
}

/// `None`: no dpkg.
fn state_of(folder: &Path) -> Option<FileId> {
    rustix::fs::stat(folder.join("status")).ok().map(|stat| FileId::of(&stat))
}

impl Index {
    fn owner(&self, path: &[u8]) -> Option<&Arc<Package>> {
        let at = self.paths.binary_search(&self.hasher.hash_one(path)).ok()?;
        self.packages.get(*self.owners.get(at)? as usize)
    }

    fn load(folder: &Path, root: &Path) -> io::Result<Self> {
        // Before the reading: what changes meanwhile is read again.
        let Some(state) = state_of(folder) else { return Ok(Self::default()) };
        let mut index = Self { state: Some(state), ..Self::default() };
        let versions = versions(&folder.join("status"))?;
        let roots = Roots { merged: merged(root), diverted: diversions(&folder.join("diversions")) };
        let mut owned: Vec<(u64, u32)> = Vec::new();
        for entry in fs::read_dir(folder.join("info"))? {
            let entry = entry?.file_name();
            let Some(name) = entry.to_str().and_then(|name| name.strip_suffix(".list")) else { continue };
            let (name, architecture) = name.split_once(':').unwrap_or((name, ""));
            let of_name = versions.get(name).map(Vec::as_slice).unwrap_or_default();
            let version = of_name.iter().find(|(of, _)| of == architecture).or(of_name.first());
            let package =
                Package { name: name.to_owned(), version: version.map(|(_, v)| v.clone()).unwrap_or_default() };
            if index.packages.len() >= PACKAGES_MAX {
                tracing::warn!(PACKAGES_MAX, "more packages are installed than are looked at");
                break;
            }
            let number = index.packages.len() as u32;
            index.packages.push(Arc::new(package));
            let list = BufReader::new(File::open(folder.join("info").join(&entry))?);
            paths_of(list, |path| owned.push((index.hasher.hash_one(&*roots.path(path, name)), number)))?;
            if owned.len() > PATHS_MAX {
                tracing::warn!(PATHS_MAX, "more files are installed than are looked at");
                owned.truncate(PATHS_MAX);
                break;
            }
        }
        owned.sort_unstable();
        (index.paths, index.owners) = owned.into_iter().unzip();
        index.paths.shrink_to_fit();
        index.owners.shrink_to_fit();
        Ok(index)
    }
}

/// Where a listed path really is.
struct Roots {
    merged: Vec<String>,
    /// Path → where it was put instead, and of which package it was not.
    diverted: HashMap<Vec<u8>, (Vec<u8>, String)>,
}

impl Roots {
    fn path<'a>(&self, listed: &'a [u8], package: &str) -> std::borrow::Cow<'a, [u8]> {
        let diverted = self.diverted.get(listed).filter(|(_, by)| by != package);
        let path: std::borrow::Cow<'a, [u8]> = diverted.map_or(listed.into(), |(to, _)| to.clone().into());
        let in_usr = self.merged.iter().any(|folder| path.starts_with(folder.as_bytes()));
        if in_usr { [b"/usr", &*path].concat().into() } else { path }
    }
}

/// Folders of the root that are links to those of the same name in `/usr`, as "/bin/".
fn merged(root: &Path) -> Vec<String> {
    let is_merged = |folder: &&&str| {
        let target = fs::read_link(root.join(folder));
        target.is_ok_and(|target| target.to_string_lossy().trim_start_matches('/') == format!("usr/{folder}"))
    };
    MERGED.iter().filter(is_merged).map(|folder| format!("/{folder}/")).collect()
}

/// Three lines each: path, where it is put instead, by which package (":": by hand).
fn diversions(file: &Path) -> HashMap<Vec<u8>, (Vec<u8>, String)> {
    let mut text = Vec::new();
    // Without the file nothing is diverted.
    let _ = File::open(file).and_then(|file| file.take(1 << 20).read_to_end(&mut text));
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    let each = lines.chunks_exact(3);
    each.map(|of| (of[0].to_vec(), (of[1].to_vec(), String::from_utf8_lossy(of[2]).into_owned()))).collect()
}

/// Calls `each` for the files in a list, folders left out: these stand before what is in them.
fn paths_of(mut list: impl BufRead, mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let (mut last, mut line) = (Vec::new(), Vec::new());
    loop {
        line.clear();
        list.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        let path = line.trim_ascii_end();
        let is_folder = path.strip_prefix(&*last).is_some_and(|rest: &[u8]| rest.first() == Some(&b'/'));
        if !is_folder
            && !last.is_empty()
            && last != b"/."
            && !NO_EXECUTABLES.iter().any(|folder| last.starts_with(folder))
        {
            each(&last);
        }
        if line.is_empty() {
            return Ok(());
        }
        last.clear();
        last.extend_from_slice(path);
    }
}

/// Name → architecture and version of what is installed.
fn versions(status: &Path) -> io::Result<HashMap<String, Vec<(String, String)>>> {
    let mut versions: HashMap<String, Vec<(String, String)>> = HashMap::new();
    let (mut name, mut architecture, mut version) = (String::new(), String::new(), String::new());
    let mut status = BufReader::new(File::open(status)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        let is_end = status.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0;
        let text = String::from_utf8_lossy(line.trim_ascii_end());
        match text.split_once(": ") {
            Some(("Package", value)) => name = value.to_owned(),
            Some(("Architecture", value)) => architecture = value.to_owned(),
            Some(("Version", value)) => version = value.to_owned(),
            None if text.is_empty() && !name.is_empty() && versions.len() < PACKAGES_MAX => {
                let of_name = versions.entry(std::mem::take(&mut name)).or_default();
                of_name.push((std::mem::take(&mut architecture), std::mem::take(&mut version)));
            }
            _ => {}
        }
        if is_end {
            return Ok(versions);
        }
    }
}

#[cfg(test)]
#[path = "dpkg_tests.rs"]
mod tests;
