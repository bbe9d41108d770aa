//! SQL text as words, strings and signs, each with its line. Comments are left out.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Word,
    Number,
    Text,
    Sign,
}

#[derive(Debug, Clone)]
pub struct Token {
    pub kind: Kind,
    /// A string without its quotes.
    pub text: String,
    /// From 1.
    pub line: usize,
}

impl Token {
    /// Whether it is this word, in any case, or this sign.
    pub fn is(&self, word: &str) -> bool {
        self.kind != Kind::Text && self.text.eq_ignore_ascii_case(word)
    }

    pub fn is_any(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(word))
    }
}

/// Whether the tokens begin with these words.
pub fn begins(tokens: &[Token], words: &str) -> bool {
    let mut rest = tokens.iter();
    words
        .split(' ')
        .all(|word| rest.next().is_some_and(|token| token.is(word)))
}

/// Where these words stand one after the other.
pub fn find(tokens: &[Token], words: &str) -> Option<usize> {
    (0..tokens.len()).find(|&at| begins(&tokens[at..], words))
}

pub fn tokens(sql: &str) -> Vec<Token> {
    let mut found = Vec::new();
    for (kind, text, at) in pieces(sql) {
        let line = sql[..at].matches('\n').count() + 1;
        found.push(Token { kind, text, line });
    }
    found
}

fn pieces(sql: &str) -> Vec<(Kind, String, usize)> {
    let mut found = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let at = sql.len() - rest.len();
        let length = |part: fn(char) -> bool| rest.find(|c| !part(c)).unwrap_or(rest.len());
        let end = if rest.starts_with("--") {
            rest.find('\n').unwrap_or(rest.len())
        } else if first == '\'' {
            let (text, end) = string(rest);
            found.push((Kind::Text, text, at));
            end
        } else if first.is_whitespace() {
            first.len_utf8()
        } else {
            let (kind, end) = if first.is_ascii_digit() {
                (Kind::Number, length(|c| c.is_ascii_digit()))
            } else if first.is_alphabetic() || first == '_' {
                (Kind::Word, length(|c| c.is_alphanumeric() || c == '_'))
            } else {
                (Kind::Sign, first.len_utf8())
            };
            found.push((kind, rest[..end].to_owned(), at));
            end
        };
        rest = &rest[end..];
    }
    found
}

/// The string that `sql` begins with, and where it ends.
fn string(sql: &str) -> (String, usize) {
    let mut text = String::new();
    let mut chars = sql.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => text.extend(chars.next().map(|(_, escaped)| escaped)),
            '\'' if chars.next_if(|(_, next)| *next == '\'').is_some() => text.push('\''),
            '\'' => return (text, at + 1),
            _ => text.push(c),
        }
    }
    (text, sql.len())
}

#[test]
fn strings_and_comments_hide_words() {
    let found = tokens("SELECT 'it''s -- \\'here' -- not; here\n;");
    let texts: Vec<_> = found.iter().map(|token| (token.text.as_str(), token.line)).collect();
    assert_eq!(texts, [("SELECT", 1), ("it's -- 'here", 1), (";", 2)]);
}
