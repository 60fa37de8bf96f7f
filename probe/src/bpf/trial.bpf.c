// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * One harmless program of each class. What a node can do is found by loading and attaching these: a
 * kernel's configuration does not tell whether its vendor lets programs in.
 */
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tp_btf/sched_process_exit")
int trial_lifecycle(void *ctx)
{
	return 0;
}

SEC("kprobe/security_file_permission")
int trial_kprobe(void *ctx)
{
	return 0;
}

SEC("kprobe.multi")
int trial_kprobe_multi(void *ctx)
{
	return 0;
}

SEC("fentry/security_file_permission")
int trial_fentry(void *ctx)
{
	u64 v;

	/* the helper is as much needed as the trampoline: 5.17 */
	bpf_get_func_arg(ctx, 0, &v);
	return 0;
}

/* The thread whose call is to be held up until it was preempted, or for SPIN_NS. */
const volatile __u32 spin_tid SEC(".rodata.spin");
__u32 spun, preempted;

#define SPIN_NS (40 * 1000 * 1000)

struct spin {
	u64 end;
	unsigned long switches;
};

static unsigned long involuntary_switches(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	return BPF_CORE_READ(task, nivcsw);
}

static int spin_on(u32 i, void *ctx)
{
	struct spin *s = ctx;

	return bpf_ktime_get_ns() >= s->end || involuntary_switches() != s->switches;
}

SEC("fentry/security_file_permission")
int trial_preemption(void *ctx)
{
	struct spin s;

	if ((u32)bpf_get_current_pid_tgid() != spin_tid || spun)
		return 0;
	spun = 1;
	s.end = bpf_ktime_get_ns() + SPIN_NS;
	s.switches = involuntary_switches();
	bpf_loop(1 << 23, spin_on, &s, 0);
	preempted = involuntary_switches() != s.switches;
	return 0;
}

SEC("lsm/file_permission")
int trial_lsm(void *ctx)
{
	return 0;
}

SEC("fmod_ret/security_file_permission")
int trial_fmod_ret(void *ctx)
{
	return 0;
}

SEC("raw_tp/sys_enter")
int trial_syscalls(void *ctx)
{
	return 0;
}

SEC("uprobe")
int trial_uprobe(void *ctx)
{
	return 0;
}
