//! The hooks of a policy.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{KProbeArg, KProbeSelector, ReturnArgAction};

/// A hook on a kernel function or a syscall.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.__return__) || !self.__return__ || has(self.returnArg)",
    "message": "return: true needs returnArg, for example returnArg: {index: 0, type: int}"
}]))]
pub struct KProbeSpec {
    /// The function, for example tcp_connect, or with syscall the system call, for example sys_openat.
    #[schemars(length(min = 1, max = 256))]
    pub call: String,
    /// Report the call when it returns, with its return value; needs returnArg.
    #[serde(rename = "return", skip_serializing_if = "Option::is_none")]
    pub returns: Option<bool>,
    /// The call is a system call. Without the field it is: write syscall: false for kernel functions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syscall: Option<bool>,
    /// Text for whoever reads the event; cut at 256 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub message: Option<String>,
    /// Arguments the event records.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 5))]
    pub args: Option<Vec<KProbeArg>>,
    /// Values beside the arguments that the event records.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 5))]
    pub data: Option<Vec<KProbeArg>>,
    /// How the return value is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub return_arg: Option<KProbeArg>,
    /// What happens to a returned socket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub return_arg_action: Option<ReturnArgAction>,
    /// Which calls are reported: the first selector that matches decides. Without any, all are.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 5))]
    pub selectors: Option<Vec<KProbeSelector>>,
    /// Words for whoever sorts the events.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), inner(length(max = 256)))]
    pub tags: Option<Vec<String>>,
    /// What may be missing without an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore: Option<IgnoreCall>,
}

/// What may be missing without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IgnoreCall {
    /// Skip the hook on kernels that do not have the function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_not_found: Option<bool>,
}

/// A hook on a kernel tracepoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TracepointSpec {
    /// The tracepoint's subsystem, for example raw_syscalls.
    #[schemars(length(min = 1, max = 128))]
    pub subsystem: String,
    /// The tracepoint's name, for example sys_enter.
    #[schemars(length(min = 1, max = 128))]
    pub event: String,
    /// Text for whoever reads the event; cut at 256 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub message: Option<String>,
    /// Fields the event records; index is the position in the tracepoint's format.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 5))]
    pub args: Option<Vec<KProbeArg>>,
    /// Which hits are reported: the first selector that matches decides. Without any, all are.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 5))]
    pub selectors: Option<Vec<KProbeSelector>>,
    /// Words for whoever sorts the events.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), inner(length(max = 256)))]
    pub tags: Option<Vec<String>>,
    /// Attach as a raw tracepoint: arguments are those of the kernel function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<bool>,
}

/// A hook on a function of a user-space binary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "[has(self.symbols), has(self.addrs), has(self.offsets)].filter(x, x).size() <= 1",
    "message": "a uprobe names its place by one of symbols, addrs or offsets"
}]))]
pub struct UProbeSpec {
    /// The binary or library.
    #[schemars(length(min = 1, max = 4096))]
    pub path: String,
    /// File with the binary's BTF.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub btf_path: Option<String>,
    /// Functions by symbol.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), inner(length(max = 512)))]
    pub symbols: Option<Vec<String>>,
    /// Functions by offset in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), inner(range(min = 0)))]
    pub offsets: Option<Vec<i64>>,
    /// Functions by address in the binary.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), inner(range(min = 0)))]
    pub addrs: Option<Vec<i64>>,
    /// Offsets of the reference counters that switch the probes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), inner(range(min = 0)))]
    pub ref_ctr_offsets: Option<Vec<i64>>,
    /// Text for whoever reads the event; cut at 256 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub message: Option<String>,
    /// Which calls are reported: the first selector that matches decides. Without any, all are.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 5))]
    pub selectors: Option<Vec<KProbeSelector>>,
    /// Arguments the event records.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 5))]
    pub args: Option<Vec<KProbeArg>>,
    /// Values beside the arguments that the event records.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 5))]
    pub data: Option<Vec<KProbeArg>>,
    /// Words for whoever sorts the events.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), inner(length(max = 256)))]
    pub tags: Option<Vec<String>>,
    /// Report the call when it returns, with its return value.
    #[serde(rename = "return", skip_serializing_if = "Option::is_none")]
    pub returns: Option<bool>,
    /// How the return value is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub return_arg: Option<KProbeArg>,
    /// Digests, one of which the binary must have, as algorithm:hex with sha1, sha256, sha384, sha512
    /// or build-id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(max = 256)))]
    pub binary_digests: Option<Vec<String>>,
    /// What may fail without an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore: Option<IgnoreDigest>,
}

/// What may fail without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IgnoreDigest {
    /// Skip the hook where the binary has none of the digests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest_verification_failure: Option<bool>,
}

/// A hook on a statically defined probe of a user-space binary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UsdtSpec {
    /// The binary or library.
    #[schemars(length(min = 1, max = 4096))]
    pub path: String,
    /// File with the binary's BTF.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub btf_path: Option<String>,
    /// The probe's provider.
    #[schemars(length(min = 1, max = 256))]
    pub provider: String,
    /// The probe's name.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// Words for whoever sorts the events.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), inner(length(max = 256)))]
    pub tags: Option<Vec<String>>,
    /// Text for whoever reads the event; cut at 256 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub message: Option<String>,
    /// Arguments the event records.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 5))]
    pub args: Option<Vec<KProbeArg>>,
    /// Which hits are reported: the first selector that matches decides. Without any, all are.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 5))]
    pub selectors: Option<Vec<KProbeSelector>>,
}

/// A hook on a Linux Security Module function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LsmHookSpec {
    /// The hook, for example file_open.
    #[schemars(length(min = 1, max = 256))]
    pub hook: String,
    /// Text for whoever reads the event; cut at 256 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub message: Option<String>,
    /// Arguments the event records.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 5))]
    pub args: Option<Vec<KProbeArg>>,
    /// Which calls are reported: the first selector that matches decides. Without any, all are.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 5))]
    pub selectors: Option<Vec<KProbeSelector>>,
    /// Words for whoever sorts the events.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), inner(length(max = 256)))]
    pub tags: Option<Vec<String>>,
}
