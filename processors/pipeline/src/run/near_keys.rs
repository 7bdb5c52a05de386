//! Keys of JSON records that are nearly the name of a column: `srcIp` where the SQL says `srcIp` without double quotes, which is
//! `srcip`, or `src_ip`. The column is null for ever, and nobody would know why.
//!
//! Limits: the first [`RECORDS`] records of a partition and of a file; no keys within objects.

use serde::de::IgnoredAny;
use std::collections::{BTreeMap, BTreeSet};

const RECORDS: usize = 100;

/// Looks at the first records of a partition.
pub struct NearKeys {
    stream: String,
    columns: Vec<String>,
    left: usize,
}

impl NearKeys {
    /// `columns`: those that are wanted of the records.
    pub fn new(stream: &str, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|name| (*name).to_owned()).collect();
        Self { stream: stream.to_owned(), columns, left: RECORDS }
    }

    /// Each column is told of once.
    pub fn look(&mut self, record: &[u8]) {
        if self.left == 0 || self.columns.is_empty() {
            return;
        }
        self.left -= 1;
        let Ok(object) = serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(record) else { return };
        let keys: BTreeSet<String> = object.into_keys().collect();
        for (column, key) in near(self.columns.iter().map(String::as_str), &keys) {
            tell(&self.stream, &column, &key);
            self.columns.retain(|known| *known != column);
        }
    }
}

/// Columns that are none of the keys, with the key that is nearly their name.
pub fn near<'a>(columns: impl Iterator<Item = &'a str>, keys: &BTreeSet<String>) -> Vec<(String, String)> {
    let folded = |name: &str| name.to_lowercase().replace(['_', '-', '.'], "");
    let missing = columns.filter(|column| !keys.contains(*column));
    let with_key = |column: &str| {
        let key = keys.iter().find(|key| folded(key) == folded(column))?;
        Some((column.to_owned(), key.clone()))
    };
    missing.filter_map(with_key).collect()
}

/// Of a stream's records, or files.
pub fn tell(stream: &str, column: &str, key: &str) {
    tracing::warn!(
        stream,
        column,
        key,
        "a column is not in the records, and a key by nearly its name is: SQL takes names in small letters unless they are in double quotes"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_nearly_a_column() {
        let keys: BTreeSet<String> = ["srcIp", "host_id", "user-name", "port"].map(str::to_owned).into();
        let columns = ["srcip", "hostid", "username", "port", "time"];
        let found = near(columns.into_iter(), &keys);
        let found: Vec<(&str, &str)> = found.iter().map(|(column, key)| (column.as_str(), key.as_str())).collect();
        assert_eq!(found, [("srcip", "srcIp"), ("hostid", "host_id"), ("username", "user-name")]);
    }
}
