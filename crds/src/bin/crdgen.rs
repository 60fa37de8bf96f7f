//! Writes the CRDs to `crds/yaml/`, or with `--check` says which of them are stale.

use std::path::Path;
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
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("yaml");
    match run(&folder, check) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("crdgen: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(folder: &Path, check: bool) -> Result<(), String> {
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for definition in crd::definitions() {
        let path = folder.join(crd::file_name(&definition));
        let text =
            crd::to_yaml(&definition).map_err(|error| format!("{}: {error}", path.display()))?;
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
