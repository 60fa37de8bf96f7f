//! The guests themselves: what later tests rely on.
//!
//! Needs the images of `e2e/setup guests`; `make test` prepares them and runs these.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use securitywatch_e2e::guest::{Clock, Guest, GuestError, Kernel, NETWORK_HOST, Rootfs};

#[test]
#[ignore = "boots guest kernels: make test"]
fn every_kernel_boots_every_root_with_what_the_probe_needs() {
    for kernel in Kernel::ALL {
        for rootfs in [Rootfs::Minimal, Rootfs::Golden] {
            let script = "
                uname -r > /out/release
                cat /sys/kernel/security/lsm > /out/lsm
                [ -r /sys/kernel/btf/vmlinux ] && [ -d /sys/fs/bpf ] && [ -e /sys/kernel/tracing/events ] || exit 3
                cat /proc/sys/kernel/hostname > /out/hostname
                cat /proc/1/cmdline | tr '\\0' ' ' > /out/first-process
                ip addr show lo > /out/addresses
            ";
            let outcome = Guest::new(kernel, rootfs, script).run().unwrap();

            assert_eq!(outcome.exit_code, 0, "{}", outcome.console);
            assert!(
                outcome.text("release").starts_with(kernel.series()),
                "{}",
                outcome.text("release")
            );
            assert!(outcome.text("lsm").contains("bpf"), "{}", outcome.text("lsm"));
            assert_eq!(outcome.text("hostname"), "goldnode\n");
            for address in ["127.0.0.1/8", "::1/128", "10.9.9.9/32", "93.184.215.14/32"] {
                assert!(
                    outcome.text("addresses").contains(address),
                    "{}",
                    outcome.text("addresses")
                );
            }
            if rootfs == Rootfs::Golden {
                assert_eq!(outcome.text("first-process"), "/usr/bin/bash /t/run.sh ");
            }
            assert_eq!(outcome.kernel_warnings(), Vec::<&str>::new());
        }
    }
}

#[test]
#[ignore = "boots guest kernels: make test"]
fn files_go_in_and_come_back_and_the_exit_code_is_the_scripts() {
    let content: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let script = "mkdir /out/folder; cp /in/data /out/folder/data; /in/tool > /out/tool; exit 7";
    let outcome = Guest::new(Kernel::V6_1, Rootfs::Minimal, script)
        .file("/in/data", content.as_slice(), 0o644)
        .file("/in/tool", "#!/bin/sh\necho tool\n", 0o755)
        .run()
        .unwrap();

    assert_eq!(outcome.exit_code, 7);
    assert!(outcome.files["folder/data"] == content, "12 MB changed on their way");
    assert_eq!(outcome.text("tool"), "tool\n");
    assert_eq!(outcome.files.len(), 2);
}

#[test]
#[ignore = "boots guest kernels: make test"]
fn a_program_of_this_machine_runs_where_its_libraries_are_not() {
    for rootfs in [Rootfs::Minimal, Rootfs::Golden] {
        let script = "/bin/host-date -u -d @0 +%Y > /out/year; /bin/true";
        let guest =
            Guest::new(Kernel::V6_12, rootfs, script).program("/bin/date", "/bin/host-date");
        let outcome = guest.run().unwrap();
        assert_eq!(
            (outcome.text("year").as_str(), outcome.exit_code),
            ("1970\n", 0),
            "{}",
            outcome.console
        );
    }
}

#[test]
#[ignore = "boots guest kernels: make test"]
fn a_panic_is_reported_with_what_the_kernel_said() {
    let error = Guest::new(Kernel::V6_1, Rootfs::Minimal, "echo c > /proc/sysrq-trigger")
        .run()
        .unwrap_err();
    assert!(
        matches!(&error, GuestError::Panicked { console } if console.contains("sysrq")),
        "{error}"
    );
}

#[test]
#[ignore = "boots guest kernels: make test"]
fn a_guest_that_hangs_is_ended_and_its_last_words_are_shown() {
    let started = Instant::now();
    let guest = Guest::new(Kernel::V6_1, Rootfs::Minimal, "echo last words; sleep 1000")
        .timeout(Duration::from_secs(12));
    let error = guest.run().unwrap_err();
    assert!(
        matches!(&error, GuestError::TimedOut { console, .. } if console.contains("last words")),
        "{error}"
    );
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
#[ignore = "boots guest kernels: make test"]
fn a_guest_that_counts_instructions_waits_for_nothing() {
    let script = "cat /proc/uptime > /out/before; sleep 600; cat /proc/uptime > /out/after";
    let outcome = Guest::new(Kernel::V6_1, Rootfs::Minimal, script)
        .clock(Clock::Instructions { shift: 2 })
        .run()
        .unwrap();

    let uptime = |name: &str| outcome.text(name).split(' ').next().unwrap().parse::<f64>().unwrap();
    assert!((uptime("after") - uptime("before") - 600.0).abs() < 1.0, "{:?}", outcome.files);
    assert!(outcome.elapsed < Duration::from_secs(60));
}

#[test]
#[ignore = "boots guest kernels: make test"]
fn servers_of_this_machine_can_be_reached() {
    for kernel in Kernel::ALL {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let answer = std::thread::spawn(move || {
            let (mut connection, _) = server.accept().unwrap();
            std::io::Write::write_all(&mut connection, b"hello from the host\n").unwrap();
        });
        let mut guest = Guest::new(
            kernel,
            Rootfs::Minimal,
            format!("nc {NETWORK_HOST} {port} < /dev/null > /out/answer"),
        );
        guest.network = true;
        assert_eq!(guest.run().unwrap().text("answer"), "hello from the host\n");
        answer.join().unwrap();
    }
}
