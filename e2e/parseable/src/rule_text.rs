//! The text of an old composite rule: `(a = "x" and b > 5) or !(c ~ "re")`.
//!
//! Written from the grammar alone and on purpose without the product's own parser, which is tested against it.

use std::fmt;

use datafusion::arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RuleForm", into = "String")]
pub(crate) enum Rule {
    And(Vec<Rule>),
    Or(Vec<Rule>),
    Not(Box<Rule>),
    Numeric { column: String, operator: NumericOperator, value: serde_json::Number },
    Text { column: String, operator: TextOperator, value: String },
}

/// A rule comes as a text or in the form of its structure.
#[derive(Deserialize)]
#[serde(untagged)]
enum RuleForm {
    Text(String),
    Structure(Structure),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Structure {
    And(Vec<Structure>),
    Or(Vec<Structure>),
    Not(Box<Structure>),
    Numeric {
        column: String,
        #[serde(default)]
        operator: NumericOperator,
        value: serde_json::Number,
    },
    String {
        column: String,
        #[serde(default)]
        operator: TextOperator,
        value: String,
    },
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum NumericOperator {
    #[default]
    #[serde(rename = "=", alias = "equalTo")]
    Equal,
    #[serde(rename = "!=", alias = "notEqualTo")]
    NotEqual,
    #[serde(rename = ">", alias = "greaterThan")]
    Greater,
    #[serde(rename = ">=", alias = "greaterThanEquals")]
    GreaterOrEqual,
    #[serde(rename = "<", alias = "lessThan")]
    Less,
    #[serde(rename = "<=", alias = "lessThanEquals")]
    LessOrEqual,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum TextOperator {
    #[serde(rename = "=", alias = "exact")]
    Exact,
    #[serde(rename = "!=", alias = "notExact")]
    NotExact,
    #[default]
    #[serde(rename = "=%", alias = "contains")]
    Contains,
    #[serde(rename = "!%", alias = "notContains")]
    NotContains,
    #[serde(rename = "~", alias = "regex")]
    Regex,
}

/// What a column must be for a leaf to be asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Number,
    Text,
}

impl Kind {
    pub(crate) fn fits(self, data_type: &DataType) -> bool {
        match self {
            Self::Number => data_type.is_numeric(),
            Self::Text => *data_type == DataType::Utf8,
        }
    }
}

impl NumericOperator {
    const LONGEST_FIRST: [(&'static str, Self); 6] = [
        ("<=", Self::LessOrEqual),
        (">=", Self::GreaterOrEqual),
        ("!=", Self::NotEqual),
        ("<", Self::Less),
        (">", Self::Greater),
        ("=", Self::Equal),
    ];
}

impl TextOperator {
    const LONGEST_FIRST: [(&'static str, Self); 5] = [
        ("=%", Self::Contains),
        ("!%", Self::NotContains),
        ("!=", Self::NotExact),
        ("=", Self::Exact),
        ("~", Self::Regex),
    ];
}

impl Rule {
    /// The columns with what each leaf asks of them.
    pub(crate) fn columns(&self) -> Vec<(&str, Kind)> {
        match self {
            Self::And(rules) | Self::Or(rules) => rules.iter().flat_map(Self::columns).collect(),
            Self::Not(rule) => rule.columns(),
            Self::Numeric { column, .. } => vec![(column, Kind::Number)],
            Self::Text { column, .. } => vec![(column, Kind::Text)],
        }
    }
}

impl TryFrom<RuleForm> for Rule {
    type Error = String;

    fn try_from(form: RuleForm) -> Result<Self, String> {
        match form {
            RuleForm::Text(text) => parse(&text),
            RuleForm::Structure(structure) => Ok(structure.into()),
        }
    }
}

impl From<Structure> for Rule {
    fn from(structure: Structure) -> Self {
        match structure {
            Structure::And(all) => Self::And(all.into_iter().map(Self::from).collect()),
            Structure::Or(any) => Self::Or(any.into_iter().map(Self::from).collect()),
            Structure::Not(rule) => Self::Not(Box::new((*rule).into())),
            Structure::Numeric { column, operator, value } => {
                Self::Numeric { column, operator, value }
            }
            Structure::String { column, operator, value } => Self::Text { column, operator, value },
        }
    }
}

impl From<Rule> for String {
    fn from(rule: Rule) -> Self {
        rule.to_string()
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = |signs: &[(&'static str, NumericOperator)], operator| {
            signs.iter().find(|(_, known)| *known == operator).map_or("=", |(sign, _)| sign)
        };
        let join = |rules: &[Rule], word: &str| {
            let rules: Vec<String> = rules.iter().map(Rule::to_string).collect();
            rules.join(word)
        };
        match self {
            Self::And(rules) => write!(f, "({})", join(rules, " and ")),
            Self::Or(rules) => write!(f, "({})", join(rules, " or ")),
            Self::Not(rule) => write!(f, "!({rule})"),
            Self::Numeric { column, operator, value } => {
                let sign = sign(&NumericOperator::LONGEST_FIRST, *operator);
                write!(f, "{column} {sign} {value}")
            }
            Self::Text { column, operator, value } => {
                let signs = TextOperator::LONGEST_FIRST;
                let sign = signs.iter().find(|(_, known)| known == operator);
                let value = serde_json::Value::from(value.as_str());
                write!(f, "{column} {} {value}", sign.map_or("=", |(sign, _)| sign))
            }
        }
    }
}

fn parse(text: &str) -> Result<Rule, String> {
    let mut parser = Parser { text, at: 0 };
    let rule = parser.expression()?;
    if parser.rest().is_empty() { Ok(rule) } else { Err(parser.error("the end or an operator")) }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn error(&self, expected: &str) -> String {
        format!("Parsing composite rule failed at byte {}: expected {expected}", self.at)
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    fn blanks(&mut self) -> bool {
        let before = self.rest().len();
        self.at += before - self.rest().trim_start().len();
        self.rest().len() < before
    }

    /// `word` with blanks on both sides; nothing is taken where it is not.
    fn take_word(&mut self, word: &str) -> bool {
        let start = self.at;
        let found = self.blanks() && self.take(word) && self.blanks();
        if !found {
            self.at = start;
        }
        found
    }

    fn expression(&mut self) -> Result<Rule, String> {
        let first = self.term()?;
        if self.take_word("or") {
            return Ok(Rule::Or(vec![first, self.expression()?]));
        }
        Ok(first)
    }

    fn term(&mut self) -> Result<Rule, String> {
        let first = self.atom()?;
        if self.take_word("and") {
            return Ok(Rule::And(vec![first, self.term()?]));
        }
        Ok(first)
    }

    fn atom(&mut self) -> Result<Rule, String> {
        if self.take("!(") {
            let inner = self.expression()?;
            return self.closed(Rule::Not(Box::new(inner)));
        }
        if self.take("(") {
            self.blanks();
            let inner = self.expression()?;
            self.blanks();
            return self.closed(inner);
        }
        self.leaf()
    }

    fn closed(&mut self, rule: Rule) -> Result<Rule, String> {
        if self.take(")") { Ok(rule) } else { Err(self.error("\")\"")) }
    }

    fn leaf(&mut self) -> Result<Rule, String> {
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '-' || c == '_'));
        let column = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default().to_owned();
        if column.is_empty() {
            return Err(self.error("a column"));
        }
        self.at += column.len();
        self.blanks();
        let start = self.at;
        if let Some(operator) = self.operator(&TextOperator::LONGEST_FIRST) {
            self.blanks();
            if self.rest().starts_with('"') {
                let value = self.string()?;
                return Ok(Rule::Text { column, operator, value });
            }
        }
        self.at = start;
        let operator = self
            .operator(&NumericOperator::LONGEST_FIRST)
            .ok_or_else(|| self.error("an operator"))?;
        self.blanks();
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let digits = rest.get(..end).unwrap_or_default();
        let value = digits.parse::<u64>().map_err(|_| self.error("a number or a string"))?;
        self.at += end;
        Ok(Rule::Numeric { column, operator, value: value.into() })
    }

    fn operator<T: Copy>(&mut self, signs: &[(&str, T)]) -> Option<T> {
        signs.iter().find(|(sign, _)| self.take(sign)).map(|(_, operator)| *operator)
    }

    /// A string with the escapes of JSON.
    fn string(&mut self) -> Result<String, String> {
        let mut values = serde_json::Deserializer::from_str(self.rest()).into_iter::<String>();
        match values.next() {
            Some(Ok(value)) => {
                self.at += values.byte_offset();
                Ok(value)
            }
            _ => Err(self.error("a string")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn texts_read_and_shown() {
        for (text, shown) in [
            (r#"a = "x""#, r#"a = "x""#),
            (r#"(a =% "/usr/bin/wget")"#, r#"a =% "/usr/bin/wget""#),
            (r#"a="x" and b>5 and c !% "y\"""#, r#"(a = "x" and (b > 5 and c !% "y\""))"#),
            (r#"a = 1 or b = 2 and c = 3"#, "(a = 1 or (b = 2 and c = 3))"),
            (r#"( a = 1 or b = 2 ) and !(c ~ "^x$")"#, r#"((a = 1 or b = 2) and !(c ~ "^x$"))"#),
            ("größe <= 10", "größe <= 10"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), shown, "{text}");
            assert_eq!(parse(shown).unwrap(), parse(text).unwrap(), "{shown}");
        }
    }

    #[test]
    fn texts_refused() {
        for text in [
            "",
            "a",
            "a =",
            "a = x",
            "a = -1",
            r#"a =~ "x""#,
            r#"a > "x""#,
            r#"a = "x"#,
            r#"a = "x" AND b = 1"#,
            r#"a = "x"and b = 1"#,
            "(a = 1",
            "a = 1)",
            r#"a.b = "x""#,
            "!( a = 1)",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
