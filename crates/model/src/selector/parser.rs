//! Tokens to an expression, by recursive descent of bounded depth.

use super::lexer::{Lexer, Token};
use super::{Expression, MAX_DEPTH, MAX_LENGTH, SelectorError, TextTest};
use std::collections::BTreeSet;

/// Terms of most lists; longer ones grow.
const TERMS_EXPECTED: usize = 3;

const TOO_DEEP: &str = "an expression nested at most 128 deep";

pub(super) fn parse(text: &str) -> Result<Expression, SelectorError> {
    let mut lexer = Lexer::new(text);
    if text.len() > MAX_LENGTH {
        return Err(lexer.error(0, "a selector of at most 256 KiB"));
    }
    let (position, token) = lexer.next()?;
    if token == Token::End {
        return Ok(Expression::All);
    }
    let mut parser = Parser { lexer, position, token, open: 0 };
    let parsed = parser.any()?;
    match parser.token {
        Token::End => Ok(parsed.expression),
        _ => Err(parser.error("`&&`, `||` or the end")),
    }
}

/// An expression and how deep `&&` and `||` nest in it, which bounds the parentheses of its text.
struct Parsed {
    expression: Expression,
    depth: usize,
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    position: usize,
    token: Token<'a>,
    /// Parentheses open at this place.
    open: usize,
}

impl<'a> Parser<'a> {
    fn error(&self, expected: &'static str) -> SelectorError {
        self.lexer.error(self.position, expected)
    }

    fn advance(&mut self) -> Result<Token<'a>, SelectorError> {
        let (position, token) = self.lexer.next()?;
        self.position = position;
        Ok(std::mem::replace(&mut self.token, token))
    }

    fn expect(&mut self, token: Token<'_>, named: &'static str) -> Result<(), SelectorError> {
        if self.token != token {
            return Err(self.error(named));
        }
        self.advance().map(drop)
    }

    fn any(&mut self) -> Result<Parsed, SelectorError> {
        self.terms(Token::Or, Self::all, Expression::Or)
    }

    fn all(&mut self) -> Result<Parsed, SelectorError> {
        self.terms(Token::And, Self::term, Expression::And)
    }

    fn terms(
        &mut self,
        between: Token<'static>,
        parse: fn(&mut Self) -> Result<Parsed, SelectorError>,
        join: fn(Vec<Expression>) -> Expression,
    ) -> Result<Parsed, SelectorError> {
        let first = parse(self)?;
        if self.token != between {
            return Ok(first);
        }
        let mut depth = first.depth;
        let mut terms = Vec::with_capacity(TERMS_EXPECTED);
        terms.push(first.expression);
        while self.token == between {
            self.advance()?;
            let next = parse(self)?;
            terms.push(next.expression);
            depth = depth.max(next.depth);
        }
        if depth >= MAX_DEPTH {
            return Err(self.error(TOO_DEEP));
        }
        Ok(Parsed { expression: join(terms), depth: depth + 1 })
    }

    fn term(&mut self) -> Result<Parsed, SelectorError> {
        let mut negated = false;
        while self.token == Token::Not {
            negated = !negated;
            self.advance()?;
        }
        let mut parsed = match self.token {
            Token::OpenParen => self.parenthesised()?,
            _ => Parsed { expression: self.operand()?, depth: 0 },
        };
        if negated {
            parsed.expression = Expression::Not(Box::new(parsed.expression));
        }
        Ok(parsed)
    }

    fn parenthesised(&mut self) -> Result<Parsed, SelectorError> {
        if self.open == MAX_DEPTH {
            return Err(self.error(TOO_DEEP));
        }
        self.advance()?;
        self.open += 1;
        let inner = self.any()?;
        self.open -= 1;
        self.expect(Token::CloseParen, "`)`, `&&` or `||`")?;
        Ok(inner)
    }

    fn operand(&mut self) -> Result<Expression, SelectorError> {
        let expression = match self.token {
            Token::All => Expression::All,
            Token::Global => Expression::Global,
            Token::Has(label) => Expression::Has(label.to_owned()),
            Token::Label(label) => {
                self.advance()?;
                return self.comparison(label);
            }
            _ => return Err(self.error("a label, has(…), all(), global(), ! or (")),
        };
        self.advance()?;
        Ok(expression)
    }

    fn comparison(&mut self, label: &str) -> Result<Expression, SelectorError> {
        let label = label.to_owned();
        let test = match self.token {
            Token::Equal => TextTest::Equal,
            Token::NotEqual => TextTest::NotEqual,
            Token::Contains => TextTest::Contains,
            Token::StartsWith => TextTest::StartsWith,
            Token::EndsWith => TextTest::EndsWith,
            Token::In | Token::NotIn => {
                let negated = self.advance()? == Token::NotIn;
                return Ok(Expression::Member { label, negated, set: self.set()? });
            }
            _ => return Err(self.error("an operator after the label")),
        };
        self.advance()?;
        let Token::Text(text) = self.token else {
            return Err(self.error("a text in quotes"));
        };
        self.advance()?;
        Ok(Expression::Text { label, test, text: text.to_owned() })
    }

    fn set(&mut self) -> Result<BTreeSet<String>, SelectorError> {
        self.expect(Token::OpenBrace, "a set such as {\"a\", \"b\"}")?;
        let mut set = BTreeSet::new();
        while let Token::Text(text) = self.token {
            set.insert(text.to_owned());
            self.advance()?;
            if self.token != Token::Comma {
                break;
            }
            self.advance()?;
        }
        self.expect(Token::CloseBrace, "a text in quotes or `}`")?;
        Ok(set)
    }
}
