//! The server's outbound policy: adding what our receivers need, and saying what a refusal means.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::wire::OutboundPolicy;

/// The policy that lets the server call `addresses`; `None` when it does already. Nothing that others put there is
/// removed, and single addresses are added, never networks or names: a name could lead anywhere tomorrow.
pub(crate) fn merge(policy: &OutboundPolicy, addresses: &[IpAddr]) -> Option<OutboundPolicy> {
    let mut merged = policy.clone();
    for address in addresses.iter().filter(|address| is_private(**address)) {
        let covered = policy
            .allowed_cidrs
            .iter()
            .filter_map(|text| text.parse::<IpNet>().ok())
            .any(|network| network.contains(address));
        let network = IpNet::from(*address).to_string();
        merged.allow_private = true;
        if !covered && !merged.allowed_cidrs.contains(&network) {
            merged.allowed_cidrs.push(network);
        }
    }
    (merged != *policy).then_some(merged)
}

/// What the server refuses unless it is told otherwise, as far as we would ever ask for it.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let shared = matches!(address.octets(), [100, 64..=127, ..]);
            address.is_private() || address.is_loopback() || shared
        }
        IpAddr::V6(address) => {
            address.is_loopback() || matches!(address.segments(), [0xfc00..=0xfdff, ..])
        }
    }
}

/// Whether a refusal comes from the policy.
pub(crate) fn is_refusal(answer: &str) -> bool {
    answer.contains("outbound security policy")
}

/// What a refusal means and who can do what about it. Knows the server's words and repeats none of them: they hold the
/// receiver's host.
pub(crate) fn explain(answer: &str, managed: bool) -> &'static str {
    let has = |words: &str| answer.contains(words);
    if has("requires allowPrivate") || has("Private target") {
        if managed {
            "the receiver is at a private address that the operator could not get allowed; an admin of the server must add it to \
             allowedCidrs of /api/v1/alert-target-policy and set allowPrivate"
        } else {
            "the receiver is at a private address; an admin of the server must set allowPrivate and add the receiver to allowedDomains or \
             allowedCidrs of /api/v1/alert-target-policy (or let the operator do it: --manage-outbound-policy and an admin account)"
        }
    } else if has("failed to resolve") {
        "the server cannot resolve the receiver's host name; check the URL in the Secret"
    } else if has("skipTlsCheck") {
        "skipTlsCheck is not allowed; remove it, or an admin of the server must set allowInvalidTls in /api/v1/alert-target-policy"
    } else if has("Slack alert target must use HTTPS") || has("invalid slack host") {
        "a Slack receiver is at https://hooks.slack.com; check the URL in the Secret, or use a webhook"
    } else if has("custom header is not allowed") {
        "a header of the receiver is never allowed (Host, Cookie, Connection and the like); remove it"
    } else if has("Authorization") || has("credentials") || has("sensitive header") {
        "passwords and Authorization headers go only to allow-listed receivers; an admin of the server must add the receiver to \
         allowedDomains of /api/v1/alert-target-policy"
    } else if has("denied") || has("deny") || has("conflict") {
        "the receiver is on a deny list; an admin of the server must change /api/v1/alert-target-policy"
    } else {
        "the receiver is not allowed; an admin of the server must change /api/v1/alert-target-policy"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> OutboundPolicy {
        OutboundPolicy {
            allowed_domains: vec!["alertmanager.example".into()],
            allowed_cidrs: vec!["10.0.0.0/24".into()],
            denied_cidrs: vec!["10.1.0.0/16".into()],
            ..OutboundPolicy::default()
        }
    }

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn ours_is_added_and_nothing_is_taken_away() {
        let wanted = addresses(&["10.0.0.7", "10.96.0.9", "fd00::9", "93.184.215.14", "10.96.0.9"]);
        let merged = merge(&policy(), &wanted).unwrap();
        assert_eq!(
            merged,
            OutboundPolicy {
                allow_private: true,
                allowed_cidrs: vec![
                    "10.0.0.0/24".into(),
                    "10.96.0.9/32".into(),
                    "fd00::9/128".into()
                ],
                ..policy()
            }
        );
        assert_eq!(merge(&merged, &wanted), None);
        assert_eq!(merge(&policy(), &addresses(&["93.184.215.14"])), None);
    }

    #[test]
    fn recorded_refusals_are_understood() {
        let refusal = |what: &str| {
            format!(
                r#"{{"error":"Alert target blocked by outbound security policy","message":"Alert target outbound policy rejected request:{what}","hint":"Ask admin to allow this destination using the alert target policy."}}"#
            )
        };
        for (what, words) in [
            (
                "private target requires allowPrivate=true and an allowlist match:127.0.0.1",
                "--manage-outbound-policy",
            ),
            ("failed to resolve target host receiver.example.invalid :failed", "cannot resolve"),
            ("Slack alert target must use HTTPS", "hooks.slack.com"),
            ("invalid slack host: slack.example.com", "hooks.slack.com"),
            ("skipTlsCheck is disabled by server policy", "allowInvalidTls"),
            ("custom header is not allowed:Host", "Cookie"),
            ("something new", "an admin of the server"),
        ] {
            let answer = refusal(what);
            assert!(is_refusal(&answer));
            let sentence = explain(&answer, false);
            assert!(sentence.contains(words), "{what}: {sentence}");
        }
    }
}
