//! Selector text to tokens, one at a time.

use super::SelectorError;

/// The longest label name (Calico's `LabelKeyMatcher`).
const MAX_LABEL: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Label(&'a str),
    Text(&'a str),
    Has(&'a str),
    All,
    Global,
    OpenBrace,
    CloseBrace,
    OpenParen,
    CloseParen,
    Comma,
    Equal,
    NotEqual,
    Contains,
    StartsWith,
    EndsWith,
    In,
    NotIn,
    Not,
    And,
    Or,
    End,
}

pub(super) struct Lexer<'a> {
    text: &'a str,
    position: usize,
    /// The last token was a label, so a word is an operator now.
    after_label: bool,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Lexer<'a> {
        Lexer { text, position: 0, after_label: false }
    }

    /// The next token and where it starts.
    pub(super) fn next(&mut self) -> Result<(usize, Token<'a>), SelectorError> {
        self.skip_space();
        let start = self.position;
        let token = self.token()?;
        self.after_label = matches!(token, Token::Label(_));
        Ok((start, token))
    }

    /// An error at a position of the text.
    pub(super) fn error(&self, position: usize, expected: &'static str) -> SelectorError {
        const SHOWN: usize = 20;
        let rest = &self.text[position..];
        let found = match rest.char_indices().nth(SHOWN) {
            None if rest.is_empty() => "the end".to_owned(),
            None => format!("`{rest}`"),
            Some((end, _)) => format!("`{}…`", &rest[..end]),
        };
        SelectorError { position, expected, found }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.position..]
    }

    fn skip_space(&mut self) {
        let rest = self.rest().as_bytes().iter();
        self.position += rest.take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    }

    fn take(&mut self, prefix: &str) -> bool {
        let found = self.rest().starts_with(prefix);
        if found {
            self.position += prefix.len();
        }
        found
    }

    fn token(&mut self) -> Result<Token<'a>, SelectorError> {
        let (first, second) = match self.rest().as_bytes() {
            [] => return Ok(Token::End),
            [first] => (*first, 0),
            [first, second, ..] => (*first, *second),
        };
        let (token, length) = match (first, second) {
            (b'(', _) => (Token::OpenParen, 1),
            (b')', _) => (Token::CloseParen, 1),
            (b'{', _) => (Token::OpenBrace, 1),
            (b'}', _) => (Token::CloseBrace, 1),
            (b',', _) => (Token::Comma, 1),
            (b'=', b'=') => (Token::Equal, 2),
            (b'!', b'=') => (Token::NotEqual, 2),
            (b'!', _) => (Token::Not, 1),
            (b'&', b'&') => (Token::And, 2),
            (b'|', b'|') => (Token::Or, 2),
            (quote @ (b'"' | b'\''), _) => return self.text(quote),
            (b'=', _) => return Err(self.error(self.position, "`==`")),
            (b'&', _) => return Err(self.error(self.position, "`&&`")),
            (b'|', _) => return Err(self.error(self.position, "`||`")),
            _ if self.after_label => return self.word_operator(),
            _ => return self.operand(),
        };
        self.position += length;
        Ok(token)
    }

    fn text(&mut self, quote: u8) -> Result<Token<'a>, SelectorError> {
        let start = self.position + 1;
        let rest = &self.text[start..];
        let Some(length) = rest.bytes().position(|byte| byte == quote) else {
            return Err(self.error(self.position, "a text with a closing quote"));
        };
        self.position = start + length + 1;
        Ok(Token::Text(&rest[..length]))
    }

    fn word_operator(&mut self) -> Result<Token<'a>, SelectorError> {
        const WORDS: [(&str, &str, Token<'static>); 5] = [
            ("contains", "", Token::Contains),
            ("starts", "with", Token::StartsWith),
            ("ends", "with", Token::EndsWith),
            ("not", "in", Token::NotIn),
            ("in", "", Token::In),
        ];
        let start = self.position;
        for (first, second, token) in WORDS {
            self.position = start;
            if !self.take(first) {
                continue;
            }
            if !second.is_empty() {
                self.skip_space();
            }
            let word_goes_on = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if self.take(second) && !self.rest().starts_with(word_goes_on) {
                return Ok(token);
            }
        }
        self.position = start;
        Err(self.error(
            start,
            "an operator after the label: ==, !=, in, not in, contains, starts with or ends with",
        ))
    }

    fn operand(&mut self) -> Result<Token<'a>, SelectorError> {
        for (call, token) in [("all(", Token::All), ("global(", Token::Global)] {
            if self.take(call) {
                self.close_call()?;
                return Ok(token);
            }
        }
        if self.take("has(") {
            self.skip_space();
            let label = self.label("the name of a label")?;
            self.close_call()?;
            return Ok(Token::Has(label));
        }
        let expected = "a label, has(…), all(), global(), ! or (";
        self.label(expected).map(Token::Label)
    }

    fn label(&mut self, expected: &'static str) -> Result<&'a str, SelectorError> {
        let rest = self.rest();
        let in_label = |b: &u8| b.is_ascii_alphanumeric() || b"_./-".contains(b);
        let length = rest.as_bytes().iter().take_while(|byte| in_label(byte)).count();
        if length == 0 {
            return Err(self.error(self.position, expected));
        }
        if length > MAX_LABEL {
            return Err(self.error(self.position, "a label of at most 512 characters"));
        }
        self.position += length;
        Ok(&rest[..length])
    }

    fn close_call(&mut self) -> Result<(), SelectorError> {
        self.skip_space();
        if self.take(")") { Ok(()) } else { Err(self.error(self.position, "`)`")) }
    }
}
