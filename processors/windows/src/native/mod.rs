//! Accumulators of our own for the aggregates that most views are made of: `count`, `sum`, `min`, `max`, `avg`, `stddev`,
//! `var` over primitive columns, with and without `FILTER`.
//!
//! While a pane is open, the state of a key is one row of 64-bit words, for all of these aggregates together ([`layout`],
//! [`states`]): a row of the input touches few cache lines, a filter is looked at once whoever uses it, and so is a column
//! ([`feed`]). A sealed pane has a column for each word ([`sealed`]), packed ([`column`]), so merging spans and evaluating
//! windows are loops over words that stay in the cache ([`merge`], [`arrays`]).
//!
//! Results and state arrays are those of DataFusion's accumulators bit for bit (`native/tests.rs`), for panes are kept
//! elsewhere and read back. Deliberately not here: every other function, `DISTINCT`, decimals, texts; these stay with
//! DataFusion's accumulators ([`crate::segment`]).

mod arrays;
mod column;
mod feed;
mod input;
mod layout;
mod merge;
mod sealed;
mod states;

#[cfg(test)]
mod tests;

pub use feed::Feed;
pub use input::{Input, Values};
pub use layout::{Kind, Layout, Wanted};
pub use sealed::Sealed;
pub use states::States;
