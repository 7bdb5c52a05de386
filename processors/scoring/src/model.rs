//! One loaded model: who it is, which columns it takes, and scores for rows.
//!
//! A row with a null or non-finite feature has no score (null) and is counted; so has a row for which the model answers
//! NaN. Everything else about a model was checked when it was loaded.

use std::{
    fs,
    num::NonZeroUsize,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use arrow::{
    array::{Array, ArrayRef, Float64Array},
    datatypes::DataType,
};
use sha2::{Digest, Sha256};

use crate::{
    Feature, Manifest, OutputKind, Runtime, ScoringError,
    error::{did_you_mean, nearest},
    matrix::{Matrix, is_numeric},
    sessions::Sessions,
};

/// How far a score may be from the one measured when the model was exported.
const BASELINE_SCORE_TOLERANCE: f64 = 1e-3;

/// A model version, ready to score. Shared by worker threads: as many calls run at once as it has sessions, further
/// ones wait.
pub struct Model {
    manifest: Manifest,
    version: String,
    sessions: Sessions,
    unscored_rows: AtomicU64,
}

impl Model {
    /// Loads and checks `<name>/<version>/` with `sessions` ONNX sessions (one per thread that will score).
    pub fn load(folder: &Path, runtime: &Runtime, sessions: NonZeroUsize) -> Result<Self, ScoringError> {
        let manifest = read_manifest(folder)?;
        let onnx_path = folder.join("model.onnx");
        let onnx = fs::read(&onnx_path).map_err(|source| ScoringError::Read {
            path: onnx_path.clone(),
            source,
            hint: "restore the file or export the model again with `make model`",
        })?;
        let found = hex::encode(Sha256::digest(&onnx));
        if found != manifest.sha256 {
            return Err(ScoringError::Altered { path: onnx_path, expected: manifest.sha256, found });
        }
        let unusable = |detail| ScoringError::Unusable { path: onnx_path.clone(), detail };
        let sessions = Sessions::open(runtime, &onnx, &manifest, sessions).map_err(unusable)?;
        let version = manifest.version.to_string();
        let model = Self { manifest, version, sessions, unscored_rows: AtomicU64::new(0) };
        model.check_baselines().map_err(unusable)?;
        Ok(model)
    }

    pub fn name(&self) -> &str {
        &self.manifest.name
    }

    pub fn version(&self) -> &str {
        &self.version
    }

    /// Of model.onnx, 64 hex digits.
    pub fn sha256(&self) -> &str {
        &self.manifest.sha256
    }

    /// In the order in which [`Model::score`] takes its columns.
    pub fn features(&self) -> &[Feature] {
        &self.manifest.features
    }

    /// Scores at or above it are worth an alert.
    pub fn threshold(&self) -> f64 {
        self.manifest.threshold
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Rows that got no score since the model was loaded, explanations not included.
    pub fn unscored_rows(&self) -> u64 {
        self.unscored_rows.load(Ordering::Relaxed)
    }

    /// For `predict('model', *)`: where each feature is among the columns of a relation, which may have others. When a
    /// query is planned.
    pub fn bind(&self, columns: &[(&str, &DataType)]) -> Result<Vec<usize>, ScoringError> {
        let mut problems = Vec::new();
        let mut indices = Vec::with_capacity(self.features().len());
        for Feature { name, .. } in self.features() {
            match columns.iter().position(|(column, _)| column == name) {
                Some(index) if is_numeric(columns[index].1) => indices.push(index),
                Some(index) => problems.push(format!(
                    "feature `{name}` is of type {}; it must be a number or a boolean, write CAST({name} AS DOUBLE)",
                    columns[index].1
                )),
                None => {
                    let hint = did_you_mean(&nearest(name, columns.iter().map(|(column, _)| *column)));
                    problems.push(format!("there is no column `{name}`{hint}"));
                }
            }
        }
        if problems.is_empty() { Ok(indices) } else { Err(self.arguments(problems)) }
    }

    /// For `predict('model', a, b)`: whether arguments of these types fit, one per feature in order. When a query is
    /// planned.
    pub fn check(&self, arguments: &[DataType]) -> Result<(), ScoringError> {
        let features = self.features();
        let mut problems = Vec::new();
        if arguments.len() != features.len() {
            let names: Vec<&str> = features.iter().map(|feature| feature.name.as_str()).collect();
            let (n, given) = (features.len(), arguments.len());
            problems.push(format!("it takes {n} features, {given} were given; in this order: {}", names.join(", ")));
        }
        for (feature, data_type) in features.iter().zip(arguments).filter(|(_, data_type)| !is_numeric(data_type)) {
            problems.push(format!("`{}` is of type {data_type}; it must be a number or a boolean", feature.name));
        }
        if problems.is_empty() { Ok(()) } else { Err(self.arguments(problems)) }
    }

    /// Scores from 0 to 1, one per row of `columns` (one array per feature, in order, of one length). One ONNX call for
    /// up to 4 MiB of float32.
    ///
    /// A row with a null, NaN or infinite feature gets null and is counted in [`Model::unscored_rows`].
    pub fn score(&self, columns: &[ArrayRef]) -> Result<Float64Array, ScoringError> {
        let scores = self.score_matrix(&self.matrix(columns)?)?;
        self.unscored_rows.fetch_add(scores.null_count() as u64, Ordering::Relaxed);
        Ok(scores)
    }

    pub(crate) fn score_matrix(&self, matrix: &Matrix) -> Result<Float64Array, ScoringError> {
        let mut raw = Vec::with_capacity(matrix.rows());
        for cells in matrix.calls(self.rows_per_call_max()) {
            self.run(cells, &mut raw)?;
        }
        let score = |(row, raw): (usize, &f32)| self.to_score(*raw).filter(|_| matrix.is_complete(row));
        Ok(raw.iter().enumerate().map(score).collect())
    }

    pub(crate) fn matrix(&self, arrays: &[ArrayRef]) -> Result<Matrix, ScoringError> {
        let types: Vec<DataType> = arrays.iter().map(|array| array.data_type().clone()).collect();
        self.check(&types)?;
        if arrays.iter().any(|array| array.len() != arrays[0].len()) {
            return Err(self.arguments(vec!["its columns differ in length".to_owned()]));
        }
        Matrix::from_arrays(arrays).map_err(|error| self.arguments(vec![error.to_string()]))
    }

    pub(crate) fn run(&self, cells: &[f32], raw: &mut Vec<f32>) -> Result<(), ScoringError> {
        self.sessions.run(cells, raw).map_err(|detail| {
            let (model, version) = (self.name().to_owned(), self.version.clone());
            ScoringError::Run { model, version, detail }
        })
    }

    pub(crate) fn rows_per_call_max(&self) -> usize {
        self.sessions.rows_per_call_max()
    }

    /// The score for a value of the output tensor; `None` for what is no answer.
    pub(crate) fn to_score(&self, raw: f32) -> Option<f64> {
        to_score(self.manifest.output.kind, raw)
    }

    fn arguments(&self, problems: Vec<String>) -> ScoringError {
        ScoringError::Arguments { model: self.name().to_owned(), version: self.version.clone(), problems }
    }

    /// A model that cannot score the most ordinary row as it did when it was exported will not score any.
    fn check_baselines(&self) -> Result<(), String> {
        let row: Vec<f32> = self.features().iter().map(|feature| feature.baseline as f32).collect();
        let mut raw = Vec::new();
        self.sessions.run(&[row.as_slice(), &row].concat(), &mut raw)?;
        let expected = self.manifest.output.baseline_score;
        for raw in raw {
            let score = self.to_score(raw).ok_or_else(|| format!("it answers {raw} for its own baselines"))?;
            if (score - expected).abs() > BASELINE_SCORE_TOLERANCE {
                return Err(format!("it scores its own baselines {score}, model.toml says {expected}"));
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("name", &self.name()).field("version", &self.version).finish_non_exhaustive()
    }
}

/// Rounded to a millionth: float32 knows no more, and a score re-derived elsewhere should print the same.
fn to_score(kind: OutputKind, raw: f32) -> Option<f64> {
    let raw = f64::from(raw);
    let score = match kind {
        OutputKind::Probability => Some(raw).filter(|raw| (-1e-6..=1.0 + 1e-6).contains(raw)),
        OutputKind::Raw { zero_at, one_at } => Some((raw - zero_at) / (one_at - zero_at)).filter(|_| raw.is_finite()),
    }?;
    Some((score.clamp(0.0, 1.0) * 1e6).round() / 1e6)
}

/// The folder's own name must be what the manifest says, so that a copied folder cannot pass for another version.
fn read_manifest(folder: &Path) -> Result<Manifest, ScoringError> {
    let path = folder.join("model.toml");
    let hint = "every models/<name>/<version>/ needs model.toml and model.onnx";
    let source = fs::read_to_string(&path).map_err(|source| ScoringError::Read { path: path.clone(), source, hint })?;
    let manifest = Manifest::parse(&source).map_err(|problems| ScoringError::Manifest { path, problems })?;
    let expected = Path::new(&manifest.name).join(manifest.version.to_string());
    if !folder.ends_with(&expected) {
        let detail = format!("its model.toml is for {}; move it there", expected.display());
        return Err(ScoringError::Folder { path: folder.to_path_buf(), detail });
    }
    Ok(manifest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probability_is_the_score_and_nonsense_is_none() {
        let score = |raw| to_score(OutputKind::Probability, raw);
        assert_eq!(score(0.7), Some(0.7));
        assert_eq!(score(1.000_000_1), Some(1.0));
        for raw in [1.1, -0.1, f32::NAN, f32::INFINITY] {
            assert_eq!(score(raw), None, "{raw}");
        }
    }

    #[test]
    fn a_raw_value_is_mapped_in_a_straight_line_and_cut() {
        let falling = OutputKind::Raw { zero_at: 0.5, one_at: -0.5 };
        assert_eq!(to_score(falling, 0.25), Some(0.25));
        assert_eq!(to_score(falling, 9.0), Some(0.0));
        assert_eq!(to_score(falling, -9.0), Some(1.0));
        assert_eq!(to_score(falling, f32::NAN), None);
    }
}
