//! What does not work on this machine and is tried again and again, for whoever reports on the machine.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// One sentence for each part that has a trouble. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Troubles(Arc<Mutex<BTreeMap<&'static str, String>>>);

impl Troubles {
    /// What this leads to, such as `the event log lacks events`, is so because of `why`.
    pub fn set(&self, what: &'static str, why: &dyn std::fmt::Display) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(what, format!("{what}: {why}"));
    }

    /// It is so no longer.
    pub fn clear(&self, what: &'static str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(what);
    }

    /// All that there are now, in a fixed order.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_there_until_it_is_cleared() {
        let troubles = Troubles::default();
        let other = troubles.clone();
        troubles.set("b is not kept", &"disk full");
        troubles.set("a is not kept", &"disk full");
        other.set("b is not kept", &"read-only");
        assert_eq!(troubles.sentences(), ["a is not kept: disk full", "b is not kept: read-only"]);
        other.clear("a is not kept");
        other.clear("never set");
        assert_eq!(troubles.sentences(), ["b is not kept: read-only"]);
    }
}
