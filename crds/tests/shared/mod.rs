//! Where data recorded outside this repository lies, for the tests that can use it.

// Each test file uses its part.
#![allow(dead_code)]

use std::path::{Path, PathBuf};

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate stands in the workspace")
        .to_owned()
}

/// The folder `name` of the shared data; says so where it is absent.
pub fn shared(name: &str) -> Option<PathBuf> {
    let folder = match std::env::var_os("SECURITYWATCH_SHARED") {
        Some(folder) => PathBuf::from(folder),
        None => workspace().join("../shared"),
    };
    let folder = folder.join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: {} is not here (set SECURITYWATCH_SHARED)", folder.display());
    None
}

/// Every TracingPolicy of the recorded cases, by the case's name.
pub fn golden_policies() -> Option<Vec<(String, String)>> {
    let mut policies = Vec::new();
    for case in std::fs::read_dir(shared("golden")?.join("cases")).expect("the cases can be read") {
        let case = case.expect("the cases can be read");
        if let Ok(text) = std::fs::read_to_string(case.path().join("policy.yaml")) {
            policies.push((case.file_name().to_string_lossy().into_owned(), text));
        }
    }
    policies.sort();
    Some(policies)
}
