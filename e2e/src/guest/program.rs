//! Takes a program of this machine into a guest together with the libraries it links.
//!
//! The guest's own C library may be older than this machine's, or missing. So the libraries go to a folder of
//! their own and the program starts through its own loader: nothing of the guest's root file system changes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::GuestError;
use super::cpio::Archive;

const LIBRARIES: &str = "/opt/host/lib";
const PROGRAMS: &str = "/opt/host/bin";

/// Adds `program` to be called as `path` in the guest.
pub(super) fn add(archive: &mut Archive, program: &Path, path: &str) -> Result<(), GuestError> {
    let (loader, libraries) = libraries(program)?;
    let Some(loader) = loader else {
        archive.file(path, &stripped(program)?, 0o755);
        return Ok(());
    };
    for library in libraries.iter().chain([&loader]) {
        archive.file(&format!("{LIBRARIES}/{}", file_name(library)), &fs::read(library)?, 0o755);
    }
    let name = file_name(Path::new(path));
    archive.file(&format!("{PROGRAMS}/{name}"), &stripped(program)?, 0o755);
    let start = format!(
        "#!/bin/sh\nexec {LIBRARIES}/{} --argv0 {name} --library-path {LIBRARIES} {PROGRAMS}/{name} \"$@\"\n",
        file_name(&loader)
    );
    archive.file(path, start.as_bytes(), 0o755);
    Ok(())
}

/// The dynamic loader (none for a static program) and the libraries, by `ldd`.
fn libraries(program: &Path) -> Result<(Option<PathBuf>, Vec<PathBuf>), GuestError> {
    let output = Command::new("ldd").arg(program).env("LC_ALL", "C").output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    if complaint.contains("not a dynamic executable") || text.contains("statically linked") {
        return Ok((None, Vec::new()));
    }
    if !output.status.success() || text.contains("not found") {
        return Err(GuestError::Libraries {
            program: program.to_owned(),
            output: format!("{text}{complaint}"),
        });
    }
    let mut loader = None;
    let mut libraries = Vec::new();
    for line in text.lines().map(str::trim) {
        // "libelf.so.1 => /lib/.../libelf.so.1 (0x...)", "/lib64/ld-linux-x86-64.so.2 (0x...)", "linux-vdso.so.1 (0x...)"
        let path =
            line.rsplit("=> ").next().and_then(|rest| rest.split(" (").next()).unwrap_or_default();
        if !path.starts_with('/') {
            continue;
        }
        if line.contains("=> ") {
            libraries.push(PathBuf::from(path));
        } else {
            loader = Some(PathBuf::from(path));
        }
    }
    Ok((loader, libraries))
}

/// Debug information would double the time a guest takes to unpack.
fn stripped(program: &Path) -> Result<Vec<u8>, GuestError> {
    let folder = tempfile::tempdir()?;
    let copy = folder.path().join("stripped");
    let done = Command::new("strip")
        .arg("-o")
        .arg(&copy)
        .arg(program)
        .output()
        .is_ok_and(|output| output.status.success());
    Ok(fs::read(if done { &copy } else { program })?)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_dynamic_program_has_a_loader_and_the_c_library() {
        let (loader, libraries) = libraries(Path::new("/bin/sh")).unwrap();
        assert!(file_name(&loader.unwrap()).starts_with("ld-"));
        assert!(libraries.iter().any(|library| file_name(library).starts_with("libc.")));
    }

    #[test]
    fn a_program_that_is_no_program_is_refused_or_plain() {
        let error = libraries(Path::new("/nonexistent")).unwrap_err();
        assert!(error.to_string().contains("/nonexistent"), "{error}");
    }
}
