//! Amounts that people write with a unit: `10 MiB`, `500ms`.
//!
//! Whole numbers only: `1.5 MiB` is refused rather than rounded. Bytes may come without a unit; durations may not,
//! because nobody remembers whether a bare 5 was seconds or milliseconds.

use std::time::Duration;

const BYTE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// Longest first: `ms` must not be read as `m`.
const DURATION_UNITS_MS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// `10 MiB`, `64kB`, `4096`. The error says what was wrong, without the value.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    if unit.is_empty() {
        return Ok(number);
    }
    let factor = BYTE_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| factor);
    let factor =
        factor.ok_or_else(|| format!("`{unit}` is no unit of bytes (B, KiB, MiB, GiB, TiB; kB, MB, GB, TB)"))?;
    number.checked_mul(*factor).ok_or_else(|| "the amount is beyond 64 bits".to_owned())
}

/// `500ms`, `5 s`, `2m`, `1h`, `7d`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text)?;
    if unit.is_empty() {
        return Err("a duration needs its unit (ms, s, m, h, d)".to_owned());
    }
    let factor = DURATION_UNITS_MS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| factor);
    let factor = factor.ok_or_else(|| format!("`{unit}` is no unit of time (ms, s, m, h, d)"))?;
    let millis = number.checked_mul(*factor).ok_or_else(|| "the time is beyond 64 bits of milliseconds".to_owned())?;
    Ok(Duration::from_millis(millis))
}

fn split(text: &str) -> Result<(u64, &str), String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err("it does not begin with a whole number".to_owned());
    }
    if unit.starts_with(['.', ',', '_']) {
        return Err("only whole numbers are taken".to_owned());
    }
    let number = number.parse().map_err(|_| "the number is beyond 64 bits".to_owned())?;
    Ok((number, unit.trim()))
}

/// In the largest binary unit that loses nothing: `10 MiB`, `1 byte`.
pub fn render_bytes(bytes: u64) -> String {
    let binary = BYTE_UNITS[..4].iter().find(|(_, factor)| bytes > 0 && bytes.is_multiple_of(*factor));
    match binary {
        Some((unit, factor)) => format!("{} {unit}", bytes / factor),
        None if bytes == 1 => "1 byte".to_owned(),
        None => format!("{bytes} bytes"),
    }
}

/// In the largest unit that loses nothing: `5s`, `1500ms`.
pub fn render_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let whole = DURATION_UNITS_MS.iter().find(|(_, factor)| millis > 0 && millis.is_multiple_of(*factor));
    match whole {
        Some((unit, factor)) => format!("{}{unit}", millis / factor),
        None => "0ms".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bytes_are_read_in_every_unit() {
        for (text, bytes) in
            [("0", 0), ("4096", 4096), ("10 MiB", 10 << 20), ("1KiB", 1024), (" 2 GB ", 2_000_000_000), ("7 B", 7)]
        {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn bytes_that_are_none_are_refused() {
        for text in
            ["", "MiB", "-1", "1.5 MiB", "1_000", "1 mib", "1 Mo", "99999999999999999999", "99999999999 TiB", "1 MiB 2"]
        {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_read_in_every_unit() {
        for (text, millis) in
            [("500ms", 500), ("5 s", 5_000), ("2m", 120_000), ("1h", 3_600_000), ("7d", 604_800_000), ("0ms", 0)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn durations_that_are_none_are_refused() {
        for text in ["", "5", "s", "-5s", "5 sec", "1.5s", "5S", "99999999999999999999s", "999999999999999999d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_rendered_is_read_back(amount in 0u64..1 << 45) {
            prop_assert_eq!(parse_duration(&render_duration(Duration::from_millis(amount))), Ok(Duration::from_millis(amount)));
            let bytes = render_bytes(amount).replace("bytes", "B").replace("byte", "B");
            prop_assert_eq!(parse_bytes(&bytes), Ok(amount));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,24}") {
            let _ = parse_bytes(&text);
            let _ = parse_duration(&text);
        }
    }
}
