//! Where in a statement a name stands that is not known, so that a problem points at it and not at the statement.
//!
//! Read off the message, which all ways of not knowing a name share (``column `x` is not known``); the planner has no
//! places below statements. Limits: other faults (types, windows, missing columns) point at the statement.

use datafusion::sql::sqlparser::{
    dialect::GenericDialect,
    tokenizer::{Token, TokenWithSpan, Tokenizer},
};

/// 1-based line and column within `text`, of the first place where the name is used.
pub fn of_unknown_name(text: &str, message: &str) -> Option<(u64, u64)> {
    let name = unknown_name(message)?;
    let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize_with_location().ok()?;
    let tokens: Vec<&TokenWithSpan> =
        tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect();
    let used = |index: usize| is_name(&tokens[index].token, name) && !(index > 0 && is_as(&tokens[index - 1].token));
    let start = (0..tokens.len()).find(|index| used(*index)).map(|index| tokens[index].span.start)?;
    Some((start.line, start.column))
}

/// The last part of the name, as in `x` of ``column `t.x` is not known``.
fn unknown_name(message: &str) -> Option<&str> {
    let (before, _) = message.split_once("` is not known")?;
    let (_, name) = before.rsplit_once('`')?;
    Some(name.rsplit_once('.').map_or(name, |(_, last)| last))
}

fn is_name(token: &Token, name: &str) -> bool {
    match token {
        Token::Word(word) if word.quote_style.is_none() => word.value.eq_ignore_ascii_case(name),
        Token::Word(word) => word.value == name,
        // Models are named by texts.
        Token::SingleQuotedString(text) => text == name,
        _ => false,
    }
}

/// What follows gives a name and does not use one.
fn is_as(token: &Token) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("as"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_where_it_is_used_first() {
        let text = "INSERT INTO sink\nSELECT 1 AS kk, -- kk\n  \"Kk\", kk, KK\nFROM t";
        let at = |message: &str| of_unknown_name(text, message);
        assert_eq!(at("column `kk` is not known; did you mean `k`?"), Some((3, 9)));
        assert_eq!(at("column `t.Kk` is not known"), Some((3, 3)));
        assert_eq!(at("table `t` is not known"), Some((4, 6)));
        assert_eq!(at("column `other` is not known"), None);
        assert_eq!(at("`sink` is defined already"), None);
        assert_eq!(of_unknown_name("SELECT predict('m', *)", "model `m` is not known; there are n"), Some((1, 16)));
        assert_eq!(of_unknown_name("'", "table `t` is not known"), None);
    }
}
