//! Scores features with ONNX models: a folder of models in, scores from 0 to 1 and their reasons out.
//!
//! [`Runtime::load`] loads ONNX Runtime, [`Registry::open`] checks and loads the newest version of every model in a
//! folder, [`Model::bind`] checks a query's columns when it is planned, [`Model::score`] and [`Model::explain`] run on
//! Arrow columns, one batch per closed window. Whatever is wrong with a model is found by [`Registry::open`]: a missing
//! or altered file, a wrong number of inputs, a wrong type, a model that answers NaN.
//!
//! Deliberately not here: SQL (the pipeline wraps this in functions), training (`training/`), reloading, HTTP.
//! Limits: one ONNX Runtime per process; models with one float32 input `[rows, features]` and one float32 output.

mod error;
mod explain;
mod fields;
mod manifest;
mod matrix;
mod model;
mod registry;
mod runtime;
mod sessions;
mod version;

pub use error::{Fault, Problem, ScoringError};
pub use explain::{Contribution, contributions_type, to_map_array};
pub use manifest::{Feature, Manifest, Metrics, Output, OutputKind};
pub use model::Model;
pub use registry::Registry;
pub use runtime::Runtime;
pub use version::Version;
