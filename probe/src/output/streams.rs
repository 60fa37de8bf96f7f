//! Which watches share a stream's connection, and which running one serves them. Pure.

use super::watch::{Scope, WatchOutput};
use crate::ship::Target;

/// Watches that ship to one stream in one name.
#[derive(Debug, Clone)]
pub(super) struct Group {
    /// That of its first watch.
    pub target: Target,
    /// By number, in the order given.
    pub watches: Vec<usize>,
    /// Whose exec and exit events it takes: those of any of its watches.
    pub scopes: Vec<Scope>,
}

/// Groups the watches that have a target.
pub(super) fn group<'a>(watches: impl IntoIterator<Item = (usize, &'a WatchOutput)>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (number, watch) in watches {
        let Some(target) = &watch.target else { continue };
        let Some(group) = groups.iter_mut().find(|group| is_one(&group.target, target)) else {
            let (target, scopes) = (target.clone(), vec![watch.scope.clone()]);
            groups.push(Group { target, watches: vec![number], scopes });
            continue;
        };
        if group.target.retention_days != target.retention_days {
            let (watch, stream) = (&watch.name, &target.stream);
            tracing::warn!(
                watch,
                stream,
                "Another watch ships to this stream with another retention; the first one counts"
            );
        }
        group.watches.push(number);
        if !group.scopes.contains(&watch.scope) {
            group.scopes.push(watch.scope.clone());
        }
    }
    groups
}

/// What runs already, as far as the choice needs it.
#[derive(Debug, Clone)]
pub(super) struct Running {
    pub target: Target,
    pub watches: Vec<usize>,
}

/// For each group the place of the running stream that goes on for it. Where accounts were exchanged a stream
/// goes on too, with the new one: what waits in it was accepted from the same watch.
pub(super) fn assign(groups: &[Group], running: &[Running]) -> Vec<Option<usize>> {
    let mut free: Vec<bool> = vec![true; running.len()];
    let mut served = vec![None; groups.len()];
    let same_watch = |a: &[usize], b: &[usize]| a.iter().any(|watch| b.contains(watch));
    for by_account in [true, false] {
        for (group, served) in groups.iter().zip(&mut served).filter(|(_, s)| s.is_none()) {
            let found = running.iter().zip(&free).position(|(running, free)| {
                let fits = if by_account {
                    is_one(&group.target, &running.target)
                } else {
                    is_one_place(&group.target, &running.target)
                        && same_watch(&group.watches, &running.watches)
                };
                *free && fits
            });
            if let Some(place) = found {
                free[place] = false;
                *served = Some(place);
            }
        }
    }
    served
}

/// One stream, and rows of one may go out in the name of the other.
fn is_one(a: &Target, b: &Target) -> bool {
    is_one_place(a, b) && a.credentials.is_same_account(&b.credentials)
}

/// One stream of one server.
pub(super) fn is_one_place(a: &Target, b: &Target) -> bool {
    (&a.url, &a.stream) == (&b.url, &b.stream)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::ship::{Account, Credentials, Keeper};
    use securitywatch_api::secret::Secret;

    fn key(key: &str) -> Credentials {
        let account = Account::ApiKey(Secret::new(key.to_owned()));
        Credentials::Given { account, secret: format!("shop/{key}") }
    }

    fn watch(stream: &str, credentials: Credentials, namespace: Option<&str>) -> WatchOutput {
        let target = Target {
            url: "http://p".into(),
            stream: stream.into(),
            retention_days: None,
            credentials,
            management: None,
            keeper: Keeper::Operator,
        };
        let scope = namespace.map_or(Scope::Everything, |name| Scope::Namespace(name.into()));
        let (name, alerts) = (String::from("w"), Vec::new());
        WatchOutput { name, target: Some(target), scope, sees_all: false, alerts, reported: None }
    }

    fn groups(watches: &[(usize, WatchOutput)]) -> Vec<Group> {
        group(watches.iter().map(|(number, watch)| (*number, watch)))
    }

    fn running(groups: &[Group]) -> Vec<Running> {
        let one = |g: &Group| Running { target: g.target.clone(), watches: g.watches.clone() };
        groups.iter().map(one).collect()
    }

    #[test]
    fn a_stream_is_shared_in_one_name_only() {
        let none = WatchOutput { target: None, ..watch("x", Credentials::None, None) };
        let found = groups(&[
            (0, watch("s", key("a"), Some("shop"))),
            (1, none),
            (2, watch("s", key("b"), Some("shop"))),
            (5, watch("s", key("a"), Some("bank"))),
            (6, watch("t", key("a"), None)),
            (7, watch("s", Credentials::None, None)),
        ]);
        let shown: Vec<_> = found.iter().map(|g| (g.watches.as_slice(), g.scopes.len())).collect();
        assert_eq!(
            shown,
            [(&[0, 5][..], 2), (&[2][..], 1), (&[6][..], 1), (&[7][..], 1)],
            "nobody ships in the name of another"
        );
    }

    #[test]
    fn a_stream_goes_on_while_somebody_wants_it() {
        let before = groups(&[(0, watch("s", key("a"), None)), (1, watch("t", key("a"), None))]);
        let after = groups(&[(3, watch("t", key("a"), None)), (4, watch("u", key("a"), None))]);
        assert_eq!(assign(&after, &running(&before)), [Some(1), None]);
        assert_eq!(assign(&[], &running(&before)), []);
    }

    #[test]
    fn a_stream_goes_on_with_the_watchs_new_account() {
        let wait = Credentials::Awaited("look at it".into());
        let before = groups(&[(0, watch("s", wait, None)), (1, watch("s", key("old"), None))]);
        let after = groups(&[(0, watch("s", key("a"), None)), (1, watch("s", key("new"), None))]);
        assert_eq!(assign(&after, &running(&before)), [Some(0), Some(1)]);
        let stranger = groups(&[(9, watch("s", key("b"), None))]);
        assert_eq!(assign(&stranger, &running(&before)), [None], "its rows are another's");
    }

    #[test]
    fn who_leaves_a_shared_stream_leaves_it_to_the_others() {
        let before = groups(&[(0, watch("s", key("a"), None)), (1, watch("s", key("a"), None))]);
        let after = groups(&[(0, watch("s", key("new"), None)), (1, watch("s", key("a"), None))]);
        assert_eq!(assign(&after, &running(&before)), [None, Some(0)]);
    }
}
