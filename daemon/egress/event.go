// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"context"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// record tells what became of the connection.
func (c *conn) record() {
	c.mu.Lock()
	j, failed, untold := c.judged, c.err, c.told.untold
	c.mu.Unlock()
	if j == nil {
		j = &judgement{ // the client left before it said anything
			claim: claim{host: policy.HostOf(c.flow.Dest.Addr()), port: c.flow.Dest.Port(), learned: learnedNone}, by: "client", mode: policy.Enforce,
			verdict: policy.HostVerdict{Cause: policy.CauseNotAllowed, Reason: "the client closed the connection before it was judged"},
		}
	}
	flow := c.flow
	flow.open, flow.untold = c.lasting.id(), untold
	c.engine.record(flow, j, c.began, c.up.Load(), c.down.Load(), failed)
}

// recordTime bounds how long an event may wait for the store.
const recordTime = 10 * time.Second

func (e *Engine) record(flow Flow, j *judgement, began time.Time, up, down int64, failed error) {
	event := connectionEvent(flow, j)
	event.Attrs[telemetry.AttrBytesSent] = up
	event.Attrs[telemetry.AttrBytesReceived] = down
	event.Attrs[telemetry.AttrConnectionDuration] = time.Since(began).Milliseconds()
	if failed != nil {
		event.Attrs[telemetry.AttrErrorMessage] = failed.Error()
	}
	e.tell(event)
}

// connectionEvent says who went where, and who decided what about it.
func connectionEvent(flow Flow, j *judgement) telemetry.Event {
	a := map[string]any{
		telemetry.AttrGate:             "egress",
		telemetry.AttrNameLearned:      j.learned,
		telemetry.AttrProtocol:         j.protocol.String(),
		telemetry.AttrNetworkTransport: "tcp",
		telemetry.AttrDecision:         j.verdict.Decision.String(),
		telemetry.AttrDecisionBy:       j.by,
		telemetry.AttrDecisionCause:    string(j.verdict.Cause),
		telemetry.AttrDecisionReason:   j.verdict.Reason,
		telemetry.AttrDecisionEnforced: j.mode == policy.Enforce,
		telemetry.AttrMode:             j.mode.String(),
		telemetry.AttrPolicyGeneration: int64(j.generation),
	}
	if j.host.IsValid() {
		a[telemetry.AttrServerAddress] = j.host.String()
		a[telemetry.AttrServerPort] = int64(j.port)
	}
	if flow.Dest.IsValid() {
		a[telemetry.AttrDestinationAddress] = flow.Dest.Addr().String()
		a[telemetry.AttrDestinationPort] = int64(flow.Dest.Port())
		a[telemetry.AttrNetworkType] = "ipv6"
		if flow.Dest.Addr().Is4() {
			a[telemetry.AttrNetworkType] = "ipv4"
		}
	}
	if j.mode == policy.Enforce {
		a[telemetry.AttrDecision] = policy.NetDeny.String()
		if j.allow {
			a[telemetry.AttrDecision] = policy.NetAllow.String()
		}
	}
	for key, value := range map[string]string{
		telemetry.AttrAgent: flow.Agent, telemetry.AttrProcessExecutablePath: flow.Exe, telemetry.AttrToolCallID: flow.Why.ToolCallID,
		telemetry.AttrThreadID: flow.Why.ThreadID, telemetry.AttrRule: j.verdict.Rule, telemetry.AttrDecisionSource: j.verdict.Origin(),
		telemetry.AttrHTTPMethod: j.method, telemetry.AttrConnectionID: flow.open,
	} {
		if value != "" {
			a[key] = value
		}
	}
	for key, value := range flow.Why.Attrs {
		a[key] = value
	}
	if flow.PID != 0 {
		a[telemetry.AttrProcessPID] = int64(flow.PID)
		a[telemetry.AttrProcessStart] = int64(flow.Start)
		a[telemetry.AttrProcessUserID] = int64(flow.UID)
	}
	if j.held > 0 {
		a[telemetry.AttrConnectionHeld] = j.held.Milliseconds()
	}
	if flow.untold > 0 {
		a[telemetry.AttrConnectionUntold] = flow.untold
	}
	if j.ech {
		a[telemetry.AttrTLSECH] = true
	}
	severity := telemetry.Info
	if !j.allow {
		severity = telemetry.Warn
	}
	return telemetry.Event{Name: telemetry.NameNetworkConnection, Severity: severity, Session: flow.Session, Attrs: a}
}

// tell records events.
func (e *Engine) tell(events ...telemetry.Event) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.ctx), recordTime)
	defer cancel()
	if err := e.recorder.Record(ctx, events...); err != nil {
		e.counters.lost.Add(uint64(len(events)))
		if others, now := e.unrecorded.now(time.Now()); now {
			e.log.Error("recording a connection", "error", err, "others", others)
		}
	}
}
