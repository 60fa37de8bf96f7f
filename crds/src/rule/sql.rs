//! Tree to SQL: the condition of a `WHERE` for the engine Parseable runs (DataFusion, PostgreSQL
//! dialect).

use super::{Expr, Leaf, Test, TextOp};

/// Branches that stand side by side. The engine reads `a OR b OR c` as a chain as deep as it is long and
/// walks it on its stack; groups keep a list of words shallow.
const GROUP: usize = 16;

/// An empty group before each expression. The engine would turn simple expressions into `LIKE` and `=`, and
/// gets some of them wrong: a backslash becomes an escape, the flag `i` is lost on `^word$`, and
/// `NOT regexp_like(c, '.*')` finds the empty text. What starts with a group it leaves alone.
const AS_IT_STANDS: &str = "()";

impl Expr {
    /// The rule as an SQL condition. Identifiers are quoted, because the engine folds bare ones to lower
    /// case; the value of `=%` goes to `strpos`, which knows no wildcards to escape.
    ///
    /// The columns must exist in the stream, texts as `Utf8` and numbers as a numeric type, or the
    /// query does not plan.
    #[must_use]
    pub fn to_sql(&self) -> String {
        let mut out = String::new();
        write(self, &mut out);
        out
    }
}

fn write(expr: &Expr, out: &mut String) {
    match expr {
        Expr::And(parts) => join(parts, " AND ", "TRUE", out),
        Expr::Or(parts) => join(parts, " OR ", "FALSE", out),
        Expr::Not(inner) => {
            // SQL's three-valued logic needs no COALESCE here: with every column present the inner
            // condition is never null, and with one absent the guard is false whatever NOT says.
            // COALESCE would also cost the engine twice the plan for each level of negation.
            out.push_str("NOT (");
            write(inner, out);
            out.push(')');
            for column in inner.columns() {
                out.push_str(" AND ");
                out.push_str(&identifier(column));
                out.push_str(" IS NOT NULL");
            }
        }
        Expr::Leaf(leaf) => write_leaf(leaf, out),
    }
}

/// Comparisons first. Of `a OR b OR c` the engine makes `(a OR b) OR c`: the first branch lies deepest,
/// so a nested one there would add its depth to that of the whole chain.
fn join(parts: &[Expr], word: &str, empty: &str, out: &mut String) {
    if parts.is_empty() {
        out.push_str(empty);
    }
    let mut leaves = Vec::new();
    let mut nested: Vec<&Expr> = Vec::new();
    for part in parts {
        match part {
            Expr::Leaf(leaf) => leaves.push(leaf),
            other => nested.push(other),
        }
    }
    nested.sort_by_key(|part| part.depth());
    join_groups(&leaves, word, out, &|leaf, out| write_leaf(leaf, out));
    if !leaves.is_empty() && !nested.is_empty() {
        out.push_str(word);
    }
    join_groups(&nested, word, out, &|part, out| {
        out.push('(');
        write(part, out);
        out.push(')');
    });
}

fn join_groups<T>(items: &[&T], word: &str, out: &mut String, write: &dyn Fn(&T, &mut String)) {
    let size = items.len().div_ceil(GROUP).max(GROUP);
    let grouped = items.len() > GROUP;
    for (index, group) in items.chunks(size).enumerate() {
        out.push_str(if index > 0 { word } else { "" });
        out.push_str(if grouped { "(" } else { "" });
        for (index, item) in group.iter().enumerate() {
            out.push_str(if index > 0 { word } else { "" });
            write(item, out);
        }
        out.push_str(if grouped { ")" } else { "" });
    }
}

fn write_leaf(leaf: &Leaf, out: &mut String) {
    match &leaf.test {
        Test::Number { op, value } => {
            let column = identifier(&leaf.column);
            let op = match op.as_str() {
                "!=" => "<>",
                same => same,
            };
            out.push_str(&format!("{column} {op} {value}"));
        }
        Test::Text { op, value, ignore_case } => {
            write_text_test(&leaf.column, *op, value, *ignore_case, out)
        }
    }
}

fn write_text_test(column: &str, op: TextOp, value: &str, ignore_case: bool, out: &mut String) {
    let column = identifier(column);
    let (left, right) = match (op, ignore_case) {
        (TextOp::Regex, false) => (column, literal(&format!("{AS_IT_STANDS}{value}"))),
        (TextOp::Regex, true) => (column, literal(&format!("{AS_IT_STANDS}(?i){value}"))),
        (_, false) => (column, literal(value)),
        (_, true) => (format!("lower({column})"), format!("lower({})", literal(value))),
    };
    out.push_str(&match op {
        TextOp::Equal => format!("{left} = {right}"),
        TextOp::NotEqual => format!("{left} <> {right}"),
        TextOp::Contains => format!("strpos({left}, {right}) > 0"),
        TextOp::NotContains => format!("strpos({left}, {right}) = 0"),
        TextOp::Regex => format!("regexp_like({left}, {right})"),
    });
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The dialect takes a backslash as it stands; only the quote is doubled.
fn literal(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}
