//! Loading ONNX Runtime. One test, because what it tests belongs to the process.

mod common;

use std::{fs, path::Path};

use amoskys_scoring::{Runtime, ScoringError};

#[test]
fn bad_libraries_are_refused_and_a_good_one_is_loaded_once() {
    let missing = Runtime::load(Path::new("/nowhere/libonnxruntime.so")).expect_err("there is no such file");
    let message = missing.to_string();
    assert!(message.contains("/nowhere/libonnxruntime.so") && message.contains("make setup"), "{message}");

    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = folder.path().join("libonnxruntime.so");
    fs::write(&text, "not a library").expect("a writable folder");
    for path in [text.as_path(), folder.path()] {
        let error = Runtime::load(path).expect_err("this is no library");
        assert!(matches!(error, ScoringError::Runtime { .. }), "{error}");
    }

    let runtime = Runtime::load(&common::library()).expect("the library that `make setup` installs");
    let twice = Runtime::load(&common::library()).expect_err("one runtime per process");
    assert!(matches!(twice, ScoringError::RuntimeLoadedTwice), "{twice}");
    drop(runtime);
    let again = Runtime::load(&common::library()).expect_err("one runtime per process, also after it was dropped");
    assert!(matches!(again, ScoringError::RuntimeLoadedTwice), "{again}");
}
