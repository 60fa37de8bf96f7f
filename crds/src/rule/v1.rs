//! The JSON forms of a rule in Parseable's first alert documents (`{"version":"v1","alerts":[...]}`).
//!
//! `{"type":"composite","config":"<text>"}`, the same with a tree of `and`, `or`, `not`, `string` and
//! `numeric` instead of the text, and `{"type":"column","config":{...}}`: one comparison.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{Expr, Leaf, MAX_DEPTH, NumberOp, Test, TextOp, parse};

/// The `rule` of a v1 alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "config", rename_all = "lowercase", deny_unknown_fields)]
pub enum RuleDocument {
    /// One comparison.
    Column(ColumnRule),
    /// A rule text, or the same as a tree.
    Composite(Composite),
}

/// A column rule. The operator's absence means `=` for a number and `=%` for a text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ColumnRule {
    pub column: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    pub value: Scalar,
    /// Consecutive matches before the alert fires; 1 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats: Option<u32>,
    /// ASCII letters compare alike in either case; a text's alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore_case: Option<bool>,
}

/// What a column is compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    Number(serde_json::Number),
    Text(String),
}

/// The config of a composite rule.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Composite {
    Text(String),
    Tree(Tree),
}

/// The struct form of a composite rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tree {
    And(Vec<Tree>),
    Or(Vec<Tree>),
    Not(Box<Tree>),
    /// A leaf on a number.
    Numeric(ColumnRule),
    /// A leaf on a text.
    String(ColumnRule),
}

// By hand, because an untagged enum says no more than "did not match any variant".
impl<'de> Deserialize<'de> for Composite {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Json::deserialize(deserializer)? {
            Json::String(text) => Ok(Self::Text(text)),
            other => {
                serde_json::from_value(other).map(Self::Tree).map_err(serde::de::Error::custom)
            }
        }
    }
}

impl RuleDocument {
    /// The same rule as a tree.
    ///
    /// # Errors
    /// What is wrong and where (`and[1].string.operator: ...`); a text's mistake with its column.
    pub fn into_expr(self) -> Result<Expr, String> {
        match self {
            Self::Column(rule) => {
                match rule.repeats {
                    None | Some(1) => {}
                    Some(0) => {
                        return Err("config.repeats: 0 is not valid; the least is 1".to_owned());
                    }
                    Some(times) => {
                        return Err(format!(
                            "config.repeats: {times} consecutive matches are not supported, each event is \
                             judged alone; use 1"
                        ));
                    }
                }
                leaf(rule, None).map_err(|error| format!("config.{error}"))
            }
            Self::Composite(Composite::Text(text)) => {
                parse(&text).map_err(|error| format!("config: {error}\n{}", error.snippet("   ")))
            }
            Self::Composite(Composite::Tree(tree)) => {
                let expr = convert(tree, 0).map_err(|error| format!("config.{error}"))?;
                let depth = expr.depth();
                if depth > MAX_DEPTH {
                    return Err(format!(
                        "config: {depth} levels of and, or and not; at most {MAX_DEPTH} are supported"
                    ));
                }
                Ok(expr)
            }
        }
    }
}

/// Nesting of the document; far above [`MAX_DEPTH`], because pairs in pairs become one level.
const MAX_NESTING: usize = 256;

fn convert(tree: Tree, nesting: usize) -> Result<Expr, String> {
    if nesting > MAX_NESTING {
        return Err(format!(": nested more than {MAX_NESTING} levels deep"));
    }
    let branches = |name: &str, trees: Vec<Tree>| {
        if trees.is_empty() {
            return Err(format!("{name}: needs at least one rule"));
        }
        trees
            .into_iter()
            .enumerate()
            .map(|(index, tree)| {
                convert(tree, nesting + 1).map_err(|error| format!("{name}[{index}].{error}"))
            })
            .collect::<Result<Vec<_>, _>>()
    };
    match tree {
        Tree::And(trees) => branches("and", trees).map(Expr::all),
        Tree::Or(trees) => branches("or", trees).map(Expr::any),
        Tree::Not(inner) => {
            convert(*inner, nesting + 1).map(Expr::negate).map_err(|error| format!("not.{error}"))
        }
        Tree::Numeric(rule) => no_repeats(&rule)
            .and_then(|()| leaf(rule, Some(Kind::Number)))
            .map_err(|error| format!("numeric.{error}")),
        Tree::String(rule) => no_repeats(&rule)
            .and_then(|()| leaf(rule, Some(Kind::Text)))
            .map_err(|error| format!("string.{error}")),
    }
}

fn no_repeats(rule: &ColumnRule) -> Result<(), String> {
    match rule.repeats {
        None => Ok(()),
        Some(_) => Err("repeats: a composite rule has none; remove it".to_owned()),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Text,
}

fn leaf(rule: ColumnRule, kind: Option<Kind>) -> Result<Expr, String> {
    if rule.column.is_empty() {
        return Err("column: must not be empty".to_owned());
    }
    let test = match rule.value {
        Scalar::Number(_) if kind == Some(Kind::Text) => {
            return Err("value: must be a text in quotes".to_owned());
        }
        Scalar::Text(_) if kind == Some(Kind::Number) => {
            return Err("value: must be a number without quotes".to_owned());
        }
        Scalar::Number(_) if rule.ignore_case == Some(true) => {
            return Err("ignoreCase: a number has no case; remove it".to_owned());
        }
        Scalar::Number(number) => {
            Test::Number { op: number_op(rule.operator.as_deref())?, value: number.into() }
        }
        Scalar::Text(value) => Test::Text {
            op: text_op(rule.operator.as_deref())?,
            value,
            ignore_case: rule.ignore_case.unwrap_or(false),
        },
    };
    Ok(Expr::Leaf(Leaf { column: rule.column, test }))
}

fn number_op(name: Option<&str>) -> Result<NumberOp, String> {
    Ok(match name {
        None | Some("=" | "equalTo") => NumberOp::Equal,
        Some("!=" | "notEqualTo") => NumberOp::NotEqual,
        Some(">" | "greaterThan") => NumberOp::Greater,
        Some(">=" | "greaterThanEquals") => NumberOp::GreaterOrEqual,
        Some("<" | "lessThan") => NumberOp::Less,
        Some("<=" | "lessThanEquals") => NumberOp::LessOrEqual,
        Some(other) => {
            return Err(format!(
                "operator: {other:?} does not compare numbers; use equalTo (=), notEqualTo (!=), \
                 greaterThan (>), greaterThanEquals (>=), lessThan (<) or lessThanEquals (<=)"
            ));
        }
    })
}

fn text_op(name: Option<&str>) -> Result<TextOp, String> {
    Ok(match name {
        Some("=" | "exact") => TextOp::Equal,
        Some("!=" | "notExact") => TextOp::NotEqual,
        None | Some("=%" | "contains") => TextOp::Contains,
        Some("!%" | "notContains") => TextOp::NotContains,
        Some("~" | "regex") => TextOp::Regex,
        Some(other) => {
            return Err(format!(
                "operator: {other:?} does not compare texts; use exact (=), notExact (!=), contains (=%), \
                 notContains (!%) or regex (~)"
            ));
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use serde_json::json;

    fn expr(document: Json) -> Result<Expr, String> {
        let rule: RuleDocument = serde_json::from_value(document).map_err(|e| e.to_string())?;
        rule.into_expr()
    }

    fn text(document: Json) -> String {
        expr(document).unwrap().to_text().unwrap()
    }

    #[test]
    fn the_walk_through_rule() {
        assert_eq!(
            text(
                json!({"type": "composite", "config": "(process_exit_process_binary =% \"/usr/bin/wget\")"})
            ),
            "process_exit_process_binary =% \"/usr/bin/wget\""
        );
    }

    #[test]
    fn a_tree_is_the_same_rule_as_its_text() {
        let tree = json!({"type": "composite", "config": {"and": [
            {"string": {"column": "a", "operator": "regex", "value": "^x"}},
            {"and": [{"not": {"numeric": {"column": "n", "operator": "lessThanEquals", "value": 5}}},
                     {"or": [{"string": {"column": "b", "value": "v"}}, {"numeric": {"column": "c", "value": 1}}]}]},
        ]}});
        assert_eq!(text(tree), r#"a ~ "^x" and !(n <= 5) and (b =% "v" or c = 1)"#);
    }

    #[test]
    fn column_rules() {
        let rule = |config: Json| json!({"type": "column", "config": config});
        assert_eq!(text(rule(json!({"column": "a", "value": "x"}))), "a =% \"x\"");
        assert_eq!(
            text(rule(json!({"column": "a", "operator": "greaterThan", "value": 3, "repeats": 1}))),
            "a > 3"
        );
        let loose = expr(rule(
            json!({"column": "a", "operator": "exact", "value": "X", "ignoreCase": true}),
        ))
        .unwrap();
        assert_eq!(loose.to_sql(), "lower(\"a\") = lower('X')");
        assert_eq!(
            loose.to_text().unwrap_err().to_string(),
            "the text form of a rule has no ignoreCase (column a); use `~ \"(?i)...\"`"
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let column = |config: Json| expr(json!({"type": "column", "config": config})).unwrap_err();
        assert!(
            column(json!({"column": "a", "value": "x", "repeats": 3}))
                .starts_with("config.repeats: 3 consecutive")
        );
        assert!(
            column(json!({"column": "a", "value": "x", "ignore_case": true}))
                .contains("unknown field `ignore_case`")
        );
        assert!(
            column(json!({"column": "a", "value": 1, "operator": "contains"}))
                .starts_with("config.operator: \"contains\" does not compare numbers")
        );
        let tree = |config: Json| expr(json!({"type": "composite", "config": config})).unwrap_err();
        assert_eq!(
            tree(
                json!({"and": [{"string": {"column": "a", "value": "x"}}, {"string": {"column": "a", "value": 1}}]})
            ),
            "config.and[1].string.value: must be a text in quotes"
        );
        assert_eq!(tree(json!({"or": []})), "config.or: needs at least one rule");
        assert_eq!(
            tree(json!("a =~ \"x\"")),
            "config: column 3: expected one of = != =% !% ~ < <= > >=, found \"=~\"; a regular expression is ~\n   a =~ \"x\"\n     ^^"
        );
        assert!(tree(json!({"xor": []})).contains("unknown variant `xor`, expected one of"));
    }
}
