//! The models of a folder, `<folder>/<name>/<version>/{model.onnx, model.toml}`: the newest version of each, all loaded
//! and checked when the folder is opened, so that a bad model stops the start and not the first event.
//!
//! Newest is by [`Version`]'s order of numbers, not by file time. Names starting with a dot and plain files are ignored.
//! Deliberately not here: loading new versions while running.

use std::{
    collections::BTreeMap,
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{Model, Runtime, ScoringError, Version, error::nearest};

/// Every model of a folder. An empty folder is fine until a model is asked for.
#[derive(Debug)]
pub struct Registry {
    folder: PathBuf,
    models: BTreeMap<String, Arc<Model>>,
}

impl Registry {
    /// Loads the newest version of every model in `folder`, each with `sessions` ONNX sessions: one per thread that
    /// scores, else threads wait for each other.
    ///
    /// Errors name the file and what to do; several broken models come as one [`ScoringError::Models`].
    pub fn open(folder: &Path, runtime: &Runtime, sessions: NonZeroUsize) -> Result<Self, ScoringError> {
        let mut models = BTreeMap::new();
        let mut errors = Vec::new();
        for name in subfolders(folder)? {
            let loaded =
                newest_version(&folder.join(&name)).and_then(|version| Model::load(&version, runtime, sessions));
            match loaded {
                Ok(model) => drop(models.insert(name, Arc::new(model))),
                Err(error) => errors.push(error),
            }
        }
        match errors.len() {
            0 => Ok(Self { folder: folder.to_path_buf(), models }),
            1 => Err(errors.remove(0)),
            _ => Err(ScoringError::Models { errors }),
        }
    }

    /// The model of that name, or an error that lists the names there are.
    pub fn get(&self, name: &str) -> Result<Arc<Model>, ScoringError> {
        self.models.get(name).cloned().ok_or_else(|| ScoringError::UnknownModel {
            name: name.to_owned(),
            nearest: nearest(name, self.models.keys().map(String::as_str)).map(str::to_owned),
            known: self.models.keys().cloned().collect(),
            folder: self.folder.clone(),
        })
    }

    /// All models, by name.
    pub fn models(&self) -> impl Iterator<Item = &Arc<Model>> {
        self.models.values()
    }
}

/// A folder that is not a version is an error: a typo must not quietly leave an older model in use.
fn newest_version(folder: &Path) -> Result<PathBuf, ScoringError> {
    let mut newest: Option<Version> = None;
    for name in subfolders(folder)? {
        let version = name.parse().map_err(|detail| ScoringError::Folder { path: folder.join(&name), detail })?;
        newest = newest.max(Some(version));
    }
    match newest {
        Some(version) => Ok(folder.join(version.to_string())),
        None => Err(ScoringError::Folder {
            path: folder.to_path_buf(),
            detail: "it holds no version; `make model` trains one, or remove the folder".to_owned(),
        }),
    }
}

/// Names of the folders in `folder`, sorted.
fn subfolders(folder: &Path) -> Result<Vec<String>, ScoringError> {
    let failed = |source| ScoringError::Read {
        path: folder.to_path_buf(),
        source,
        hint: "it should be a folder of models, <name>/<version>/{model.onnx, model.toml}",
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
