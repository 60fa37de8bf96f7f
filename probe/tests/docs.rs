//! What the documentation lists is what there is.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use clap::CommandFactory as _;
use securitywatch_probe::cli::Cli;
use securitywatch_probe::encode::flatten::{self, SEED_EVENT_TYPE};
use securitywatch_probe::sensor::Loss;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap()
}

#[test]
fn every_metric_and_every_cause_of_loss_is_explained() {
    let page = read("docs/probe.md");
    // A family without a value yet is not rendered, so the names come from where they are registered.
    let source = read("probe/src/metrics.rs");
    let calls = source.split("family(").chain(source.split("latency(")).skip(1);
    let names: Vec<_> = calls
        .filter(|call| call.trim_start().starts_with("r,"))
        .filter_map(|call| call.split('"').nth(1))
        .collect();
    assert!(names.len() >= 15, "{names:?}");
    for name in names {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
    for cause in Loss::ALL {
        assert!(page.contains(&format!("`{}`", cause.as_str())), "{}", cause.as_str());
    }
}

#[test]
fn the_columns_are_counted_and_their_last_words_named() {
    let page = read("docs/events.md");
    assert!(
        page.contains(&format!("{} columns", flatten::columns().len())),
        "{}",
        flatten::columns().len()
    );
    assert!(page.contains(SEED_EVENT_TYPE));
    for column in flatten::columns() {
        let named = page
            .split('`')
            .any(|word| column.name == word || column.name.ends_with(&format!("_{word}")));
        assert!(named, "{}", column.name);
    }
}

#[test]
fn options_in_the_documentation_exist() {
    let command = Cli::command();
    // Those of cargo and helm.
    let others = ["help", "release", "package", "namespace", "create-namespace"];
    let mut options: Vec<String> = others.map(str::to_owned).to_vec();
    for sub in command.get_subcommands() {
        options.extend(sub.get_arguments().filter_map(|arg| arg.get_long().map(str::to_owned)));
    }
    for path in ["README.md", "docs/probe.md", "docs/policies.md", "docs/events.md"] {
        let page = read(path);
        for word in page.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')) {
            if let Some(option) = word
                .strip_prefix("--")
                .filter(|option| option.starts_with(|c: char| c.is_ascii_lowercase()))
            {
                let known = options.iter().any(|known| known == option)
                    || (path == "README.md" && option == "kernel");
                assert!(known, "{path}: --{option}");
            }
        }
    }
}

#[test]
fn files_named_in_the_documentation_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = read("docs/ARCHITECTURE.md");
    for word in page.split('`').skip(1).step_by(2) {
        let looks_like_a_file = word.contains('/')
            || word.ends_with(".rs")
            || word.ends_with(".h")
            || word.ends_with(".c");
        if !looks_like_a_file || word.starts_with('/') || word.contains(' ') {
            continue;
        }
        let places =
            ["", "probe/src", "probe/src/bpf", "probe/src/encode", "crds/src", "operator/src"];
        assert!(places.iter().any(|place| root.join(place).join(word).exists()), "{word}");
    }
}
