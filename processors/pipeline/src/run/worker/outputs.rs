//! Outputs that wait for their commit, and how many bytes they are.
//!
//! Each is weighed once, however often is asked: thousands wait while a worker is behind.

use amoskys_bus::Outgoing;

#[derive(Default)]
pub(super) struct Outputs {
    pub records: Vec<Outgoing>,
    /// How many of the records `bytes` counts.
    weighed: usize,
    bytes: usize,
}

impl Outputs {
    pub fn bytes(&mut self) -> usize {
        self.bytes += self.records[self.weighed..].iter().map(Outgoing::bytes).sum::<usize>();
        self.weighed = self.records.len();
        self.bytes
    }

    pub fn clear(&mut self) {
        self.records.clear();
        (self.weighed, self.bytes) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_since_is_weighed_and_what_went_is_not() {
        let record = |bytes| Outgoing {
            topic: "t".into(),
            partition: None,
            key: None,
            payload: vec![0; bytes],
            headers: Vec::new(),
        };
        let mut outputs = Outputs::default();
        outputs.records.push(record(3));
        assert_eq!((outputs.bytes(), outputs.bytes()), (3, 3));
        outputs.records.extend([record(4), record(5)]);
        assert_eq!(outputs.bytes(), 12);
        outputs.clear();
        outputs.records.extend([1, 1, 1, 1].map(record));
        assert_eq!(outputs.bytes(), 4);
    }
}
