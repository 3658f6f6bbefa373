// SPDX-License-Identifier: Apache-2.0

package session

import (
	"slices"
	"strings"
)

// maxLabel bounds a value taken from an environment, in bytes.
const maxLabel = 256

// EnvKeys lists the environment variables that join a process to its agent's
// own telemetry, sorted. Nothing else of an environment is to be kept: it holds
// secrets.
func (p *Profiles) EnvKeys() []string {
	var keys []string
	for i := range p.agents {
		keys = append(keys, p.agents[i].Environment.keys()...)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// Why reads what an environment says. The value of a variable that is not a
// tool call or a thread becomes the attribute paddock.env.<name, lower case>.
// A value is cut at 256 bytes, and what is not UTF-8 in it is replaced.
func (p *Profiles) Why(env map[string]string) Why {
	var why Why
	if len(env) == 0 {
		return why
	}
	for i := range p.agents {
		e := &p.agents[i].Environment
		if v := label(env[e.ToolCall]); e.ToolCall != "" && why.ToolCallID == "" {
			why.ToolCallID = v
		}
		if v := label(env[e.Thread]); e.Thread != "" && why.ThreadID == "" {
			why.ThreadID = v
		}
		for _, key := range e.Keep {
			v, ok := env[key]
			if !ok {
				continue
			}
			if why.Attrs == nil {
				why.Attrs = map[string]string{}
			}
			why.Attrs["paddock.env."+strings.ToLower(key)] = label(v)
		}
	}
	return why
}

// Label makes a value that somebody else chose fit for an event: cut at 256 bytes, and
// valid UTF-8.
func Label(v string) string { return label(v) }

func label(v string) string {
	if len(v) > maxLabel {
		v = v[:maxLabel]
	}
	return strings.ToValidUTF8(v, "\uFFFD")
}
