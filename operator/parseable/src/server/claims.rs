//! Which watch wants which retention of which stream.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use url::Url;

use crate::desired::Owner;

/// The wishes of all watches. A stream has one retention; of two watches that want different ones the older gets its way, and
/// the other is told. Without that they would take turns for ever.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    by_uid: Mutex<HashMap<String, Claim>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Claim {
    server: Url,
    stream: String,
    retention_days: u32,
    created_ms: u64,
    title: String,
}

/// A watch that was there first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Older {
    pub(crate) title: String,
    pub(crate) retention_days: u32,
}

impl Claims {
    /// Notes the wish, in place of the watch's earlier one.
    ///
    /// # Errors
    /// An older watch wants something else of the same stream.
    pub(crate) fn claim(
        &self,
        owner: &Owner,
        server: &Url,
        stream: &str,
        retention_days: Option<u32>,
    ) -> Result<(), Older> {
        let mut by_uid = self.by_uid.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(retention_days) = retention_days else {
            by_uid.remove(&owner.uid);
            return Ok(());
        };
        let claim = Claim {
            server: server.clone(),
            stream: stream.to_owned(),
            retention_days,
            created_ms: owner.created_ms,
            title: owner.title.clone(),
        };
        by_uid.insert(owner.uid.clone(), claim);
        let rank = (owner.created_ms, owner.uid.as_str());
        let older = by_uid
            .iter()
            .filter(|(uid, other)| {
                other.stream == stream
                    && other.server == *server
                    && (other.created_ms, uid.as_str()) < rank
                    && other.retention_days != retention_days
            })
            .min_by_key(|(uid, other)| (other.created_ms, uid.as_str()));
        match older {
            None => Ok(()),
            Some((_, other)) => {
                Err(Older { title: other.title.clone(), retention_days: other.retention_days })
            }
        }
    }

    pub(crate) fn drop_of(&self, uid: &str) {
        self.by_uid.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(uid: &str, created_ms: u64) -> Owner {
        Owner {
            cluster_id: "c".into(),
            uid: uid.into(),
            title: format!("SecurityWatch/shop/{uid}"),
            created_ms,
        }
    }

    #[test]
    fn the_older_watch_gets_its_way_whoever_comes_first() {
        let claims = Claims::default();
        let server = Url::parse("http://p.example").unwrap();
        let claim = |owner: &Owner, stream: &str, days| claims.claim(owner, &server, stream, days);
        let (old, young) = (owner("old", 1), owner("young", 2));
        assert_eq!(claim(&young, "s", Some(7)), Ok(()));
        assert_eq!(claim(&old, "s", Some(30)), Ok(()));
        let older = Older { title: "SecurityWatch/shop/old".into(), retention_days: 30 };
        assert_eq!(claim(&young, "s", Some(7)), Err(older));
        assert_eq!(claim(&young, "s", Some(30)), Ok(()));
        assert_eq!(claim(&young, "other", Some(7)), Ok(()));
        assert_eq!(claim(&young, "s", None), Ok(()));
        // What is gone claims nothing.
        claims.drop_of("old");
        assert_eq!(claim(&young, "s", Some(7)), Ok(()));
    }
}
