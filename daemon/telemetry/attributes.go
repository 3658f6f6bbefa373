// SPDX-License-Identifier: Apache-2.0

package telemetry

// Attributes that OpenTelemetry's semantic conventions define, at the version
// of SchemaURL.
const (
	AttrProcessPID            = "process.pid"
	AttrProcessParentPID      = "process.parent_pid"
	AttrProcessExecutablePath = "process.executable.path"
	AttrProcessExecutableName = "process.executable.name"
	AttrProcessCommandArgs    = "process.command_args"      // []string, argv with argv[0]
	AttrProcessWorkingDir     = "process.working_directory" //
	AttrProcessOwner          = "process.owner"             // user name
	AttrProcessUserID         = "process.user.id"           // int64, effective uid
	AttrProcessExitCode       = "process.exit.code"         // int64
	AttrNetworkTransport      = "network.transport"         // tcp or udp
	AttrNetworkType           = "network.type"              // ipv4 or ipv6
	AttrDestinationAddress    = "destination.address"
	AttrDestinationPort       = "destination.port" // int64
	AttrDNSQuestionName       = "dns.question.name"
	AttrFilePath              = "file.path"      //
	AttrServerAddress         = "server.address" // name, or address where there is no name
	AttrHTTPMethod            = "http.request.method"
	AttrErrorMessage          = "error.message"
	AttrEventName             = "event.name"     // set on export: some backends drop OTLP's own field
	AttrRecordUID             = "log.record.uid" // set on export: Event.ID, the same on each delivery
)

// Attributes of our own.
const (
	AttrSessionID        = "paddock.session.id"     // set on export and in JSON: Event.Session
	AttrAgent            = "paddock.agent"          // codex, claude-code, ...
	AttrAgentVersion     = "paddock.agent.version"  //
	AttrAgentInstall     = "paddock.agent.install"  // npm, brew, standalone, ...
	AttrSurface          = "paddock.surface"        // cli, exec, ide, desktop, mcp
	AttrSessionHow       = "paddock.session.how"    // exec, run, scan, restart
	AttrSessionExecs     = "paddock.session.execs"  // int64
	AttrSessionDenied    = "paddock.session.denied" // int64, of the execs
	AttrSessionConnects  = "paddock.session.connects"
	AttrSessionNetDenied = "paddock.session.connects_denied"

	AttrDecision         = "paddock.decision"             // allow, prompt, forbidden; network: allow, deny
	AttrDecisionReason   = "paddock.decision.reason"      // one sentence for people
	AttrDecisionSource   = "paddock.decision.source"      // file and line of the rule, or what decided instead
	AttrDecisionEnforced = "paddock.decision.enforced"    // bool; false: observe mode let it through
	AttrRule             = "paddock.rule"                 // the rule's prefix, or its network
	AttrGate             = "paddock.gate"                 // exec.refuse, exec.hold, connect, egress, socket, signal, boundary, unix, ptrace, machine
	AttrTier             = "paddock.tier"                 // how the kernel refuses: see the registry
	AttrToolCallID       = "paddock.tool_call.id"         // = call_id of Codex's own telemetry
	AttrThreadID         = "paddock.thread.id"            // = conversation.id of Codex's own telemetry
	AttrMode             = "paddock.mode"                 // observe, enforce
	AttrPolicyGeneration = "paddock.policy.generation"    // int64
	AttrPolicyRules      = "paddock.policy.rules"         // int64
	AttrPolicySources    = "paddock.policy.sources"       // []string
	AttrPolicyDigests    = "paddock.policy.digests"       // []string, SHA-256, one per source
	AttrPolicyProvenance = "paddock.policy.provenance"    // []string, one per source: how sure it is that MDM wrote it; empty where that is not asked
	AttrPolicyStrictest  = "paddock.policy.strictest"     // bool, the built-in strictest apply
	AttrPolicyLastKnown  = "paddock.policy.last_known"    // bool, an earlier version of a broken file
	AttrPolicySource     = "paddock.policy.source"        // the one that was rejected
	AttrProcessStart     = "paddock.process.start"        // int64, ns since boot; with process.pid a process, never reused
	AttrProcessSignal    = "paddock.process.signal"       // int64, what ended the process
	AttrFileID           = "paddock.file.id"              // device and inode, "major:minor:inode"
	AttrFileOperation    = "paddock.file.operation"       // read, write, create, remove, rename, link, change, connect
	AttrArgsTruncated    = "paddock.process.args_omitted" // int64, bytes of argv not kept by the kernel side
	AttrCalledAs         = "paddock.process.called_as"    // path given to execve
	AttrSocketKind       = "paddock.socket.kind"          // family, type and protocol of a refused socket
	AttrCoalesced        = "paddock.network.coalesced"    // int64, earlier datagrams to the same place, not recorded one by one
	AttrDNSQuestionType  = "paddock.dns.question.type"    // A, AAAA, TXT, ...
	AttrDNSAlias         = "paddock.dns.alias"            // the alias (CNAME) that was the reason
	AttrCanaryProven     = "paddock.canary.proven"        // bool
	AttrCanaryDetail     = "paddock.canary.detail"        // what happened instead
	AttrTamperOperation  = "paddock.tamper.operation"     // ptrace, bpf, mount, unmount, module, terminal, key, ipc, priority
	AttrTamperTarget     = "paddock.tamper.target.pid"    // int64
	AttrTamperSignal     = "paddock.tamper.signal"        // int64, 0: ptrace
	AttrTamperObject     = "paddock.tamper.object"        // program or map of the kernel side
	AttrTamperMended     = "paddock.tamper.mended"        // bool
	AttrFileRole         = "paddock.file.role"            // requirements, agents, paddock, users
	AttrFileBy           = "paddock.file.by"              // session, outside, unknown, paddock
	AttrFileSum          = "paddock.file.sha256"          // of the content now
	AttrFileSumBefore    = "paddock.file.sha256_before"   //
	AttrFileMode         = "paddock.file.mode"            // octal mode, user:group
	AttrFileRestored     = "paddock.file.restored"        // bool
	AttrFileWhileDown    = "paddock.file.while_down"      // bool, Paddock did not run
	AttrFileFolded       = "paddock.file.folded"          // int64, earlier changes not told one by one
	AttrUptime           = "paddock.daemon.uptime"        // int64, s
	AttrHeartbeat        = "paddock.daemon.interval"      // int64, s until the next one
	AttrSessionsLive     = "paddock.daemon.sessions"      // int64
	AttrGatesUnproven    = "paddock.daemon.unproven"      // []string, gates
	AttrLaunchAction     = "paddock.launch.action"        // record, warn, refuse
	AttrLaunchFindings   = "paddock.launch.findings"      // []string, "KIND: WHAT"
	AttrLaunchTold       = "paddock.launch.told"          // bool, whoever started it was told
	AttrKillReason       = "paddock.kill.reason"
	AttrVersion          = "paddock.version"

	AttrApprovalID      = "paddock.approval.id"      // of the question; of a revoked answer, its own
	AttrApprovalKind    = "paddock.approval.kind"    // command, connection, file, tool
	AttrApprovalState   = "paddock.approval.state"   // allowed, denied, expired, cancelled
	AttrApprovalBy      = "paddock.approval.by"      // terminal, companion, review, memory, ...
	AttrApprovalUser    = "paddock.approval.user"    // who answered
	AttrApprovalRoot    = "paddock.approval.root"    // bool, root answered for the user
	AttrApprovalScope   = "paddock.approval.scope"   // once, session, always
	AttrApprovalRule    = "paddock.approval.rule"    // what scope always, or a revoked answer, allows
	AttrApprovalProof   = "paddock.approval.proof"   // how the one who answered proved to be there
	AttrApprovalReason  = "paddock.approval.reason"  // in the words of who answered
	AttrApprovalRisk    = "paddock.approval.risk"    // high-risk class
	AttrApprovalMerged  = "paddock.approval.merged"  // int64, actions that waited for the one answer
	AttrApprovalSeconds = "paddock.approval.seconds" // float64, from question to answer
	AttrApprovalTool    = "paddock.approval.tool"    // the agent's name of the tool

	AttrDecisionBy         = "paddock.decision.by"            // policy, deadline, client, paddock, or who answered
	AttrDecisionCause      = "paddock.decision.cause"         // allowed, denied, not_allowed, not_allowed_local, ...
	AttrNameLearned        = "paddock.network.name_from"      // sni, host, authority, connect, socks, dns, none
	AttrProtocol           = "paddock.network.protocol"       // http, https, socks5_tcp: as network_rule has it
	AttrBytesSent          = "paddock.network.bytes_sent"     // int64, by the client
	AttrBytesReceived      = "paddock.network.bytes_received" // int64, by the client
	AttrConnectionDuration = "paddock.network.duration_ms"    // int64
	AttrConnectionHeld     = "paddock.network.held_ms"        // int64
	AttrConnectionFirst    = "paddock.network.first_host"     // host:port the connection was judged by first; this is about a later one
	AttrConnectionCut      = "paddock.network.cut"            // bool, it was open when other requirements came to deny it
	AttrConnectionUntold   = "paddock.network.untold"         // int64, judgements on it before this event, and after the one before, that have none
	AttrConnectionID       = "paddock.network.connection.id"  // joins NameNetworkOpen and the NameNetworkConnection of its end
	AttrConnectionLost     = "paddock.network.lost"           // bool, Paddock was killed while it was open
	AttrTLSECH             = "paddock.tls.ech"                // bool, the hello has an encrypted one, or grease, in it

	AttrGapCause    = "paddock.gap.cause"     // one of the Gap constants, or the hop of the kernel side
	AttrGapCount    = "paddock.gap.count"     // int64, events missing; absent: unknown
	AttrGapFirstSeq = "paddock.gap.first_seq" // int64
	AttrGapLastSeq  = "paddock.gap.last_seq"  // int64
	AttrGapFrom     = "paddock.gap.from"      // RFC 3339, time of the first one
	AttrGapTo       = "paddock.gap.to"        // RFC 3339, time of the last one
	AttrGapSink     = "paddock.gap.sink"      // who will not get them
	AttrGapFile     = "paddock.gap.file"      // where a damaged database was set aside

	// AttrEscaped names the attributes in which bytes that are not UTF-8 were
	// written as \xNN, and each backslash as \\: nothing is lost, and no two
	// values become the same.
	AttrEscaped = "paddock.attributes.escaped"
	// AttrRedacted names the attributes in which something secret was replaced by a
	// marker, [redacted:KIND:HASH].
	AttrRedacted = "paddock.attributes.redacted"
	// AttrTruncated names the attributes that were cut at MaxAttribute bytes.
	AttrTruncated = "paddock.attributes.truncated"
	// AttrConverted names the attributes whose type is none of an Event's and
	// that were written as text.
	AttrConverted = "paddock.attributes.converted"
)

// Causes of a gap that this package finds.
const (
	GapFlood    = "flood"          // removed because its session takes up too much of the store
	GapSize     = "size_limit"     // removed to keep the store within its bound, before a sink had them
	GapAge      = "age_limit"      // removed because they were older than Options.MaxAge, before a sink had them
	GapStore    = "store_failed"   // the database could not be written, and there was no room left to wait
	GapSlow     = "store_slow"     // more came than the disk takes, and there was no room left to wait
	GapDamage   = "store_damaged"  // the database was damaged, and set aside
	GapRejected = "sink_rejected"  // the sink will not take them, however often they are sent
	GapKilled   = "daemon_killed"  // Paddock ended without stopping: what it held in memory is gone
	GapLeftOut  = "left_out"       // calls of the machine that kernel programs were to judge, and did not see
	GapOverrun  = "reader_overrun" // removed before somebody who follows had read them; never stored
)
