// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// Question is what somebody asks who holds an action of an agent.
type Question struct {
	Kind    Kind
	Session string // ID
	Agent   string
	Surface string
	UID     uint32 // of the session: who is asked
	User    string
	Project string // directory the agent was started in
	Subject
	Why
	// Names are what the program of a Command is known by, argv[0] aside.
	Names []string
	// Within are the commands a Tool runs, as far as they are known.
	Within [][]string
	// HumanOnly: the rule is for people alone.
	HumanOnly bool
	// EachTime: no answer but to this very question counts.
	EachTime bool
	// Identity tells apart what the Subject does not: the file behind a program's
	// name, and its content. The same question is asked once only for the same one.
	Identity string
}

// intent names what a question is about, within its session: questions of one intent
// are one. A session may have processes of several users (sudo), and nobody answers for
// another.
func (q *Question) intent() string {
	return digestOf(q.Session, q.UID, string(q.Kind), q.Subject, q.Rule, q.HumanOnly, q.EachTime, q.Identity)
}

// lasting names what an answer of scope Always is about: not the session, and neither
// the tool call nor the content of the program, which an update changes.
func (q *Question) lasting() string {
	return digestOf(q.UID, q.Agent, q.Project, string(q.Kind), q.Subject)
}

func digestOf(parts ...any) string {
	data, err := json.Marshal(parts)
	if err != nil {
		panic(err) // plain data
	}
	// encoding/json makes all bytes that are not UTF-8 the same; they are not.
	h := sha256.New()
	h.Write(data)
	for _, p := range parts {
		if s, ok := p.(Subject); ok {
			for _, text := range append([]string{s.Program, s.RunsAs, s.Cwd, s.Host, s.Path, s.Tool, s.Input}, s.Argv...) {
				h.Write([]byte{0})
				h.Write([]byte(text))
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Outcome is the answer to a question.
type Outcome struct {
	Allow bool
	// Approval is the question with its answer. Without an ID: nobody was asked.
	Approval Approval
	// First says that this is the first one denied because of too many questions,
	// after some that were not: the one that is told of.
	First bool
}

// Decider says in a few words who decided: "alice (terminal)".
func (o *Outcome) Decider() string {
	a := o.Approval.Answer
	if a == nil {
		return ""
	}
	if a.User != "" && (a.By == ByTerminal || a.By == ByCompanion || a.By == ByMemory) {
		return a.User + " (" + a.By + ")"
	}
	return a.By
}
