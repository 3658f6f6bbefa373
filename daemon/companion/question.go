// SPDX-License-Identifier: Apache-2.0

package companion

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/seed-649e9bbc/paddock/daemon/approval"
	"github.com/seed-649e9bbc/paddock/daemon/approval/show"
	"github.com/seed-649e9bbc/paddock/daemon/companion/notify"
)

// Keys of actions; the click on the notification itself is notify.Default.
const (
	actionDeny    = "deny"
	actionOnce    = "once"
	actionSession = "session"
)

// Question is an approval in the words of package show. How long is left is for the
// caller to say: notifications do not count down.
func Question(a *approval.Approval) show.Question {
	q := show.Question{
		Agent: a.Agent, Surface: a.Surface, Project: a.Project,
		Reason: a.Reason, Rule: a.Rule, Origin: a.Source, Justification: a.Justification, Prompt: a.Prompt,
	}
	if a.Cwd != "" && a.Cwd != a.Project {
		q.Directory = a.Cwd
	}
	switch a.Kind {
	case approval.Command:
		q.Action, q.Argv, q.RunsAs = show.Run, a.Argv, a.RunsAs
		if a.Program != "" && len(a.Argv) > 0 && a.Program != a.Argv[0] {
			q.Program = a.Program
		}
	case approval.Connection:
		q.Action, q.Subject = show.Connect, a.Host
		if a.Port != 0 {
			q.Subject = net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port)))
		}
		if a.Protocol != "" {
			q.Subject += " (" + a.Protocol + ")"
		}
	case approval.File:
		q.Action, q.Subject = show.Read, a.Path
		if a.Access != "read" {
			q.Action = show.Write
		}
	case approval.Tool:
		q.Action, q.Subject = show.Tool, a.Tool
		if len(a.Argv) > 0 {
			q.Subject += ": " + show.Argv(a.Argv)
		} else if a.Input != "" {
			q.Subject += ": " + a.Input
		}
	}
	return q
}

// moreDetails is the limit of a subject whose details a person wants to see.
const moreDetails = 4000

// notice is the notification of a question.
func notice(q *question) notify.Notification {
	limit := show.Notification
	if q.details {
		limit = moreDetails
	}
	asked := Question(&q.Approval)
	asked.Until = q.Deadline.Local().Format("15:04:05")
	card := asked.Card(limit)
	n := notify.Notification{
		Key: q.ID, Summary: card.Title, Body: lines(&card),
		Actions: []notify.Action{{Key: actionDeny, Label: "Deny"}},
		Plain:   fmt.Sprintf("Answer in a terminal: paddock approve %s, or paddock deny %s", q.ID, q.ID),
	}
	if q.problem != "" {
		n.Body = show.Prose(q.problem) + "\n\n" + n.Body
	}
	// Servers shorten what is long, and do not say so.
	if short := asked.Card(show.Notification); short.Whole {
		for _, one := range []struct {
			scope  approval.Scope
			action notify.Action
		}{
			{approval.Once, notify.Action{Key: actionOnce, Label: "Allow once"}},
			{approval.Session, notify.Action{Key: actionSession, Label: "Allow in this session"}},
		} {
			if slices.Contains(q.Scopes, one.scope) {
				n.Actions = append(n.Actions, one.action)
			}
		}
	}
	n.Actions = append(n.Actions, notify.Action{Key: notify.Default, Label: "Details"})
	return n
}

func lines(c *show.Card) string {
	out := []string{c.Subject, ""}
	for _, l := range c.Lines {
		out = append(out, l.Label+": "+l.Text)
	}
	return strings.Join(out, "\n")
}

// text is the question for a terminal.
func text(q *question) string {
	asked := Question(&q.Approval)
	asked.Until = q.Deadline.Local().Format("15:04:05")
	card := asked.Card(show.Terminal)
	return card.Text()
}
