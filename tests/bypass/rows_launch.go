// SPDX-License-Identifier: Apache-2.0

package bypass

const disguised = "tests/e2e TestLaunchInDisguise/"

// Ways to start an agent so that it does not do what its organisation wants of it.
var launchRows = []Row{
	{
		ID: "P11", Attack: "`CODEX_HOME`, `--yolo`, `--dangerously-bypass-approvals-and-sandbox`, `-c`, another server, `NODE_OPTIONS`, `LD_PRELOAD`",
		Hook: "arguments and environment are looked at when it starts; rules, network and boundary hold whatever it was told", Core: "the same, but no boundary", Verdict: Partly,
		Why: "by default it is seen: an event, and a line to whoever started it. Stopped where `[paddock.launch]` says `refuse`: what a session starts, before its first instruction; what a person starts, some milliseconds into its life",
		Tests: []string{
			"tests/e2e TestLaunchIsRefused", "tests/e2e TestLaunchWarns", "daemon/session TestFindingsOfCommandLines", "daemon/session TestFindingsOfEnvironments",
			"tests/codex TestUnderPaddock",
		},
	},
	{
		ID: "P12", Attack: "an old or self-built agent, or one from elsewhere", Hook: "`minimum`, `programs` (SHA-256) and `places` in `[paddock.launch]`; a place is one of this machine, not of a mount of the user's own", Core: "the same",
		Verdict: Partly, Why: "only where requirements have these keys. A version is what the package says of itself; only `programs` cannot be made up",
		Tests: []string{"tests/e2e TestLaunchOfOtherPrograms", "daemon/policy TestJudgeStart"},
	},
	{
		ID: "P21", Attack: "the same, written or hidden in other ways: quotes, `env -i`, `exec -a`, links, scripts, 100 KiB of arguments or environment, wrappers",
		Hook: "what the kernel executes counts, not how it was written", Core: "the same", Verdict: Stopped,
		Why: "where requirements refuse it",
		Tests: []string{
			disguised + "quotes", disguised + "env -i", disguised + "another argv[0]", disguised + "a wrapper sets it", disguised + "a symbolic link",
			disguised + "a script of its name", disguised + "behind much", disguised + "in a large environment", disguised + "xargs",
		},
	},
	{
		ID: "P22", Attack: "options as the agent's own parser takes them: `-sdanger-full-access`, `--approvalMode yolo`, letters together, twice, after a `--` that is a value",
		Hook: "read as any of the libraries reads them, whichever it is", Core: "the same", Verdict: Stopped,
		Why:   "where requirements refuse it. Abbreviations are no way: none of these libraries takes them (tried with Codex 0.169.0)",
		Tests: []string{"daemon/session TestFindingsOfCommandLines", disguised + "repeated", disguised + "its value apart"},
	},
	{
		ID: "P23", Attack: "a file of settings in the project does what the option does (`.codex/config.toml`, `.claude/settings.json`, `.gemini/.env`)",
		Hook: "the agent's files are read when it starts, from its directory up", Core: "the same", Verdict: Partly,
		Why:   "what is written there later is not looked at; the boundary protects these files from what the agent starts",
		Tests: []string{disguised + "a file of the project", disguised + "a file of another directory", "daemon/session TestFindingsOfSettings"},
	},
	{
		ID: "P24", Attack: "a session starts another agent, or itself once more, with other options: also after the same command was allowed, or by `paddock run`",
		Hook: "held and judged each time: no answer about what may be an agent is remembered", Core: "the same", Verdict: Stopped,
		Why:   "where requirements refuse it",
		Tests: []string{"tests/e2e TestLaunchOfNestedAgents"},
	},
	{
		ID: "P25", Attack: "start it while the daemon does not run", Hook: "met when the daemon is back, and judged then", Core: "the same", Verdict: Stopped,
		Why:   "where requirements refuse it; until then it ran",
		Tests: []string{"tests/e2e TestLaunchBeforeTheDaemon"},
	},
	{
		ID: "P27", Attack: "start it harmlessly, and have it ask nobody afterwards: by its interface, or by what an editor asks of `codex app-server`", Hook: "rules, network and boundary hold", Core: "the same, but no boundary", Verdict: Seen,
		Why:   "what the agent itself tells of its settings is recorded (`paddock.agent.session`); nothing of it shows at the start",
		Tests: []string{"daemon/telemetry/receiver TestCodexIsUnderstood"},
	},
	{
		ID: "P28", Attack: "so many arguments or findings, or so large a file of settings, that one of them is not read", Hook: "bounded: what is not read counts as found", Core: "the same", Verdict: Stopped,
		Why:   "where requirements refuse it",
		Tests: []string{"daemon/session TestFindingsOfHugeCommandLines", "daemon/session TestFindingsOfLargeSettings", "daemon/session TestFindingsOfLargeEnvironmentFiles", "daemon/session TestSettingsFiles"},
	},
	{
		ID: "P29", Attack: "settings that the agent reads and the daemon cannot, or not as the agent does: a pipe, `/dev/stdin`, `/proc/self`, a file on lease", Hook: "what is not read counts as found", Core: "the same", Verdict: Stopped,
		Why:   "where requirements refuse it",
		Tests: []string{"tests/e2e TestLaunchWithSettingsNobodyElseReads"},
	},
	{
		ID: "P26", Attack: "a copy of an agent under another name and path, by a copy of its loader, or as a library of a script of one's own", Verdict: NotCovered,
		Why: "an agent that is not recognised is not governed, if a person starts it; below a session it is governed like everything there, and how it was started is not looked at",
	},
}
