#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::mem::offset_of;

use securitywatch_api::field::FieldPath;

use super::*;

fn hook(selectors: Vec<Selector>) -> Hook {
    let arg = |index, kind| Arg { index, kind, label: None };
    Hook {
        path: FieldPath::root().field("spec").field("kprobes").index(0),
        target: HookTarget::Function("f".into()),
        message: None,
        tags: Vec::new(),
        args: vec![arg(0, ArgKind::File), arg(2, ArgKind::Int32)],
        returns: Some(ReturnArg { kind: ArgKind::Int64, label: None }),
        ignore_call_not_found: false,
        selectors,
    }
}

fn text(place: TextPlace, values: &[&str]) -> ArgFilter {
    let values = values.iter().map(ToString::to_string).collect();
    ArgFilter { arg: 0, test: Test::Text { place, negate: false, values } }
}

fn range(arg: usize, min: i128, max: i128) -> ArgFilter {
    ArgFilter { arg, test: Test::Range { negate: true, ranges: vec![min..=max] } }
}

#[test]
fn the_bytes_stand_where_the_c_struct_has_the_fields() {
    let mut config = compile(&hook(vec![
        Selector::default(),
        Selector {
            args: vec![range(1, -5, 7)],
            returns: vec![range(0, 1, 2)],
            ..Selector::default()
        },
    ]));
    config.rodata.hook = 0x0102_0304;
    config.rodata.generation = 0x0a0b_0c0d;
    (config.rodata.scope, config.rodata.scope_bit) =
        HookScope::Some { host: true, pods: Some((7, true)) }.constants();
    config.rodata.hierarchy = 9;
    let bytes = rodata_bytes(&config.rodata);
    assert_eq!(bytes.len(), size_of::<hook_config>(), "no padding");
    let u32_at = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let i64_at = |at: usize| i64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    assert_eq!(u32_at(offset_of!(hook_config, hook)), 0x0102_0304);
    assert_eq!(u32_at(offset_of!(hook_config, generation)), 0x0a0b_0c0d);
    assert_eq!(u32_at(offset_of!(hook_config, scope)), 0b111);
    assert_eq!(u32_at(offset_of!(hook_config, scope_bit)), 7);
    assert_eq!(u32_at(offset_of!(hook_config, hierarchy)), 9);
    assert_eq!(
        bytes[offset_of!(hook_config, args)
            + size_of::<arg_config>()
            + offset_of!(arg_config, index)],
        2
    );
    let second = offset_of!(hook_config, selectors) + size_of::<selector>();
    assert_eq!(bytes[second + offset_of!(selector, args_len)], 1);
    let filter_at = second + offset_of!(selector, args);
    assert_eq!(bytes[filter_at + offset_of!(filter, negate)], 1);
    assert_eq!(i64_at(filter_at + offset_of!(filter, ranges)), -5);
    assert_eq!(i64_at(filter_at + offset_of!(filter, ranges) + offset_of!(range, max)), 7);
    let returns_at = second + offset_of!(selector, returns) + offset_of!(filter, ranges);
    assert_eq!(i64_at(returns_at + offset_of!(range, max)), 2);
}

#[test]
fn who_selects_nobody_sees_nobody_and_who_selects_nothing_sees_everybody() {
    let some = |host, pods| HookScope::Some { host, pods }.constants();
    assert_eq!(HookScope::Everything.constants(), (0, 0));
    assert_eq!(some(true, None), (scope_flag::HOST, 0));
    assert_eq!(some(false, Some((3, false))), (scope_flag::PODS, 3));
    assert_eq!(some(false, None), (scope_flag::PODS, u32::MAX), "no flag at all is everybody");
}

#[test]
fn numbers_are_asked_before_paths() {
    let paths_first =
        vec![text(TextPlace::Postfix, &["x"]), text(TextPlace::Prefix, &["/etc"]), range(1, 4, 4)];
    let config = compile(&hook(vec![Selector { args: paths_first, ..Selector::default() }]));
    let kinds: Vec<u8> = config.rodata.selectors[0].args[..3].iter().map(|f| f.kind).collect();
    assert_eq!(kinds, [filter_kind::RANGE, filter_kind::PREFIX, filter_kind::POSTFIX]);
}

#[test]
fn values_become_keys_of_their_own_filter() {
    let two = [TextPlace::Equal, TextPlace::Postfix]
        .map(|place| Selector { args: vec![text(place, &["/a", "bc"])], ..Selector::default() });
    let config = compile(&hook(two.to_vec()));
    let keys: Vec<(u32, &[u8])> = config.texts.iter().map(|k| (k.id, k.bytes.as_slice())).collect();
    assert_eq!(keys, [(1, &b"/a\0"[..]), (1, b"bc\0"), (2, b"a/"), (2, b"cb")]);
    let key = config.texts[0].to_bytes(16);
    assert_eq!(key[..4], (8_u32 * (4 + 3)).to_ne_bytes());
    assert_eq!(&key[8..], b"/a\0\0\0\0\0\0");
}

#[test]
fn networks_of_both_families_are_told_apart() {
    let networks = ["10.0.0.0/8", "::1/128"].map(|n| n.parse().expect("network")).to_vec();
    let test = Test::Addr { side: Side::Destination, negate: true, networks };
    let config = compile(&hook(vec![Selector {
        args: vec![ArgFilter { arg: 0, test }],
        ..Selector::default()
    }]));
    assert_eq!(config.addrs[0], AddrKey { id: 1, prefix: 8, bytes: vec![10, 0, 0, 0] });
    assert_eq!((config.addrs[1].id, config.addrs[1].prefix), (1 | ADDR_V6, 128));
}

#[test]
fn a_telltale_never_hides_a_value() {
    assert_eq!(telltale(TextPlace::Prefix, &["/etc".into()]), 1 << (b'e' & 63));
    assert_eq!(telltale(TextPlace::Postfix, &["/etc".into()]), 1 << (b'c' & 63));
    assert_eq!(
        telltale(TextPlace::Prefix, &["/".into()]),
        u64::MAX,
        "a root prefix matches every path"
    );
    assert_eq!(
        telltale(TextPlace::Equal, &["/".into()]),
        1,
        "the byte after an exact / is its NUL"
    );
}
