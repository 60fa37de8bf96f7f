//! Writes the "newc" archives that the kernel unpacks as its first root file system.
//!
//! The kernel unpacks archives that stand one after another, so a guest gets a cached base and, behind it, a
//! small archive with what changes from run to run. Owners and modes are what this says, whoever runs it.

const TRAILER: &str = "TRAILER!!!";
const FOLDER: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const ALIGNMENT: usize = 4;

/// An archive in memory. Files belong to root.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    folders: std::collections::BTreeSet<String>,
}

impl Archive {
    /// Adds a file at an absolute path, and the folders above it. `mode` holds the permission bits.
    pub fn file(&mut self, path: &str, content: &[u8], mode: u32) {
        let name = path.trim_start_matches('/');
        for (end, _) in name.match_indices('/') {
            if self.folders.insert(name[..end].to_owned()) {
                self.entry(&name[..end], &[], FOLDER | 0o755);
            }
        }
        self.entry(name, content, REGULAR | mode);
    }

    /// The finished archive.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.entry(TRAILER, &[], 0);
        self.bytes
    }

    fn entry(&mut self, name: &str, content: &[u8], mode: u32) {
        self.entries += 1;
        // ino, mode, uid, gid, nlink, mtime, filesize, devmajor, devminor, rdevmajor, rdevminor, namesize, check
        let fields = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            u32::try_from(content.len()).unwrap_or(u32::MAX),
            0,
            0,
            0,
            0,
            u32::try_from(name.len() + 1).unwrap_or(u32::MAX),
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn cpio_itself_lists_what_was_added() {
        let mut archive = Archive::default();
        archive.file("/a/b/one", b"12345", 0o755);
        archive.file("/a/two", b"", 0o600);
        let bytes = archive.finish();

        let Ok(mut cpio) = Command::new("cpio")
            .args(["-t", "-v", "--quiet"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
        else {
            println!("skipped: cpio is not installed");
            return;
        };
        cpio.stdin.take().unwrap().write_all(&bytes).unwrap();
        let listing = String::from_utf8(cpio.wait_with_output().unwrap().stdout).unwrap();

        let lines: Vec<_> =
            listing.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
        let seen: Vec<_> =
            lines.iter().map(|words| (words[0], words[2], words[4], words[8])).collect();
        assert_eq!(
            seen,
            [
                ("drwxr-xr-x", "root", "0", "a"),
                ("drwxr-xr-x", "root", "0", "a/b"),
                ("-rwxr-xr-x", "root", "5", "a/b/one"),
                ("-rw-------", "root", "0", "a/two"),
            ]
        );
    }
}
