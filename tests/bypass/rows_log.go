// SPDX-License-Identifier: Apache-2.0

package bypass

const (
	receiver = "daemon/telemetry/receiver "
	store    = "daemon/telemetry "
)

// Ways to blind, or to poison, what is recorded.
var logRows = []Row{
	{
		ID: "L1", Attack: "send telemetry that looks like Paddock's own: its names of events and attributes", Hook: "what comes in is `paddock.agent.*`, with everything as the agent wrote it below `paddock.record.`", Core: "the same", Verdict: Stopped,
		Tests: []string{receiver + "TestPaddocksOwnNamesCannotBeForged"},
	},
	{
		ID: "L2", Attack: "send telemetry for another session, or for its conversation", Hook: "the session is that of the process that connected, as the kernel says", Core: "the same", Verdict: Stopped,
		Tests: []string{receiver + "TestNobodySpeaksForAnotherSession", "tests/e2e TestTelemetryOfOthersIsRefused"},
	},
	{
		ID: "L3", Attack: "a command tells of prompts and approvals that never were", Hook: "a command speaks for its own tool call, and is not heard about prompts and decisions", Core: "the same", Verdict: Partly,
		Why:   "an MCP server or a hook that the agent runs outside of any tool call can speak as the agent; what the agent says is told as its word",
		Tests: []string{receiver + "TestACommandSpeaksForItsToolCallOnly", "daemon/telemetry/join TestForgedRecordsTellNothing", "tests/e2e TestWhy"},
	},
	{
		ID: "L4", Attack: "overwhelm the receiver: 10 MB attributes, 100,000 names, bombs, what is no protobuf, connections that stay", Hook: "limits for each session, counted and told", Core: "the same", Verdict: Stopped,
		Tests: []string{receiver + "TestLimits", receiver + "TestLargeRecordIsCut", receiver + "TestConnectionsAreBounded"},
	},
	{
		ID: "L5", Attack: "hide one deed among a hundred thousand", Hook: "what is refused has a ring of its own; what does not fit is counted in the kernel", Core: "the same", Verdict: Partly,
		Why:   "what is allowed beyond 20,000 a second is not recorded one by one: its exact number is",
		Tests: []string{"tests/e2e TestFlood"},
	},
	{
		ID: "L6", Attack: "push what was recorded out of the store by volume", Hook: "a session that takes up more than a sixteenth of the store loses its own events, what it repeats most first, the first 16 of each kind last; what is routine goes before what was refused, asked or told; the exact number is an event; 1 MiB of telemetry a second for each session", Core: "the same", Verdict: Partly,
		Why:   "a session costs others the oldest sixteenth at most, an eighth by a flood of refusals. A session can bury its own deeds where they are not among the first 16 of their kind, or of no kind among its first 32, below 64 MiB of the same kind, 128 MiB for what was refused: they are known by number then, and in the counts by hour. Where a sink keeps up, it has everything",
		Tests: []string{store + "TestFloodTakesItsOwnPlace", store + "TestRoutineGoesFirst", store + "TestFloodWhileASinkIsAway", receiver + "TestLimits/more bytes than its rate", store + "TestWhatASinkNeverGotIsReported", store + "TestTalliesAreBounded"},
	},
	{
		ID: "L7", Attack: "an event that no receiver takes, so that export stops", Hook: "the batch is halved until it is found, set aside, and told", Core: "the same", Verdict: Stopped,
		Tests: []string{store + "TestPoisonIsFoundAndReported", "tests/otelcol TestEventThatTheCollectorNeverTakes"},
	},
	{
		ID: "L8", Attack: "escapes, line breaks, HTML or what only looks like text in arguments, paths, prompts", Hook: "made visible wherever it is shown; JSON and protobuf keep it apart", Core: "the same", Verdict: Stopped,
		Tests: []string{"daemon/cli TestNothingReachesTheTerminalAsItIs", "daemon/cli TestStoryIsPlain", "daemon/telemetry/report TestNothingOfAnAgentIsMarkup", "tests/e2e TestStrangeArguments"},
	},
	{
		ID: "L9", Attack: "SQL in what is recorded, or in a question to the store", Hook: "values are parameters; questions run on a connection that cannot write", Core: "the same", Verdict: Stopped,
		Tests: []string{store + "TestSelect"},
	},
	{
		ID: "L10", Attack: "reuse process numbers, or tell of false times", Hook: "a process is its number and its start; a time counts if it is of the last six hours", Core: "the same", Verdict: Stopped,
		Tests: []string{"daemon/telemetry/join TestNumbersAreUsedAgain", receiver + "TestTimeIsPlausible"},
	},
	{
		ID: "L11", Attack: "long names of tools and hosts by the thousand, so that counts and metrics fill the disk and the SIEM", Hook: "512 different ones an hour of 200 bytes each, 200 series of a metric", Core: "the same", Verdict: Stopped,
		Tests: []string{store + "TestLongValuesAreCountedShort", store + "TestTalliesAreBounded", "daemon/telemetry/metrics TestFloodOfHosts"},
	},
	{
		ID: "L12", Attack: "secrets in pieces, or encoded, so that they are recorded", Hook: "a net of what secrets look like, before anything is stored", Core: "the same", Verdict: Partly,
		Why:   "a password that nothing calls one, or that is split or encoded, is not seen",
		Tests: []string{store + "TestSecretsAreRedacted", store + "TestNoSecretReachesTheDisk"},
	},
	{
		ID: "L13", Attack: "fill the disk, or make it slow", Hook: "gates do not wait for it; what cannot be kept is counted, and told once it can", Core: "the same", Verdict: Partly,
		Why:   "what happens while the disk is full is known by number only, beyond 65,536 events",
		Tests: []string{"tests/otelcol TestNothingIsLostInSilence", store + "TestASlowDiskKeepsNobody"},
	},
	{
		ID: "L14", Attack: "have the daemon killed (by memory, by an accomplice) the moment something is done", Hook: "records wait in the kernel for the next daemon", Core: "the same", Verdict: Partly,
		Why: "what it had taken and not stored, of some 20 ms, is gone; how many that were is told, to the last one. A connection through the managed network has its event when it ends: " +
			"one that was open for less than half a minute is not told at all, one that was open for longer is told to be lost",
		Tests: []string{"tests/e2e TestWhatAKillCostsIsTold", store + "TestKilledWriter", "daemon/egress TestWhatIsOpenIsTold", "daemon TestConnectionsThatWereOpen"},
	},
	{
		ID: "L15", Attack: "have another session's programs or directories recorded by false paths: seen there first, in mounts of one's own", Hook: "the daemon's own mounts count more; name, arguments and `paddock.file.id` are the kernel's", Core: "the same", Verdict: Partly,
		Why:   "where nobody has been by the daemon's mounts, the path that a session has is recorded: a container's files have no other",
		Tests: []string{"daemon/enforce TestForgedPaths"},
	},
}
