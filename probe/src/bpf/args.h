/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Reading arguments into the payload. Text is read when a filter asks for it, the rest after a match. */
#ifndef SW_ARGS_H
#define SW_ARGS_H

#include "slot.h"

#define AF_INET 2
#define AF_INET6 10

/* The text begins 8 bytes into an argument's payload (struct arg_path, struct arg_text). */
#define TEXT_AT 8

static __always_inline bool is_kernel_address(u64 p)
{
	return (s64)p < 0;
}

static __always_inline u64 scalar_value(u64 reg, u32 size, bool is_signed)
{
	switch (size) {
	case 1:
		return is_signed ? (u64)(s64)(s8)reg : (u8)reg;
	case 2:
		return is_signed ? (u64)(s64)(s16)reg : (u16)reg;
	case 4:
		return is_signed ? (u64)(s64)(s32)reg : (u32)reg;
	default:
		return reg;
	}
}

static __always_inline void arg_done(struct slot *s, u32 n, u32 at, u32 len)
{
	s->rec.arg_len[n] = len;
	s->rec.arg_at[n] = at;
	s->used = at + ((len + 7) & ~7u);
	s->have |= 1 << n;
}

static __always_inline void read_string(struct slot *s, u32 n, u32 at, u64 p)
{
	struct arg_text *t = (void *)&s->payload[at];
	char *text = &s->payload[at + TEXT_AT];
	long len;

	len = is_kernel_address(p) ? bpf_probe_read_kernel_str(text, MAX_PATH, (void *)p) :
				     bpf_probe_read_user_str(text, MAX_PATH, (void *)p);
	t->error = len < 0 ? len : 0;
	if (len <= 0)
		len = 1;
	if (len > MAX_PATH)
		len = MAX_PATH;
	t->len = s->text_len[n] = len - 1;
	arg_done(s, n, at, TEXT_AT + len - 1);
}

static __always_inline void read_path(struct slot *s, u32 n, u32 at, const struct path *p)
{
	struct arg_path *a = (void *)&s->payload[at];
	struct path_walk *w = path_read(s->number, p);
	u32 off, len;

	a->mode = 0; /* after a match: read_mode */
	a->flags = PATH_UNRESOLVED;
	a->len = s->text_len[n] = 0;
	s->inodes[n] = w ? w->inode : NULL;
	if (!w)
		return arg_done(s, n, at, TEXT_AT);
	a->flags = w->flags;
	off = w->off;
	if (off >= MAX_PATH)
		return arg_done(s, n, at, TEXT_AT);
	len = MAX_PATH - off;
	bpf_probe_read_kernel(&s->payload[at + TEXT_AT], len, &w->text[off]);
	s->payload[at + TEXT_AT + len] = 0; /* what tells an exact value from a longer one */
	a->len = s->text_len[n] = len;
	arg_done(s, n, at, TEXT_AT + len);
}

/* The mode is shown, not filtered on: only an event pays for it. */
static __always_inline void read_mode(struct slot *s, u32 n, const struct path *p)
{
	u32 at = s->rec.arg_at[n];
	struct inode *inode = s->inodes[n];

	if (at > PAYLOAD_MAX || !s->rec.arg_len[n])
		return;
	if (!inode)
		inode = BPF_CORE_READ(p, dentry, d_inode);
	((struct arg_path *)&s->payload[at])->mode = BPF_CORE_READ(inode, i_mode);
}

static __always_inline void read_sock(struct slot *s, u32 n, u32 at, struct sock *sk)
{
	struct arg_sock *a = (void *)&s->payload[at];

	__builtin_memset(a, 0, sizeof(*a));
	a->cookie = (u64)sk;
	a->mark = BPF_CORE_READ(sk, sk_mark);
	a->priority = BPF_CORE_READ(sk, sk_priority);
	a->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	a->type = BPF_CORE_READ(sk, sk_type);
	a->protocol = BPF_CORE_READ(sk, sk_protocol);
	a->state = BPF_CORE_READ(sk, __sk_common.skc_state);
	if (a->family == AF_INET) {
		BPF_CORE_READ_INTO((u32 *)a->saddr, sk, __sk_common.skc_rcv_saddr);
		BPF_CORE_READ_INTO((u32 *)a->daddr, sk, __sk_common.skc_daddr);
	} else if (a->family == AF_INET6) {
		bpf_core_read(a->saddr, sizeof(a->saddr), &sk->__sk_common.skc_v6_rcv_saddr);
		bpf_core_read(a->daddr, sizeof(a->daddr), &sk->__sk_common.skc_v6_daddr);
	}
	if (a->family == AF_INET || a->family == AF_INET6) {
		a->sport = BPF_CORE_READ(sk, __sk_common.skc_num);
		a->dport = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	}
	arg_done(s, n, at, sizeof(*a));
}

/* Argument `n` is now in the payload. */
static __noinline int read_arg(struct slot *s, u32 n)
{
	u32 at = s->used;
	u64 reg;

	if (n >= MAX_ARGS)
		return 0;
	if (s->have & (1 << n))
		return 0;
	if (at > PAYLOAD_MAX)
		return 0;
	if (cfg.args[n].index >= 6)
		return 0;
	reg = s->regs[cfg.args[n].index];
	switch (cfg.args[n].kind) {
	case ARG_SCALAR:
		*(u64 *)&s->payload[at] = scalar_value(reg, cfg.args[n].size, cfg.args[n].is_signed);
		arg_done(s, n, at, sizeof(u64));
		break;
	case ARG_STRING:
		read_string(s, n, at, reg);
		break;
	case ARG_FILE:
		read_path(s, n, at, (void *)reg + bpf_core_field_offset(struct file, f_path));
		break;
	case ARG_PATH:
		read_path(s, n, at, (void *)reg);
		break;
	case ARG_SOCK:
		read_sock(s, n, at, (void *)reg);
		break;
	}
	return 0;
}

#endif
