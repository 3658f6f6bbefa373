// SPDX-License-Identifier: Apache-2.0

package join

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// maxWords bounds the words that are kept of all a process executed.
const maxWords = 256

// exec is a process that executed a program, or was kept from it.
func (f *folding) exec(v view) {
	key := v.proc()
	p := f.processes[key]
	if p == nil {
		p = &Process{PID: key.pid, Start: key.start, At: v.Time, seq: v.Seq, Call: v.text(telemetry.AttrToolCallID)}
		f.processes[key] = p
		f.place(v, p)
	}
	// A process may execute one program after another; the last one is told, the first gives its place.
	if n := v.number(telemetry.AttrProcessParentPID); n != 0 {
		p.Parent = n
	}
	p.Event = v.ID
	p.name = v.program()
	if args := v.list(telemetry.AttrProcessCommandArgs); len(args) > 0 {
		p.Args = args
		if len(p.words) < maxWords {
			p.words = append(p.words, args...)
		}
	} else if called := v.text(telemetry.AttrCalledAs); called != "" {
		p.Args = []string{called}
	}
	for to, key := range map[*string]string{
		&p.Path: telemetry.AttrProcessExecutablePath, &p.Cwd: telemetry.AttrProcessWorkingDir, &p.User: telemetry.AttrProcessOwner,
	} {
		if s := v.text(key); s != "" {
			*to = s
		}
	}
	p.Decision = v.decision()
	if p.Decision == nil && v.Name == telemetry.NameHoldKilled {
		p.Decision = &Decision{At: v.Time, By: ByPaddock, What: "forbidden", Reason: v.text(telemetry.AttrKillReason), Held: true, Event: v.ID}
	}
	if p.Decision.Stopped() {
		f.stopped(v, p)
	}
}

// stopped tells of a command that did not run among the decisions of its call.
func (f *folding) stopped(v view, p *Process) {
	if p.Call == "" {
		return
	}
	c := f.call(v, p.Call)
	d := *p.Decision
	d.About = strings.Join(p.Args, " ")
	c.Decisions = append(c.Decisions, d)
}

// place puts a process below its tool call, or among those without one.
func (f *folding) place(v view, p *Process) {
	if p.Call == "" {
		f.out.Loose = append(f.out.Loose, p)
		return
	}
	c := f.call(v, p.Call)
	c.fromKernel = true
	c.Link = &Link{Exact, "the kernel carried the tool call's id from the agent's own process to this one"}
	c.Processes = append(c.Processes, p)
}

func (f *folding) exit(v view) {
	key := v.proc()
	p := f.processes[key]
	if p == nil {
		return // it never executed anything: a part of its parent
	}
	p.Exit = &Exit{At: v.Time, Code: v.number(telemetry.AttrProcessExitCode), Signal: v.number(telemetry.AttrProcessSignal)}
	if c := f.calls[p.Call]; c != nil && v.Time.After(c.Ended) {
		c.Ended = v.Time
	}
}

func (f *folding) connection(v view) {
	c := Connection{
		At: v.Time, PID: v.number(telemetry.AttrProcessPID), Program: v.program(), Host: v.text(telemetry.AttrServerAddress),
		Address: v.text(telemetry.AttrDestinationAddress), Port: v.number(telemetry.AttrDestinationPort),
		Transport: v.text(telemetry.AttrNetworkTransport), Event: v.ID,
	}
	if kind := v.text(telemetry.AttrSocketKind); kind != "" {
		c.Transport = "socket " + kind
	}
	if c.Port == 0 {
		c.Port = v.number(telemetry.AttrServerPort)
	}
	if d := v.decision(); d != nil {
		c.Decision = *d
	}
	c.Sent, c.Received, c.Error = v.number(telemetry.AttrBytesSent), v.number(telemetry.AttrBytesReceived), v.text(telemetry.AttrErrorMessage)
	id := v.text(telemetry.AttrToolCallID)
	if id == "" {
		f.out.Network = append(f.out.Network, c)
		return
	}
	call := f.call(v, id)
	call.Network = append(call.Network, c)
	if c.Decision.Stopped() {
		d := c.Decision
		d.About = c.To()
		call.Decisions = append(call.Decisions, d)
	}
}

// To is where the connection goes, for people.
func (c *Connection) To() string {
	to := c.Host
	if to == "" {
		to = c.Address
	} else if c.Address != "" && c.Address != c.Host {
		to += " (" + c.Address + ")"
	}
	if c.Port != 0 {
		to += fmt.Sprintf(" port %d", c.Port)
	}
	return strings.TrimSpace(c.Transport + " " + to)
}

func (f *folding) file(v view) {
	file := File{At: v.Time, PID: v.number(telemetry.AttrProcessPID), Path: v.text(telemetry.AttrFilePath), Operation: v.text(attrFileOperation), Event: v.ID}
	if d := v.decision(); d != nil {
		file.Decision = *d
	}
	id := v.text(telemetry.AttrToolCallID)
	if id == "" {
		f.out.Files = append(f.out.Files, file)
		return
	}
	call := f.call(v, id)
	call.Files = append(call.Files, file)
	if file.Decision.Stopped() {
		d := file.Decision
		d.About = strings.TrimSpace(file.Operation + " " + file.Path)
		call.Decisions = append(call.Decisions, d)
	}
}

// slack is how far the agent's clock and ours may be apart: it is one clock, but
// the agent looks at it before and after.
const slack = 250 * time.Millisecond

// assign gives tool calls to processes that carry no id of one: of agents that
// put none into the environment. First those that run the very command an agent
// tells of, with all they started; then, where no process ran its command, those
// that ran at that time.
func (f *folding) assign() {
	if len(f.tools) == 0 || len(f.out.Loose) == 0 {
		return
	}
	loose := f.out.Loose
	f.out.Loose = nil
	matched := map[*Process]*Call{}
	known := map[*Call]bool{}
	for _, p := range loose {
		if c := f.commanded(p, known); c != nil {
			matched[p], known[c] = c, true
		}
	}
	given := map[int64]*Call{} // by pid, while its start is the latest
	for _, p := range loose {
		var c *Call
		var link *Link
		switch parents := given[p.Parent]; {
		case matched[p] != nil:
			c, link = matched[p], &Link{High, "the agent says that it ran this very command at that time"}
		case parents != nil:
			c, link = parents, parents.Link
		default:
			c, link = f.meanwhile(p, known)
		}
		if c == nil {
			f.out.Loose = append(f.out.Loose, p)
			delete(given, p.PID)
			continue
		}
		given[p.PID] = c
		f.give(c, p, link)
	}
	f.move(given)
}

func (f *folding) give(c *Call, p *Process, link *Link) {
	p.Call = c.ID
	if c.Link == nil {
		c.Link = link
	}
	c.Processes = append(c.Processes, p)
	if p.Decision.Stopped() {
		d := *p.Decision
		d.About = strings.Join(p.Args, " ")
		c.Decisions = append(c.Decisions, d)
	}
}

// move gives what such processes reached for to their calls.
func (f *folding) move(given map[int64]*Call) {
	f.out.Network = slices.DeleteFunc(f.out.Network, func(n Connection) bool {
		c := given[n.PID]
		if c != nil {
			c.Network = append(c.Network, n)
		}
		return c != nil
	})
	f.out.Files = slices.DeleteFunc(f.out.Files, func(n File) bool {
		c := given[n.PID]
		if c != nil {
			c.Files = append(c.Files, n)
		}
		return c != nil
	})
}

// commanded finds the call whose command is one of the process's words: a shell
// is given the whole of it as one.
func (f *folding) commanded(p *Process, known map[*Call]bool) *Call {
	for _, t := range f.tools {
		command := strings.TrimSpace(t.call.Command)
		if command == "" || t.call.fromKernel || known[t.call] || p.At.Before(t.from.Add(-slack)) || p.At.After(t.to.Add(slack)) {
			continue
		}
		if slices.ContainsFunc(p.words, func(w string) bool { return strings.TrimSpace(w) == command }) || strings.Join(p.Args, " ") == command {
			return t.call
		}
	}
	return nil
}

// meanwhile finds the call that was under way when a process began.
func (f *folding) meanwhile(p *Process, known map[*Call]bool) (*Call, *Link) {
	if p.PID == f.out.Session.PID {
		return nil, nil // the agent itself
	}
	var at []*Call
	for _, t := range f.tools {
		if !t.call.fromKernel && !known[t.call] && !p.At.Before(t.from) && !p.At.After(t.to) {
			at = append(at, t.call)
		}
	}
	switch len(at) {
	case 0:
		return nil, nil
	case 1:
		return at[0], &Link{Medium, "it ran while this was the agent's only tool call whose command was not seen"}
	}
	return at[0], &Link{Low, fmt.Sprintf("it ran while %d tool calls were under way whose commands were not seen, of which this is the first", len(at))}
}

// order sorts what belongs to a call.
func (c *Call) order() {
	c.Processes = tree(c.Processes)
	slices.SortStableFunc(c.Decisions, func(a, b Decision) int { return a.At.Compare(b.At) })
	slices.SortStableFunc(c.Network, func(a, b Connection) int { return a.At.Compare(b.At) })
	slices.SortStableFunc(c.Files, func(a, b File) int { return a.At.Compare(b.At) })
}

// tree puts children below their parents and says how deep they are.
func tree(all []*Process) []*Process {
	if len(all) == 0 {
		return all
	}
	slices.SortStableFunc(all, func(a, b *Process) int { return cmp.Compare(a.Start, b.Start) })
	latest := map[int64]*Process{} // who had the number last
	children := map[*Process][]*Process{}
	var roots []*Process
	for _, p := range all {
		if parent := latest[p.Parent]; parent != nil && parent != p {
			children[parent] = append(children[parent], p)
		} else {
			roots = append(roots, p)
		}
		latest[p.PID] = p
	}
	out := make([]*Process, 0, len(all))
	var add func(*Process, int)
	add = func(p *Process, depth int) {
		p.Depth = depth
		out = append(out, p)
		for _, c := range children[p] {
			add(c, depth+1)
		}
	}
	for _, p := range roots {
		add(p, 0)
	}
	return out
}
