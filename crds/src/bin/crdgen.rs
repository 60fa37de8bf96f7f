//! Writes the CRDs to `crds/yaml/` and into the chart, which can only read what lies in its own folder, and
//! the schema that files are checked by into the source; or with `--check` says which of them are stale.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use securitywatch_api::crd;

fn main() -> ExitCode {
    let check = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--check") => true,
        Some(other) => {
            eprintln!("crdgen: unknown argument {other}; usage: crdgen [--check]");
            return ExitCode::from(2);
        }
    };
    match run(Path::new(env!("CARGO_MANIFEST_DIR")), check) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("crdgen: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(root: &Path, check: bool) -> Result<(), String> {
    for (path, text) in files(root).map_err(|error| error.to_string())? {
        if check {
            let found = std::fs::read_to_string(&path).unwrap_or_default();
            if found != text {
                return Err(format!("{} is stale: run crdgen", path.display()));
            }
        } else {
            std::fs::write(&path, &text).map_err(|error| format!("{}: {error}", path.display()))?;
            println!("{} {} bytes", path.display(), text.len());
        }
    }
    Ok(())
}

fn files(root: &Path) -> Result<Vec<(PathBuf, String)>, serde_json::Error> {
    let mut files = vec![(root.join("src/document/watch.schema.json"), crd::document_schema()?)];
    for definition in crd::definitions() {
        let text = crd::to_yaml(&definition)?;
        for folder in crd::FOLDERS {
            files.push((root.join(folder).join(crd::file_name(&definition)), text.clone()));
        }
    }
    Ok(files)
}
