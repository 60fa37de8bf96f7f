// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * One harmless program of each class. What a node can do is found by loading and attaching these: a
 * kernel's configuration does not tell whether its vendor lets programs in.
 */
#include "vmlinux.h"
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

SEC("fentry/security_file_permission")
int trial_fentry(void *ctx)
{
	u64 v;

	/* the helper is as much needed as the trampoline: 5.17 */
	bpf_get_func_arg(ctx, 0, &v);
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
