// SPDX-License-Identifier: Apache-2.0

package bypass

const (
	itself = "tests/e2e TestAgentCannotApproveItself/"
	others = "tests/e2e TestOtherProgramsCannotApprove"
	desk   = "tests/codex TestGovernedDesktop/"
	guard  = "daemon/enforce TestBoundary/"
)

// Ways to a yes that no person has given.
var approvalRows = []Row{
	{
		ID: "Q1", Attack: "answer with `paddock approve`, a copy of it, or a client of its own", Hook: "SO_PEERCRED, pidfd, the mark of the process", Core: "the same", Verdict: Stopped,
		Tests: []string{itself + "the-command", itself + "a-copy-of-paddock", itself + "its-own-client"},
	},
	{
		ID: "Q2", Attack: "the same from a new session, a namespace, a terminal of its own, or `paddock run`", Hook: "the mark is inherited", Core: "the same", Verdict: Stopped,
		Tests: []string{
			itself + "away-from-its-parent", itself + "in-a-pid-namespace", itself + "in-a-user-namespace", itself + "a-terminal-of-its-own", itself + "a-session-of-its-own",
		},
	},
	{
		ID: "Q3", Attack: "another program of the same user answers for it", Hook: "only the companion's file with its group, and paddock on a terminal, count", Core: "the same", Verdict: Stopped,
		Tests: []string{others},
	},
	{
		ID: "Q4", Attack: "ssh to this machine, and answer there", Hook: "the other end of the terminal has a connection from this machine", Core: "the same", Verdict: Stopped,
		Tests: []string{others},
	},
	{
		ID: "Q5", Attack: "type into the terminal somebody answers on, or have tmux type", Hook: "an answer from a terminal that a session has open does not count; the sockets of terminals are closed to sessions, and TIOCSTI", Core: "an answer from a terminal that a session has open does not count", Verdict: Stopped,
		Why:   "of terminals whose sockets are in the list",
		Tests: []string{itself + "the-command", "tests/e2e TestAgentsTerminalIsTold", desk + "typing into tmux", desk + "a program started by tmux", guard + "A14 input to the terminal"},
	},
	{
		ID: "Q6", Attack: "trace, or write into, the process that answers", Hook: "it is not dumpable; a traced one is refused", Core: "the same", Verdict: Stopped,
		Tests: []string{itself + "tracing-who-answers", itself + "writing-into-who-answers"},
	},
	{
		ID: "Q7", Attack: "write the remembered answers, or read the questions' IDs", Hook: "files of root's; IDs cannot be guessed, and are told to who is asked", Core: "the same", Verdict: Stopped,
		Tests: []string{itself + "the-remembered-answers", itself + "reading-them", itself + "reading-what-is-asked"},
	},
	{
		ID: "Q8", Attack: "wake what is held (SIGCONT)", Hook: "refused (`task_kill`)", Core: "killed before its first instruction; on some kernels at its first system call", Verdict: Stopped,
		Tests: []string{itself + "waking-the-process"},
	},
	{
		ID: "Q9", Attack: "ask until the person clicks through", Hook: "the same is asked once; limits for each session and user; what was refused is not asked again for a minute", Core: "the same", Verdict: Stopped,
		Tests: []string{"daemon/approval TestTooManyQuestions", "daemon/approval TestRefusedIsNotAskedAgainAtOnce", "tests/e2e TestAThousandAreOneQuestion"},
	},
	{
		ID: "Q10", Attack: "get a harmless command allowed for ever that allows others (`bash -c`, `python`, a prefix)", Hook: "an answer is for exactly the command shown; not for what runs other things", Core: "the same", Verdict: Stopped,
		Tests: []string{"daemon/approval TestAlwaysIsNarrow"},
	},
	{
		ID: "Q11", Attack: "exchange the program while the person reads", Hook: "the file is open already; another file is another question", Core: "the same", Verdict: Partly,
		Why:   "an interpreter reads its script after the answer; what the script runs is judged",
		Tests: []string{"daemon/approval TestTheSameQuestionIsAskedOnce"},
	},
	{
		ID: "Q12", Attack: "kill the daemon, or change the requirements, in the middle of a question", Hook: "held by the kernel, spared by the guard, judged anew", Core: "the same", Verdict: Stopped,
		Tests: []string{"tests/e2e TestApprovalSurvivesRestart", "tests/e2e TestApprovalDiesWithoutADaemon", "tests/e2e TestRequirementsChangeWhileSomebodyIsAsked"},
	},
	{
		ID: "Q13", Attack: "have the hook's question approved, and run something else: another program called by that name, one of its own in `~/.local/bin`, in another directory or one mounted in its place, what needs a better answer", Hook: "what was approved may run once, with these words, if it is the program that root installed by the first of them, in a directory that the question named, and if the answer is good enough for what it turns out to be", Core: "the same", Verdict: Partly,
		Why: "environment and standard input are not part of a question, of a call as of any other command: with `git push` approved, `GIT_SSH_COMMAND` says what it runs",
		Tests: []string{
			"tests/e2e TestToolCall", "tests/e2e TestApprovedCallIsNothingElse/another program called by its name", "tests/e2e TestApprovedCallIsNothingElse/in another directory",
			"tests/e2e TestApprovedCallIsNothingElse/in another one mounted there", "daemon/approval TestAnswerToAnotherQuestion", "daemon/enforce TestWhatPeopleMeanByAWord",
		},
	},
	{
		ID: "Q14", Attack: "send the answer of the notification server in its name, from any client of the bus", Hook: "only the server's own connection is believed", Core: "the same", Verdict: Stopped,
		Tests: []string{"daemon/companion/notify TestForgedAnswersAreNotBelieved", "tests/e2e TestCompanion"},
	},
	{
		ID: "Q15", Attack: "be the notification server, or the bus", Hook: "the companion asks the daemon whose process it is", Core: "the same", Verdict: Stopped,
		Tests: []string{
			"tests/e2e TestCompanion", "daemon/companion/notify TestServerThatIsNotTrusted", "daemon/companion/notify TestBusThatIsNotTrusted",
			"daemon/companion/notify TestServerIsReplaced",
		},
	},
	{
		ID: "Q16", Attack: "press the button: `xdotool`, `dunstctl`, a call to the notification server; by the sockets of the display and the bus, also abstract ones, or over TCP", Hook: "unix_stream_connect, unix_may_send: by inode and name, as long as people are asked; what opens them over TCP is unreadable under a boundary", Verdict: Stopped,
		Why: "without LSM and fmod_ret every client of the display or the bus can; what is of high risk wants polkit",
		Tests: []string{
			desk + "the mouse", desk + "the mouse over TCP", desk + "the display by its abstract name", desk + "the notification server",
			desk + "the bus by its abstract name", desk + "the bus over TCP", guard + "A5 the socket of a broker", guard + "A7 an abstract socket",
		},
	},
	{
		ID: "Q17", Attack: "show something else than what runs: invisible characters, letters that look alike, right to left, markup, padding; a tool call with a command and an argv", Hook: "written as numbers; one of the two; what was not shown whole cannot be allowed by a click", Core: "the same", Verdict: Stopped,
		Tests: []string{
			"daemon/approval/show TestExact", "daemon/approval/show TestCutKeepsBothEnds", "daemon/companion TestDetailsAllowNothing",
			"daemon/companion/notify TestNoMarkup", "daemon/cli TestWhatWouldRunIsShown", "daemon/api TestGovernedProcessAsksAndNeverAnswers",
		},
	},
	{
		ID: "Q31", Attack: "have a process of root's in the session use what was allowed for one of the user's", Hook: "whom it runs as is part of the question, and shown", Core: "the same", Verdict: Stopped,
		Tests: []string{"daemon/enforce TestWhoItRunsAsIsSaid", "daemon/approval TestTheSameQuestionIsAskedOnce"},
	},
	{
		ID: "Q18", Attack: "have a question appear under the mouse as it clicks", Hook: "a yes within half a second is not taken", Core: "the same", Verdict: Stopped,
		Tests: []string{"daemon/companion TestTooFastToBeRead"},
	},
	{
		ID: "Q19", Attack: "have the companion's program say yes (`companion approve`), or look at another bus", Hook: "it has one command, and takes no address", Core: "the same", Verdict: Stopped,
		Tests: []string{"daemon/cli TestCompanionsProgramHasOneCommand"},
	},
	{
		ID: "Q20", Attack: "break the hook: no daemon, input that cannot be read, no answer; take its program away", Hook: "denied, in words the agent understands; what an agent runs without its hook is judged at exec", Core: "the same", Verdict: Stopped,
		Tests: []string{
			"daemon/cli TestHookFailsClosed", "daemon/cli TestHookDoesNotWaitForEver", "tests/hook TestRealCodexAsksTheRealHook",
			"tests/hook TestRealClaudeCodeAsksTheRealHook", "tests/codex TestGovernedHook",
		},
	},
	{
		ID: "Q21", Attack: "call the hook with a prompt of its own, to be shown with a question", Hook: "what a tool call's process tells is marked, and not shown", Core: "the same", Verdict: Partly,
		Why:   "an agent whose tool calls cannot be told apart (no id in their environment) can",
		Tests: []string{"tests/e2e TestHookTells"},
	},
	{
		ID: "Q24", Attack: "have something run outside of the session that answers: `systemd-run --user`, tmux, D-Bus activation, docker", Hook: "the sockets of all that start programs are closed to sessions as long as people are asked", Verdict: Stopped,
		Why:   "`guard = false` opens them",
		Tests: []string{guard + "A5 the socket of a broker", "daemon/policy TestGuardWherePeopleAreAsked"},
	},
	{
		ID: "Q25", Attack: "leave something for the user's shell, desktop or cron to run: `~/.bashrc`, another `paddock` in the search path, `GTK_MODULES`, `at`", Hook: "the boundary: outside of the project, and protected where the project is the home directory", Verdict: Partly,
		Why:   "where requirements have a boundary; without one, an agent that may write anywhere can",
		Tests: []string{"daemon/enforce TestBoundary/F1 write outside", "daemon/policy TestWhatTheUserRunsLaterIsProtected"},
	},
	{
		ID: "Q26", Attack: "be polkit's password agent, or answer the one that is there", Hook: "the password; the system bus is closed to sessions as long as people are asked", Core: "the password", Verdict: Stopped,
		Why:   "who can show the user a window can ask for the password under a pretext",
		Tests: []string{"daemon/approval TestPasswordIsAskedFor/another one", "daemon/approval TestPresenceByPolkit"},
	},
	{
		ID: "Q27", Attack: "persuade a model that reviews, or outlast it", Hook: "it answers only what requirements let be reviewed, never what is for people or of high risk, and for once; without an answer the person is asked", Core: "the same", Verdict: Partly,
		Why:   "what a model takes for routine is its own judgement; none is built in",
		Tests: []string{"daemon/approval TestModelThatDoesNotAllow", "daemon/approval TestModelIsNotAsked"},
	},
	{
		ID: "Q28", Attack: "leave a typed answer behind for the shell (TIOCSTI), and be gone before it is read", Hook: "file_ioctl, as long as people are asked", Verdict: Stopped,
		Why:   "without, it needs `dev.tty.legacy_tiocsti = 0` (Linux 6.2 and newer)",
		Tests: []string{guard + "A14 input to the terminal"},
	},
	{
		ID: "Q29", Attack: "ssh to this machine, and press the button from there", Hook: "keys, and who may log in (`~/.ssh`), are kept by the boundary; near addresses by the managed network", Core: "near addresses by the managed network", Verdict: Partly,
		Why:   "with neither, nothing keeps a session from sshd: deny port 22 of this machine by address",
		Tests: []string{"tests/e2e TestManagedNetwork/a name that leads home", "daemon/enforce TestBoundary/F1 read what is unreadable"},
	},
	{
		ID: "Q22", Attack: "a keyboard of its own (`/dev/uinput`), or reading what is typed (a password for polkit)", Hook: "the boundary: both are unreadable", Verdict: Stopped,
		Why:   "where requirements have a boundary",
		Tests: []string{desk + "a keyboard of its own", desk + "the keys that are typed"},
	},
	{
		ID: "Q30", Attack: "hide what is of high risk behind another name: `exec -a git-credential git`, `ld.so --argv0 git-credential git`", Hook: "each command it stands for is looked at", Core: "the same", Verdict: Stopped,
		Tests: []string{"daemon/enforce TestRiskIsOfWhatRuns"},
	},
}
