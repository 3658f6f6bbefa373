// SPDX-License-Identifier: Apache-2.0

package telemetry

import "slices"

// Classes of OCSF 1.8, by what Paddock uses of them.
var (
	launch       = Class{1007, "Process Activity", 1, 1, 99}
	terminate    = Class{1007, "Process Activity", 1, 2, 2}
	connection   = Class{4001, "Network Activity", 4, 1, 5}
	fileActivity = Class{1001, "File System Activity", 1, 99, 99}
	settings     = Class{5019, "Device Config State Change", 5, 1, 1}
	finding      = Class{2004, "Detection Finding", 2, 1, 1}
	lifecycle    = Class{6002, "Application Lifecycle", 6, 3, 4}
	base         = Class{0, "Base Event", 0, 99, 99}
)

// kinds is every kind of event, in the order in which people read of them.
var kinds = slices.Concat(ownKinds, agentKinds)

// ownKinds are what Paddock saw and did itself.
var ownKinds = []Kind{
	{
		Name: NameSessionStart, Meaning: "An agent started, or was found running.", Attributes: all(whoAndWhy, whichSession),
		OCSF: launch, Category: "process", Action: "start", Tally: []string{AttrAgent, AttrSurface, AttrAgentVersion},
	},
	{
		Name: NameSessionEnd, Meaning: "The last process of the session is gone.",
		Attributes: all(whoAndWhy, whichSession, []string{AttrSessionExecs, AttrSessionDenied, AttrSessionConnects, AttrSessionNetDenied}),
		OCSF:       terminate, Category: "process", Action: "end", Tally: []string{AttrAgent},
	},
	{
		Name: NameLaunch, Meaning: "An agent was started so as to slip its management: by an option, its environment, its settings or its program. Once for each session and what was found.",
		Attributes: all(whoAndWhy, whatWasDecided, []string{
			AttrLaunchAction, AttrLaunchFindings, AttrLaunchTold, AttrAgentInstall, AttrAgentVersion, AttrProcessExecutablePath, AttrProcessCommandArgs,
			AttrProcessWorkingDir,
		}),
		OCSF: finding, Category: "process", Action: "start", Tally: []string{AttrAgent, AttrLaunchAction, AttrDecision, AttrDecisionEnforced},
	},
	{
		Name: NameProcessExec, Meaning: "A process executed a program, or was kept from it.",
		Attributes: all(whoAndWhy, whatWasDecided, whichProgram, whichAnswer), OCSF: launch, Category: "process", Action: "start",
		Tally: []string{AttrAgent, AttrDecision, AttrDecisionEnforced, AttrRule, AttrApprovalState},
	},
	{
		Name: NameProcessExit, Meaning: "A process ended.", Attributes: all(whoAndWhy, []string{AttrProcessExitCode, AttrProcessSignal}),
		OCSF: terminate, Category: "process", Action: "end", Tally: []string{AttrAgent},
	},
	{
		Name: NameNetworkDecision, Meaning: "A process reached out, or asked for a kind of socket that no session may have.",
		Attributes: all(whoAndWhy, whatWasDecided, []string{
			AttrDestinationAddress, AttrDestinationPort, AttrServerAddress, AttrNetworkTransport, AttrNetworkType, AttrCoalesced, AttrSocketKind,
			AttrDNSQuestionName, AttrDNSQuestionType, AttrDNSAlias,
			AttrProcessExecutablePath,
		}),
		OCSF: connection, Category: "network", Action: "connection",
		Tally: []string{AttrAgent, AttrDecision, AttrDecisionEnforced, AttrRule, AttrDestinationAddress, AttrDNSQuestionName},
	},
	{
		Name: NameNetworkConnection,
		Meaning: "A connection that went through the managed network ended, or was refused; of what a client sends to a proxy as URLs, each request. With `paddock.network.first_host`: " +
			"on a connection that is open, another host was judged, or another method, or somebody else decided, or it was refused or cut; once for each of these, at once, without bytes; beyond 64 hosts and 64 methods, once a second.",
		Attributes: all(whoAndWhy, whatWasDecided, []string{
			AttrServerAddress, AttrServerPort, AttrNameLearned, AttrProtocol, AttrHTTPMethod, AttrDestinationAddress, AttrDestinationPort,
			AttrNetworkTransport, AttrNetworkType, AttrDecisionBy, AttrDecisionCause, AttrBytesSent, AttrBytesReceived, AttrConnectionDuration,
			AttrConnectionHeld, AttrConnectionFirst, AttrConnectionCut, AttrConnectionUntold, AttrTLSECH, AttrProcessExecutablePath, AttrErrorMessage,
			AttrConnectionID, AttrConnectionLost,
		}),
		OCSF: connection, Category: "network", Action: "connection",
		Tally: []string{AttrAgent, AttrDecision, AttrDecisionEnforced, AttrRule, AttrServerAddress},
	},
	{
		Name:    NameNetworkOpen,
		Meaning: "A connection that went through the managed network is open for half a minute. Its end has an event of its own, also if Paddock is killed before.",
		Attributes: all(whoAndWhy, whatWasDecided, []string{
			AttrServerAddress, AttrServerPort, AttrNameLearned, AttrProtocol, AttrHTTPMethod, AttrDestinationAddress, AttrDestinationPort,
			AttrNetworkTransport, AttrNetworkType, AttrDecisionBy, AttrDecisionCause, AttrBytesSent, AttrBytesReceived, AttrConnectionDuration,
			AttrConnectionHeld, AttrTLSECH, AttrProcessExecutablePath, AttrConnectionID,
		}),
		OCSF: connection, Category: "network", Action: "open",
	},
	{
		Name: NameFileDecision, Meaning: "The boundary kept a process from a file, or from a service behind a unix socket. What is allowed is not recorded.",
		Attributes: all(whoAndWhy, whatWasDecided, []string{AttrFilePath, AttrFileOperation, AttrFileID, AttrProcessExecutablePath}),
		OCSF:       fileActivity, Category: "file", Action: "denied",
		Tally: []string{AttrAgent, AttrDecision, AttrDecisionEnforced, AttrFileOperation},
	},
	{
		Name: NameFileChanged, Meaning: "A file changed that manages agents or Paddock, or was put back; of users' start-up files, where no boundary protects them, what sessions changed.",
		Attributes: all(whoAndWhy, []string{
			AttrFilePath, AttrFileOperation, AttrFileRole, AttrFileBy, AttrFileSum, AttrFileSumBefore, AttrFileMode, AttrFileRestored, AttrFileWhileDown,
			AttrFileFolded, AttrProcessExecutablePath, AttrProcessCommandArgs, AttrProcessWorkingDir, AttrErrorMessage,
		}),
		OCSF: fileActivity, Category: "file", Action: "change", Tally: []string{AttrFileRole, AttrFileBy, AttrFileOperation},
	},
	{
		Name: NameHoldKilled, Meaning: "A process was killed before it was judged, or because it ran before it was released.",
		Attributes: all(whoAndWhy, whatWasDecided, whichProgram, []string{AttrKillReason}),
		OCSF:       launch, Category: "process", Action: "denied", Tally: []string{AttrAgent, AttrKillReason},
	},
	{
		Name: NameTamper, Meaning: "A session reached for Paddock, for a process that Paddock holds, for one outside of it or for the machine itself, and was refused. Without a session: somebody outside took the kernel side apart.",
		Attributes: all(whoAndWhy, whatWasDecided, []string{AttrTamperOperation, AttrTamperTarget, AttrTamperSignal, AttrTamperObject, AttrTamperMended, AttrProcessExecutablePath}),
		OCSF:       finding, Category: "intrusion_detection", Action: "denied", Tally: []string{AttrAgent, AttrGate},
	},
	{
		Name: NameApprovalRequested, Meaning: "Somebody is asked, or a reviewer in the person's place. The same question of a session is asked once.",
		Attributes: all(whoAndWhy, whatWasDecided, whichQuestion, []string{AttrApprovalID}), OCSF: finding, Category: "process", Action: "info",
		Tally: []string{AttrAgent, AttrApprovalKind, AttrRule},
	},
	{
		Name: NameApprovalAnswered, Meaning: "There is an answer, of a person or of what stands for one.",
		Attributes: all(whoAndWhy, whatWasDecided, whichQuestion, whichAnswer), OCSF: finding, Category: "process", Action: "info",
		Tally: []string{AttrAgent, AttrApprovalState, AttrApprovalBy, AttrRule},
	},
	{
		Name: NameApprovalExpired, Meaning: "Nobody answered in time: denied.",
		Attributes: all(whoAndWhy, whatWasDecided, whichQuestion, whichAnswer), OCSF: finding, Category: "process", Action: "denied",
		Tally: []string{AttrAgent, AttrRule},
	},
	{
		Name: NameApprovalCancelled, Meaning: "No answer is needed any more: what waited has ended, or the requirements have changed.",
		Attributes: all(whoAndWhy, whatWasDecided, whichQuestion, whichAnswer), OCSF: finding, Category: "process", Action: "info",
		Tally: []string{AttrAgent, AttrApprovalBy},
	},
	{
		Name: NameApprovalOverflow, Meaning: "A session asks more than people can answer: denied without asking, told once.",
		Attributes: all(whoAndWhy, whatWasDecided, whichQuestion, whichAnswer), OCSF: finding, Category: "process", Action: "denied",
		Tally: []string{AttrAgent},
	},
	{
		Name: NameApprovalRefused, Meaning: "Somebody answered who may not: an agent, another user, a program that speaks for nobody.",
		Attributes: all(whoAndWhy, whatWasDecided, []string{AttrApprovalID, AttrApprovalMerged}), OCSF: finding, Category: "intrusion_detection", Action: "denied",
		Tally: []string{AttrProcessUserID},
	},
	{
		Name: NameApprovalRevoked, Meaning: "An answer of scope `session` or `always` holds no more.",
		Attributes: all(whoAndWhy, whichAnswer), OCSF: finding, Category: "process", Action: "change", Tally: []string{AttrAgent},
	},
	{
		Name: NameHookPrompt, Meaning: "A person asked the agent for something; its hook tells.",
		Attributes: all(whoAndWhy, whatHooksTell, []string{AttrPrompt}), OCSF: base, Category: "process", Action: "info", Tally: []string{AttrAgent},
	},
	{
		Name: NameHookTool, Meaning: "An agent is about to call a tool, its hook asks, and this is the answer; no decision: the rules have nothing against it.",
		Attributes: all(whoAndWhy, whatWasDecided, whatHooksTell), OCSF: base, Category: "process", Action: "info", Tally: []string{AttrAgent, AttrToolName, AttrDecision},
	},
	{
		Name: NameHookResult, Meaning: "A tool call of an agent is over; its hook tells.",
		Attributes: all(whoAndWhy, whatHooksTell, []string{AttrToolOutput}), OCSF: base, Category: "process", Action: "info", Tally: []string{AttrAgent, AttrToolName},
	},
	{
		Name: NameHookEvent, Meaning: "Anything else an agent tells its hook: that it wants permission, that a session begins or ends, its last words of a turn.",
		Attributes: all(whoAndWhy, whatWasDecided, whatHooksTell, []string{AttrHookDetail, AttrHookMessage, AttrToolOutput, AttrPrompt}),
		OCSF:       base, Category: "process", Action: "info", Tally: []string{AttrAgent, AttrHookEvent},
	},
	{
		Name: NamePolicyApplied, Meaning: "Other requirements are in force.",
		Attributes: []string{
			AttrPolicyGeneration, AttrMode, AttrPolicyRules, AttrPolicySources, AttrPolicyDigests, AttrPolicyProvenance,
			AttrPolicyStrictest, AttrPolicyLastKnown,
		},
		OCSF: settings, Category: "configuration", Action: "change", Tally: []string{AttrMode, AttrPolicyStrictest, AttrPolicyLastKnown},
	},
	{
		Name: NamePolicyRejected, Meaning: "A source of requirements cannot be used, or not all of them together.",
		Attributes: []string{AttrPolicySource, AttrErrorMessage},
		OCSF:       settings, Category: "configuration", Action: "error", Tally: []string{AttrPolicySource},
	},
	{
		Name: NameCanaryResult, Meaning: "A gate was tried with a harmless attempt.",
		Attributes: []string{AttrGate, AttrTier, AttrCanaryProven, AttrCanaryDetail},
		OCSF:       finding, Category: "configuration", Action: "info", Tally: []string{AttrGate, AttrTier, AttrCanaryProven},
	},
	{
		Name: NameTelemetryGap, Meaning: "Events are missing here.",
		Attributes: []string{
			AttrGapCause, AttrGapCount, AttrGapFirstSeq, AttrGapLastSeq, AttrGapFrom, AttrGapTo, AttrGapSink, AttrGapFile, AttrErrorMessage,
		},
		OCSF: base, Category: "process", Action: "error", Tally: []string{AttrGapCause, AttrGapSink}, Sum: AttrGapCount,
	},
	{
		Name: NameDaemonStart, Meaning: "Paddock started. A start without a stop before it follows a crash or a kill.",
		Attributes: []string{AttrVersion, AttrProcessPID}, OCSF: lifecycle, Category: "process", Action: "start", Tally: []string{AttrVersion},
	},
	{
		Name: NameDaemonHeartbeat, Meaning: "Paddock lives. A machine from which none comes is silent: off, out of reach, or without Paddock.",
		Attributes: []string{
			AttrVersion, AttrProcessPID, AttrUptime, AttrHeartbeat, AttrSessionsLive, AttrMode, AttrPolicyGeneration, AttrPolicyStrictest, AttrPolicyLastKnown,
			AttrGatesUnproven,
		},
		OCSF: lifecycle, Category: "process", Action: "info",
	},
	{
		Name: NameDaemonStop, Meaning: "Paddock stops in order.",
		Attributes: []string{AttrVersion, AttrProcessPID}, OCSF: Class{6002, "Application Lifecycle", 6, 4, 4}, Category: "process", Action: "end",
	},
}
