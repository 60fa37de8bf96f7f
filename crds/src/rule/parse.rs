//! Text to tree.

use super::diagnose::quoted;
use super::{
    Expr, Leaf, MAX_DEPTH, MAX_LEAVES, NumberOp, ParseError, Test, TextOp, is_column_char,
};

/// Open parentheses at one place. Redundant ones cost nothing in the tree (a server's answer puts each
/// pair of branches in its own), so there may be more than [`MAX_DEPTH`]; without a limit a text of
/// parentheses would end the stack.
const MAX_PARENTHESES: usize = 256;

/// Parses the text form of a rule.
///
/// # Errors
/// At the first character that cannot continue a rule, or when the rule is beyond [`MAX_DEPTH`] or
/// [`MAX_LEAVES`].
pub fn parse(text: &str) -> Result<Expr, ParseError> {
    let chars: Vec<char> = text.chars().collect();
    let mut parser = Parser { text: &chars, position: 0, open: 0, leaves: 0 };
    parser.blanks();
    let expr = parser.expression()?;
    parser.blanks();
    if parser.position < chars.len() {
        return Err(parser.leftover(Enclosed::Nothing));
    }
    let depth = expr.depth();
    if depth > MAX_DEPTH {
        return Err(ParseError::at(
            &chars,
            0,
            chars.len(),
            format!("at most {MAX_DEPTH} levels of `and`, `or` and `!( )`"),
            format!("{depth} levels"),
        )
        .hint("split the rule into several alerts"));
    }
    Ok(expr)
}

/// What an expression stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Enclosed {
    Nothing,
    Parentheses,
    Negation,
}

pub(super) struct Parser<'a> {
    pub(super) text: &'a [char],
    pub(super) position: usize,
    pub(super) open: usize,
    pub(super) leaves: usize,
}

impl Parser<'_> {
    /// term { or term }
    fn expression(&mut self) -> Result<Expr, ParseError> {
        let mut terms = vec![self.term()?];
        while self.keyword("or") {
            terms.push(self.term()?);
        }
        Ok(Expr::any(terms))
    }

    /// atom { and atom }
    fn term(&mut self) -> Result<Expr, ParseError> {
        let mut atoms = vec![self.atom()?];
        while self.keyword("and") {
            atoms.push(self.atom()?);
        }
        Ok(Expr::all(atoms))
    }

    fn atom(&mut self) -> Result<Expr, ParseError> {
        match self.peek() {
            Some('(') => {
                self.enter(1)?;
                self.blanks();
                let inner = self.expression()?;
                self.blanks();
                self.leave(Enclosed::Parentheses)?;
                Ok(inner)
            }
            Some('!') if self.text.get(self.position + 1) == Some(&'(') => {
                self.enter(2)?;
                if self.peek().is_some_and(is_blank) {
                    return Err(self.blank_in_negation());
                }
                let inner = self.expression()?;
                self.leave(Enclosed::Negation)?;
                Ok(Expr::negate(inner))
            }
            Some(c) if is_column_char(c) => self.leaf().map(Expr::Leaf),
            _ => Err(self.no_atom()),
        }
    }

    fn enter(&mut self, token: usize) -> Result<(), ParseError> {
        if self.open == MAX_PARENTHESES {
            return Err(ParseError::at(
                self.text,
                self.position,
                token,
                format!("at most {MAX_PARENTHESES} open parentheses"),
                "one more",
            ));
        }
        self.open += 1;
        self.position += token;
        Ok(())
    }

    fn leave(&mut self, enclosed: Enclosed) -> Result<(), ParseError> {
        if self.peek() != Some(')') {
            if enclosed == Enclosed::Negation && self.blanks_then(')') {
                return Err(self.blank_in_negation());
            }
            return Err(self.leftover(enclosed));
        }
        self.open -= 1;
        self.position += 1;
        Ok(())
    }

    /// column op value
    fn leaf(&mut self) -> Result<Leaf, ParseError> {
        self.leaves += 1;
        if self.leaves > MAX_LEAVES {
            return Err(self
                .error(1, format!("at most {MAX_LEAVES} comparisons"), "one more".to_owned())
                .hint("use one regular expression for a list of words"));
        }
        let column = self.take_while(is_column_char);
        self.blanks();
        let op = self.operator()?;
        self.blanks();
        let test = match self.peek() {
            Some('"') => self.text_test(op)?,
            Some(c) if c.is_ascii_digit() => self.number_test(op)?,
            _ => return Err(self.no_value(op)),
        };
        Ok(Leaf { column, test })
    }

    /// The longest run of operator characters must be an operator: in `=~` the `=` is not one.
    fn operator(&mut self) -> Result<Operator, ParseError> {
        let start = self.position;
        let word = self.take_while(|c| matches!(c, '=' | '!' | '<' | '>' | '%' | '~'));
        let operator = Operator {
            text: TextOp::ALL.into_iter().find(|op| op.as_str() == word),
            number: NumberOp::ALL.into_iter().find(|op| op.as_str() == word),
        };
        if operator.text.is_some() || operator.number.is_some() {
            return Ok(operator);
        }
        self.position = start;
        if word.is_empty() {
            let error = self.unexpected("one of = != =% !% ~ < <= > >=");
            return Err(match self.peek() {
                Some('.' | '/') => error.hint(
                    "a column has letters, digits, - and _ only; nested fields are joined by _",
                ),
                _ => error,
            });
        }
        let error = self.error(
            word.chars().count(),
            "one of = != =% !% ~ < <= > >=".to_owned(),
            quoted(&word),
        );
        Err(match word.as_str() {
            "==" => error.hint("equality is ="),
            "=~" => error.hint("a regular expression is ~"),
            "!~" => error.hint("write !(column ~ \"...\")"),
            "!=%" => error.hint("\"does not contain\" is !%"),
            "<>" => error.hint("inequality is !="),
            _ => error,
        })
    }

    fn text_test(&mut self, op: Operator) -> Result<Test, ParseError> {
        let Some(op) = op.text else {
            return Err(self.unexpected("unsigned digits (this operator compares numbers)"));
        };
        Ok(Test::Text { op, value: self.string()?, ignore_case: false })
    }

    fn string(&mut self) -> Result<String, ParseError> {
        let start = self.position;
        self.position += 1;
        let mut value = String::new();
        loop {
            match self.peek() {
                None => {
                    self.position = start;
                    let length = self.text.len() - start;
                    return Err(self
                        .error(length, "a closing \"".to_owned(), "the end of the rule".to_owned())
                        .hint("a quote inside a value is written \\\""));
                }
                Some('"') => {
                    self.position += 1;
                    return Ok(value);
                }
                Some('\\') => value.push(self.escape()?),
                Some(c) => {
                    self.position += 1;
                    value.push(c);
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char, ParseError> {
        let escaped = self.text.get(self.position + 1).copied();
        let c = match escaped {
            Some(c @ ('"' | '\\' | '/')) => c,
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            _ => {
                let found = match escaped {
                    Some(c) => quoted(&format!("\\{c}")),
                    None => "the end of the rule".to_owned(),
                };
                return Err(self
                    .error(2, r#"one of the escapes \" \\ \/ \n \r \t \b \f"#.to_owned(), found)
                    .hint(r"a backslash itself, also in a regular expression, is written \\"));
            }
        };
        self.position += 2;
        Ok(c)
    }

    fn number_test(&mut self, op: Operator) -> Result<Test, ParseError> {
        let start = self.position;
        let digits = self.take_while(|c| c.is_ascii_digit());
        let Some(op) = op.number else {
            self.position = start;
            return Err(self.unexpected("a text in double quotes (this operator compares texts)"));
        };
        if self.peek() == Some('.') {
            self.position = start;
            return Err(self.no_fraction());
        }
        match digits.parse::<u64>() {
            Ok(value) => Ok(Test::Number { op, value: value.into() }),
            Err(_) => {
                self.position = start;
                Err(self.error(
                    digits.chars().count(),
                    format!("a number up to {}", u64::MAX),
                    quoted(&digits),
                ))
            }
        }
    }

    /// Blanks, `word`, blanks; or nothing is consumed.
    fn keyword(&mut self, word: &str) -> bool {
        let start = self.position;
        let before = self.blanks();
        let matched = word
            .chars()
            .enumerate()
            .all(|(offset, c)| self.text.get(self.position + offset) == Some(&c));
        if before && matched {
            self.position += word.len();
            if self.blanks() {
                return true;
            }
        }
        self.position = start;
        false
    }

    fn blanks_then(&self, wanted: char) -> bool {
        let rest = &self.text[self.position..];
        rest.iter().find(|c| !is_blank(**c)) == Some(&wanted)
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.text.get(self.position).copied()
    }

    pub(super) fn blanks(&mut self) -> bool {
        let start = self.position;
        while self.peek().is_some_and(is_blank) {
            self.position += 1;
        }
        self.position > start
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let start = self.position;
        while self.peek().is_some_and(&wanted) {
            self.position += 1;
        }
        self.text[start..self.position].iter().collect()
    }
}

/// An operator's text and number reading; `=` and `!=` have both.
#[derive(Clone, Copy)]
pub(super) struct Operator {
    pub(super) text: Option<TextOp>,
    pub(super) number: Option<NumberOp>,
}

pub(super) fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}
