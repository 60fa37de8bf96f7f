//! Records made by hand, in the layout of the C structs, through the translator.

use std::collections::HashMap;
use std::mem::{offset_of, size_of};
use std::sync::{Arc, RwLock};

use proptest::prelude::*;
use securitywatch_api::policy::ArgKind;

use super::record::{ImageKey, decode, exec_flag};
use super::{Event, Places, Translator};
use crate::bpf::generic_fentry::types::{
    record_call, record_exit, record_fork, record_header, record_return,
};
use crate::bpf::process::types::record_exec;
use crate::event::{self, Body, Value};
use crate::policy::LoadedHook;
use crate::process_cache::ProcessCache;

/// A record under construction.
struct Bytes(Vec<u8>);

impl Bytes {
    fn new(kind: u8, size: usize, image: ImageKey, time: u64) -> Self {
        let mut bytes = Self(vec![0; size]);
        bytes.put(offset_of!(record_header, r#type), &[kind]);
        bytes.put(offset_of!(record_header, time), &time.to_ne_bytes());
        bytes.put(offset_of!(record_header, exec_time), &image.exec_time.to_ne_bytes());
        bytes.put(offset_of!(record_header, tgid), &image.tgid.to_ne_bytes());
        bytes.put(offset_of!(record_header, tid), &image.tgid.to_ne_bytes());
        bytes
    }

    fn put(&mut self, at: usize, value: &[u8]) -> &mut Self {
        self.0[at..at + value.len()].copy_from_slice(value);
        self
    }
}

fn key(tgid: u32, exec_time: u64) -> ImageKey {
    ImageKey { tgid, exec_time }
}

fn exec(image: ImageKey, parent: ImageKey, flags: u32, filename: &[u8], argv: &[u8]) -> Vec<u8> {
    let mut bytes = Bytes::new(1, size_of::<record_exec>(), image, image.exec_time);
    bytes
        .put(offset_of!(record_exec, parent_exec_time), &parent.exec_time.to_ne_bytes())
        .put(offset_of!(record_exec, parent_tgid), &parent.tgid.to_ne_bytes())
        .put(offset_of!(record_exec, flags), &flags.to_ne_bytes())
        .put(offset_of!(record_exec, filename_len), &(filename.len() as u32).to_ne_bytes())
        .put(offset_of!(record_exec, cwd_len), &1_u32.to_ne_bytes())
        .put(offset_of!(record_exec, args_len), &(argv.len() as u32).to_ne_bytes());
    bytes.0.extend_from_slice(filename);
    bytes.0.push(b'/');
    bytes.0.extend_from_slice(argv);
    bytes.0
}

fn fork(image: ImageKey, parent: ImageKey) -> Vec<u8> {
    let mut bytes = Bytes::new(2, size_of::<record_fork>(), image, image.exec_time);
    bytes
        .put(offset_of!(record_fork, parent_exec_time), &parent.exec_time.to_ne_bytes())
        .put(offset_of!(record_fork, parent_tgid), &parent.tgid.to_ne_bytes());
    bytes.0
}

fn exit(image: ImageKey, time: u64, code: u32) -> Vec<u8> {
    let mut bytes = Bytes::new(3, size_of::<record_exit>(), image, time);
    bytes.put(offset_of!(record_exit, code), &code.to_ne_bytes());
    bytes.0
}

/// A call of hook 7 with one number.
fn call(image: ImageKey, time: u64, number: i32, awaits_return: bool) -> Vec<u8> {
    let mut bytes = Bytes::new(4, size_of::<record_call>(), image, time);
    bytes
        .put(offset_of!(record_call, hook), &7_u32.to_ne_bytes())
        .put(offset_of!(record_call, awaits_return), &[u8::from(awaits_return)])
        .put(offset_of!(record_call, arg_len), &8_u16.to_ne_bytes());
    bytes.0.extend_from_slice(&(number as u64).to_ne_bytes());
    bytes.0
}

fn returned(image: ImageKey, time: u64, call_time: u64, value: i32, matched: bool) -> Vec<u8> {
    let mut bytes = Bytes::new(5, size_of::<record_return>(), image, time);
    bytes
        .put(offset_of!(record_return, hook), &7_u32.to_ne_bytes())
        .put(offset_of!(record_return, call_time), &call_time.to_ne_bytes())
        .put(offset_of!(record_return, ret), &(value as u32 as u64).to_ne_bytes())
        .put(offset_of!(record_return, matched), &[u8::from(matched)]);
    bytes.0
}

fn translate(records: &[Vec<u8>]) -> Vec<Event> {
    let label: Arc<str> = Arc::from("");
    let hook = LoadedHook {
        hook: Arc::new(event::Hook { function: "f".into(), ..event::Hook::default() }),
        args: vec![(ArgKind::Int32, Arc::clone(&label))],
        ret: Some((ArgKind::Int32, label)),
    };
    let table = Arc::new(RwLock::new(HashMap::from([(7, Arc::new(hook))])));
    let mut translator = Translator::new(ProcessCache::new("n", 0), Places::default(), table);
    translator.start_batch();
    let mut events = Vec::new();
    for record in records {
        translator.record(record, &mut |event| events.push(event));
    }
    translator.flush_waiting(&mut |event| events.push(event));
    events
}

fn number(event: &Event) -> (i32, Option<i32>) {
    let Body::Kprobe(kprobe) = &event.body else { panic!("{event:?}") };
    let int = |value: &Value| match value {
        Value::Int(n) => *n,
        other => panic!("{other:?}"),
    };
    (int(&kprobe.args[0].value), kprobe.ret.as_ref().map(|ret| int(&ret.value)))
}

const SHELL: ImageKey = ImageKey { tgid: 10, exec_time: 100 };

#[test]
fn an_image_replaced_by_another_is_its_parent() {
    let events = translate(&[
        exec(SHELL, key(1, 1), exec_flag::CLONE, b"/usr/bin/env", b"env\0echo\0"),
        exec(key(10, 200), SHELL, 0, b"echo", b"echo\0a b\0"),
        exit(key(10, 200), 300, 0),
    ]);
    let second = &events[1];
    assert_eq!(
        (second.process.binary.as_str(), second.process.arguments.as_str()),
        ("/echo", " \"a b\"")
    );
    assert_eq!(second.parent.as_ref().map(|p| p.binary.as_str()), Some("/usr/bin/env"));
    assert_eq!(second.process.parent_exec_id, events[0].process.exec_id);
    assert_eq!(events[2].process.binary, "/echo", "the exit is that of the last image");
    assert_eq!(events.iter().map(|e| e.seq).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn a_fork_without_exec_is_its_parents_image_under_its_own_pid() {
    let child = key(11, 150);
    let events = translate(&[
        exec(SHELL, key(1, 1), exec_flag::CLONE | exec_flag::ROOT_CWD, b"/bin/sh", b"sh\0-c\0x\0"),
        fork(child, SHELL),
        exit(child, 160, 9),
    ]);
    let process = &events[1].process;
    assert_eq!(
        (process.pid, process.binary.as_str(), process.flags.as_str()),
        (11, "/bin/sh", "execve")
    );
    assert_eq!(process.refcnt, 1);
    assert_eq!(process.parent_exec_id, events[0].process.exec_id);
    assert!(matches!(events[1].body, Body::Exit(event::Exit { signal: 9, status: 0, .. })));
}

#[test]
fn a_call_waits_for_its_return_and_for_nothing_else() {
    let events = translate(&[
        exec(SHELL, key(1, 1), 0, b"/bin/sh", b"sh\0"),
        call(SHELL, 201, 1, true),
        call(SHELL, 202, 2, false),
        returned(SHELL, 203, 201, -2, true),
    ]);
    assert_eq!(events[1..].iter().map(number).collect::<Vec<_>>(), [(2, None), (1, Some(-2))]);
}

#[test]
fn a_return_that_does_not_match_takes_its_call_with_it() {
    let events = translate(&[call(SHELL, 201, 1, true), returned(SHELL, 203, 201, 0, false)]);
    assert!(events.is_empty(), "{events:?}");
}

#[test]
fn a_call_that_never_returns_is_told_when_its_process_ends() {
    let events = translate(&[
        exec(SHELL, key(1, 1), 0, b"/bin/sh", b"sh\0"),
        call(SHELL, 201, 5, true),
        exit(SHELL, 300, 0),
    ]);
    assert_eq!(number(&events[1]), (5, None));
    assert!(matches!(events[2].body, Body::Exit(_)));
}

#[test]
fn an_event_of_an_unknown_process_is_kept() {
    let nobody = key(u32::MAX - 1, 5);
    let events = translate(&[call(nobody, 201, 3, false)]);
    assert_eq!((events[0].process.pid, events[0].process.flags.as_str()), (nobody.tgid, "unknown"));
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode(&bytes);
        let _ = translate(&[bytes]);
    }

    #[test]
    fn a_cut_record_is_refused_or_read_within_its_bounds(cut in 0_usize..200) {
        let whole = exec(SHELL, key(1, 1), 0, b"/usr/bin/some/where", b"a\0b\0c\0");
        let cut = cut.min(whole.len());
        prop_assert_eq!(decode(&whole[..cut]).is_ok(), cut == whole.len());
    }
}
