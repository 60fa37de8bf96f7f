//! What stays on this machine: standard output and the event log.

use std::io;
use std::time::Duration;

use crate::encode::compact::{AlertLine, CompactEncoder};
use crate::encode::json::JsonEncoder;
use crate::event::Event;
use crate::event_log::EventLog;
use crate::line_writer::{LineSender, LineWriter, StandardOutput};

/// What standard output shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// One short line an event.
    Compact {
        /// ANSI colours.
        colors: bool,
        /// The event's time in front.
        timestamps: bool,
    },
    /// Tetragon's JSON.
    Json,
    /// Nothing.
    Nothing,
}

/// Takes events in the reader's thread and never waits for a disk or a terminal.
#[derive(Debug)]
pub struct LocalOutput {
    json: JsonEncoder,
    compact: Option<CompactEncoder>,
    shown: Option<Lines>,
    log: Option<Lines>,
    /// How many of the log's losses were told.
    told_lost: u64,
}

/// Lines that are gathered until the next flush.
#[derive(Debug)]
struct Lines {
    buffer: Vec<u8>,
    writer: LineWriter,
}

/// Shows alerts between the events; for other threads than the reader's.
#[derive(Debug, Clone)]
pub struct AlertView {
    encoder: CompactEncoder,
    sender: LineSender,
}

/// The figures of standard output and event log.
#[derive(Debug, Clone)]
pub struct LocalCounts {
    shown: Option<LineSender>,
    log: Option<LineSender>,
}

impl LocalOutput {
    /// Output for node `node_name`.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(node_name: &str, shown: Shown, log: Option<EventLog>) -> io::Result<Self> {
        let compact = match shown {
            Shown::Compact { colors, timestamps } => {
                Some(CompactEncoder::new(node_name, colors, timestamps))
            }
            Shown::Json | Shown::Nothing => None,
        };
        let lines = |writer| Lines { buffer: Vec::new(), writer };
        Ok(Self {
            json: JsonEncoder::new(node_name),
            compact,
            shown: match shown {
                Shown::Nothing => None,
                _ => Some(lines(LineWriter::start("stdout", StandardOutput::default())?)),
            },
            log: log.map(|log| LineWriter::start("event-log", log)).transpose()?.map(lines),
            told_lost: 0,
        })
    }

    /// Takes one event.
    pub fn event(&mut self, event: &Event) {
        let log = self.log.as_mut().map(|log| &mut log.buffer);
        match (&mut self.shown, &mut self.compact, log) {
            (Some(shown), Some(compact), log) => {
                compact.write_line(event, &mut shown.buffer);
                if let Some(log) = log {
                    self.json.write_line(event, log);
                }
            }
            (Some(shown), None, None) => self.json.write_line(event, &mut shown.buffer),
            (Some(shown), None, Some(log)) => {
                let start = log.len();
                self.json.write_line(event, log);
                shown.buffer.extend_from_slice(&log[start..]);
            }
            (None, _, Some(log)) => self.json.write_line(event, log),
            (None, _, None) => {}
        }
    }

    /// Hands over what was gathered; once per batch of events.
    pub fn flush(&mut self) {
        for lines in [&mut self.shown, &mut self.log].into_iter().flatten() {
            lines.writer.submit(&mut lines.buffer);
        }
    }

    /// Events that are missing from the event log, since this was last asked.
    pub fn newly_lost(&mut self) -> u64 {
        let lost = self.log.as_ref().map_or(0, |log| log.writer.lost());
        lost - std::mem::replace(&mut self.told_lost, lost)
    }

    /// Whether whoever read standard output has gone, and nothing else is written.
    #[must_use]
    pub fn is_unread(&self) -> bool {
        self.log.is_none()
            && self.shown.as_ref().is_some_and(|shown| shown.writer.sender().is_closed())
    }

    /// The way for alerts into the compact view, where that is shown.
    #[must_use]
    pub fn alerts(&self) -> Option<AlertView> {
        let encoder = self.compact.clone()?;
        Some(AlertView { encoder, sender: self.shown.as_ref()?.writer.sender() })
    }

    /// The figures, for any thread and beyond the end.
    #[must_use]
    pub fn counts(&self) -> LocalCounts {
        let sender = |lines: &Option<Lines>| lines.as_ref().map(|lines| lines.writer.sender());
        LocalCounts { shown: sender(&self.shown), log: sender(&self.log) }
    }

    /// Writes what is left, each output for at most `timeout`.
    pub fn stop(mut self, timeout: Duration) {
        self.flush();
        for (name, lines) in [("standard output", self.shown), ("the event log", self.log)] {
            if lines.is_some_and(|lines| !lines.writer.stop(timeout)) {
                tracing::warn!("{name} does not take the last lines; they are left behind");
            }
        }
    }
}

impl AlertView {
    /// Shows one alert.
    pub fn show(&self, alert: &AlertLine<'_>) {
        let mut line = Vec::new();
        self.encoder.write_alert(alert, &mut line);
        self.sender.send(line);
    }
}

impl LocalCounts {
    /// Lines that standard output was too slow for.
    #[must_use]
    pub fn lost_on_stdout(&self) -> u64 {
        self.shown.as_ref().map_or(0, LineSender::lost)
    }

    /// Events that are missing from the event log.
    #[must_use]
    pub fn lost_in_event_log(&self) -> u64 {
        self.log.as_ref().map_or(0, LineSender::lost)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::encode::recorded::{self, Parsed};
    use crate::event_log::EventLogOptions;

    #[test]
    fn the_event_log_is_tetragons_file() {
        let Some(lines) = recorded::lines() else { return };
        let (case, _) = &lines[0];
        let of_case: Vec<_> =
            lines.iter().filter(|(of, _)| of == case).map(|(_, text)| text.as_str()).collect();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.log");
        let options = EventLogOptions { path: path.clone(), max_size_bytes: 1 << 30, max_files: 1 };
        let log = EventLog::open(options).unwrap();
        let mut output = LocalOutput::start("goldnode", Shown::Nothing, Some(log)).unwrap();
        let counts = output.counts();
        let mut expected = String::new();
        for text in of_case {
            if let Parsed::Event(event) = recorded::parse(text) {
                output.event(&event);
                expected += text;
                expected.push('\n');
            }
            output.flush();
        }
        output.stop(Duration::from_secs(30));
        assert_eq!(std::fs::read_to_string(path).unwrap(), expected);
        assert_eq!((counts.lost_in_event_log(), counts.lost_on_stdout()), (0, 0));
    }
}
