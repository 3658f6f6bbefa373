// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Attribution and the hold: fork, exec, exit, and what a held process may do.
 */
#pragma once

INLINE void record_killed(const struct proc *p, __u32 tgid, __u32 reason)
{
	struct killed_record r = {};
	fill_head(&r.head, RECORD_KILLED, tgid, p);
	r.reason = reason;
	r.uid = current_uid();
	submit(&ring_security, RING_SECURITY, &r, sizeof(r));
}

/* What counts is an array of one. */
INLINE void add_to(void *counter, __s64 n)
{
	__u32 zero = 0;
	__s64 *count = bpf_map_lookup_elem(counter, &zero);
	if (count)
		__sync_fetch_and_add(count, n);
}

INLINE bool any_held(void)
{
	__u32 zero = 0;
	__u64 *count = bpf_map_lookup_elem(&holding, &zero);
	return !count || *(volatile __u64 *)count;
}

INLINE __s64 procs_counted(void)
{
	__u32 zero = 0;
	__s64 *count = bpf_map_lookup_elem(&proc_count, &zero);
	return count ? *count : 0;
}

/* Counted as if it were held, since whoever looks at system calls looks for what is counted. */
INLINE void set_stray(__u32 tgid)
{
	add_to(&holding, 1);
	set_marked(tgid, MARKED_STRAY);
}

/*
 * The mark goes from parent to child before the child has run, so setsid,
 * double fork, clone(CLONE_PARENT) and re-parenting cannot shake it off.
 */
SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *parent, struct task_struct *child)
{
	__u32 tgid = parent->tgid;
	__u32 child_tgid = child->tgid;
	if (child_tgid == tgid)
		return 0; /* a thread */

	struct proc *p = governed(tgid);
	if (!p) {
		if (marked_as(tgid) == MARKED_STRAY)
			set_stray(child_tgid);
		return 0;
	}

	struct proc c = {};
	c.session = p->session;
	c.cause = p->cause;
	c.start = child->start_boottime;
	c.flags = PROC_COUNTED | (p->flags & PROC_CANARY);
	if (p->flags & PROC_AGENT)
		c.flags |= PROC_FROM_AGENT;
	else
		c.flags |= p->flags & PROC_FROM_AGENT;

	set_marked(child_tgid, MARKED_MAYBE);
	long err = bpf_map_update_elem(&procs, &child_tgid, &c, BPF_ANY);
	if (!err) {
		struct session *sess = bpf_map_lookup_elem(&sessions, &c.session);
		if (sess)
			__sync_fetch_and_add(&sess->procs, 1);
		add_to(&proc_count, 1);
	}
	/* A fork bomb stops well before the table is full. But a process may take
	 * its time to die (a thread that waits for a file system of its own), so
	 * there may be more of them than are left over. */
	if (err)
		set_stray(child_tgid);
	if (err || procs_counted() > MAX_PROCS - PROC_SLACK) {
		bpf_send_signal(SIGKILL);
		record_killed(p, tgid, KILL_PROCS_FULL);
	}
	return 0;
}

INLINE void end_process(struct task_struct *task, __u32 tgid, struct proc *p)
{
	__u64 key = p->session;
	bool counted = p->flags & PROC_COUNTED;
	struct exit_record r = {};
	fill_head(&r.head, RECORD_EXIT, tgid, p);
	int code = task->signal->group_exit_code;
	r.code = code ? code : task->exit_code;

	if (bpf_map_delete_elem(&procs, &tgid))
		return; /* two last threads raced: the other one did it */
	set_marked(tgid, MARKED_NOT);

	if (counted)
		add_to(&proc_count, -1);
	if (!key)
		return; /* let go before */
	struct session *sess = bpf_map_lookup_elem(&sessions, &key);
	if (sess) {
		/* The value returned by an atomic needs a newer instruction set
		 * than 5.10 has. Two exits at once may both read the same: the
		 * daemon looks again before it ends a session. */
		__sync_fetch_and_add(&sess->procs, -1);
		r.remaining = sess->procs;
	}
	submit(&ring_volume, RING_VOLUME, &r, sizeof(r));
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit, struct task_struct *task)
{
	/* A main thread may end before the others: the process is gone only
	 * with its last thread. */
	if (task->signal->live.counter > 0)
		return 0;

	__u32 tgid = task->tgid;
	struct state *s = daemon_state();
	if (s && s->daemon == tgid && s->daemon)
		s->alive = 0;

	/* a look takes no lock */
	if (any_held() && bpf_map_lookup_elem(&held, &tgid) && !bpf_map_delete_elem(&held, &tgid))
		add_to(&holding, -1);
	__u8 as = marked_as(tgid);
	if (as == MARKED_NOT)
		return 0;
	struct proc *p = bpf_map_lookup_elem(&procs, &tgid);
	if (p) {
		end_process(task, tgid, p);
		return 0;
	}
	set_marked(tgid, MARKED_NOT);
	if (as == MARKED_STRAY)
		add_to(&holding, -1);
	return 0;
}

/* ---- exec --------------------------------------------------------------- */

#define ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))
#define SIPROUND                                  \
	do {                                      \
		v0 += v1; v1 = ROTL(v1, 13);      \
		v1 ^= v0; v0 = ROTL(v0, 32);      \
		v2 += v3; v3 = ROTL(v3, 16);      \
		v3 ^= v2;                         \
		v0 += v3; v3 = ROTL(v3, 21);      \
		v3 ^= v0;                         \
		v2 += v1; v1 = ROTL(v1, 17);      \
		v1 ^= v2; v2 = ROTL(v2, 32);      \
	} while (0)

/*
 * SipHash-1-3, keyed with a seed nobody outside the daemon knows: an agent
 * cannot look for bytes that collide with what was allowed. words is a multiple
 * of 8 bytes long; the bytes after len are zero.
 */
INLINE __u64 siphash(const __u64 *words, __u32 max, __u32 len, const struct state *s)
{
	__u64 v0 = s->seed[0] ^ 0x736f6d6570736575ULL;
	__u64 v1 = s->seed[1] ^ 0x646f72616e646f6dULL;
	__u64 v2 = s->seed[0] ^ 0x6c7967656e657261ULL;
	__u64 v3 = s->seed[1] ^ 0x7465646279746573ULL;

	for (__u32 i = 0; i < max / 8; i++) {
		if (i * 8 >= len)
			break;
		__u64 m = words[i];
		v3 ^= m;
		SIPROUND;
		v0 ^= m;
	}
	__u64 last = (__u64)len << 56 | len;
	v3 ^= last;
	SIPROUND;
	v0 ^= last;
	v2 ^= 0xff;
	SIPROUND;
	SIPROUND;
	SIPROUND;
	return v0 ^ v1 ^ v2 ^ v3;
}

#define ARGV_AT_MOST (2 * PATH_LEN - 8)

INLINE __u8 *argv_of(struct exec_record *r)
{
	return r->text + (r->argv_at & ARGV_AT_MOST);
}

INLINE __u64 size_of(const struct exec_record *r)
{
	__u32 len = r->argv_len;
	if (len > ARGV_LEN)
		len = ARGV_LEN;
	return __builtin_offsetof(struct exec_record, text) + (r->argv_at & ARGV_AT_MOST) + len;
}

/* Reads argv from the new address space: after the point of no return no
 * thread is left that could change it under us. */
INLINE void read_argv(struct exec_record *r, struct task_struct *task)
{
	struct mm_struct *mm = task->mm;
	__u64 start = mm->arg_start;
	__u64 total = mm->arg_end - start;
	__u8 *argv = argv_of(r);
	r->argv_total = total > 0xffffffff ? 0xffffffff : total;
	r->argv_len = 0;

	__u32 len = total;
	if (total > ARGV_LEN) {
		len = ARGV_LEN;
		r->flags |= EXEC_ARGV_CUT;
	}
	if (len == 0)
		return;
	/* the last word's padding must be zero for the hash */
	if (len <= ARGV_LEN - 8)
		*(__u64 *)(argv + (len & (ARGV_LEN - 8))) = 0;
	__u32 bounded = ((len - 1) & (ARGV_LEN - 1)) + 1;
	if (bpf_probe_read_user(argv, bounded, (void *)start)) {
		r->flags |= EXEC_ARGV_UNREAD;
		return;
	}
	r->argv_len = bounded;
}

/*
 * The part after the last slash of a path of len bytes, its zero included; of a
 * longer name its end. Without a branch in the loop: the verifier would follow
 * both sides of each. Returns its length, its zero included.
 */
INLINE long path_basename(const char *path, __u32 len, struct name_key *key)
{
	struct name_key tail = {};
	__u32 from = len > NAME_LEN ? len - NAME_LEN : 0;
	__u32 at = 0;

	bpf_probe_read_kernel_str(tail.name, NAME_LEN, path + from);
	for (__u32 i = 0; i < NAME_LEN; i++) {
		__u32 hit = (__u32)tail.name[i] ^ '/';
		hit = (hit - 1) >> 31; /* 1: it is a slash */
		asm volatile("" : "+r"(hit));
		at += hit * (i + 1 - at);
		asm volatile("" : "+r"(at));
	}
	at &= NAME_LEN - 1;
	return bpf_probe_read_kernel_str(key->name, NAME_LEN - at, tail.name + at);
}

/*
 * Whether the part after the last slash of the path of len bytes in text[] is the
 * file's own name, of own bytes: it nearly always is, and then need not be looked for.
 */
INLINE bool called_by_own_name(const struct exec_record *r, long len, long own)
{
	if (len > PATH_LEN || own <= 1 || own >= NAME_LEN || own > len)
		return false; /* a name of NAME_LEN bytes may be cut */
	__u32 at = (len - own) & (PATH_LEN - 1);
	if (at && r->text[(at - 1) & (PATH_LEN - 1)] != '/')
		return false;
	__u64 differ = 0;
	for (__u32 i = 0; i < NAME_LEN; i += 8) {
		if (i >= own)
			break;
		__u32 beyond = i + 8 > own ? i + 8 - own : 0; /* bytes of this word after the name */
		differ |= (*(__u64 *)(r->text + at + i) ^ *(__u64 *)(r->name + i)) << ((beyond & 7) * 8);
	}
	return !differ;
}

INLINE __u32 name_flags(const struct name_key *key)
{
	__u32 *flags = bpf_map_lookup_elem(&names, key);
	return flags ? *flags : 0;
}

INLINE void submit_exec(void *ring, __u32 which, struct exec_record *r)
{
	if (r->flags & (EXEC_ARGV_CUT | EXEC_PATH_CUT | EXEC_ARGV_UNREAD))
		count_oversized(which);
	submit(ring, which, r, size_of(r));
}

INLINE void kill_exec(struct exec_record *r, __u32 reason)
{
	bpf_send_signal(SIGKILL);
	r->action = EXEC_KILLED;
	r->kill_reason = reason;
	submit_exec(&ring_security, RING_SECURITY, r);
}

/* How far up a stop is passed on: sudo has a process between itself and the command. */
#define ABOVE_HELD 3

INLINE void note_above(struct task_struct *task, __u64 now)
{
	for (int i = 0; i < ABOVE_HELD; i++) {
		task = BPF_CORE_READ(task, real_parent);
		__u32 tgid = BPF_CORE_READ(task, tgid);
		if (!governed(tgid))
			return;
		bpf_map_update_elem(&above_held, &tgid, &now, BPF_ANY);
	}
}

/*
 * Stop first, then ask: the other way round the answer can overtake the stop
 * and the process sleeps for ever. Whatever goes wrong on the way, it dies:
 * its first instruction has not run.
 */
INLINE void hold_exec(struct exec_record *r, struct task_struct *task, __u32 tgid)
{
	if (!daemon_alive()) {
		kill_exec(r, KILL_NO_DAEMON);
		return;
	}
	if (task->ptrace) {
		kill_exec(r, KILL_TRACED);
		return;
	}
	struct hold h = {};
	h.since = r->head.time;
	h.token = r->head.time ^ ((__u64)tgid << 40);
	h.start = r->head.start;
	r->token = h.token;
	add_to(&holding, 1);
	if (bpf_map_update_elem(&held, &tgid, &h, BPF_ANY)) {
		add_to(&holding, -1);
		kill_exec(r, KILL_HELD_FULL);
		return;
	}
	note_above(task, h.since);
	if (bpf_send_signal(SIGSTOP)) {
		kill_exec(r, KILL_SIGNAL_FAILED);
		return;
	}
	r->action = EXEC_HELD;
	if (r->flags & (EXEC_ARGV_CUT | EXEC_PATH_CUT | EXEC_ARGV_UNREAD))
		count_oversized(RING_HOLDS);
	if (submit(&ring_holds, RING_HOLDS, r, size_of(r)))
		kill_exec(r, KILL_RING_FULL);
}

/*
 * A file system that a user made: mounted in a namespace of their own (an overlay
 * keeps size and change time of what has since been changed below it), or FUSE.
 */
INLINE bool foreign(struct super_block *sb)
{
	return sb->s_user_ns->level > 0 || sb->s_magic == FUSE_SUPER_MAGIC;
}

/* The file's own name, zero padded. Returns its length, its zero included. */
INLINE long read_own_name(struct exec_record *r, struct linux_binprm *bprm)
{
	__builtin_memset(r->name, 0, NAME_LEN);
	return bpf_probe_read_kernel_str(r->name, NAME_LEN, bprm->file->f_path.dentry->d_name.name);
}

/* All but the names. */
INLINE void fill_exec(struct exec_record *r, struct task_struct *task, struct linux_binprm *bprm,
		      __u32 tgid, const struct proc *p)
{
	struct inode *inode = bprm->file->f_inode;

	fill_head(&r->head, RECORD_EXEC, tgid, p);
	r->head.start = task->group_leader->start_boottime;
	r->flags = 0;
	r->token = 0;
	r->kill_reason = 0;
	r->argv_hash = 0;
	r->called_hash = 0;
	r->generation = 0;
	r->argv_len = 0;
	r->argv_total = 0;
	load_file_id(inode, &r->exe);
	if (inode->i_nlink == 0)
		r->flags |= EXEC_UNLINKED;
	if (foreign(inode->i_sb))
		r->flags |= EXEC_FOREIGN;
	load_inode_id(task->fs->pwd.dentry->d_inode, &r->cwd);
	r->ppid = task->real_parent->tgid;
	r->uid = task->cred->uid.val;
	r->gid = task->cred->gid.val;
	if (bprm->interp != bprm->filename)
		r->flags |= EXEC_SCRIPT;
}

/* Returns the length of the whole path, its zero included. */
INLINE long read_path(struct exec_record *r, struct linux_binprm *bprm)
{
	const char *filename = bprm->filename;
	long len = bpf_probe_read_kernel_str(r->text, PATH_LEN, filename);
	long kept = len < 0 ? 0 : len;
	r->path_len = kept;
	r->argv_at = (kept + 7) & ARGV_AT_MOST;
	if (len >= PATH_LEN) /* what comes after it is free yet */
		len = bpf_probe_read_kernel_str(r->text + PATH_LEN, ARGV_LEN, filename);
	return len;
}

/* A policy is in force, and it only observes. */
INLINE bool observing(void)
{
	__u32 slot;
	if (policy_slot(&slot))
		return false;
	struct settings *set = policy_settings_in(slot);
	return set && !set->enforce;
}

/*
 * A process nobody governs. When it may be an agent it is marked at once, under
 * a session key of its own, and the daemon is asked what it is: no child can
 * escape in between, and nothing is stopped, so a shell with job control does
 * not see its foreground program "Stopped". If it is none, the daemon takes
 * the mark away.
 */
INLINE void maybe_agent(struct exec_record *r, struct task_struct *task, struct linux_binprm *bprm, __u32 tgid)
{
	long own = read_own_name(r, bprm);
	long len = read_path(r, bprm);
	__u32 flags = name_flags((struct name_key *)r->name);

	/* A script or a link goes by the name it was called. */
	if (!(flags & NAME_SURE) && len > 0 && !called_by_own_name(r, len, own)) {
		struct name_key called = {};
		path_basename(bprm->filename, len, &called);
		flags |= name_flags(&called);
	}
	if (!flags)
		return;
	bool alive = daemon_alive();
	/* What is let go is found by the walk over all processes when the daemon is back. */
	if (!alive && (!(flags & NAME_SURE) || observing()))
		return;

	fill_exec(r, task, bprm, tgid, 0);
	if (len >= PATH_LEN)
		r->flags |= EXEC_PATH_CUT;
	read_argv(r, task);
	r->action = EXEC_CANDIDATE;
	if (flags & NAME_SURE)
		r->flags |= EXEC_SURE;
	if (!alive) {
		kill_exec(r, KILL_NO_DAEMON);
		return;
	}

	struct proc p = {};
	p.start = r->head.start;
	p.flags = PROC_AGENT | PROC_COUNTED;
	/* pid and microsecond: no two sessions of one boot share it */
	p.session = (r->head.time >> 10) << 22 | (tgid & 0x3fffff);
	struct session sess = { .procs = 1 };
	r->head.session = p.session;
	/* An entry may be there: of a process that was let go and calls exec again. */
	struct proc *before = bpf_map_lookup_elem(&procs, &tgid);
	if (before && !(before->flags & PROC_COUNTED))
		p.flags &= ~PROC_COUNTED;
	set_marked(tgid, MARKED_MAYBE);
	if (bpf_map_update_elem(&sessions, &p.session, &sess, BPF_NOEXIST) ||
	    bpf_map_update_elem(&procs, &tgid, &p, BPF_ANY)) {
		bpf_map_delete_elem(&sessions, &p.session);
		r->head.session = 0;
		kill_exec(r, KILL_PROCS_FULL);
		return;
	}
	if (!before)
		add_to(&proc_count, 1);
	if (submit(&ring_holds, RING_HOLDS, r, size_of(r)))
		kill_exec(r, KILL_RING_FULL);
}

INLINE void judge_exec(struct exec_record *r, struct task_struct *task, struct linux_binprm *bprm,
		       __u32 tgid, struct proc *p)
{
	__u32 slot;
	struct settings *set = 0;
	if (!policy_slot(&slot))
		set = policy_settings_in(slot);

	fill_exec(r, task, bprm, tgid, p);
	long own = read_own_name(r, bprm);
	long len = read_path(r, bprm);
	if (len >= PATH_LEN)
		r->flags |= EXEC_PATH_CUT;
	read_argv(r, task);
	bool from_agent = p->flags & (PROC_FROM_AGENT | PROC_AGENT);
	p->flags &= ~(PROC_FROM_AGENT | PROC_AGENT);
	if (from_agent)
		r->flags |= EXEC_FROM_AGENT;
	if (!set) {
		kill_exec(r, KILL_NO_POLICY);
		return;
	}
	r->generation = set->generation;
	if (!enforcing(set, p)) {
		r->action = EXEC_OBSERVED;
		submit_exec(&ring_volume, RING_VOLUME, r);
		return;
	}

	/* What the agent itself starts is always shown to the daemon: the first
	 * process of a tool call carries the call's id in its environment. A
	 * script's name is not its executable's, so no cache knows it. */
	struct state *s = daemon_state();
	if (from_agent || !s || len <= 0 || (p->flags & PROC_CANARY) ||
	    (r->flags & (EXEC_SCRIPT | EXEC_UNLINKED | EXEC_PATH_CUT | EXEC_FOREIGN))) {
		hold_exec(r, task, tgid);
		return;
	}
	/* A program may be known by the name it is called by: it is in the key. */
	if (called_by_own_name(r, len, own)) {
		r->called_hash = siphash((const __u64 *)r->name, NAME_LEN, own, s);
	} else {
		struct name_key called = {};
		long bytes = path_basename(bprm->filename, len, &called);
		r->called_hash = siphash((const __u64 *)called.name, NAME_LEN, bytes, s);
	}

	struct exe_key ek = {};
	ek.exe = r->exe;
	ek.called = r->called_hash;
	ek.generation = r->generation;
	if (bpf_map_lookup_elem(&exe_cache, &ek)) {
		r->action = EXEC_ALLOWED;
		submit_exec(&ring_volume, RING_VOLUME, r);
		return;
	}
	if (r->flags & (EXEC_ARGV_CUT | EXEC_ARGV_UNREAD)) {
		hold_exec(r, task, tgid);
		return;
	}
	r->argv_hash = siphash((const __u64 *)argv_of(r), ARGV_LEN, r->argv_len, s);
	struct argv_key ak = {};
	ak.exe = r->exe;
	ak.called = r->called_hash;
	ak.hash = r->argv_hash;
	ak.generation = r->generation;
	ak.len = r->argv_len;
	if (bpf_map_lookup_elem(&argv_cache, &ak)) {
		r->action = EXEC_ALLOWED;
		submit_exec(&ring_volume, RING_VOLUME, r);
		return;
	}
	hold_exec(r, task, tgid);
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	__u32 zero = 0;
	struct exec_record *r = bpf_map_lookup_elem(&exec_scratch, &zero);
	if (!r)
		return 0;
	__u32 tgid = task->tgid;
	struct proc *p = governed(tgid);
	if (p)
		judge_exec(r, task, bprm, tgid, p);
	else
		maybe_agent(r, task, bprm, tgid);
	return 0;
}

/* Of a process that there was no room for nothing runs. */
INLINE bool end_if_stray(void)
{
	__u32 tgid = current_tgid();
	if (marked_as(tgid) != MARKED_STRAY)
		return false;
	bpf_send_signal(SIGKILL);
	record_killed(0, tgid, KILL_PROCS_FULL);
	return true;
}

/* A held process that goes on was woken by somebody else: SIGCONT from a sibling, or the
 * kernel's own SIGCONT to an orphaned process group. It counted itself. */
INLINE void end_if_held(void)
{
	if (!any_held() || end_if_stray())
		return;
	__u32 tgid = current_tgid();
	if (!bpf_map_lookup_elem(&held, &tgid))
		return;
	bpf_send_signal(SIGKILL);
	record_killed(governed(tgid), tgid, KILL_ESCAPED);
}

/* The first that a new process does, in the kernel; before its first instruction it looks for signals. */
SEC("fexit/schedule_tail")
int BPF_PROG(on_born)
{
	end_if_stray();
	return 0;
}

/*
 * What is held has a stop pending, or had one until somebody took it away with SIGCONT:
 * either way it comes through here before its first instruction, and looks for signals
 * once more before it goes on.
 */
SEC("fexit/get_signal")
int BPF_PROG(on_woken)
{
	end_if_held();
	return 0;
}

/*
 * The same, later and for a price that every system call of the machine pays, where the
 * kernel may leave out the above: attached while a session under enforcement lives.
 */
SEC("tp_btf/sys_enter")
int BPF_PROG(on_syscall, struct pt_regs *regs, long id)
{
	end_if_held();
	return 0;
}

/* ---- what the kernel calls a file ---------------------------------------- */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} probe_pid SEC(".maps");

struct probed_file {
	struct file_id id;
	__u32 fd;
	__u32 nlink;
};

/*
 * The identity the hooks will see of every file the asking process has open.
 * stat(2) cannot answer: on overlayfs and btrfs it reports another device than
 * the inode's own.
 */
SEC("iter/task_file")
int probe_files(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	__u32 zero = 0;
	__u32 *pid = bpf_map_lookup_elem(&probe_pid, &zero);
	if (!task || !file || !pid || (__u32)task->tgid != *pid)
		return 0;
	struct probed_file out = {};
	out.fd = ctx->fd;
	read_file_id(file, &out.id);
	out.nlink = BPF_CORE_READ(file, f_inode, i_nlink);
	bpf_seq_write(ctx->meta->seq, &out, sizeof(out));
	return 0;
}

/* ---- since when processes run --------------------------------------------- */

struct began {
	__u64 start; /* ns since boot, as in every record */
	__u32 tgid;
	__u32 pad;
};

/* /proc rounds it to 10 ms, and a process that the daemon marks must have one identity. */
SEC("iter/task")
int probe_began(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	if (!task || task->pid != task->tgid)
		return 0;
	struct began out = {};
	out.start = task->start_boottime;
	out.tgid = task->tgid;
	bpf_seq_write(ctx->meta->seq, &out, sizeof(out));
	return 0;
}
