// SPDX-License-Identifier: Apache-2.0

package bypass

// Ways to run a program that rules forbid, or to load code without one.
var execRows = []Row{
	{
		ID: "E1", Attack: "a script is run directly (`#!`)", Hook: "the hold judges script and interpreter", Core: "the same", Verdict: Stopped,
		Tests: []string{"daemon/enforce TestForbiddenInEveryDisguise"},
	},
	{
		ID: "E2", Attack: "`bash script`, `python x.py`", Hook: "what the script executes is judged, and what it opens and reaches", Verdict: Partly,
		Why:   "a script as such is text: only its effects are judged",
		Tests: []string{"daemon/enforce TestForbiddenInEveryDisguise"},
	},
	{
		ID: "E3", Attack: "a script on standard input, `-c`, a here-document", Hook: "as E2", Core: "its execs are held", Verdict: Partly,
		Why: "as E2", Tests: []string{"daemon/enforce TestForbiddenInEveryDisguise"},
	},
	{
		ID: "E4", Attack: "shell builtins: `/dev/tcp`, `kill`, `echo >`", Hook: "connect gate, signal gate, boundary", Core: "connect gate", Verdict: Partly,
		Why:   "a builtin is no command: its effects are judged",
		Tests: []string{"daemon/enforce TestNetworkRules"},
	},
	{
		ID: "E5", Attack: "memfd_create and execveat", Hook: "content hash in the hold", Core: "the same", Verdict: Stopped,
		Tests: []string{"daemon/enforce TestHoldCannotBeEscaped/a file without a name"},
	},
	{
		ID: "E6", Attack: "unlink, then execveat of the descriptor", Hook: "content hash in the hold", Core: "the same", Verdict: Stopped,
		Tests: []string{"daemon/enforce TestHoldCannotBeEscaped/a file by descriptor"},
	},
	{
		ID: "E7", Attack: "`ld.so PROGRAM`", Hook: "the hold judges what the loader is given; mmap_file refuses what a rule forbids whatever its arguments", Core: "the hold", Verdict: Stopped,
		Why:   "a link exchanged after the decision loads something else; then mmap_file still refuses what a rule forbids",
		Tests: []string{"daemon/enforce TestProgramsOfManyNames/the loader under another name", "daemon/enforce TestProgramsOfManyNames/git by the loader's argv[0]"},
	},
	{
		ID: "E31", Attack: "a script whose interpreter is `ld.so`, or a link called `git-push`; `busybox busybox ls`; git by a link called `busybox`", Hook: "the hold judges what an interpreter stands for as it does any program", Core: "the same", Verdict: Stopped,
		Tests: []string{
			"daemon/enforce TestProgramsOfManyNames/a loader as the interpreter", "daemon/enforce TestProgramsOfManyNames/a link as the interpreter",
			"daemon/enforce TestProgramsOfManyNames/busybox by busybox", "daemon/enforce TestProgramsOfManyNames/git called busybox",
		},
	},
	{
		ID: "E8", Attack: "a library of its own in an allowed program (`LD_PRELOAD`)", Hook: "what it executes, opens and reaches; mmap_file refuses what a rule forbids whatever its arguments", Core: "its execs are held", Verdict: Partly,
		Why:   "a library as such is not judged: its effects are those of the process it is in, which is governed",
		Tests: []string{"daemon/enforce TestHoldCannotBeEscaped/a library put before another"},
	},
	{
		ID: "E33", Attack: "a variable that makes an allowed program start or load something else: `GIT_*`, `BASH_ENV`, `PYTHONPATH`, `PYTHONSTARTUP`, `NODE_OPTIONS`, `PERL5OPT`, `LD_AUDIT`, `GCONV_PATH`", Hook: "what the program then executes is held and judged; of code it loads, as E8", Core: "its execs are held", Verdict: Partly,
		Why: "code that is loaded is judged by its effects; what rules say of arguments does not hold for what it has the program do within itself (E34)",
		Tests: []string{
			"daemon/enforce TestHoldCannotBeEscaped/a variable that git obeys", "daemon/enforce TestHoldCannotBeEscaped/a variable that a shell obeys",
			"daemon/enforce TestHoldCannotBeEscaped/a variable that python obeys", "daemon/enforce TestHoldCannotBeEscaped/a library that watches the loader",
			"daemon/enforce TestHoldCannotBeEscaped/a library that knows an encoding",
		},
	},
	{
		ID: "E34", Attack: "rewrite the arguments of a program after they were judged: by ptrace, process_vm_writev or `/proc/PID/mem` while it is held, or once it runs, or by a library in it", Hook: "ptrace_access_check while it is held or on its way there (`in_execve`): nobody writes to its memory, of which the daemon reads arguments beyond 4 KiB", Verdict: Partly,
		Why:   "once it runs, a process of the session is another's to debug, and a library may do what it likes: rules about arguments (`git push`) say how a program is started. What it then reaches, opens and starts is judged; a rule about the program whatever its arguments holds",
		Tests: []string{"daemon/enforce TestHoldCannotBeEscaped/a tracer that comes later"},
	},
	{
		ID: "E32", Attack: "an emulator that reads and translates the program: `valgrind git push`, `qemu-x86_64`, `box64`", Hook: "the hold judges what a known emulator is given", Core: "the same", Verdict: Partly,
		Why:   "of emulators under the names they have; another one, or a copy of another name, is code like E14",
		Tests: []string{"daemon/enforce TestProgramsOfManyNames/git in an emulator"},
	},
	{
		ID: "E35", Attack: "run what is forbidden while it is only observed, and something harmless right after it in the same process: the daemon would know the file by what it found running", Hook: "of an exec that is not held, what /proc shows counts only if it is the very file and directory of the record", Core: "the same", Verdict: Partly,
		Why:   "what is known of files is safe; the events of a connection, of a file and of an agent's start name the program that runs when they are read",
		Tests: []string{"daemon/enforce TestWhatRunsNextIsNotTakenForIt"},
	},
	{
		ID: "E9", Attack: "code without a file: memory that is written and run", Hook: "as E8", Core: "its execs are held", Verdict: Partly,
		Why:   "as E8: every JIT does it",
		Tests: []string{"daemon/enforce TestHoldCannotBeEscaped/code without a file"},
	},
	{
		ID: "E10", Attack: "a symbolic link to the program", Hook: "inode and content", Core: "the same", Verdict: Stopped,
		Tests: []string{"tests/codex TestUnderPaddock"},
	},
	{
		ID: "E11", Attack: "a hard link under a harmless name", Hook: "inode and content", Core: "the same", Verdict: Stopped,
		Tests: []string{"tests/codex TestUnderPaddock"},
	},
	{
		ID: "E12", Attack: "`/proc/self/root/bin/x`, dots, slashes", Hook: "inode and content", Core: "the same", Verdict: Stopped,
		Tests: []string{"daemon/enforce TestHoldCannotBeEscaped/by the root of a process"},
	},
	{
		ID: "E13", Attack: "a copy under another name", Hook: "content hash in the hold", Core: "the same", Verdict: Stopped,
		Tests: []string{"daemon/enforce TestProgramsOfManyNames/a copy of git, once remembered"},
	},
	{
		ID: "E14", Attack: "a copy with one byte appended", Verdict: NotCovered,
		Why: "it is another program; rules name programs and do not recognise behaviour. `unmatched = \"forbidden\"` is the answer",
	},
	{
		ID: "E15", Attack: "a static program, without the C library", Hook: "nothing hangs on a library in the process", Core: "the same", Verdict: Stopped,
		Tests: []string{"daemon/enforce TestProgramsOfManyNames/busybox under another name"},
	},
	{
		ID: "E16", Attack: "a path longer than any buffer", Hook: "identity by inode, not by path", Core: "the same", Verdict: Stopped,
		Tests: []string{"tests/e2e TestLongPaths"},
	},
	{
		ID: "E17", Attack: "bind the program over an allowed one, in a namespace of its own", Hook: "inode and content", Core: "the same", Verdict: Stopped,
		Tests: []string{"daemon/enforce TestHoldCannotBeEscaped/another program's place"},
	},
	{
		ID: "E18", Attack: "an overlay or FUSE file that changes between check and use", Hook: "never remembered; judged each time", Core: "the same", Verdict: Partly,
		Why:   "a FUSE server may give the loader other bytes than it gave the daemon",
		Tests: []string{"daemon/enforce TestOwnFileSystemIsNotRemembered"},
	},
	{
		ID: "E19", Attack: "what others run or obey when they start: `.bashrc`, the search path, `site-packages`, git's configuration, plugins of editors", Hook: "the boundary, by inode and name", Verdict: Stopped,
		Why:   "outside of the project; what runs whoever works in the project (a Makefile, `package.json`, `.envrc`) is its subject",
		Tests: []string{"daemon/enforce TestWork/E19 a shell's start-up file", "daemon/enforce TestWork/E19 the search path", "daemon/enforce TestWork/E19 python's packages", "daemon/enforce TestWork/E19 git's configuration", "daemon/enforce TestWork/E19 an editor's plugin", "daemon/enforce TestWork/E19 a prompt's cache"},
	},
	{
		ID: "E20", Attack: "another name for itself: `argv[0]`, `prctl(PR_SET_NAME)`", Hook: "neither is asked", Core: "the same", Verdict: Stopped,
		Tests: []string{"daemon/enforce TestHoldCannotBeEscaped/a false name for itself"},
	},
	{
		ID: "E21", Attack: "a handler of a format of its own (`binfmt_misc`)", Hook: "the hold judges what runs in the end", Core: "the same", Verdict: Stopped,
		Tests: []string{"daemon/enforce TestHoldCannotBeEscaped/a handler of a format"},
	},
	{
		ID: "E22", Attack: "another thread edits argv during exec", Hook: "argv is read after the point of no return", Core: "the same", Verdict: Stopped,
		Tests: []string{"tests/e2e TestStrangeArguments"},
	},
}

// Ways to be somebody else.
var attributionRows = []Row{
	{
		ID: "A1", Attack: "setsid, double fork, daemonise", Hook: "the mark is copied at fork", Core: "the same", Verdict: Stopped,
		Tests: []string{"tests/e2e TestDescendantsStay"},
	},
	{
		ID: "A2", Attack: "a process ID that somebody else had", Hook: "the mark goes with the process; a process is its ID and its start", Core: "the same", Verdict: Stopped,
		Tests: []string{"daemon/enforce TestNumberUsedAgain", "daemon/enforce TestKilledWhileJudgedLeavesNoMark"},
	},
	{
		ID: "A3", Attack: "an agent that ran before the daemon did", Hook: "a walk over all processes at the start", Core: "the same", Verdict: Stopped,
		Tests: []string{"tests/e2e TestYoungSessionSurvives"},
	},
	{
		ID: "A4", Attack: "`systemd-run`, `at`, cron, a unit, autostart, D-Bus activation", Hook: "sockets by inode and name; the boundary keeps what would start it", Verdict: Stopped,
		Tests: []string{"daemon/enforce TestWork/A4 systemd", "daemon/enforce TestWork/A4 the system's bus", "daemon/enforce TestWork/A4 the user's bus", "daemon/enforce TestWork/A4 a unit", "daemon/enforce TestWork/A4 what starts with the desktop", "daemon/enforce TestWork/A4 a crontab"},
	},
	{
		ID: "A6", Attack: "`su`, `sudo`, other set-user-id programs; `ssh localhost`", Hook: "the mark stays, whoever the process becomes; keys and agents of ssh are kept from it", Core: "the mark stays", Verdict: Partly,
		Why:   "what a service on this machine does for a connection is no session's: a managed network refuses near addresses, rules by address do if they say so",
		Tests: []string{"daemon/enforce TestHoldCannotBeEscaped/a set-user-id program", "tests/e2e TestManagedNetwork/an address instead of a name"},
	},
	{
		ID: "A8", Attack: "another cgroup, another namespace", Hook: "the mark is the process's; programs are attached at the root", Core: "the same", Verdict: Stopped,
		Tests: []string{"daemon/enforce TestHoldCannotBeEscaped/a new session and cgroup namespace"},
	},
	{
		ID: "A11", Attack: "an agent that is a part of another program's process (an editor's extension)", Verdict: NotCovered,
		Why: "nobody can tell it from the editor; what it starts as a program of its own is recognised. `paddock run -- code` governs the whole editor",
	},
	{
		ID: "A12", Attack: "forged marks: the environment of another session, agent or container", Hook: "a session is the kernel's mark", Core: "the same", Verdict: Partly,
		Why:   "within a session, a command can name another tool call of the same session as its own",
		Tests: []string{"daemon/enforce TestForgedEnvironment"},
	},
	{
		ID: "A13", Attack: "a flood of events to hide one", Hook: "three rings; what does not fit kills or is counted", Core: "the same", Verdict: Stopped,
		Tests: []string{"tests/e2e TestFlood"},
	},
}
