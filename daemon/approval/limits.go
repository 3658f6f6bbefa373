// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"fmt"
	"time"
)

// rate is how often a session asked lately.
type rate struct {
	since time.Time // of the count
	count int
	told  bool // that it asks too often
}

func (r *rate) ask(now time.Time) {
	if now.Sub(r.since) > rateTime {
		r.since, r.count = now, 0
	}
	r.count++
	r.told = false
}

// tell reports whether this is the first refusal since a question was asked.
func (r *rate) tell() bool {
	first := !r.told
	r.told = true
	return first
}

func (q *Queue) rateOf(session string) *rate {
	r := q.rates[session]
	if r == nil {
		r = &rate{}
		q.rates[session] = r
	}
	return r
}

// tooMany says why a session may not ask another question now; empty: it may.
func (q *Queue) tooMany(question *Question) string {
	session, user := 0, 0
	for _, r := range q.pending {
		if r.question.Session == question.Session {
			session++
		}
		if r.question.UID == question.UID {
			user++
		}
	}
	r := q.rateOf(question.Session)
	switch {
	case session >= maxSession:
		return fmt.Sprintf("%d questions of this session wait already", session)
	case user >= maxUser:
		return fmt.Sprintf("%d questions to this user wait already", user)
	case r.count >= maxRate && time.Since(r.since) <= rateTime:
		return fmt.Sprintf("this session has asked %d questions within %v", r.count, rateTime)
	}
	return ""
}

// waitingOf counts the actions of a session that wait.
func (q *Queue) waitingOf(session string) int {
	n := 0
	for _, r := range q.pending {
		if r.question.Session == session {
			n += len(r.waiters)
		}
	}
	return n
}
