//! The rule language: which events are worth an alert.
//!
//! The text is the composite form of Parseable's first alert generation, as the published
//! walk-throughs use it:
//!
//! ```text
//! expression = term or expression | term
//! term       = atom and term | atom
//! atom       = leaf | !(expression) | ( expression )
//! leaf       = column op value
//! ```
//!
//! `and` binds tighter than `or`; both are lower-case and need blanks on both sides; `!(` and the `)`
//! that ends it allow no blank next to the expression, plain parentheses do. A column is letters,
//! digits, `-` and `_`. A value is a text in double quotes (operators `=` `!=` `=%` contains, `!%` does
//! not contain, `~` regular expression) or unsigned decimal digits (`<=` `>=` `!=` `<` `>` `=`). Blanks
//! around the operator and around the whole text are allowed.
//!
//! One tree, [`Expr`], is the meaning; three outputs speak it: [`Expr::to_text`], [`Expr::to_sql`] for
//! Parseable's engine, and [`Matcher`] for the probe. SQL and matcher select the same events.
//!
//! An event without the column (or with null in it) matches no leaf, also not `!=` and `!%`. `!(e)`
//! holds when every column of `e` is there and `e` does not hold: without that condition a negation
//! would fire for each event of another kind in the same stream.

mod diagnose;
mod error;
mod matcher;
mod parse;
mod sql;
pub mod template;
mod text;
pub mod v1;

use std::collections::BTreeSet;

pub use error::ParseError;
pub use matcher::{CompileError, Matcher, Row, Value};
pub use parse::parse;
pub use template::Template;
pub use text::TextError;

/// Levels of `and`, `or` and `!( )` above a leaf. Parseable's SQL parser gives up at 50 levels of its
/// own, a negation costs it two of them and a long list one more, so a deeper rule could be written but
/// never run there.
pub const MAX_DEPTH: usize = 16;

/// Comparisons in one rule. The rule is judged for each event, and Parseable plans one SQL node for each.
pub const MAX_LEAVES: usize = 256;

/// What a rule says.
///
/// [`Expr::all`] and [`Expr::any`] keep the tree in its normal form: no `And` directly below an `And`,
/// no `Or` below an `Or`, at least two branches in each. Two texts with other parentheses but the
/// same meaning become the same tree.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Expr {
    /// All hold. Of nothing: true.
    And(Vec<Expr>),
    /// One holds. Of nothing: false.
    Or(Vec<Expr>),
    /// Every column of the inner rule is there, and the rule does not hold.
    Not(Box<Expr>),
    /// One comparison.
    Leaf(Leaf),
}

/// One comparison of one column.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Leaf {
    /// Name in the flattened event, for example `process_exec_process_binary`.
    pub column: String,
    /// Operator and value.
    pub test: Test,
}

/// Operator and value; text and number have their own operators.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Test {
    /// The column is a text.
    Text {
        op: TextOp,
        /// For [`TextOp::Regex`] the expression, in the syntax of the `regex` crate.
        value: String,
        /// Only the JSON forms of a rule can say it; the text form cannot.
        ignore_case: bool,
    },
    /// The column is a number.
    Number { op: NumberOp, value: Number },
}

/// How a text is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TextOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=%`
    Contains,
    /// `!%`
    NotContains,
    /// `~`: the expression matches somewhere in the text
    Regex,
}

impl TextOp {
    /// All, in the order messages list them.
    pub const ALL: [Self; 5] =
        [Self::Equal, Self::NotEqual, Self::Contains, Self::NotContains, Self::Regex];

    /// As written in a rule.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Contains => "=%",
            Self::NotContains => "!%",
            Self::Regex => "~",
        }
    }
}

/// How a number is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NumberOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl NumberOp {
    /// All, in the order messages list them.
    pub const ALL: [Self; 6] = [
        Self::Equal,
        Self::NotEqual,
        Self::Less,
        Self::LessOrEqual,
        Self::Greater,
        Self::GreaterOrEqual,
    ];

    /// As written in a rule.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

/// A number as a rule gives it: finite, exact. The text form has unsigned whole numbers only, the JSON
/// forms have all of JSON's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Number(serde_json::Number);

impl Number {
    /// The nearest double: what the event's number is compared with, here and in the server, which
    /// keeps every number as a double.
    #[must_use]
    pub fn to_f64(&self) -> f64 {
        // as_f64 is None only under serde_json's arbitrary_precision, for numbers beyond a double's range.
        self.0.as_f64().unwrap_or(f64::INFINITY)
    }
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self(value.into())
    }
}

impl From<serde_json::Number> for Number {
    fn from(value: serde_json::Number) -> Self {
        Self(value)
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Expr {
    /// All of `parts` hold, in normal form; one part is that part itself.
    #[must_use]
    pub fn all(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut flat = Vec::new();
        for part in parts {
            match part {
                Self::And(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        match flat.pop() {
            Some(only) if flat.is_empty() => only,
            Some(last) => {
                flat.push(last);
                Self::And(flat)
            }
            None => Self::And(flat),
        }
    }

    /// One of `parts` holds, in normal form; one part is that part itself.
    #[must_use]
    pub fn any(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut flat = Vec::new();
        for part in parts {
            match part {
                Self::Or(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        match flat.pop() {
            Some(only) if flat.is_empty() => only,
            Some(last) => {
                flat.push(last);
                Self::Or(flat)
            }
            None => Self::Or(flat),
        }
    }

    /// `!(inner)`.
    #[must_use]
    pub fn negate(inner: Self) -> Self {
        Self::Not(Box::new(inner))
    }

    /// The columns it reads, sorted, each once.
    #[must_use]
    pub fn columns(&self) -> BTreeSet<&str> {
        let mut columns = BTreeSet::new();
        self.each_leaf(&mut |leaf| {
            columns.insert(leaf.column.as_str());
        });
        columns
    }

    /// Calls `visit` for each comparison, from left to right.
    pub fn each_leaf<'a>(&'a self, visit: &mut dyn FnMut(&'a Leaf)) {
        match self {
            Self::And(parts) | Self::Or(parts) => {
                for part in parts {
                    part.each_leaf(visit);
                }
            }
            Self::Not(inner) => inner.each_leaf(visit),
            Self::Leaf(leaf) => visit(leaf),
        }
    }

    /// Levels above the deepest leaf; a leaf alone has none.
    #[must_use]
    pub fn depth(&self) -> usize {
        match self {
            Self::And(parts) | Self::Or(parts) => {
                1 + parts.iter().map(Self::depth).max().unwrap_or(0)
            }
            Self::Not(inner) => 1 + inner.depth(),
            Self::Leaf(_) => 0,
        }
    }

    /// Number of comparisons.
    #[must_use]
    pub fn leaves(&self) -> usize {
        let mut count = 0;
        self.each_leaf(&mut |_| count += 1);
        count
    }
}

/// A character a column's name may have in the text form.
pub(crate) fn is_column_char(c: char) -> bool {
    c.is_alphanumeric() || c == '-' || c == '_'
}

#[cfg(test)]
mod tests;
