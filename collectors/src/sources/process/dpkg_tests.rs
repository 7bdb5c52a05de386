//! Lists of packages, in a root of the test's own, and of this host against `dpkg -S`.

use super::*;
use std::{os::unix::fs::symlink, process::Command};
use tempfile::TempDir;

/// A root with a merged `/usr` and one package.
fn root() -> TempDir {
    let root = TempDir::new().expect("a folder");
    let at = |path: &str| root.path().join(path);
    fs::create_dir_all(at("usr/bin")).expect("makes");
    fs::create_dir_all(at("dpkg/info")).expect("makes");
    symlink("usr/bin", at("bin")).expect("links");
    for file in ["ls", "ls.real", "vi", "other"] {
        fs::write(at("usr/bin").join(file), file).expect("writes");
    }
    fs::write(at("dpkg/info/coreutils.list"), "/.\n/bin\n/bin/ls\n/usr\n/usr/share/doc/x\n").expect("writes");
    fs::write(at("dpkg/info/libc6:i386.list"), "/usr/bin/vi\n").expect("writes");
    fs::write(
        at("dpkg/status"),
        "Package: coreutils\nStatus: install ok installed\nArchitecture: amd64\nVersion: 9.1-1\nDescription: x\n Version: 0\n\n\
         Package: libc6\nArchitecture: amd64\nVersion: 1\n\nPackage: libc6\nArchitecture: i386\nVersion: 2\n",
    )
    .expect("writes");
    root
}

fn file(path: &Path) -> FileId {
    FileId::of(&rustix::fs::stat(path).expect("it is there"))
}

/// Name and version of the package that has `path`.
fn owner(installed: &mut Installed, root: &TempDir, path: &str, now_ns: u64) -> Option<(String, String)> {
    let id = file(&root.path().join(path.trim_start_matches('/')));
    installed.owner(path, &id, now_ns).map(|package| (package.name.clone(), package.version.clone()))
}

#[test]
fn listed_paths_have_their_package_through_a_merged_usr() {
    let root = root();
    let mut installed = Installed::new(root.path().join("dpkg"), root.path().into());
    let pair = |name: &str, version: &str| Some((name.to_owned(), version.to_owned()));
    assert_eq!(owner(&mut installed, &root, "/usr/bin/ls", 0), pair("coreutils", "9.1-1"));
    assert_eq!(owner(&mut installed, &root, "/usr/bin/vi", 0), pair("libc6", "2"), "of its architecture");
    assert_eq!(owner(&mut installed, &root, "/usr/bin/other", 0), None);
    assert_eq!(owner(&mut installed, &root, "/usr/bin", 0), None, "folders belong to many");
    assert_eq!(installed.index.paths.len(), 2, "without folders and documents");
}

#[test]
fn nothing_is_claimed_for_another_file_under_the_same_path() {
    let root = root();
    let mut installed = Installed::new(root.path().join("dpkg"), root.path().into());
    let other = file(&root.path().join("usr/bin/other"));
    assert_eq!(installed.owner("/usr/bin/ls", &other, 0), None);
}

#[test]
fn diverted_files_are_found_where_they_were_put() {
    let root = root();
    fs::write(root.path().join("dpkg/diversions"), "/bin/ls\n/bin/ls.real\nwrapper\n").expect("writes");
    fs::write(root.path().join("dpkg/info/wrapper.list"), "/bin/ls\n").expect("writes");
    let mut installed = Installed::new(root.path().join("dpkg"), root.path().into());
    let mut name = |path| owner(&mut installed, &root, path, 0).map(|(name, _)| name);
    assert_eq!((name("/usr/bin/ls.real"), name("/usr/bin/ls")), (Some("coreutils".into()), Some("wrapper".into())));
}

#[test]
fn what_dpkg_changes_is_read_again_but_not_all_the_time() {
    let root = root();
    let mut installed = Installed::new(root.path().join("dpkg"), root.path().into());
    assert_eq!(owner(&mut installed, &root, "/usr/bin/other", 0), None);
    let before = installed.state();
    fs::write(root.path().join("dpkg/info/new.list"), "/usr/bin/other\n").expect("writes");
    fs::write(root.path().join("dpkg/status"), "Package: new\nVersion: 3\n").expect("writes");
    assert_eq!(owner(&mut installed, &root, "/usr/bin/other", LOAD_PAUSE_NS - 1), None);
    assert_eq!(installed.state(), before, "and says of which state that is");
    assert_eq!(owner(&mut installed, &root, "/usr/bin/other", LOAD_PAUSE_NS), Some(("new".into(), "3".into())));
    assert_ne!(installed.state(), before);
    let mut none = Installed::new(root.path().join("nothing"), root.path().into());
    assert_eq!((owner(&mut none, &root, "/usr/bin/ls", 0), none.state()), (None, None));
}

/// Where this host has dpkg: the same as it says itself. Prints what the index takes.
#[test]
fn the_index_says_what_dpkg_says() {
    let folder = Path::new("/var/lib/dpkg");
    if !folder.join("status").exists() {
        return eprintln!("SKIPPED: there is no dpkg on this host");
    }
    let begun = std::time::Instant::now();
    let mut installed = Installed::new(folder.into(), "/".into());
    assert_eq!(installed.owner("/nothing", &FileId::default(), 0), None);
    let took = begun.elapsed();
    for name in ["sh", "sleep", "perl", "dpkg", "tar"] {
        let path = fs::canonicalize(format!("/usr/bin/{name}")).expect("there is one");
        let found = installed.owner(&path.to_string_lossy(), &file(&path), 0).expect("it is of a package");
        let said = |command: &mut Command| String::from_utf8(command.output().expect("dpkg").stdout).expect("text");
        let mut search = said(Command::new("dpkg-query").arg("-S").arg(&path));
        if search.is_empty() {
            // Before Debian 13 packages list their files outside /usr.
            search = said(
                Command::new("dpkg-query")
                    .arg("-S")
                    .arg(Path::new("/").join(path.strip_prefix("/usr").expect("in /usr"))),
            );
        }
        assert!(search.split([':', ' ']).next() == Some(found.name.as_str()), "{path:?}: {found:?} {search}");
        let version = said(Command::new("dpkg-query").args(["-W", "-f", "${Version}", &found.name]));
        assert_eq!(version, found.version);
    }
    let index = &installed.index;
    eprintln!(
        "{} paths of {} packages, {} bytes, read in {took:?}",
        index.paths.len(),
        index.packages.len(),
        index.paths.capacity() * 12
    );
}
