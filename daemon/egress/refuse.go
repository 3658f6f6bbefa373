// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
)

// refusal makes what a client is told, in its own protocol. Nil: a reset.
type refusal func(*judgement) []byte

func refuseReset(*judgement) []byte { return nil }

// refuseTLS is a fatal alert, access_denied (RFC 8446, 6.2).
func refuseTLS(*judgement) []byte { return []byte{recordAlert, 3, 3, 0, 2, 2, 49} }

// refuseSocks4 is "request rejected or failed".
func refuseSocks4(*judgement) []byte { return []byte{0, 0x5b, 0, 0, 0, 0, 0, 0} }

// refuseHTTP is what Codex's own proxy answers: 403 with the kind of reason in
// x-proxy-error and a JSON body; for what cannot be understood, 400.
func refuseHTTP(j *judgement) []byte {
	if j.verdict.Cause == policy.CauseMalformed {
		return httpAnswer("400 Bad Request", "text/plain", "", j.verdict.Reason, j.method)
	}
	if j.method == "CONNECT" {
		return httpAnswer("403 Forbidden", "text/plain", proxyError(j.verdict.Cause), message(j), j.method)
	}
	body, err := json.Marshal(blocked{
		Status: "blocked", Host: j.host.String(), Reason: string(j.verdict.Cause), Decision: "deny", Source: j.source(),
		Protocol: j.protocol.String(), Port: j.port, Message: message(j),
	})
	if err != nil {
		return nil // it cannot be: strings and a number
	}
	return httpAnswer("403 Forbidden", "application/json", proxyError(j.verdict.Cause), string(body), j.method)
}

// blocked is the body of a refusal, field by field as codex-cli 0.169.0 has it.
type blocked struct {
	Status   string `json:"status"`
	Host     string `json:"host"`
	Reason   string `json:"reason"`
	Decision string `json:"decision"`
	Source   string `json:"source"`
	Protocol string `json:"protocol"`
	Port     uint16 `json:"port"`
	Message  string `json:"message"`
}

// source says who decided, in Codex's words.
func (j *judgement) source() string {
	if j.by == "policy" {
		return "baseline_policy"
	}
	return "decider"
}

// proxyError is the value of x-proxy-error for a kind of reason.
func proxyError(cause policy.HostCause) string {
	switch cause {
	case policy.CauseDenied:
		return "blocked-by-denylist"
	case policy.CauseNotAllowed, policy.CauseLocal:
		return "blocked-by-allowlist"
	case policy.CauseMethod:
		return "blocked-by-method-policy"
	case policy.CauseAllowed, policy.CauseReview, policy.CauseMismatch, policy.CauseMalformed:
	}
	return "blocked-by-policy"
}

// message is Codex's sentence, where it has one, and then ours, which names the rule.
func message(j *judgement) string {
	text := ""
	switch j.verdict.Cause {
	case policy.CauseDenied:
		text = "Domain denied by the sandbox policy. "
	case policy.CauseLocal:
		text = "Sandbox policy blocks local/private network addresses. "
	case policy.CauseMethod:
		text = "Method not allowed in limited mode. "
	case policy.CauseAllowed, policy.CauseNotAllowed, policy.CauseReview, policy.CauseMismatch, policy.CauseMalformed:
	}
	return text + "Paddock: " + j.verdict.Reason
}

func httpAnswer(status, kind, proxyError, body, method string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %s\r\ncontent-type: %s\r\ncontent-length: %d\r\n", status, kind, len(body))
	if proxyError != "" {
		fmt.Fprintf(&b, "x-proxy-error: %s\r\n", proxyError)
	}
	b.WriteString("connection: close\r\n\r\n")
	if method != "HEAD" {
		b.WriteString(body)
	}
	return []byte(b.String())
}

// farewell is how long a client that was refused may take to read why, and then to
// close.
const farewell = 2 * time.Second

// refuse tells the client, in its protocol, and ends the connection.
func (c *conn) refuse(j *judgement, how refusal) {
	answer := how(j)
	if c.server != nil && c.downDone == nil {
		c.server.abort() // another proxy that must not go on
	}
	switch {
	case answer == nil:
		c.abort()
	case c.downDone == nil:
		_ = c.client.SetWriteDeadline(time.Now().Add(farewell))
		if _, err := c.client.Write(answer); err == nil {
			_ = c.client.CloseWrite()
			c.drain()
		}
	default:
		c.refuseAfter(answer)
	}
	if c.downDone != nil {
		<-c.downDone
	}
	c.end()
}

// refuseAfter refuses a request after earlier ones, whose answers may still be on
// their way: the server is told that no more comes, and when it has ended, the client
// gets the refusal.
func (c *conn) refuseAfter(answer []byte) {
	c.mu.Lock()
	c.final = answer
	c.mu.Unlock()
	_ = c.server.CloseWrite()
	timer := time.NewTimer(farewell)
	defer timer.Stop()
	select {
	case <-c.downDone:
		c.drain()
	case <-timer.C:
		c.abort()
	}
}

// drain reads on until the client closes: if bytes it sent were left unread, the
// kernel would send a reset, and the client might never see the answer.
func (c *conn) drain() {
	_ = c.client.SetReadDeadline(time.Now().Add(farewell))
	if _, err := io.Copy(io.Discard, io.LimitReader(c.client.TCPConn, 1<<20)); err != nil && !errors.Is(err, io.EOF) {
		c.client.abort()
	}
}
