// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Small steps every program takes. */
#pragma once

#define AF_UNSPEC 0
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define AF_NETLINK 16
#define AF_ALG 38
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define SIGKILL 9
#define SIGCONT 18
#define SIGSTOP 19
#define EPERM 1
#define MAP_ANONYMOUS 0x20
#define PROT_EXEC 4
#define FUSE_SUPER_MAGIC 0x65735546
#define OVERLAYFS_SUPER_MAGIC 0x794c7630
#define TMPFS_MAGIC 0x01021994
#define DEVPTS_SUPER_MAGIC 0x1cd1
#define MQUEUE_MAGIC 0x19800202
#define PROC_SUPER_MAGIC 0x9fa0
#define BTRFS_SUPER_MAGIC 0x9123683E
#define S_IFMT 0170000
#define S_IFCHR 0020000
#define S_IFDIR 0040000
#define S_IFBLK 0060000
#define PTRACE_MODE_ATTACH 2
#define SOL_IP 0
#define SOL_IPV6 41
#define IP_OPTIONS 4
#define IP_RETOPTS 7
#define IPV6_2292RTHDR 5
#define IPV6_2292PKTOPTIONS 6
#define IPV6_RTHDR 57

#define INLINE static __always_inline

INLINE __u32 current_tgid(void)
{
	return bpf_get_current_pid_tgid() >> 32;
}

/* What is told of a number; beyond the end, nothing. */
INLINE __u8 marked_as(__u32 tgid)
{
	__u32 at = tgid / 8;
	volatile __u8 *eight = bpf_map_lookup_elem(&marked, &at);
	return eight ? eight[tgid & 7] : MARKED_MAYBE;
}

INLINE void set_marked(__u32 tgid, __u8 as)
{
	__u32 at = tgid / 8;
	volatile __u8 *eight = bpf_map_lookup_elem(&marked, &at);
	if (eight)
		eight[tgid & 7] = as;
}

INLINE struct proc *governed(__u32 tgid)
{
	if (marked_as(tgid) != MARKED_MAYBE)
		return 0;
	struct proc *p = bpf_map_lookup_elem(&procs, &tgid);
	return p && p->session ? p : 0;
}

INLINE struct state *daemon_state(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&states, &zero);
}

INLINE bool daemon_alive(void)
{
	struct state *s = daemon_state();
	return s && s->alive;
}

INLINE int policy_slot(__u32 *slot)
{
	__u32 zero = 0;
	__u32 *p = bpf_map_lookup_elem(&active, &zero);
	if (!p)
		return -1;
	*slot = *(volatile __u32 *)p & (SLOTS - 1);
	return 0;
}

INLINE struct settings *policy_settings_in(__u32 slot)
{
	__u32 zero = 0;
	void *inner = bpf_map_lookup_elem(&policy_settings, &slot);
	if (!inner)
		return 0;
	return bpf_map_lookup_elem(inner, &zero);
}

/* The canary stands under enforcement whatever the mode, or it proves nothing. */
INLINE bool enforcing(const struct settings *s, const struct proc *p)
{
	return !s || s->enforce || (p->flags & PROC_CANARY);
}

INLINE void fill_head(struct record_head *h, __u32 type, __u32 tgid, const struct proc *p)
{
	h->type = type;
	h->pid = tgid;
	h->time = bpf_ktime_get_boot_ns();
	h->session = p ? p->session : 0;
	h->cause = p ? p->cause : 0;
	h->start = p ? p->start : 0;
}

INLINE void count(__u32 which, bool full)
{
	struct counters *c = bpf_map_lookup_elem(&ring_counters, &which);
	if (!c)
		return;
	/* A nested program on this CPU may count here too: atomics. */
	__sync_fetch_and_add(&c->seen, 1);
	if (full)
		__sync_fetch_and_add(&c->full, 1);
	else
		__sync_fetch_and_add(&c->submitted, 1);
}

/* One record into one ring, counted. The decision never waits for it. */
INLINE long submit(void *ring, __u32 which, void *data, __u64 size)
{
	long err = bpf_ringbuf_output(ring, data, size, 0);
	count(which, err != 0);
	return err;
}

INLINE void count_oversized(__u32 which)
{
	struct counters *c = bpf_map_lookup_elem(&ring_counters, &which);
	if (c)
		__sync_fetch_and_add(&c->oversized, 1);
}

/* From 6.13 on the top bit says only that somebody has asked for the time. */
#define CTIME_QUERIED (1U << 31)

INLINE void read_ctime(struct inode *inode, __s64 *sec, __u32 *nsec)
{
	if (bpf_core_field_exists(inode->i_ctime_sec)) {
		*sec = BPF_CORE_READ(inode, i_ctime_sec);
		*nsec = BPF_CORE_READ(inode, i_ctime_nsec) & ~CTIME_QUERIED;
		return;
	}
	struct inode___hidden_ctime *hidden = (void *)inode;
	if (bpf_core_field_exists(hidden->__i_ctime)) {
		*sec = BPF_CORE_READ(hidden, __i_ctime.tv_sec);
		*nsec = BPF_CORE_READ(hidden, __i_ctime.tv_nsec);
		return;
	}
	struct inode___ctime *old = (void *)inode;
	*sec = BPF_CORE_READ(old, i_ctime.tv_sec);
	*nsec = BPF_CORE_READ(old, i_ctime.tv_nsec);
}

/* All ones where bit is 1, else none. */
INLINE __u64 mask_of(__u64 bit)
{
	asm volatile("" : "+r"(bit));
	return -(bit & 1);
}

/* 1 if v is 0; v is far from the highest bit. */
INLINE __u64 is_zero(__u64 v)
{
	asm volatile("" : "+r"(v));
	return (v - 1) >> 63;
}

/* What the numbers of inodes of a file system are mixed with. */
struct numbering {
	__u64 subvolumes;
	__u64 directory;
};

/*
 * Subvolumes of btrfs have one device and number their inodes each for itself: the
 * generation, which is the transaction that made the inode, tells them apart: all but
 * a snapshot from what it is of, and what was made at the same moment (the kernel
 * writes every 30 s).
 *
 * An overlay of several file systems counts its directories, and a file of it has the
 * number that it has below: a directory is never to be taken for a file, nor (in_layer) a
 * file for one of another layer.
 */
INLINE struct numbering numbering_of(__u64 magic)
{
	struct numbering n = {
		.subvolumes = mask_of(is_zero(magic ^ BTRFS_SUPER_MAGIC)),
		.directory = mask_of(is_zero(magic ^ OVERLAYFS_SUPER_MAGIC)) & 0xd1b54a32d192ed03ULL,
	};
	return n;
}

/* All ones for a directory. */
INLINE __u64 directory_mask(__u64 mode)
{
	return mask_of(is_zero((mode & S_IFMT) ^ S_IFDIR));
}

/* What tells a file of an overlay from those of other layers: overlayfs finds it by the
 * inode below, which it keeps in i_private. One with several links in a lower layer has none. */
INLINE __u64 in_layer(const struct numbering *n, struct inode *inode, __u64 mode)
{
	__u64 layer = n->subvolumes & n->directory; /* 0, and the verifier cannot tell */

	if (n->directory & ~directory_mask(mode)) {
		struct inode *below = BPF_CORE_READ(inode, i_private);
		layer = BPF_CORE_READ(below, i_sb, s_dev) * 0xa0761d6478bd642fULL;
	}
	return layer;
}

/* The number of an inode within its file system, made of its own. */
INLINE __u64 number_of(struct inode *inode, __u64 ino, __u64 magic, __u64 generation, __u64 mode)
{
	struct numbering n = numbering_of(magic);

	return ino ^ (generation << 40 & n.subvolumes) ^ (n.directory & directory_mask(mode)) ^ in_layer(&n, inode, mode);
}

INLINE __u64 inode_number(struct inode *inode)
{
	return number_of(inode, BPF_CORE_READ(inode, i_ino), BPF_CORE_READ(inode, i_sb, s_magic), BPF_CORE_READ(inode, i_generation),
			 BPF_CORE_READ(inode, i_mode));
}

INLINE void read_inode_id(struct inode *inode, struct inode_id *id)
{
	id->ino = inode_number(inode);
	id->dev = BPF_CORE_READ(inode, i_sb, s_dev);
}

INLINE void read_file_id(struct file *file, struct file_id *id)
{
	struct inode *inode = BPF_CORE_READ(file, f_inode);
	id->ino = inode_number(inode);
	id->size = BPF_CORE_READ(inode, i_size);
	id->dev = BPF_CORE_READ(inode, i_sb, s_dev);
	read_ctime(inode, &id->ctime_sec, &id->ctime_nsec);
}

INLINE void read_name(struct file *file, __u8 *name)
{
	bpf_probe_read_kernel_str(name, NAME_LEN, BPF_CORE_READ(file, f_path.dentry, d_name.name));
}

/*
 * The same by plain loads, for who has a pointer whose type the verifier knows, without a
 * helper for each member. What cannot be read is zero.
 */
INLINE void load_ctime(struct inode *inode, __s64 *sec, __u32 *nsec)
{
	if (bpf_core_field_exists(inode->i_ctime_sec)) {
		*sec = inode->i_ctime_sec;
		*nsec = inode->i_ctime_nsec & ~CTIME_QUERIED;
		return;
	}
	struct inode___hidden_ctime *hidden = (void *)inode;
	if (bpf_core_field_exists(hidden->__i_ctime)) {
		*sec = hidden->__i_ctime.tv_sec;
		*nsec = hidden->__i_ctime.tv_nsec;
		return;
	}
	struct inode___ctime *old = (void *)inode;
	*sec = old->i_ctime.tv_sec;
	*nsec = old->i_ctime.tv_nsec;
}

INLINE void load_inode_id(struct inode *inode, struct inode_id *id)
{
	id->ino = number_of(inode, inode->i_ino, inode->i_sb->s_magic, inode->i_generation, inode->i_mode);
	id->dev = inode->i_sb->s_dev;
	id->pad = 0;
}

INLINE void load_file_id(struct inode *inode, struct file_id *id)
{
	id->ino = number_of(inode, inode->i_ino, inode->i_sb->s_magic, inode->i_generation, inode->i_mode);
	id->size = inode->i_size;
	id->dev = inode->i_sb->s_dev;
	load_ctime(inode, &id->ctime_sec, &id->ctime_nsec);
}

INLINE __u32 current_uid(void)
{
	return (__u32)bpf_get_current_uid_gid();
}
