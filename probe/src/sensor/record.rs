//! Ring-buffer bytes to records. The layout of each record is the C struct's own, taken from the object's
//! BTF by the skeleton generator; reading is bounds-checked, so a torn record is an error and no more.

use std::mem::{offset_of, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::bpf::cgroup::types::{record_cgroup, record_cgroup_gone};
use crate::bpf::generic_fentry::types::{
    arg_path, arg_sock, arg_text, record_call, record_exit, record_fork, record_header,
    record_return,
};
use crate::bpf::process::types::record_exec;
use crate::cgroups::Made;

/// `enum record_type` in `records.h`.
mod kind {
    pub const EXEC: u8 = 1;
    pub const FORK: u8 = 2;
    pub const EXIT: u8 = 3;
    pub const CALL: u8 = 4;
    pub const RETURN: u8 = 5;
    pub const CGROUP: u8 = 6;
    pub const CGROUP_GONE: u8 = 7;
}

/// `enum exec_flag` in `records.h`.
pub mod exec_flag {
    pub const CLONE: u32 = 1 << 0;
    pub const ROOT_CWD: u32 = 1 << 1;
    pub const NO_CWD: u32 = 1 << 2;
    pub const TRUNC_ARGS: u32 = 1 << 3;
    pub const ERROR_ARGS: u32 = 1 << 4;
    pub const ERROR_FILENAME: u32 = 1 << 5;
    pub const ERROR_CWD: u32 = 1 << 6;
    pub const IN_INIT_TREE: u32 = 1 << 7;
    pub const UNKNOWN_PARENT: u32 = 1 << 8;
}

/// `PATH_UNRESOLVED` in `records.h`.
const PATH_UNRESOLVED: u16 = 1 << 0;

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// A record that cannot be read: the probe and its BPF objects disagree, or memory is corrupt.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Fewer bytes than its own length says.
    #[error("record of type {kind} ends after {len} bytes")]
    Short { kind: u8, len: usize },
    /// A type this probe does not know.
    #[error("record of unknown type {0}")]
    Unknown(u8),
}

/// What every record begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub cpu: u16,
    /// Counts the records of one CPU and ring, lost ones included.
    pub seq: u64,
    /// CLOCK_BOOTTIME, ns.
    pub time: u64,
    pub image: ImageKey,
    pub tid: u32,
}

/// A process image: thread group and the boot time of its exec (or fork), in ns. 0 is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ImageKey {
    pub tgid: u32,
    pub exec_time: u64,
}

/// One record.
#[derive(Debug)]
pub struct Record<'a> {
    pub header: Header,
    pub body: Body<'a>,
}

/// By type.
#[derive(Debug)]
pub enum Body<'a> {
    Exec(Exec<'a>),
    Fork(Fork),
    /// The code is as wait(2) has it.
    Exit {
        code: u32,
    },
    Call(Call<'a>),
    Return(Return),
    /// A cgroup of a pod was made.
    Cgroup(Made<'a>),
    /// A cgroup of a pod was removed.
    CgroupGone {
        id: u64,
    },
}

/// A new image.
#[derive(Debug)]
pub struct Exec<'a> {
    pub parent: ImageKey,
    /// [`exec_flag`]
    pub flags: u32,
    pub uid: u32,
    pub auid: u32,
    /// 0 where the process is in no pid namespace but the host's.
    pub namespace_pid: u32,
    pub cgroup_id: u64,
    pub filename: &'a [u8],
    pub cwd: &'a [u8],
    /// NUL-terminated strings, `argv[0]` first.
    pub argv: &'a [u8],
    pub cgroup: &'a [u8],
}

/// A new process that runs its parent's image.
#[derive(Debug)]
pub struct Fork {
    pub parent: ImageKey,
    /// [`exec_flag`]
    pub flags: u32,
    /// See [`Exec::namespace_pid`].
    pub namespace_pid: u32,
}

/// A policy hook was hit.
#[derive(Debug)]
pub struct Call<'a> {
    pub hook: u32,
    pub action: u8,
    pub ret_action: u8,
    /// Of the process at this moment.
    pub cgroup_id: u64,
    /// Present when the same program saw the return.
    pub ret: Option<u64>,
    /// A [`Return`] with this record's time follows.
    pub awaits_return: bool,
    args: [&'a [u8]; 6],
}

/// The return of an earlier call.
#[derive(Debug)]
pub struct Return {
    pub hook: u32,
    pub call_time: u64,
    pub ret: u64,
    /// The return filters matched: the call is an event.
    pub matched: bool,
    pub ret_action: u8,
}

/// A file's or path's bytes.
#[derive(Debug)]
pub struct PathArg<'a> {
    pub path: &'a [u8],
    pub mode: u16,
    pub unresolved: bool,
}

/// A socket.
#[derive(Debug)]
pub struct SockArg {
    pub cookie: u64,
    pub mark: u32,
    pub priority: u32,
    pub family: u16,
    pub kind: u16,
    pub protocol: u16,
    pub sport: u16,
    pub dport: u16,
    pub state: u8,
    pub saddr: Option<IpAddr>,
    pub daddr: Option<IpAddr>,
}

/// Reads of fixed-size fields; past the end they are 0, which the length checks before make unreachable.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..at + N).and_then(|s| s.try_into().ok()).unwrap_or([0; N])
}
fn u8_at(bytes: &[u8], at: usize) -> u8 {
    array::<1>(bytes, at)[0]
}
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes(array(bytes, at))
}
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(array(bytes, at))
}
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(array(bytes, at))
}

/// The boot time a record carries; enough to order it without decoding the rest.
#[must_use]
pub fn time_of(bytes: &[u8]) -> u64 {
    u64_at(bytes, offset_of!(record_header, time))
}

/// CPU, sequence number and whether the record comes from the telemetry ring.
#[must_use]
pub fn place_of(bytes: &[u8]) -> Option<(u16, u64, bool)> {
    if bytes.len() < size_of::<record_header>() {
        return None;
    }
    let kind = u8_at(bytes, offset_of!(record_header, r#type));
    Some((
        u16_at(bytes, offset_of!(record_header, cpu)),
        u64_at(bytes, offset_of!(record_header, seq)),
        matches!(kind, kind::CALL | kind::RETURN),
    ))
}

/// Reads one record.
///
/// # Errors
/// A record shorter than its type's struct, or of an unknown type.
pub fn decode(bytes: &[u8]) -> Result<Record<'_>, RecordError> {
    let kind = u8_at(bytes, offset_of!(record_header, r#type));
    let least = match kind {
        kind::EXEC => size_of::<record_exec>(),
        kind::FORK => size_of::<record_fork>(),
        kind::EXIT => size_of::<record_exit>(),
        kind::CALL => size_of::<record_call>(),
        kind::RETURN => size_of::<record_return>(),
        kind::CGROUP => size_of::<record_cgroup>(),
        kind::CGROUP_GONE => size_of::<record_cgroup_gone>(),
        other => return Err(RecordError::Unknown(other)),
    };
    let short = || RecordError::Short { kind, len: bytes.len() };
    if bytes.len() < least {
        return Err(short());
    }
    let body = match kind {
        kind::EXEC => Body::Exec(exec(bytes).ok_or_else(short)?),
        kind::FORK => Body::Fork(Fork {
            parent: ImageKey {
                tgid: u32_at(bytes, offset_of!(record_fork, parent_tgid)),
                exec_time: u64_at(bytes, offset_of!(record_fork, parent_exec_time)),
            },
            flags: u32_at(bytes, offset_of!(record_fork, flags)),
            namespace_pid: u32_at(bytes, offset_of!(record_fork, namespace_pid)),
        }),
        kind::EXIT => Body::Exit { code: u32_at(bytes, offset_of!(record_exit, code)) },
        kind::CALL => Body::Call(call(bytes).ok_or_else(short)?),
        kind::CGROUP => Body::Cgroup(cgroup(bytes).ok_or_else(short)?),
        kind::CGROUP_GONE => {
            Body::CgroupGone { id: u64_at(bytes, offset_of!(record_cgroup_gone, cgroup)) }
        }
        _ => Body::Return(Return {
            hook: u32_at(bytes, offset_of!(record_return, hook)),
            call_time: u64_at(bytes, offset_of!(record_return, call_time)),
            ret: u64_at(bytes, offset_of!(record_return, ret)),
            matched: u8_at(bytes, offset_of!(record_return, matched)) != 0,
            ret_action: u8_at(bytes, offset_of!(record_return, ret_action)),
        }),
    };
    Ok(Record { header: header(bytes), body })
}

fn header(bytes: &[u8]) -> Header {
    Header {
        cpu: u16_at(bytes, offset_of!(record_header, cpu)),
        seq: u64_at(bytes, offset_of!(record_header, seq)),
        time: time_of(bytes),
        image: ImageKey {
            tgid: u32_at(bytes, offset_of!(record_header, tgid)),
            exec_time: u64_at(bytes, offset_of!(record_header, exec_time)),
        },
        tid: u32_at(bytes, offset_of!(record_header, tid)),
    }
}

fn exec(bytes: &[u8]) -> Option<Exec<'_>> {
    let len = |at| u32_at(bytes, at) as usize;
    let mut rest = bytes.get(size_of::<record_exec>()..)?;
    let mut take = |n: usize| {
        let (head, tail) = rest.split_at_checked(n)?;
        rest = tail;
        Some(head)
    };
    Some(Exec {
        parent: ImageKey {
            tgid: u32_at(bytes, offset_of!(record_exec, parent_tgid)),
            exec_time: u64_at(bytes, offset_of!(record_exec, parent_exec_time)),
        },
        flags: u32_at(bytes, offset_of!(record_exec, flags)),
        uid: u32_at(bytes, offset_of!(record_exec, uid)),
        auid: u32_at(bytes, offset_of!(record_exec, auid)),
        namespace_pid: u32_at(bytes, offset_of!(record_exec, namespace_pid)),
        cgroup_id: u64_at(bytes, offset_of!(record_exec, cgroup_id)),
        filename: take(len(offset_of!(record_exec, filename_len)))?,
        cwd: take(len(offset_of!(record_exec, cwd_len)))?,
        argv: take(len(offset_of!(record_exec, args_len)))?,
        cgroup: take(len(offset_of!(record_exec, cgroup_len)))?,
    })
}

fn cgroup(bytes: &[u8]) -> Option<Made<'_>> {
    let name_len = u32_at(bytes, offset_of!(record_cgroup, name_len)) as usize;
    let pod = bytes.get(offset_of!(record_cgroup, pod)..offset_of!(record_cgroup, name_len))?;
    Some(Made {
        id: u64_at(bytes, offset_of!(record_cgroup, cgroup)),
        container: u64_at(bytes, offset_of!(record_cgroup, container)),
        pod: pod.split(|b| *b == 0).next()?,
        name: bytes.get(size_of::<record_cgroup>()..)?.get(..name_len)?,
    })
}

fn call(bytes: &[u8]) -> Option<Call<'_>> {
    let payload = bytes.get(size_of::<record_call>()..)?;
    let mut args = [&payload[..0]; 6];
    for (n, arg) in args.iter_mut().enumerate() {
        let at = u16_at(bytes, offset_of!(record_call, arg_at) + 2 * n) as usize;
        let len = u16_at(bytes, offset_of!(record_call, arg_len) + 2 * n) as usize;
        *arg = payload.get(at..at + len)?;
    }
    let has_ret = u8_at(bytes, offset_of!(record_call, has_ret)) != 0;
    Some(Call {
        hook: u32_at(bytes, offset_of!(record_call, hook)),
        action: u8_at(bytes, offset_of!(record_call, action)),
        ret_action: u8_at(bytes, offset_of!(record_call, ret_action)),
        cgroup_id: u64_at(bytes, offset_of!(record_call, cgroup_id)),
        ret: has_ret.then(|| u64_at(bytes, offset_of!(record_call, ret))),
        awaits_return: u8_at(bytes, offset_of!(record_call, awaits_return)) != 0,
        args,
    })
}

impl<'a> Call<'a> {
    /// Argument `n` as a number; `None` if the kernel side could not record it.
    #[must_use]
    pub fn scalar(&self, n: usize) -> Option<u64> {
        self.args.get(n)?.first_chunk().map(|b| u64::from_ne_bytes(*b))
    }

    /// Argument `n` as text; `Err` where the memory could not be read.
    #[must_use]
    pub fn text(&self, n: usize) -> Option<Result<&'a [u8], i32>> {
        let bytes = *self.args.get(n)?;
        let text = bytes.get(size_of::<arg_text>()..)?;
        let error = i32::from_ne_bytes(array(bytes, offset_of!(arg_text, error)));
        Some(if error == 0 { Ok(text) } else { Err(error) })
    }

    /// Argument `n` as a path.
    #[must_use]
    pub fn path(&self, n: usize) -> Option<PathArg<'a>> {
        let bytes = *self.args.get(n)?;
        Some(PathArg {
            path: bytes.get(size_of::<arg_path>()..)?,
            mode: u16_at(bytes, offset_of!(arg_path, mode)),
            unresolved: u16_at(bytes, offset_of!(arg_path, flags)) & PATH_UNRESOLVED != 0,
        })
    }

    /// Argument `n` as a socket.
    #[must_use]
    pub fn sock(&self, n: usize) -> Option<SockArg> {
        let bytes = *self.args.get(n)?;
        if bytes.len() < size_of::<arg_sock>() {
            return None;
        }
        let family = u16_at(bytes, offset_of!(arg_sock, family));
        let addr = |at| match family {
            AF_INET => Some(IpAddr::V4(Ipv4Addr::from(array::<4>(bytes, at)))),
            AF_INET6 => Some(IpAddr::V6(Ipv6Addr::from(array::<16>(bytes, at)))),
            _ => None,
        };
        Some(SockArg {
            cookie: u64_at(bytes, offset_of!(arg_sock, cookie)),
            mark: u32_at(bytes, offset_of!(arg_sock, mark)),
            priority: u32_at(bytes, offset_of!(arg_sock, priority)),
            family,
            kind: u16_at(bytes, offset_of!(arg_sock, r#type)),
            protocol: u16_at(bytes, offset_of!(arg_sock, protocol)),
            sport: u16_at(bytes, offset_of!(arg_sock, sport)),
            dport: u16_at(bytes, offset_of!(arg_sock, dport)),
            state: u8_at(bytes, offset_of!(arg_sock, state)),
            saddr: addr(offset_of!(arg_sock, saddr)),
            daddr: addr(offset_of!(arg_sock, daddr)),
        })
    }
}
