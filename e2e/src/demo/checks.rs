//! What a reader of the walk-throughs expects to see, looked for and shown.

use std::path::PathBuf;

use securitywatch_api::document;
use serde_json::Value;

use super::servers::Parseable;
use super::{Error, say};
use crate::guest::Outcome;

/// Counts of what was found and what was not.
#[derive(Debug, Default)]
pub struct Checks {
    pub passed: usize,
    pub failed: usize,
}

impl Checks {
    fn check(&mut self, what: &str, holds: bool) {
        let word = if holds { "ok    " } else { "FAILED" };
        println!("{word} {what}");
        if holds { self.passed += 1 } else { self.failed += 1 }
    }

    /// The probe ran and ended well.
    pub fn guest(&mut self, outcome: &Outcome) {
        say("Checked: the guest", "");
        self.check("the probe ended with code 0", outcome.text("probe.code").trim() == "0");
        self.check(
            "the kernel had nothing to complain about",
            outcome.kernel_warnings().is_empty(),
        );
    }

    /// The event log holds Tetragon's JSON of both walk-throughs. Returns how many events it has.
    pub fn event_log(&mut self, log: &str) -> usize {
        say("Checked: the event log, Tetragon's JSON lines", "");
        let events: Vec<Value> =
            log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        self.check("every line is JSON", events.len() == log.lines().count() && !events.is_empty());
        for binary in ["/usr/bin/wget", "/usr/bin/curl"] {
            let connects = events.iter().any(|event| {
                let probe = &event["process_kprobe"];
                probe["function_name"] == "tcp_connect"
                    && probe["process"]["binary"] == binary
                    && probe["args"][0]["sock_arg"]["daddr"] == "93.184.215.14"
            });
            self.check(&format!("{binary} connects to 93.184.215.14"), connects);
        }
        for path in ["/etc/passwd", "/etc/shadow"] {
            let read = events.iter().find(|event| {
                let probe = &event["process_kprobe"];
                probe["function_name"] == "security_file_permission"
                    && probe["process"]["binary"] == "/usr/bin/cat"
                    && probe["args"][0]["file_arg"]["path"] == path
            });
            self.check(&format!("/usr/bin/cat reads {path}"), read.is_some());
            if let (Some(event), "/etc/shadow") = (read, path) {
                println!("       {event}");
            }
        }
        events.len()
    }

    /// The same events are rows of the stream, each once.
    pub fn stream(&mut self, parseable: &Parseable, events: usize) -> Result<(), Error> {
        say("Checked: stream tetrademo, asked by SQL", "");
        self.rows(parseable, 2, "SELECT DISTINCT \"process_exec_process_binary\", \"process_exec_process_arguments\" \
             FROM \"tetrademo\" WHERE \"process_exec_process_binary\" IN ('/usr/bin/wget', '/usr/bin/curl')")?;
        self.rows(parseable, 2, "SELECT DISTINCT \"process_kprobe_process_binary\", \"process_kprobe_args_sock_arg_daddr\", \
             \"process_kprobe_args_sock_arg_dport\" FROM \"tetrademo\" \
             WHERE \"process_kprobe_function_name\" = 'tcp_connect' AND \"process_kprobe_process_binary\" IN \
             ('/usr/bin/wget', '/usr/bin/curl')")?;
        self.rows(parseable, 2, "SELECT DISTINCT \"process_kprobe_process_arguments\", \"process_kprobe_args_file_arg_path\" \
             FROM \"tetrademo\" WHERE \"process_kprobe_function_name\" = 'security_file_permission' \
             AND \"process_kprobe_process_binary\" = '/usr/bin/cat'")?;
        let sql = "SELECT COUNT(*) AS \"rows\", COUNT(DISTINCT \"event_id\") AS \"events\" FROM \"tetrademo\" \
             WHERE \"event_type\" <> 'securitywatch.seed'";
        let counts = parseable.query(sql)?;
        println!("{sql}\n       {}", serde_json::to_string(&counts)?);
        let all =
            counts.first().is_some_and(|row| row["rows"] == events && row["events"] == events);
        self.check(
            &format!(
                "one row for each of the {events} events of the log, none missing, none twice"
            ),
            all,
        );
        Ok(())
    }

    fn rows(&mut self, parseable: &Parseable, least: usize, sql: &str) -> Result<(), Error> {
        let rows = parseable.query(sql)?;
        println!("{sql}");
        for row in &rows {
            println!("       {row}");
        }
        self.check(&format!("{} rows", rows.len()), rows.len() >= least);
        Ok(())
    }

    /// Every alert of the samples reached the webhook, with its message and in time.
    pub fn alerts(
        &mut self,
        bodies: &[String],
        console: &str,
        samples: &[PathBuf],
    ) -> Result<(), Error> {
        say("Checked: what the webhook got", "");
        let received: Vec<Value> =
            bodies.iter().filter_map(|body| serde_json::from_str(body).ok()).collect();
        for sample in samples {
            let text = std::fs::read_to_string(sample)?;
            for document in document::load(&sample.display().to_string(), &text)? {
                for alert in &document.alerts {
                    let body = received
                        .iter()
                        .find(|b| b["alert"] == alert.name && b["watch"] == document.name);
                    if let Some(body) = body {
                        println!("{}", serde_json::to_string_pretty(body)?);
                    }
                    let took = time_to_webhook(console, &alert.name);
                    let what = format!(
                        "{}: {}, {took} from the event to the webhook's answer",
                        document.name, alert.name
                    );
                    self.check(&what, body.is_some());
                }
            }
        }
        Ok(())
    }

    /// Nothing was lost on the way.
    pub fn summary(&mut self, stderr: &str) {
        say("Checked: the probe's own account", "");
        self.check("it saw events and shipped them", stderr.contains("shipped "));
        self.check("it dropped none", !stderr.lines().any(|line| line.starts_with("dropped")));
    }
}

/// What the compact view says of an alert's call: `… NAME (high): … -> webhook 200 in 84 ms`.
fn time_to_webhook<'a>(console: &'a str, alert: &str) -> &'a str {
    let shown = |line: &&str| {
        [format!(" {alert} ("), format!(" \"{alert}\" (")].iter().any(|name| line.contains(name))
    };
    console
        .lines()
        .filter(|line| line.contains("-> webhook 200"))
        .find(shown)
        .and_then(|line| line.rsplit_once(" in "))
        .map_or("an unknown time", |(_, took)| took.trim())
}
