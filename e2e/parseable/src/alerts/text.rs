//! What a target receives.

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::config::Alert;
use super::query::Measured;

/// One notification, before it has the form of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notification {
    pub(crate) title: String,
    pub(crate) text: String,
    /// When the alert went back to not triggered.
    pub(crate) resolved_at: Option<DateTime<Utc>>,
}

impl Notification {
    pub(crate) fn triggered(alert: &Alert, measured: &Measured, now: DateTime<Utc>) -> Self {
        let (config, threshold) = (&alert.config, alert.config.threshold_config);
        let mut text = format!(
            "Alert Name:         {}\n\
             Alert Type:         Threshold alert\n\
             Severity:           {}\n\
             Triggered at:       {}\n\
             Threshold:          {} {}\n\
             Alert ID:           {}\n\
             Evaluation Window:  {}\n\
             Frequency:          {}\n\
             \n\
             Values crossing the threshold:\n",
            config.title,
            config.severity.capitalised(),
            now.to_rfc3339(),
            threshold.operator.sign(),
            threshold.value,
            alert.id,
            config.window().eval_start,
            config.window().eval_frequency,
        );
        let crossing = measured.groups.iter().filter(|group| threshold.is_crossed_by(group.value));
        // Writing to a String cannot fail.
        if measured.is_grouped {
            let crossing: Vec<_> = crossing.collect();
            let _ = writeln!(text, "Alerting Groups ({} total):", crossing.len());
            for (index, group) in crossing.iter().enumerate() {
                let labels: Vec<String> = group
                    .labels
                    .iter()
                    .map(|(column, value)| format!("{column}: {value}"))
                    .collect();
                let labels = labels.join(", ");
                let _ = writeln!(text, "{}. {labels} → Value: {}", index + 1, group.value);
            }
        } else {
            for group in crossing {
                let _ = writeln!(text, "Value: {}", group.value);
            }
        }
        let _ = write!(text, "\nQuery:\n{}", config.query);
        Self { title: config.title.clone(), text, resolved_at: None }
    }

    pub(crate) fn resolved(alert: &Alert, now: DateTime<Utc>) -> Self {
        let title = alert.config.title.clone();
        Self { text: format!("{title} is now `not-triggered` "), title, resolved_at: Some(now) }
    }

    /// For an Alertmanager, with the recorded server's literal words.
    pub(crate) fn for_alert_manager(&self, deployment: &Deployment) -> String {
        let status = if self.resolved_at.is_some() { "not-triggered" } else { "triggered" };
        let post = [Post {
            labels: Labels {
                alertname: &self.title,
                deployment_instance: &deployment.instance,
                deployment_id: &deployment.id,
                deployment_mode: "drive",
                status,
            },
            annotations: Annotations {
                message: "MESSAGE",
                reason: if self.resolved_at.is_some() { &self.text } else { "REASON" },
            },
            ends_at: self.resolved_at.map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true)),
        }];
        serde_json::to_string(&post).unwrap_or_default()
    }

    pub(crate) fn for_slack(&self) -> String {
        serde_json::json!({"text": self.text}).to_string()
    }
}

/// What an Alertmanager is told of the server.
#[derive(Debug, Clone)]
pub(crate) struct Deployment {
    pub(crate) instance: String,
    pub(crate) id: String,
}

#[derive(Serialize)]
struct Post<'a> {
    labels: Labels<'a>,
    annotations: Annotations<'a>,
    #[serde(rename = "endsAt", skip_serializing_if = "Option::is_none")]
    ends_at: Option<String>,
}

#[derive(Serialize)]
struct Labels<'a> {
    alertname: &'a str,
    deployment_instance: &'a str,
    deployment_id: &'a str,
    deployment_mode: &'a str,
    status: &'a str,
}

#[derive(Serialize)]
struct Annotations<'a> {
    message: &'a str,
    reason: &'a str,
}
