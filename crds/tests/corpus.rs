//! Every recorded TracingPolicy parses; what we support compiles, the rest is refused at its path.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod shared;

use securitywatch_api::document::load;

/// The cases we cannot honour yet, and the first thing in each that we refuse.
const REFUSED: &[(&str, &str)] = &[
    ("bprm", "spec.kprobes[0].args[0].type"),
    ("commit-creds-caps", "spec.kprobes[0].selectors[0].matchCapabilities"),
    ("cred-type", "spec.kprobes[0].args[0].type"),
    ("file-ratelimit", "spec.kprobes[0].selectors[0].matchActions[0].rateLimit"),
    ("policylibrary-bpf", "spec.kprobes[0].args[0].type"),
    ("policylibrary-privileges-privileges-raise", "spec.kprobes[0].args[1].type"),
    (
        "policylibrary-privileges-privileges-setuid-root",
        "spec.kprobes[0].selectors[0].matchActions[0].rateLimit",
    ),
    ("policylibrary-sshd", "spec.kprobes[0].returnArg.type"),
    ("tracingpolicy-datagram-with-selectors", "spec.kprobes[0].args[1].type"),
    ("tracingpolicy-fd_install_caps", "spec.kprobes[0].selectors[0].matchCapabilities"),
    ("tracingpolicy-fd_install_ns_host", "spec.kprobes[0].selectors[0].matchNamespaces"),
    ("tracingpolicy-host-changes-monitor-kernel-modules", "spec.kprobes[2].args[0].type"),
    ("tracingpolicy-list-syscalls", "spec.lists"),
    ("tracingpolicy-lsm_file_open", "spec.lsmhooks"),
    ("tracingpolicy-process-credentials-process-creds-installed", "spec.kprobes[0].args[0].type"),
    ("tracingpolicy-security_bprm_check", "spec.kprobes[0].args[0].type"),
    ("tracingpolicy-sys_clock_settime", "spec.kprobes[0].selectors[0].matchPIDs"),
    ("tracingpolicy-write", "spec.kprobes[0].args[1].type"),
];

#[test]
fn recorded_policies_compile_or_are_refused_at_their_path() {
    let Some(policies) = shared::golden_policies() else {
        return;
    };
    let mut compiled = 0;
    for (case, text) in &policies {
        let refused = REFUSED.iter().find(|(name, _)| name == case).map(|(_, path)| *path);
        match (load("policy.yaml", text), refused) {
            (Ok(documents), None) => {
                let hooks: usize =
                    documents.iter().filter_map(|d| d.policy.as_ref()).map(|p| p.hooks.len()).sum();
                assert!(hooks > 0, "{case} has no hook");
                println!("{case}: ok, {hooks} hooks");
                compiled += 1;
            }
            (Err(errors), Some(path)) => {
                let first = &errors.errors[0];
                println!("{case}: {first}");
                assert_eq!(first.path.as_str(), path, "{case}: {errors}");
                assert!(
                    errors.errors.iter().all(|error| error.position.line > 1),
                    "{case}: {errors}"
                );
            }
            (Ok(_), Some(path)) => panic!("{case} compiles but {path} is listed as refused"),
            (Err(errors), None) => panic!("{case}: {errors}"),
        }
    }
    println!("{compiled} compile, {} are refused", policies.len() - compiled);
    assert_eq!(policies.len() - compiled, REFUSED.len());
}

#[test]
fn the_walk_throughs_are_accepted() {
    let Some(folder) = shared::shared("walkthroughs") else {
        return;
    };
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();

    let policy = load("sensitive-files-policy.yaml", &read("sensitive-files-policy.yaml")).unwrap();
    assert_eq!(policy[0].policy.as_ref().unwrap().hooks.len(), 3);

    let files = load("sensitive-files-alerts.json", &read("sensitive-files-alerts.json")).unwrap();
    assert_eq!(files[0].alerts[0].name, "Unauthorised access");

    // Published with a placeholder where the reader's own webhook goes.
    let egress = read("egress-alerts.json");
    let errors = load("egress-alerts.json", &egress).unwrap_err();
    let places: Vec<_> = errors.errors.iter().map(|e| (e.position.line, e.path.as_str())).collect();
    assert_eq!(
        places,
        [(8, "alerts[0].targets[0].endpoint"), (28, "alerts[1].targets[0].endpoint")]
    );
    let mended = egress.replace("webhook.site_custom_endpoint", "https://example.test/hook");
    let alerts = &load("egress-alerts.json", &mended).unwrap()[0].alerts;
    let names: Vec<_> = alerts.iter().map(|alert| alert.name.as_str()).collect();
    assert_eq!(names, ["wget_command", "curl_command"]);
}
