// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The boundary's data, who asks it, and what it says of one inode or name. walk.h
 * asks for a file.
 */
#pragma once

enum boundary_mode {
	BOUNDARY_NONE = 0,
	BOUNDARY_READ_ONLY = 1,
	BOUNDARY_WORKSPACE = 2,
	BOUNDARY_FULL = 3, /* only Paddock's own and what is unreadable is kept */
};

/* What holds for an inode and all below it, unless something nearer says else. */
enum bound_flag {
	BOUND_WRITE = 1,
	BOUND_PROTECTED = 2,
	BOUND_UNREADABLE = 4,
	BOUND_BROKER = 8,  /* a socket behind which somebody acts for others */
	BOUND_AGENT = 16,  /* the agent's own program may write, read, connect */
	BOUND_PINNED = 32, /* may be neither renamed nor removed: what it holds is protected */
	BOUND_NAMES = 64,  /* some names in this directory are bound */
	BOUND_OURS = 128,  /* protected in every mode */
	BOUND_FIXED = 256, /* pinned in every mode */
};

enum file_op {
	FILE_READ = 1,
	FILE_WRITE = 2,
	FILE_CREATE = 3,
	FILE_REMOVE = 4,
	FILE_RENAME = 5,
	FILE_LINK = 6,
	FILE_CHANGE = 7, /* mode, owner, size, times, attributes */
	FILE_CONNECT = 8,
	FILE_MOUNT = 9,
	FILE_UNMOUNT = 10,
	FILE_BPF = 11,
	FILE_MODULE = 12,
	FILE_PTRACE = 13,
	FILE_TERMINAL = 14, /* input put into a terminal, as if it had been typed */
	FILE_KEY = 15,      /* reading what a kernel key holds */
	FILE_IPC = 16,      /* shared memory, queues, semaphores of System V */
	FILE_PRIORITY = 17, /* priority, limits, processors, memory nodes of a process */
};

enum file_why {
	WHY_NONE = 0,
	WHY_OUTSIDE = 1, /* in no writable place */
	WHY_PROTECTED = 2,
	WHY_UNREADABLE = 3,
	WHY_PINNED = 4,
	WHY_UNKNOWN = 5, /* too deep, or on no way from the root */
	WHY_DEVICE = 6,
	WHY_OVERLAY = 7, /* the session's own view of somebody's files */
	WHY_BROKER = 8,
	WHY_STRANGER = 9, /* a process or a socket of nobody governed */
	WHY_HOST = 10,    /* the machine itself is not a session's */
};

/* Parts of a path in a record, the last one first. */
#define PATH_PARTS 12
#define PART_LEN 40

struct file_record {
	struct record_head head;
	__u64 ino;
	__u32 dev;
	__u32 op;
	__u32 why;
	__u32 enforced;
	__u32 uid;
	__u32 target; /* of FILE_PTRACE and FILE_CONNECT: the process; else: the command */
	__u32 rooted; /* the parts go up to the root of the file system */
	__u32 pad;
	__u8 parts[PATH_PARTS][PART_LEN];
};

struct bound {
	__u32 flags;
	__u32 agent; /* with BOUND_AGENT: only sessions of this one; 0: of any */
};

struct bound_key {
	__u64 session; /* 0 in the policy's own map */
	__u64 ino;
	__u32 dev;
	__u32 pad;
};

/* A name in a directory, whether or not there is such a file now. */
struct bound_name_key {
	__u64 session;
	__u64 ino;
	__u32 dev;
	__u32 pad;
	__u8 name[NAME_LEN];
};

struct bound_inner {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct bound_key);
	__type(value, struct bound);
};

struct bound_name_inner {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct bound_name_key);
	__type(value, struct bound);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__array(values, struct bound_inner);
} policy_bounds SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__array(values, struct bound_name_inner);
} policy_bound_names SEC(".maps");

/* What is a session's alone: its project. Full: the session can write less. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct bound_key);
	__type(value, struct bound);
} session_bounds SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct bound_name_key);
	__type(value, struct bound);
} session_bound_names SEC(".maps");

/*
 * A Bloom filter of everything above: of an inode, or a name in a directory, whose
 * bit is not set nothing is said by any policy or this session, and by another bit
 * nothing but that it is pinned, which counts only for what is to be renamed or removed.
 * Nearly all are such, and asking costs a tenth of looking in the maps. A bit is set
 * before there is an entry.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FILTER_WORDS);
	__type(key, __u32);
	__type(value, __u64);
} bound_filter SEC(".maps");

/* A session the boundary holds for. One that is not recognised yet has no entry:
 * it may be no agent's, and no child of it runs before the daemon has answered. */
struct bound_session {
	__u32 mode;
	__u32 agent;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_SESSIONS);
	__type(key, __u64);
	__type(value, struct bound_session);
} bound_sessions SEC(".maps");

/* ---- who asks ----------------------------------------------------------- */

/*
 * Who walks, under which policy.
 *
 * The verifier follows each branch on its own, and a walk of 64 steps with a few
 * branches in each is more than it looks at. So what is found is joined by
 * arithmetic, and nothing is a number the verifier knows: zero is 0, which it
 * cannot tell, so that "not found" looks to it like anything that was.
 */
struct walk {
	void *bounds;
	void *names;
	struct proc *proc;
	__u64 session;
	__u64 zero;
	__u64 salt; /* of the session, in the filter */
	__u64 drop;  /* flags that do not count in this mode */
	__u64 agent; /* number of the session's agent */
	__u64 own;   /* 1: the agent's own program */
	__u64 remember; /* 0: what is found is not remembered; else the memory's first key */
	__u64 hash;     /* of who asks, under what, on which file system */
	__u64 last;     /* the memory's second key */
	__u32 mode;
	__u32 tgid;
	__u32 flags;    /* of the process, read once: what is remembered was found for these */
	__u32 enforced; /* 0: observe */
};

/* To the verifier, any flags at all: what was found looks like what was not. */
INLINE __u64 flags_of(__u64 f)
{
	asm volatile("" : "+r"(f));
	return f & 0x1ff;
}

INLINE bool is_governed(struct walk *w)
{
	w->tgid = current_tgid();
	w->proc = governed(w->tgid);
	if (!w->proc)
		return false;
	w->remember = w->hash = w->last = 0;
	w->session = w->proc->session;
	w->flags = *(volatile __u32 *)&w->proc->flags;
	w->salt = w->session * 0xd6e8feb86659fd93ULL >> 58;
	__u64 same = w->session;
	asm volatile("" : "+r"(same));
	w->zero = w->session ^ same;
	return true;
}

/* What holds for a governed process; false: no boundary. */
INLINE bool find_policy(struct walk *w)
{
	__u32 slot = 0;
	if (policy_slot(&slot))
		return false;
	struct settings *set = policy_settings_in(slot);
	struct bound_session *s = bpf_map_lookup_elem(&bound_sessions, &w->session);
	if (!set || !s)
		return false;
	__u64 mode = s->mode;
	if (!(w->flags & PROC_CANARY) && set->boundary < mode)
		mode = set->boundary;
	w->mode = flags_of(mode) & 3;
	if (w->mode == BOUNDARY_NONE)
		return false;
	w->drop = (mask_of(is_zero(mode ^ BOUNDARY_READ_ONLY)) & BOUND_WRITE) |
		  (mask_of(is_zero(mode ^ BOUNDARY_FULL)) & (BOUND_PROTECTED | BOUND_PINNED));
	w->agent = s->agent;
	__u64 flags = flags_of(w->flags);
	w->own = (flags | flags >> 1) & 1; /* PROC_AGENT, PROC_FROM_AGENT */
	/* The canary stands under enforcement whatever the mode. */
	w->enforced = flags_of(set->enforce) | (flags & PROC_CANARY);
	w->bounds = bpf_map_lookup_elem(&policy_bounds, &slot);
	w->names = bpf_map_lookup_elem(&policy_bound_names, &slot);
	return w->bounds && w->names;
}

INLINE bool begin_walk(struct walk *w)
{
	return is_governed(w) && find_policy(w);
}

/* What an entry means for who walks. */
INLINE __u64 means(const struct walk *w, const struct bound *b)
{
	__u64 f = b->flags;
	__u64 agent = b->agent;
	__u64 ours = mask_of(f >> 7) & BOUND_PROTECTED; /* BOUND_OURS */
	__u64 fixed = mask_of(f >> 8) & BOUND_PINNED;   /* BOUND_FIXED */
	__u64 theirs = is_zero(agent) | is_zero(agent ^ w->agent);
	__u64 own = mask_of(w->own & (f >> 4) & theirs); /* BOUND_AGENT */

	/* Flags of their own: what else is said of the same directory is none of theirs. */
	f = (f & ~w->drop) | ours | fixed;
	f &= ~((BOUND_PROTECTED | BOUND_UNREADABLE | BOUND_BROKER) & own);
	return flags_of(f | (BOUND_WRITE & own));
}

/* Who may say something of an inode or a name. */
enum said_by {
	BY_POLICY = 1,
	BY_SESSION = 2,
	BY_PINS = 4, /* either, and nothing but that it is pinned */
};

/* Who may say something of an inode, or of a name in it: of that its length and
 * first bytes count. filter_linux.go computes the same. */
INLINE __u64 maybe_bound(const struct walk *w, __u64 ino, __u32 dev, __u64 name)
{
	__u64 h = (ino ^ (__u64)dev << 32 ^ name) * 0x9e3779b97f4a7c15ULL;
	__u32 word = h >> 53;
	__u64 *bits = bpf_map_lookup_elem(&bound_filter, &word);

	if (!bits)
		return BY_POLICY | BY_SESSION | BY_PINS;
	__u64 b = *bits;
	return (b >> (h >> 47 & 63) & 1) | (b >> ((h >> 41 ^ w->salt) & 63) & 1) << 1 | (b >> (h >> 35 & 63) & 1) << 2;
}

INLINE __u64 name_bits(const unsigned char *name, __u32 len)
{
	__u64 first = 0;

	/* Eight bytes are there however short the name: it is kept in multiples of them. */
	bpf_probe_read_kernel(&first, sizeof(first), name);
	if (len < 8)
		first &= (1ULL << (len & 7) * 8) - 1;
	return (first ^ len) * 0xd6e8feb86659fd93ULL | 1;
}

/* Without BY_PINS in by, what is only pinned is not found. */
INLINE __u64 bound_inode(const struct walk *w, __u64 ino, __u32 dev, __u64 by)
{
	__u64 flags = flags_of(w->zero);

	by &= maybe_bound(w, ino, dev, 0);
	if (!by)
		return flags;
	struct bound_key key = { .ino = ino, .dev = dev };
	if (by & (BY_POLICY | BY_PINS)) {
		struct bound *b = bpf_map_lookup_elem(w->bounds, &key);
		if (b)
			flags = means(w, b);
	}
	if (by & (BY_SESSION | BY_PINS)) {
		key.session = w->session;
		struct bound *b = bpf_map_lookup_elem(&session_bounds, &key);
		if (b)
			flags |= means(w, b);
	}
	return flags_of(flags);
}

/* The name of a file, in a directory where some are bound. by: who may say something of it. */
INLINE __u64 bound_name(const struct walk *w, __u64 ino, __u32 dev, const unsigned char *name, __u64 by)
{
	__u64 flags = flags_of(w->zero);

	if (!by)
		return flags;
	struct bound_name_key key = { .ino = ino, .dev = dev };

	bpf_probe_read_kernel_str(key.name, NAME_LEN, name);
	struct bound *b = bpf_map_lookup_elem(w->names, &key);
	if (b)
		flags = means(w, b);
	key.session = w->session;
	b = bpf_map_lookup_elem(&session_bound_names, &key);
	if (b)
		flags |= means(w, b);
	return flags_of(flags);
}
