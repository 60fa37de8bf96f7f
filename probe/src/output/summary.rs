//! What became of a run's events.

use crate::alert::AlertSummary;
use crate::ship::ShipSummary;

/// What became of a run's events; one line each where shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Events by kind.
    pub exec: u64,
    pub exit: u64,
    pub kprobe: u64,
    pub streams: Vec<ShipSummary>,
    pub alerts: AlertSummary,
    /// Lines standard output was too slow for.
    pub lost_on_stdout: u64,
    /// Events missing from the event log.
    pub lost_in_event_log: u64,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { exec, exit, kprobe, .. } = self;
        let total = exec + exit + kprobe;
        write!(
            f,
            "saw {total} events: {exec} process_exec, {exit} process_exit, {kprobe} process_kprobe"
        )?;
        for stream in &self.streams {
            write!(f, "\n{stream}")?;
        }
        if !self.alerts.hits.is_empty() {
            write!(f, "\n{}", self.alerts)?;
        }
        for (what, lost) in
            [("standard output", self.lost_on_stdout), ("the event log", self.lost_in_event_log)]
        {
            if lost > 0 {
                write!(f, "\ndropped {lost} events of {what}: slow_reader")?;
            }
        }
        Ok(())
    }
}
