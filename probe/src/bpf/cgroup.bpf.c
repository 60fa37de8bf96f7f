// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Which cgroups are of which pod, by BTF tracepoints that fire before a process can enter the new cgroup. So a
 * container's first process is known to be in its pod before it runs, and nobody has to be asked.
 */
#include "cgroups.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Of the one that pods are told apart by, as the kernel numbers them: /proc/self/cgroup. */
const volatile __u32 hierarchy_id SEC(".rodata.hierarchy");

#define NAME_BYTES 256 /* NAME_MAX and a NUL */
#define UID_DASHED 36
#define UID_HASH 32 /* static pods */
#define CONTAINER_ID 64
#define RUNTIME 14 /* cri-containerd */

/* The kernel makes and removes cgroups one at a time and with interrupts off: nobody else uses this meanwhile. */
struct mkdir_scratch {
	struct record_cgroup rec;
	char name[NAME_BYTES];
	struct pod_cgroup found;
	struct record_cgroup_gone gone; /* for the Rust side's sake: see struct shapes */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct mkdir_scratch);
} mkdir_scratches SEC(".maps");

static __always_inline bool is_watched(struct cgroup *cgroup)
{
	return (u32)cgroup->root->hierarchy_id == hierarchy_id;
}

static __always_inline char char_at(const struct mkdir_scratch *s, u32 at)
{
	return s->name[at & (NAME_BYTES - 1)];
}

static __always_inline bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

static __always_inline bool is_dash_place(u32 i)
{
	return i == 8 || i == 13 || i == 18 || i == 23;
}

/* Copies a uid of `len` characters from name[at..], its underscores (systemd's) as dashes; false: it is none. */
static __always_inline bool copy_uid(struct mkdir_scratch *s, u32 at, u32 len)
{
	for (u32 i = 0; i < UID_DASHED; i++) {
		char c = char_at(s, at + i);

		if (i >= len)
			break;
		if (len == UID_DASHED && is_dash_place(i)) {
			if (c != '-' && c != '_')
				return false;
			c = '-';
		} else if (!is_hex(c)) {
			return false;
		}
		s->found.pod[i] = c;
	}
	return true;
}

/* Whether name[0..end) ends in pod<uid>, alone (cgroupfs driver) or after a dash (systemd driver). */
static __always_inline bool ends_in_uid(struct mkdir_scratch *s, u32 end, u32 len, bool is_slice)
{
	u32 at;

	if (end < len + 3 || end >= NAME_BYTES)
		return false;
	at = end - len - 3;
	if (is_slice ? (!at || char_at(s, at - 1) != '-') : at != 0)
		return false;
	if (char_at(s, at) != 'p' || char_at(s, at + 1) != 'o' || char_at(s, at + 2) != 'd')
		return false;
	__builtin_memset(s->found.pod, 0, sizeof(s->found.pod));
	return copy_uid(s, at + 3, len);
}

/*
 * Whether the name is a pod's. Only root makes pods: a user who may make cgroups could otherwise have his
 * processes taken for some pod's.
 */
static __always_inline bool is_pod(struct mkdir_scratch *s, u32 len)
{
	const char suffix[] = ".slice";
	const u32 suffix_len = sizeof(suffix) - 1;
	bool is_slice = len > suffix_len;

	if ((u32)bpf_get_current_uid_gid() != 0)
		return false;
	for (u32 i = 0; i < suffix_len; i++) {
		if (is_slice && char_at(s, len - suffix_len + i) != suffix[i])
			is_slice = false;
	}
	if (is_slice)
		len -= suffix_len;
	return ends_in_uid(s, len, UID_DASHED, is_slice) || ends_in_uid(s, len, UID_HASH, is_slice);
}

/*
 * The length of the pod's part of <pod>.slice:cri-containerd:<id>, as containerd names a container when the
 * kubelet has systemd make the cgroups and containerd does not: the container is not below its pod. Else 0.
 */
static __always_inline u32 pod_part(const struct mkdir_scratch *s, u32 len)
{
	u32 colon;

	if (len < CONTAINER_ID + RUNTIME + 2 || char_at(s, len - CONTAINER_ID - 1) != ':')
		return 0;
	colon = len - CONTAINER_ID - RUNTIME - 2;
	return char_at(s, colon) == ':' ? colon : 0;
}

/* CRI-O's monitor of a container: a process of the host, though its cgroup stands beside the container's. */
static __always_inline bool is_monitor(const struct mkdir_scratch *s)
{
	const char prefix[] = "crio-conmon-";

	for (u32 i = 0; i < sizeof(prefix) - 1; i++)
		if (s->name[i] != prefix[i])
			return false;
	return true;
}

SEC("tp_btf/cgroup_mkdir")
int BPF_PROG(on_mkdir, struct cgroup *cgroup, const char *path)
{
	u32 zero = 0;
	struct mkdir_scratch *s = bpf_map_lookup_elem(&mkdir_scratches, &zero);
	struct cgroup_subsys_state *above = cgroup->self.parent;
	u64 id = cgroup->kn->id, parent;
	struct pod_cgroup *up;
	long len;

	if (!s || !is_watched(cgroup))
		return 0;
	len = bpf_probe_read_kernel_str(s->name, NAME_BYTES, cgroup->kn->name);
	if (len <= 1 || len > NAME_BYTES)
		return 0;
	len--;
	parent = BPF_CORE_READ(above, cgroup, kn, id);
	up = bpf_map_lookup_elem(&cgroups, &parent);
	if (up) {
		/* whatever a pod names its cgroups, it stays that pod */
		if (!up->container && is_monitor(s))
			return 0;
		__builtin_memcpy(&s->found, up, sizeof(*up));
		if (!s->found.container)
			s->found.container = id;
	} else {
		u32 part = pod_part(s, len);

		if (!is_pod(s, part ?: len))
			return 0;
		s->found.container = part ? id : 0;
	}
	if (bpf_map_update_elem(&cgroups, &id, &s->found, BPF_ANY))
		count_loss(LOSS_CGROUP_TABLE_FULL);
	fill_header(&s->rec.h, RECORD_CGROUP, RING_LIFECYCLE);
	s->rec.cgroup = id;
	s->rec.container = s->found.container;
	__builtin_memcpy(s->rec.pod, s->found.pod, sizeof(s->rec.pod));
	s->rec.name_len = len;
	send_lifecycle(&s->rec.h, sizeof(s->rec) + len);
	return 0;
}

SEC("tp_btf/cgroup_rmdir")
int BPF_PROG(on_rmdir, struct cgroup *cgroup, const char *path)
{
	struct record_cgroup_gone rec = {};
	u64 id = cgroup->kn->id;

	if (!is_watched(cgroup) || bpf_map_delete_elem(&cgroups, &id))
		return 0;
	bpf_map_delete_elem(&containers, &id);
	fill_header(&rec.h, RECORD_CGROUP_GONE, RING_LIFECYCLE);
	rec.cgroup = id;
	send_lifecycle(&rec.h, sizeof(rec));
	return 0;
}
