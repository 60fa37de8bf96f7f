//! The kernels and root file systems that `e2e/setup guests` left in the cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::GuestError;

/// A kernel series of the test matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// Debian bookworm's own, the one the recorded events come from.
    V6_1,
    /// Debian bookworm's newer one.
    V6_12,
}

impl Kernel {
    /// The matrix of `make test`.
    pub const ALL: [Self; 2] = [Self::V6_1, Self::V6_12];

    /// `6.1`
    #[must_use]
    pub const fn series(self) -> &'static str {
        match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
        }
    }
}

impl FromStr for Kernel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kernel| kernel.series() == text)
            .ok_or_else(|| format!("no kernel {text}: there are 6.1 and 6.12"))
    }
}

/// A root file system that lives in the guest's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rootfs {
    /// A static busybox and nothing else.
    Minimal,
    /// Debian bookworm with curl, wget, iproute2, netcat, strace...: the one the recorded events come from.
    Golden,
}

impl Rootfs {
    const fn name(self) -> &'static str {
        match self {
            Self::Minimal => "minimal",
            Self::Golden => "golden",
        }
    }

    /// Path of the first process and the interpreter it names. The golden one is what the recordings show as
    /// the trigger's parent: `/usr/bin/bash /t/run.sh`, pid 1.
    pub(super) const fn init(self) -> (&'static str, &'static str) {
        match self {
            Self::Minimal => ("/init", "/bin/sh"),
            Self::Golden => ("/t/run.sh", "/usr/bin/bash"),
        }
    }
}

impl Rootfs {
    /// Where an absolute path really lies. Debian's `/bin` is a link to `/usr/bin`, and an archive entry for a
    /// folder `/bin` would replace the link.
    pub(super) fn resolve(self, path: &str) -> String {
        let linked =
            ["/bin/", "/sbin/", "/lib/", "/lib64/"].iter().any(|link| path.starts_with(link));
        if self == Self::Golden && linked { format!("/usr{path}") } else { path.to_owned() }
    }
}

impl FromStr for Rootfs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Minimal, Self::Golden]
            .into_iter()
            .find(|rootfs| rootfs.name() == text)
            .ok_or_else(|| format!("no root file system {text}: there are minimal and golden"))
    }
}

/// Where the images are: `SECURITYWATCH_CACHE`, or `.cache` in the repository.
#[must_use]
pub fn cache() -> PathBuf {
    std::env::var_os("SECURITYWATCH_CACHE")
        .map_or_else(|| repository().join(".cache"), PathBuf::from)
}

/// The repository this was built from.
#[must_use]
pub fn repository() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}

/// Path of the kernel's bootable image.
pub(super) fn vmlinuz(kernel: Kernel) -> Result<PathBuf, GuestError> {
    present(cache().join(format!("kernel-{}", kernel.series())).join("vmlinuz"))
}

/// The modules that bring up a network card, in loading order: name and content.
pub(super) fn network_modules(kernel: Kernel) -> Result<Vec<(String, Vec<u8>)>, GuestError> {
    let folder = present(cache().join(format!("kernel-{}", kernel.series())).join("modules"))?;
    let mut names: Vec<String> = fs::read_dir(&folder)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_, std::io::Error>>()?;
    names.sort();
    names
        .into_iter()
        .map(|name| {
            let content = fs::read(folder.join(&name))?;
            Ok((name, content))
        })
        .collect()
}

/// Path of the root file system's archive.
pub(super) fn rootfs(rootfs: Rootfs) -> Result<PathBuf, GuestError> {
    present(cache().join(format!("rootfs-{}.cpio", rootfs.name())))
}

fn present(path: PathBuf) -> Result<PathBuf, GuestError> {
    if path.exists() { Ok(path) } else { Err(GuestError::NotPrepared(path)) }
}
