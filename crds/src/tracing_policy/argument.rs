//! What a hook records of a call.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One argument of the hooked function, or one value found through it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KProbeArg {
    /// Position in the function's own argument list, counted from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 31))]
    pub index: Option<i32>,
    /// How the argument is read and shown.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<ArgType>,
    /// Path of fields to follow from the argument, for example mm.owner.real_parent.comm.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub resolve: Option<String>,
    /// For char_buf and char_iovec: position of the argument that holds the size, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 32))]
    pub size_arg_index: Option<i32>,
    /// For char_buf and char_iovec: read when the function returns, once the buffer is filled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub return_copy: Option<bool>,
    /// For char_buf: read up to 327360 bytes instead of 4096.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_data: Option<bool>,
    /// Shown beside the value in the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub label: Option<String>,
    /// For data: where the value starts from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<ArgSource>,
    /// Kernel type the argument is taken for before resolve is followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub btf_type: Option<String>,
    /// Kernel module that defines btfType.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub btf_type_module: Option<String>,
}

/// Where a data value starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum ArgSource {
    CurrentTask,
    PtRegs,
}

/// What happens to a returned socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReturnArgAction {
    /// Nothing beyond the event.
    Post,
    /// Remember which process owns the socket.
    TrackSock,
    /// Forget it.
    UntrackSock,
}

/// Tetragon's argument types, by its own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum ArgType {
    Auto,
    Int,
    Sint8,
    Int8,
    Uint8,
    Sint16,
    Int16,
    Uint16,
    Uint32,
    Sint32,
    Int32,
    Ulong,
    Uint64,
    SizeT,
    Long,
    Sint64,
    Int64,
    CharBuf,
    CharIovec,
    Skb,
    Sock,
    Sockaddr,
    Socket,
    SockaddrUn,
    String,
    Fd,
    File,
    Filename,
    Path,
    Nop,
    BpfAttr,
    PerfEvent,
    BpfMap,
    UserNamespace,
    Capability,
    Kiocb,
    IovIter,
    Cred,
    ConstBuf,
    LoadInfo,
    Module,
    Syscall64,
    KernelCapT,
    CapInheritable,
    CapPermitted,
    CapEffective,
    LinuxBinprm,
    DataLoc,
    NetDevice,
    BpfCmd,
    Dentry,
    BpfProg,
}
