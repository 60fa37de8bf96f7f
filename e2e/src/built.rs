//! Programs of this workspace, brought up to date before they are used.

use std::path::PathBuf;
use std::process::Command;

use thiserror::Error;

#[derive(Debug, Error)]
pub enum BuildError {
    #[error("cannot run cargo: {0}")]
    Cargo(#[source] std::io::Error),
    #[error("cargo build --workspace --bins failed")]
    Failed,
    #[error("there is no program {program}: run cargo build --workspace --bins")]
    NoProgram { program: String },
}

/// Set by whoever has just built the workspace: programs are taken as they are.
const BUILT: &str = "SECURITYWATCH_BUILT";

/// Builds the workspace's programs and says where `program` is.
///
/// A guest must never run yesterday's probe, so this asks cargo even where the file exists. It asks for all programs
/// at once: for one alone cargo would choose other features for the shared dependencies and build those again.
///
/// # Errors
/// They do not build, or there is no such program.
pub fn program(program: &str) -> Result<PathBuf, BuildError> {
    if std::env::var_os(BUILT).is_none() {
        build()?;
    }
    let here = std::env::current_exe().map_err(BuildError::Cargo)?;
    // Tests are in a folder below the programs.
    here.ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
        .ok_or_else(|| BuildError::NoProgram { program: program.to_owned() })
}

fn build() -> Result<(), BuildError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--workspace", "--bins"]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let built = command.current_dir(crate::guest::repository()).status();
    if built.map_err(BuildError::Cargo)?.success() { Ok(()) } else { Err(BuildError::Failed) }
}
