/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The working memory of one call. A CPU has several: fentry programs can be preempted by another task's
 * call and interrupted by a softirq's, so memory is claimed, not assumed free.
 */
#ifndef SW_SLOT_H
#define SW_SLOT_H

#include "hook.h"
#include "path.h"

#define PAYLOAD_MAX 8192 /* where the last argument may begin */
#define PAYLOAD_ROOM (PAYLOAD_MAX + MAX_PATH + 64)

/*
 * Never written: it makes these types part of the object's BTF, from which the Rust side takes the layout
 * of every record.
 */
struct shapes {
	struct arg_path path;
	struct arg_text text;
	struct arg_sock sock;
	struct record_return ret;
	struct record_fork fork;
	struct record_exit exit;
};

struct slot {
	u32 claimed;
	u32 number;
	u64 regs[6];
	u64 ret;
	u32 used;		   /* payload bytes */
	u32 have;		   /* bit n: argument n is in the payload */
	u32 text_len[MAX_ARGS + 1];
	struct inode *inodes[MAX_ARGS]; /* of path arguments in the payload; NULL: not known */
	struct text_key key;	   /* of reversed and binary lookups */
	struct shapes shapes;
	struct record_call rec;
	char payload[PAYLOAD_ROOM];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CALL_SLOTS);
	__type(key, u32);
	__type(value, struct slot);
} slots SEC(".maps");

/*
 * A kprobe cannot be preempted: what comes between its look and its store is an interrupt, whose calls have
 * let go of their slots when it returns. So plain accesses do, and kernels before 5.12, which know no atomics
 * that return a value, can run it. Trampolines can be preempted, and need them.
 */
static __always_inline bool slot_take(struct slot *s)
{
#ifdef SLOTS_WITHOUT_PREEMPTION
	volatile u32 *claimed = &s->claimed;

	if (*claimed)
		return false;
	*claimed = 1;
	return true;
#else
	return __sync_val_compare_and_swap(&s->claimed, 0, 1) == 0;
#endif
}

static __always_inline struct slot *slot_claim(void)
{
	for (u32 i = 0; i < CALL_SLOTS; i++) {
		u32 key = i;
		struct slot *s = bpf_map_lookup_elem(&slots, &key);

		if (!s)
			return NULL;
		if (slot_take(s)) {
			s->number = i;
			return s;
		}
	}
	count_loss(LOSS_SCRATCH_BUSY);
	return NULL;
}

static __always_inline void slot_release(struct slot *s)
{
#ifdef SLOTS_WITHOUT_PREEMPTION
	*(volatile u32 *)&s->claimed = 0;
#else
	__sync_lock_test_and_set(&s->claimed, 0);
#endif
}

#endif
