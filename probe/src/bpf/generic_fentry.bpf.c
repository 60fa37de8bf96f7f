// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Front end: BPF trampolines (fentry, fexit), several times cheaper than a kprobe. */
#include "generic.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* How many arguments the target has: the verifier refuses to read others. */
const volatile __u32 target_args SEC(".rodata.target");

static __always_inline void read_regs(struct slot *s, void *ctx)
{
	if (cfg.is_syscall) {
		u64 p = 0;
		struct pt_regs *regs;

		bpf_get_func_arg(ctx, 0, &p);
		regs = (struct pt_regs *)p;
		s->regs[0] = PT_REGS_PARM1_CORE_SYSCALL(regs);
		s->regs[1] = PT_REGS_PARM2_CORE_SYSCALL(regs);
		s->regs[2] = PT_REGS_PARM3_CORE_SYSCALL(regs);
		s->regs[3] = PT_REGS_PARM4_CORE_SYSCALL(regs);
		s->regs[4] = PT_REGS_PARM5_CORE_SYSCALL(regs);
		s->regs[5] = PT_REGS_PARM6_CORE_SYSCALL(regs);
		return;
	}
	for (u32 i = 0; i < 6; i++) {
		u64 v = 0;

		if (i < target_args)
			bpf_get_func_arg(ctx, i, &v);
		s->regs[i] = v;
	}
}

SEC("fentry")
int fentry_call(void *ctx)
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

SEC("fexit")
int fexit_return(void *ctx)
{
	struct slot *s;
	u64 v = 0;

	if (is_self())
		return 0;
	s = slot_claim();
	if (!s)
		return 0;
	bpf_get_func_ret(ctx, &v);
	s->ret = v;
	on_return(s);
	slot_release(s);
	return 0;
}

SEC("fexit")
int fexit_complete(void *ctx)
{
	struct slot *s;
	u64 v = 0;

	if (is_silent() || is_self() || !is_in_scope())
		return 0;
	s = slot_claim();
	if (!s)
		return 0;
	read_regs(s, ctx);
	bpf_get_func_ret(ctx, &v);
	s->ret = v;
	on_complete(s);
	slot_release(s);
	return 0;
}
