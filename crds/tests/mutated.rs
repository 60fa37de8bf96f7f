//! Damaged files are refused with a place, and never by a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod shared;

use std::sync::LazyLock;

use proptest::prelude::*;
use securitywatch_api::document::load;

static SEEDS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let samples = shared::workspace().join("config/samples");
    let mut seeds: Vec<String> = ["egress.yaml", "sensitive-files.yaml"]
        .iter()
        .map(|name| std::fs::read_to_string(samples.join(name)).unwrap())
        .collect();
    seeds.extend(shared::golden_policies().into_iter().flatten().map(|(_, text)| text));
    seeds.push(
        r#"{"version":"v1","alerts":[{"name":"a","message":"m","rule":{"type":"composite","config":"(a = 1)"},
        "targets":[{"type":"webhook","endpoint":"https://e.org/x","repeat":{"interval":"10s","times":5}}]}]}"#
            .to_owned(),
    );
    seeds
});

/// One change to a line.
#[derive(Debug, Clone)]
enum Damage {
    Delete,
    Repeat,
    Indent(usize),
    Replace(String),
    Cut(usize),
    Insert(usize, String),
}

fn damage() -> impl Strategy<Value = Damage> {
    let scrap = prop_oneof![
        Just("- ".to_owned()),
        Just("{".to_owned()),
        Just("]".to_owned()),
        Just("&a ".to_owned()),
        Just("*a".to_owned()),
        Just("!!str ".to_owned()),
        Just("|".to_owned()),
        Just("\t".to_owned()),
        Just("\\ud83d".to_owned()),
        Just("\"".to_owned()),
        Just("---".to_owned()),
        Just("null".to_owned()),
        Just("-99999999999999999999".to_owned()),
        "\\PC{0,12}",
    ];
    prop_oneof![
        Just(Damage::Delete),
        Just(Damage::Repeat),
        (0..8usize).prop_map(Damage::Indent),
        scrap.clone().prop_map(Damage::Replace),
        (0..40usize).prop_map(Damage::Cut),
        ((0..40usize), scrap).prop_map(|(at, text)| Damage::Insert(at, text)),
    ]
}

fn apply(line: &str, damage: &Damage) -> String {
    let chars: Vec<char> = line.chars().collect();
    match damage {
        Damage::Delete => String::new(),
        Damage::Repeat => format!("{line}\n{line}"),
        Damage::Indent(by) => format!("{}{line}", " ".repeat(*by)),
        Damage::Replace(text) => text.clone(),
        Damage::Cut(at) => chars.iter().take(*at).collect(),
        Damage::Insert(at, text) => {
            let (before, after) = chars.split_at((*at).min(chars.len()));
            before.iter().copied().chain(text.chars()).chain(after.iter().copied()).collect()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_file_is_read_or_refused_with_a_place(
        seed in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), damage()), 1..4),
    ) {
        let mut lines: Vec<String> = seed.get(&SEEDS).lines().map(str::to_owned).collect();
        for (line, damage) in &changes {
            let line = line.index(lines.len());
            lines[line] = apply(&lines[line], damage);
        }
        let text = lines.join("\n");
        if let Err(errors) = load("damaged.yaml", &text) {
            prop_assert!(!errors.errors.is_empty());
            let count = text.lines().count();
            for error in &errors.errors {
                prop_assert!((1..=count + 1).contains(&error.position.line), "{error}");
                prop_assert!(error.position.column >= 1);
                prop_assert!(!error.message.is_empty());
            }
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        let _ = load("any", &text);
    }
}
