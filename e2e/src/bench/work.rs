//! Work per operation, counted in instructions: a guest whose clock advances 4 ns with each of them.
//!
//! One CPU, so that the probe's own work shows. What it has not done when a storm's loop ends is billed to the
//! same storm as CPU time, and the next storm starts when it has come to rest.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use super::figures::{against, megabytes};
use super::storm::{Programs, Storm};
use super::{BenchError, folder, io};
use crate::guest::{Clock, Guest, Kernel, Outcome, Rootfs};

const SHIFT: u8 = 2;
const LIMIT: Duration = Duration::from_secs(900);
const ROUNDS: usize = 3;

/// One line of the table.
struct Row {
    name: &'static str,
    operation: &'static str,
    count: u32,
    what: &'static str,
    /// Microseconds over nothing loaded, both policies loaded; `None`: a share instead.
    aim_us: Option<f64>,
    /// What was measured of Tetragon: nothing loaded, no policy, both policies.
    tetragon: [&'static str; 3],
}

/// The share that an exec may cost more.
const EXEC_AIM: f64 = 0.25;
const MEMORY_AIM_MB: f64 = 40.0;

const ROWS: [Row; 6] = [
    Row {
        name: "exec+exit of a static program",
        operation: "exec",
        count: 400,
        what: "/t/nop",
        aim_us: None,
        tetragon: ["2,845", "4,767-5,543", "5,161-5,905"],
    },
    Row {
        name: "open+read+close, no match",
        operation: "open",
        count: 4000,
        what: "/t/plain",
        aim_us: Some(12.0),
        tetragon: ["42.6", "42.6", "92.3"],
    },
    Row {
        name: "open+read+close, /etc/passwd",
        operation: "open",
        count: 4000,
        what: "/etc/passwd",
        aim_us: Some(25.0),
        tetragon: ["42.6", "42.6", "94.8"],
    },
    Row {
        name: "open+read+close, match: event",
        operation: "open",
        count: 1500,
        what: "/etc/shadow",
        aim_us: Some(25.0),
        tetragon: ["-", "-", "-"],
    },
    Row {
        name: "connect, no match",
        operation: "connect",
        count: 3000,
        what: "127.0.0.1",
        aim_us: Some(8.0),
        tetragon: ["126.3", "127.0", "152.2"],
    },
    Row {
        name: "connect, match: event",
        operation: "connect",
        count: 1500,
        what: "93.184.215.14",
        aim_us: Some(50.0),
        tetragon: ["126.3", "126.3", "284-293"],
    },
];

/// What is loaded while the storms run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Load {
    Nothing,
    NoPolicy,
    BothPolicies,
}

/// Figures of one guest.
struct Measured {
    /// By row, by round.
    storms: Vec<Vec<Storm>>,
    /// Resident bytes at rest, after the storms, and the peak.
    memory: [u64; 3],
    log_bytes: u64,
    log_lines: u64,
    /// What the probe said at its end.
    closing: String,
}

/// Measures and prints the table.
///
/// # Errors
/// A guest does not run, or its figures are incomplete.
pub fn work(probe: &Path, programs: &Programs) -> Result<(), BenchError> {
    println!("== work per operation, us of 4 ns instructions ({ROUNDS} rounds, mean)");
    let mut all = Vec::new();
    for load in [Load::Nothing, Load::NoPolicy, Load::BothPolicies] {
        let outcome = guest(load, probe, programs)?.run()?;
        all.push(read(&outcome)?);
    }
    let [nothing, no_policy, both] = &all[..] else {
        return Err(BenchError::NoFigures("three guests".to_owned()));
    };
    print_table(nothing, no_policy, both);
    print_memory(no_policy, both);
    Ok(())
}

fn guest(load: Load, probe: &Path, programs: &Programs) -> Result<Guest, BenchError> {
    let read = |path: &Path| std::fs::read(path).map_err(io(path.display().to_string()));
    let policy = |name: &str| read(&folder().join("policies").join(name));
    Ok(Guest::new(Kernel::V6_1, Rootfs::Golden, script(load))
        .clock(Clock::Instructions { shift: SHIFT })
        .timeout(LIMIT)
        .program(probe, "/opt/securitywatch-probe")
        .file("/t/storm", read(&programs.storm)?, 0o755)
        .file("/t/nop", read(&programs.nop)?, 0o755)
        .file("/t/plain", "a file that no policy names\n", 0o644)
        .file("/t/files.yaml", policy("files.yaml")?, 0o644)
        .file("/t/egress.yaml", policy("egress.yaml")?, 0o644))
}

fn script(load: Load) -> String {
    let mut text = String::from("ulimit -n 4096\nrow() { /t/storm \"$@\" || exit 4; }\n");
    if load != Load::Nothing {
        let policies =
            if load == Load::BothPolicies { "-f /t/files.yaml /t/egress.yaml" } else { "" };
        let _ = write!(
            text,
            "/opt/securitywatch-probe run {policies} --output none --event-log /tmp/events --event-log-max-size-mb 200 \
             --ready-file /tmp/ready > /out/probe.log 2>&1 &
probe=$!
until [ -e /tmp/ready ] || ! kill -0 $probe; do sleep 0.1; done
[ -e /tmp/ready ] || exit 3
export PROBE_PID=$probe
sleep 3
cp /proc/$probe/status /out/idle
"
        );
    }
    for (number, row) in ROWS.iter().enumerate() {
        let Row { operation, count, what, .. } = row;
        // The first run fills caches that the others find full.
        let _ = writeln!(text, "row {operation} {} {what} > /dev/null", count / 4);
        for _ in 0..ROUNDS {
            let _ = writeln!(text, "sleep 1; row {operation} {count} {what} >> /out/row-{number}");
        }
    }
    if load != Load::Nothing {
        text.push_str(
            "cp /proc/$probe/status /out/after
kill -TERM $probe
wait $probe
wc -l < /tmp/events > /out/lines
wc -c < /tmp/events > /out/bytes
",
        );
    }
    text
}

fn read(outcome: &Outcome) -> Result<Measured, BenchError> {
    let missing =
        |what: &str| BenchError::NoFigures(format!("{what}; console:\n{}", outcome.console));
    if outcome.exit_code != 0 {
        return Err(missing(&format!(
            "a guest that ended with {}: {}",
            outcome.exit_code,
            outcome.text("probe.log")
        )));
    }
    let storms: Vec<Vec<Storm>> = (0..ROWS.len())
        .map(|n| outcome.text(&format!("row-{n}")).lines().filter_map(Storm::parse).collect())
        .collect();
    if storms.iter().any(|rounds| rounds.len() != ROUNDS) {
        return Err(missing("a storm"));
    }
    let number = |name: &str| outcome.text(name).trim().parse().unwrap_or_default();
    let status = |name: &str, field: &str| super::live::status_bytes(&outcome.text(name), field);
    Ok(Measured {
        storms,
        memory: [status("idle", "VmRSS"), status("after", "VmRSS"), status("after", "VmHWM")],
        log_bytes: number("bytes"),
        log_lines: number("lines"),
        closing: outcome
            .text("probe.log")
            .lines()
            .filter(|line| line.starts_with("saw ") || line.starts_with("dropped "))
            .collect::<Vec<_>>()
            .join("\n"),
    })
}

fn mean(rounds: &[Storm], of: impl Fn(&Storm) -> f64) -> f64 {
    rounds.iter().map(of).sum::<f64>() / rounds.len().max(1) as f64
}

fn print_table(nothing: &Measured, no_policy: &Measured, both: &Measured) {
    println!(
        "{:<31}{:>9}{:>10}{:>11}{:>13}  {:<34}Tetragon: nothing, no policy, both",
        "operation", "nothing", "no policy", "policies", "more", ""
    );
    for (n, row) in ROWS.iter().enumerate() {
        let base = mean(&nothing.storms[n], |s| s.total_us());
        let alone = mean(&no_policy.storms[n], |s| s.total_us());
        let with = mean(&both.storms[n], |s| s.total_us());
        let more = with - base;
        let (shown, aim) = match row.aim_us {
            Some(aim) => (format!("+{more:.1} us"), against(&format!("+{aim} us"), more <= aim)),
            None => (
                format!("+{:.1} %", more / base * 100.0),
                against("+25 %", more / base <= EXEC_AIM),
            ),
        };
        println!(
            "{:<31}{base:>9.1}{alone:>10.1}{with:>11.1}{shown:>13}  {aim:<34}{}",
            row.name,
            row.tetragon.join(", ")
        );
        let late = mean(&both.storms[n], |s| s.late_us);
        let during = mean(&both.storms[n], |s| s.probe_us);
        let spread = both.storms[n].iter().map(|s| s.total_us());
        let (low, high) = spread.fold((f64::MAX, 0.0_f64), |(l, h), v| (l.min(v), h.max(v)));
        println!(
            "{:<31}with policies: rounds {low:.1} to {high:.1}; of it {during:.1} us in the probe and {late:.1} us after the loop",
            ""
        );
    }
    println!(
        "(/etc/passwd is the reference's matching file; but the policies match reads of /etc/shadow, not of /etc/passwd)"
    );
}

fn print_memory(no_policy: &Measured, both: &Measured) {
    for (name, measured) in [("no policy", no_policy), ("both policies", both)] {
        let [idle, after, peak] = measured.memory.map(megabytes);
        println!(
            "memory, {name}: {idle:.1} MB at rest, {after:.1} MB after {} events, peak {peak:.1} MB; {}",
            measured.log_lines,
            against("40 MB", peak <= MEMORY_AIM_MB)
        );
        println!(
            "exported JSON, {name}: {} bytes an event",
            measured.log_bytes.checked_div(measured.log_lines).unwrap_or_default()
        );
        for line in measured.closing.lines() {
            println!("  {line}");
        }
    }
    println!(
        "(Tetragon: 106 MB, peak 113, 722 bytes without a policy; 127 MB, peak 147, 822 bytes with both)\n"
    );
}
