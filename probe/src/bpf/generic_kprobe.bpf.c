// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Front end: kprobe and kretprobe, for kernels without trampolines. */
#define SLOTS_WITHOUT_PREEMPTION
#include "generic.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline void read_regs(struct slot *s, struct pt_regs *ctx)
{
	if (cfg.is_syscall) {
		struct pt_regs *regs = (struct pt_regs *)PT_REGS_PARM1(ctx);

		s->regs[0] = PT_REGS_PARM1_CORE_SYSCALL(regs);
		s->regs[1] = PT_REGS_PARM2_CORE_SYSCALL(regs);
		s->regs[2] = PT_REGS_PARM3_CORE_SYSCALL(regs);
		s->regs[3] = PT_REGS_PARM4_CORE_SYSCALL(regs);
		s->regs[4] = PT_REGS_PARM5_CORE_SYSCALL(regs);
		s->regs[5] = PT_REGS_PARM6_CORE_SYSCALL(regs);
		return;
	}
	s->regs[0] = PT_REGS_PARM1(ctx);
	s->regs[1] = PT_REGS_PARM2(ctx);
	s->regs[2] = PT_REGS_PARM3(ctx);
	s->regs[3] = PT_REGS_PARM4(ctx);
	s->regs[4] = PT_REGS_PARM5(ctx);
	s->regs[5] = PT_REGS_PARM6(ctx);
}

SEC("kprobe")
int kprobe_call(struct pt_regs *ctx)
{
	struct slot *s;

	if (is_silent() || is_self() || !is_in_scope())
		return 0;
	s = slot_claim();
	if (!s)
		return 0;
	read_regs(s, ctx);
	on_call(s, cfg.has_ret);
	slot_release(s);
	return 0;
}

SEC("kretprobe")
int kprobe_return(struct pt_regs *ctx)
{
	struct slot *s;

	if (is_self())
		return 0;
	s = slot_claim();
	if (!s)
		return 0;
	s->ret = PT_REGS_RC(ctx);
	on_return(s);
	slot_release(s);
	return 0;
}
