// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/seed-649e9bbc/paddock/daemon/api"
	"github.com/seed-649e9bbc/paddock/daemon/approval"
)

// The live list takes a letter and a number, and the enter key: a question that
// appears in the moment somebody types is not answered by chance.

const liveHelp = "a NUMBER allow once   s NUMBER allow in this session   w NUMBER allow always   d NUMBER [reason] deny   q quit\n"

// board is the list of what waits, each with the number it was shown with.
type board struct {
	app     *app
	out     io.Writer
	numbers map[string]int // by ID
	shown   map[int]*api.Approval
	next    int
}

func (a *app) approvalsLive(cmd *cobra.Command) error {
	if err := approval.Protect(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	type change struct {
		approval.Change
		err error
	}
	changes, lines := make(chan change), make(chan string)
	go func() {
		defer close(changes)
		for c, err := range a.client().Approvals(ctx, true) {
			select {
			case changes <- change{c, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	go func() { // ends with the process: a terminal cannot be read with a time limit
		defer close(lines)
		in := bufio.NewScanner(cmd.InOrStdin())
		for in.Scan() {
			select {
			case lines <- in.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	l := &board{app: a, out: cmd.OutOrStdout(), numbers: map[string]int{}, shown: map[int]*api.Approval{}}
	for {
		var err error
		select {
		case c, ok := <-changes:
			if !ok {
				return api.ErrStreamEnded
			}
			if err = c.err; err == nil {
				err = l.change(c.Change)
			}
		case line, ok := <-lines:
			if !ok || strings.TrimSpace(line) == "q" {
				return nil
			}
			err = l.command(ctx, line)
		}
		if err != nil {
			return err
		}
	}
}

// change shows what is new.
func (l *board) change(c approval.Change) error {
	if c.Synced {
		if len(l.shown) == 0 {
			return printf(l.out, "Nothing waits for you. New questions appear here; q quits.\n")
		}
		return printf(l.out, liveHelp)
	}
	q := c.Approval
	if q == nil {
		return nil
	}
	n, known := l.numbers[q.ID]
	switch {
	case q.State != approval.Pending:
		delete(l.numbers, q.ID)
		delete(l.shown, n)
		if !known {
			return nil
		}
	case known:
		l.shown[n] = q // more wait for the same
		return nil
	default:
		l.next++
		n = l.next
		l.numbers[q.ID], l.shown[n] = n, q
	}
	return l.app.printApproval(l.out, fmt.Sprintf("[%d] ", n), q)
}

// command carries out a line somebody typed.
func (l *board) command(ctx context.Context, line string) error {
	letter, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	number, reason, _ := strings.Cut(strings.TrimSpace(rest), " ")
	n, err := strconv.Atoi(number)
	q := l.shown[n]
	r := approval.Reply{Allow: true, Reason: strings.TrimSpace(reason)}
	switch letter {
	case "a":
		r.Scope = approval.Once
	case "s":
		r.Scope = approval.Session
	case "w":
		r.Scope = approval.Always
	case "d":
		r.Allow = false
	default:
		return printf(l.out, liveHelp)
	}
	if err != nil || q == nil {
		return printf(l.out, "There is no number %s in the list.\n", plain(number))
	}
	// The stream tells what became of it.
	if _, err := l.app.client().AnswerApproval(ctx, q.ID, r); err != nil {
		return printf(l.out, "[%d] %s\n", n, plain(err.Error()))
	}
	return nil
}
