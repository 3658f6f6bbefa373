// SPDX-License-Identifier: Apache-2.0

package telemetry

import "slices"

// attributes is every attribute an event may have.
var attributes = slices.Concat(ownAttributes, agentAttributes)

// ownAttributes are those of what Paddock saw and did itself: name, type, meaning, OCSF 1.8, ECS.
var ownAttributes = []Attribute{
	{AttrEventName, String, "the name of the event, again: some backends drop OTLP's own field. Set on export", "", "event.action"},
	{AttrRecordUID, String, "a ULID, the same on each delivery. Set on export", "metadata.uid", "event.id"},
	{AttrSessionID, String, "the session. Set on export and in JSON", "actor.session.uid", "session.id"},
	{AttrEscaped, Strings, "names of the attributes with bytes that are not UTF-8, written as `\\xNN`", "", ""},
	{AttrRedacted, Strings, "names of the attributes in which something was replaced by `[redacted:KIND:HASH]`, the same for the same secret on one machine", "", ""},
	{AttrTruncated, Strings, "names of the attributes that were cut", "", ""},
	{AttrConverted, Strings, "names of the attributes that had to be written as text", "", ""},

	{AttrProcessPID, Int, "the process; with `paddock.process.start` never reused", "process.pid", "process.pid"},
	{AttrProcessStart, Int, "when it started, nanoseconds since boot", "", ""},
	{AttrProcessParentPID, Int, "its parent", "process.parent_process.pid", "process.parent.pid"},
	{AttrProcessExecutablePath, String, "the file that runs", "process.file.path", "process.executable"},
	{AttrProcessExecutableName, String, "the last part of its name in the file system", "process.name", "process.name"},
	{AttrProcessCommandArgs, Strings, "argv, argv[0] first", "process.cmd_line", "process.args"},
	{AttrProcessWorkingDir, String, "its working directory", "process.working_directory", "process.working_directory"},
	{AttrProcessOwner, String, "name of the user whose it is", "process.user.name", "user.name"},
	{AttrProcessUserID, Int, "effective user id", "process.user.uid", "user.id"},
	{AttrProcessExitCode, Int, "as a shell reports it: 128 and the signal's number, if one ended it", "exit_code", "process.exit_code"},
	{AttrProcessSignal, Int, "the signal that ended it", "", ""},
	{AttrFileID, String, "device and inode of the file, `major:minor:inode`; on btrfs, and of a directory of an overlay, the number is mixed with what makes it the only one", "process.file.uid", "file.inode"},
	{AttrArgsTruncated, Int, "bytes of argv that are not in `process.command_args`", "", ""},
	{AttrCalledAs, String, "the path given to `execve`", "", ""},
	{AttrTamperObject, String, "the program or map of the kernel side that was changed", "", ""},
	{AttrTamperMended, Bool, "it is as it was again", "", ""},
	{AttrFileRole, String, "`requirements`, `agents` (their managed configuration), `paddock` (its own), `users` (start-up files of a user's)", "", ""},
	{AttrFileBy, String, "who changed it: `session`, `outside` of every session, `unknown` (it had ended already, or the kernel cannot tell), `paddock` (it put the file back)", "", ""},
	{AttrFileSum, String, "SHA-256 of what it is now", "file.hashes.value", "file.hash.sha256"},
	{AttrFileSumBefore, String, "SHA-256 of what it was; the same if it was changed and changed back", "", ""},
	{AttrFileMode, String, "its mode and owner now, `MODE USER:GROUP`", "", "file.mode"},
	{AttrFileRestored, Bool, "`true`: it was put back; `false`: it could not be, or was too often", "", ""},
	{AttrFileWhileDown, Bool, "it changed while Paddock did not run", "", ""},
	{AttrFileFolded, Int, "earlier changes of the file that were not recorded one by one", "count", ""},
	{AttrUptime, Int, "seconds since Paddock started", "", ""},
	{AttrHeartbeat, Int, "seconds until the next one: after twice that, the machine is silent", "", ""},
	{AttrSessionsLive, Int, "sessions that live", "", ""},
	{AttrGatesUnproven, Strings, "gates that are not proven", "", ""},
	{AttrLaunchAction, String, "what requirements say of it: `record`, `warn`, `refuse`", "", ""},
	{AttrLaunchFindings, Strings, "`environment: NAME` (never the value), `flags: OPTION`, `overrides: SETTING`, `versions: WHAT`", "", ""},
	{AttrLaunchTold, Bool, "whoever started it was told, on its standard error or terminal", "", ""},
	{AttrKillReason, String, "why it was killed", "status_detail", "event.reason"},

	{AttrDestinationAddress, String, "where it went; an IPv4 address written as IPv6 is shown as IPv4", "dst_endpoint.ip", "destination.ip"},
	{AttrDestinationPort, Int, "the port", "dst_endpoint.port", "destination.port"},
	{AttrServerAddress, String, "the name it asked for, where that is known", "dst_endpoint.hostname", "destination.domain"},
	{AttrFilePath, String, "the file it is about, as it is on the machine wherever the session sees it. Each name is cut at 39 bytes; of a path of more than 12 names, `...` and the last 12", "file.path", "file.path"},
	{AttrFileOperation, String, "`read`, `write`, `create`, `remove`, `rename`, `link`, `change` (mode, owner, size, times, attributes), `connect` (to a socket)", "activity_name", "event.action"},
	{AttrDNSQuestionName, String, "the name asked of the resolver", "query.hostname", "dns.question.name"},
	{AttrDNSQuestionType, String, "`A`, `AAAA`, `TXT`, ...: the type of record asked of the resolver", "query.type", "dns.question.type"},
	{AttrDNSAlias, String, "the alias (CNAME) of that name which is denied", "", ""},
	{AttrNameLearned, String, "how the name was learned: `sni`, `host` (HTTP/1), `authority` (HTTP/2), `connect`, `socks`, `dns` (the session was given the address for it), `none`", "", ""},
	{AttrProtocol, String, "`http`, `https`, `socks5_tcp` (everything else), as in `network_rule`", "", "network.protocol"},
	{AttrHTTPMethod, String, "method of a request that can be read", "", "http.request.method"},
	{AttrBytesSent, Int, "bytes the client sent", "traffic.bytes_out", "source.bytes"},
	{AttrBytesReceived, Int, "bytes the client received", "traffic.bytes_in", "destination.bytes"},
	{AttrConnectionDuration, Int, "from its beginning to its end, in milliseconds", "duration", ""},
	{AttrConnectionHeld, Int, "how much of that it waited for an answer, in milliseconds", "", ""},
	{AttrConnectionFirst, String, "of a later request or name on a connection that is open: the host and port that it was judged by first, and that the event of its end tells of", "", ""},
	{AttrConnectionCut, Bool, "the connection was open when other requirements came into force that deny it, and was cut", "", ""},
	{AttrConnectionUntold, Int, "how many judgements on the connection, since the event before this one, have no event because there were too many: each may be of another host or method, but who decided what in them was told before", "", ""},
	{AttrConnectionID, String, "of a connection that was open for long: the same in `paddock.network.open` and in the event of its end", "", ""},
	{AttrConnectionLost, Bool, "Paddock was killed while the connection was open, and said so when it started again: bytes and duration are those of `paddock.network.open`", "", ""},
	{AttrTLSECH, Bool, "an encrypted hello, or what looks like one, was in the hello", "", ""},
	{AttrNetworkTransport, String, "`tcp`, `udp`", "connection_info.protocol_name", "network.transport"},
	{AttrNetworkType, String, "`ipv4`, `ipv6`", "", "network.type"},
	{AttrCoalesced, Int, "datagrams to the same place that came before this one and were not recorded one by one", "", ""},
	{AttrSocketKind, String, "family, type and protocol of a socket that was refused", "", ""},

	{AttrAgent, String, "`codex`, `claude-code`, ...: the agent's profile", "actor.app_name", "service.name"},
	{AttrAgentVersion, String, "the agent's version, if it can be seen", "", "service.version"},
	{AttrAgentInstall, String, "how it was installed: `npm`, `brew`, `standalone`, ...", "", ""},
	{AttrSurface, String, "`cli`, `exec`, `ide`, `desktop`, `mcp`", "", ""},
	{AttrToolCallID, String, "the tool call it serves; for Codex, the `call_id` of its own telemetry", "metadata.correlation_uid", "trace.id"},
	{AttrThreadID, String, "the conversation; for Codex, `conversation.id` of its own telemetry", "", ""},
	{AttrSessionHow, String, "`exec`: it started; `run`: by `paddock run`; `scan`: it ran before Paddock did; `restart`: known from before a restart", "", ""},
	{AttrSessionExecs, Int, "programs the session started", "", ""},
	{AttrSessionDenied, Int, "of those, kept from running", "", ""},
	{AttrSessionConnects, Int, "destinations the session asked for", "", ""},
	{AttrSessionNetDenied, Int, "of those, refused", "", ""},

	{AttrDecision, String, "commands: `allow`, `prompt`, `forbidden`; destinations and sockets: `allow`, `deny`; of connections in mode `observe` also `ask`", "action", "event.outcome"},
	{AttrDecisionReason, String, "one sentence for people", "message", "message"},
	{AttrDecisionSource, String, "file and line of the rule", "firewall_rule.uid", "rule.reference"},
	{AttrDecisionBy, String, "`policy`, who answered, `deadline` (nobody did), `client` (it left), `paddock` (the session ended, a limit)", "", ""},
	{AttrDecisionCause, String, "`allowed`, `denied`, `not_allowed`, `not_allowed_local`, `review`, `method_not_allowed`, `host_mismatch`, `malformed`", "", ""},
	{AttrDecisionEnforced, Bool, "`false`: mode `observe` let it through", "", ""},
	{AttrRule, String, "the rule's first words, or its network", "firewall_rule.name", "rule.name"},
	{AttrGate, String, "`exec.refuse`, `exec.hold`, `connect`, `egress`, `resolver`, `socket`, `signal`, `boundary`, `unix`, `ptrace`, `machine`, `launch`", "", "rule.category"},
	{AttrTier, String, "how the kernel refuses: `lsm`, `fmod_ret`, `hold`, `cgroup`, `redirect`, `landlock`, `fanotify`, `none`", "", ""},
	{AttrMode, String, "`observe`, `enforce`", "", ""},
	{AttrPolicyGeneration, Int, "counts the policies in force since the kernel side was loaded", "", ""},

	{AttrPolicyRules, Int, "how many rules the policy has", "", ""},
	{AttrPolicySources, Strings, "the layers from low to high", "", ""},
	{AttrPolicyDigests, Strings, "the SHA-256 of each layer", "", ""},
	{AttrPolicyProvenance, Strings, "of each layer, how sure it is that device management wrote it: `mdm_verified`, `manual`, `file_only`; empty for files", "", ""},
	{AttrPolicyStrictest, Bool, "a source is broken and was never usable: the built-in strictest holds", "", ""},
	{AttrPolicyLastKnown, Bool, "some layer is what its file said before it broke", "", ""},
	{AttrPolicySource, String, "the source that cannot be used", "", ""},

	{AttrCanaryProven, Bool, "the attempt was refused", "", ""},
	{AttrCanaryDetail, String, "what happened instead", "status_detail", "event.reason"},
	{AttrTamperOperation, String, "what else than a signal: `ptrace` (any way to the memory or descriptors of another process), `bpf`, `mount`, `unmount`, `module`, `terminal` (input as if somebody had typed it), `key` (what a key of the kernel holds), `ipc` (shared memory, queues, semaphores of System V), `priority` (priority, limits, processors of another process)", "", ""},
	{AttrTamperTarget, Int, "the process it reached for", "", ""},
	{AttrTamperSignal, Int, "the signal; 0: it wanted to trace it", "", ""},

	{AttrApprovalID, String, "the question; of a revoked answer, its own", "", ""},
	{AttrApprovalKind, String, "what the question is about: `command`, `connection`, `file`, `tool`", "", ""},
	{AttrApprovalState, String, "`allowed`, `denied`, `expired`, `cancelled`", "status", ""},
	{AttrApprovalBy, String, "`terminal`, `companion`: a person; `review`: automatic review; `memory`: an answer of before; `requirements`: they have changed; `deadline`; `limit`: too many questions; `process`: what waited has ended", "", ""},
	{AttrApprovalUser, String, "who answered", "", ""},
	{AttrApprovalRoot, Bool, "root answered, for the user", "", ""},
	{AttrApprovalScope, String, "`once`, `session`, `always`", "", ""},
	{AttrApprovalRule, String, "what an answer of scope `always`, or a revoked one, allows", "", ""},
	{AttrApprovalProof, String, "how the person proved to be there: `polkit`, or the terminal", "", ""},
	{AttrApprovalReason, String, "in the words of who answered", "", ""},
	{AttrApprovalRisk, String, "the high-risk class, if the action is of one", "", ""},
	{AttrApprovalMerged, Int, "actions that waited for the one answer; of refused answers, tries since the last event", "", ""},
	{AttrApprovalSeconds, Float, "from question to answer", "", ""},
	{AttrApprovalTool, String, "the agent's name of the tool", "", ""},

	{AttrGapCause, String, "`kernel ring ... full`, or one of the causes below", "status_detail", "event.reason"},
	{AttrGapCount, Int, "how many; left out when nobody can know", "count", ""},
	{AttrGapFirstSeq, Int, "number in the store of the first one", "", ""},
	{AttrGapLastSeq, Int, "number in the store of the last one", "", ""},
	{AttrGapFrom, String, "time of the first one, RFC 3339", "", "event.start"},
	{AttrGapTo, String, "time of the last one, RFC 3339", "", "event.end"},
	{AttrGapSink, String, "who will not get them; left out: nobody", "", ""},
	{AttrGapFile, String, "where a damaged store was set aside", "", ""},

	{AttrHookEvent, String, "the agent's name of it: `PreToolUse`, `PermissionRequest`, `Stop`, ...", "", ""},
	{AttrHookMode, String, "the agent's own permission mode", "", ""},
	{AttrHookDetail, String, "why a session began or ended", "", ""},
	{AttrHookMessage, String, "the agent's last words of a turn", "", ""},
	{AttrHookCut, Strings, "what the hook told in more than 4 KiB: the rest is left out", "", ""},
	{AttrTurnID, String, "from one prompt to the end of the answer", "", ""},
	{AttrPrompt, String, "what the person asked for", "", ""},
	{AttrToolName, String, "the agent's name of the tool", "", ""},
	{AttrToolArguments, String, "what the tool is given: JSON, or the command", "", ""},
	{AttrToolOutput, String, "what the tool answered", "", ""},
	{AttrModel, String, "the model", "", ""},
	{AttrSenderToolCall, String, "the tool call whose process sent it, as the kernel knows: then it is not the agent who tells", "", ""},

	{AttrErrorMessage, String, "what went wrong", "status_detail", "error.message"},
	{AttrVersion, String, "Paddock's version", "", "agent.version"},
}

// everywhere are attributes that any event may have.
var everywhere = []string{AttrEventName, AttrRecordUID, AttrSessionID, AttrEscaped, AttrRedacted, AttrTruncated, AttrConverted}

// Groups of attributes that belong together.
var (
	whoAndWhy = []string{
		AttrProcessPID, AttrProcessStart, AttrProcessUserID, AttrProcessOwner, AttrAgent, AttrToolCallID, AttrThreadID,
	}
	whatWasDecided = []string{
		AttrDecision, AttrDecisionReason, AttrDecisionSource, AttrDecisionEnforced, AttrRule, AttrGate, AttrTier, AttrMode,
		AttrPolicyGeneration,
	}
	whichQuestion = []string{
		AttrApprovalKind, AttrApprovalMerged, AttrApprovalRisk, AttrApprovalTool, AttrSurface, AttrProcessCommandArgs,
		AttrProcessExecutablePath, AttrProcessWorkingDir, AttrDestinationAddress, AttrDestinationPort, AttrNetworkTransport, AttrFilePath,
	}
	whichAnswer = []string{
		AttrApprovalID, AttrApprovalState, AttrApprovalBy, AttrApprovalUser, AttrApprovalRoot, AttrApprovalScope, AttrApprovalRule,
		AttrApprovalProof, AttrApprovalReason, AttrApprovalSeconds,
	}
	whatHooksTell = []string{
		AttrHookEvent, AttrHookMode, AttrHookCut, AttrTurnID, AttrModel, AttrToolName, AttrToolArguments, AttrProcessWorkingDir, AttrSenderToolCall,
	}
	whichProgram = []string{
		AttrProcessParentPID, AttrProcessExecutablePath, AttrProcessExecutableName, AttrCalledAs, AttrProcessCommandArgs,
		AttrArgsTruncated, AttrProcessWorkingDir, AttrFileID,
	}
	whichSession = []string{
		AttrSurface, AttrAgentInstall, AttrAgentVersion, AttrSessionHow, AttrProcessExecutablePath, AttrProcessCommandArgs,
		AttrProcessWorkingDir,
	}
)
