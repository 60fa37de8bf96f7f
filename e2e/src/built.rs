//! Programs of this workspace, brought up to date before they are used.

use std::path::PathBuf;
use std::process::Command;

use thiserror::Error;

#[derive(Debug, Error)]
pub enum BuildError {
    #[error("cannot run cargo: {0}")]
    Cargo(#[source] std::io::Error),
    #[error("cargo build -p {package} failed")]
    Failed { package: String },
    #[error("cargo built no program {program}")]
    NoProgram { program: String },
}

/// Builds `program` of `package` and says where it is.
///
/// A guest must never run yesterday's probe, so this asks cargo even where the file exists.
///
/// # Errors
/// It does not build.
pub fn program(package: &str, program: &str) -> Result<PathBuf, BuildError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args([
        "build",
        "--quiet",
        "--package",
        package,
        "--bin",
        program,
        "--message-format=json-render-diagnostics",
    ]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command
        .current_dir(crate::guest::repository())
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(BuildError::Cargo)?;
    if !output.status.success() {
        return Err(BuildError::Failed { package: package.to_owned() });
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == program)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .ok_or_else(|| BuildError::NoProgram { program: program.to_owned() })
}
