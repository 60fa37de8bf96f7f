/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Every byte that passes between the kernel side and the Rust side. The skeleton generator turns these
 * structs into Rust ones, so that there is one definition of each.
 * All times are CLOCK_BOOTTIME nanoseconds. All structs are free of implicit padding.
 */
#ifndef SW_RECORDS_H
#define SW_RECORDS_H

#define MAX_PATH 4096
#define MAX_ARGV 16384
#define MAX_CGROUP_NAME 128
#define BINARY_PATH 256
#define BINARY_TAIL 128
#define GATES 1024 /* policies loaded at once */
#define SCOPE_BITS 1088 /* generations of policies that select pods: an exchanged policy has two for a while */
#define POD_UID 40 /* 36 characters, or the 32 of a static pod's hash, and NULs */

enum record_type {
	RECORD_EXEC = 1,
	RECORD_FORK = 2,
	RECORD_EXIT = 3,
	RECORD_CALL = 4,
	RECORD_RETURN = 5,
	RECORD_CGROUP = 6,
	RECORD_CGROUP_GONE = 7,
};

enum exec_flag {
	EXEC_CLONE = 1 << 0,	    /* the image replaces a fork's copy, not another image */
	EXEC_ROOT_CWD = 1 << 1,
	EXEC_NO_CWD = 1 << 2,	    /* the task had no fs_struct */
	EXEC_TRUNC_ARGS = 1 << 3,
	EXEC_ERROR_ARGS = 1 << 4,   /* argv could not be read */
	EXEC_ERROR_FILENAME = 1 << 5,
	EXEC_ERROR_CWD = 1 << 6,    /* the walk to the root ran out of steps */
	EXEC_IN_INIT_TREE = 1 << 7,
	EXEC_UNKNOWN_PARENT = 1 << 8,
};

struct record_header {
	__u32 len; /* whole record, this header included */
	__u8 type;
	__u8 pad;
	__u16 cpu;
	__u64 seq; /* per CPU and ring, from 1, no holes but lost records */
	__u64 time;
	__u64 exec_time; /* with tgid the process image's identity; 0 is unknown */
	__u32 tgid;
	__u32 tid;
};

struct record_exec {
	struct record_header h;
	__u64 parent_exec_time;
	__u64 cgroup_id;
	__u32 parent_tgid;
	__u32 flags;
	__u32 uid;
	__u32 auid;
	__u32 filename_len;
	__u32 cwd_len;
	__u32 args_len; /* argv as in memory: NUL-terminated strings, argv[0] first */
	__u32 cgroup_len;
	__u32 namespace_pid; /* in the innermost pid namespace; 0: that is the host's */
	__u32 pad;
	/* filename, cwd, args, cgroup name follow */
};

struct record_fork {
	struct record_header h; /* of the child */
	__u64 parent_exec_time;
	__u32 parent_tgid;
	__u32 flags;
	__u32 namespace_pid;
	__u32 pad;
};

struct record_exit {
	struct record_header h;
	__u32 code; /* as in wait(2) */
	__u32 pad;
};

/* A cgroup of a pod was made; before any process can be in it. */
struct record_cgroup {
	struct record_header h;
	__u64 cgroup;
	__u64 container;
	char pod[POD_UID];
	__u32 name_len;
	__u32 pad;
	/* name follows */
};

struct record_cgroup_gone {
	struct record_header h;
	__u64 cgroup;
};

#define MAX_ARGS 5

struct record_call {
	struct record_header h;
	__u64 ret;
	__u64 cgroup_id;
	__u32 hook;
	__u8 action;
	__u8 ret_action;
	__u8 has_ret;
	__u8 awaits_return; /* a record_return with the same hook, tid and call_time follows */
	__u16 arg_at[MAX_ARGS + 1];  /* from the first byte after this struct */
	__u16 arg_len[MAX_ARGS + 1]; /* 0: not there */
	/* args follow, each at a multiple of 8, in the order they were needed */
};

struct record_return {
	struct record_header h;
	__u64 call_time;
	__u64 ret;
	__u32 hook;
	__u8 matched;
	__u8 ret_action;
	__u8 pad[2];
};

enum action {
	ACTION_POST = 0,
	ACTION_SIGKILL = 1,
	ACTION_NO_POST = 2,
};

enum path_flag {
	PATH_UNRESOLVED = 1 << 0,
};

/* payload of a file or path argument; the text follows, without NUL */
struct arg_path {
	__u16 mode;
	__u16 flags;
	__u32 len;
};

/* payload of a string argument; the text follows, without NUL */
struct arg_text {
	__s32 error;
	__u32 len;
};

struct arg_sock {
	__u64 cookie; /* the socket's address; hashed before it leaves the probe */
	__u32 mark;
	__u32 priority;
	__u16 family;
	__u16 type;
	__u16 protocol;
	__u16 sport;
	__u16 dport;
	__u8 state;
	__u8 pad[5];
	__u8 saddr[16];
	__u8 daddr[16];
};

enum loss {
	LOSS_LIFECYCLE_RING_FULL = 0,
	LOSS_TELEMETRY_RING_FULL = 1,
	LOSS_SCRATCH_BUSY = 2,
	LOSS_PENDING_FULL = 3,
	LOSS_PROCESS_TABLE_FULL = 4,
	LOSS_SIGNAL_FAILED = 5,
	LOSS_CGROUP_TABLE_FULL = 6,
	LOSS_CAUSES = 7,
};

/* What the kernel side remembers of a process: the value of map `processes`, keyed by tgid. */
struct process {
	__u64 exec_time;
	__u64 parent_exec_time;
	__u32 parent_tgid;
	__u32 flags;
	__u32 path_len; /* of the executable, resolved; only the first BINARY_PATH - 1 bytes are in path */
	__u32 pad;
	char path[BINARY_PATH];
	char tail[BINARY_TAIL]; /* last bytes of a longer path */
};

enum process_flag {
	PROCESS_CLONE = 1 << 0, /* forked, no exec since */
	PROCESS_IN_INIT_TREE = 1 << 1,
};

/* The value of map `cgroups`: the pod of a cgroup. */
struct pod_cgroup {
	char pod[POD_UID];
	__u64 container; /* the id of the cgroup directly below the pod's: this one or one above it; 0: the pod's own */
};

/* The value of maps `pods` and `containers`: bit n is set if generation n of the policies selects it. */
struct scope {
	__u64 bits[SCOPE_BITS / 64];
};

/* One page the two sides share: map `control`. */
struct control {
	__u32 reader_asleep;  /* the reader waits in epoll: the next record must wake it */
	__u32 wake_bytes;     /* unread bytes that wake it in any case */
};

#endif
