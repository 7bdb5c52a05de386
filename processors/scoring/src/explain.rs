//! Why a row scored as it did, by occlusion: what the score would lose if one feature were at its baseline.
//!
//! contribution = score − score with this feature set to its baseline; positive pushed the score up. Simple, exact for
//! the question it answers, and the same for every kind of model; deliberately not Shapley values, so contributions need
//! not add up to the score, and of two features that say the same each may get nothing.
//! Cost: one row per feature that differs from its baseline, batched; ask for rows worth explaining only.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, Float64Array, Float64Builder, MapArray, MapBuilder, StringBuilder},
    datatypes::{DataType, Field, Fields},
    error::ArrowError,
};

use crate::{Model, ScoringError, matrix::Matrix};

/// A feature's part in a row's score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Contribution<'a> {
    pub feature: &'a str,
    /// −1 to 1.
    pub contribution: f64,
}

impl Model {
    /// The `top` largest contributions of each row, by absolute size, ties in the order of the features; features
    /// without any left out. A row that has no score has no contributions. `columns` as in [`Model::score`].
    pub fn explain(&self, columns: &[ArrayRef], top: usize) -> Result<Vec<Vec<Contribution<'_>>>, ScoringError> {
        let matrix = self.matrix(columns)?;
        let scores = self.score_matrix(&matrix)?;
        let mut rows = vec![Vec::new(); matrix.rows()];
        let mut pending = Vec::new();
        for row in (0..matrix.rows()).filter(|row| scores.is_valid(*row)) {
            for change in self.changes(&matrix, row) {
                pending.push(change);
                if pending.len() == self.rows_per_call_max() {
                    self.explain_changes(&matrix, &scores, &pending, &mut rows)?;
                    pending.clear();
                }
            }
        }
        self.explain_changes(&matrix, &scores, &pending, &mut rows)?;
        rows.iter_mut().for_each(|row| keep_top(row, top));
        Ok(rows)
    }

    /// One ONNX call: adds each change's contribution to its row.
    fn explain_changes<'a>(
        &'a self,
        matrix: &Matrix,
        scores: &Float64Array,
        changes: &[Change],
        rows: &mut [Vec<Contribution<'a>>],
    ) -> Result<(), ScoringError> {
        if changes.is_empty() {
            return Ok(());
        }
        for (change, without) in changes.iter().zip(self.score_without(matrix, changes)?) {
            // A model that gives no answer without a feature tells nothing about it.
            let contribution = without.map_or(0.0, |without| rounded(scores.value(change.row) - without));
            let feature = self.features()[change.feature].name.as_str();
            rows[change.row].push(Contribution { feature, contribution });
        }
        Ok(())
    }

    /// A feature at its baseline already contributes nothing and costs nothing.
    fn changes(&self, matrix: &Matrix, row: usize) -> impl Iterator<Item = Change> {
        let differs = move |feature: usize| matrix.row(row)[feature] != self.baseline(feature);
        (0..self.features().len()).filter(move |feature| differs(*feature)).map(move |feature| Change { row, feature })
    }

    fn score_without(&self, matrix: &Matrix, changes: &[Change]) -> Result<Vec<Option<f64>>, ScoringError> {
        let width = self.features().len();
        let mut cells = Vec::with_capacity(changes.len() * width);
        for change in changes {
            let start = cells.len();
            cells.extend_from_slice(matrix.row(change.row));
            cells[start + change.feature] = self.baseline(change.feature);
        }
        let mut raw = Vec::with_capacity(changes.len());
        self.run(&cells, &mut raw)?;
        Ok(raw.into_iter().map(|raw| self.to_score(raw)).collect())
    }

    fn baseline(&self, feature: usize) -> f32 {
        self.features()[feature].baseline as f32
    }
}

/// One feature of one row set to its baseline.
struct Change {
    row: usize,
    feature: usize,
}

fn keep_top(row: &mut Vec<Contribution<'_>>, top: usize) {
    row.retain(|contribution| contribution.contribution != 0.0);
    row.sort_by(|a, b| b.contribution.abs().total_cmp(&a.contribution.abs()));
    row.truncate(top);
}

/// As scores are: to a millionth, so that a difference of equal scores is 0.
fn rounded(contribution: f64) -> f64 {
    (contribution * 1e6).round() / 1e6
}

/// The Arrow type of [`to_map_array`]: a map from feature (Utf8) to contribution (Float64), never null.
pub fn contributions_type() -> DataType {
    let entries =
        Fields::from(vec![Field::new("keys", DataType::Utf8, false), Field::new("values", DataType::Float64, true)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
}

/// Contributions as a column, one map per row, entries in the order given.
pub fn to_map_array(rows: &[Vec<Contribution<'_>>]) -> Result<MapArray, ArrowError> {
    let mut builder = MapBuilder::new(None, StringBuilder::new(), Float64Builder::new());
    for row in rows {
        for contribution in row {
            builder.keys().append_value(contribution.feature);
            builder.values().append_value(contribution.contribution);
        }
        builder.append(true)?;
    }
    Ok(builder.finish())
}
