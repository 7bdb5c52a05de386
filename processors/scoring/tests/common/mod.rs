//! What the tests share: the ONNX Runtime library, and folders of models to spoil.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// Where `make setup` puts the library, unless AMOSKYS_ONNXRUNTIME names another.
pub fn library() -> PathBuf {
    let named = env::var_os("AMOSKYS_ONNXRUNTIME").map(PathBuf::from);
    let cache = || env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or(env::home_dir().map(|home| home.join(".cache")));
    let path = named.or_else(|| Some(cache()?.join("amoskys/onnxruntime-1.32.0/libonnxruntime.so")));
    let path = path.expect("AMOSKYS_ONNXRUNTIME, XDG_CACHE_HOME or HOME is set");
    assert!(path.is_file(), "{} is missing: run `make setup`", path.display());
    path
}

#[allow(dead_code)]
pub fn data() -> PathBuf {
    // Tests run in their package's folder.
    std::path::absolute("tests/data").expect("a current folder")
}

#[allow(dead_code)]
pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a writable temporary folder");
    for entry in fs::read_dir(from).expect("test data is there") {
        let entry = entry.expect("a readable entry");
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy_folder(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).expect("a readable file")),
        }
    }
}
