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
		ID: "E7", Attack: "`ld.so PROGRAM`", Hook: "the hold judges what the loader is given; mmap_file refuses what is forbidden whatever its arguments", Core: "the hold", Verdict: Stopped,
		Why:   "a link exchanged after the decision loads something else; then mmap_file still refuses forbidden programs",
		Tests: []string{"daemon/enforce TestProgramsOfManyNames/the loader under another name"},
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
		ID: "E13", Attack: "a copy under another name", Hook: "content hash in the hold", Core: "the same", Verdict: Stopped,
		Tests: []string{"daemon/enforce TestProgramsOfManyNames/a copy of git, once remembered"},
	},
	{
		ID: "E14", Attack: "a copy with one byte appended", Verdict: NotCovered,
		Why: "it is another program; rules name programs and do not recognise behaviour. `unmatched = \"forbidden\"` is the answer",
	},
	{
		ID: "E16", Attack: "a path longer than any buffer", Hook: "identity by inode, not by path", Core: "the same", Verdict: Stopped,
		Tests: []string{"tests/e2e TestLongPaths"},
	},
	{
		ID: "E18", Attack: "an overlay or FUSE file that changes between check and use", Hook: "never remembered; judged each time", Core: "the same", Verdict: Partly,
		Why:   "a FUSE server may give the loader other bytes than it gave the daemon",
		Tests: []string{"daemon/enforce TestOwnFileSystemIsNotRemembered"},
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
		ID: "A3", Attack: "an agent that ran before the daemon did", Hook: "a walk over all processes at the start", Core: "the same", Verdict: Stopped,
		Tests: []string{"tests/e2e TestYoungSessionSurvives"},
	},
	{
		ID: "A8", Attack: "another cgroup, another namespace", Hook: "the mark is the process's; programs are attached at the root", Core: "the same", Verdict: Stopped,
		Tests: []string{"daemon/enforce TestHoldCannotBeEscaped/a new session and cgroup namespace"},
	},
	{
		ID: "A13", Attack: "a flood of events to hide one", Hook: "three rings; what does not fit kills or is counted", Core: "the same", Verdict: Stopped,
		Tests: []string{"tests/e2e TestFlood"},
	},
}
