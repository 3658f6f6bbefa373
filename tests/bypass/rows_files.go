// SPDX-License-Identifier: Apache-2.0

package bypass

const (
	boundary = "the boundary, by inode"
	// What there is where programs may not be attached to security hooks.
	landlock = "Landlock, in sessions of `paddock run`"
	fanotify = "fanotify, in every session"
)

// Ways to files that requirements keep from a session.
var fileRows = []Row{
	{
		ID: "F1", Attack: "open by links, dots, `/proc/PID/root`, another descriptor, handles, io_uring", Hook: boundary + ": file_open", Core: landlock + "; secrets: " + fanotify, Verdict: Stopped,
		Why:   "before Linux 5.12, whose io_uring has workers that are no threads of the process, not in these",
		Tests: []string{"daemon/enforce TestBoundary/F1 by io_uring", "daemon/enforce TestBoundary/F1 by a handle", "daemon/enforce TestBoundary/F1 by a symbolic link", "daemon/enforce TestBoundary/F1 by the root of a process", "daemon/enforce TestBoundary/F1 by a descriptor of its own", "tests/e2e TestRunWithoutHooks/write outside", "tests/e2e TestRunWithoutHooks/through a link", "tests/e2e TestRunWithoutHooks/by another root", "tests/e2e TestSecretsWithoutHooks/read", "tests/e2e TestSecretsWithoutHooks/by a link", "tests/e2e TestSecretsWithoutHooks/list"},
	},
	{
		ID: "F2", Attack: "truncate(2)", Hook: boundary + ": inode_setattr", Core: landlock + ", from 6.2", Verdict: Stopped,
		Tests: []string{"daemon/enforce TestBoundary/F2 truncate", "tests/e2e TestRunWithoutHooks/truncate"},
	},
	{
		ID: "F3", Attack: "rename over, away, RENAME_EXCHANGE", Hook: boundary + ": inode_rename, both ends", Core: landlock, Verdict: Stopped,
		Tests: []string{"daemon/enforce TestBoundary/F3 by io_uring", "daemon/enforce TestBoundary/F3 rename over", "daemon/enforce TestBoundary/F3 rename away", "daemon/enforce TestBoundary/F3 exchange", "tests/e2e TestRunWithoutHooks/rename over", "tests/e2e TestRunWithoutHooks/rename away"},
	},
	{
		ID: "F4", Attack: "a hard link in a writable place", Hook: boundary + ": inode_link", Core: landlock + "; of a secret: " + fanotify, Verdict: Stopped,
		Why:   "a link that was there before the session began: an unreadable file is known by its inode if a rule names the file itself; one that lies in an unreadable directory is not",
		Tests: []string{"daemon/enforce TestBoundary/F4 hard link", "daemon/enforce TestBoundary/F4 hard link to a secret", "tests/e2e TestRunWithoutHooks/hard link", "tests/e2e TestSecretsWithoutHooks/by a hard link"},
	},
	{
		ID: "F5", Attack: "remove and make anew; rename a directory above", Hook: boundary + ": names are bound, what holds something protected stays", Core: landlock + ", but inside a place that may be written to", Verdict: Stopped,
		Tests: []string{"daemon/enforce TestBoundary/F5 the parent of hooks", "daemon/enforce TestBoundary/F5 git configuration", "daemon/enforce TestBoundary/F5 what is yet to come", "tests/e2e TestRunWithoutHooks/what is protected", "tests/e2e TestSecretsWithoutHooks/the directory moved here"},
	},
	{
		ID: "F6", Attack: "copy_file_range, sendfile, splice, mmap on an open descriptor", Hook: boundary + ": judged when it was opened, or handed over (file_receive)", Core: "the same, as far as opening is judged", Verdict: Partly,
		Why:   "what a session inherits at its start is not judged: `agent >log` is how people begin one",
		Tests: []string{"daemon/enforce TestBoundary/F1 write outside", "daemon/enforce TestBoundary/A10 a descriptor to write, handed over"},
	},
	{
		ID: "F7", Attack: "opened before requirements were tightened", Verdict: NotCovered,
		Why: "what is open stays open until the process ends: end the session",
	},
	{
		ID: "F8", Attack: "mode, owner, times, attributes, ACLs", Hook: boundary + ": inode_setattr, inode_setxattr, inode_removexattr, inode_set_acl", Verdict: Stopped,
		Tests: []string{"daemon/enforce TestBoundary/F8 mode", "daemon/enforce TestBoundary/F8 owner", "daemon/enforce TestBoundary/F8 attributes"},
	},
	{
		ID: "F9", Attack: "mount, bind, overlay, in the machine's namespace or one of its own", Hook: "sb_mount, move_mount, sb_umount in the machine's; by inode in its own; overlays of its own are refused (fs_context_parse_param, sb_set_mnt_opts)", Core: landlock + ": no mount at all; secrets: " + fanotify, Verdict: Stopped,
		Tests: []string{"daemon/enforce TestBoundary/F9 bind over it", "daemon/enforce TestBoundary/F9 in a namespace of its own", "daemon/enforce TestBoundary/F9 an overlay of its own", "daemon/enforce TestBoundary/F9 an overlay in no view", "daemon/enforce TestBoundary/F9 an overlay in anothers view", "daemon/enforce TestBoundary/F9 an overlay that is never seen", "tests/e2e TestRunWithoutHooks/bind mount", "tests/e2e TestSecretsWithoutHooks/in a namespace of its own"},
	},
	{
		ID: "F11", Attack: "directories, links, pipes, sockets outside", Hook: boundary + ": inode_mkdir, inode_symlink, inode_mknod", Core: landlock, Verdict: Stopped,
		Tests: []string{"daemon/enforce TestBoundary/F11 mkdir, mkfifo, symlink", "daemon/enforce TestBoundary/F11 a socket", "tests/e2e TestRunWithoutHooks/mkdir", "tests/e2e TestRunWithoutHooks/symlink", "tests/e2e TestRunWithoutHooks/fifo"},
	},
	{
		ID: "F12", Attack: "the disk or the kernel's settings as a file; a device node of its own, of a disk or a keyboard", Hook: boundary + ": block devices, /dev/mem; inode_mknod, but for /dev/null and its like; /proc/sys is outside of every project", Core: landlock + ": writing", Verdict: Stopped,
		Tests: []string{"daemon/enforce TestBoundary/F12 a disk", "daemon/enforce TestBoundary/F12 the node of a disk", "daemon/enforce TestBoundary/F12 the node of a keyboard", "daemon/enforce TestBoundary/F12 settings of the kernel", "tests/e2e TestRunWithoutHooks/settings of the kernel"},
	},
	{
		ID: "F13", Attack: "poison a cache that others run from (`~/.cache`, Go's module cache), or what they keep in `/tmp` and `/dev/shm`", Verdict: NotCovered,
		Why: "tools need both; `caches = false` and `temporary = false` take them away",
	},
	{
		ID: "F15", Attack: "the configuration of a submodule, or of another work tree (`.git/modules/x/config`, `.git/worktrees/x/commondir`); a repository of its own below the project, whose configuration git runs for whoever goes there", Hook: boundary + ": by inode and name, as found when the session began, and a work tree wherever it was found before", Verdict: Partly,
		Why:   "a repository of its own is not covered: without it nobody could clone, and what lies in a project may be run by who works in it anyway. Entered in the index as a submodule, its configuration is run by `git status` at the top, too; a rebase that is left unfinished can have `exec` lines, which `git rebase --continue` runs. Of a work tree that was made outside during a session, that session may write the configuration",
		Tests: []string{"daemon/enforce TestBoundary/F15 configuration of a submodule", "daemon/enforce TestBoundary/F15 hooks of a submodule", "daemon/enforce TestBoundary/F15 a submodule made anew", "daemon/enforce TestBoundary/F15 another work tree", "daemon/enforce TestBoundary/F15 settings of another work tree", "daemon/enforce TestBoundary/F15 another work tree, said to be below", "daemon/enforce TestBoundary/F15 settings of one said to be below", "daemon/enforce TestBoundary/F15 settings of one said to be nowhere", "daemon/enforce TestGitDirectories", "daemon/enforce TestWorkTreesAreRemembered"},
	},
	{
		ID: "F16", Attack: "names, sizes and times of what it may not read (stat, inotify)", Verdict: NotCovered,
		Why: "only the content is kept, and lists of directories",
	},
	{
		ID: "F17", Attack: "camera, microphone without a sound server, screen", Hook: boundary + ": they are unreadable, as keyboards, keys by USB and consoles are", Verdict: Partly,
		Why:   "a camera that is plugged in is known within 10 s; the screen of a graphics card (`/dev/dri/card*`), of which programs that draw need the device, is root's to read; `readable = [\"/dev/snd\"]` gives a microphone back",
		Tests: []string{"daemon/enforce TestBoundary/F17 a microphone"},
	},
	{
		ID: "F18", Attack: "write down instructions for the agents to come (`AGENTS.md`, `CLAUDE.md`)", Verdict: NotCovered,
		Why: "that is work: they belong to the project, and are reviewed with it; `protected = [\"AGENTS.md\"]`",
	},
	{
		ID: "F20", Attack: "make the directory above a cache, where there is none (`~/go`, `~/.gradle`, `~/.m2`), and more in it", Verdict: NotCovered,
		Why: "until the daemon has seen the directory, for 10 s at most, all in it may be written: in a home that never used that tool",
	},
	{
		ID: "F22", Attack: "pass for an overlay that acts on its layers: credentials lent by io_uring (personalities, what waited), a core dumped elsewhere", Hook: "whoever has used io_uring, or dumps its core, is taken for none", Core: landlock, Verdict: Stopped,
		Tests: []string{"daemon/enforce TestBoundary/F1 by io_uring, under credentials lent to it", "daemon/enforce TestBoundary/F1 by io_uring, under credentials of before", "daemon/enforce TestBoundary/F11 a core"},
	},
	{
		ID: "F23", Attack: "the layers of the overlay a project is on, by their own paths or by way of the project", Hook: boundary + ": of each layer; secrets are looked for in the layers", Core: landlock, Verdict: Partly,
		Why:   "a layer that is no longer where it was when the overlay was mounted is looked for in the wrong place: writing is stopped there, reading is not",
		Tests: []string{"daemon/enforce TestBoundary/layers of two file systems", "daemon/enforce TestBoundary/layers of one file system"},
	},
	{
		ID: "F19", Attack: "a file with the number of another one: in another subvolume of btrfs, in another layer of an overlay, or after that is gone", Hook: "on btrfs, number and generation; on an overlay, directories apart, and files with the device of their layer; of what is protected the name is bound as well", Verdict: Partly,
		Why:   "what two subvolumes made within the same transaction (30 s) may be one to the boundary; a snapshot is what it is of; so may files with several links in two lower layers of an overlay with `xino=off`",
		Tests: []string{"ebpf TestSubvolumesAreToldApart", "daemon/enforce TestBoundary/numbers"},
	},
	{
		ID: "F25", Attack: "a symbolic link in the project, which somebody else's tool writes through: `.git/logs/HEAD` to `~/.bashrc`, and git appends what branches are called", Verdict: NotCovered,
		Why: "who works in a project follows its links: it is that person's right to write there, and no session's deed",
	},
	{
		ID: "F26", Attack: "have the kernel leave a hook's program out: processes of a low priority, interrupted in the middle of it, while another does what it refuses", Hook: "`lsm` from 6.2 is never left out; elsewhere the kernel counts (`recursion_misses`), and that is told", Core: "the hold, connections and the network are not concerned", Verdict: Partly,
		Why: "only where the kernel preempts itself (`preempt=full`, `lazy`), and there with `fmod_ret`, or `lsm` before 6.2: `paddock status` says so at each gate", Tests: []string{"tests/vm TestPreemption"},
	},
	{
		ID: "F24", Attack: "a protected name that is not there yet, written otherwise, in a directory that ignores case (ext4 with `casefold`, FAT)", Verdict: NotCovered,
		Why: "what is there is known by its inode; of what is not, the name is compared as it is written",
	},
	{
		ID: "F21", Attack: "leave something among the secrets whose opening waits for somebody (a file on lease, a pipe), and have the daemon shown it: everybody's secrets would wait", Hook: "nobody is asked", Core: "fanotify opens without waiting; what it cannot show is refused", Verdict: Stopped,
		Tests: []string{"tests/e2e TestNothingAmongSecretsBlocksTheAnswers"},
	},
	{
		ID: "F14", Attack: "write in the agent's first milliseconds, before it is recognised", Verdict: NotCovered,
		Why: "a process that may be an agent has no boundary until the daemon knows; only its own code runs then. Nothing it starts runs before",
	},
}

// Ways to have somebody else act, or to act on somebody else.
var strangerRows = []Row{
	{
		ID: "A5", Attack: "Docker, containerd, systemd, D-Bus and their like by their sockets", Hook: "unix_stream_connect, unix_may_send: sockets by inode and name", Verdict: Stopped,
		Why:   "of services that are in the list: requirements add others",
		Tests: []string{"daemon/enforce TestBoundary/A5 the socket of a broker", "daemon/enforce TestWork/A5 a sound server"},
	},
	{
		ID: "A19", Attack: "a build server that the user started, and that builds what a project says: Gradle, Bazel, sbt, mvnd, MSBuild, `adb`; a database that runs programs", Hook: "sbt's and watchman's sockets; connections to this machine as the network's rules say", Verdict: NotCovered,
		Why: "their clients share them by design, and work would end without: `sockets` adds those by path, and rules for 127.0.0.0/8 the others; or stop them before (`gradle --stop`)",
	},
	{
		ID: "A7", Attack: "tmux, IDEs, X11 by abstract sockets", Hook: "an abstract socket of somebody who is not governed is refused", Core: landlock + ", from 6.12", Verdict: Stopped,
		Tests: []string{"daemon/enforce TestBoundary/A7 an abstract socket", "tests/e2e TestRunWithoutHooks/an abstract socket"},
	},
	{
		ID: "A9", Attack: "ptrace, process_vm_writev, /proc/PID/mem", Hook: "ptrace_access_check", Core: landlock, Verdict: Stopped,
		Why:   "looking (`/proc/PID/environ`, `/proc/PID/fd`) is refused without an event: ps does it with everybody",
		Tests: []string{"daemon/enforce TestBoundary/A9 ptrace", "daemon/enforce TestBoundary/A9 the memory of another", "daemon/enforce TestBoundary/A9 the environment of another", "tests/e2e TestRunWithoutHooks/ptrace", "tests/e2e TestRunWithoutHooks/memory of another"},
	},
	{
		ID: "A10", Attack: "pidfd_getfd, SCM_RIGHTS", Hook: "ptrace_access_check; file_receive", Core: "pidfd_getfd: " + landlock, Verdict: Stopped,
		Tests: []string{"daemon/enforce TestBoundary/A10 a descriptor of another", "daemon/enforce TestBoundary/A10 a descriptor to write, handed over", "daemon/enforce TestBoundary/A10 a descriptor of a secret, handed over"},
	},
	{
		ID: "A14", Attack: "TIOCSTI: type into the terminal, for the shell outside to run", Hook: "file_ioctl", Verdict: Stopped,
		Tests: []string{"daemon/enforce TestBoundary/A14 input to the terminal"},
	},
	{
		ID: "A15", Attack: "start the agent's own program with code of its choice (`NODE_OPTIONS`, `LD_PRELOAD`)", Verdict: Partly,
		Hook:  "the agent's own program is bound like all else, but to its own state and credentials",
		Why:   "what it gains is to write the agent's own state (`~/.claude`), and to read its token",
		Tests: []string{"daemon/policy TestAgentsOwnProgram"},
	},
	{
		ID: "A16", Attack: "kernel keyrings, shared memory, message queues, semaphores, memfds of the same user", Verdict: Stopped,
		Hook:  "key_permission: no key is read; ipc_permission, shm_shmctl, sem_semctl, msg_queue_msgctl: of System V's, what the session made itself; file_open: POSIX queues; ptrace_access_check: memfds",
		Why:   "keys can be searched for, used by the kernel and written over; for files in `/dev/shm` see F13",
		Tests: []string{"daemon/enforce TestBoundary/A16 a key of the kernel", "daemon/enforce TestBoundary/A16 shared memory of another", "daemon/enforce TestBoundary/A16 write to the memory", "daemon/enforce TestBoundary/A16 mode of the memory", "daemon/enforce TestBoundary/A16 a message for another", "daemon/enforce TestBoundary/A16 a message for another (POSIX)", "daemon/enforce TestBoundary/A16 memory without a name"},
	},
	{
		ID: "A18", Attack: "set limits, priority, processors or memory nodes of another process of the user: a limit of no CPU time ends it", Verdict: Stopped,
		Hook:  "task_setrlimit, task_setnice, task_setioprio, task_setscheduler, task_movememory: processes of the session only",
		Tests: []string{"daemon/enforce TestBoundary/A18 limits of another", "daemon/enforce TestBoundary/A18 processors of another", "daemon/enforce TestBoundary/A18 priority of another"},
	},
	{
		ID: "A17", Attack: "open another terminal of the user: read what is typed, show what is false", Hook: "file_open: one in which somebody works whom nobody governs; of the machine's consoles, all but its own", Verdict: Stopped,
		Why:   "the agent's own terminal is what it is attached to: a command that it leaves there can read what is typed to the agent",
		Tests: []string{"daemon/enforce TestBoundary/A17 what is typed elsewhere", "daemon/enforce TestBoundary/A17 what is shown elsewhere", "daemon/enforce TestBoundary/A17 what is typed at a console"},
	},
}

// Ways against Paddock itself. Those by files need a boundary in requirements.
var paddockRows = []Row{
	{
		ID: "P1", Attack: "kill, stop or freeze the daemon", Hook: "task_kill; cgroup files are outside of every project", Core: "pinned programs keep enforcing; what needs an answer dies; signals: " + landlock + ", from 6.12", Verdict: Stopped,
		Tests: []string{"daemon/enforce TestGatesAreProven", "daemon/enforce TestBoundary/P1 freeze by a cgroup", "tests/e2e TestDaemonIsKilled", "tests/e2e TestRunWithoutHooks/signal"},
	},
	{
		ID: "P2", Attack: "remove pins", Hook: boundary, Core: "the daemon holds descriptors; " + landlock, Verdict: Stopped,
		Tests: []string{"daemon/enforce TestBoundary/P2 a pin"},
	},
	{
		ID: "P3", Attack: "unmount the BPF file system", Hook: "sb_umount", Core: landlock, Verdict: Stopped,
		Tests: []string{"daemon/enforce TestBoundary/P3 unmount"},
	},
	{
		ID: "P5", Attack: "bpf(2) on maps and programs; a kernel module", Hook: "bpf, kernel_read_file, kernel_load_data", Verdict: Stopped,
		Tests: []string{"daemon/enforce TestBoundary/P5 maps and programs by bpf(2)", "daemon/enforce TestBoundary/P5 a kernel module"},
	},
	{
		ID: "P6", Attack: "fill or evict the policy's maps, also with parents that take their time to die", Hook: "never LRU; who forks when there is little room is killed, and a child that there is none for before its first instruction", Core: "the child at its first system call, which it may still have", Verdict: Stopped,
		Tests: []string{"ebpf TestMarksAreCounted", "ebpf TestNobodyIsBornWithoutAMark", "daemon/enforce TestSwappingPoliciesUnderLoad"},
	},
	{
		ID: "P7", Attack: "edit requirements, managed configuration, Paddock's files", Hook: boundary + ", in every mode", Core: "root's files; a file that is not locked is an incident; " + landlock, Verdict: Stopped,
		Tests: []string{"daemon/enforce TestBoundary/modes", "tests/e2e TestRequirementsBreak"},
	},
	{
		ID: "P10", Attack: "an empty or broken source of requirements", Hook: "last known good, else the strictest", Core: "the same", Verdict: Stopped,
		Tests: []string{"tests/e2e TestBadRequirementsAtStart"},
	},
	{
		ID: "P31", Attack: "root outside of any session unpins or detaches the kernel side, exchanges its maps, declares the daemon dead, puts another generation of the policy into force, starts a second daemon over it", Hook: "inspected every half minute and when a pin changes; pinned, attached and put into force again; a second daemon is refused", Core: "the same", Verdict: Seen,
		Why:   "an event tells, and most of it is mended; who is root can do it again",
		Tests: []string{"ebpf TestInspect", "daemon/enforce TestPolicyOfSomebodyElse", "ebpf TestOneDaemonForAPinDirectory", "tests/e2e TestKernelSideIsWatched"},
	},
	{
		ID: "P32", Attack: "change requirements, managed configuration or Paddock's files where no boundary is in force, or as root outside: by rename, link, mount, truncation, and back at once", Hook: "every change is told with who made it; unit files and polkit policy are put back", Core: "the same", Verdict: Seen,
		Why: "requirements that are locked and valid take effect: they are whoever's who is root. A process that has ended before it is looked at is only a number, unless it was a session's",
		Tests: []string{
			"tests/e2e TestProtectedFilesAreWatched", "daemon/drift TestEveryChangeIsSeen/changed and changed back", "daemon/drift TestMountOver",
			"daemon/drift TestRestore", "daemon/drift TestWhileDown",
		},
	},
	{
		ID: "P33", Attack: "change a file of Paddock's again and again until it stays, or so often that one change is lost", Hook: "put back three times in ten minutes, then told that it is not; changes are folded, the last one is told", Core: "the same", Verdict: Seen,
		Why:   "who is root wins; it is not quiet",
		Tests: []string{"daemon/drift TestRestoreWar", "daemon/drift TestStorm", "daemon/drift TestManyChangesOfOneFile"},
	},
	{
		ID: "P34", Attack: "stop Paddock, or cut it off", Hook: "a heartbeat that does not come", Core: "the same", Verdict: Seen,
		Why: "by the collector, after ten minutes: [docs/fleet.md](fleet.md#a-machine-that-falls-silent)", Tests: []string{"tests/e2e TestHeartbeat"},
	},
	{
		ID: "P35", Attack: "write hooks or MCP servers into an agent's own settings (`~/.claude/settings.json`, `~/.codex/config.toml`, `.mcp.json`), which it runs later", Hook: boundary + ": what the agent starts cannot write there", Verdict: Partly,
		Why:   "the agent's own program can: they are its settings. What it then runs is governed. They are the user's, so they are not put back. What manages agents for the whole machine is protected in every mode (P7), and changes to it are told (P32)",
		Tests: []string{"daemon/policy TestAgentsOwnProgram"},
	},
	{
		ID: "P15", Attack: "squat the socket during a restart", Hook: "the directory is root's", Core: "the same", Verdict: Stopped,
		Tests: []string{"tests/e2e TestBadDirectories"},
	},
	{
		ID: "P16", Attack: "have the kernel end others first (`oom_score_adj`)", Hook: "file_open: /proc of processes of the session only", Verdict: Stopped,
		Tests: []string{"daemon/enforce TestBoundary/P16 whom the kernel ends first"},
	},
	{
		ID: "P17", Attack: "end, stop, trace or starve the companion, which is a process of the user's", Hook: "task_kill, file_send_sigiotask, ptrace_access_check: it is known by its file; limits and priority as A18", Verdict: Partly,
		Why:   "without the hooks it can be ended: then nobody is asked by it, `paddock approvals` on a terminal still does, and without an answer a question is refused. Whoever takes all of the machine's processors starves it too",
		Tests: []string{"daemon/enforce TestCompanionIsLeftAlone"},
	},
}
