//! The rule as the probe judges it: event by event, nothing allocated for a plain comparison.

use std::cmp::Ordering;

use regex::{Regex, RegexBuilder};

use super::{Expr, Leaf, MAX_DEPTH, MAX_LEAVES, NumberOp, Test, TextOp};

/// Memory one compiled expression may take, in bytes. The engine behind the SQL allows more; a rule
/// that needs more than this has no place in a node's event path.
const REGEX_SIZE_BYTES: usize = 1 << 20;

/// One value of a flattened event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    Text(&'a str),
    Number(f64),
    Bool(bool),
}

/// A flattened event, as it would stand in the stream.
pub trait Row {
    /// The value of `column`; none when the event has no such column or null in it.
    fn get(&self, column: &str) -> Option<Value<'_>>;
}

/// Why a rule that parses cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    #[error("column {column}: the regular expression {pattern:?} is not valid: {reason}")]
    Regex {
        column: String,
        pattern: String,
        /// The regex crate's own words, without its drawing.
        reason: String,
    },
    #[error(
        "column {column}: the regular expression {pattern:?} needs more than {limit_bytes} bytes compiled; \
         shorten it or its repetitions"
    )]
    RegexTooLarge { column: String, pattern: String, limit_bytes: usize },
    #[error(
        "the rule has {depth} levels of `and`, `or` and `!( )`, at most {MAX_DEPTH} are supported"
    )]
    TooDeep { depth: usize },
    #[error("the rule has {leaves} comparisons, at most {MAX_LEAVES} are supported")]
    TooLong { leaves: usize },
    #[error(
        "column {column} is compared with a text and with a number; a column has one type, so one of \
         them never matches"
    )]
    MixedTypes { column: String },
}

/// A rule ready to be asked about events.
#[derive(Debug, Clone)]
pub struct Matcher {
    root: Node,
}

#[derive(Debug, Clone)]
enum Node {
    And(Vec<Node>),
    Or(Vec<Node>),
    Not { inner: Box<Node>, columns: Vec<String> },
    Leaf { column: String, check: Check },
}

#[derive(Debug, Clone)]
enum Check {
    Equal(String),
    NotEqual(String),
    Contains(String),
    NotContains(String),
    Regex(Regex),
    /// The inner check on the lower-cased text; its value is lower-cased already.
    Lowered(Box<Check>),
    Number {
        op: NumberOp,
        wanted: f64,
        /// As it stands in the SQL.
        wanted_text: String,
    },
}

impl Matcher {
    /// Compiles a rule; its regular expressions are compiled here, once.
    ///
    /// # Errors
    /// A regular expression that is not valid or too large, a tree beyond the limits of the text form,
    /// a column that is compared with a text and with a number.
    pub fn compile(expr: &Expr) -> Result<Self, CompileError> {
        let depth = expr.depth();
        if depth > MAX_DEPTH {
            return Err(CompileError::TooDeep { depth });
        }
        let leaves = expr.leaves();
        if leaves > MAX_LEAVES {
            return Err(CompileError::TooLong { leaves });
        }
        one_type_per_column(expr)?;
        Ok(Self { root: compile(expr)? })
    }

    /// Whether the event satisfies the rule.
    #[must_use]
    pub fn matches(&self, row: &impl Row) -> bool {
        matches(&self.root, row)
    }
}

fn one_type_per_column(expr: &Expr) -> Result<(), CompileError> {
    let mut kinds = std::collections::BTreeMap::new();
    let mut mixed = None;
    expr.each_leaf(&mut |leaf| {
        let is_text = matches!(leaf.test, Test::Text { .. });
        if *kinds.entry(&leaf.column).or_insert(is_text) != is_text {
            mixed.get_or_insert(&leaf.column);
        }
    });
    match mixed {
        Some(column) => Err(CompileError::MixedTypes { column: column.clone() }),
        None => Ok(()),
    }
}

fn compile(expr: &Expr) -> Result<Node, CompileError> {
    Ok(match expr {
        Expr::And(parts) => Node::And(parts.iter().map(compile).collect::<Result<_, _>>()?),
        Expr::Or(parts) => Node::Or(parts.iter().map(compile).collect::<Result<_, _>>()?),
        Expr::Not(inner) => Node::Not {
            inner: Box::new(compile(inner)?),
            columns: inner.columns().into_iter().map(str::to_owned).collect(),
        },
        Expr::Leaf(leaf) => Node::Leaf { column: leaf.column.clone(), check: compile_leaf(leaf)? },
    })
}

fn compile_leaf(leaf: &Leaf) -> Result<Check, CompileError> {
    let (op, value, ignore_case) = match &leaf.test {
        Test::Number { op, value } => {
            return Ok(Check::Number {
                op: *op,
                wanted: value.to_f64(),
                wanted_text: value.to_string(),
            });
        }
        Test::Text { op: TextOp::Regex, value, ignore_case } => {
            return compile_regex(&leaf.column, value, *ignore_case).map(Check::Regex);
        }
        Test::Text { op, value, ignore_case } => (*op, value, *ignore_case),
    };
    let value = if ignore_case { value.to_lowercase() } else { value.clone() };
    let check = match op {
        TextOp::NotEqual => Check::NotEqual(value),
        TextOp::Contains => Check::Contains(value),
        TextOp::NotContains => Check::NotContains(value),
        TextOp::Equal | TextOp::Regex => Check::Equal(value),
    };
    Ok(if ignore_case { Check::Lowered(Box::new(check)) } else { check })
}

fn compile_regex(column: &str, pattern: &str, ignore_case: bool) -> Result<Regex, CompileError> {
    RegexBuilder::new(pattern)
        .case_insensitive(ignore_case)
        .size_limit(REGEX_SIZE_BYTES)
        .dfa_size_limit(REGEX_SIZE_BYTES)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(limit_bytes) => CompileError::RegexTooLarge {
                column: column.to_owned(),
                pattern: pattern.to_owned(),
                limit_bytes,
            },
            other => CompileError::Regex {
                column: column.to_owned(),
                pattern: pattern.to_owned(),
                reason: reason(&other),
            },
        })
}

/// The regex crate draws the pattern with carets on lines of their own; its last line says what is wrong.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim().trim_start_matches("error: ").to_owned()
}

fn matches(node: &Node, row: &impl Row) -> bool {
    match node {
        Node::And(parts) => parts.iter().all(|part| matches(part, row)),
        Node::Or(parts) => parts.iter().any(|part| matches(part, row)),
        Node::Not { inner, columns } => {
            columns.iter().all(|column| row.get(column).is_some()) && !matches(inner, row)
        }
        Node::Leaf { column, check } => row.get(column).is_some_and(|value| holds(check, value)),
    }
}

/// A leaf on a column of the other type is a mistake the server refuses where it can: `=%`, `!%` and `~`
/// on a number and anything on a boolean do not plan, so they match nothing. What it does run, it runs
/// by comparing texts (`5.0` for the number 5), and so it is here.
fn holds(check: &Check, value: Value<'_>) -> bool {
    match (check, value) {
        (_, Value::Bool(_)) => false,
        (Check::Number { op, wanted, .. }, Value::Number(number)) => {
            compare(*op, number.total_cmp(wanted))
        }
        (Check::Equal(wanted), Value::Number(number)) => {
            number_text(number).is_some_and(|text| text == *wanted)
        }
        (Check::NotEqual(unwanted), Value::Number(number)) => {
            number_text(number).is_some_and(|text| text != *unwanted)
        }
        (_, Value::Number(_)) => false,
        (check, Value::Text(text)) => holds_text(check, text),
    }
}

/// The shortest text that is this double again, as the server casts it; none when it is not finite.
fn number_text(number: f64) -> Option<String> {
    serde_json::Number::from_f64(number).map(|number| number.to_string())
}

fn holds_text(check: &Check, text: &str) -> bool {
    match check {
        Check::Equal(wanted) => text == wanted,
        Check::NotEqual(unwanted) => text != unwanted,
        Check::Contains(wanted) => text.contains(wanted.as_str()),
        Check::NotContains(unwanted) => !text.contains(unwanted.as_str()),
        Check::Regex(regex) => regex.is_match(text),
        Check::Lowered(check) => holds_text(check, &text.to_lowercase()),
        Check::Number { op, wanted_text, .. } => compare(*op, text.cmp(wanted_text)),
    }
}

/// Numbers come here in the total order of doubles, as the engine behind the SQL has it (-0 is below 0).
fn compare(op: NumberOp, order: Ordering) -> bool {
    match op {
        NumberOp::Equal => order == Ordering::Equal,
        NumberOp::NotEqual => order != Ordering::Equal,
        NumberOp::Less => order == Ordering::Less,
        NumberOp::LessOrEqual => order != Ordering::Greater,
        NumberOp::Greater => order == Ordering::Greater,
        NumberOp::GreaterOrEqual => order != Ordering::Less,
    }
}
