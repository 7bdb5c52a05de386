//! Loads ONNX Runtime, once.
//!
//! ONNX Runtime's environment belongs to the process: the `ort` crate allows one per process, for good, and so does
//! [`Runtime`]. Make it where the program starts and pass clones on; a second [`Runtime::load`] is an error. The library
//! is always named by its path: the loader's own search would find whatever lies in the system's folders, or panic.
//!
//! Deliberately not here: downloading the library (`make setup` does), GPUs.

use std::path::{Path, PathBuf};

use ort::environment::Environment;

use crate::ScoringError;

/// A loaded ONNX Runtime. Clones share it; it lives as long as the last clone or model.
#[derive(Debug, Clone)]
pub struct Runtime {
    environment: Environment,
}

impl Runtime {
    /// Loads `libonnxruntime.so`, version 1.24 or newer, from `path`.
    ///
    /// Errors: [`ScoringError::Runtime`] if the file is missing, not ONNX Runtime or too old (trying again with another
    /// path is fine), [`ScoringError::RuntimeLoadedTwice`] after a success.
    pub fn load(path: &Path) -> Result<Self, ScoringError> {
        let failed = |detail: String| ScoringError::Runtime { path: path.to_path_buf(), detail };
        let absolute = existing_file(path).map_err(failed)?;
        let builder = ort::init_from(&absolute).map_err(|error| failed(error.to_string()))?;
        let environment =
            builder.with_name("amoskys").with_telemetry(false).build().map_err(|_| ScoringError::RuntimeLoadedTwice)?;
        Ok(Self { environment })
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }
}

/// Absolute, because the loader looks for a relative path beside the executable first.
fn existing_file(path: &Path) -> Result<PathBuf, String> {
    let metadata = path.metadata().map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is not a file".to_owned());
    }
    std::path::absolute(path).map_err(|error| error.to_string())
}
