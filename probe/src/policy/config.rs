//! A checked hook to the constants and map entries its BPF object is loaded with.
//!
//! Pure: no kernel is asked anything here.

use ipnet::IpNet;
use securitywatch_api::policy::{
    Action, Arg, ArgFilter, ArgKind, BinaryFilter, Hook, HookTarget, ReturnArg, Selector, Side,
    Test, TextPlace,
};

use crate::bpf::generic_fentry::types::{arg_config, filter, hook_config, range, selector};

/// `enum arg_kind` in `hook.h`.
mod arg_kind {
    pub const SCALAR: u8 = 1;
    pub const STRING: u8 = 2;
    pub const FILE: u8 = 3;
    pub const PATH: u8 = 4;
    pub const SOCK: u8 = 5;
}

/// `enum filter_kind` in `hook.h`.
mod filter_kind {
    pub const RANGE: u8 = 1;
    pub const MASK: u8 = 2;
    pub const EQUAL: u8 = 3;
    pub const PREFIX: u8 = 4;
    pub const POSTFIX: u8 = 5;
    pub const ADDR_SOURCE: u8 = 6;
    pub const ADDR_DESTINATION: u8 = 7;
    pub const PORT_SOURCE: u8 = 8;
    pub const PORT_DESTINATION: u8 = 9;
    pub const PROTOCOL: u8 = 10;
    pub const FAMILY: u8 = 11;
    pub const STATE: u8 = 12;
}

/// `enum action` in `records.h`.
pub mod action {
    pub const POST: u8 = 0;
    pub const SIGKILL: u8 = 1;
}

/// `enum scope_flag` in `hook.h`.
mod scope_flag {
    pub const HOST: u32 = 1 << 0;
    pub const PODS: u32 = 1 << 1;
    pub const CONTAINERS: u32 = 1 << 2;
}

/// Whose calls a hook sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookScope {
    /// Every process's.
    Everything,
    /// Only some.
    Some {
        /// Of processes outside of any pod.
        host: bool,
        /// Of pods that have this bit; `true`: or whose container has it.
        pods: Option<(u32, bool)>,
    },
}

impl HookScope {
    /// `scope` and `scope_bit` of the hook's constants.
    #[must_use]
    pub const fn constants(self) -> (u32, u32) {
        let Self::Some { host, pods } = self else { return (0, 0) };
        let host = if host { scope_flag::HOST } else { 0 };
        match pods {
            // Of nobody at all: no pod has a bit that does not exist.
            None if host == 0 => (scope_flag::PODS, u32::MAX),
            None => (host, 0),
            Some((bit, false)) => (host | scope_flag::PODS, bit),
            Some((bit, true)) => (host | scope_flag::PODS | scope_flag::CONTAINERS, bit),
        }
    }
}

/// In an address key's id: the filter's IPv6 networks.
const ADDR_V6: u32 = 0x8000_0000;

/// What one hook is loaded with.
#[derive(Debug, Clone)]
pub struct HookConfig {
    /// `.rodata.hook`; the loader adds the hook's number and the probe's own pid.
    pub rodata: Box<hook_config>,
    /// Keys of map `texts`: prefix length in bits, filter id, bytes.
    pub texts: Vec<TextKey>,
    /// Keys of map `addrs`.
    pub addrs: Vec<AddrKey>,
}

/// `struct text_key`, its bytes shortened to those in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextKey {
    pub id: u32,
    pub bytes: Vec<u8>,
}

/// `struct addr_key`, its bytes shortened to the family's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddrKey {
    pub id: u32,
    /// Bits of the network.
    pub prefix: u32,
    /// 4 or 16.
    pub bytes: Vec<u8>,
}

impl TextKey {
    /// The map key in memory order, `size` bytes long.
    #[must_use]
    pub fn to_bytes(&self, size: usize) -> Vec<u8> {
        trie_key(8 * (4 + self.bytes.len() as u32), self.id, &self.bytes, size)
    }
}

impl AddrKey {
    /// The map key in memory order, `size` bytes long.
    #[must_use]
    pub fn to_bytes(&self, size: usize) -> Vec<u8> {
        trie_key(8 * 4 + self.prefix, self.id, &self.bytes, size)
    }
}

fn trie_key(bits: u32, id: u32, bytes: &[u8], size: usize) -> Vec<u8> {
    let mut key = Vec::with_capacity(size);
    key.extend_from_slice(&bits.to_ne_bytes());
    key.extend_from_slice(&id.to_ne_bytes());
    key.extend_from_slice(bytes);
    key.resize(size, 0);
    key
}

/// Compiles a hook.
#[must_use]
pub fn compile(hook: &Hook) -> HookConfig {
    let mut config = HookConfig {
        rodata: Box::new(hook_config::default()),
        texts: Vec::new(),
        addrs: Vec::new(),
    };
    let rodata = &mut *config.rodata;
    rodata.args_len = hook.args.len() as u8;
    rodata.selectors_len = hook.selectors.len() as u8;
    rodata.is_syscall = u8::from(matches!(hook.target, HookTarget::Syscall(_)));
    rodata.has_ret = u8::from(hook.returns.is_some());
    rodata.ret = hook.returns.as_ref().map(return_config).unwrap_or_default();
    for (slot, arg) in rodata.args.iter_mut().zip(&hook.args) {
        *slot = argument(arg);
    }
    let mut keys = Keys { next: 1, texts: Vec::new(), addrs: Vec::new() };
    for (slot, selector) in rodata.selectors.iter_mut().zip(&hook.selectors) {
        *slot = compile_selector(selector, &mut keys);
        if hook.returns.is_some() && selector.return_action == Action::default() {
            // As in Tetragon: without actions of its own, the return repeats those of the call.
            slot.ret_action = slot.action;
        }
    }
    config.texts = keys.texts;
    config.addrs = keys.addrs;
    config
}

fn argument(arg: &Arg) -> arg_config {
    arg_config { index: arg.index, ..kind_config(arg.kind) }
}

fn return_config(ret: &ReturnArg) -> arg_config {
    kind_config(ret.kind)
}

fn kind_config(kind: ArgKind) -> arg_config {
    let scalar = |size, is_signed| arg_config {
        kind: arg_kind::SCALAR,
        index: 0,
        size,
        is_signed: u8::from(is_signed),
    };
    let other = |kind| arg_config { kind, ..arg_config::default() };
    match kind {
        ArgKind::Int8 => scalar(1, true),
        ArgKind::Int16 => scalar(2, true),
        ArgKind::Int32 => scalar(4, true),
        ArgKind::Int64 => scalar(8, true),
        ArgKind::Uint8 => scalar(1, false),
        ArgKind::Uint16 => scalar(2, false),
        ArgKind::Uint32 => scalar(4, false),
        ArgKind::Uint64 => scalar(8, false),
        ArgKind::String => other(arg_kind::STRING),
        ArgKind::File => other(arg_kind::FILE),
        ArgKind::Path => other(arg_kind::PATH),
        ArgKind::Sock => other(arg_kind::SOCK),
        ArgKind::Nop => arg_config::default(),
    }
}

/// The tries' entries, with an id for each filter that owns some.
struct Keys {
    next: u32,
    texts: Vec<TextKey>,
    addrs: Vec<AddrKey>,
}

impl Keys {
    fn id(&mut self) -> u32 {
        let id = self.next;
        self.next += 1;
        id
    }

    fn add_texts(&mut self, place: TextPlace, values: &[String]) -> u32 {
        let id = self.id();
        for value in values {
            let mut bytes = value.as_bytes().to_vec();
            match place {
                // Only the end of the text is followed by a NUL, so a value with one matches the whole text.
                TextPlace::Equal => bytes.push(0),
                TextPlace::Prefix => {}
                TextPlace::Postfix => bytes.reverse(),
            }
            self.texts.push(TextKey { id, bytes });
        }
        id
    }

    fn add_networks(&mut self, networks: &[IpNet]) -> u32 {
        let id = self.id();
        for network in networks {
            self.addrs.push(match network {
                IpNet::V4(n) => AddrKey {
                    id,
                    prefix: u32::from(n.prefix_len()),
                    bytes: n.network().octets().to_vec(),
                },
                IpNet::V6(n) => AddrKey {
                    id: id | ADDR_V6,
                    prefix: u32::from(n.prefix_len()),
                    bytes: n.network().octets().to_vec(),
                },
            });
        }
        id
    }
}

fn compile_selector(source: &Selector, keys: &mut Keys) -> selector {
    let mut out = selector {
        args_len: source.args.len() as u8,
        returns_len: source.returns.len() as u8,
        action: action_number(source.action),
        ret_action: action_number(source.return_action),
        post: u8::from(!source.action.no_post),
        ret_post: u8::from(!source.return_action.no_post),
        ..selector::default()
    };
    // All must hold, so the order is free: a number that does not fit spares the walk of a path.
    let mut filters: Vec<_> = source.args.iter().collect();
    filters.sort_by_key(|f| cost(&f.test));
    for (slot, f) in out.args.iter_mut().zip(filters) {
        *slot = compile_filter(f, keys);
    }
    for (slot, f) in out.returns.iter_mut().zip(&source.returns) {
        *slot = compile_filter(f, keys);
    }
    if let Some(BinaryFilter { place, negate, values }) = &source.binaries {
        out.binaries_kind = text_kind(*place);
        out.binaries_negate = u8::from(*negate);
        out.binaries_id = keys.add_texts(*place, values);
    }
    out
}

/// What a test costs the kernel, in rough order.
const fn cost(test: &Test) -> u8 {
    match test {
        Test::Range { .. } | Test::Mask { .. } => 0,
        Test::Family { .. } | Test::State { .. } | Test::Protocol { .. } | Test::Port { .. } => 1,
        Test::Addr { .. } => 2,
        Test::Text { place: TextPlace::Equal | TextPlace::Prefix, .. } => 3,
        Test::Text { place: TextPlace::Postfix, .. } => 4,
    }
}

const fn action_number(source: Action) -> u8 {
    if source.sigkill { action::SIGKILL } else { action::POST }
}

const fn text_kind(place: TextPlace) -> u8 {
    match place {
        TextPlace::Equal => filter_kind::EQUAL,
        TextPlace::Prefix => filter_kind::PREFIX,
        TextPlace::Postfix => filter_kind::POSTFIX,
    }
}

fn compile_filter(source: &ArgFilter, keys: &mut Keys) -> filter {
    let mut out = filter { arg: source.arg as u8, ..filter::default() };
    match &source.test {
        Test::Range { negate, ranges } => set_ranges(&mut out, filter_kind::RANGE, *negate, ranges),
        Test::Mask { masks } => {
            out.kind = filter_kind::MASK;
            out.ranges_len = masks.len() as u8;
            for (slot, mask) in out.ranges.iter_mut().zip(masks) {
                slot.min = *mask;
            }
        }
        Test::Text { place, negate, values } => {
            out.kind = text_kind(*place);
            out.negate = u8::from(*negate);
            out.id = keys.add_texts(*place, values);
            out.telltale = telltale(*place, values);
        }
        Test::Addr { side, negate, networks } => {
            out.kind = match side {
                Side::Source => filter_kind::ADDR_SOURCE,
                Side::Destination => filter_kind::ADDR_DESTINATION,
            };
            out.negate = u8::from(*negate);
            out.id = keys.add_networks(networks);
        }
        Test::Port { side, negate, ranges } => {
            let kind = match side {
                Side::Source => filter_kind::PORT_SOURCE,
                Side::Destination => filter_kind::PORT_DESTINATION,
            };
            set_ranges(&mut out, kind, *negate, ranges);
        }
        Test::Protocol { values } => set_ranges(&mut out, filter_kind::PROTOCOL, false, values),
        Test::Family { values } => set_ranges(&mut out, filter_kind::FAMILY, false, values),
        Test::State { values } => set_ranges(&mut out, filter_kind::STATE, false, values),
    }
    out
}

/// Which bytes (modulo 64) the values have at the place the kernel side looks at first: the last one for
/// Postfix, else the second, which for a text of one byte is its NUL.
fn telltale(place: TextPlace, values: &[String]) -> u64 {
    values.iter().fold(0, |bits, value| {
        let bytes = value.as_bytes();
        let byte = match place {
            TextPlace::Postfix => bytes.last().copied(),
            TextPlace::Equal => Some(bytes.get(1).copied().unwrap_or(0)),
            TextPlace::Prefix => bytes.get(1).copied(),
        };
        // A value too short to have one says nothing: every text must be looked up.
        bits | byte.map_or(u64::MAX, |byte| 1 << (byte & 63))
    })
}

fn set_ranges(out: &mut filter, kind: u8, negate: bool, ranges: &[std::ops::RangeInclusive<i128>]) {
    out.kind = kind;
    out.negate = u8::from(negate);
    out.ranges_len = ranges.len() as u8;
    for (slot, r) in out.ranges.iter_mut().zip(ranges) {
        // Two's complement keeps both signed and unsigned 64-bit values; the kernel side knows which.
        *slot = range { min: *r.start() as u64, max: *r.end() as u64 };
    }
}

/// The constants in memory order. Field by field: the struct has no padding, and no cast is needed.
#[must_use]
pub fn rodata_bytes(config: &hook_config) -> Vec<u8> {
    let mut out = Vec::with_capacity(size_of::<hook_config>());
    out.extend_from_slice(&config.hook.to_ne_bytes());
    out.extend_from_slice(&config.self_tgid.to_ne_bytes());
    out.extend_from_slice(&[
        config.args_len,
        config.selectors_len,
        config.has_ret,
        config.is_syscall,
    ]);
    push_arg(&mut out, &config.ret);
    out.extend_from_slice(&config.gate.to_ne_bytes());
    out.extend_from_slice(&config.generation.to_ne_bytes());
    out.extend_from_slice(&config.scope.to_ne_bytes());
    out.extend_from_slice(&config.scope_bit.to_ne_bytes());
    out.extend_from_slice(&config.hierarchy.to_ne_bytes());
    out.extend_from_slice(&config.pad.to_ne_bytes());
    for arg in &config.args {
        push_arg(&mut out, arg);
    }
    for selector in &config.selectors {
        push_selector(&mut out, selector);
    }
    out
}

fn push_arg(out: &mut Vec<u8>, arg: &arg_config) {
    out.extend_from_slice(&[arg.kind, arg.index, arg.size, arg.is_signed]);
}

fn push_selector(out: &mut Vec<u8>, s: &selector) {
    out.extend_from_slice(&[
        s.args_len,
        s.returns_len,
        s.action,
        s.ret_action,
        s.binaries_kind,
        s.binaries_negate,
        s.post,
        s.ret_post,
    ]);
    out.extend_from_slice(&s.binaries_id.to_ne_bytes());
    out.extend_from_slice(&s.pad2.to_ne_bytes());
    for f in s.args.iter().chain(&s.returns) {
        out.extend_from_slice(&[f.kind, f.arg, f.negate, f.ranges_len]);
        out.extend_from_slice(&f.id.to_ne_bytes());
        out.extend_from_slice(&f.telltale.to_ne_bytes());
        for r in &f.ranges {
            out.extend_from_slice(&r.min.to_ne_bytes());
            out.extend_from_slice(&r.max.to_ne_bytes());
        }
    }
}

#[cfg(test)]
mod tests;
