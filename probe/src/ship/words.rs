//! What went wrong, with the server's own words apart from ours.

use std::fmt;

/// Our words may go wherever the watch's owner reads. The server's may only go into this node's log: in a
/// cluster the owner of a watch chooses the URL, and must not read what some other server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    told: String,
    heard: String,
}

impl Words {
    /// Ours and the server's.
    pub fn with(told: impl Into<String>, heard: &str) -> Self {
        Self { told: told.into(), heard: heard.to_owned() }
    }

    /// Ours alone.
    pub fn told(&self) -> &str {
        &self.told
    }

    /// With `prefix` in front of ours.
    pub fn after(&self, prefix: &str) -> Self {
        Self { told: format!("{prefix} {}", self.told), heard: self.heard.clone() }
    }
}

impl From<String> for Words {
    fn from(told: String) -> Self {
        Self { told, heard: String::new() }
    }
}

impl From<&str> for Words {
    fn from(told: &str) -> Self {
        told.to_owned().into()
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { told, heard } = self;
        if heard.is_empty() { f.write_str(told) } else { write!(f, "{told}: {heard}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_words_are_shown_only_as_a_whole() {
        let words = Words::with("answered 503", "root:x:0:0").after("http://x");
        assert_eq!(words.to_string(), "http://x answered 503: root:x:0:0");
        assert_eq!(words.told(), "http://x answered 503");
        assert_eq!(Words::from("plain").to_string(), "plain");
    }
}
