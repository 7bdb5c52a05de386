//! What is wrong with a piece of SQL, in words for who wrote it: the fault, what to write instead, and where.
//!
//! Travels through DataFusion as an external error. Deliberately not here: files, lines and columns, which only who
//! read the SQL knows.

use datafusion::error::DataFusionError;
use std::fmt;

/// One fault of one statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
    /// The words of the statement that are at fault, as SQL, the first of these that stand there; a call is named with
    /// its parenthesis, `hop(`.
    pub at: Vec<String>,
}

impl Fault {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, at: Vec::new() }
    }

    /// From a sentence that says what is wrong and, behind a semicolon, what to write instead.
    pub fn of_sentence(sentence: &str) -> Self {
        let (message, help) = sentence.split_once("; ").unwrap_or((sentence, ""));
        Self::new(message).help(help)
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        let help = help.into();
        self.help = (!help.is_empty()).then_some(help);
        self
    }

    /// At these words; after others, where those do not stand there.
    pub fn at(mut self, words: impl Into<String>) -> Self {
        self.at.push(words.into());
        self
    }

    /// The fault that an error is, below the names of layers that passed it on.
    pub fn of(error: &DataFusionError) -> Option<&Self> {
        match error {
            DataFusionError::External(error) => error.downcast_ref(),
            DataFusionError::Context(_, cause) | DataFusionError::Diagnostic(_, cause) => Self::of(cause),
            DataFusionError::Shared(cause) => Self::of(cause),
            _ => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, "; {help}"))
    }
}

impl std::error::Error for Fault {}

impl From<Fault> for DataFusionError {
    fn from(fault: Fault) -> Self {
        Self::External(Box::new(fault))
    }
}

/// The error of a [`Fault`], as a result.
pub fn refuse<T>(fault: Fault) -> Result<T, DataFusionError> {
    Err(fault.into())
}
