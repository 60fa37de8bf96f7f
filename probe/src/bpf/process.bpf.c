// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* Process lifecycle: fork, exec and exit by BTF tracepoints, which every kernel from 5.10 on accepts. */
#include "cgroups.h"
#include "path.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define PF_KTHREAD 0x00200000

const volatile __u32 hierarchy SEC(".rodata.hierarchy"); /* enum hierarchy_kind */

/* The largest exec record: header, file name, cwd, argv, cgroup name. */
struct exec_scratch {
	struct record_exec rec;
	char data[MAX_PATH + MAX_PATH + MAX_ARGV + MAX_CGROUP_NAME];
	struct process process;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct exec_scratch);
} exec_scratches SEC(".maps");

static __always_inline u32 namespace_pid(struct task_struct *task)
{
	struct pid *pid = BPF_CORE_READ(task, thread_pid);
	unsigned int level = BPF_CORE_READ(pid, level);
	struct upid upid = {};

	if (!level)
		return 0;
	bpf_core_read(&upid.nr, sizeof(upid.nr),
		      (void *)pid + bpf_core_field_offset(struct pid, numbers) +
			      level * bpf_core_type_size(struct upid) + bpf_core_field_offset(struct upid, nr));
	return upid.nr;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *parent, struct task_struct *child)
{
	u32 zero = 0, tgid = child->tgid, parent_tgid = parent->tgid;
	struct record_fork rec = {};
	struct exec_scratch *s;
	struct process *mother, *kin;

	/* threads, and the kernel's own processes */
	if (child->pid != child->tgid || child->flags & PF_KTHREAD)
		return 0;
	s = bpf_map_lookup_elem(&exec_scratches, &zero);
	if (!s)
		return 0;
	fill_header(&rec.h, RECORD_FORK, RING_LIFECYCLE);
	rec.h.tgid = tgid;
	rec.h.tid = tgid;
	rec.h.exec_time = rec.h.time;
	mother = bpf_map_lookup_elem(&processes, &parent_tgid);
	/* CLONE_PARENT makes the child a sibling: its image is the forker's, its parent is not */
	rec.parent_tgid = parent_tgid = BPF_CORE_READ(child, real_parent, tgid);
	kin = bpf_map_lookup_elem(&processes, &parent_tgid);
	if (kin)
		rec.parent_exec_time = kin->exec_time;
	if (mother) {
		__builtin_memcpy(&s->process, mother, sizeof(*mother));
	} else {
		/* forked while the scan of /proc had not reached the parent: user space looks it up */
		__builtin_memset(&s->process, 0, sizeof(s->process));
		rec.flags |= EXEC_UNKNOWN_PARENT;
	}
	s->process.exec_time = rec.h.time;
	s->process.parent_exec_time = rec.parent_exec_time;
	s->process.parent_tgid = parent_tgid;
	s->process.flags |= PROCESS_CLONE;
	rec.namespace_pid = namespace_pid(child);
	if (rec.namespace_pid == 1)
		s->process.flags |= PROCESS_IN_INIT_TREE;
	if (s->process.flags & PROCESS_IN_INIT_TREE)
		rec.flags |= EXEC_IN_INIT_TREE;
	if (bpf_map_update_elem(&processes, &tgid, &s->process, BPF_ANY))
		count_loss(LOSS_PROCESS_TABLE_FULL);
	send_lifecycle(&rec.h, sizeof(rec));
	return 0;
}

/* The image's own path, resolved: what matchBinaries compares, whatever name exec was given. */
static __noinline void read_executable(struct exec_scratch *s, struct task_struct *task)
{
	struct file *exe = BPF_CORE_READ(task, mm, exe_file);
	struct path_walk *w = exe ? path_read(EXEC_SLOT, (void *)exe + bpf_core_field_offset(struct file, f_path)) : NULL;
	struct process *p = &s->process;
	u32 off, len;

	__builtin_memset(p->path, 0, sizeof(p->path));
	p->path_len = 0;
	if (!w)
		return;
	off = w->off;
	if (off >= MAX_PATH)
		return;
	len = MAX_PATH - off;
	p->path_len = len;
	if (len >= BINARY_PATH)
		bpf_probe_read_kernel(p->tail, BINARY_TAIL, &w->text[MAX_PATH - BINARY_TAIL]);
	/* else the compiler bounds `off` in place of `len`, and the verifier loses track */
	barrier_var(len);
	if (len >= BINARY_PATH)
		len = BINARY_PATH - 1;
	bpf_probe_read_kernel(p->path, len, &w->text[off]);
}

static __always_inline u32 read_filename(struct exec_scratch *s, struct linux_binprm *bprm)
{
	long n = bpf_probe_read_kernel_str(s->data, MAX_PATH, BPF_CORE_READ(bprm, filename));

	if (n <= 0) {
		s->rec.flags |= EXEC_ERROR_FILENAME;
		return 0;
	}
	return n - 1;
}

static __always_inline u32 read_cwd(struct exec_scratch *s, struct task_struct *task, u32 at)
{
	struct fs_struct *fs = BPF_CORE_READ(task, fs);
	struct path_walk *w;
	u32 off, len;

	if (!fs) {
		s->rec.flags |= EXEC_NO_CWD;
		return 0;
	}
	w = path_read(EXEC_SLOT, (void *)fs + bpf_core_field_offset(struct fs_struct, pwd));
	if (!w || at > MAX_PATH) {
		s->rec.flags |= EXEC_ERROR_CWD;
		return 0;
	}
	if (w->flags & PATH_UNRESOLVED)
		s->rec.flags |= EXEC_ERROR_CWD;
	off = w->off;
	if (off >= MAX_PATH)
		return 0;
	len = MAX_PATH - off;
	if (len == 1)
		s->rec.flags |= EXEC_ROOT_CWD;
	bpf_probe_read_kernel(&s->data[at], len, &w->text[off]);
	return len;
}

static __always_inline u32 read_args(struct exec_scratch *s, struct task_struct *task, u32 at)
{
	unsigned long start = BPF_CORE_READ(task, mm, arg_start), end = BPF_CORE_READ(task, mm, arg_end);
	u64 len = end - start;

	if (end <= start || at > 2 * MAX_PATH)
		return 0;
	if (len > MAX_ARGV) {
		len = MAX_ARGV;
		s->rec.flags |= EXEC_TRUNC_ARGS;
	}
	if (bpf_probe_read_user(&s->data[at], len, (void *)start)) {
		s->rec.flags |= EXEC_ERROR_ARGS;
		return 0;
	}
	return len;
}

static __always_inline u32 read_cgroup(struct exec_scratch *s, u32 at)
{
	struct cgroup *cgroup = current_cgroup(hierarchy);
	const char *name = BPF_CORE_READ(cgroup, kn, name);
	long n;

	if (at > 2 * MAX_PATH + MAX_ARGV)
		return 0;
	n = bpf_probe_read_kernel_str(&s->data[at], MAX_CGROUP_NAME, name);
	return n > 0 ? n - 1 : 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	u32 zero = 0, tgid = task->tgid, at;
	struct exec_scratch *s = bpf_map_lookup_elem(&exec_scratches, &zero);
	struct process *old;

	if (!s)
		return 0;
	s->rec.flags = 0;
	fill_header(&s->rec.h, RECORD_EXEC, RING_LIFECYCLE);
	s->rec.h.tgid = tgid;
	s->rec.h.tid = tgid;
	s->rec.h.exec_time = s->rec.h.time;
	s->rec.uid = BPF_CORE_READ(task, cred, euid.val);
	s->rec.auid = bpf_core_field_exists(task->loginuid) ? BPF_CORE_READ(task, loginuid.val) : ~0u;
	s->rec.cgroup_id = current_cgroup_id(hierarchy);

	old = bpf_map_lookup_elem(&processes, &tgid);
	if (old && !(old->flags & PROCESS_CLONE)) {
		/* an image that replaces another is that one's child, as in Tetragon */
		s->process.parent_exec_time = old->exec_time;
		s->process.parent_tgid = tgid;
		s->process.flags = old->flags;
	} else if (old) {
		s->process.parent_exec_time = old->parent_exec_time;
		s->process.parent_tgid = old->parent_tgid;
		s->process.flags = old->flags & ~PROCESS_CLONE;
		s->rec.flags |= EXEC_CLONE;
	} else {
		s->process.parent_exec_time = 0;
		s->process.parent_tgid = BPF_CORE_READ(task, real_parent, tgid);
		s->process.flags = 0;
		s->rec.flags |= EXEC_UNKNOWN_PARENT;
	}
	s->rec.namespace_pid = namespace_pid(task);
	if (s->rec.namespace_pid == 1)
		s->process.flags |= PROCESS_IN_INIT_TREE;
	if (s->process.flags & PROCESS_IN_INIT_TREE)
		s->rec.flags |= EXEC_IN_INIT_TREE;
	s->process.exec_time = s->rec.h.time;
	s->rec.parent_exec_time = s->process.parent_exec_time;
	s->rec.parent_tgid = s->process.parent_tgid;

	read_executable(s, task);
	if (bpf_map_update_elem(&processes, &tgid, &s->process, BPF_ANY))
		count_loss(LOSS_PROCESS_TABLE_FULL);

	s->rec.filename_len = at = read_filename(s, bprm);
	at += s->rec.cwd_len = read_cwd(s, task, at);
	at += s->rec.args_len = read_args(s, task, at);
	at += s->rec.cgroup_len = read_cgroup(s, at);
	if (at > sizeof(s->data))
		at = sizeof(s->data);
	send_lifecycle(&s->rec.h, sizeof(s->rec) + at);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit, struct task_struct *task)
{
	u32 tgid = task->tgid;
	struct record_exit rec = {};
	struct process *p;

	if (BPF_CORE_READ(task, signal, live.counter) > 0)
		return 0;
	p = bpf_map_lookup_elem(&processes, &tgid);
	if (p)
		rec.h.exec_time = p->exec_time;
	/* two last threads may both see live == 0: whoever removes the entry reports the exit */
	if (bpf_map_delete_elem(&processes, &tgid))
		return 0;
	fill_header(&rec.h, RECORD_EXIT, RING_LIFECYCLE);
	rec.h.tgid = tgid;
	rec.h.tid = tgid;
	rec.code = BPF_CORE_READ(task, exit_code);
	send_lifecycle(&rec.h, sizeof(rec));
	return 0;
}
