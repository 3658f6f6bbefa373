// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The kernel types Paddock looks at, and of each only the members it reads.
 * preserve_access_index makes every access a CO-RE relocation, so the offsets
 * here mean nothing: the loader takes the running kernel's own from its BTF.
 */
#pragma once

typedef unsigned char __u8;
typedef signed short __s16;
typedef unsigned short __u16;
typedef signed int __s32;
typedef unsigned int __u32;
typedef signed long long __s64;
typedef unsigned long long __u64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u32 __wsum;

typedef _Bool bool;
#define true 1
#define false 0

/* include/uapi/linux/bpf.h */
enum {
	BPF_ANY = 0,
	BPF_NOEXIST = 1,
	BPF_EXIST = 2,
	BPF_F_NO_PREALLOC = 1,
	BPF_F_MMAPABLE = 1 << 10,
};

enum {
	BPF_SK_STORAGE_GET_F_CREATE = 1,
};

#define BPF_F_CURRENT_NETNS ((__u64)-1)

enum {
	BPF_SOCK_OPS_TCP_CONNECT_CB = 3,
};

enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_LPM_TRIE = 11,
	BPF_MAP_TYPE_ARRAY_OF_MAPS = 12,
	BPF_MAP_TYPE_SK_STORAGE = 24,
	BPF_MAP_TYPE_RINGBUF = 27,
};

/* The context of cgroup/sock_create programs, and what others see of a socket: UAPI, fixed layout. */
struct bpf_sock {
	__u32 bound_dev_if;
	__u32 family;
	__u32 type;
	__u32 protocol;
	__u32 mark;
	__u32 priority;
	__u32 src_ip4;
	__u32 src_ip6[4];
	__u32 src_port; /* host order */
	__u16 dst_port; /* network order; of four bytes before 5.18 */
	__u16 pad;
	__u32 dst_ip4;
	__u32 dst_ip6[4];
};

/* The context of cgroup/connect*, sendmsg*, recvmsg* and getpeername* programs: UAPI, fixed layout. */
struct bpf_sock_addr {
	__u32 user_family;
	__u32 user_ip4;
	__u32 user_ip6[4];
	__u32 user_port;
	__u32 family;
	__u32 type;
	__u32 protocol;
	__u32 msg_src_ip4;
	__u32 msg_src_ip6[4];
	struct bpf_sock *sk __attribute__((aligned(8)));
};

/* The context of sockops programs: UAPI, fixed layout. */
struct bpf_sock_ops {
	__u32 op;
	__u32 args[4];
	__u32 family;
	__u32 remote_ip4;
	__u32 local_ip4;
	__u32 remote_ip6[4];
	__u32 local_ip6[4];
	__u32 remote_port; /* network order, in the upper half */
	__u32 local_port;  /* host order */
	__u32 is_fullsock;
	__u32 unused[23]; /* what TCP measures */
	__u64 bytes_received;
	__u64 bytes_acked;
	struct bpf_sock *sk __attribute__((aligned(8)));
};

/* The context of cgroup_skb programs: UAPI, fixed layout. */
struct __sk_buff {
	__u32 len;
	__u32 unused[9];
	__u32 ifindex; /* the device it leaves by */
	__u32 unread[31];
	struct bpf_sock *sk __attribute__((aligned(8)));
};

/* A connection as a packet that arrives for it: network order. */
struct bpf_sock_tuple {
	union {
		struct {
			__be32 saddr;
			__be32 daddr;
			__be16 sport;
			__be16 dport;
		} ipv4;
		struct {
			__be32 saddr[4];
			__be32 daddr[4];
			__be16 sport;
			__be16 dport;
		} ipv6;
	};
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	int counter;
} atomic_t;

struct kuid {
	__u32 val;
};

struct user_namespace {
	int level; /* 0: the first one */
};

/* A bit for each capability; up to 6.2 in two halves. */
typedef struct {
	__u64 val;
} kernel_cap_t;

struct cred {
	struct kuid uid;
	struct kuid gid;
	struct kuid euid;
	kernel_cap_t cap_effective;
	struct user_namespace *user_ns;
};

struct mnt_namespace {
	struct user_namespace *user_ns;
};

struct nsproxy {
	struct mnt_namespace *mnt_ns;
};

struct dentry;

struct super_block {
	__u32 s_dev;
	unsigned long s_flags;
	unsigned long s_magic;
	struct dentry *s_root;
	struct user_namespace *s_user_ns;
};

struct file_system_type {
	const char *name;
};

struct fs_context {
	struct file_system_type *fs_type;
	struct user_namespace *user_ns;
};

struct timespec64 {
	__s64 tv_sec;
	long tv_nsec;
};

struct inode {
	unsigned short i_mode;
	struct super_block *i_sb;
	unsigned long i_ino;
	unsigned int i_nlink;
	__u32 i_generation;
	__u32 i_rdev;
	long long i_size;
	void *i_private;
	/* 6.11 split the change time into two scalars */
	__s64 i_ctime_sec;
	__u32 i_ctime_nsec;
};

/* up to 6.5 */
struct inode___ctime {
	struct timespec64 i_ctime;
};

/* 6.6 to 6.10 */
struct inode___hidden_ctime {
	struct timespec64 __i_ctime;
};

struct qstr {
	__u32 len;
	const unsigned char *name;
};

struct dentry {
	struct dentry *d_parent; /* itself: the root of its file system */
	struct qstr d_name;
	struct inode *d_inode;
	struct super_block *d_sb;
	void *d_fsdata; /* of a pseudo-terminal: its tty_struct */
};

struct path {
	struct dentry *dentry;
};

struct file {
	struct path f_path;
	struct inode *f_inode;
	unsigned int f_mode;
};

struct fs_struct {
	struct path pwd;
};

struct mm_struct {
	unsigned long arg_start;
	unsigned long arg_end;
	struct file *exe_file;
};

struct pid;

struct tty_driver {
	int major;
	int minor_start;
};

struct tty_struct {
	struct tty_driver *driver;
	int index;
	struct {
		struct pid *session;
	} ctrl;
};

/* up to 5.15 */
struct tty_struct___session {
	struct pid *session;
};

struct signal_struct {
	atomic_t live;
	int group_exit_code;
	struct tty_struct *tty;
};

struct proc_inode {
	struct pid *pid;
	struct inode vfs_inode;
};

struct io_kiocb {
	__u8 opcode;
};

struct io_uring_task;

struct task_struct {
	unsigned int flags;
	unsigned int ptrace;
	unsigned int in_execve : 1;
	int exit_code;
	int pid;
	int tgid;
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	__u64 start_boottime;
	const struct cred *real_cred; /* its own */
	const struct cred *cred;      /* those under which it acts now */
	struct mm_struct *mm;
	struct fs_struct *fs;
	struct io_uring_task *io_uring; /* none: this thread has never used io_uring */
	void *worker_private;
	struct nsproxy *nsproxy;
	struct signal_struct *signal;
};

struct upid {
	int nr;
};

struct hlist_head {
	void *first;
};

struct pid {
	struct hlist_head tasks[4]; /* by kind; [1]: the thread group's leader */
	struct upid numbers[1];     /* the first: in the first pid namespace */
};

struct sock {
	struct pid *sk_peer_pid; /* of a listening socket: who listens */
};

struct unix_address;

struct unix_sock {
	struct unix_address *addr; /* none: it has no name at all */
	struct path path;          /* where its name is in a file system */
};

struct linux_binprm {
	struct file *file;
	const char *filename;
	const char *interp;
};

struct socket {
	struct sock *sk;
};

/* What a socket is to send: the control messages are in the kernel's memory by then. */
struct msghdr {
	void *msg_control;
	unsigned long msg_controllen;
};

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
	__u64 session_id;
	__u64 seq_num;
};

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	__u32 fd;
	struct file *file;
};

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

struct pt_regs;
struct kernel_siginfo;

#pragma clang attribute pop
