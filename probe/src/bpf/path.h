/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The path of a dentry as the current task would name it, read by hand: bpf_d_path exists only in a few
 * program types and hooks. The walk goes from the file up to the task's root and writes backwards.
 */
#ifndef SW_PATH_H
#define SW_PATH_H

#include "maps.h"

#define PATH_STEPS 128
#define NAME_MASK 255
#define DELETED " (deleted)"
#define DELETED_LEN 10

/* Slots 0..CALL_SLOTS-1 serve hooks, the last one serves exec. */
#define CALL_SLOTS 4
#define EXEC_SLOT CALL_SLOTS

struct path_walk {
	struct dentry *dentry;
	struct vfsmount *mnt;
	struct dentry *root_dentry;
	struct vfsmount *root_mnt;
	u32 off; /* of the first byte; the text ends at MAX_PATH */
	u32 flags;
	/* twice MAX_PATH: the verifier adds the largest offset to the largest length */
	char text[2 * MAX_PATH];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CALL_SLOTS + 1);
	__type(key, u32);
	__type(value, struct path_walk);
} path_walks SEC(".maps");

static __always_inline void path_prepend(struct path_walk *w, const void *name, u32 len)
{
	u32 off = w->off;

	len &= NAME_MASK;
	if (off < len + 1 || off > MAX_PATH) {
		w->flags |= PATH_UNRESOLVED;
		return;
	}
	off -= len;
	bpf_probe_read_kernel(&w->text[off & (MAX_PATH - 1)], len, name);
	off--;
	w->text[off & (MAX_PATH - 1)] = '/';
	w->off = off;
}

/*
 * One component. A global function: the verifier checks it once instead of once per iteration.
 * Returns 1 when the walk is over.
 */
__noinline int path_step(u32 slot)
{
	struct path_walk *w = bpf_map_lookup_elem(&path_walks, &slot);
	struct {
		struct dentry *parent;
		u32 len;
		const unsigned char *name;
	} d;
	struct dentry *dentry, *mnt_root;
	struct vfsmount *mnt;

	if (!w)
		return 1;
	dentry = w->dentry;
	mnt = w->mnt;
	if (dentry == w->root_dentry && mnt == w->root_mnt)
		return 1;
	mnt_root = BPF_CORE_READ(mnt, mnt_root);
	d.parent = BPF_CORE_READ(dentry, d_parent);
	if (dentry == mnt_root) {
		struct mount *m = (void *)mnt - bpf_core_field_offset(struct mount, mnt);
		struct mount *up = BPF_CORE_READ(m, mnt_parent);

		if (m == up)
			return 1; /* the root of the mount tree, above the task's root */
		w->dentry = BPF_CORE_READ(m, mnt_mountpoint);
		w->mnt = (void *)up + bpf_core_field_offset(struct mount, mnt);
		return 0;
	}
	d.len = BPF_CORE_READ(dentry, d_name.len);
	d.name = BPF_CORE_READ(dentry, d_name.name);
	if (d.parent == dentry) {
		/* no directory holds it: a pipe or socket (no name), a memfd (a name) */
		if (d.len && w->off >= MAX_PATH)
			path_prepend(w, d.name, d.len);
		return 1;
	}
	path_prepend(w, d.name, d.len);
	w->dentry = d.parent;
	return w->flags & PATH_UNRESOLVED ? 1 : 0;
}

/*
 * Fills the slot's walk; the text is [off, MAX_PATH). Pipes and sockets have an empty one.
 * `p` is a struct path in kernel memory.
 */
static __noinline struct path_walk *path_read(u32 slot, const struct path *p)
{
	struct path_walk *w = bpf_map_lookup_elem(&path_walks, &slot);
	struct task_struct *task = (void *)bpf_get_current_task();
	struct dentry *dentry;
	struct fs_struct *fs;
	int done = 0;

	if (!w)
		return NULL;
	fs = BPF_CORE_READ(task, fs);
	w->dentry = dentry = BPF_CORE_READ(p, dentry);
	w->mnt = BPF_CORE_READ(p, mnt);
	w->root_dentry = BPF_CORE_READ(fs, root.dentry);
	w->root_mnt = BPF_CORE_READ(fs, root.mnt);
	w->off = MAX_PATH;
	w->flags = 0;
	if (!dentry || !w->mnt) {
		w->flags = PATH_UNRESOLVED;
		return w;
	}
	/* unlinked: out of the dentry hash, but below a directory */
	if (!BPF_CORE_READ(dentry, d_hash.pprev) && BPF_CORE_READ(dentry, d_parent) != dentry) {
		w->off = MAX_PATH - DELETED_LEN;
		__builtin_memcpy(&w->text[MAX_PATH - DELETED_LEN], DELETED, DELETED_LEN);
	}
	for (int i = 0; i < PATH_STEPS; i++) {
		done = path_step(slot);
		if (done)
			break;
	}
	if (!done)
		w->flags |= PATH_UNRESOLVED;
	/* the root itself */
	if (w->off >= MAX_PATH && w->dentry == w->root_dentry && w->mnt == w->root_mnt) {
		w->off = MAX_PATH - 1;
		w->text[MAX_PATH - 1] = '/';
	}
	return w;
}

#endif
