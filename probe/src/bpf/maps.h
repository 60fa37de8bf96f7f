/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Maps that all objects share: the loader creates them once and hands their descriptors to each object. */
#ifndef SW_MAPS_H
#define SW_MAPS_H

#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_endian.h>
#include "records.h"

/* fork, exec, exit: low volume, must not be pushed out by a noisy policy */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 2 * 1024 * 1024);
} lifecycle SEC(".maps");

/* policy events */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 * 1024 * 1024);
} telemetry SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 32768);
	__type(key, u32);
	__type(value, struct process);
} processes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LOSS_CAUSES);
	__type(key, u32);
	__type(value, u64);
} losses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct control);
} control SEC(".maps");

enum ring {
	RING_LIFECYCLE = 0,
	RING_TELEMETRY = 1,
	RINGS = 2,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, RINGS);
	__type(key, u32);
	__type(value, u64);
} sequences SEC(".maps");

/*
 * Which generation of a policy speaks. An update attaches the new hooks silent, turns the policy's gate
 * with one store, then detaches the old: no call is missed and none is told twice.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, GATES);
	__type(key, u32);
	__type(value, u32);
} gates SEC(".maps");

static __always_inline void count_loss(u32 cause)
{
	u64 *n = bpf_map_lookup_elem(&losses, &cause);

	if (n)
		__sync_fetch_and_add(n, 1);
}

/* A record takes its number even if it is then lost: the hole is the proof. */
static __always_inline u64 next_sequence(u32 ring)
{
	u64 *n = bpf_map_lookup_elem(&sequences, &ring);

	return n ? ++*n : 0;
}

/*
 * Wake-ups cost two hundred times a record, so records wait for the reader's timer unless it sleeps or
 * the ring fills up.
 */
static __always_inline u64 wake_flags(void *ring)
{
	u32 zero = 0;
	struct control *c = bpf_map_lookup_elem(&control, &zero);

	if (!c || c->reader_asleep)
		return BPF_RB_FORCE_WAKEUP;
	if (bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA) >= c->wake_bytes)
		return BPF_RB_FORCE_WAKEUP;
	return BPF_RB_NO_WAKEUP;
}

static __always_inline void fill_header(struct record_header *h, u8 type, u32 ring)
{
	u64 id = bpf_get_current_pid_tgid();

	h->type = type;
	h->pad = 0;
	h->cpu = bpf_get_smp_processor_id();
	h->seq = next_sequence(ring);
	h->time = bpf_ktime_get_boot_ns();
	h->tgid = id >> 32;
	h->tid = (u32)id;
}

static __always_inline void send_lifecycle(struct record_header *h, u32 len)
{
	h->len = len;
	if (bpf_ringbuf_output(&lifecycle, h, len, wake_flags(&lifecycle)))
		count_loss(LOSS_LIFECYCLE_RING_FULL);
}

#endif
