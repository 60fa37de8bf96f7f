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

/* struct path as it lies in memory */
struct path_ptrs {
	struct vfsmount *mnt;
	struct dentry *dentry;
};

/* What the walk needs of a dentry, in the order in which every kernel so far has it. */
struct dentry_head {
	void *hash_next;
	void *hash_pprev; /* NULL: not in the hash, that is, unlinked or never linked */
	struct dentry *parent;
	u32 name_hash;
	u32 name_len;
	const unsigned char *name;
	struct inode *inode;
};

struct path_walk {
	struct dentry *dentry;
	struct vfsmount *mnt;
	struct dentry *mnt_root; /* of mnt: read once per mount, not once per component */
	struct path_ptrs root;
	struct dentry *start;
	struct inode *inode; /* of start; NULL: the walk had no reason to read that dentry */
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
 * One read in place of five. Should a kernel ever order the fields otherwise, the relocated offsets tell,
 * and they are read one by one.
 */
static __always_inline void dentry_read(struct dentry_head *d, struct dentry *dentry)
{
	const u32 at = bpf_core_field_offset(struct dentry, d_hash);

	if (bpf_core_field_offset(struct dentry, d_parent) == at + offsetof(struct dentry_head, parent) &&
	    bpf_core_field_offset(struct dentry, d_name) == at + offsetof(struct dentry_head, name_hash) &&
	    bpf_core_field_offset(struct dentry, d_inode) == at + offsetof(struct dentry_head, inode) &&
	    bpf_core_field_offset(struct qstr, len) == 4 && bpf_core_field_offset(struct qstr, name) == 8) {
		bpf_probe_read_kernel(d, sizeof(*d), (void *)dentry + at);
		return;
	}
	d->hash_pprev = BPF_CORE_READ(dentry, d_hash.pprev);
	d->parent = BPF_CORE_READ(dentry, d_parent);
	d->name_len = BPF_CORE_READ(dentry, d_name.len);
	d->name = BPF_CORE_READ(dentry, d_name.name);
	d->inode = BPF_CORE_READ(dentry, d_inode);
}

/* From the root of a mount to the directory it is mounted on. Returns 1 at the top of all mounts. */
static __always_inline int leave_mount(struct path_walk *w)
{
	struct mount *m = (void *)w->mnt - bpf_core_field_offset(struct mount, mnt);
	struct mount *up = BPF_CORE_READ(m, mnt_parent);
	struct vfsmount *mnt = (void *)up + bpf_core_field_offset(struct mount, mnt);

	if (m == up)
		return 1;
	w->dentry = BPF_CORE_READ(m, mnt_mountpoint);
	w->mnt = mnt;
	w->mnt_root = BPF_CORE_READ(mnt, mnt_root);
	return 0;
}

static __always_inline bool at_root(const struct path_walk *w)
{
	return w->dentry == w->root.dentry && w->mnt == w->root.mnt;
}

/*
 * One component. A global function: the verifier checks it once instead of once per iteration.
 * Returns 1 when the walk is over.
 */
__noinline int path_step(u32 slot)
{
	struct path_walk *w = bpf_map_lookup_elem(&path_walks, &slot);
	struct dentry_head d = {};

	if (!w || at_root(w))
		return 1;
	if (w->dentry == w->mnt_root)
		return leave_mount(w);
	dentry_read(&d, w->dentry);
	if (w->dentry == w->start)
		w->inode = d.inode;
	if (w->off >= MAX_PATH) {
		/* The first component. Not in the hash, though below a directory: unlinked. */
		if (!d.hash_pprev && d.parent != w->dentry) {
			w->off = MAX_PATH - DELETED_LEN;
			__builtin_memcpy(&w->text[MAX_PATH - DELETED_LEN], DELETED, DELETED_LEN);
		}
	}
	if (d.parent == w->dentry) {
		/* No directory holds it: a pipe or socket (no name), a memfd (a name). */
		if (d.name_len && w->off >= MAX_PATH)
			path_prepend(w, d.name, d.name_len);
		return 1;
	}
	path_prepend(w, d.name, d.name_len);
	w->dentry = d.parent;
	return w->flags & PATH_UNRESOLVED ? 1 : 0;
}

/*
 * The task's root, and the root of the mount it is in: by plain loads where the kernel hands out a task that can
 * be read so (from 5.11 on), each a tenth of a bpf_probe_read_kernel.
 */
static __always_inline void root_read(struct path_walk *w)
{
	struct task_struct *task;
	struct fs_struct *fs;

	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf)) {
		task = bpf_get_current_task_btf();
		fs = task->fs;
		if (fs) {
			struct vfsmount *mnt = fs->root.mnt;

			w->root.mnt = mnt;
			w->root.dentry = fs->root.dentry;
			w->mnt_root = mnt->mnt_root;
			return;
		}
	}
	task = (void *)bpf_get_current_task();
	fs = BPF_CORE_READ(task, fs);
	bpf_probe_read_kernel(&w->root, sizeof(w->root), (void *)fs + bpf_core_field_offset(struct fs_struct, root));
	w->mnt_root = NULL;
}

/*
 * Fills the slot's walk; the text is [off, MAX_PATH). Pipes and sockets have an empty one.
 * `p` is a struct path in kernel memory.
 */
static __noinline struct path_walk *path_read(u32 slot, const struct path *p)
{
	struct path_walk *w = bpf_map_lookup_elem(&path_walks, &slot);
	struct path_ptrs start = {};
	struct vfsmount *mnt;
	int done = 0;

	if (!w)
		return NULL;
	w->off = MAX_PATH;
	w->flags = 0;
	w->inode = NULL;
	root_read(w);
	bpf_probe_read_kernel(&start, sizeof(start), p);
	w->dentry = w->start = start.dentry;
	w->mnt = start.mnt;
	if (!start.dentry || !start.mnt) {
		w->flags = PATH_UNRESOLVED;
		return w;
	}
	mnt = start.mnt;
	if (mnt != w->root.mnt || !w->mnt_root)
		w->mnt_root = BPF_CORE_READ(mnt, mnt_root);
	for (int i = 0; i < PATH_STEPS; i++) {
		done = path_step(slot);
		if (done)
			break;
	}
	if (!done)
		w->flags |= PATH_UNRESOLVED;
	if (w->off >= MAX_PATH && at_root(w)) {
		w->off = MAX_PATH - 1;
		w->text[MAX_PATH - 1] = '/';
	}
	return w;
}

#endif
