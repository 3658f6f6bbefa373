// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The boundary: where a session may write, what it may not read, and what it may
 * not do to the machine and to those who are not governed. In force only while
 * requirements have one. Inode hooks, since they see every way to a file: all
 * system calls, io_uring, and what another file system does on top.
 */
#pragma once

#define EACCES 13
#define EROFS 30
#define FMODE_READ 1
#define FMODE_WRITE 2
#define SB_NOUSER (1UL << 31)
#define READING_FIRMWARE 1
/* asm-generic; FS_IOC_* are the same wherever long has 64 bits, but for 32-bit programs */
#define TIOCSTI 0x5412
#define TIOCLINUX 0x541C
#define FS_IOC_SETFLAGS 0x40086602
#define FS_IOC32_SETFLAGS 0x40046602
#define FS_IOC_FSSETXATTR 0x401c5820

/* ---- telling ------------------------------------------------------------ */

INLINE struct file_record *begin_record(const struct walk *w, __u32 op, __u32 why)
{
	struct file_record *r = bpf_ringbuf_reserve(&ring_security, sizeof(*r), 0);
	if (!r) {
		count(RING_SECURITY, true);
		return 0;
	}
	fill_head(&r->head, RECORD_FILE, w->tgid, w->proc);
	r->ino = 0;
	r->dev = 0;
	r->op = op;
	r->why = why;
	r->enforced = w->enforced != 0;
	r->uid = current_uid();
	r->target = 0;
	r->rooted = 0;
	r->pad = 0;
	__builtin_memset(r->parts, 0, sizeof(r->parts));
	return r;
}

INLINE void end_record(struct file_record *r)
{
	bpf_ringbuf_submit(r, 0);
	count(RING_SECURITY, false);
}

INLINE void record_file(const struct walk *w, struct dentry *d, __u32 op, __u32 why)
{
	struct file_record *r = begin_record(w, op, why);
	if (!r)
		return;
	struct inode *inode = BPF_CORE_READ(d, d_inode);
	if (inode) {
		r->ino = inode_number(inode);
		r->dev = BPF_CORE_READ(inode, i_sb, s_dev);
	} else {
		r->dev = BPF_CORE_READ(d, d_sb, s_dev);
	}
	for (__u32 i = 0; i < PATH_PARTS; i++) {
		struct dentry *up = BPF_CORE_READ(d, d_parent);
		if (up == d) {
			r->rooted = 1;
			break;
		}
		bpf_probe_read_kernel_str(r->parts[i], PART_LEN, BPF_CORE_READ(d, d_name.name));
		d = up;
	}
	end_record(r);
}

INLINE void record_deed(const struct walk *w, __u32 op, __u32 why, __u32 target)
{
	struct file_record *r = begin_record(w, op, why);
	if (!r)
		return;
	r->target = target;
	end_record(r);
}

/* ---- files ---------------------------------------------------------------- */

/* Memory of processes that looks like a file: pipes, memfds, what a user mounted
 * in a namespace of their own and only they can see. */
INLINE bool private_memory(struct super_block *sb)
{
	if (sb->s_flags & SB_NOUSER)
		return true;
	if (sb->s_user_ns->level == 0)
		return false;
	unsigned long magic = sb->s_magic;
	return magic == TMPFS_MAGIC || magic == DEVPTS_SUPER_MAGIC || magic == MQUEUE_MAGIC || magic == FUSE_SUPER_MAGIC;
}

/* An overlay that a user made shows the files of others under inodes of its own. */
INLINE bool users_overlay(struct super_block *sb)
{
	return sb->s_magic == OVERLAYFS_SUPER_MAGIC && sb->s_user_ns->level > 0;
}

#define DEVICE(major, minor) ((major) << 20 | (minor))

INLINE bool pseudo_terminal(__u32 dev)
{
	__u32 major = dev >> 20;
	return major >= 136 && major <= 143;
}

/* Of the machine's own screen and keyboard. */
INLINE bool console(__u32 dev)
{
	return dev >> 6 == DEVICE(4, 0) >> 6 || dev == DEVICE(5, 1);
}

/* A terminal in which somebody works whom nobody governs. Who opened it would read
 * what is typed there, and could write to it what looks like a shell's. That which
 * the process itself is attached to it may open, and one that nobody has yet. Who has
 * a console its node does not say. */
INLINE bool others_terminal(struct dentry *d, __u32 dev)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct tty_struct *tty = BPF_CORE_READ(d, d_fsdata);

	if (console(dev)) {
		tty = BPF_CORE_READ(task, signal, tty);
		__u32 major = BPF_CORE_READ(tty, driver, major);
		__u32 minor = BPF_CORE_READ(tty, driver, minor_start) + BPF_CORE_READ(tty, index);
		return DEVICE(major, minor) != dev; /* of none it is 0 */
	}
	if (!tty || BPF_CORE_READ(d, d_sb, s_magic) != DEVPTS_SUPER_MAGIC)
		return true; /* nor is it one */
	if (BPF_CORE_READ(task, signal, tty) == tty)
		return false;
	struct tty_struct___session *old = (void *)tty;
	struct pid *session = bpf_core_field_exists(tty->ctrl.session) ? BPF_CORE_READ(tty, ctrl.session)
									: BPF_CORE_READ(old, session);
	return session && !governed(BPF_CORE_READ(session, numbers[0].nr));
}

INLINE bool harmless_device(__u32 dev)
{
	return dev == DEVICE(1, 3) || dev == DEVICE(1, 5) || dev == DEVICE(1, 7) || dev == DEVICE(1, 8) ||
	       dev == DEVICE(1, 9) || dev == DEVICE(5, 0) || dev == DEVICE(5, 2);
}

/* Whoever can make a device of a number has it, wherever the node is that policy speaks
 * of: keyboards, disks. What every file tree of a container needs has no power. 0 is a
 * whiteout. */
INLINE bool powerful_node(__u32 mode, __u32 dev)
{
	__u32 kind = mode & S_IFMT;

	if (kind == S_IFBLK)
		return true;
	return kind == S_IFCHR && dev != 0 && !harmless_device(dev);
}

/* include/linux/sched.h */
#define PF_EXITING 0x4
#define PF_IO_WORKER 0x10
#define PF_OLD_IO_WORKER 0x20000000 /* up to 5.11, and where their io_uring is a newer one's */
#define PF_DUMPCORE 0x200
#define PF_SIGNALED 0x400
#define PF_KTHREAD 0x200000
#define CAP_DAC_OVERRIDE 1
#define CAP_SYS_RESOURCE 24

/* Whether this thread can be at what it asked of io_uring before, under credentials
 * that it had then. */
INLINE bool for_io_uring(struct task_struct *task)
{
	__u32 worker = PF_IO_WORKER;

	if (!bpf_core_field_exists(task->worker_private)) /* 5.17 */
		worker |= PF_OLD_IO_WORKER;
	if (BPF_CORE_READ(task, flags) & worker)
		return true;
	if (!bpf_core_field_exists(task->io_uring))
		return bpf_core_type_exists(struct io_kiocb);
	return BPF_CORE_READ(task, io_uring) != 0;
}

/*
 * Whether an overlay acts on the layers below it: what it does there was judged, as
 * what is done to the overlay itself. It acts under copies of the credentials of who
 * mounted it, without the one capability that it never uses. Others who act under
 * borrowed credentials have either that too, or what the process could have chosen:
 * for io_uring, or when a core is dumped. These two are not taken for overlays.
 */
INLINE bool overlay_acts(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	const struct cred *cred = BPF_CORE_READ(task, cred);
	__u64 caps = 0;

	if (cred == BPF_CORE_READ(task, real_cred) || BPF_CORE_READ(cred, user_ns, level) != 0)
		return false;
	bpf_probe_read_kernel(&caps, sizeof(caps), (void *)cred + bpf_core_field_offset(struct cred, cap_effective));
	if (!(caps >> CAP_DAC_OVERRIDE & 1) || (caps >> CAP_SYS_RESOURCE & 1))
		return false;
	if (BPF_CORE_READ(task, flags) & (PF_EXITING | PF_DUMPCORE | PF_SIGNALED | PF_KTHREAD))
		return false;
	return !for_io_uring(task);
}

/* Returns the error number for the judged file. */
INLINE int judge_dentry(const struct walk *w, struct dentry *d, __u32 want, __u32 op)
{
	struct super_block *sb = d->d_sb;

	if (private_memory(sb))
		return 0;
	__u32 why = users_overlay(sb) && w->mode != BOUNDARY_FULL ? WHY_OVERLAY : walk_up(w, d, want);
	if (why == WHY_NONE || (why == WHY_OUTSIDE && overlay_acts()))
		return 0;
	record_file(w, d, op, why);
	if (!w->enforced)
		return 0;
	return why == WHY_UNREADABLE || why == WHY_OVERLAY ? -EACCES : -EROFS;
}

INLINE int judge_file(struct dentry *d, __u32 want, __u32 op)
{
	struct walk w;
	if (!is_governed(&w) || remembered(&w, d, d->d_inode, want) || !find_policy(&w))
		return 0;
	return judge_dentry(&w, d, want, op);
}

INLINE int judge_open(struct file *file)
{
	struct walk w;
	if (!is_governed(&w))
		return 0;
	struct dentry *d = file->f_path.dentry;
	struct inode *inode = file->f_inode;
	__u32 kind = inode->i_mode & S_IFMT;
	bool write = file->f_mode & FMODE_WRITE;
	bool device = kind == S_IFCHR || kind == S_IFBLK;
	__u32 want = write ? WANT_READ | WANT_WRITE : WANT_READ;

	if (!device && inode == d->d_inode && remembered(&w, d, inode, want))
		return 0;
	if (!find_policy(&w))
		return 0;
	if (device) {
		__u32 dev = inode->i_rdev;
		if (kind == S_IFCHR && (pseudo_terminal(dev) || console(dev))) {
			if (!others_terminal(d, dev))
				return 0;
			record_file(&w, d, write ? FILE_WRITE : FILE_READ, WHY_STRANGER);
			return w.enforced ? -EACCES : 0;
		}
		if (kind == S_IFCHR && harmless_device(dev))
			return 0;
		bool raw = kind == S_IFBLK || dev == DEVICE(1, 1) || dev == DEVICE(1, 2) || dev == DEVICE(1, 4);
		if (raw && w.mode != BOUNDARY_FULL) {
			record_file(&w, d, write ? FILE_WRITE : FILE_READ, WHY_DEVICE);
			return w.enforced ? -EACCES : 0;
		}
	}
	/* What lies below an overlay has an inode of its own. */
	if (inode != d->d_inode && !private_memory(d->d_sb) &&
	    (bound_inode(&w, inode_number(inode), inode->i_sb->s_dev, BY_POLICY | BY_SESSION) & BOUND_UNREADABLE)) {
		record_file(&w, d, FILE_READ, WHY_UNREADABLE);
		return w.enforced ? -EACCES : 0;
	}
	return judge_dentry(&w, d, want, write ? FILE_WRITE : FILE_READ);
}

INLINE int judge_node(struct dentry *d, __u32 mode, __u32 dev)
{
	struct walk w;
	if (!begin_walk(&w))
		return 0;
	if (!powerful_node(mode, dev) || w.mode == BOUNDARY_FULL || overlay_acts())
		return judge_dentry(&w, d, WANT_WRITE | WANT_PLACE, FILE_CREATE);
	record_file(&w, d, FILE_CREATE, WHY_DEVICE);
	return w.enforced ? -EPERM : 0;
}

/* A descriptor that another process hands over, or is taken one from (pidfd_getfd).
 * What a session inherits is not judged: `agent >log` is how people begin one. */
INLINE int judge_received(struct file *file)
{
	return file->f_mode & (FMODE_READ | FMODE_WRITE) ? judge_open(file) : 0;
}

INLINE int judge_link(struct dentry *from, struct dentry *to)
{
	int err = judge_file(from, WANT_READ | WANT_WRITE, FILE_LINK);
	return err ? err : judge_file(to, WANT_WRITE | WANT_PLACE, FILE_LINK);
}

/* Also of an exchange: either may end up where the other is. */
INLINE int judge_rename(struct dentry *from, struct dentry *to)
{
	int err = judge_file(from, WANT_READ | WANT_WRITE | WANT_PLACE | WANT_STAY, FILE_RENAME);
	return err ? err : judge_file(to, WANT_READ | WANT_WRITE | WANT_PLACE | WANT_STAY, FILE_RENAME);
}

/* ---- the machine, and those who are not governed ---------------------------- */

INLINE int refuse_deed(__u32 op, __u32 target)
{
	struct walk w;
	if (!begin_walk(&w))
		return 0;
	record_deed(&w, op, WHY_HOST, target);
	return w.enforced ? -EPERM : 0;
}

/* In a namespace of its own a session may mount what it likes: files are known by
 * their inode. In the machine's, a mount would hide or show what others see. */
INLINE int refuse_mount(__u32 op)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct walk w;
	if (!begin_walk(&w))
		return 0;
	if (BPF_CORE_READ(task, nsproxy, mnt_ns, user_ns, level) > 0 && BPF_CORE_READ(task, cred, user_ns, level) > 0)
		return 0;
	record_deed(&w, op, WHY_HOST, 0);
	return w.enforced ? -EPERM : 0;
}

/* An overlay that a session makes outside of every user namespace is not known for a
 * user's (users_overlay). To look into it, it need not be put where others see it. */
INLINE int refuse_super(struct super_block *sb)
{
	if (sb->s_magic != OVERLAYFS_SUPER_MAGIC || sb->s_user_ns->level > 0)
		return 0;
	return refuse_deed(FILE_MOUNT, 0);
}

/* The same before there is a superblock, when the session says what it is to be made of:
 * from 6.19 on an overlay acts on its layers, as overlays do, while it is made. It has a
 * layer from here alone. What is only observed is told of when it is made. */
INLINE int refuse_context(struct fs_context *fc)
{
	struct walk w;
	char name[sizeof("overlay")] = {};

	bpf_probe_read_kernel(name, sizeof(name), BPF_CORE_READ(fc, fs_type, name));
	if (__builtin_memcmp(name, "overlay", sizeof(name)) || BPF_CORE_READ(fc, user_ns, level) > 0)
		return 0;
	if (!begin_walk(&w) || !w.enforced)
		return 0;
	record_deed(&w, FILE_MOUNT, WHY_HOST, 0);
	return -EPERM;
}

INLINE int refuse_attach(struct task_struct *child, unsigned int mode)
{
	struct walk w;
	if (!begin_walk(&w))
		return 0;
	__u32 target = child->tgid;
	if (target == w.tgid)
		return 0;
	struct proc *other = governed(target);
	if (other && other->session == w.session)
		return 0;
	/* Looking (its environment, its descriptors) is what ps and top do with
	 * everybody: it is refused, and not told of. */
	if (mode & PTRACE_MODE_ATTACH)
		record_deed(&w, FILE_PTRACE, WHY_STRANGER, target);
	return w.enforced ? -EPERM : 0;
}

/* What is put into a terminal, a shell outside of the session reads and runs. */
INLINE int judge_ioctl(struct file *file, unsigned int cmd)
{
	if (cmd == FS_IOC_SETFLAGS || cmd == FS_IOC32_SETFLAGS || cmd == FS_IOC_FSSETXATTR)
		return judge_file(file->f_path.dentry, WANT_WRITE, FILE_CHANGE);
	return cmd == TIOCSTI || cmd == TIOCLINUX ? refuse_deed(FILE_TERMINAL, cmd) : 0;
}

#define SOCKET_DEPTH 16

/* A service that would act for the session outside of it, known by where its
 * socket is; one with an abstract name, by who listens. */
INLINE int refuse_peer(struct sock *other)
{
	struct walk w;
	if (!begin_walk(&w))
		return 0;
	struct unix_sock *peer = (void *)other;
	if (!BPF_CORE_READ(peer, addr))
		return 0; /* the other end of a pair */
	struct dentry *d = BPF_CORE_READ(peer, path.dentry);
	struct dentry *at = d;
	__u32 why = WHY_UNKNOWN;

	if (!d) {
		/* Its number may be another's by now, if it has ended. */
		struct pid *pid = BPF_CORE_READ(other, sk_peer_pid);
		__u32 tgid = BPF_CORE_READ(pid, tasks[1].first) ? BPF_CORE_READ(pid, numbers[0].nr) : 0;
		if (tgid && governed(tgid))
			return 0;
		record_deed(&w, FILE_CONNECT, WHY_STRANGER, tgid);
		return w.enforced ? -EACCES : 0;
	}
	struct inode *inode = BPF_CORE_READ(d, d_inode);
	__u64 flags = bound_inode(&w, inode_number(inode), BPF_CORE_READ(inode, i_sb, s_dev), BY_POLICY | BY_SESSION);
	__u64 all = flags_of(w.zero);
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < SOCKET_DEPTH; i++) {
		struct dentry *up = BPF_CORE_READ(at, d_parent);
		if (up == at) {
			why = WHY_NONE;
			break;
		}
		inode = BPF_CORE_READ(up, d_inode);
		__u64 ino = inode_number(inode);
		__u32 dev = BPF_CORE_READ(inode, i_sb, s_dev);
		__u64 above = bound_inode(&w, ino, dev, BY_POLICY | BY_SESSION);
		if (above & BOUND_NAMES) {
			const unsigned char *name = BPF_CORE_READ(at, d_name.name);
			__u64 by = maybe_bound(&w, ino, dev, name_bits(name, BPF_CORE_READ(at, d_name.len)));
			flags = flags_of(flags) | bound_name(&w, ino, dev, name, by & (BY_POLICY | BY_SESSION));
		}
		all = flags_of(all | flags);
		at = up;
		flags = above;
	}
	if ((all | flags) & (BOUND_BROKER | BOUND_UNREADABLE))
		why = WHY_BROKER;
	if (why == WHY_NONE)
		return 0;
	record_file(&w, d, FILE_CONNECT, why);
	return w.enforced ? -EACCES : 0;
}

/* ---- the hooks ---------------------------------------------------------------- */

/* One refusal under both mechanisms; a security hook and the function that calls
 * it take the same leading arguments. What an earlier program answered does not
 * matter: the first refusal ends the call. */
#define BOUND_HOOK(name, hook, judge, ...)                      \
	SEC("lsm/" hook)                                        \
	int BPF_PROG(lsm_bound_##name, __VA_ARGS__)             \
	{                                                       \
		return bounded(judge);                          \
	}                                                       \
	SEC("fmod_ret/security_" hook)                          \
	int BPF_PROG(mod_bound_##name, __VA_ARGS__)             \
	{                                                       \
		return bounded(judge);                          \
	}

BOUND_HOOK(open, "file_open", judge_open(file), struct file *file)
BOUND_HOOK(receive, "file_receive", judge_received(file), struct file *file)
BOUND_HOOK(create, "inode_create", judge_file(d, WANT_WRITE | WANT_PLACE, FILE_CREATE), void *dir, struct dentry *d)
/* A sandbox makes directories to mount over, and removes them (Codex: .agents, .codex).
 * What would lie in them is bound by their name all the same. */
BOUND_HOOK(mkdir, "inode_mkdir", judge_file(d, WANT_WRITE | WANT_PLACE | WANT_EMPTY, FILE_CREATE), void *dir, struct dentry *d)
BOUND_HOOK(mknod, "inode_mknod", judge_node(d, mode, dev), void *dir, struct dentry *d, unsigned short mode, unsigned int dev)
BOUND_HOOK(symlink, "inode_symlink", judge_file(d, WANT_WRITE | WANT_PLACE, FILE_CREATE), void *dir, struct dentry *d)
BOUND_HOOK(unlink, "inode_unlink", judge_file(d, WANT_WRITE | WANT_PLACE | WANT_STAY, FILE_REMOVE), void *dir, struct dentry *d)
BOUND_HOOK(rmdir, "inode_rmdir", judge_file(d, WANT_WRITE | WANT_PLACE | WANT_STAY | WANT_EMPTY, FILE_REMOVE), void *dir, struct dentry *d)
BOUND_HOOK(link, "inode_link", judge_link(from, to), struct dentry *from, void *dir, struct dentry *to)
BOUND_HOOK(rename, "inode_rename", judge_rename(from, to), void *dir, struct dentry *from, void *into, struct dentry *to)

/* Some kernels tell the mapping of user ids first: the loader takes the one that
 * fits. */
#define CHANGE(d) judge_file(d, WANT_WRITE, FILE_CHANGE)
BOUND_HOOK(setattr, "inode_setattr", CHANGE(d), struct dentry *d)
BOUND_HOOK(setattr2, "inode_setattr", CHANGE(d), void *map, struct dentry *d)
BOUND_HOOK(setxattr, "inode_setxattr", CHANGE(d), struct dentry *d)
BOUND_HOOK(setxattr2, "inode_setxattr", CHANGE(d), void *map, struct dentry *d)
BOUND_HOOK(rmxattr, "inode_removexattr", CHANGE(d), struct dentry *d)
BOUND_HOOK(rmxattr2, "inode_removexattr", CHANGE(d), void *map, struct dentry *d)
BOUND_HOOK(setacl2, "inode_set_acl", CHANGE(d), void *map, struct dentry *d)
BOUND_HOOK(rmacl2, "inode_remove_acl", CHANGE(d), void *map, struct dentry *d)

BOUND_HOOK(ioctl, "file_ioctl", judge_ioctl(file, cmd), struct file *file, unsigned int cmd)
BOUND_HOOK(ioctl32, "file_ioctl_compat", judge_ioctl(file, cmd), struct file *file, unsigned int cmd)

BOUND_HOOK(mount, "sb_mount", refuse_mount(FILE_MOUNT), void *from)
BOUND_HOOK(remount, "sb_remount", refuse_mount(FILE_MOUNT), void *sb)
BOUND_HOOK(move, "move_mount", refuse_mount(FILE_MOUNT), void *from)
BOUND_HOOK(context, "fs_context_parse_param", refuse_context(fc), struct fs_context *fc)
BOUND_HOOK(super, "sb_set_mnt_opts", refuse_super(sb), struct super_block *sb)
BOUND_HOOK(pivot, "sb_pivotroot", refuse_mount(FILE_MOUNT), void *from)
BOUND_HOOK(umount, "sb_umount", refuse_mount(FILE_UNMOUNT), void *mnt)
BOUND_HOOK(bpf, "bpf", refuse_deed(FILE_BPF, cmd), int cmd)
BOUND_HOOK(readfile, "kernel_read_file", id == READING_FIRMWARE ? 0 : refuse_deed(FILE_MODULE, id), void *file, int id)
BOUND_HOOK(loaddata, "kernel_load_data", id == READING_FIRMWARE ? 0 : refuse_deed(FILE_MODULE, id), int id)
BOUND_HOOK(attach, "ptrace_access_check", refuse_attach(child, mode), struct task_struct *child, unsigned int mode)
BOUND_HOOK(peer, "unix_stream_connect", refuse_peer(other), void *sock, struct sock *other)
BOUND_HOOK(send, "unix_may_send", refuse_peer(BPF_CORE_READ(other, sk)), void *sock, struct socket *other)
