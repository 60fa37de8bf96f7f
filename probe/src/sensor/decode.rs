//! Recorded arguments to event values.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use securitywatch_api::policy::ArgKind;

use super::record::Call;
use crate::event::{Action, Arg, PathValue, SockValue, Value};
use crate::policy::{LoadedHook, config};
use crate::process_cache::text;

/// A number that lives as long as this run: socket addresses are mixed with it before they leave.
pub fn cookie_key() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Tetragon shows the kernel's address of a socket, which tells an attacker where the kernel lies. The
/// same socket gets the same cookie here, too, but no address can be read from it.
fn cookie(address: u64, key: u64) -> u64 {
    let mut x = address ^ key;
    for _ in 0..3 {
        x = (x ^ (x >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ key.rotate_left(17) | 1);
    }
    x ^ (x >> 29)
}

/// The arguments in the order of the policy, without `nop`s.
pub fn arguments(hook: &LoadedHook, call: &Call<'_>, cookie_key: u64) -> Vec<Arg> {
    hook.args
        .iter()
        .enumerate()
        .filter(|(_, (kind, _))| *kind != ArgKind::Nop)
        .map(|(n, (kind, label))| Arg {
            label: Arc::clone(label),
            value: argument(call, n, *kind, cookie_key)
                .unwrap_or(Value::Error("argument was not recorded")),
        })
        .collect()
}

fn argument(call: &Call<'_>, n: usize, kind: ArgKind, key: u64) -> Option<Value> {
    Some(match kind {
        ArgKind::String => match call.text(n)? {
            Ok(bytes) => Value::String(text(bytes)),
            Err(_) => Value::Error("memory could not be read"),
        },
        ArgKind::File => Value::File(path(call, n)?),
        ArgKind::Path => Value::Path(path(call, n)?),
        ArgKind::Sock => {
            let sock = call.sock(n)?;
            Value::Sock(SockValue {
                family: sock.family,
                kind: sock.kind,
                protocol: sock.protocol,
                mark: sock.mark,
                priority: sock.priority,
                saddr: sock.saddr,
                daddr: sock.daddr,
                sport: sock.sport,
                dport: sock.dport,
                cookie: cookie(sock.cookie, key),
                state: sock.state,
            })
        }
        ArgKind::Nop => return None,
        scalar => number(scalar, call.scalar(n)?),
    })
}

fn path(call: &Call<'_>, n: usize) -> Option<PathValue> {
    let path = call.path(n)?;
    Some(PathValue { path: text(path.path), unresolved: path.unresolved, mode: path.mode })
}

/// A register's value as the type says; only its low bits count.
fn number(kind: ArgKind, value: u64) -> Value {
    match kind {
        ArgKind::Int8 => Value::Int(i32::from(value as i8)),
        ArgKind::Int16 => Value::Int(i32::from(value as i16)),
        ArgKind::Uint8 => Value::Uint(u32::from(value as u8)),
        ArgKind::Uint16 => Value::Uint(u32::from(value as u16)),
        ArgKind::Uint32 => Value::Uint(value as u32),
        ArgKind::Int64 => Value::Long(value as i64),
        ArgKind::Uint64 => Value::Size(value),
        _ => Value::Int(value as i32),
    }
}

/// The return register.
pub fn return_value(kind: ArgKind, label: &Arc<str>, value: u64) -> Arg {
    Arg { label: Arc::clone(label), value: number(kind, value) }
}

/// `enum action` in `records.h`.
pub const fn action(number: u8) -> Action {
    match number {
        config::action::SIGKILL => Action::Sigkill,
        _ => Action::Post,
    }
}
