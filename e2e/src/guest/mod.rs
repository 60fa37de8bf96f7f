//! Boots a kernel with a root file system in memory, runs a script, brings back files and an exit code.
//!
//! Emulation in software everywhere: it needs no `/dev/kvm`, a boot takes two to three seconds, and with
//! [`Clock::Instructions`] a guest's clock counts instructions, so that waiting costs nothing and figures repeat.

mod cpio;
mod images;
mod init;
mod program;
mod qemu;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

pub use images::{Kernel, Rootfs, cache, repository};

/// What goes wrong with a guest itself; a script that fails is an [`Outcome`].
#[derive(Debug, Error)]
pub enum GuestError {
    #[error("{} is missing: run `e2e/setup guests` first", .0.display())]
    NotPrepared(PathBuf),
    #[error("cannot find the libraries of {}:\n{output}", .program.display())]
    Libraries { program: PathBuf, output: String },
    #[error("cannot start qemu-system-x86_64 (run `e2e/setup guests`): {0}")]
    Start(#[source] std::io::Error),
    #[error("the guest was stopped after {after:?}; the end of its console:\n{console}")]
    TimedOut { after: Duration, console: String },
    #[error("the guest's kernel panicked:\n{console}")]
    Panicked { console: String },
    #[error("the guest ended without a result; the end of its console:\n{console}")]
    NoResult { console: String },
    #[error("guest: {0}")]
    Io(#[from] std::io::Error),
}

/// Where a guest with a network card finds the servers of this machine's loop-back interface.
///
/// Lies in the network that the sample policies take for a cluster's services, as a real Parseable would.
pub const NETWORK_HOST: &str = "10.96.0.2";
/// The guest's own address there.
pub const NETWORK_GUEST: &str = "10.96.0.15";

/// How a guest's time passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// With the machine's, on this many CPUs.
    Real { cpus: u8 },
    /// By the count of executed instructions, 2^shift nanoseconds each, on one CPU; idle time is skipped.
    Instructions { shift: u8 },
}

impl Clock {
    const fn jumps(self) -> bool {
        matches!(self, Self::Instructions { .. })
    }
}

/// Where the console's lines go while the guest runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Console {
    /// Kept for the [`Outcome`] alone.
    Kept,
    /// Also shown on standard output at once.
    Shown,
}

/// A guest to be run.
#[derive(Debug, Clone)]
pub struct Guest {
    pub kernel: Kernel,
    pub rootfs: Rootfs,
    /// Lines for the guest's shell, run by pid 1. What they leave in `/out` comes back.
    pub script: String,
    pub memory_mib: u32,
    pub clock: Clock,
    /// Real time.
    pub timeout: Duration,
    pub hostname: String,
    /// Addresses of the loop-back interface beyond 127.0.0.1 and ::1, with prefix length.
    pub addresses: Vec<String>,
    /// A network card: the machine's own loop-back servers are at [`NETWORK_HOST`].
    pub network: bool,
    /// Appended to the kernel's command line.
    pub kernel_args: String,
    pub console: Console,
    files: Vec<(String, Vec<u8>, u32)>,
    programs: Vec<(PathBuf, String)>,
}

impl Guest {
    /// A guest with 1 GiB, two CPUs, the machine's clock and three minutes to live: an emulated one on a busy machine is slow.
    #[must_use]
    pub fn new(kernel: Kernel, rootfs: Rootfs, script: impl Into<String>) -> Self {
        Self {
            kernel,
            rootfs,
            script: script.into(),
            memory_mib: 1024,
            clock: Clock::Real { cpus: 2 },
            timeout: Duration::from_secs(180),
            hostname: "goldnode".to_owned(),
            addresses: vec!["10.9.9.9/32".to_owned(), "93.184.215.14/32".to_owned()],
            network: false,
            kernel_args: String::new(),
            console: Console::Kept,
            files: Vec::new(),
            programs: Vec::new(),
        }
    }

    /// Adds a file at an absolute path; `mode` holds the permission bits.
    #[must_use]
    pub fn file(mut self, path: impl Into<String>, content: impl Into<Vec<u8>>, mode: u32) -> Self {
        self.files.push((path.into(), content.into(), mode));
        self
    }

    /// Adds a program of this machine, with its libraries, to be called by the absolute `path`.
    #[must_use]
    pub fn program(mut self, program: impl AsRef<Path>, path: impl Into<String>) -> Self {
        self.programs.push((program.as_ref().to_owned(), path.into()));
        self
    }

    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    #[must_use]
    pub const fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Boots, runs the script, powers off.
    ///
    /// # Errors
    /// The images are missing, QEMU does not start, the kernel panics, or the time is over.
    pub fn run(&self) -> Result<Outcome, GuestError> {
        qemu::run(self, &self.overlay()?)
    }

    /// The archive behind the cached root file system.
    fn overlay(&self) -> Result<Vec<u8>, GuestError> {
        let mut archive = cpio::Archive::default();
        archive.file(self.rootfs.init().0, init::script(self).as_bytes(), 0o755);
        for (path, content, mode) in &self.files {
            archive.file(&self.rootfs.resolve(path), content, *mode);
        }
        for (program, path) in &self.programs {
            program::add(&mut archive, program, &self.rootfs.resolve(path))?;
        }
        if self.network {
            for (name, content) in images::network_modules(self.kernel)? {
                archive.file(&format!("{}/{name}", init::MODULES), &content, 0o644);
            }
        }
        Ok(archive.finish())
    }
}

/// What a guest's script did.
#[derive(Debug)]
pub struct Outcome {
    pub exit_code: i32,
    /// All of the console: the script's output and what the kernel said.
    pub console: String,
    /// The files of `/out`, by their path below it.
    pub files: BTreeMap<String, Vec<u8>>,
    /// From the start of QEMU to its end.
    pub elapsed: Duration,
}

impl Outcome {
    /// A file of `/out` as text, empty when it is not there.
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        self.files
            .get(name)
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .unwrap_or_default()
    }

    /// Complaints of the kernel that are no panic.
    #[must_use]
    pub fn kernel_warnings(&self) -> Vec<&str> {
        self.console
            .lines()
            .filter(|line| ["WARNING: ", "BUG: ", "Oops: "].iter().any(|word| line.contains(word)))
            .collect()
    }
}
