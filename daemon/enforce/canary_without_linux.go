// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/sandbox"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

// canaryBoxEnv tells the canary which sandbox to enter.
const canaryBoxEnv = "PADDOCK_CANARY_SANDBOX"

// gateRead is the part of the boundary that can be kept without the rest.
const gateRead = "boundary.read"

// What every gate that stands on Landlock says of itself.
const onlyRun = "only sessions that `paddock run` starts"

const saidEACCES = "EACCES"

// What proves the gates of the boundary where security hooks cannot be had.
func withoutProofs(version int) (landlock []proof, fanotify proof) {
	files := map[string]string{
		"write inside": saidDone, "create inside": saidDone, "write": saidEACCES, "create": saidEACCES, "remove": saidEACCES, "directory": saidEACCES,
		"symlink": saidEACCES, "read": saidDone, "read secret": saidEACCES,
	}
	if version >= sandbox.NeedsTruncate {
		files["truncate"] = saidEACCES
	}
	landlock = []proof{
		{gate: "boundary", want: files},
		{gate: "ptrace", want: map[string]string{"memory of init": saidEPERM}},
	}
	return landlock, proof{gate: gateRead, want: map[string]string{"read": saidDone, "read secret": saidEPERM, "list secret": saidEPERM}}
}

// proveWithout sends the canary where neither kind of security hook can be had: to
// what fanotify asks about, and then into a Landlock domain.
func (e *Enforcer) proveWithout(ctx context.Context, g *generation, why string) []Gate {
	asking := e.watchOpens(g.boundary)
	seen, err := e.tryWithout(ctx, g)
	if err != nil {
		e.Log.Error("the boundary is not proven", "error", err)
	}
	now := time.Now()
	landlock, fanotify := withoutProofs(sandbox.Version())
	var out []Gate
	for _, p := range landlock {
		gate := p.judge(nil, string(ebpf.None), why, now)
		switch {
		case err != nil:
			gate.Detail = firstLine(err)
		case g.limits.NoLandlock:
			gate.Detail = why + "; requirements do without Landlock"
		case sandbox.Version() == 0:
			gate.Detail = why + "; there is no Landlock either"
		default:
			gate = p.judge(seen.Bounds, tierLandlock, why, now)
		}
		if gate.Proven {
			gate.Detail = onlyRun
		}
		if gate.Proven && p.gate == "boundary" {
			gate.Detail += "; not kept: what is protected inside a writable place, lists of directories, modes and attributes"
		}
		out = append(out, gate)
	}
	read := fanotify.judge(nil, string(ebpf.None), why, now)
	switch {
	case err != nil:
		read.Detail = firstLine(err)
	case asking != nil:
		read.Detail = firstLine(asking)
	case g.limits.NoFanotify:
		read.Detail = why + "; requirements do without fanotify"
	default:
		read = fanotify.judge(seen.Outside, tierFanotify, why, now)
	}
	if missing := e.opens.missing(); read.Proven && missing != "" {
		read.Detail = missing
	}
	out = append(out, read)

	// Landlock keeps a part of these, and a part is not the gate.
	parts := []struct {
		gate string
		kept map[string]string // what, by attempt
		open string
	}{
		{"unix", map[string]string{"abstract socket": "abstract sockets of others are refused to sessions that `paddock run` starts"}, "sockets with a path can be reached"},
		{"machine", map[string]string{"mount": "mounting is refused to sessions that `paddock run` starts"}, "bpf(2), modules and input to terminals are as the user's permissions are"},
	}
	for _, part := range parts {
		detail := []string{why, part.open}
		for attempt, text := range part.kept {
			if seen.Bounds[attempt] == saidEPERM {
				detail = append(detail, text)
			}
		}
		out = append(out, Gate{Gate: part.gate, Tier: string(ebpf.None), Checked: now, Detail: strings.Join(detail, "; ")})
	}
	return out
}

func (e *Enforcer) tryWithout(ctx context.Context, g *generation) (findings, error) {
	place, err := e.newCanaryPlace()
	if err != nil {
		return findings{}, err
	}
	defer place.close()
	if err := e.opens.also(filepath.Join(place.dir, placeSecret)); err != nil {
		return findings{}, fmt.Errorf("asking about the canary's secret: %w", err)
	}
	if !e.landlocked(g) {
		place.box = "{}"
	} else {
		box, err := json.Marshal(sandbox.Ruleset{
			Reading: true, Read: []string{filepath.Join(place.dir, placeIn), filepath.Join(place.dir, placeOut), "/dev", "/proc"},
			Writing: true, Write: []string{filepath.Join(place.dir, placeIn)},
		})
		if err != nil {
			return findings{}, fmt.Errorf("writing the canary's sandbox: %w", err)
		}
		place.box = string(box)
	}
	seen, err := e.releaseTo(ctx, place)
	if err != nil {
		return seen, fmt.Errorf("sending the canary to the boundary: %w", err)
	}
	return seen, nil
}

// enter is the canary's part.
func enter(box string) error {
	var r sandbox.Ruleset
	if err := json.Unmarshal([]byte(box), &r); err != nil {
		return fmt.Errorf("reading the sandbox: %w", err)
	}
	if !r.Reading {
		return nil // there is none
	}
	return r.Restrict()
}
