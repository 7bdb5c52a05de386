//! What can be wrong with a message type or with a record.

use prost_reflect::prost::encoding::WireType;

/// A column cannot be read from a message type: the author's of the SQL or the schema fault, found when planning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    #[error("{message} has no field {column:?} (it has: {fields})")]
    UnknownColumn { message: String, column: String, fields: String },
    #[error("column {column:?} holds its own type again ({cycle}); a recursive message cannot be a column")]
    Recursive { column: String, cycle: String },
    #[error("column {column:?} nests messages deeper than {max} levels")]
    TooDeep { column: String, max: usize },
    #[error("{message} spreads into more than {max} columns")]
    TooManyColumns { message: String, max: usize },
    #[error("column {column:?} is asked for twice")]
    Repeated { column: String },
    #[error("{message} is not a batch: it has no repeated message field")]
    NotABatch { message: String },
}

/// A record does not decode: the sender's fault (or that of whoever named the schema), retrying does not help.
///
/// Everything that the record had added is gone again; the next record decodes as if this one had not been there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{what} at byte {offset}", prefix(path))]
pub struct DecodeError {
    /// From the start of the record.
    pub offset: usize,
    /// Names from the outermost message to the field, joined by dots; empty if no declared field was reached.
    pub path: String,
    pub what: What,
}

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum What {
    #[error("the record ends in the middle of a value")]
    Truncated,
    #[error("a varint is longer than 64 bits")]
    VarintTooLong,
    #[error("{key} is not a field key")]
    BadKey { key: u64 },
    #[error("wire type is {got:?}, the schema says {want}")]
    WireType { got: WireType, want: &'static str },
    #[error("a length of {length} bytes where {left} are left")]
    LengthBeyondEnd { length: u64, left: usize },
    #[error("a string is not UTF-8")]
    NotUtf8,
    #[error("the end of a group that was not begun")]
    GroupEnd,
    #[error("groups nest deeper than {max} levels")]
    TooDeep { max: usize },
    #[error("a time of {seconds} s and {nanos} ns does not fit into 64 bits of nanoseconds")]
    TimeOutOfRange { seconds: i64, nanos: i32 },
    #[error("more than {max} rows in a record")]
    TooManyRows { max: usize },
    #[error("more than {max} elements of repeated fields and maps in a record")]
    TooManyElements { max: usize },
    #[error("a record of {bytes} bytes, more than {max}")]
    TooLarge { bytes: usize, max: usize },
    #[error("more repeated elements than one batch can hold; finish the batch first")]
    BatchFull,
}

impl DecodeError {
    /// Whether a stated bound was exceeded; otherwise the bytes are not what the schema says.
    pub fn is_limit(&self) -> bool {
        matches!(
            self.what,
            What::TooManyRows { .. } | What::TooManyElements { .. } | What::TooLarge { .. } | What::BatchFull
        )
    }
}

fn prefix(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("field {path}: ") }
}

/// A [`DecodeError`] on its way up. One pointer, so that results stay in registers.
pub(crate) type Fault = Box<DecodeError>;

#[cold]
#[inline(never)]
pub(crate) fn fault(offset: usize, what: What) -> Fault {
    Box::new(DecodeError { offset, path: String::new(), what })
}

/// Adds the name of the field that the fault came out of.
#[cold]
#[inline(never)]
pub(crate) fn within(mut fault: Fault, name: &str) -> Fault {
    fault.path = if fault.path.is_empty() { name.to_owned() } else { format!("{name}.{}", fault.path) };
    fault
}
