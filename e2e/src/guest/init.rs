//! The first process of a guest: a shell script that mounts, brings up the network, runs the test's script in
//! its own process and hands back what that left in `/out`.

use std::fmt::Write as _;

use super::{Guest, NETWORK_GUEST};

/// Where the exit code travels, among the files of `/out`.
pub(super) const EXIT_CODE: &str = ".exit-code";
/// Where modules for the network card are put.
pub(super) const MODULES: &str = "/opt/modules";

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const MOUNTS: [(&str, &str); 8] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("securityfs", "/sys/kernel/security"),
    ("tracefs", "/sys/kernel/tracing"),
    ("bpf", "/sys/fs/bpf"),
    ("cgroup2", "/sys/fs/cgroup"),
    ("tmpfs", "/tmp"),
];

/// A raw disk is the fastest way out of a guest (30 ms per MB; a serial line takes over a second), and the
/// NVMe driver is built into every kernel of the matrix.
const RESULT_DISK: &str = "/dev/nvme0n1";

/// The text of the script.
pub(super) fn script(guest: &Guest) -> String {
    let (_, shell) = guest.rootfs.init();
    // Exported: without it a program started by another finds `/bin/echo` where the recordings show `/usr/bin/echo`.
    let mut text = format!("#!{shell}\nexport PATH={PATH}\n");
    for (kind, target) in MOUNTS {
        let _ = writeln!(text, "mount -t {kind} {kind} {target}");
    }
    let _ = writeln!(text, "echo {} > /proc/sys/kernel/hostname", guest.hostname);
    text.push_str("ip link set lo up\n");
    for address in &guest.addresses {
        let _ = writeln!(text, "ip addr add {address} dev lo");
    }
    if guest.network {
        let _ = writeln!(text, "for module in {MODULES}/*.ko; do insmod $module; done");
        let _ = writeln!(text, "ip link set eth0 up\nip addr add {NETWORK_GUEST}/24 dev eth0");
    }
    // The script runs in this very process, for a recorded trigger is a child of pid 1; so its `exit` must not
    // end pid 1 before the results are out.
    let _ = write!(
        text,
        r#"mkdir -p /out
finish() {{
  code=$?
  trap - EXIT
  echo $code > /out/{EXIT_CODE}
  {stay_awake}
  tries=0
  while [ ! -b {RESULT_DISK} ] && [ $tries -lt 200 ]; do tries=$((tries + 1)); sleep 0.05; done
  tar -cf {RESULT_DISK} -C /out .
  sync
  echo o > /proc/sysrq-trigger
  while :; do sleep 1; done
}}
trap finish EXIT
cd /
{script}
exit $?
"#,
        stay_awake = if guest.clock.jumps() { STAY_AWAKE } else { ":" },
        script = guest.script,
    );
    text
}

/// Where the clock jumps over idle time, a disk that answers in real time would seem to take for ever.
const STAY_AWAKE: &str = "while :; do :; done &";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::{Kernel, Rootfs};

    #[test]
    fn the_golden_guest_starts_as_the_recorded_parent() {
        let guest = Guest::new(Kernel::V6_1, Rootfs::Golden, "true");
        assert!(script(&guest).starts_with("#!/usr/bin/bash\n"));
        assert_eq!(Rootfs::Golden.init().0, "/t/run.sh");
    }
}
