//! Integers, text and times as JSON, as arrow-json writes them and several times faster: a window's row is mostly these.
//!
//! Deliberately not here: floats, whose shortest text is arrow-json's matter, and everything nested. Limits: times of the years 0 to
//! 9999 without a zone; a column that has others is left to arrow-json.

use arrow::array::{Array, ArrowPrimitiveType, AsArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{
    ArrowNativeType, DataType, FieldRef, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;
use arrow::json::writer::{Encoder, EncoderFactory, EncoderOptions, NullableEncoder};

/// Makes the encoders of this file where they apply.
#[derive(Debug)]
pub(super) struct Quick;

impl EncoderFactory for Quick {
    fn make_default_encoder<'a>(
        &self,
        _: &'a FieldRef,
        array: &'a dyn Array,
        _: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        let encoder: Box<dyn Encoder + 'a> = match array.data_type() {
            DataType::Int8 => integers::<Int8Type>(array),
            DataType::Int16 => integers::<Int16Type>(array),
            DataType::Int32 => integers::<Int32Type>(array),
            DataType::Int64 => integers::<Int64Type>(array),
            DataType::UInt8 => integers::<UInt8Type>(array),
            DataType::UInt16 => integers::<UInt16Type>(array),
            DataType::UInt32 => integers::<UInt32Type>(array),
            DataType::UInt64 => integers::<UInt64Type>(array),
            DataType::Utf8 => {
                let texts = array.as_string::<i32>();
                Box::new(Texts(|row| texts.value(row)))
            }
            DataType::LargeUtf8 => {
                let texts = array.as_string::<i64>();
                Box::new(Texts(|row| texts.value(row)))
            }
            DataType::Utf8View => {
                let texts = array.as_string_view();
                Box::new(Texts(|row| texts.value(row)))
            }
            DataType::Timestamp(unit, None) => match Times::new(array, *unit) {
                Some(times) => Box::new(times),
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
        Ok(Some(NullableEncoder::new(encoder, array.nulls().cloned())))
    }
}

struct Integers<N: ArrowNativeType>(ScalarBuffer<N>);

fn integers<'a, T: ArrowPrimitiveType<Native: Into<i128>>>(array: &'a dyn Array) -> Box<dyn Encoder + 'a> {
    Box::new(Integers(array.as_primitive::<T>().values().clone()))
}

impl<N: ArrowNativeType + Into<i128>> Encoder for Integers<N> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let value: i128 = self.0[row].into();
        if value < 0 {
            out.push(b'-');
        }
        // Of up to 64 bits.
        number(value.unsigned_abs() as u64, out);
    }
}

/// The digits of every number below a hundred.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

fn pair(number: u64) -> [u8; 2] {
    PAIRS[(number % 100) as usize]
}

fn number(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    while number >= 10 {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&pair(number));
        number /= 100;
    }
    if number > 0 || at == digits.len() {
        at -= 1;
        digits[at] = b'0' + number as u8;
    }
    out.extend_from_slice(&digits[at..]);
}

/// The text of a row.
struct Texts<F>(F);

impl<'a, F: Fn(usize) -> &'a str> Encoder for Texts<F> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let text = (self.0)(row);
        // Not until the first: so that many bytes are looked at in one step.
        let is_plain = text.bytes().fold(true, |plain, byte| plain & (byte >= b' ') & (byte != b'"') & (byte != b'\\'));
        if is_plain {
            out.push(b'"');
            out.extend_from_slice(text.as_bytes());
            out.push(b'"');
        } else {
            // Text always has a JSON form, and memory takes every byte.
            let _ = serde_json::to_writer(out, text);
        }
    }
}

const DAY_S: i64 = 86_400;
/// 0000-01-01T00:00:00 and what follows 9999-12-31T23:59:59.
const YEARS_S: std::ops::Range<i64> = -62_167_219_200..253_402_300_800;

/// Times of `per_second` units since 1970.
struct Times {
    values: ScalarBuffer<i64>,
    per_second: i64,
    /// The last one written, as all rows of a window mostly have the same.
    last: Option<(i64, Vec<u8>)>,
}

impl Times {
    fn new(array: &dyn Array, unit: TimeUnit) -> Option<Self> {
        let data = array.to_data();
        let values = ScalarBuffer::<i64>::new(data.buffers()[0].clone(), data.offset(), data.len());
        let per_second = match unit {
            TimeUnit::Second => 1,
            TimeUnit::Millisecond => 1_000,
            TimeUnit::Microsecond => 1_000_000,
            TimeUnit::Nanosecond => 1_000_000_000,
        };
        let is_plain = |&value: &i64| YEARS_S.contains(&value.div_euclid(per_second));
        values.iter().all(is_plain).then_some(Self { values, per_second, last: None })
    }

    fn text(&self, value: i64) -> Vec<u8> {
        let (seconds, rest) = (value.div_euclid(self.per_second), value.rem_euclid(self.per_second));
        let (year, month, day) = date(seconds.div_euclid(DAY_S));
        let second = seconds.rem_euclid(DAY_S) as u64;
        let [[a, b], [c, d], [e, f]] = [year / 100, year % 100, month].map(pair);
        let [[g, h], [i, j], [k, l], [m, n]] = [day, second / 3600, second / 60 % 60, second % 60].map(pair);
        let mut text = vec![b'"', a, b, c, d, b'-', e, f, b'-', g, h, b'T', i, j, b':', k, l, b':', m, n];
        let nanos = rest as u64 * (1_000_000_000 / self.per_second as u64);
        // As many digits as it needs, by threes.
        let digits = match nanos {
            0 => 0,
            _ if nanos.is_multiple_of(1_000_000) => 3,
            _ if nanos.is_multiple_of(1_000) => 6,
            _ => 9,
        };
        if digits > 0 {
            text.push(b'.');
            let all = format!("{nanos:09}");
            text.extend_from_slice(&all.as_bytes()[..digits]);
        }
        text.extend_from_slice(b"Z\"");
        text
    }
}

impl Encoder for Times {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let value = self.values[row];
        if self.last.as_ref().is_none_or(|(last, _)| *last != value) {
            self.last = Some((value, self.text(value)));
        }
        if let Some((_, text)) = &self.last {
            out.extend_from_slice(text);
        }
    }
}

/// Year (from 0 on), month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar. Years are counted from
/// March, so that the day that some of them have more is their last.
fn date(day: i64) -> (u64, u64, u64) {
    const CYCLE_DAYS: i64 = 146_097;
    // From the 1st of March of the year -400 on, 400 years are one cycle.
    let from_march = day + 719_468 + CYCLE_DAYS;
    let (cycle, day) = (from_march.div_euclid(CYCLE_DAYS), from_march.rem_euclid(CYCLE_DAYS));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let (month, past_december) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    ((year + (cycle - 1) * 400 + past_december) as u64, month as u64, day_of_month as u64)
}
