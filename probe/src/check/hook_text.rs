//! What a hook records and selects, in a few words.

use std::fmt::Write as _;

use securitywatch_api::policy::{
    Action, ArgFilter, ArgKind, BinaryFilter, Hook, Selector, Side, Test, TextPlace,
};

/// For example `args sock   1 selector: NotDAddr 4 networks (v4 and v6)`.
#[must_use]
pub fn describe(hook: &Hook) -> String {
    let mut text = String::from("args ");
    let kinds: Vec<&str> = hook
        .args
        .iter()
        .map(|arg| arg.kind)
        .filter(|kind| *kind != ArgKind::Nop)
        .map(word)
        .collect();
    text.push_str(&if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") });
    if let Some(returns) = &hook.returns {
        let _ = write!(text, "   returns {}", word(returns.kind));
    }
    text.push_str("   ");
    text.push_str(&selectors(&hook.selectors));
    text
}

fn selectors(selectors: &[Selector]) -> String {
    if selectors.is_empty() {
        return "no selector: every call".to_owned();
    }
    let each: Vec<String> = selectors.iter().map(selector).collect();
    format!("{}: {}", counted(each.len(), "selector"), each.join("; "))
}

fn selector(selector: &Selector) -> String {
    let mut parts: Vec<String> = selector.args.iter().map(filter).collect();
    parts.extend(selector.binaries.as_ref().map(binaries));
    parts.extend(selector.returns.iter().map(|of| format!("return {}", filter(of))));
    if parts.is_empty() {
        parts.push("every call".to_owned());
    }
    parts.extend(actions(selector.action, ""));
    parts.extend(actions(selector.return_action, " on return"));
    parts.join(", ")
}

fn actions(action: Action, when: &str) -> impl Iterator<Item = String> {
    [(action.sigkill, "Sigkill"), (action.no_post, "NoPost")]
        .into_iter()
        .filter(|(is_set, _)| *is_set)
        .map(move |(_, name)| format!("{name}{when}"))
}

/// The operators as the policy writes them; a range may also come from `GT`, `LT` and `InRange`.
fn filter(filter: &ArgFilter) -> String {
    match &filter.test {
        Test::Range { negate, ranges } => {
            format!("{}Equal {}", not(*negate), counted(ranges.len(), "value"))
        }
        Test::Mask { masks } => format!("Mask {}", counted(masks.len(), "value")),
        Test::Text { place, negate, values } => {
            format!("{}{} {}", not(*negate), place_word(*place), counted(values.len(), "value"))
        }
        Test::Addr { side, negate, networks } => format!(
            "{}{}Addr {}{}",
            not(*negate),
            letter(*side),
            counted(networks.len(), "network"),
            families(
                networks.iter().any(|network| network.addr().is_ipv4()),
                networks.iter().any(|network| network.addr().is_ipv6()),
            )
        ),
        Test::Port { side, negate, ranges } => {
            format!("{}{}Port {}", not(*negate), letter(*side), counted(ranges.len(), "value"))
        }
        Test::Protocol { values } => format!("Protocol {}", counted(values.len(), "value")),
        Test::Family { values } => format!("Family {}", counted(values.len(), "value")),
        Test::State { values } => format!("State {}", counted(values.len(), "value")),
    }
}

fn binaries(filter: &BinaryFilter) -> String {
    let place = match filter.place {
        TextPlace::Equal => "In",
        place => place_word(place),
    };
    let names = if filter.values.len() == 1 { "binary" } else { "binaries" };
    format!("{}{place} {} {names}", not(filter.negate), filter.values.len())
}

const fn not(negate: bool) -> &'static str {
    if negate { "Not" } else { "" }
}

const fn letter(side: Side) -> &'static str {
    match side {
        Side::Source => "S",
        Side::Destination => "D",
    }
}

const fn place_word(place: TextPlace) -> &'static str {
    match place {
        TextPlace::Equal => "Equal",
        TextPlace::Prefix => "Prefix",
        TextPlace::Postfix => "Postfix",
    }
}

const fn families(v4: bool, v6: bool) -> &'static str {
    match (v4, v6) {
        (true, true) => " (v4 and v6)",
        (true, false) => " (v4)",
        (false, true) => " (v6)",
        (false, false) => "",
    }
}

const fn word(kind: ArgKind) -> &'static str {
    match kind {
        ArgKind::Int32 => "int",
        ArgKind::Int16 => "int16",
        ArgKind::Int8 => "int8",
        ArgKind::Uint32 => "uint32",
        ArgKind::Uint16 => "uint16",
        ArgKind::Uint8 => "uint8",
        ArgKind::Int64 => "int64",
        ArgKind::Uint64 => "uint64",
        ArgKind::String => "string",
        ArgKind::File => "file",
        ArgKind::Path => "path",
        ArgKind::Sock => "sock",
        ArgKind::Nop => "nop",
    }
}

/// `1 hook`, `2 hooks`
#[must_use]
pub fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use securitywatch_api::field::FieldPath;
    use securitywatch_api::policy::{Arg, HookTarget, ReturnArg};

    use super::*;

    fn hook(kinds: &[ArgKind], selectors: Vec<Selector>) -> Hook {
        let args =
            kinds.iter().zip(0..).map(|(kind, index)| Arg { index, kind: *kind, label: None });
        Hook {
            path: FieldPath::root(),
            target: HookTarget::Function("f".into()),
            message: None,
            tags: vec![],
            args: args.collect(),
            returns: None,
            ignore_call_not_found: false,
            selectors,
        }
    }

    #[test]
    fn the_egress_walk_through() {
        let networks = ["127.0.0.1/32", "10.0.0.0/8", "::1/128"].map(|text| text.parse().unwrap());
        let test =
            Test::Addr { side: Side::Destination, negate: true, networks: networks.to_vec() };
        let selector = Selector { args: vec![ArgFilter { arg: 0, test }], ..Selector::default() };
        assert_eq!(
            describe(&hook(&[ArgKind::Sock], vec![selector])),
            "args sock   1 selector: NotDAddr 3 networks (v4 and v6)"
        );
    }

    #[test]
    fn every_part_has_its_words() {
        let filter = |test| ArgFilter { arg: 0, test };
        let text = |place, negate, values: &[&str]| Test::Text {
            place,
            negate,
            values: values.iter().map(ToString::to_string).collect(),
        };
        let full = Selector {
            args: vec![
                filter(text(TextPlace::Prefix, false, &["/etc/passwd", "/etc/shadow"])),
                filter(Test::Mask { masks: vec![2] }),
                filter(Test::Port { side: Side::Source, negate: true, ranges: vec![1..=2, 4..=4] }),
                filter(Test::Protocol { values: vec![6..=6] }),
            ],
            returns: vec![filter(Test::Range { negate: false, ranges: vec![0..=0] })],
            binaries: Some(BinaryFilter {
                place: TextPlace::Equal,
                negate: true,
                values: vec!["/bin/a".into(), "/bin/b".into()],
            }),
            action: Action { sigkill: true, no_post: false },
            return_action: Action { sigkill: false, no_post: true },
        };
        let mut hook =
            hook(&[ArgKind::File, ArgKind::Nop, ArgKind::Int32], vec![full, Selector::default()]);
        hook.returns = Some(ReturnArg { kind: ArgKind::Int32, label: None });
        assert_eq!(
            describe(&hook),
            "args file, int   returns int   2 selectors: Prefix 2 values, Mask 1 value, NotSPort 2 values, \
             Protocol 1 value, NotIn 2 binaries, return Equal 1 value, Sigkill, NoPost on return; every call"
        );
        hook.args.clear();
        hook.returns = None;
        hook.selectors.clear();
        assert_eq!(describe(&hook), "args none   no selector: every call");
    }
}
