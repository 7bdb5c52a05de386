//! Where in a statement's text the words stand that a fault is about.
//!
//! Words are matched as tokens, so that spaces, comments and the case of what is not quoted do not matter. A call is
//! found up to its closing parenthesis. Limits: the first place where the words stand that gives no name (`AS x`).

use super::files::byte_at;
use amoskys_functions::fault::Fault;
use datafusion::sql::sqlparser::{
    dialect::GenericDialect,
    tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer},
};
use std::ops::Range;

/// Bytes of `text`: the fault's words, or what the statement is called.
pub fn of(text: &str, fault: &Fault) -> Range<usize> {
    fault.at.iter().find_map(|words| find(text, words)).unwrap_or_else(|| head(text))
}

fn find(text: &str, words: &str) -> Option<Range<usize>> {
    let (tokens, wanted) = (tokens(text)?, tokens(words)?);
    let is_here = |start: usize| {
        let gives_a_name = start > 0 && is_word(&tokens[start - 1].token, "as");
        let window = tokens.get(start..start + wanted.len());
        !gives_a_name && window.is_some_and(|here| here.iter().zip(&wanted).all(|(one, other)| is_same(one, other)))
    };
    if wanted.is_empty() {
        return None;
    }
    let first = (0..tokens.len()).find(|start| is_here(*start))?;
    let mut last = first + wanted.len() - 1;
    if tokens[last].token == Token::LParen {
        last = closing(&tokens, last, 0).unwrap_or(last);
    }
    Some(byte_at(text, tokens[first].span.start)..byte_at(text, tokens[last].span.end))
}

/// Bytes of the token that is there.
pub fn at(text: &str, location: Location) -> Option<Range<usize>> {
    let tokens = tokens(text)?;
    let token = tokens.iter().find(|token| token.span.start == location)?;
    Some(byte_at(text, token.span.start)..byte_at(text, token.span.end))
}

/// What a statement is and what it is called: `CREATE VIEW x`, `INSERT INTO y`.
pub fn head(text: &str) -> Range<usize> {
    let tokens = tokens(text).unwrap_or_default();
    let is_name = |token: &&TokenWithSpan| {
        let known = ["create", "external", "view", "table", "insert", "into", "or", "replace"];
        !known.iter().any(|word| is_word(&token.token, word))
    };
    let end = match tokens.first() {
        Some(first) if is_word(&first.token, "create") || is_word(&first.token, "insert") => {
            tokens.iter().find(is_name).map(|token| byte_at(text, token.span.end))
        }
        first => first.map(|token| byte_at(text, token.span.end)),
    };
    0..end.unwrap_or(text.len())
}

/// Bytes of what the parser gives this place: its places of calls end before their parentheses, or before the closing
/// one, and here they end behind it. What it keeps no place of is where its statement is.
pub fn closed(text: &str, span: Span) -> Range<usize> {
    let range = byte_at(text, span.start)..byte_at(text, span.end);
    if range.is_empty() {
        return head(text);
    }
    let tokens = tokens(text).unwrap_or_default();
    let first = tokens.partition_point(|token| token.span.start < span.start);
    let behind = tokens.partition_point(|token| token.span.start < span.end);
    let depth = tokens[first..behind].iter().fold(0_usize, |depth, token| match token.token {
        Token::LParen => depth + 1,
        Token::RParen => depth.saturating_sub(1),
        _ => depth,
    });
    let is_call = tokens.get(behind).is_some_and(|token| token.token == Token::LParen);
    let last = if depth > 0 || is_call { closing(&tokens, behind, depth) } else { None };
    range.start..last.map_or(range.end, |last| byte_at(text, tokens[last].span.end))
}

/// The parenthesis that closes what is open `depth` deep before the token at `from`.
fn closing(tokens: &[TokenWithSpan], from: usize, mut depth: usize) -> Option<usize> {
    for (index, token) in tokens.iter().enumerate().skip(from) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen if depth <= 1 => return Some(index),
            Token::RParen => depth -= 1,
            _ => {}
        }
    }
    None
}

fn tokens(text: &str) -> Option<Vec<TokenWithSpan>> {
    let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize_with_location().ok()?;
    let is_space = |token: &Token| matches!(token, Token::Whitespace(_) | Token::EOF);
    Some(tokens.into_iter().filter(|token| !is_space(&token.token)).collect())
}

fn is_same(one: &TokenWithSpan, wanted: &TokenWithSpan) -> bool {
    match (&one.token, &wanted.token) {
        (Token::Word(one), Token::Word(wanted)) => match one.quote_style {
            None => one.value.eq_ignore_ascii_case(&wanted.value),
            Some(_) => one.value == wanted.value,
        },
        (one, wanted) => one == wanted,
    }
}

fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(found) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SQL: &str = "INSERT INTO sink\nSELECT 1 AS kk, -- kk\n  \"Kk\", kk, hop ( t, (1), 'x' ) FROM t\nORDER  BY kk";

    fn found(words: &str) -> Option<&'static str> {
        find(SQL, words).map(|span| &SQL[span])
    }

    #[test]
    fn words_are_found_where_they_are_used() {
        assert_eq!(find(SQL, "kk"), Some(47..49));
        assert_eq!(found("\"Kk\""), Some("\"Kk\""));
        assert_eq!(found("HOP("), Some("hop ( t, (1), 'x' )"));
        assert_eq!(found("'x'"), Some("'x'"));
        assert_eq!(found("order by"), Some("ORDER  BY"));
        assert_eq!(found("other"), None);
        assert_eq!(found(""), None);
        assert_eq!(find("'", "x"), None);
    }

    #[test]
    fn a_statement_is_known_by_its_kind_and_name() {
        let head = |text: &'static str| &text[head(text)];
        assert_eq!(head(SQL), "INSERT INTO sink");
        assert_eq!(head("CREATE OR REPLACE VIEW v AS SELECT 1"), "CREATE OR REPLACE VIEW v");
        assert_eq!(head("create external table t (a INT)"), "create external table t");
        assert_eq!(head("SELECT 1 FROM t"), "SELECT");
    }
}
