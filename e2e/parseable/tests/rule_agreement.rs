//! The probe's matcher and Parseable's SQL select the same events, for any rule and any event.
//!
//! The engine is DataFusion, of the major version Parseable itself is built on, asked through the same
//! dialect: PostgreSQL. Not SQLite or PostgreSQL: what has to agree are DataFusion's own `strpos` and
//! `regexp_like` (with what its optimiser makes of simple patterns), its coercions between texts and
//! numbers, its order of doubles and its treatment of null. Many events meet one query, so that the
//! planning, which is the slow part, is paid once for all of them.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray, UInt64Array,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::config::Dialect;
use datafusion::execution::context::{SessionConfig, SessionContext};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use securitywatch_api::rule::{
    CompileError, Expr, Leaf, MAX_DEPTH, MAX_LEAVES, Matcher, NumberOp, Row, Test, TextOp, Value,
    parse,
};
use tokio::runtime::Runtime;

const TEXTS: [&str; 3] = ["process_exec_process_binary", "Args", "nö-1"];
const NUMBERS: [&str; 2] = ["pid", "status"];
const BOOLEAN: &str = "in_init_tree";

/// Matches and near misses should be frequent, so the words are few and made of what SQL, LIKE and regular
/// expressions hold dear.
const WORDS: [&str; 22] = [
    "",
    "a",
    "b",
    "ab",
    "A",
    "/usr/bin/wget",
    "/usr/bin/WGET",
    "wget",
    "%",
    "_",
    "a%b",
    "a_b",
    "it's",
    "''",
    "\\",
    "\\\\",
    "\"",
    "a\nb",
    "ß",
    "ΑΣ",
    "5",
    "5.0",
];

const PATTERNS: [&str; 32] = [
    "",
    "a",
    "^a",
    "a$",
    "^a$",
    "^ab$",
    "a|b",
    "^(a|b)$",
    "^a|b$",
    "[ab]+",
    "a.b",
    "a.*b",
    "^.*$",
    ".*",
    ".+",
    "^$",
    "$",
    "%",
    "_",
    "a%b",
    "^a_b$",
    r"\\",
    r"\.",
    "'",
    r"(?i)wget",
    r"(?s)a.b",
    r"/bin/(wget|curl)$",
    r"\bwget\b",
    r"^\d+$",
    "a{2}|_",
    r"\p{Lu}",
    "^(%|_)$",
];

const DOUBLES: [f64; 14] = [
    0.0,
    -0.0,
    1.0,
    5.0,
    5.5,
    42.0,
    -3.0,
    0.1,
    1e-7,
    1e16,
    1e300,
    9_007_199_254_740_992.0,
    18_446_744_073_709_551_615.0,
    4_294_967_295.0,
];

/// A flattened event; what is absent is null in the table.
#[derive(Debug, Clone)]
struct Event {
    texts: [Option<String>; 3],
    numbers: [Option<f64>; 2],
    boolean: Option<bool>,
}

impl Row for Event {
    fn get(&self, column: &str) -> Option<Value<'_>> {
        if let Some(index) = TEXTS.iter().position(|name| *name == column) {
            return self.texts[index].as_deref().map(Value::Text);
        }
        if let Some(index) = NUMBERS.iter().position(|name| *name == column) {
            return self.numbers[index].map(Value::Number);
        }
        (column == BOOLEAN).then_some(self.boolean?).map(Value::Bool)
    }
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => select(&WORDS[..]).prop_map(str::to_owned),
        2 => (select(&WORDS[..]), select(&WORDS[..])).prop_map(|(a, b)| format!("{a}{b}")),
        1 => any::<String>(),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let text = || proptest::option::weighted(0.8, word());
    let number = || {
        proptest::option::weighted(
            0.8,
            prop_oneof![4 => select(&DOUBLES[..]), 1 => any::<i32>().prop_map(f64::from)],
        )
    };
    ([text(), text(), text()], [number(), number()], any::<Option<bool>>())
        .prop_map(|(texts, numbers, boolean)| Event { texts, numbers, boolean })
}

fn text_test() -> impl Strategy<Value = Test> {
    let plain = [TextOp::Equal, TextOp::NotEqual, TextOp::Contains, TextOp::NotContains];
    prop_oneof![
        3 => (select(plain.to_vec()), word(), any::<bool>())
            .prop_map(|(op, value, ignore_case)| Test::Text { op, value, ignore_case }),
        1 => (select(&PATTERNS[..]), any::<bool>())
            .prop_map(|(value, ignore_case)| Test::Text { op: TextOp::Regex, value: value.to_owned(), ignore_case }),
        1 => word().prop_map(|word| Test::Text {
            op: TextOp::Regex,
            value: regex::escape(&word),
            ignore_case: false,
        }),
    ]
}

fn number_test() -> impl Strategy<Value = Test> {
    let value = prop_oneof![
        3 => select(vec![0u64, 1, 5, 42, 9_007_199_254_740_993, u64::MAX]).prop_map(serde_json::Number::from),
        1 => any::<i16>().prop_map(serde_json::Number::from),
        1 => select(&DOUBLES[..]).prop_map(|double| serde_json::Number::from_f64(double).unwrap()),
    ];
    (select(&NumberOp::ALL[..]), value)
        .prop_map(|(op, value)| Test::Number { op, value: value.into() })
}

fn leaf() -> impl Strategy<Value = Expr> {
    let on = |columns: &'static [&'static str], test: BoxedStrategy<Test>| {
        (select(columns), test)
            .prop_map(|(column, test)| Expr::Leaf(Leaf { column: column.to_owned(), test }))
    };
    let equality = (select(vec![TextOp::Equal, TextOp::NotEqual]), word())
        .prop_map(|(op, value)| Test::Text { op, value, ignore_case: false });
    prop_oneof![
        12 => on(&TEXTS, text_test().boxed()),
        6 => on(&NUMBERS, number_test().boxed()),
        // Of the other type, where the engine runs it.
        1 => on(&TEXTS, number_test().boxed()),
        1 => on(&NUMBERS, equality.boxed()),
    ]
}

fn rule() -> impl Strategy<Value = Expr> {
    leaf().prop_recursive(5, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 2..5).prop_map(Expr::all),
            vec(inner.clone(), 2..5).prop_map(Expr::any),
            inner.prop_map(Expr::negate),
        ]
    })
}

/// A table of events and the engine to ask about it.
struct Table {
    context: SessionContext,
    events: Vec<Event>,
}

impl Table {
    fn new(events: Vec<Event>) -> Self {
        let mut config = SessionConfig::new().with_target_partitions(1);
        config.options_mut().sql_parser.dialect = Dialect::PostgreSQL;
        let context = SessionContext::new_with_config(config);
        let mut fields = vec![Field::new("row", DataType::UInt64, false)];
        let mut columns: Vec<ArrayRef> =
            vec![Arc::new(UInt64Array::from_iter_values(0..events.len() as u64))];
        for (index, name) in TEXTS.iter().enumerate() {
            fields.push(Field::new(*name, DataType::Utf8, true));
            let values = events.iter().map(|event| event.texts[index].as_deref());
            columns.push(Arc::new(values.collect::<StringArray>()));
        }
        for (index, name) in NUMBERS.iter().enumerate() {
            fields.push(Field::new(*name, DataType::Float64, true));
            let values = events.iter().map(|event| event.numbers[index]);
            columns.push(Arc::new(values.collect::<Float64Array>()));
        }
        fields.push(Field::new(BOOLEAN, DataType::Boolean, true));
        let values = events.iter().map(|event| event.boolean);
        columns.push(Arc::new(values.collect::<BooleanArray>()));
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        context.register_batch("events", batch).unwrap();
        Self { context, events }
    }

    async fn selected_by_sql(&self, rule: &Expr) -> Result<BTreeSet<u64>, String> {
        let sql = format!("SELECT \"row\" FROM \"events\" WHERE {}", rule.to_sql());
        let frame = self.context.sql(&sql).await.map_err(|error| format!("{sql}: {error}"))?;
        let batches = frame.collect().await.map_err(|error| format!("{sql}: {error}"))?;
        let mut rows = BTreeSet::new();
        for batch in &batches {
            let column = batch.column(0).as_any().downcast_ref::<UInt64Array>().unwrap();
            rows.extend(column.values());
        }
        Ok(rows)
    }

    fn selected_by_matcher(&self, matcher: &Matcher) -> BTreeSet<u64> {
        let hits = self.events.iter().zip(0u64..).filter(|(event, _)| matcher.matches(*event));
        hits.map(|(_, row)| row).collect()
    }

    /// None where the rule compares a column with a text and a number, which the matcher refuses.
    async fn check(&self, rule: &Expr) -> Result<Option<usize>, TestCaseError> {
        let matcher = match Matcher::compile(rule) {
            Ok(matcher) => matcher,
            Err(CompileError::MixedTypes { .. }) => return Ok(None),
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        let by_sql = self.selected_by_sql(rule).await.map_err(TestCaseError::fail)?;
        let by_matcher = self.selected_by_matcher(&matcher);
        let mut apart = by_sql.symmetric_difference(&by_matcher);
        if let Some(row) = apart.next() {
            return Err(TestCaseError::fail(format!(
                "{}\nselects by {} alone: {:?}",
                rule.to_sql(),
                if by_sql.contains(row) { "SQL" } else { "matcher" },
                self.events[*row as usize],
            )));
        }
        Ok(Some(by_sql.len()))
    }
}

#[test]
fn sql_and_matcher_select_the_same_events() {
    let runtime = Runtime::new().unwrap();
    let (mut judged, mut selected, mut rules_that_split) = (0, 0, 0);
    let mut runner =
        TestRunner::new(Config { cases: 200, failure_persistence: None, ..Config::default() });
    let counts = std::cell::RefCell::new((&mut judged, &mut selected, &mut rules_that_split));
    let result = runner.run(&(vec(event(), 80), vec(rule(), 6)), |(events, rules)| {
        let table = Table::new(events);
        runtime.block_on(async {
            for rule in &rules {
                if let Some(hits) = table.check(rule).await? {
                    let mut counts = counts.borrow_mut();
                    *counts.0 += table.events.len();
                    *counts.1 += hits;
                    *counts.2 += usize::from(hits > 0 && hits < table.events.len());
                }
            }
            Ok(())
        })
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    println!(
        "agreement: {judged} judgements, {selected} hits, {rules_that_split} rules with hits and misses"
    );
    // Were all rules trivial, agreement would say nothing.
    assert!(rules_that_split > 500);
}

#[test]
fn what_the_engine_refuses_never_matches() {
    let runtime = Runtime::new().unwrap();
    let events = |boolean| Event {
        texts: ["5".to_owned(), "true".to_owned(), "x".to_owned()].map(Some),
        numbers: [Some(5.0), Some(-1.0)],
        boolean,
    };
    let table = Table::new(vec![events(Some(true)), events(Some(false)), events(None)]);
    let text = |op, value: &str| Test::Text { op, value: value.to_owned(), ignore_case: false };
    let number = |op| Test::Number { op, value: 5.into() };
    let mut refused = BTreeMap::new();
    for (column, test) in [
        ("pid", text(TextOp::Contains, "5")),
        ("pid", text(TextOp::NotContains, "x")),
        ("pid", text(TextOp::Regex, ".")),
        (BOOLEAN, text(TextOp::Equal, "true")),
        (BOOLEAN, text(TextOp::NotEqual, "x")),
        (BOOLEAN, text(TextOp::Contains, "t")),
        (BOOLEAN, text(TextOp::Regex, ".")),
        (BOOLEAN, number(NumberOp::NotEqual)),
        (BOOLEAN, number(NumberOp::Less)),
    ] {
        let rule = Expr::Leaf(Leaf { column: column.to_owned(), test });
        let matcher = Matcher::compile(&rule).unwrap();
        assert!(table.selected_by_matcher(&matcher).is_empty(), "{}", rule.to_sql());
        if let Err(error) = runtime.block_on(table.selected_by_sql(&rule)) {
            refused.insert(rule.to_sql(), error);
        }
    }
    assert_eq!(refused.len(), 9, "{refused:?}");
}

/// The limits of the language are such that the engine plans what they allow. Twice the stack of a server's
/// worker thread, because the engine is not optimised here and its frames are far larger.
#[test]
fn the_largest_rules_run() {
    let event = Event {
        texts: [Some("a".to_owned()), None, None],
        numbers: [Some(5.0), Some(9.0)],
        boolean: None,
    };
    let table = Table::new(vec![event]);
    let negations = format!("{}pid = 5{}", "!(".repeat(MAX_DEPTH), ")".repeat(MAX_DEPTH));
    let list = (0..MAX_LEAVES - 1).map(|n| format!("pid =% \"{n}\"")).collect::<Vec<_>>();
    let list = list.join(" or ").replace("pid", TEXTS[0]) + " or pid = 5";
    let mut mixed = "pid = 5".to_owned();
    for level in 0..MAX_DEPTH / 2 {
        let word = if level % 2 == 0 { "or" } else { "and" };
        let others = vec!["status < 7"; 20].join(&format!(" {word} "));
        mixed = format!("!({mixed} {word} {others})");
        if level * 20 > MAX_LEAVES - 50 {
            break;
        }
    }
    let rules = [negations, list, mixed].map(|text| parse(&text).unwrap());
    let stack = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_stack_size(4 << 20)
        .build()
        .unwrap();
    let judge = stack.spawn(async move {
        for rule in &rules {
            let checked = table.check(rule).await;
            assert!(matches!(checked, Ok(Some(_))), "{} levels: {checked:?}", rule.depth());
        }
    });
    stack.block_on(judge).unwrap();
}
