/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What a hook does, as constants in .rodata. Each hook is its own instance of an object, so the verifier
 * knows every value here and removes what the policy does not use: a hook costs what its policy needs.
 * The loader fills it from the policy (`policy/config.rs`).
 */
#ifndef SW_HOOK_H
#define SW_HOOK_H

#include "cgroups.h"

#define MAX_SELECTORS 5
#define MAX_FILTERS 5
#define MAX_RANGES 16

/* Key bytes of the text trie behind the filter's id, and longest Postfix value. */
#define TEXT_KEY 252
#define POSTFIX_KEY 127

enum arg_kind {
	ARG_NONE = 0,
	ARG_SCALAR = 1,
	ARG_STRING = 2,
	ARG_FILE = 3,
	ARG_PATH = 4,
	ARG_SOCK = 5,
};

struct arg_config {
	__u8 kind;
	__u8 index;    /* register number */
	__u8 size;     /* of a scalar, in bytes */
	__u8 is_signed;
};

enum filter_kind {
	FILTER_RANGE = 1,
	FILTER_MASK = 2,
	FILTER_EQUAL = 3,
	FILTER_PREFIX = 4,
	FILTER_POSTFIX = 5,
	FILTER_ADDR_SOURCE = 6,
	FILTER_ADDR_DESTINATION = 7,
	FILTER_PORT_SOURCE = 8,
	FILTER_PORT_DESTINATION = 9,
	FILTER_PROTOCOL = 10,
	FILTER_FAMILY = 11,
	FILTER_STATE = 12,
};

struct range {
	__u64 min; /* of a signed argument: as s64; of a mask: the mask */
	__u64 max;
};

struct filter {
	__u8 kind;
	__u8 arg;
	__u8 negate;
	__u8 ranges_len;
	__u32 id; /* first four bytes of the filter's keys in the tries */
	__u64 telltale; /* of texts: bit n is set if a value's telltale byte is n modulo 64 */
	struct range ranges[MAX_RANGES];
};

struct selector {
	__u8 args_len;
	__u8 returns_len;
	__u8 action;
	__u8 ret_action;
	__u8 binaries_kind; /* 0: no matchBinaries; else FILTER_EQUAL, _PREFIX or _POSTFIX */
	__u8 binaries_negate;
	__u8 post; /* 0: NoPost */
	__u8 ret_post;
	__u32 binaries_id;
	__u32 pad2;
	struct filter args[MAX_FILTERS];
	struct filter returns[MAX_FILTERS];
};

enum scope_flag {
	SCOPE_HOST = 1 << 0,	   /* processes outside of any pod */
	SCOPE_PODS = 1 << 1,	   /* processes of pods that have the bit */
	SCOPE_CONTAINERS = 1 << 2, /* with SCOPE_PODS: and of containers that have it, in whatever pod */
};

struct hook_config {
	__u32 hook;
	__u32 self_tgid; /* the probe's own process is never reported: its log would feed itself */
	__u8 args_len;
	__u8 selectors_len;
	__u8 has_ret;
	__u8 is_syscall; /* the one register is a struct pt_regs * with the caller's registers */
	struct arg_config ret;
	__u32 gate;	  /* the policy's index in `gates` */
	__u32 generation; /* silent unless the gate holds this number */
	__u32 scope;	  /* enum scope_flag; 0: every process */
	__u32 scope_bit;  /* of pods and containers */
	__u32 hierarchy;  /* enum hierarchy_kind */
	__u32 pad;
	struct arg_config args[MAX_ARGS + 1];
	struct selector selectors[MAX_SELECTORS];
};

const volatile struct hook_config cfg SEC(".rodata.hook");

struct text_key {
	__u32 prefixlen;
	__u32 id;
	char text[TEXT_KEY];
};

/* Equal, Prefix and (reversed) Postfix values of this hook; an exact value carries its NUL. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct text_key);
	__type(value, u8);
} texts SEC(".maps");

struct addr_key {
	__u32 prefixlen;
	__u32 id; /* the filter's, with ADDR_V6 for IPv6 */
	__u8 addr[16];
};

#define ADDR_V6 0x80000000u

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct addr_key);
	__type(value, u8);
} addrs SEC(".maps");

#endif
