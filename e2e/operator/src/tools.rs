//! The real programs a user has: kubectl and helm; and the one that judges health as GitOps tools do.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use securitywatch_e2e::guest::{cache, repository};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::Result;

/// A program of `e2e/cluster/build`.
///
/// # Errors
/// It is not built.
pub fn cluster_program(name: &str) -> Result<PathBuf> {
    let path = cache().join("cluster/bin").join(name);
    if path.is_file() {
        Ok(path)
    } else {
        Err(format!("there is no {}: run e2e/cluster/build", path.display()).into())
    }
}

/// kubectl for one cluster and user.
#[derive(Debug, Clone)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    /// The one built with the control plane, so of its release.
    ///
    /// # Errors
    /// It is not built.
    pub fn new(kubeconfig: &Path) -> Result<Self> {
        Ok(Self { program: cluster_program("kubectl")?, kubeconfig: kubeconfig.to_owned() })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.env("KUBECONFIG", &self.kubeconfig).args(arguments).current_dir(repository());
        command
    }

    /// What it prints on standard output.
    ///
    /// # Errors
    /// It ends with another code than 0; the error is what it said.
    pub async fn run(&self, arguments: &[&str]) -> Result<String> {
        said(self.command(arguments).output().await?, arguments)
    }

    /// The same with a document on standard input (`-f -`).
    ///
    /// # Errors
    /// As [`Kubectl::run`].
    pub async fn run_with(&self, arguments: &[&str], input: &str) -> Result<String> {
        said(self.output_with(arguments, input).await?, arguments)
    }

    /// Output and exit code, whatever they are.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn output_with(&self, arguments: &[&str], input: &str) -> Result<Output> {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes()).await?;
        }
        Ok(child.wait_with_output().await?)
    }
}

fn said(output: Output, arguments: &[&str]) -> Result<String> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(format!("kubectl {}: {}", arguments.join(" "), text.trim()).into())
}

/// What helm prints.
///
/// # Errors
/// It cannot be had, or ends with another code than 0.
pub async fn helm(kubeconfig: &Path, arguments: &[&str]) -> Result<String> {
    let path = Command::new(repository().join("e2e/helm")).output().await?;
    if !path.status.success() {
        return Err("e2e/helm found no helm".into());
    }
    let path = String::from_utf8_lossy(&path.stdout).trim().to_owned();
    let output = Command::new(path)
        .env("KUBECONFIG", kubeconfig)
        .args(arguments)
        .current_dir(repository())
        .output()
        .await?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(format!("helm {}: {}", arguments.join(" "), text.trim()).into())
}
