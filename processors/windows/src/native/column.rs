//! A word of each group of a sealed pane, in as few bytes as the values need.
//!
//! Counts, sums, least and greatest values of a pane mostly span a small range, so each is kept as its distance from the
//! least of them, in one, two or four bytes; doubles that are whole numbers (the sums behind means of integers) as these
//! numbers. That is a half to a fourth of the memory of long windows, and of what is read when spans are merged. Reading gives
//! back every bit.
//!
//! Deliberately not here: what would have to be unpacked before it can be read from the middle.

use super::layout::Kind;
use arrow::buffer::ScalarBuffer;

/// Whole doubles up to here have one integer each.
const WHOLE_MAX: u64 = 1 << 53;

#[derive(Debug, Clone)]
pub struct Column(Packed);

#[derive(Debug, Clone)]
enum Packed {
    /// As they are; shared with the arrays that are made of them.
    Words(ScalarBuffer<u64>),
    Whole(Distances),
    /// Of doubles.
    WholeFloat(Distances),
}

/// Numbers as their distances from the least.
#[derive(Debug, Clone)]
struct Distances {
    least: i64,
    each: Each,
}

#[derive(Debug, Clone)]
enum Each {
    One(Box<[u8]>),
    Two(Box<[u16]>),
    Four(Box<[u32]>),
}

impl Default for Column {
    fn default() -> Self {
        Vec::new().into()
    }
}

impl From<Vec<u64>> for Column {
    fn from(words: Vec<u64>) -> Self {
        Self(Packed::Words(words.into()))
    }
}

impl FromIterator<u64> for Column {
    fn from_iter<I: IntoIterator<Item = u64>>(words: I) -> Self {
        words.into_iter().collect::<Vec<_>>().into()
    }
}

impl Column {
    /// As small as it gets; `kind` is how the words are to be read.
    pub fn pack(self, kind: Kind) -> Self {
        let Packed::Words(words) = &self.0 else { return self };
        let whole = |&word: &u64| f64::from_bits(word) as i64;
        let is_whole = |word: &u64| {
            let whole = whole(word);
            (whole as f64).to_bits() == *word && whole.unsigned_abs() <= WHOLE_MAX
        };
        let packed = match kind {
            Kind::Signed | Kind::Unsigned => Distances::of(words.iter().map(|&word| word as i64)).map(Packed::Whole),
            Kind::Float if words.iter().all(is_whole) => Distances::of(words.iter().map(whole)).map(Packed::WholeFloat),
            Kind::Float => None,
        };
        packed.map_or(self, Self)
    }

    pub fn words(&self) -> ScalarBuffer<u64> {
        match &self.0 {
            Packed::Words(words) => words.clone(),
            _ => {
                let mut words = Vec::new();
                self.append_to(&mut words);
                words.into()
            }
        }
    }

    pub fn append_to(&self, words: &mut Vec<u64>) {
        match &self.0 {
            Packed::Words(known) => words.extend_from_slice(known),
            Packed::Whole(distances) => distances.append_to(words, |whole| whole as u64),
            Packed::WholeFloat(distances) => distances.append_to(words, |whole| (whole as f64).to_bits()),
        }
    }

    /// Calls `with` for each word, and what stands beside it in `others`.
    #[inline(always)]
    pub fn zip<T: Copy>(&self, others: &[T], mut with: impl FnMut(T, u64)) {
        match &self.0 {
            Packed::Words(words) => others.iter().zip(words.iter()).for_each(|(&other, &word)| with(other, word)),
            Packed::Whole(distances) => distances.zip(others, |other, whole| with(other, whole as u64)),
            Packed::WholeFloat(distances) => {
                distances.zip(others, |other, whole| with(other, (whole as f64).to_bits()));
            }
        }
    }

    pub fn bytes(&self) -> usize {
        match &self.0 {
            Packed::Words(words) => words.inner().capacity(),
            Packed::Whole(distances) | Packed::WholeFloat(distances) => distances.bytes(),
        }
    }
}

impl Distances {
    /// None when they are too far apart, or there are none.
    fn of(numbers: impl Iterator<Item = i64> + Clone) -> Option<Self> {
        let (least, greatest) = numbers
            .clone()
            .fold((i64::MAX, i64::MIN), |(least, greatest), number| (least.min(number), greatest.max(number)));
        if least > greatest {
            return None;
        }
        let apart = numbers.map(|number| number.wrapping_sub(least) as u64);
        let each = match greatest.wrapping_sub(least) as u64 {
            0..=0xff => Each::One(apart.map(|apart| apart as u8).collect()),
            0x100..=0xffff => Each::Two(apart.map(|apart| apart as u16).collect()),
            0x1_0000..=0xffff_ffff => Each::Four(apart.map(|apart| apart as u32).collect()),
            _ => return None,
        };
        Some(Self { least, each })
    }

    fn append_to(&self, words: &mut Vec<u64>, word: impl Fn(i64) -> u64) {
        match &self.each {
            Each::One(each) => words.extend(self.numbers(each).map(word)),
            Each::Two(each) => words.extend(self.numbers(each).map(word)),
            Each::Four(each) => words.extend(self.numbers(each).map(word)),
        }
    }

    #[inline(always)]
    fn zip<T: Copy>(&self, others: &[T], mut with: impl FnMut(T, i64)) {
        let others = others.iter();
        match &self.each {
            Each::One(each) => others.zip(self.numbers(each)).for_each(|(&other, number)| with(other, number)),
            Each::Two(each) => others.zip(self.numbers(each)).for_each(|(&other, number)| with(other, number)),
            Each::Four(each) => others.zip(self.numbers(each)).for_each(|(&other, number)| with(other, number)),
        }
    }

    #[inline(always)]
    fn numbers<N: Copy + Into<i64>>(&self, each: &[N]) -> impl Iterator<Item = i64> {
        each.iter().map(|&apart| self.least.wrapping_add(apart.into()))
    }

    fn bytes(&self) -> usize {
        match &self.each {
            Each::One(each) => size_of_val(&each[..]),
            Each::Two(each) => size_of_val(&each[..]),
            Each::Four(each) => size_of_val(&each[..]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(words: Vec<u64>, kind: Kind, bytes_max: usize) {
        let column = Column::from(words.clone()).pack(kind);
        assert_eq!(column.words(), ScalarBuffer::from(words.clone()), "{kind:?}");
        let mut zipped = Vec::new();
        column.zip(&(0..words.len()).collect::<Vec<_>>(), |at, word| zipped.push((at, word)));
        assert_eq!(zipped, words.into_iter().enumerate().collect::<Vec<_>>(), "{kind:?}");
        assert!(column.bytes() <= bytes_max, "{} bytes of {kind:?}", column.bytes());
    }

    #[test]
    fn each_takes_as_many_bytes_as_the_range_needs() {
        let float = |numbers: &[f64]| numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
        check(vec![7; 100], Kind::Unsigned, 100);
        check((1 << 60..(1 << 60) + 100).collect(), Kind::Unsigned, 100);
        check(vec![-13i64 as u64, 0, 200], Kind::Signed, 3);
        check(vec![0, 256], Kind::Signed, 4);
        check(vec![0, 1 << 16], Kind::Signed, 8);
        check(vec![0, 1 << 32], Kind::Signed, 16);
        check(vec![i64::MIN as u64, i64::MAX as u64], Kind::Signed, 16);
        check(vec![0, u64::MAX], Kind::Unsigned, 2);
        check(vec![1 << 63, (1 << 63) - 1], Kind::Unsigned, 16);
        check(Vec::new(), Kind::Float, 0);
        check(float(&[1.0, 3.0, -250.0]), Kind::Float, 3);
        check(float(&[0.0, -0.0]), Kind::Float, 16);
        check(float(&[1.0, 0.5]), Kind::Float, 16);
        check(float(&[f64::MAX, f64::MIN, f64::NAN, f64::INFINITY]), Kind::Float, 32);
        check(float(&[9_007_199_254_740_992.0, 9_007_199_254_740_994.0]), Kind::Float, 16);
    }

    proptest! {
        #[test]
        fn every_bit_comes_back(words in prop::collection::vec(prop_oneof![any::<u64>(), 0..300u64], 0..50), shift in 0..64) {
            for kind in [Kind::Signed, Kind::Unsigned, Kind::Float] {
                check(words.iter().map(|word| word >> shift).collect(), kind, usize::MAX);
            }
            check(words.iter().map(|&word| ((word >> shift) as f64).to_bits()).collect(), Kind::Float, usize::MAX);
        }
    }
}
