//! Tree to text.

use super::{Expr, Leaf, Test, is_column_char};

/// What the text form cannot say. Only a tree from a JSON form of a rule can hold it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    #[error("the text form of a rule has no ignoreCase (column {column}); use `~ \"(?i)...\"`")]
    IgnoreCase { column: String },
    #[error(
        "the text form of a rule has no sign, fraction or exponent: {column} is compared with {value}"
    )]
    Number { column: String, value: String },
    #[error(
        "the text form of a rule cannot name the column {column:?}: letters, digits, - and _ only"
    )]
    Column { column: String },
    #[error("the text form of a rule cannot say an `and` or `or` of nothing")]
    Empty,
}

impl Expr {
    /// The rule as text, Parsing it gives this tree again
    /// (in normal form).
    ///
    /// # Errors
    /// When the tree holds what the text form cannot say.
    pub fn to_text(&self) -> Result<String, TextError> {
        let mut out = String::new();
        write(self, &mut out)?;
        Ok(out)
    }
}

fn write(expr: &Expr, out: &mut String) -> Result<(), TextError> {
    match expr {
        Expr::And(parts) => join(parts, " and ", out),
        Expr::Or(parts) => join(parts, " or ", out),
        Expr::Not(inner) => {
            out.push_str("!(");
            write(inner, out)?;
            out.push(')');
            Ok(())
        }
        Expr::Leaf(leaf) => write_leaf(leaf, out),
    }
}

fn join(parts: &[Expr], word: &str, out: &mut String) -> Result<(), TextError> {
    if parts.is_empty() {
        return Err(TextError::Empty);
    }
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            out.push_str(word);
        }
        // `and` binds tighter and would need no parentheses, but a reader should not have to know.
        if matches!(part, Expr::And(_) | Expr::Or(_)) {
            out.push('(');
            write(part, out)?;
            out.push(')');
        } else {
            write(part, out)?;
        }
    }
    Ok(())
}

fn write_leaf(leaf: &Leaf, out: &mut String) -> Result<(), TextError> {
    let column = &leaf.column;
    if column.is_empty() || !column.chars().all(is_column_char) {
        return Err(TextError::Column { column: column.clone() });
    }
    out.push_str(column);
    out.push(' ');
    match &leaf.test {
        Test::Text { ignore_case: true, .. } => {
            return Err(TextError::IgnoreCase { column: column.clone() });
        }
        Test::Text { op, value, .. } => {
            out.push_str(op.as_str());
            out.push(' ');
            write_string(value, out);
        }
        Test::Number { op, value } => {
            let digits = value.to_string();
            if !digits.bytes().all(|b| b.is_ascii_digit()) {
                return Err(TextError::Number { column: column.clone(), value: digits });
            }
            out.push_str(op.as_str());
            out.push(' ');
            out.push_str(&digits);
        }
    }
    Ok(())
}

fn write_string(value: &str, out: &mut String) {
    out.push('"');
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            other => out.push(other),
        }
    }
    out.push('"');
}
