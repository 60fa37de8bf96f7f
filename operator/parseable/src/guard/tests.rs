use super::*;

fn guard(change: impl FnOnce(&mut GuardPolicy)) -> TargetGuard {
    let mut policy = GuardPolicy::default();
    change(&mut policy);
    TargetGuard::new(policy).unwrap()
}

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

#[test]
fn ordinary_servers_pass() {
    let guard = guard(|_| {});
    for text in [
        "http://parseable.parseable.svc",
        "https://parseable.example.org:8443/base",
        "http://10.96.14.3:8000",
        "http://192.168.1.4",
        "http://[fd00::17]:8000",
        "https://93.184.215.14",
    ] {
        assert_eq!(guard.check_url(&url(text)), Ok(()), "{text}");
    }
}

#[test]
fn addresses_in_every_spelling_are_refused() {
    let guard =
        guard(|policy| policy.denied_cidrs = vec!["10.0.0.1".into(), "172.18.0.0/16".into()]);
    for text in [
        "http://127.0.0.1:8000",
        "http://127.8.8.8",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://0.0.0.0",
        "http://0.1.2.3",
        "http://169.254.169.254/latest/meta-data",
        "http://100.100.100.200",
        "http://224.0.0.1",
        "http://255.255.255.255",
        "http://[::1]:8000",
        "http://[::]",
        "http://[::ffff:127.0.0.1]",
        "http://[::ffff:a9fe:a9fe]",
        "http://[64:ff9b::a9fe:a9fe]",
        "http://[::7f00:1]",
        "http://[2002:7f00:1::]",
        "http://[fe80::1]",
        "http://[fd00:ec2::254]",
        "http://[ff02::1]",
        "http://10.0.0.1",
        "http://172.18.255.1",
    ] {
        let denied = guard.check_url(&url(text));
        assert!(matches!(denied, Err(TargetDenied::Address { .. })), "{text}: {denied:?}");
    }
}

#[test]
fn a_url_is_only_a_place() {
    let guard = guard(|policy| policy.allow_http = false);
    for text in [
        "https://user@example.org",
        "https://:pw@example.org",
        "https://example.org/#x",
        "https://example.org/?x",
        "ftp://example.org",
        "http://example.org",
    ] {
        assert!(guard.check_url(&url(text)).is_err(), "{text}");
    }
    assert_eq!(guard.check_url(&url("https://example.org")), Ok(()));
}

#[test]
fn loopback_for_tests_lifts_nothing_else() {
    let guard = guard(|policy| policy.allow_loopback = true);
    assert_eq!(guard.check_url(&url("http://127.0.0.1:1")), Ok(()));
    assert_eq!(guard.check_address("localhost", "::1".parse().unwrap()), Ok(()));
    assert!(guard.check_url(&url("http://169.254.169.254")).is_err());
}

#[test]
fn patterns() {
    let allowed = |patterns: &[&str], text: &str| {
        let list = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        guard(|policy| policy.allowed_targets = list).check_url(&url(text)).is_ok()
    };
    let patterns = ["parseable.*.svc", "*.Example.org:443", "10.96.0.9", "[fd00::9]:80"];
    for (text, expected) in [
        ("http://parseable.parseable.svc", true),
        ("http://PARSEABLE.a.b.svc.", true),
        ("http://parseable.parseable.svc.evil.com", false),
        ("http://xparseable.a.svc", false),
        ("https://logs.example.org", true),
        ("https://logs.example.org:8443", false),
        ("http://logs.example.org", false),
        ("https://example.org", false),
        ("http://10.96.0.9:8000", true),
        ("http://10.96.0.90", false),
        ("http://[fd00::9]", true),
        ("http://[fd00::9]:81", false),
    ] {
        assert_eq!(allowed(&patterns, text), expected, "{text}");
    }
    // An allowed pattern does not lift what is never called.
    assert!(!allowed(&["*"], "http://169.254.169.254"));
    assert!(allowed(&["a*a"], "http://aba") && !allowed(&["ab*ba"], "http://aba"));
}

#[test]
fn mistakes_in_the_policy_are_named() {
    let policy = GuardPolicy { denied_cidrs: vec!["10.0.0.0/33".into()], ..GuardPolicy::default() };
    assert_eq!(
        TargetGuard::new(policy).unwrap_err().to_string(),
        "\"10.0.0.0/33\" is not a network; write it like 10.96.0.1/32 or fd00::/8"
    );
    for text in ["", "https://example.org", "host:port", "[::1"] {
        let policy = GuardPolicy { allowed_targets: vec![text.into()], ..GuardPolicy::default() };
        assert_eq!(TargetGuard::new(policy), Err(GuardConfigError::Pattern(text.into())), "{text}");
    }
}
