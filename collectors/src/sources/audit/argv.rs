//! Arguments of a program that was started, from EXECVE records.
//!
//! `argc=3 a0="dd" a1=2F20 …`; one that is too long for a record comes as `a2_len=9000 a2[0]=… a2[1]=…`, over several records. The kernel
//! writes them in order; they are put together by their numbers whatever the order.
//! Limits: as many bytes as eBPF tells ([`ARGV_BYTES_MAX`], with a zero behind each); more is cut, and the event says so.

use super::record::{Record, text};
use amoskys_ebpf::ARGV_BYTES_MAX;
use std::collections::BTreeMap;

/// What has come of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Argv {
    /// By the number of the argument and of the piece.
    pieces: BTreeMap<(u32, u32), Vec<u8>>,
    bytes: usize,
    argc: Option<u32>,
    /// Some found no room, or could not be read.
    is_cut: bool,
}

impl Argv {
    pub fn add(&mut self, record: &Record<'_>) {
        for (name, value) in record.fields() {
            if name == "argc" {
                self.argc = self.argc.or_else(|| value.parse().ok());
            } else if let Some(place) = place(name) {
                match text(value) {
                    Some(piece) => self.put(place, piece),
                    None => self.is_cut = true,
                }
            }
        }
    }

    /// All of them at once, whole.
    pub fn set(&mut self, argc: usize, arguments: Vec<Vec<u8>>) {
        self.argc = u32::try_from(argc).ok();
        (0..).zip(arguments).for_each(|(place, argument)| self.put((place, 0), argument));
    }

    fn put(&mut self, place: (u32, u32), mut piece: Vec<u8>) {
        let left = ARGV_BYTES_MAX.saturating_sub(self.bytes);
        if piece.len() >= left {
            self.is_cut = true;
            piece.truncate(left.saturating_sub(1));
        }
        if left > 0 && !self.pieces.contains_key(&place) {
            self.bytes += piece.len() + 1;
            self.pieces.insert(place, piece);
        }
    }

    /// Each with a zero behind it, as the kernel's programs tell them, up to the first that is missing; and whether all are there.
    pub fn join(&self) -> (Vec<u8>, bool) {
        let mut joined = Vec::with_capacity(self.bytes);
        let mut expected = (0, 0);
        for ((argument, piece), bytes) in &self.pieces {
            if (*argument, *piece) == (expected.0 + 1, 0) && expected.1 > 0 {
                joined.push(0);
                expected = (*argument, 0);
            }
            if (*argument, *piece) != expected {
                if expected.1 > 0 {
                    joined.push(0);
                }
                return (joined, false);
            }
            joined.extend(bytes);
            expected.1 += 1;
        }
        let arguments = if expected.1 > 0 { expected.0 + 1 } else { 0 };
        if arguments > 0 {
            joined.push(0);
        }
        (joined, !self.is_cut && self.argc.is_none_or(|argc| argc == arguments))
    }
}

/// `a7` → the first piece of argument 7, `a7[2]` → its third; `a7_len` is none.
fn place(name: &str) -> Option<(u32, u32)> {
    let name = name.strip_prefix('a')?;
    match name.split_once('[') {
        Some((argument, piece)) => Some((argument.parse().ok()?, piece.strip_suffix(']')?.parse().ok()?)),
        None => Some((name.parse().ok()?, 0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(bodies: &[&str]) -> (String, bool) {
        let mut argv = Argv::default();
        for body in bodies {
            let line = format!("type=EXECVE msg=audit(1.000:1): {body}");
            argv.add(&Record::parse(&line).expect("a record"));
        }
        let (bytes, is_whole) = argv.join();
        (String::from_utf8_lossy(&bytes).replace('\0', "|"), is_whole)
    }

    fn is(text: &str, is_whole: bool) -> (String, bool) {
        (text.to_owned(), is_whole)
    }

    #[test]
    fn arguments_are_put_together_from_pieces_and_records() {
        assert_eq!(joined(&["argc=3 a0=\"grep\" a1=\"-v\" a2=2F7B20"]), is("grep|-v|/{ |", true));
        assert_eq!(joined(&["argc=2 a0=\"\" a1=\"x\""]), is("|x|", true));
        let pieces = ["argc=3 a0=\"sh\" a1_len=6 a1[0]=\"abc\"", "a1[1]=646566 a2=\"z\""];
        assert_eq!(joined(&pieces), is("sh|abcdef|z|", true));
        assert_eq!(joined(&[pieces[1], pieces[0]]), is("sh|abcdef|z|", true));
    }

    #[test]
    fn what_is_missing_ends_them_and_is_told() {
        assert_eq!(joined(&["argc=3 a0=\"sh\" a2=\"z\""]), is("sh|", false));
        assert_eq!(joined(&["argc=3 a0=\"sh\" a1=\"z\""]), is("sh|z|", false));
        assert_eq!(joined(&["argc=2 a0=\"sh\" a1[0]=\"x\" a1[2]=\"z\""]), is("sh|x|", false));
        assert_eq!(joined(&["argc=2 a0=\"sh\" a1=\"cut"]), is("sh|", false));
        assert_eq!(joined(&["argc=2 a0=\"sh\" a1=2F2"]), is("sh|", false));
        assert_eq!(joined(&["argc=2 a1=\"z\""]), is("", false));
        assert_eq!(joined(&["argc=4294967295 a4294967295=\"z\" a[1]=\"x\" a1[=\"x\" a-1=\"x\""]), is("", false));
    }

    #[test]
    fn no_more_is_kept_than_the_kernels_programs_tell() {
        let long = format!("argc=3 a0=\"sh\" a1=\"{}\" a2=\"z\"", "x".repeat(10_000));
        let (text, is_whole) = joined(&[&long]);
        assert_eq!((text.len(), is_whole), (ARGV_BYTES_MAX, false));
        let many: String = (0..10_000).map(|n| format!("a{n}=\"\" ")).collect();
        let (text, is_whole) = joined(&[&format!("argc=10000 {many}")]);
        assert_eq!((text.len(), is_whole), (ARGV_BYTES_MAX, false));
    }
}
