//! What the trigger leaves to chance, one named entry each. Everything else is compared strictly.
//!
//! Both were found by comparing the recordings with each other: Tetragon's own runs differ there.

use serde_json::Value;

use super::recording::{Event, Name, Process};

/// `nc -l -p 9999 & ...; kill $N`: the listener may have ended by itself before it is killed.
///
/// Either way there is one exit, and its `signal` is SIGTERM or absent.
pub(super) fn settle(name: &Name, event: &mut Event) {
    if name.binary != "/usr/bin/nc"
        || name.arguments != "-l -p 9999"
        || event.kind != "process_exit"
    {
        return;
    }
    let Some(exit) = event.value.get_mut("process_exit").and_then(Value::as_object_mut) else {
        return;
    };
    if exit.get("signal").is_none_or(|signal| signal == "SIGTERM") && !exit.contains_key("status") {
        exit.insert("signal".to_owned(), Value::from("<SIGTERM or none>"));
    }
}

/// `sleep 30 & kill -15 $!`, the trigger's last line: the signal may find the fork before it becomes `sleep`, or
/// `sleep`, and the exit may come after the end of the recording.
pub(super) fn undecided(process: &Process) -> bool {
    if process.name.binary == "/usr/bin/sleep" && process.name.arguments == "30" {
        return true;
    }
    process.name.binary == "/t/trigger.sh"
        && process.name.position > 1
        && process
            .events
            .last()
            .is_some_and(|event| event.value["process_exit"]["signal"] == "SIGTERM")
}
