//! Tree to SQL: the condition of a `WHERE` for the engine Parseable runs (DataFusion, PostgreSQL
//! dialect).

use super::{Expr, Leaf, Test, TextOp};

/// Branches that stand side by side. The engine reads `a OR b OR c` as a chain as deep as it is long and
/// walks it on its stack; groups keep a list of words shallow.
const GROUP: usize = 16;

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
                push_identifier(column, out);
                out.push_str(" IS NOT NULL");
            }
        }
        Expr::Leaf(leaf) => write_leaf(leaf, out),
    }
}

fn join(parts: &[Expr], word: &str, empty: &str, out: &mut String) {
    if parts.is_empty() {
        out.push_str(empty);
    }
    if parts.len() > GROUP {
        let size = parts.len().div_ceil(GROUP).max(GROUP);
        for (index, group) in parts.chunks(size).enumerate() {
            out.push_str(if index > 0 { word } else { "" });
            out.push('(');
            join(group, word, empty, out);
            out.push(')');
        }
        return;
    }
    for (index, part) in parts.iter().enumerate() {
        out.push_str(if index > 0 { word } else { "" });
        if matches!(part, Expr::Leaf(_)) {
            write(part, out);
        } else {
            out.push('(');
            write(part, out);
            out.push(')');
        }
    }
}

fn write_leaf(leaf: &Leaf, out: &mut String) {
    match &leaf.test {
        Test::Number { op, value } => {
            push_identifier(&leaf.column, out);
            let op = match op.as_str() {
                "!=" => "<>",
                same => same,
            };
            out.push_str(&format!(" {op} {value}"));
        }
        Test::Text { op: TextOp::Regex, value, ignore_case } => {
            out.push_str("regexp_like(");
            push_identifier(&leaf.column, out);
            out.push_str(", ");
            push_literal(value, out);
            out.push_str(if *ignore_case { ", 'i')" } else { ")" });
        }
        Test::Text { op, value, ignore_case } => {
            write_text_test(&leaf.column, *op, value, *ignore_case, out)
        }
    }
}

fn write_text_test(column: &str, op: TextOp, value: &str, ignore_case: bool, out: &mut String) {
    let mut left = String::new();
    push_identifier(column, &mut left);
    let mut right = String::new();
    push_literal(value, &mut right);
    if ignore_case {
        left = format!("lower({left})");
        right = format!("lower({right})");
    }
    out.push_str(&match op {
        TextOp::Equal => format!("{left} = {right}"),
        TextOp::NotEqual => format!("{left} <> {right}"),
        TextOp::Contains => format!("strpos({left}, {right}) > 0"),
        TextOp::NotContains => format!("strpos({left}, {right}) = 0"),
        TextOp::Regex => format!("regexp_like({left}, {right})"),
    });
}

fn push_identifier(name: &str, out: &mut String) {
    out.push('"');
    out.push_str(&name.replace('"', "\"\""));
    out.push('"');
}

/// The dialect takes a backslash as it stands; only the quote is doubled.
fn push_literal(value: &str, out: &mut String) {
    out.push('\'');
    out.push_str(&value.replace('\'', "''"));
    out.push('\'');
}
