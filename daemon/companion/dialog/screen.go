// SPDX-License-Identifier: Apache-2.0

package dialog

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/companion/notify"
)

// Program shows one dialog and waits for what is pressed.
type Program interface {
	// Ask returns the key of the action that was chosen; empty: none. When ctx ends, the
	// dialog is taken away.
	Ask(ctx context.Context, n notify.Notification) (action string, err error)
}

// Screen shows dialogs. Make one with New.
type Screen struct {
	program Program
	log     *slog.Logger
	ctx     context.Context
	cancel  context.CancelFunc
	work    sync.WaitGroup
	wake    chan struct{}
	events  chan notify.Event

	mu      sync.Mutex
	waiting []notify.Notification // in the order in which they are shown
	shown   string                // key of the one on the screen
	close   context.CancelFunc    // takes that away
}

// New makes a screen that shows dialogs until Shutdown.
func New(ctx context.Context, p Program, log *slog.Logger) *Screen {
	s := &Screen{program: p, log: log, wake: make(chan struct{}, 1), events: make(chan notify.Event)}
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.work.Go(s.run)
	return s
}

// Events returns what becomes of dialogs.
func (s *Screen) Events() <-chan notify.Event { return s.events }

// Show shows a dialog after those that wait, or in the place of the one with its key.
func (s *Screen) Show(n notify.Notification) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.index(n.Key); i >= 0 {
		s.waiting[i] = n
		return
	}
	s.waiting = append(s.waiting, n)
	if s.shown == n.Key {
		s.close() // and shown anew
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Close takes a dialog away.
func (s *Screen) Close(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.index(key); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
	}
	if s.shown == key {
		s.close()
	}
}

// Shutdown takes everything away.
func (s *Screen) Shutdown() {
	s.cancel()
	s.work.Wait()
}

func (s *Screen) index(key string) int {
	return slices.IndexFunc(s.waiting, func(n notify.Notification) bool { return n.Key == key })
}

func (s *Screen) next() (notify.Notification, context.Context, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		return notify.Notification{}, nil, false
	}
	n := s.waiting[0]
	s.waiting = s.waiting[1:]
	ctx, cancel := context.WithCancel(s.ctx)
	s.shown, s.close = n.Key, cancel
	return n, ctx, true
}

func (s *Screen) run() {
	for {
		n, ctx, ok := s.next()
		if !ok {
			select {
			case <-s.wake:
				continue
			case <-s.ctx.Done():
				return
			}
		}
		s.show(ctx, n)
	}
}

func (s *Screen) show(ctx context.Context, n notify.Notification) {
	began := time.Now()
	if !s.tell(notify.Event{Kind: notify.Shown, Key: n.Key, Buttons: true}) {
		return
	}
	action, err := s.program.Ask(ctx, n)
	taken := ctx.Err() != nil
	s.mu.Lock()
	s.close()
	s.shown, s.close = "", func() {}
	s.mu.Unlock()
	switch {
	case taken: // somebody else answered, or it is shown anew
	case err != nil:
		s.log.Warn("a dialog cannot be shown", "error", err)
		s.tell(notify.Event{Kind: notify.Unshown, Key: n.Key, Err: err})
	case action == "":
		s.tell(notify.Event{Kind: notify.Gone, Key: n.Key})
	default:
		s.tell(notify.Event{Kind: notify.Invoked, Key: n.Key, Action: action, Since: time.Since(began)})
	}
}

func (s *Screen) tell(e notify.Event) bool {
	select {
	case s.events <- e:
		return true
	case <-s.ctx.Done():
		return false
	}
}

var errNoButton = errors.New("there is no action to offer")

// buttons are the actions of a notification that can be buttons of a dialog, the
// safest first. A dialog has no body to click on: it shows all there is.
func buttons(n notify.Notification) ([]notify.Action, error) {
	out := slices.DeleteFunc(slices.Clone(n.Actions), func(a notify.Action) bool { return a.Key == notify.Default })
	if len(out) == 0 {
		return nil, errNoButton
	}
	if len(out) > maxButtons {
		out = out[:maxButtons]
	}
	return out, nil
}

// maxButtons is what AppleScript's dialogs can have.
const maxButtons = 3

// giveUp is how long a dialog stays without an answer. The daemon refuses long before.
const giveUp = 15 * time.Minute
