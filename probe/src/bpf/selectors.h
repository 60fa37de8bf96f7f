/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Which selector a call matches, decided in the kernel: what does not match costs no copy and no event. */
#ifndef SW_SELECTORS_H
#define SW_SELECTORS_H

#include "args.h"

static __always_inline bool in_ranges(const volatile struct filter *f, u64 v, bool is_signed)
{
	for (u32 i = 0; i < MAX_RANGES; i++) {
		if (i >= f->ranges_len)
			break;
		if (is_signed ? ((s64)v >= (s64)f->ranges[i].min && (s64)v <= (s64)f->ranges[i].max) :
				(v >= f->ranges[i].min && v <= f->ranges[i].max))
			return true;
	}
	return false;
}

static __always_inline bool in_masks(const volatile struct filter *f, u64 v)
{
	for (u32 i = 0; i < MAX_RANGES; i++) {
		if (i >= f->ranges_len)
			break;
		if (v & f->ranges[i].min)
			return true;
	}
	return false;
}

/* The key's text (after its two header words) is `len` bytes long and followed by a NUL. */
static __always_inline bool in_texts(struct text_key *key, u32 id, u32 kind, u32 len)
{
	u32 bytes = kind == FILTER_EQUAL ? len + 1 : len;

	if (bytes > TEXT_KEY) {
		if (kind == FILTER_EQUAL)
			return false;
		bytes = TEXT_KEY;
	}
	key->prefixlen = 8 * (sizeof(key->id) + bytes);
	key->id = id;
	return bpf_map_lookup_elem(&texts, key) != NULL;
}

/*
 * Most texts differ from every value in one byte: the last one for Postfix, else the second (paths all
 * begin alike). One look at it spares most look-ups in the trie.
 */
static __always_inline bool telltale_differs(const volatile struct filter *f, u8 byte)
{
	return !(f->telltale >> (byte & 63) & 1);
}

/* The last bytes of text[0..len), reversed, become the slot's key. */
static __always_inline bool in_postfixes(struct slot *s, const char *text, u32 len, u32 id)
{
	u32 n = len < POSTFIX_KEY ? len : POSTFIX_KEY;

	for (u32 i = 0; i < POSTFIX_KEY; i++) {
		if (i >= n)
			break;
		s->key.text[i] = text[(len - 1 - i) & (MAX_PATH - 1)];
	}
	return in_texts(&s->key, id, FILTER_POSTFIX, n);
}

static __always_inline bool match_text(struct slot *s, const volatile struct filter *f, u32 n)
{
	u32 at, len, last;
	bool found;

	read_arg(s, n);
	at = s->rec.arg_at[n];
	len = s->text_len[n];
	/* no path, no match, not even of the Not forms: pipes, sockets, unreadable memory */
	if (!(s->have & (1 << n)) || !len || len > MAX_PATH || at > PAYLOAD_MAX)
		return false;
	last = f->kind == FILTER_POSTFIX ? (len - 1) & (MAX_PATH - 1) : 1;
	if (telltale_differs(f, s->payload[at + TEXT_AT + last])) {
		found = false;
	} else if (f->kind == FILTER_POSTFIX) {
		found = in_postfixes(s, &s->payload[at + TEXT_AT], len, f->id);
	} else {
		/* looked up where it stands: the two words before the text become the key's header */
		struct text_key *key = (void *)&s->payload[at];
		u64 head = *(u64 *)key;

		found = in_texts(key, f->id, f->kind, len);
		*(u64 *)key = head;
	}
	return found != f->negate;
}

static __always_inline bool match_addr(struct sock *sk, const volatile struct filter *f)
{
	bool source = f->kind == FILTER_ADDR_SOURCE;
	u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);
	struct addr_key key = {};
	u32 bytes;

	if (family == AF_INET) {
		u32 a = source ? BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr) : BPF_CORE_READ(sk, __sk_common.skc_daddr);

		__builtin_memcpy(key.addr, &a, sizeof(a));
		key.id = f->id;
		bytes = 4;
	} else if (family == AF_INET6) {
		if (source)
			bpf_core_read(key.addr, 16, &sk->__sk_common.skc_v6_rcv_saddr);
		else
			bpf_core_read(key.addr, 16, &sk->__sk_common.skc_v6_daddr);
		key.id = f->id | ADDR_V6;
		bytes = 16;
	} else {
		return false;
	}
	key.prefixlen = 8 * (sizeof(key.id) + bytes);
	return (bpf_map_lookup_elem(&addrs, &key) != NULL) != f->negate;
}

static __always_inline bool match_sock(struct slot *s, const volatile struct filter *f, struct sock *sk)
{
	u64 v;

	switch (f->kind) {
	case FILTER_ADDR_SOURCE:
	case FILTER_ADDR_DESTINATION:
		return match_addr(sk, f);
	case FILTER_PORT_SOURCE:
		v = BPF_CORE_READ(sk, __sk_common.skc_num);
		break;
	case FILTER_PORT_DESTINATION:
		v = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
		break;
	case FILTER_PROTOCOL:
		v = BPF_CORE_READ(sk, sk_protocol);
		break;
	case FILTER_FAMILY:
		v = BPF_CORE_READ(sk, __sk_common.skc_family);
		break;
	case FILTER_STATE:
		v = BPF_CORE_READ(sk, __sk_common.skc_state);
		break;
	default:
		return false;
	}
	return in_ranges(f, v, false) != f->negate;
}

static __always_inline bool match_scalar(const volatile struct filter *f, u64 v, bool is_signed)
{
	if (f->kind == FILTER_MASK)
		return in_masks(f, v) != f->negate;
	return in_ranges(f, v, is_signed) != f->negate;
}

static __noinline int match_arg(struct slot *s, u32 sel, u32 n)
{
	const volatile struct filter *f;
	u32 arg, index;

	if (sel >= MAX_SELECTORS || n >= MAX_FILTERS)
		return 0;
	f = &cfg.selectors[sel].args[n];
	arg = f->arg;
	if (arg >= MAX_ARGS)
		return 0;
	switch (f->kind) {
	case FILTER_RANGE:
	case FILTER_MASK:
		index = cfg.args[arg].index;
		if (index >= 6)
			return 0;
		return match_scalar(f, scalar_value(s->regs[index], cfg.args[arg].size, cfg.args[arg].is_signed),
				    cfg.args[arg].is_signed);
	case FILTER_EQUAL:
	case FILTER_PREFIX:
	case FILTER_POSTFIX:
		return match_text(s, f, arg);
	default:
		index = cfg.args[arg].index;
		if (index >= 6)
			return 0;
		return match_sock(s, f, (void *)s->regs[index]);
	}
}

static __noinline int match_return(struct slot *s, u32 sel, u32 n)
{
	if (sel >= MAX_SELECTORS || n >= MAX_FILTERS)
		return 0;
	return match_scalar(&cfg.selectors[sel].returns[n], scalar_value(s->ret, cfg.ret.size, cfg.ret.is_signed),
			    cfg.ret.is_signed);
}

static __noinline int match_binary(struct slot *s, u32 sel)
{
	u32 tgid = bpf_get_current_pid_tgid() >> 32, len;
	struct process *p = bpf_map_lookup_elem(&processes, &tgid);
	bool found;

	if (sel >= MAX_SELECTORS)
		return 0;
	if (!p || !p->path_len)
		return 0;
	len = p->path_len;
	if (cfg.selectors[sel].binaries_kind == FILTER_POSTFIX) {
		bool whole = len < BINARY_PATH;
		const char *text = whole ? p->path : p->tail;
		u32 n = whole ? len : BINARY_TAIL, i;

		if (n > POSTFIX_KEY) {
			text += n - POSTFIX_KEY;
			n = POSTFIX_KEY;
		}
		for (i = 0; i < POSTFIX_KEY; i++) {
			if (i >= n)
				break;
			bpf_probe_read_kernel(&s->key.text[i], 1, text + n - 1 - i);
		}
		found = in_texts(&s->key, cfg.selectors[sel].binaries_id, FILTER_POSTFIX, n);
	} else {
		__builtin_memcpy(s->key.text, p->path, TEXT_KEY);
		found = in_texts(&s->key, cfg.selectors[sel].binaries_id, cfg.selectors[sel].binaries_kind, len);
	}
	return found != cfg.selectors[sel].binaries_negate;
}

static __always_inline bool match_call(struct slot *s, u32 sel)
{
	/* cheapest first: one table lookup spares the path walks */
	if (cfg.selectors[sel].binaries_kind && !match_binary(s, sel))
		return false;
	for (u32 n = 0; n < MAX_FILTERS; n++) {
		if (n >= cfg.selectors[sel].args_len)
			break;
		if (!match_arg(s, sel, n))
			return false;
	}
	return true;
}

static __always_inline bool match_returned(struct slot *s, u32 sel)
{
	for (u32 n = 0; n < MAX_FILTERS; n++) {
		if (n >= cfg.selectors[sel].returns_len)
			break;
		if (!match_return(s, sel, n))
			return false;
	}
	return true;
}

/* The first selector that the call's arguments match, or -1. A hook without selectors posts every call. */
static __always_inline int match_selectors(struct slot *s)
{
	if (!cfg.selectors_len)
		return 0;
	for (u32 sel = 0; sel < MAX_SELECTORS; sel++) {
		if (sel >= cfg.selectors_len)
			break;
		if (match_call(s, sel))
			return sel;
	}
	return -1;
}

#endif
