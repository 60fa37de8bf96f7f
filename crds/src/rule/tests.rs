//! The language as a whole: grammar, messages, outputs, and the properties that tie them together.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A flattened event as pairs.
struct Event(BTreeMap<&'static str, Value<'static>>);

impl Row for Event {
    fn get(&self, column: &str) -> Option<Value<'_>> {
        self.0.get(column).copied()
    }
}

fn event<const N: usize>(columns: [(&'static str, Value<'static>); N]) -> Event {
    Event(columns.into_iter().collect())
}

fn text(rule: &str) -> String {
    parse(rule).unwrap().to_text().unwrap()
}

fn matches(rule: &str, event: &Event) -> bool {
    Matcher::compile(&parse(rule).unwrap()).unwrap().matches(event)
}

#[test]
fn canonical_text() {
    for (rule, canonical) in [
        (
            r#"(process_exit_process_binary =% "/usr/bin/wget")"#,
            r#"process_exit_process_binary =% "/usr/bin/wget""#,
        ),
        ("a=1", "a = 1"),
        ("a  <=\t5", "a <= 5"),
        (r#"a = "x" and b = "y" or c = "z""#, r#"(a = "x" and b = "y") or c = "z""#),
        (r#"a = "x" and (b = "y" or c = "z")"#, r#"a = "x" and (b = "y" or c = "z")"#),
        ("(a = 1 or (b = 2 or (c = 3)))", "a = 1 or b = 2 or c = 3"),
        ("!((a = 1))", "!(a = 1)"),
        ("!(a = 1 and b = 2) and c != 3", "!(a = 1 and b = 2) and c != 3"),
        ("( a > 1 )", "a > 1"),
        ("\n a = 1\n  and b = 2\n", "a = 1 and b = 2"),
        (r#"Überfüllt-1_x ~ "^\\d+\"\/$""#, r#"Überfüllt-1_x ~ "^\\d+\"/$""#),
        (r#"a !% """#, r#"a !% """#),
        ("and = 1 and or = 2 or 7 = 7", "(and = 1 and or = 2) or 7 = 7"),
        ("a = 18446744073709551615", "a = 18446744073709551615"),
    ] {
        assert_eq!(text(rule), canonical, "{rule}");
    }
}

#[test]
fn mistakes_are_placed_and_named() {
    for (rule, line, column, length, message) in [
        ("", 1, 1, 1, "expected a column, `(` or `!(`, found the end of the rule"),
        (
            r#"process_exec_process_binary =~ "/usr/bin/wget""#,
            1,
            29,
            2,
            "expected one of = != =% !% ~ < <= > >=, found \"=~\"; a regular expression is ~",
        ),
        (
            r#"a == "x""#,
            1,
            3,
            2,
            "expected one of = != =% !% ~ < <= > >=, found \"==\"; equality is =",
        ),
        (r#"a like "x""#, 1, 3, 4, "expected one of = != =% !% ~ < <= > >=, found \"like\""),
        ("a", 1, 2, 1, "expected one of = != =% !% ~ < <= > >=, found the end of the rule"),
        (
            "a.b = 1",
            1,
            2,
            1,
            "expected one of = != =% !% ~ < <= > >=, found \".\"; a column has letters, digits, - and _ only; nested fields are joined by _",
        ),
        (
            "a =",
            1,
            4,
            1,
            "expected a text in double quotes or unsigned digits, found the end of the rule",
        ),
        (
            "a = -5",
            1,
            5,
            2,
            "expected a text in double quotes or unsigned digits, found \"-5\"; a number in a rule has no sign and no fraction",
        ),
        (
            "a = 5.25",
            1,
            5,
            4,
            "expected unsigned digits, found \"5.25\"; a number in a rule has no sign and no fraction",
        ),
        (
            "a = 'x'",
            1,
            5,
            1,
            "expected a text in double quotes or unsigned digits, found \"'\"; a text stands in double quotes",
        ),
        (
            "a = x1",
            1,
            5,
            2,
            "expected a text in double quotes or unsigned digits, found \"x1\"; a text stands in double quotes",
        ),
        (
            r#"a < "x""#,
            1,
            5,
            3,
            "expected unsigned digits (this operator compares numbers), found `\"x\"`",
        ),
        (
            "a =% 5",
            1,
            6,
            1,
            "expected a text in double quotes (this operator compares texts), found \"5\"",
        ),
        (
            "a = 99999999999999999999",
            1,
            5,
            20,
            "expected a number up to 18446744073709551615, found \"99999999999999999999\"",
        ),
        (
            r#"a = "x"#,
            1,
            5,
            2,
            "expected a closing \", found the end of the rule; a quote inside a value is written \\\"",
        ),
        (
            r#"a ~ "\d""#,
            1,
            6,
            2,
            r#"expected one of the escapes \" \\ \/ \n \r \t \b \f, found "\d"; a backslash itself, also in a regular expression, is written \\"#,
        ),
        (
            "a = 1 AND b = 2",
            1,
            7,
            3,
            "expected `and`, `or` or the end of the rule, found \"AND\"; `and` and `or` are lower-case",
        ),
        (
            "a = 1 && b = 2",
            1,
            7,
            1,
            "expected `and`, `or` or the end of the rule, found \"&\"; write `and`",
        ),
        (
            "(a = 1)and b = 2",
            1,
            8,
            3,
            "expected `and`, `or` or the end of the rule, found \"and\"; `and` and `or` need a blank on both sides",
        ),
        ("a = 1 b = 2", 1, 7, 1, "expected `and`, `or` or the end of the rule, found \"b\""),
        (
            "a = 1)",
            1,
            6,
            1,
            "expected `and`, `or` or the end of the rule, found \")\"; this `)` closes nothing",
        ),
        ("(a = 1", 1, 7, 1, "expected `and`, `or` or `)`, found the end of the rule"),
        (
            "! (a = 1)",
            1,
            1,
            1,
            "expected a column, `(` or `!(`, found \"!\"; a negation is !(...), without a blank before the (",
        ),
        (
            "!( a = 1)",
            1,
            3,
            1,
            "expected no blank inside `!(` and `)`, found a blank; write !(column = \"value\")",
        ),
        (
            "!(a = 1 )",
            1,
            8,
            1,
            "expected no blank inside `!(` and `)`, found a blank; write !(column = \"value\")",
        ),
        (
            "a = 1 and",
            1,
            7,
            3,
            "expected `and`, `or` or the end of the rule, found \"and\"; `and` and `or` need a blank on both sides",
        ),
        ("a = 1 and ", 1, 11, 1, "expected a column, `(` or `!(`, found the end of the rule"),
        (
            "\"x\" = a",
            1,
            1,
            3,
            "expected a column, `(` or `!(`, found `\"x\"`; the column stands first, the value after it",
        ),
        ("a = 1\nor b =< 2", 2, 6, 2, "expected one of = != =% !% ~ < <= > >=, found \"=<\""),
    ] {
        let error = parse(rule).unwrap_err();
        assert_eq!(
            (error.line, error.column, error.length, error.message().as_str()),
            (line, column, length, message),
            "{rule}"
        );
    }
}

#[test]
fn one_line_and_snippet() {
    let error = parse(r#"process_exec_process_binary =~ "/usr/bin/wget""#).unwrap_err();
    assert!(error.to_string().starts_with("column 29: expected one of"));
    assert_eq!(
        error.snippet("   "),
        "   process_exec_process_binary =~ \"/usr/bin/wget\"\n                               ^^"
    );
    let error = parse("a = 1\n\tand b = \"\\q\"").unwrap_err();
    assert!(error.to_string().starts_with("line 2, column 11: expected one of the escapes"));
    assert_eq!(error.snippet(""), "\tand b = \"\\q\"\n\t         ^^");
    let long = format!("{} and x == 2", ["column = 1"; 40].join(" and "));
    let snippet = parse(&long).unwrap_err().snippet("");
    let (line, carets) = snippet.split_once('\n').unwrap();
    assert!(line.chars().count() < 110 && line.starts_with('…'), "{line}");
    let under: String = line.chars().skip(carets.find('^').unwrap()).collect();
    assert!(under.starts_with("== 2"), "{snippet}");
}

#[test]
fn limits() {
    let parentheses = |n: usize| format!("{}a = 1{}", "(".repeat(n), ")".repeat(n));
    assert_eq!(text(&parentheses(256)), "a = 1");
    assert!(
        parse(&parentheses(100_000))
            .unwrap_err()
            .message()
            .contains("at most 256 open parentheses")
    );
    let negations = |n: usize| format!("{}a = 1{}", "!(".repeat(n), ")".repeat(n));
    assert_eq!(parse(&negations(MAX_DEPTH)).unwrap().depth(), MAX_DEPTH);
    assert!(
        parse(&negations(MAX_DEPTH + 1))
            .unwrap_err()
            .message()
            .contains("at most 16 levels of `and`, `or` and `!( )`, found 17 levels")
    );
    let list = |n: usize| vec!["a = 1"; n].join(" or ");
    assert_eq!(parse(&list(MAX_LEAVES)).unwrap().leaves(), MAX_LEAVES);
    assert!(
        parse(&list(MAX_LEAVES + 1)).unwrap_err().message().contains("at most 256 comparisons")
    );
}

#[test]
fn sql() {
    for (rule, sql) in [
        (r#"a = "it's""#, r#""a" = 'it''s'"#),
        (r#"a != "x" and n != 5"#, r#""a" <> 'x' AND "n" <> 5"#),
        (r#"a =% "50%_\\" or a !% "y""#, r#"strpos("a", '50%_\') > 0 OR strpos("a", 'y') = 0"#),
        (r#"a ~ "^/etc/(passwd|shadow)$""#, r#"regexp_like("a", '()^/etc/(passwd|shadow)$')"#),
        (
            r#"!(a = "x" or n >= 3) and b = "y""#,
            r#""b" = 'y' AND (NOT ("a" = 'x' OR "n" >= 3) AND "a" IS NOT NULL AND "n" IS NOT NULL)"#,
        ),
    ] {
        assert_eq!(parse(rule).unwrap().to_sql(), sql, "{rule}");
    }
    let list = parse(&vec!["a = 1"; 40].join(" or ")).unwrap().to_sql();
    let group = |n: usize| format!("({})", vec![r#""a" = 1"#; n].join(" OR "));
    assert_eq!(list, [group(16), group(16), group(8)].join(" OR "));
    let quoted = Expr::Leaf(Leaf {
        column: "we\"ird".to_owned(),
        test: Test::Number { op: NumberOp::Equal, value: Number::from(1) },
    });
    assert_eq!(quoted.to_sql(), r#""we""ird" = 1"#);
}

#[test]
fn what_the_matcher_says() {
    let wget = event([
        ("binary", Value::Text("/usr/bin/wget")),
        ("pid", Value::Number(42.0)),
        ("host", Value::Bool(true)),
    ]);
    for rule in [
        r#"binary =% "wget""#,
        r#"binary ~ "^/usr/.*get$""#,
        r#"binary != "wget" and pid >= 42"#,
        r#"nosuch = "x" or pid < 43"#,
        r#"!(binary = "x")"#,
        r#"!(!(pid = 42))"#,
        r#"pid = "42.0""#,
        "binary < 5",
    ] {
        assert!(matches(rule, &wget), "{rule}");
    }
    for rule in [
        r#"binary = "WGET""#,
        // Absent columns match nothing, negated or not.
        r#"nosuch != "x""#,
        r#"nosuch !% "x""#,
        r#"!(nosuch = "x")"#,
        r#"!(nosuch = "x" and binary = "y")"#,
        // Of the other type: compared as texts where the server does, else never.
        r#"pid = "42""#,
        r#"pid =% "4""#,
        "binary > 9",
        r#"host = "true""#,
        r#"host != "x""#,
    ] {
        assert!(!matches(rule, &wget), "{rule}");
    }
}

#[test]
fn rules_that_cannot_run() {
    let error = |rule: &str| Matcher::compile(&parse(rule).unwrap()).unwrap_err().to_string();
    assert_eq!(
        error(r#"a ~ "(""#),
        "column a: the regular expression \"(\" is not valid: unclosed group"
    );
    assert!(error(r#"a ~ "(?=x)""#).contains("look-around"));
    assert!(error(r#"a ~ "(\\w{1000}){1000}""#).contains("needs more than 1048576 bytes"));
    assert!(
        error(r#"a = 1 or !(a =% "x")"#)
            .starts_with("column a is compared with a text and with a number")
    );
}

#[test]
fn columns_are_sorted_and_single() {
    let rule = parse(r#"b = 1 and !(a = "x" or b > 2) and C ~ "y""#).unwrap();
    assert_eq!(rule.columns().into_iter().collect::<Vec<_>>(), ["C", "a", "b"]);
}

fn leaf() -> impl Strategy<Value = Expr> {
    let column = prop_oneof![
        "[a-z]{1,4}",
        "[\\p{L}0-9_-]{1,6}",
        Just("and".to_owned()),
        Just("or".to_owned())
    ]
    .prop_filter("one alphabet", |c| c.chars().all(is_column_char));
    let test = prop_oneof![
        (proptest::sample::select(&TextOp::ALL[..]), any::<String>())
            .prop_map(|(op, value)| { Test::Text { op, value, ignore_case: false } }),
        (proptest::sample::select(&NumberOp::ALL[..]), any::<u64>())
            .prop_map(|(op, value)| { Test::Number { op, value: value.into() } }),
    ];
    (column, test).prop_map(|(column, test)| Expr::Leaf(Leaf { column, test }))
}

fn rule() -> impl Strategy<Value = Expr> {
    leaf().prop_recursive(6, 40, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 2..4).prop_map(Expr::all),
            proptest::collection::vec(inner.clone(), 2..4).prop_map(Expr::any),
            inner.prop_map(Expr::negate),
        ]
    })
}

proptest! {
    #[test]
    fn tree_to_text_to_tree(rule in rule()) {
        let text = rule.to_text().unwrap();
        let again = parse(&text).unwrap();
        prop_assert_eq!(&again, &rule);
        prop_assert_eq!(again.to_text().unwrap(), text);
    }

    #[test]
    fn any_text_gives_a_rule_or_a_placed_mistake(text in any::<String>()) {
        check_any(&text)?;
    }

    // Random characters rarely get past the first token; random tokens do.
    #[test]
    fn any_tokens_give_a_rule_or_a_placed_mistake(
        tokens in proptest::collection::vec(
            proptest::sample::select(&[
                "a", "b1", "é-_", "=", "!=", "=%", "!%", "~", "<", "<=", ">", ">=", "=~", "!", "(", "!(", ")", " ",
                " ", " ", "\n", " and ", " or ", "and", "or", "\"x\"", "\"", "\\", "\"\\n\\q\"", "5", "0.5", "-", "\0",
            ][..]),
            0..24,
        )
    ) {
        check_any(&tokens.concat())?;
    }
}

fn check_any(text: &str) -> Result<(), TestCaseError> {
    match parse(text) {
        Ok(rule) => {
            let canonical = rule.to_text().unwrap();
            prop_assert_eq!(parse(&canonical).unwrap(), rule);
        }
        Err(error) => {
            let line = text.split('\n').nth(error.line - 1).unwrap().chars().count();
            prop_assert!(error.column >= 1 && error.column <= line + 1);
            prop_assert!(error.column + error.length <= line + 2);
            prop_assert_eq!(error.snippet("  ").lines().count(), 2);
        }
    }
    Ok(())
}
