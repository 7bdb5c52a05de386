//! HyperLogLog's two forms: what is kept of a value's hash, and the count that registers stand for.
//!
//! Few values are kept as they are, 32 bits of each hash: 31 bits from its top, or, where the bits that decide a
//! register's value are not among these, the register and its value. So registers can be filled from kept items
//! exactly as from the hashes. Many values are kept as 2^14 registers.

pub const REGISTERS: usize = 1 << INDEX_BITS;
const INDEX_BITS: u32 = 14;
/// Bits of an item below the register's index.
const MIDDLE_BITS: u32 = 31 - INDEX_BITS;
const MIDDLE: u32 = (1 << MIDDLE_BITS) - 1;
/// Marks an item whose middle bits are zero: register index and rank within the rest instead.
const MARK: u32 = 1 << 31;
const RANK_BITS: u32 = 6;
/// The greatest value of a register: all 50 bits zero.
const RANK_MAX: u32 = 64 - INDEX_BITS + 1;

/// What is kept of a hash.
pub fn to_item(hash: u64) -> u32 {
    let top = (hash >> 33) as u32;
    if top & MIDDLE != 0 {
        return top;
    }
    let rest = hash << 31;
    let rank = rest.leading_zeros().min(33) + 1;
    MARK | (top >> MIDDLE_BITS) << RANK_BITS | rank
}

/// The register of an item and the value it puts there.
pub fn register(item: u32) -> (usize, u8) {
    if item & MARK == 0 {
        let leading = (item & MIDDLE).leading_zeros() - (32 - MIDDLE_BITS);
        return ((item >> MIDDLE_BITS) as usize, leading as u8 + 1);
    }
    let index = (item & !MARK) >> RANK_BITS;
    let rank = MIDDLE_BITS + (item & ((1 << RANK_BITS) - 1));
    (index as usize % REGISTERS, rank.min(RANK_MAX) as u8)
}

/// How many values fill registers like this: Ertl's estimator ("New cardinality estimation algorithms for HyperLogLog
/// sketches", 2017), unbiased over the whole range. Sums, products and square roots alone, so every machine gives the
/// same.
pub fn estimate(registers: &[u8; REGISTERS]) -> f64 {
    const ALPHA: f64 = 0.5 / std::f64::consts::LN_2;
    let mut histogram = [0u32; RANK_MAX as usize + 1];
    registers.iter().for_each(|&value| histogram[(value as usize).min(RANK_MAX as usize)] += 1);
    let share = |count: u32| f64::from(count) / REGISTERS as f64;
    let mut sum = REGISTERS as f64 * tau(1.0 - share(histogram[RANK_MAX as usize]));
    for &count in histogram[1..RANK_MAX as usize].iter().rev() {
        sum = 0.5 * (sum + f64::from(count));
    }
    sum += REGISTERS as f64 * sigma(share(histogram[0]));
    ALPHA * (REGISTERS * REGISTERS) as f64 / sum
}

/// x + x² + 2x⁴ + 4x⁸ + …
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut weight, mut sum) = (1.0, x);
    loop {
        x *= x;
        let before = sum;
        sum += x * weight;
        weight += weight;
        if sum == before {
            return sum;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut weight, mut sum) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = sum;
        weight *= 0.5;
        sum -= (1.0 - x) * (1.0 - x) * weight;
        if sum == before {
            return sum / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As the paper says it, from the whole hash.
    fn directly(hash: u64) -> (usize, u8) {
        let rest = hash << INDEX_BITS;
        ((hash >> (64 - INDEX_BITS)) as usize, (rest.leading_zeros().min(50) + 1) as u8)
    }

    proptest! {
        #[test]
        fn an_item_fills_registers_as_its_hash_does(hash in any::<u64>(), zeros in 0u32..51) {
            // Also hashes with many zeros after the index, which chance gives too seldom.
            let hash = hash >> 50 << 50 | hash << 14 >> 14 >> zeros;
            prop_assert_eq!(register(to_item(hash)), directly(hash));
        }
    }

    #[test]
    fn estimates_of_no_and_of_full_registers() {
        assert_eq!(estimate(&[0; REGISTERS]), 0.0);
        assert!(estimate(&[RANK_MAX as u8; REGISTERS]).is_infinite());
    }
}
