// SPDX-License-Identifier: Apache-2.0

package join

import (
	"encoding/json"
	"strings"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// view reads an event's attributes; what is not there, or of another type, is
// nothing.
type view struct{ *telemetry.Event }

func (v view) text(key string) string {
	s, _ := v.Attrs[key].(string)
	return s
}

func (v view) number(key string) int64 {
	n, _ := v.Attrs[key].(int64)
	return n
}

func (v view) list(key string) []string {
	l, _ := v.Attrs[key].([]string)
	return l
}

func (v view) truth(key string) (value, there bool) {
	value, there = v.Attrs[key].(bool)
	return value, there
}

// proc is which process the event is of.
func (v view) proc() procKey {
	return procKey{v.number(telemetry.AttrProcessPID), v.number(telemetry.AttrProcessStart)}
}

// procKey is a process: numbers are used again, numbers with their start are not.
type procKey struct{ pid, start int64 }

// program names a process for people.
func (v view) program() string {
	if name := v.text(telemetry.AttrProcessExecutableName); name != "" {
		return name
	}
	return base(v.text(telemetry.AttrProcessExecutablePath))
}

func base(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// decision is what Paddock decided about what the event tells.
func (v view) decision() *Decision {
	what := v.text(telemetry.AttrDecision)
	if what == "" {
		return nil
	}
	d := &Decision{
		At: v.Time, By: ByPaddock, What: what, Reason: v.text(telemetry.AttrDecisionReason), Rule: v.text(telemetry.AttrRule),
		Source: v.text(telemetry.AttrDecisionSource), Held: true, Event: v.ID,
	}
	if held, there := v.truth(telemetry.AttrDecisionEnforced); there {
		d.Held = held
	}
	d.Passed = what == "prompt" && v.text(telemetry.AttrApprovalState) == "allowed"
	return d
}

// allowed is a decision that let something happen.
func (d *Decision) allowed() bool {
	switch d.What {
	case "allow", "allowed", asked: // "allowed" is what became of a question
		return true
	}
	return !d.Held || d.Passed
}

// asked is a decision that leaves it to somebody else.
const asked = "asked"

// Stopped reports whether something was kept from happening.
func (d *Decision) Stopped() bool { return d != nil && !d.allowed() }

// command finds the text of shell, or the words, that a tool was to run.
func command(arguments string) string {
	var fields map[string]json.RawMessage
	if json.Unmarshal([]byte(arguments), &fields) != nil {
		return ""
	}
	for _, key := range []string{"cmd", "command", "full_command", "bash_command", "script"} {
		var s string
		if json.Unmarshal(fields[key], &s) == nil && s != "" {
			return s
		}
		var words []string
		if json.Unmarshal(fields[key], &words) == nil && len(words) > 0 {
			// ["bash", "-lc", "TEXT"] is Codex's older form of a shell call.
			if n := len(words); n >= 3 && strings.HasPrefix(words[n-2], "-") && strings.HasSuffix(words[n-2], "c") {
				return words[n-1]
			}
			return strings.Join(words, " ")
		}
	}
	return ""
}
