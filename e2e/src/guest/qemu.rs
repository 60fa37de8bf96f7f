//! Starts QEMU, reads its console, ends it in time and reads the result disk.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::{Clock, Console, Guest, GuestError, NETWORK_HOST, Outcome, images, init};

/// The file is sparse: only what a guest writes takes room.
const RESULT_DISK_BYTES: u64 = 256 << 20;
const TAIL_LINES: usize = 40;

/// Runs the guest with `overlay` behind its root file system.
pub(super) fn run(guest: &Guest, overlay: &[u8]) -> Result<Outcome, GuestError> {
    let folder = tempfile::tempdir()?;
    let initrd = folder.path().join("initrd");
    fs::copy(images::rootfs(guest.rootfs)?, &initrd)?;
    File::options().append(true).open(&initrd)?.write_all(overlay)?;
    let disk = folder.path().join("result");
    File::create(&disk)?.set_len(RESULT_DISK_BYTES)?;

    let started = Instant::now();
    let child = command(guest, &images::vmlinuz(guest.kernel)?, &initrd, &disk)
        .spawn()
        .map_err(GuestError::Start)?;
    let console = watch(Running(child), guest)?;
    let elapsed = started.elapsed();

    if let Some(panic) = console.find("Kernel panic") {
        return Err(GuestError::Panicked { console: around(&console, panic) });
    }
    let mut files = read_result(&disk)?;
    let exit_code = files
        .remove(init::EXIT_CODE)
        .and_then(|text| String::from_utf8_lossy(&text).trim().parse().ok())
        .ok_or_else(|| GuestError::NoResult { console: tail(&console) })?;
    Ok(Outcome { exit_code, console, files, elapsed })
}

fn command(guest: &Guest, vmlinuz: &Path, initrd: &Path, disk: &Path) -> Command {
    // The guest dies with this process, however that ends.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", "qemu-system-x86_64"]);
    command.args(["-M", "q35", "-cpu", "max", "-m", &guest.memory_mib.to_string()]);
    match guest.clock {
        Clock::Real { cpus } => {
            command.args(["-accel", "tcg,thread=multi", "-smp", &cpus.to_string()])
        }
        Clock::Instructions { shift } => command.args([
            "-accel",
            "tcg,thread=single",
            "-smp",
            "1",
            "-icount",
            &format!("shift={shift},sleep=off"),
        ]),
    };
    command.args(["-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"]);
    command.args([
        "-drive",
        &format!("file={},if=none,id=result,format=raw", disk.display()),
        "-device",
        "nvme,drive=result,serial=result",
    ]);
    if guest.network {
        command.args([
            "-netdev",
            &format!("user,id=net,net={NETWORK_HOST}/24,host={NETWORK_HOST}"),
            "-device",
            "virtio-net-pci,netdev=net,romfile=",
        ]);
    }
    command.arg("-kernel").arg(vmlinuz).arg("-initrd").arg(initrd);
    // A failed attach must not go unseen behind a kernel that limps on: an oops is a panic.
    let line = format!(
        "console=ttyS0 quiet panic=-1 oops=panic lsm=lockdown,capability,bpf rdinit={} {}",
        guest.rootfs.init().0,
        guest.kernel_args
    );
    command.args(["-append", line.trim_end()]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    command
}

/// Ends QEMU when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already in the usual case; there is nothing to do about either error here.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Collects the console until QEMU ends or the time is over.
fn watch(mut running: Running, guest: &Guest) -> Result<String, GuestError> {
    let deadline = Instant::now() + guest.timeout;
    let mut output = running
        .0
        .stdout
        .take()
        .ok_or_else(|| GuestError::Start(io::ErrorKind::BrokenPipe.into()))?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = output.read(&mut buffer) {
            if sender.send(buffer[..length].to_vec()).is_err() {
                break;
            }
        }
    });
    let mut console = Vec::new();
    loop {
        match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(bytes) => {
                if guest.console == Console::Shown {
                    let mut standard_output = io::stdout().lock();
                    standard_output.write_all(&bytes)?;
                    standard_output.flush()?;
                }
                console.extend(bytes);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                return Err(GuestError::TimedOut {
                    after: guest.timeout,
                    console: tail(&readable(&console)),
                });
            }
        }
    }
    wait(&mut running.0, deadline.max(Instant::now() + Duration::from_secs(5)))?;
    Ok(readable(&console))
}

/// The console closed, so QEMU is about to end.
fn wait(child: &mut Child, deadline: Instant) -> io::Result<()> {
    while child.try_wait()?.is_none() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// A serial console ends its lines with carriage returns.
fn readable(console: &[u8]) -> String {
    String::from_utf8_lossy(console).replace('\r', "")
}

fn tail(console: &str) -> String {
    let lines: Vec<&str> = console.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// Lines before and after a byte of the console: a panic's call trace may be longer than any tail.
fn around(console: &str, at: usize) -> String {
    let (before, after) = console.split_at(at);
    let after: Vec<&str> = after.lines().take(TAIL_LINES).collect();
    tail(before) + &after.join("\n")
}

/// The regular files of the tar archive on the disk; a disk that was never written holds none.
fn read_result(disk: &Path) -> Result<BTreeMap<String, Vec<u8>>, GuestError> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(File::open(disk)?).entries()? {
        let mut entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = entry.path()?.to_string_lossy().trim_start_matches("./").to_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        files.insert(name, content);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_the_end() {
        let console: String = (0..100).map(|line| format!("{line}\n")).collect();
        assert_eq!(tail(&console).lines().next(), Some("60"));
        assert_eq!(tail(&console).lines().last(), Some("99"));
        assert_eq!(tail("one\ntwo"), "one\ntwo");
    }

    #[test]
    fn a_panic_is_shown_with_what_came_before_however_long_its_trace() {
        let trace: String = (0..100).map(|line| format!("trace {line}\n")).collect();
        let console = format!("{trace}oops\n[ 1.0] Kernel panic - why\n{trace}");
        let shown = around(&console, console.find("Kernel panic").unwrap());
        assert!(shown.contains("trace 99\noops\n[ 1.0] Kernel panic - why\ntrace 0\n"), "{shown}");
        assert!(shown.lines().count() <= 2 * TAIL_LINES);
    }

    #[test]
    fn carriage_returns_go() {
        assert_eq!(readable(b"a\r\nb\r\n"), "a\nb\n");
    }
}
