//! Text from records for a person's terminal: nothing in it may steer the terminal, and it must fit.

use prost_reflect::prost_types::Timestamp;

/// Shown of a payload that is no text.
const HEX_BYTES_MAX: usize = 256;

/// Without control characters, which an attacker can put into a process's name: each becomes `\u001b` and the like.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || is_direction(c) {
            shown.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Characters that make text appear in another order than it is in.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// RFC 3339 in UTC; `-` for none.
pub fn time(time: Option<&Timestamp>) -> String {
    time.map_or_else(|| "-".to_owned(), Timestamp::to_string)
}

/// Milliseconds since 1970 as [`time`] does.
pub fn time_of_ms(time_ms: i64) -> String {
    let nanos = (time_ms.rem_euclid(1000) * 1_000_000) as i32;
    Timestamp { seconds: time_ms.div_euclid(1000), nanos }.to_string()
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The text itself, or the first bytes in hex and how many there are.
pub fn text_or_hex(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => visible(text),
        _ if bytes.len() <= HEX_BYTES_MAX => hex(bytes),
        _ => format!("{}… {} bytes in all", hex(&bytes[..HEX_BYTES_MAX]), bytes.len()),
    }
}

/// At most so many characters, and `…` for the rest.
pub fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Words in lines of at most `width` characters; a longer word has a line of its own.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(visible("a\x1b[2Jb\u{9b}c\nd\u{202e}é"), "a\\u001b[2Jb\\u009bc\\u000ad\\u202eé");
    }

    #[test]
    fn bytes_that_are_no_text_are_hex_and_bounded() {
        assert_eq!(text_or_hex(b"plain"), "plain");
        assert_eq!(text_or_hex(&[0, 255]), "00ff");
        let long = text_or_hex(&[255; 1000]);
        assert!(long.ends_with("… 1000 bytes in all") && long.len() < 600, "{long}");
    }

    #[test]
    fn words_are_wrapped_and_long_ones_stay_whole() {
        assert_eq!(wrapped("aa bb  cc dddddddd e", 5), ["aa bb", "cc", "dddddddd", "e"]);
        assert!(wrapped(" ", 5).is_empty());
    }

    #[test]
    fn times_are_utc_also_before_1970() {
        assert_eq!(time_of_ms(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(time_of_ms(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(time(None), "-");
    }
}
