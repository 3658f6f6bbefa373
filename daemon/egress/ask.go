// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"context"
	"errors"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
)

// Unfamiliar is a place that somebody must decide about.
type Unfamiliar struct {
	// Flow is the first connection that waits. Others to the same place may join it.
	Flow Flow
	// Host is the canonical name, or the address where there is no name.
	Host     policy.Host
	Port     uint16
	Protocol policy.HostProtocol
	// Verdict is why it is asked: the rule or the setting, with source and line.
	Verdict policy.HostVerdict
}

// Answer is what somebody decided about the connections that wait. Its zero value
// denies.
type Answer struct {
	Allow bool
	// By says who decided: a user, "policy", "automatic review", "deadline".
	By string
	// Reason is one sentence for people. May be empty.
	Reason string
}

// Asker decides about what is unfamiliar.
type Asker interface {
	// Ask returns when somebody has answered, or when ctx ends: because nobody waits
	// any more (see Cause), the session ended, or the time was up. An error denies.
	// It is called once for each (session, host, port, protocol) at a time, and again
	// for who comes later: answers are for it to remember.
	Ask(ctx context.Context, u Unfamiliar) (Answer, error)
}

// Why a context given to Ask ends; context.Cause returns it.
var (
	// ErrClientsGone says that every connection that waited was closed by its client.
	ErrClientsGone = errors.New("every client that waited is gone")
	// ErrSessionEnded says that the session is over.
	ErrSessionEnded = errors.New("the session ended")
	// ErrNoAnswer says that nobody answered in time.
	ErrNoAnswer = errors.New("nobody answered in time")
	// ErrShutdown says that the managed network stops.
	ErrShutdown = errors.New("the managed network stops")
)

// DenyAll answers where nobody can be asked: everything unfamiliar is denied.
type DenyAll struct{}

// Ask denies.
func (DenyAll) Ask(context.Context, Unfamiliar) (Answer, error) {
	return Answer{By: "policy", Reason: "nobody can be asked on this machine"}, nil
}
