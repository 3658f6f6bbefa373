// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// event says what there is to say of an approval.
func event(name string, severity telemetry.Severity, a *Approval) telemetry.Event {
	attrs := map[string]any{
		telemetry.AttrApprovalKind: string(a.Kind), telemetry.AttrApprovalMerged: int64(a.Merged),
		telemetry.AttrProcessUserID: int64(a.UID), telemetry.AttrDecisionReason: a.Reason,
	}
	for key, text := range map[string]string{
		telemetry.AttrApprovalID: a.ID, telemetry.AttrAgent: a.Agent, telemetry.AttrSurface: a.Surface, telemetry.AttrProcessOwner: a.User,
		telemetry.AttrProcessWorkingDir: a.Cwd, telemetry.AttrProcessExecutablePath: a.Program, telemetry.AttrRule: a.Rule,
		telemetry.AttrDecisionSource: a.Source, telemetry.AttrToolCallID: a.ToolCall, telemetry.AttrApprovalRisk: a.Risk,
		telemetry.AttrDestinationAddress: a.Host, telemetry.AttrNetworkTransport: a.Protocol, telemetry.AttrFilePath: a.Path,
		telemetry.AttrApprovalTool: a.Tool,
	} {
		if text != "" {
			attrs[key] = text
		}
	}
	if len(a.Argv) > 0 {
		attrs[telemetry.AttrProcessCommandArgs] = a.Argv
	}
	if a.Port != 0 {
		attrs[telemetry.AttrDestinationPort] = int64(a.Port)
	}
	if a.Answer != nil {
		answerAttrs(attrs, a)
	}
	return telemetry.Event{Name: name, Severity: severity, Session: a.Session, Attrs: attrs}
}

// Describe adds to the event of an action what its approval has decided.
func Describe(attrs map[string]any, a *Approval) {
	if a.ID != "" {
		attrs[telemetry.AttrApprovalID] = a.ID
	}
	if a.Answer != nil {
		answerAttrs(attrs, a)
	}
}

func answerAttrs(attrs map[string]any, a *Approval) {
	attrs[telemetry.AttrApprovalState] = string(a.State)
	attrs[telemetry.AttrApprovalBy] = a.Answer.By
	attrs[telemetry.AttrApprovalSeconds] = a.Answer.At.Sub(a.Asked).Seconds()
	for key, text := range map[string]string{
		telemetry.AttrApprovalScope: string(a.Answer.Scope), telemetry.AttrApprovalUser: a.Answer.User,
		telemetry.AttrApprovalProof: a.Answer.Proof, telemetry.AttrApprovalReason: a.Answer.Reason,
	} {
		if text != "" {
			attrs[key] = text
		}
	}
	if a.Answer.Root {
		attrs[telemetry.AttrApprovalRoot] = true
	}
	if a.Answer.Scope == Always && a.Always != "" {
		attrs[telemetry.AttrApprovalRule] = a.Always
	}
}

// finished is the event of a question that is over.
func finished(a *Approval) telemetry.Event {
	switch a.State {
	case Expired:
		return event(telemetry.NameApprovalExpired, telemetry.Warn, a)
	case Cancelled:
		return event(telemetry.NameApprovalCancelled, telemetry.Info, a)
	case Denied:
		return event(telemetry.NameApprovalAnswered, telemetry.Warn, a)
	case Pending, Allowed:
	}
	return event(telemetry.NameApprovalAnswered, telemetry.Info, a)
}
