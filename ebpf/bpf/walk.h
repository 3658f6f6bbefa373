// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The walk that asks the boundary for a file: up to the root of its file system, by
 * inode. Paths can lie (bind mounts, links, renames); the chain of directories a file
 * is in cannot.
 *
 * What is found on the way up from a directory is remembered under a keyed hash of all
 * that it was found from: who asks, what holds, the file system, the number of each
 * directory on the way, and its name where some are bound. So nothing has to be told of
 * a rename, a removal or a mount: another way up is another hash. For what holds there
 * is an epoch in it, which the daemon changes (remembered_linux.go). Only that something
 * is allowed is remembered, and only found again where nothing is said of the file
 * itself: whatever is refused was looked up then and there.
 */
#pragma once

enum want {
	WANT_READ = 1,
	WANT_WRITE = 2,
	WANT_PLACE = 4, /* the entry in the directory, not the file: its own "writable" does not count */
	WANT_STAY = 8,  /* it is to be renamed or removed */
	WANT_EMPTY = 16, /* a directory with nothing in it: its name keeps nobody from it, unless it is ours */
};

#define MAX_DEPTH 64

/* What was found on the way up. */
struct found {
	__u64 all;  /* flags of everything above and the file itself */
	__u64 near; /* of what speaks of writing and is nearest */
};

INLINE void find(struct found *f, __u64 flags)
{
	__u64 near = f->near | (flags & (BOUND_WRITE | BOUND_PROTECTED) & mask_of(is_zero(f->near)));

	f->near = flags_of(near);
	f->all = flags_of(f->all | flags);
}

/* Whether a directory of /proc is that of a process of the session: its out-of-memory
 * score and the like are the user's to write, and those of others none of its. */
INLINE bool sessions_own(const struct walk *w, struct dentry *d)
{
	__u8 first = 0;
	bpf_probe_read_kernel(&first, 1, BPF_CORE_READ(d, d_name.name));
	if (first < '0' || first > '9')
		return false;
	void *inode = BPF_CORE_READ(d, d_inode);
	struct proc_inode *p = inode - bpf_core_field_offset(struct proc_inode, vfs_inode);
	__u32 tgid = BPF_CORE_READ(p, pid, numbers[0].nr);
	if (tgid == w->tgid)
		return true;
	struct proc *other = governed(tgid);
	return other && other->session == w->session;
}

/*
 * Whether a pointer is NULL. From 6.5 on the verifier takes a dentry's d_inode for one
 * that never is, and a check against 0 out of the program: what is made had none, and
 * the kernel would fall over it. So it is compared with what only we know to be 0.
 */
INLINE bool is_null(const struct walk *w, const void *p)
{
	return (__u64)p == w->zero;
}

/* As inode_number, of what is no directory. */
INLINE __u64 number_in(const struct numbering *n, struct inode *inode)
{
	return inode->i_ino ^ ((__u64)inode->i_generation << 40 & n->subvolumes);
}

/* ---- what is remembered --------------------------------------------------- */

/* What may be done in a directory to files of which nothing is said. */
enum allowed {
	ALLOWED_READ = 1,
	ALLOWED_WRITE = 2,
	ALLOWED_NAMES = 4,   /* but for some names */
	ALLOWED_LEVELS = 3,  /* the bit where two numbers begin, see below */
	ALLOWED_BITS = 2047,
};

/*
 * A directory on the way may be in one where some names are bound. Nothing is remembered
 * where the filter knows its name; else what the filter is asked is in the hash, and how
 * far up it is is remembered: of at most two such, the first from the file (1: the
 * directory that it is in), the second from the first.
 */
#define LEVEL_BITS 4
#define LEVEL_MASK 15

struct memory {
	__u64 key[2]; /* random: no process can tell what has the same hash */
	__u64 epoch;  /* odd: what holds is being changed */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct memory);
} bound_memory SEC(".maps");

/* One word each, so that none is half one and half another: a hash, in its last bits
 * enum allowed. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, REMEMBERED);
	__type(key, __u32);
	__type(value, __u64);
} bound_remembered SEC(".maps");

/*
 * A product has the best bits at its upper end: they are put where the next one spreads them.
 * An upper bit alone would change nothing else, and the next number could undo that: no
 * number differs in one alone once its upper half is in the lower as well.
 */
INLINE __u64 mixed(__u64 h, __u64 v, __u64 key)
{
	return __builtin_bswap64((h ^ v ^ v >> 32) * key);
}

INLINE __u64 *place_of(__u64 first)
{
	__u32 place = first & (REMEMBERED - 1);

	return bpf_map_lookup_elem(&bound_remembered, &place);
}

INLINE __u64 finished(const struct walk *w, __u64 h)
{
	h = (h ^ h >> 32) * w->last;
	return h ^ h >> 29;
}

/* The hash of the way up from a directory, and where that ends. */
INLINE struct dentry *way_up(const struct walk *w, struct dentry *at, __u64 *hash, bool several)
{
	__u64 h = *hash;

#pragma clang loop unroll(disable)
	for (__u64 i = 0; i < MAX_DEPTH; i++) {
		struct dentry *up = at->d_parent;

		if (up == at)
			break;
		struct inode *inode = up->d_inode;
		if (is_null(w, inode))
			break;
		__u64 ino = inode->i_ino;
		if (several)
			ino ^= (__u64)inode->i_generation << 40;
		h = mixed(h, ino, w->remember);
		at = up;
	}
	*hash = h;
	return at;
}

/* The directory so many above. */
INLINE struct dentry *climbed(struct dentry *at, __u64 levels)
{
#pragma clang loop unroll(disable)
	for (__u64 i = 0; i < LEVEL_MASK; i++) {
		__u64 left = levels ^ i;

		asm volatile("" : "+r"(left)); /* whether it is 0 tells the verifier nothing of levels */
		if (left == 0)
			break;
		at = at->d_parent;
	}
	return at;
}

/*
 * Whether it is known that the file may be had. If not, what a walk finds may be
 * remembered. It reads of the way up what the walk would.
 */
INLINE bool remembered(struct walk *w, struct dentry *d, struct inode *inode, __u32 want)
{
	struct super_block *sb = d->d_sb;
	__u32 zero = 0;
	struct memory *m = bpf_map_lookup_elem(&bound_memory, &zero);

	if (!m)
		return false;
	__u64 epoch = *(volatile __u64 *)&m->epoch;
	/* Of what users mount for themselves nothing is remembered: it is memory, or refused. */
	if ((epoch & 1) || sb->s_user_ns->level != 0)
		return false;
	__u32 dev = sb->s_dev;
	__u64 magic = sb->s_magic;
	__u64 key = m->key[0] | 1;
	__u64 h = mixed(m->key[1], w->session, key);

	h = mixed(h, epoch << 8 | (w->flags & (PROC_AGENT | PROC_FROM_AGENT | PROC_CANARY)), key);
	h = mixed(h, dev | magic << 32, key);
	/* Any number to the verifier: it would follow a walk that remembers apart from one that does not. */
	w->remember = key ^ w->zero;
	w->last = (m->key[1] | 1) ^ w->zero;
	w->hash = h;

	/* In the hash a directory has its number without what tells it from a file. */
	bool several = magic == BTRFS_SUPER_MAGIC;
	bool plain = !several && magic != OVERLAYFS_SUPER_MAGIC;
	__u64 said = want & WANT_STAY ? BY_POLICY | BY_SESSION | BY_PINS : BY_POLICY | BY_SESSION;
	if (!is_null(w, inode)) {
		__u64 ino = inode->i_ino;
		if (!plain)
			ino = number_of(inode, ino, magic, inode->i_generation, inode->i_mode);
		if (maybe_bound(w, ino, dev, 0) & said)
			return false;
	}
	struct dentry *at = d->d_parent;
	if (at == d)
		return false;
	inode = at->d_inode;
	if (is_null(w, inode))
		return false;
	__u64 dir = inode->i_ino;
	if (several)
		dir ^= (__u64)inode->i_generation << 40;
	h = mixed(h, dir, key);
	__u64 *word = place_of(h);
	if (!word)
		return false;
	__u64 known = *(volatile __u64 *)word;
	struct dentry *from = at;
	at = several ? way_up(w, at, &h, true) : way_up(w, at, &h, false);
	if (at != sb->s_root)
		return false;
	__u64 one = known >> ALLOWED_LEVELS & LEVEL_MASK, two = known >> (ALLOWED_LEVELS + LEVEL_BITS) & LEVEL_MASK;
	if (one) {
		at = climbed(from, one - 1);
		h = mixed(h, name_bits(at->d_name.name, at->d_name.len), key);
		if (two) {
			at = climbed(at, two);
			h = mixed(h, name_bits(at->d_name.name, at->d_name.len), key);
		}
	}
	if ((known ^ finished(w, h)) & ~(__u64)ALLOWED_BITS)
		return false;
	if (!(known & (want & WANT_WRITE ? ALLOWED_WRITE : ALLOWED_READ)))
		return false;
	if (!(known & ALLOWED_NAMES))
		return true;
	dir ^= numbering_of(magic).directory;
	return !(maybe_bound(w, dir, dev, name_bits(d->d_name.name, d->d_name.len)) & (BY_POLICY | BY_SESSION));
}

/* f is what was found from the directory on, names whether some are bound in it, and
 * levels how far up they are elsewhere. */
INLINE void remember_dir(const struct walk *w, __u64 first, __u64 h, const struct found *f, __u64 names, __u64 levels)
{
	__u64 *word = place_of(first);

	if (!word || (f->all & BOUND_UNREADABLE) || levels >> 2 * LEVEL_BITS)
		return;
	__u64 known = ALLOWED_READ | (names ? ALLOWED_NAMES : 0) | levels << ALLOWED_LEVELS;
	if (!(f->near & BOUND_PROTECTED) && ((f->near & BOUND_WRITE) || w->mode == BOUNDARY_FULL))
		known |= ALLOWED_WRITE;
	*(volatile __u64 *)word = (finished(w, h) & ~(__u64)ALLOWED_BITS) | known;
}

/* ---- the walk ------------------------------------------------------------- */

/*
 * Why the file may not be had, or WHY_NONE. For writing, what is nearest to the
 * file decides; for reading, every directory above it may forbid.
 */
INLINE __u32 walk_up(const struct walk *w, struct dentry *d, __u32 want)
{
	struct found file = { flags_of(w->zero), flags_of(w->zero) };
	struct found f = file; /* from the directory on */
	__u64 flags = flags_of(w->zero);
	__u64 h = w->hash, first = w->zero, names = w->zero;
	__u64 levels = w->zero, last = w->zero, one = w->zero, two = w->zero;
	struct dentry *child = d;
	struct inode *inode = d->d_inode;
	struct super_block *sb = d->d_sb;
	__u32 dev = sb->s_dev;
	struct numbering n = numbering_of(sb->s_magic);

	if (!is_null(w, inode))
		flags = bound_inode(w, number_in(&n, inode) ^ (n.directory & directory_mask(inode->i_mode)) ^ in_layer(&n, inode, inode->i_mode), dev,
				    want & WANT_STAY ? BY_POLICY | BY_SESSION | BY_PINS : BY_POLICY | BY_SESSION);
	if ((want & WANT_STAY) && (flags & BOUND_PINNED))
		return WHY_PINNED;
	if (want & WANT_PLACE)
		flags &= ~(__u64)BOUND_WRITE;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < MAX_DEPTH; i++) {
		struct dentry *up = d->d_parent;
		__u64 inner = mask_of(i == 0);

		if (up == d)
			break;
		inode = up->d_inode;
		if (is_null(w, inode))
			return WHY_UNKNOWN;
		__u64 ino = number_in(&n, inode) ^ n.directory;
		__u64 above = bound_inode(w, ino, dev, BY_POLICY | BY_SESSION);
		if (above & BOUND_NAMES) {
			__u64 bits = name_bits(d->d_name.name, d->d_name.len);
			__u64 by = maybe_bound(w, ino, dev, bits) & (BY_POLICY | BY_SESSION);
			__u64 named = bound_name(w, ino, dev, d->d_name.name, by);
			if ((want & WANT_EMPTY) && i == 0 && !(named & BOUND_OURS))
				named &= BOUND_WRITE;
			flags = flags_of(flags | named);
			/* A third, one too far up or one of which something is said: then nothing is kept. */
			__u64 none = mask_of(is_zero(levels)), more = levels >> LEVEL_BITS, up_by = i - last;
			__u64 level = up_by << (LEVEL_BITS & ~none) | (up_by >> LEVEL_BITS | more | by) << 2 * LEVEL_BITS;
			levels |= level & ~inner;
			one |= bits & none & ~inner;
			two |= bits & ~none & ~inner;
			last = i ^ w->zero;
		}
		h = mixed(h, ino ^ n.directory, w->remember);
		first |= h & inner;
		names |= above & BOUND_NAMES & inner;
		find(&file, flags & inner);
		find(&f, flags & ~inner);
		flags = above;
		child = d;
		d = up;
	}
	if (d != sb->s_root)
		return WHY_UNKNOWN; /* or too deep */
	find(&f, flags);
	if (one)
		h = mixed(h, one, w->remember);
	if (two)
		h = mixed(h, two, w->remember);
	if (w->remember && child != d && sb->s_magic != MQUEUE_MAGIC)
		remember_dir(w, first, h, &f, names, levels);
	file.near = flags_of(file.near | (f.near & mask_of(is_zero(file.near))));
	file.all = flags_of(file.all | f.all);
	if (file.all & BOUND_UNREADABLE)
		return WHY_UNREADABLE;
	if (!(want & WANT_WRITE)) /* who reads a queue takes what is in it */
		return sb->s_magic == MQUEUE_MAGIC && child != d ? WHY_UNREADABLE : WHY_NONE;
	if (file.near & BOUND_PROTECTED)
		return WHY_PROTECTED;
	if ((file.near & BOUND_WRITE) || w->mode == BOUNDARY_FULL)
		return WHY_NONE;
	if (sb->s_magic != PROC_SUPER_MAGIC)
		return WHY_OUTSIDE;
	/* What is a process's own in /proc, the kernel guards against other users. */
	return sessions_own(w, child) ? WHY_NONE : WHY_OUTSIDE;
}
