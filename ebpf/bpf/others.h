// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What processes of one user share without any file: keys, shared memory, queues,
 * semaphores, and the right to set each other's priorities and limits. A session
 * has its own of these, and none of anybody else's.
 */
#pragma once

#define KEY_NEED_READ 2 /* from 5.8 on */
#define IPC_RMID 0
#define IPC_SET 1

/*
 * Which session made a segment, a queue or a set of semaphores, by its address:
 * whoever is given the address later takes the entry away. One that is missing, for
 * there were too many, is refused.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, __u64);
} made_ipc SEC(".maps");

INLINE int note_ipc(void *ipc)
{
	__u64 at = (__u64)ipc;
	struct proc *p = governed(current_tgid());

	if (p)
		bpf_map_update_elem(&made_ipc, &at, &p->session, BPF_ANY);
	else
		bpf_map_delete_elem(&made_ipc, &at);
	return 0;
}

INLINE int judge_ipc(void *ipc)
{
	struct walk w;
	if (!begin_walk(&w))
		return 0;
	__u64 at = (__u64)ipc;
	__u64 *session = bpf_map_lookup_elem(&made_ipc, &at);
	if (session && *session == w.session)
		return 0;
	record_deed(&w, FILE_IPC, WHY_STRANGER, 0);
	return w.enforced ? -EACCES : 0;
}

/* What a key holds is a secret of whoever put it there, and a session inherits the
 * keyring of the login it was started from. EACCES would have the kernel look for
 * another way to the same key. */
INLINE int judge_key(__u32 need)
{
	struct walk w;
	if (need != KEY_NEED_READ || !begin_walk(&w))
		return 0;
	record_deed(&w, FILE_KEY, WHY_UNREADABLE, 0);
	return w.enforced ? -EPERM : 0;
}

/* A limit of no CPU time ends a process, and no processor to run on stops it. */
INLINE int judge_priority(struct task_struct *task)
{
	struct walk w;
	if (!begin_walk(&w))
		return 0;
	__u32 target = task->tgid;
	if (target == w.tgid)
		return 0;
	struct proc *other = governed(target);
	if (other && other->session == w.session)
		return 0;
	record_deed(&w, FILE_PRIORITY, WHY_STRANGER, target);
	return w.enforced ? -EPERM : 0;
}

BOUND_HOOK(nice, "task_setnice", judge_priority(task), struct task_struct *task)
BOUND_HOOK(ioprio, "task_setioprio", judge_priority(task), struct task_struct *task)
BOUND_HOOK(schedule, "task_setscheduler", judge_priority(task), struct task_struct *task)
BOUND_HOOK(limit, "task_setrlimit", judge_priority(task), struct task_struct *task)
BOUND_HOOK(pages, "task_movememory", judge_priority(task), struct task_struct *task)

/* The first argument is of a type that the kernel tells nobody about. */
BOUND_HOOK(key, "key_permission", judge_key(need), void *key, void *cred, int need)

BOUND_HOOK(ipc, "ipc_permission", judge_ipc(ipc), void *ipc)
BOUND_HOOK(shmctl, "shm_shmctl", cmd == IPC_RMID || cmd == IPC_SET ? judge_ipc(ipc) : 0, void *ipc, int cmd)
BOUND_HOOK(semctl, "sem_semctl", cmd == IPC_RMID || cmd == IPC_SET ? judge_ipc(ipc) : 0, void *ipc, int cmd)
BOUND_HOOK(msgctl, "msg_queue_msgctl", cmd == IPC_RMID || cmd == IPC_SET ? judge_ipc(ipc) : 0, void *ipc, int cmd)

/* Of these the hook and the function around it have different names. */
#define MADE_HOOK(name, hook, function)                   \
	SEC("lsm/" hook)                                  \
	int BPF_PROG(lsm_bound_##name, void *ipc)         \
	{                                                 \
		return bounded(note_ipc(ipc));            \
	}                                                 \
	SEC("fmod_ret/security_" function)                \
	int BPF_PROG(mod_bound_##name, void *ipc)         \
	{                                                 \
		return bounded(note_ipc(ipc));            \
	}

MADE_HOOK(shm, "shm_alloc_security", "shm_alloc")
MADE_HOOK(sem, "sem_alloc_security", "sem_alloc")
MADE_HOOK(msg, "msg_queue_alloc_security", "msg_queue_alloc")
