/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Cgroups and the pods they belong to. Container runtimes keep one hierarchy for all controllers where the
 * unified one is in use, and else one for each: then it is by a controller's that pods are told apart.
 */
#ifndef SW_CGROUPS_H
#define SW_CGROUPS_H

#include "maps.h"

enum hierarchy_kind {
	HIERARCHY_UNIFIED = 0,
	HIERARCHY_MEMORY = 1,
	HIERARCHY_PIDS = 2,
	HIERARCHY_CPU = 3,
};

/* Cgroup id to pod and container. Other cgroups, and those of the host, are not in it. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, u64);
	__type(value, struct pod_cgroup);
} cgroups SEC(".maps");

struct pod_key {
	char uid[POD_UID];
};

/* Pod uid to the policies that apply to all of the pod; written by user space before the pod has cgroups. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct pod_key);
	__type(value, struct scope);
} pods SEC(".maps");

/* Container's cgroup id to the policies that apply to that container. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, u64);
	__type(value, struct scope);
} containers SEC(".maps");

/* Where a controller stands in css_set.subsys depends on the kernel's configuration. */
static __always_inline u32 controller_index(u32 kind)
{
	switch (kind) {
	case HIERARCHY_MEMORY:
		if (bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id))
			return bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id);
		break;
	case HIERARCHY_PIDS:
		if (bpf_core_enum_value_exists(enum cgroup_subsys_id, pids_cgrp_id))
			return bpf_core_enum_value(enum cgroup_subsys_id, pids_cgrp_id);
		break;
	}
	return bpf_core_enum_value(enum cgroup_subsys_id, cpu_cgrp_id);
}

/* `kind` is a constant in .rodata, so only one of the ways is left. */
static __always_inline struct cgroup *current_cgroup(u32 kind)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct css_set *set = BPF_CORE_READ(task, cgroups);
	struct cgroup_subsys_state *css = NULL;

	if (kind == HIERARCHY_UNIFIED)
		return BPF_CORE_READ(set, dfl_cgrp);
	bpf_probe_read_kernel(&css, sizeof(css),
			      (void *)set + bpf_core_field_offset(struct css_set, subsys) +
				      controller_index(kind) * sizeof(css));
	return BPF_CORE_READ(css, cgroup);
}

static __always_inline u64 current_cgroup_id(u32 kind)
{
	struct cgroup *cgroup;

	if (kind == HIERARCHY_UNIFIED)
		return bpf_get_current_cgroup_id();
	cgroup = current_cgroup(kind);
	return BPF_CORE_READ(cgroup, kn, id);
}

#endif
