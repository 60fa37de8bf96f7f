/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * While a trampoline's program runs, the kernel leaves that program out for every other call on the same CPU. A task that
 * is preempted in the middle so hides the calls of all others there until it runs again, which may be long: somebody
 * who wants to be overlooked can arrange it. Kernels from 6.10 on let a program say that it is not to be preempted; what is
 * left are calls from interrupts. The kernel counts them (`misses.rs`).
 */
#ifndef SW_CPU_H
#define SW_CPU_H

#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

extern void bpf_preempt_disable(void) __weak __ksym;
extern void bpf_preempt_enable(void) __weak __ksym;

static __always_inline void hold_cpu(void)
{
	if (bpf_ksym_exists(bpf_preempt_disable))
		bpf_preempt_disable();
}

static __always_inline void leave_cpu(void)
{
	if (bpf_ksym_exists(bpf_preempt_enable))
		bpf_preempt_enable();
}

#endif
