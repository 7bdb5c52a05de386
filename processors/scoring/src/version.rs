//! Model versions: one to three numbers with dots, ordered number by number (`9` < `10`, `1.9` < `1.10`, `1` < `1.0`).
//!
//! Deliberately no pre-releases and no build metadata: a version is a folder's name.

use std::{fmt, str::FromStr};

/// For example `3` or `1.10.2`. `Display` gives back exactly what was parsed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(Vec<u32>);

const NUMBERS_MAX: usize = 3;

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Option<Vec<u32>> = text.split('.').map(number).collect();
        match numbers {
            Some(numbers) if numbers.len() <= NUMBERS_MAX => Ok(Self(numbers)),
            _ => {
                Err(format!("`{text}` is not a version; write one to three numbers with dots, such as `3` or `1.10.2`"))
            }
        }
    }
}

/// A leading zero is refused so that no two folders are the same version.
fn number(digits: &str) -> Option<u32> {
    let canonical = digits == "0" || !digits.starts_with(['0', '+']);
    digits.parse().ok().filter(|_| canonical)
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(u32::to_string).collect();
        f.write_str(&numbers.join("."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_by_number_not_by_letter() {
        let mut versions: Vec<Version> =
            ["10", "9", "1.10", "1.9", "1", "1.0", "1.9.3"].iter().map(|v| v.parse().expect("a version")).collect();
        versions.sort();
        let sorted: Vec<String> = versions.iter().map(Version::to_string).collect();
        assert_eq!(sorted, ["1", "1.0", "1.9", "1.9.3", "1.10", "9", "10"]);
    }

    #[test]
    fn refuses_what_is_not_a_version() {
        for text in ["", "v1", "1.", ".1", "01", "1.2.3.4", "+1", "-1", "1 ", "4294967296", "latest"] {
            assert!(text.parse::<Version>().is_err(), "{text:?} was taken");
        }
    }
}
