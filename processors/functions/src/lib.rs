//! The SQL function library: what Amoskys adds to DataFusion's own functions.
//!
//! - [`hop`](window::hop), [`tumble`](window::tumble) and [`session`](window::session) name a window in `GROUP BY`; the pipeline takes such an
//!   aggregate out of the plan and computes it with its own operator.
//! - `predict`, `contributions` and `model_version` call a model ([`model`]); [`model::BindModels`] resolves the model and
//!   checks its inputs when the SQL is planned.
//! - [`aggregate`]s: quantiles and distinct counts, as sketches with a stated error and exact.
//! - [`fitted`]: a model's inputs, scaled and told apart as they were fitted.
//! - [`scalar`]s: addresses, names, texts, and scores relative to what is usual.
//!
//! Deliberately not here: how models run (a [`model::Model`] is a closure over whatever runs it), and any IO.

pub mod aggregate;
pub mod fault;
pub mod fitted;
pub mod map_keys;
pub mod model;
pub mod scalar;
pub mod types;
pub mod window;
