//! Runs cases in guests: the same policy, the same trigger, our probe.
//!
//! The guest's clock counts instructions, so the seconds that the trigger waits cost nothing and a race falls the
//! same way every time. Several cases share a boot; the probe starts anew for each.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use super::cases::Case;
use super::compare::compare;
use super::recording::Recording;
use crate::guest::{Clock, Guest, GuestError, Kernel, Outcome, Rootfs};

/// A boot and the first run of the trigger take about as long as two cases: more cases in a guest save little.
const CASES_PER_GUEST: usize = 8;
const BOOT_LIMIT: Duration = Duration::from_secs(120);
const CASE_LIMIT: Duration = Duration::from_secs(120);
/// In the guest's time.
const READY_LIMIT_SECONDS: u32 = 120;
const NANOSECONDS_PER_INSTRUCTION_SHIFT: u8 = 2;

/// What became of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All events equal.
    Ok,
    /// The probe cannot honour the policy and said why.
    Refused(String),
    /// The first difference, or what kept the case from running.
    Failed(String),
}

/// What all cases share.
#[derive(Debug, Clone, Copy)]
pub struct Conformance<'run> {
    pub probe: &'run Path,
    /// Text of the shell script.
    pub trigger: &'run str,
    pub guests_at_once: usize,
    /// Where each case's events and the probe's log are kept, in a folder of the case's name.
    pub keep: Option<&'run Path>,
}

impl Conformance<'_> {
    /// Runs all cases; `report` hears of each as soon as its guest is done.
    pub fn run(&self, cases: &[Case], report: &(dyn Fn(&Case, &Verdict) + Sync)) -> Vec<Verdict> {
        let verdicts: Mutex<Vec<(usize, Verdict)>> = Mutex::new(Vec::new());
        let batches = Mutex::new(cases.chunks(CASES_PER_GUEST).enumerate());
        thread::scope(|scope| {
            for _ in 0..self.guests_at_once.max(1) {
                scope.spawn(|| {
                    while let Some((number, batch)) = next(&batches) {
                        for (position, (case, verdict)) in
                            batch.iter().zip(self.run_batch(batch)).enumerate()
                        {
                            report(case, &verdict);
                            hold(&verdicts).push((number * CASES_PER_GUEST + position, verdict));
                        }
                    }
                });
            }
        });
        let mut verdicts = std::mem::take(&mut *hold(&verdicts));
        verdicts.sort_by_key(|(position, _)| *position);
        verdicts.into_iter().map(|(_, verdict)| verdict).collect()
    }

    fn run_batch(&self, batch: &[Case]) -> Vec<Verdict> {
        match self.guest(batch).run() {
            Ok(outcome) if outcome.exit_code == 0 => {
                if let Err(error) = self.keep_files(&outcome) {
                    eprintln!("golden: cannot keep the events: {error}");
                }
                batch.iter().map(|case| judge(case, &outcome)).collect()
            }
            Ok(outcome) => vec![
                Verdict::Failed(format!(
                    "guest: exit code {}: {}",
                    outcome.exit_code,
                    last_line(&outcome.console)
                ));
                batch.len()
            ],
            Err(error) => vec![Verdict::Failed(one_line(&error)); batch.len()],
        }
    }

    fn keep_files(&self, outcome: &Outcome) -> std::io::Result<()> {
        let Some(folder) = self.keep else { return Ok(()) };
        for (name, content) in &outcome.files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap_or(folder))?;
            fs::write(path, content)?;
        }
        Ok(())
    }

    fn guest(&self, batch: &[Case]) -> Guest {
        let mut guest = Guest::new(Kernel::V6_1, Rootfs::Golden, script(batch))
            .clock(Clock::Instructions { shift: NANOSECONDS_PER_INSTRUCTION_SHIFT })
            .timeout(BOOT_LIMIT + CASE_LIMIT * u32::try_from(batch.len()).unwrap_or(u32::MAX))
            .file("/t/trigger.sh", self.trigger, 0o755)
            .program(self.probe, "/opt/securitywatch-probe");
        for case in batch {
            if let Some(policy) = &case.policy {
                guest = guest.file(policy_path(case), policy.as_str(), 0o644);
            }
        }
        guest
    }
}

fn next<'cases>(
    batches: &Mutex<impl Iterator<Item = (usize, &'cases [Case])>>,
) -> Option<(usize, &'cases [Case])> {
    hold(batches).next()
}

/// A thread that panicked has reported that itself; what the others did stays good.
fn hold<Held>(mutex: &Mutex<Held>) -> std::sync::MutexGuard<'_, Held> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn policy_path(case: &Case) -> String {
    format!("/opt/cases/{}/policy.yaml", case.name)
}

/// The servers that the trigger talks to, a first unobserved run (the recorded ones found `/t/w` and
/// `/run/mount` in place), then each case.
fn script(batch: &[Case]) -> String {
    let mut text = format!(
        r#"for server in "0.0.0.0 80" "0.0.0.0 8080" "::1 8080"; do nc -lk $server > /dev/null 2>&1 & done
until [ "$(cat /proc/net/tcp /proc/net/tcp6 | grep -c ' 0A ')" = 3 ]; do sleep 0.1; done
/t/trigger.sh < /dev/null > /dev/null 2>&1
run_case() {{
  local folder=/out/$1 policy=$2 probe tries=0
  mkdir -p $folder
  /opt/securitywatch-probe run ${{policy:+-f $policy}} --output none --event-log $folder/events.jsonl --node-name goldnode \
    --ready-file /tmp/ready > $folder/probe.log 2>&1 &
  probe=$!
  until [ -e /tmp/ready ] || ! kill -0 $probe 2> /dev/null || [ $tries = {tries} ]; do tries=$((tries + 1)); sleep 0.1; done
  if [ -e /tmp/ready ]; then
    /t/trigger.sh < /dev/null > /dev/null 2>&1
    touch $folder/triggered
  fi
  kill -TERM $probe 2> /dev/null
  wait $probe
  echo $? > $folder/probe.code
}}
"#,
        tries = READY_LIMIT_SECONDS * 10
    );
    for case in batch {
        let policy = if case.policy.is_some() { policy_path(case) } else { String::new() };
        let _ = writeln!(text, "run_case '{}' '{policy}'", case.name);
    }
    text.push_str("true\n");
    text
}

fn judge(case: &Case, outcome: &Outcome) -> Verdict {
    let file = |name: &str| outcome.text(&format!("{}/{name}", case.name));
    let log = file("probe.log");
    if is_refusal(&log) {
        return Verdict::Refused(refusal(&log, &policy_path(case)));
    }
    if !outcome.files.contains_key(&format!("{}/triggered", case.name)) {
        return Verdict::Failed(format!(
            "the probe was not ready: {}",
            last_line(&file("probe.log"))
        ));
    }
    if file("probe.code").trim() != "0" {
        return Verdict::Failed(format!(
            "the probe ended with {}: {}",
            file("probe.code").trim(),
            last_line(&file("probe.log"))
        ));
    }
    match judge_events(&case.events, &file("events.jsonl")) {
        Ok(()) => Verdict::Ok,
        Err(difference) => Verdict::Failed(difference),
    }
}

fn judge_events(recorded: &str, seen: &str) -> Result<(), String> {
    let recorded = Recording::parse(recorded).map_err(|error| format!("the recording: {error}"))?;
    let seen = Recording::parse(seen).map_err(|error| format!("our events: {error}"))?;
    compare(&recorded, &seen).map_err(|difference| difference.to_string())
}

/// The probe's last words when it read the policy and says no; any other failure is none of the policy's.
fn is_refusal(output: &str) -> bool {
    output.lines().next_back().is_some_and(|line| line.starts_with("refused: "))
}

/// The reasons of a refusal in one line; its last line only counts them.
fn refusal(output: &str, path: &str) -> String {
    let lines: Vec<&str> = output
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("refused"))
        .collect();
    lines.join(" ").replace(path, "policy.yaml")
}

fn last_line(text: &str) -> String {
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("(no output)").to_owned()
}

fn one_line(error: &GuestError) -> String {
    error.to_string().lines().collect::<Vec<_>>().join(" | ")
}
