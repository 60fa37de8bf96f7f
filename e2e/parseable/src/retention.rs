//! A stream's retention.

use serde::{Deserialize, Serialize};

use crate::answer::Answer;
use crate::body;

/// About 100 years.
const MAX_DAYS: u32 = 36500;

/// One task of a retention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Task {
    description: String,
    action: Action,
    duration: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Delete,
}

impl Task {
    pub(crate) fn duration(&self) -> &str {
        &self.duration
    }
}

/// Parses and judges a retention.
pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<Task>, Answer> {
    let tasks: Vec<Task> = body::parse(bytes)?;
    for task in &tasks {
        check_duration(&task.duration).map_err(|why| body::deserialize_error(&why))?;
    }
    if tasks.len() > 1 {
        return Err(body::deserialize_error(
            &"Configuration contains two task both of action \"Delete\"",
        ));
    }
    Ok(tasks)
}

fn check_duration(duration: &str) -> Result<(), &'static str> {
    let Some(days) = duration.strip_suffix('d') else {
        return Err("missing 'd' suffix for duration value");
    };
    match days.parse::<u32>() {
        Ok(0) | Err(_) => Err("could not convert duration to an unsigned number"),
        Ok(days) if days > MAX_DAYS => {
            Err("retention cannot be greater than 36500 days (approx 100 years)")
        }
        Ok(_) => Ok(()),
    }
}
