//! What can be wrong between the columns of a query and the message they are to become.

use arrow::datatypes::DataType;
use arrow::error::ArrowError;

/// A column does not fit the message: the fault of the author of the SQL, found when planning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    #[error(
        "column {column:?} is {got}, field {field} is {want}, which cannot hold it without loss (CAST it in the SQL)"
    )]
    Type { column: String, got: DataType, field: String, want: String },
    #[error("column {column:?} ({got}) is no field of {message} (it has: {fields})")]
    NoField { column: String, got: DataType, message: String, fields: String },
    #[error("column {column:?} is there twice")]
    Repeated { column: String },
    #[error("field {field} uses the group encoding, which is not supported")]
    Group { field: String },
}

/// Every column that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatches(pub Vec<Mismatch>);

impl std::fmt::Display for Mismatches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, mismatch) in self.0.iter().enumerate() {
            write!(f, "{}{mismatch}", if at == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Mismatches {}

/// Rows cannot be encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error("column {column:?}, row {row}: {name:?} is no value of enum {of}")]
    UnknownName { column: String, row: usize, name: String, of: String },
    #[error("column {column:?}, row {row}: a list or map holds NULL, which protobuf cannot")]
    NullElement { column: String, row: usize },
    #[error("the batch has other columns than the encoder was made for")]
    OtherSchema,
    #[error(transparent)]
    Arrow(#[from] ArrowError),
}
