// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"net"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/seed-649e9bbc/paddock/daemon/approval"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

const (
	eventTime    = "2006-01-02 15:04:05.000"
	sessionShort = 8 // characters: those a ULID draws anew last
	subjectWidth = 44
)

var eventsHeader = eventLine("TIME", "SESSION", "DECISION", "WHAT", "WHY")

func eventLine(when, session, decision, what, why string) string {
	line := fmt.Sprintf("%-*s  %-*s  %-11s  ", len(eventTime), when, sessionShort, session, decision)
	if why != "" {
		// In runes, as fmt counts, until there is something better.
		what += strings.Repeat(" ", max(0, subjectWidth-utf8.RuneCountInString(what))) + "  " + why
	}
	return strings.TrimRight(line+what, " ")
}

// writeEvent writes an event as a line for people.
func (a *app) writeEvent(w io.Writer, e *telemetry.Event) error {
	session := e.Session[max(0, len(e.Session)-sessionShort):]
	v := view(e.Attrs)
	_, err := fmt.Fprintln(w, eventLine(e.Time.In(a.zone).Format(eventTime), plain(session), plain(v.decision()), plain(v.what(e.Name)), plain(v.why(e.Name))))
	return err
}

// view reads attributes; what is not there, or of another type, is "".
type view map[string]any

func (v view) text(key string) string {
	switch x := v[key].(type) {
	case string:
		return x
	case int64:
		return strconv.FormatInt(x, 10)
	case []string:
		return strings.Join(x, ", ")
	}
	return ""
}

// allowed is the decision that nothing else was to be enforced for.
const allowed = "allow"

// decision in brackets is one that was not enforced.
func (v view) decision() string {
	d := v.text(telemetry.AttrDecision)
	if state := v.text(telemetry.AttrApprovalState); state != "" && d != "" {
		return state // what came of "prompt"
	}
	if enforced, ok := v[telemetry.AttrDecisionEnforced].(bool); ok && !enforced && d != "" && d != allowed {
		return "(" + d + ")"
	}
	return d
}

func (v view) what(name string) string {
	if strings.HasPrefix(name, "paddock.agent.") {
		return v.said(name)
	}
	switch name {
	case telemetry.NameTelemetryRefused:
		return v.count(telemetry.AttrRefusedCount) + " records of telemetry refused: " + v.text(telemetry.AttrRefusedCause)
	case telemetry.NameProcessExec:
		return v.command()
	case telemetry.NameProcessExit:
		if s := v.text(telemetry.AttrProcessSignal); s != "" && s != "0" {
			return v.program() + " ended by signal " + s
		}
		return v.program() + " ended with " + v.text(telemetry.AttrProcessExitCode)
	case telemetry.NameNetworkDecision:
		if kind := v.text(telemetry.AttrSocketKind); kind != "" {
			return v.program() + ": socket " + kind
		}
		to := net.JoinHostPort(v.text(telemetry.AttrDestinationAddress), v.text(telemetry.AttrDestinationPort))
		return v.program() + ": " + v.text(telemetry.AttrNetworkTransport) + " " + to
	case telemetry.NameNetworkOpen:
		return v.program() + ": open for long: " + net.JoinHostPort(v.text(telemetry.AttrServerAddress), v.text(telemetry.AttrServerPort))
	case telemetry.NameNetworkConnection:
		to := net.JoinHostPort(v.text(telemetry.AttrServerAddress), v.text(telemetry.AttrServerPort))
		if first := v.text(telemetry.AttrConnectionFirst); first != "" {
			return fmt.Sprintf("%s: %s %s (on its connection to %s)", v.program(), strings.TrimPrefix(v.text(telemetry.AttrProtocol), "socks5_"), to, first)
		}
		return fmt.Sprintf("%s: %s %s (%s sent, %s received)", v.program(), strings.TrimPrefix(v.text(telemetry.AttrProtocol), "socks5_"), to,
			v.count(telemetry.AttrBytesSent), v.count(telemetry.AttrBytesReceived))
	case telemetry.NameFileDecision:
		return v.program() + ": " + v.text(telemetry.AttrFileOperation) + " " + word(v.text(telemetry.AttrFilePath))
	case telemetry.NameSessionStart:
		return "session starts: " + strings.TrimSpace(v.text(telemetry.AttrAgent)+" "+v.text(telemetry.AttrAgentVersion)) +
			" (" + v.text(telemetry.AttrSurface) + ", " + v.text(telemetry.AttrSessionHow) + ")"
	case telemetry.NameSessionEnd:
		return fmt.Sprintf("session ends: %s execs (%s denied), %s connects (%s denied)",
			v.count(telemetry.AttrSessionExecs), v.count(telemetry.AttrSessionDenied),
			v.count(telemetry.AttrSessionConnects), v.count(telemetry.AttrSessionNetDenied))
	case telemetry.NameHookPrompt:
		return "prompt: " + v.text(telemetry.AttrPrompt)
	case telemetry.NameHookTool:
		return "calls " + v.text(telemetry.AttrToolName) + ": " + v.text(telemetry.AttrToolArguments)
	case telemetry.NameHookResult:
		return "called " + v.text(telemetry.AttrToolName) + ": " + v.text(telemetry.AttrToolOutput)
	case telemetry.NameHookEvent:
		return "hook " + v.text(telemetry.AttrHookEvent) + ": " + v.text(telemetry.AttrHookDetail) + v.text(telemetry.AttrToolName)
	case telemetry.NamePolicyApplied:
		return fmt.Sprintf("requirements %s in force: %s, %s rules", v.text(telemetry.AttrPolicyGeneration), v.text(telemetry.AttrMode), v.count(telemetry.AttrPolicyRules))
	case telemetry.NamePolicyRejected:
		return "requirements rejected: " + v.text(telemetry.AttrPolicySource)
	case telemetry.NameCanaryResult:
		proven := "not proven"
		if yes, ok := v[telemetry.AttrCanaryProven].(bool); ok && yes {
			proven = "proven"
		}
		return "gate " + v.text(telemetry.AttrGate) + " (" + v.text(telemetry.AttrTier) + ") " + proven
	case telemetry.NameTelemetryGap:
		n := v.text(telemetry.AttrGapCount)
		if n == "" {
			n = "an unknown number of"
		}
		return n + " events are missing"
	case telemetry.NameDaemonStart:
		return "Paddock " + v.text(telemetry.AttrVersion) + " starts"
	case telemetry.NameDaemonStop:
		return "Paddock stops"
	case telemetry.NameLaunch:
		return v.text(telemetry.AttrAgent) + " starts with " + v.text(telemetry.AttrLaunchFindings)
	case telemetry.NameHoldKilled:
		return v.command() + " killed"
	case telemetry.NameDaemonHeartbeat:
		return "Paddock lives: " + v.count(telemetry.AttrSessionsLive) + " sessions"
	case telemetry.NameFileChanged:
		return v.fileChanged()
	case telemetry.NameTamper:
		if object := v.text(telemetry.AttrTamperObject); object != "" {
			return "the kernel side was changed: " + v.text(telemetry.AttrTamperOperation) + " of " + object
		}
		if op := v.text(telemetry.AttrTamperOperation); op != "" {
			return v.program() + ": " + strings.TrimSpace(op+" "+v.text(telemetry.AttrTamperTarget))
		}
		return v.program() + ": signal " + v.text(telemetry.AttrTamperSignal) + " to process " + v.text(telemetry.AttrTamperTarget)
	case telemetry.NameApprovalRequested:
		return "approval asked: " + v.subject()
	case telemetry.NameApprovalAnswered:
		return v.text(telemetry.AttrApprovalState) + ": " + v.subject()
	case telemetry.NameApprovalExpired:
		return "approval expired: " + v.subject()
	case telemetry.NameApprovalCancelled:
		return "approval cancelled: " + v.subject()
	case telemetry.NameApprovalOverflow:
		return "too many questions: " + v.subject()
	case telemetry.NameApprovalRefused:
		return "answer refused: process " + v.text(telemetry.AttrProcessPID) + " of user " + v.text(telemetry.AttrProcessUserID)
	case telemetry.NameApprovalRevoked:
		return "approval revoked: " + v.text(telemetry.AttrApprovalRule)
	}
	return name
}

// fileChanged says what became of a file that is watched.
func (v view) fileChanged() string {
	path := word(v.text(telemetry.AttrFilePath))
	if restored, ok := v[telemetry.AttrFileRestored].(bool); ok && restored {
		return path + " is put back"
	} else if ok {
		return path + " is not put back"
	}
	who := v.text(telemetry.AttrFileBy)
	if pid := v.text(telemetry.AttrProcessPID); pid != "" {
		who += ", " + v.program() + " (" + pid + ")"
	}
	return v.text(telemetry.AttrFileOperation) + " of " + path + ", by " + who
}

// subject is what an approval is about.
func (v view) subject() string {
	switch approval.Kind(v.text(telemetry.AttrApprovalKind)) {
	case approval.Connection:
		return net.JoinHostPort(v.text(telemetry.AttrDestinationAddress), v.text(telemetry.AttrDestinationPort))
	case approval.File:
		return word(v.text(telemetry.AttrFilePath))
	case approval.Tool:
		return word(v.text(telemetry.AttrApprovalTool))
	case approval.Command:
	}
	return v.command()
}

// said is what an agent reports of itself.
func (v view) said(name string) string {
	tool := strings.TrimSpace(v.text(telemetry.AttrMCPServer) + " " + v.text(telemetry.AttrToolName))
	decided := strings.TrimSpace(v.text(telemetry.AttrAgentDecision) + " by " + v.text(telemetry.AttrAgentDecidedBy))
	switch name {
	case telemetry.NameAgentSession:
		return "the agent begins: approvals " + v.text(telemetry.AttrApprovalPolicy) + ", sandbox " + v.text(telemetry.AttrSandboxPolicy)
	case telemetry.NameAgentPrompt:
		return "asked: " + brief(v.text(telemetry.AttrPrompt))
	case telemetry.NameAgentToolDecision:
		return "the agent's decision on " + tool + ": " + decided
	case telemetry.NameAgentToolResult:
		return "the agent's tool " + tool + ": " + brief(v.text(telemetry.AttrToolArguments))
	case telemetry.NameAgentReview:
		return "the agent's reviewer: " + v.text(telemetry.AttrAgentDecision) + ", risk " + v.text(telemetry.AttrReviewRisk)
	case telemetry.NameAgentNetwork:
		return "the agent's proxy: " + v.text(telemetry.AttrServerAddress) + " " + decided
	case telemetry.NameAgentSandbox:
		return "the agent's sandbox: " + v.text(telemetry.AttrAgentDecision)
	case telemetry.NameAgentModel:
		return "the agent's model " + v.text(telemetry.AttrModel) + ": " + v.text(telemetry.AttrRecordName)
	case telemetry.NameAgentMetric:
		return "the agent's metric " + v.text(telemetry.AttrMetricName)
	case telemetry.NameAgentSpan:
		return "the agent's span " + v.text(telemetry.AttrRecordName)
	}
	return "the agent says: " + brief(v.text(telemetry.AttrRecordName)+" "+v.text(telemetry.AttrRecordBody))
}

func (v view) why(name string) string {
	if by := v.text(telemetry.AttrApprovalBy); by != "" {
		text := "by " + strings.TrimSpace(by+" "+v.text(telemetry.AttrApprovalUser))
		if reason := v.text(telemetry.AttrApprovalReason); reason != "" {
			text += " (" + reason + ")"
		}
		return text + ": " + v.text(telemetry.AttrDecisionReason)
	}
	for _, key := range []string{
		telemetry.AttrDecisionReason, telemetry.AttrKillReason, telemetry.AttrCanaryDetail, telemetry.AttrGapCause,
		telemetry.AttrErrorMessage,
	} {
		if s := v.text(key); s != "" {
			return s
		}
	}
	if name == telemetry.NamePolicyApplied {
		return v.text(telemetry.AttrPolicySources)
	}
	return ""
}

func (v view) count(key string) string {
	if s := v.text(key); s != "" {
		return s
	}
	return "0"
}

// command is the argv, else the best there is.
func (v view) command() string {
	args, _ := v[telemetry.AttrProcessCommandArgs].([]string)
	if len(args) == 0 {
		return v.program()
	}
	line := commandLine(args, maxCommand)
	if v.text(telemetry.AttrArgsTruncated) != "" && !strings.HasSuffix(line, "…") {
		line += "…"
	}
	return line
}

// program names a process for people.
func (v view) program() string {
	if name := v.text(telemetry.AttrProcessExecutableName); name != "" {
		return word(name)
	}
	if p := v.text(telemetry.AttrProcessExecutablePath); p != "" {
		return word(path.Base(p))
	}
	if p := v.text(telemetry.AttrCalledAs); p != "" {
		return word(path.Base(p))
	}
	return "process " + v.text(telemetry.AttrProcessPID)
}
