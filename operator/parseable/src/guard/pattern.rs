//! `*.example.org:443`.

/// A host with `*` for any characters, and a port where only one is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TargetPattern {
    /// Lower-case, cut at each `*`.
    pieces: Vec<String>,
    port: Option<u16>,
}

impl TargetPattern {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_lowercase();
        let (host, port) = split_port(&text)?;
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '*' | ':');
        if host.is_empty() || !host.chars().all(fits) {
            return None;
        }
        Some(Self { pieces: host.split('*').map(str::to_owned).collect(), port })
    }

    /// `host` in lower case, without the dot that may end it.
    pub(super) fn matches(&self, host: &str, port: u16) -> bool {
        if self.port.is_some_and(|wanted| wanted != port) {
            return false;
        }
        let [first, middle @ .., last] = self.pieces.as_slice() else {
            return self.pieces.first().is_some_and(|only| only == host);
        };
        let Some(mut rest) = host.strip_prefix(first.as_str()) else { return false };
        for piece in middle {
            match rest.find(piece.as_str()) {
                Some(at) => rest = &rest[at + piece.len()..],
                None => return false,
            }
        }
        rest.ends_with(last.as_str())
    }
}

/// `[::1]:80`, `host:80`, `::1`, `host`.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port.parse().ok()?))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    match text.split_once(':') {
        // A bare IPv6 address.
        Some((_, rest)) if rest.contains(':') => Some((text, None)),
        Some((host, port)) => Some((host, Some(port.parse().ok()?))),
        None => Some((text, None)),
    }
}
