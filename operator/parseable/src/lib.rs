//! Keeps streams, retention, targets and alerts of a Parseable server as watches want them.
