/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The core behind every front end: a front end puts the registers into the slot and calls one of
 * `on_call` (entry), `on_return` (exit after an entry) and `on_complete` (exit that sees the arguments too).
 */
#ifndef SW_GENERIC_H
#define SW_GENERIC_H

#include "selectors.h"

#define SIGKILL 9

struct pending_key {
	u64 pid_tgid;
	u32 hook;
	u32 pad;
};

struct pending {
	u64 call_time;
	u32 selector;
	u32 pad;
};

/* Calls of split hooks that have matched and not yet returned. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, struct pending_key);
	__type(value, struct pending);
} pendings SEC(".maps");

static __always_inline bool is_self(void)
{
	return bpf_get_current_pid_tgid() >> 32 == cfg.self_tgid;
}

static __always_inline bool is_silent(void)
{
	u32 gate = cfg.gate;
	u32 *generation = bpf_map_lookup_elem(&gates, &gate);

	return !generation || *generation != cfg.generation;
}

static __always_inline bool has_scope_bit(const struct scope *s)
{
	u32 bit = cfg.scope_bit;

	return s && bit < SCOPE_BITS && s->bits[bit / 64] >> (bit % 64) & 1;
}

/* Whose call it is. Nothing of this is in the program of a policy that applies to every process. */
static __always_inline bool is_in_scope(void)
{
	struct pod_cgroup *cgroup;
	u64 id;

	if (!cfg.scope)
		return true;
	id = current_cgroup_id(cfg.hierarchy);
	cgroup = bpf_map_lookup_elem(&cgroups, &id);
	if (!cgroup)
		return cfg.scope & SCOPE_HOST;
	if (!(cfg.scope & SCOPE_PODS))
		return false;
	if (has_scope_bit(bpf_map_lookup_elem(&pods, cgroup->pod)))
		return true;
	return cfg.scope & SCOPE_CONTAINERS && has_scope_bit(bpf_map_lookup_elem(&containers, &cgroup->container));
}

static __always_inline void fill_identity(struct record_header *h, u8 type)
{
	u32 tgid;
	struct process *p;

	fill_header(h, type, RING_TELEMETRY);
	tgid = h->tgid;
	p = bpf_map_lookup_elem(&processes, &tgid);
	h->exec_time = p ? p->exec_time : 0;
}

static __always_inline void send_telemetry(struct record_header *h, u32 len)
{
	h->len = len;
	if (bpf_ringbuf_output(&telemetry, h, len, wake_flags(&telemetry)))
		count_loss(LOSS_TELEMETRY_RING_FULL);
}

static __always_inline u8 run_action(u8 action)
{
	if (action == ACTION_SIGKILL && bpf_send_signal(SIGKILL))
		count_loss(LOSS_SIGNAL_FAILED);
	return action;
}

static __always_inline void send_call(struct slot *s)
{
	u32 used;

	for (u32 n = 0; n < MAX_ARGS; n++) {
		if (n >= cfg.args_len)
			break;
		if (cfg.args[n].kind == ARG_NONE || cfg.args[n].index >= 6)
			continue;
		read_arg(s, n);
		if (cfg.args[n].kind == ARG_FILE)
			read_mode(s, n, (void *)s->regs[cfg.args[n].index] + bpf_core_field_offset(struct file, f_path));
		else if (cfg.args[n].kind == ARG_PATH)
			read_mode(s, n, (void *)s->regs[cfg.args[n].index]);
	}
	s->rec.cgroup_id = current_cgroup_id(cfg.hierarchy);
	used = s->used;
	if (used > PAYLOAD_ROOM)
		used = PAYLOAD_ROOM;
	send_telemetry(&s->rec.h, sizeof(s->rec) + used);
}

static __always_inline void start_call(struct slot *s)
{
	s->used = 0;
	s->have = 0;
	__builtin_memset(s->rec.arg_at, 0, sizeof(s->rec.arg_at));
	__builtin_memset(s->rec.arg_len, 0, sizeof(s->rec.arg_len));
	s->rec.hook = cfg.hook;
	s->rec.action = ACTION_POST;
	s->rec.ret_action = ACTION_POST;
	s->rec.has_ret = 0;
	s->rec.awaits_return = 0;
	s->rec.ret = 0;
}

/* Entry. `split`: an exit program of the same hook follows and will look for what is remembered here. */
static __always_inline void on_call(struct slot *s, bool split)
{
	struct pending_key key = {};
	struct pending value = {};
	int sel;

	start_call(s);
	sel = match_selectors(s);
	if (sel < 0 || sel >= MAX_SELECTORS)
		return;
	if (cfg.selectors_len)
		s->rec.action = run_action(cfg.selectors[sel].action);
	if (cfg.selectors_len && !cfg.selectors[sel].post)
		return;
	fill_identity(&s->rec.h, RECORD_CALL);
	if (split) {
		key.pid_tgid = bpf_get_current_pid_tgid();
		key.hook = cfg.hook;
		value.call_time = s->rec.h.time;
		value.selector = sel;
		if (bpf_map_update_elem(&pendings, &key, &value, BPF_ANY))
			count_loss(LOSS_PENDING_FULL);
		else
			s->rec.awaits_return = 1;
	}
	send_call(s);
}

/* Exit of a split hook: completes the call that `on_call` sent, or tells that it is not wanted. */
static __always_inline void on_return(struct slot *s)
{
	struct pending_key key = {};
	struct record_return rec = {};
	struct pending *p;
	u32 sel;

	key.pid_tgid = bpf_get_current_pid_tgid();
	key.hook = cfg.hook;
	p = bpf_map_lookup_elem(&pendings, &key);
	if (!p)
		return;
	rec.call_time = p->call_time;
	sel = p->selector;
	bpf_map_delete_elem(&pendings, &key);
	rec.matched = 1;
	rec.ret_action = ACTION_POST;
	if (cfg.selectors_len) {
		/* from memory the index is no constant any more: ask the constants one by one */
		for (u32 i = 0; i < MAX_SELECTORS; i++) {
			u32 constant = i;

			if (i >= cfg.selectors_len)
				break;
			barrier_var(constant); /* or the compiler uses `sel`, its equal, in its place */
			if (i != sel)
				continue;
			rec.matched = match_returned(s, constant);
			if (!rec.matched)
				break;
			rec.ret_action = run_action(cfg.selectors[constant].ret_action);
			if (!cfg.selectors[constant].ret_post)
				rec.matched = 0;
		}
	}
	fill_identity(&rec.h, RECORD_RETURN);
	rec.hook = cfg.hook;
	rec.ret = s->ret;
	send_telemetry(&rec.h, sizeof(rec));
}

/* Exit that sees arguments and return value: one program, no memory of the entry. */
static __always_inline void on_complete(struct slot *s)
{
	int sel;

	start_call(s);
	sel = match_selectors(s);
	if (sel < 0 || sel >= MAX_SELECTORS)
		return;
	if (cfg.selectors_len) {
		if (!match_returned(s, sel))
			return;
		s->rec.action = run_action(cfg.selectors[sel].action);
		s->rec.ret_action = run_action(cfg.selectors[sel].ret_action);
		if (!cfg.selectors[sel].post || !cfg.selectors[sel].ret_post)
			return;
	}
	s->rec.has_ret = 1;
	s->rec.ret = s->ret;
	fill_identity(&s->rec.h, RECORD_CALL);
	send_call(s);
}

#endif
