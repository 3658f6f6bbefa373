// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Refusals before the fact, each written once and offered under both
 * mechanisms: lsm/ where "bpf" is among the kernel's LSMs, fmod_ret where not.
 * The two name the same place differently: an LSM hook, and the function that
 * calls it.
 */
#pragma once

INLINE int refuse_file(struct file *file, __u32 hook, const char *called)
{
	__u32 tgid = current_tgid();
	struct proc *p = governed(tgid);
	if (!p)
		return 0;
	__u32 slot = 0;
	if (policy_slot(&slot))
		return 0;
	void *deny = bpf_map_lookup_elem(&policy_deny, &slot);
	if (!deny)
		return 0;
	struct inode_id id = {};
	read_inode_id(BPF_CORE_READ(file, f_inode), &id);
	if (!bpf_map_lookup_elem(deny, &id))
		return 0;

	struct settings *set = policy_settings_in(slot);
	bool enforced = enforcing(set, p);
	if (!enforced && hook == HOOK_BPRM)
		return 0; /* the exec itself will say so */
	/* Reserved in place: these hooks may be preempted, so no per-CPU scratch. */
	struct refused_record *r = bpf_ringbuf_reserve(&ring_security, sizeof(*r), 0);
	if (!r) {
		count(RING_SECURITY, true);
		return enforced ? -EPERM : 0;
	}
	fill_head(&r->head, RECORD_REFUSED, tgid, p);
	read_file_id(file, &r->exe);
	r->uid = current_uid();
	r->hook = hook;
	r->enforced = enforced;
	r->pad = 0;
	__builtin_memset(r->name, 0, NAME_LEN);
	read_name(file, r->name);
	__builtin_memset(r->path, 0, PATH_LEN);
	if (called)
		bpf_probe_read_kernel_str(r->path, PATH_LEN, called);
	bpf_ringbuf_submit(r, 0);
	count(RING_SECURITY, false);
	return enforced ? -EPERM : 0;
}

INLINE int refuse_mmap(struct file *file, unsigned long prot, unsigned long flags)
{
	/* 6.12's verifier takes file for never NULL, which it is for anonymous
	 * memory: ask the flags, and read through a helper that bears NULL. */
	if (!(prot & PROT_EXEC) || (flags & MAP_ANONYMOUS))
		return 0;
	return refuse_file(file, HOOK_MMAP, 0);
}

INLINE void record_signal(const struct proc *p, __u32 tgid, __u32 target, __u32 sig)
{
	struct signal_record r = {};
	fill_head(&r.head, RECORD_SIGNAL, tgid, p);
	r.target = target;
	r.signal = sig;
	r.uid = current_uid();
	submit(&ring_security, RING_SECURITY, &r, sizeof(r));
}

INLINE bool is_ours(__u32 tgid)
{
	struct state *s = daemon_state();
	return s && tgid && (tgid == s->daemon || tgid == s->guard);
}

/* Whoever stops or ends the companion keeps its user from being asked. What a session
 * runs of it itself is no companion. */
INLINE bool is_companion(struct task_struct *task, __u32 tgid)
{
	struct inode_id id = {};
	struct inode *inode = BPF_CORE_READ(task, mm, exe_file, f_inode);
	if (!inode)
		return false;
	read_inode_id(inode, &id);
	return bpf_map_lookup_elem(&companions, &id) && !governed(tgid);
}

/* From when on a process stops for another reason than that one below it was held. */
#define PASSED_ON 10000000000ULL

INLINE bool passes_stop_on(__u32 tgid)
{
	__u64 *since = bpf_map_lookup_elem(&above_held, &tgid);
	return since && bpf_ktime_get_boot_ns() - *since < PASSED_ON;
}

/* A governed process may neither wake what is held nor signal Paddock; nor stop itself
 * or others because one that it started is held. */
INLINE int refuse_signal(struct task_struct *target, int sig)
{
	if (sig == 0)
		return 0;
	__u32 tgid = current_tgid();
	struct proc *p = governed(tgid);
	if (!p)
		return 0;
	if (sig == SIGSTOP && passes_stop_on(tgid))
		return -EPERM;
	__u32 t = target->tgid;
	if (t == tgid)
		return 0;
	/* No other signal wakes what is stopped: after an exec they end it, or do nothing. */
	bool wakes_held = sig == SIGCONT && bpf_map_lookup_elem(&held, &t);
	if (!wakes_held && !is_ours(t) && !is_companion(target, t))
		return 0;
	record_signal(p, tgid, t, sig);
	return -EPERM;
}

/* A signal for a file that is ready (F_SETOWN, F_SETSIG) passes no task_kill, and who
 * asked for it is not who is running now: the companion and what is held wait for none. */
INLINE int refuse_sigio(struct task_struct *target)
{
	__u32 t = target->tgid;
	return bpf_map_lookup_elem(&held, &t) || is_companion(target, t) ? -EPERM : 0;
}

/* Whether a process is on its way into another program, which may be held at the end: whoever may write to its memory may
 * do so for as long as the file is open that the right came with. What is traced is never held. */
INLINE bool about_to_be_held(struct task_struct *target, unsigned int mode)
{
	return (mode & PTRACE_MODE_ATTACH) && BPF_CORE_READ_BITFIELD_PROBED(target, in_execve) && !target->ptrace;
}

/* A tracer could let a held process run, and read or write Paddock's memory. */
INLINE int refuse_ptrace(struct task_struct *target, unsigned int mode)
{
	__u32 tgid = current_tgid();
	struct proc *p = governed(tgid);
	if (!p)
		return 0;
	__u32 t = target->tgid;
	if (t == tgid)
		return 0;
	if (!is_ours(t) && !bpf_map_lookup_elem(&held, &t) && !about_to_be_held(target, mode) && !is_companion(target, t))
		return 0;
	record_signal(p, tgid, t, 0);
	return -EPERM;
}

/*
 * A packet with a source route goes first where its sender says, which need not
 * be the destination that was judged. Anybody may set one: for a socket (IP
 * options, an IPv6 routing header), or with one message.
 */
INLINE int refuse_option(int level, int name)
{
	bool route = level == SOL_IP ? name == IP_OPTIONS
				     : level == SOL_IPV6 && (name == IPV6_RTHDR || name == IPV6_2292PKTOPTIONS);
	if (!route)
		return 0;
	return refuse_socket(level == SOL_IP ? AF_INET : AF_INET6, 0, 0, true) ? 0 : -EPERM;
}

/* struct cmsghdr: UAPI, fixed layout. */
struct control {
	__u64 len;
	__s32 level;
	__s32 type;
};

/* More than this in one message nobody sends. */
#define MAX_CONTROLS 32

INLINE bool sets_route(const struct control *c)
{
	if (c->level == SOL_IP)
		return c->type == IP_RETOPTS;
	return c->level == SOL_IPV6 && (c->type == IPV6_RTHDR || c->type == IPV6_2292RTHDR);
}

INLINE int refuse_message(struct msghdr *msg)
{
	__u64 left = BPF_CORE_READ(msg, msg_controllen);
	if (left < sizeof(struct control))
		return 0;
	if (!governed(current_tgid()))
		return 0;
	const char *at = BPF_CORE_READ(msg, msg_control);
	for (__u32 i = 0; i < MAX_CONTROLS; i++) {
		struct control c = {};
		if (left < sizeof(c))
			return 0;
		if (bpf_probe_read_kernel(&c, sizeof(c), at))
			break; /* what cannot be read is refused */
		if (c.len < sizeof(c) || c.len > left)
			return 0; /* the kernel takes nothing from here on */
		if (sets_route(&c))
			return refuse_socket(c.level == SOL_IP ? AF_INET : AF_INET6, 0, 0, true) ? 0 : -EPERM;
		__u64 step = (c.len + 7) & ~7ULL;
		if (step >= left)
			return 0;
		left -= step;
		at += step;
	}
	return refuse_socket(AF_UNSPEC, 0, 0, true) ? 0 : -EPERM;
}

/*
 * What a program returns, kept as it is. 6.12 wants to see that an lsm program
 * returns 0 or an error number, and that bound is lost on what an earlier
 * program answered, or when the compiler turns a choice into arithmetic.
 */
INLINE int bounded(int answer)
{
	long a = answer;

	asm volatile("" : "+r"(a)); /* or the compiler knows better than to check */
	if (a < -4095 || a > 0)
		return -EPERM;
	return a;
}

#define HOOKS(prefix, bprm_at, kill_at, sigio_at, ptrace_at, socket_at, option_at, message_at)     \
	SEC(bprm_at)                                                                               \
	int BPF_PROG(prefix##_bprm, struct linux_binprm *bprm, int ret)                            \
	{                                                                                          \
		return bounded(ret ? ret : refuse_file(bprm->file, HOOK_BPRM, bprm->filename));    \
	}                                                                                          \
	SEC(kill_at)                                                                               \
	int BPF_PROG(prefix##_kill, struct task_struct *target, struct kernel_siginfo *info,       \
		     int sig, const struct cred *cred, int ret)                                    \
	{                                                                                          \
		return bounded(ret ? ret : refuse_signal(target, sig));                            \
	}                                                                                          \
	SEC(sigio_at)                                                                              \
	int BPF_PROG(prefix##_sigio, struct task_struct *target, void *owner, int sig, int ret)    \
	{                                                                                          \
		return bounded(ret ? ret : refuse_sigio(target));                                  \
	}                                                                                          \
	SEC(ptrace_at)                                                                             \
	int BPF_PROG(prefix##_ptrace, struct task_struct *child, unsigned int mode, int ret)       \
	{                                                                                          \
		return bounded(ret ? ret : refuse_ptrace(child, mode));                            \
	}                                                                                          \
	SEC(socket_at)                                                                             \
	int BPF_PROG(prefix##_socket, int family, int type, int protocol, int kern, int ret)       \
	{                                                                                          \
		if (!ret && !kern && !judge_socket(family, type, protocol))                        \
			ret = -EPERM;                                                              \
		return bounded(ret);                                                               \
	}                                                                                          \
	SEC(option_at)                                                                             \
	int BPF_PROG(prefix##_option, struct socket *sock, int level, int name, int ret)           \
	{                                                                                          \
		return bounded(ret ? ret : refuse_option(level, name));                            \
	}                                                                                          \
	SEC(message_at)                                                                            \
	int BPF_PROG(prefix##_message, struct socket *sock, struct msghdr *msg, int size, int ret) \
	{                                                                                          \
		return bounded(ret ? ret : refuse_message(msg));                                   \
	}

HOOKS(lsm, "lsm/bprm_check_security", "lsm/task_kill", "lsm/file_send_sigiotask", "lsm/ptrace_access_check",
      "lsm/socket_create", "lsm/socket_setsockopt", "lsm/socket_sendmsg")
HOOKS(mod, "fmod_ret/security_bprm_check", "fmod_ret/security_task_kill", "fmod_ret/security_file_send_sigiotask",
      "fmod_ret/security_ptrace_access_check", "fmod_ret/security_socket_create",
      "fmod_ret/security_socket_setsockopt", "fmod_ret/security_socket_sendmsg")

/*
 * The LSM hook takes (file, reqprot, prot, flags); the function around it takes
 * (file, prot, flags) and may later add read-implies-exec to prot, which only
 * the hook sees.
 */
SEC("lsm/mmap_file")
int BPF_PROG(lsm_mmap, struct file *file, unsigned long reqprot, unsigned long prot, unsigned long flags, int ret)
{
	return bounded(ret ? ret : refuse_mmap(file, prot, flags));
}

SEC("fmod_ret/security_mmap_file")
int BPF_PROG(mod_mmap, struct file *file, unsigned long prot, unsigned long flags, int ret)
{
	return bounded(ret ? ret : refuse_mmap(file, prot, flags));
}
