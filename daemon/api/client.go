// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/session"
)

// ErrUnreachable is wrapped by errors of a client whose daemon cannot be
// reached at all.
var ErrUnreachable = errors.New("the Paddock daemon cannot be reached")

// Error is a request the daemon answered with a refusal.
type Error struct {
	Code    int // HTTP status
	Message string
}

// Error returns the daemon's own words.
func (e *Error) Error() string { return e.Message }

// answerTimeout is how long a client waits for the begin of an answer.
const answerTimeout = 15 * time.Second

// maxAnswer bounds an answer that is not a stream, in bytes.
const maxAnswer = 64 << 20

// Client asks the daemon. It is safe for concurrent use.
type Client struct {
	path string
	http *http.Client
}

// NewClient makes a client of the daemon at the socket. It connects only when
// something is asked.
func NewClient(path string) *Client {
	c := &Client{path: path}
	c.http = &http.Client{
		Transport: &http.Transport{
			DialContext:           func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) },
			DisableKeepAlives:     true,
			ResponseHeaderTimeout: answerTimeout,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c
}

// dial connects, and makes sure that root is at the other end: the daemon needs
// to be, and what anybody else answers says nothing.
func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", c.path)
	if err != nil {
		return nil, c.unreachable(err)
	}
	server, err := peerOf(conn.(*net.UnixConn))
	if err != nil {
		conn.Close()
		return nil, c.unreachable(err)
	}
	server.close()
	if server.UID != 0 {
		conn.Close()
		return nil, c.unreachable(fmt.Errorf("it is served by user %d, not by root", server.UID))
	}
	return conn, nil
}

// unreachableError is ErrUnreachable with what to do.
type unreachableError struct{ why string }

func (e *unreachableError) Error() string { return ErrUnreachable.Error() + ": " + e.why }

func (e *unreachableError) Unwrap() error { return ErrUnreachable }

func (c *Client) unreachable(err error) error {
	switch {
	case c.path == "":
		return &unreachableError{"the name of its socket is empty: leave --socket out, or name it there"}
	case errors.Is(err, syscall.EINVAL):
		return &unreachableError{c.path + " is too long for the name of a socket: name a shorter one with --socket"}
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return &unreachableError{"nothing listens on " + c.path + ": start it (systemctl start paddock) or name its socket with --socket"}
	case errors.Is(err, fs.ErrPermission):
		return &unreachableError{"no permission to connect to " + c.path}
	}
	return &unreachableError{c.path + ": " + err.Error()}
}

// Status asks what is in force.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var out Status
	return out, c.ask(ctx, http.MethodGet, "/v1/status", nil, &out)
}

// Sessions lists the sessions the caller may see, newest first.
func (c *Client) Sessions(ctx context.Context) ([]session.Session, error) {
	var out []session.Session
	return out, c.ask(ctx, http.MethodGet, "/v1/sessions", nil, &out)
}

// maxRunArgs bounds the arguments sent as a label of a new session, in bytes.
const maxRunArgs = 64 << 10

// Run makes the calling process the root of a session. Of argv the first 64 KiB
// are sent.
func (c *Client) Run(ctx context.Context, req RunRequest) (RunResponse, error) {
	left := maxRunArgs
	for i, arg := range req.Argv {
		if left -= len(arg); left < 0 && i > 0 {
			req.Argv = req.Argv[:i]
			break
		}
	}
	var out RunResponse
	if err := c.ask(ctx, http.MethodPost, "/v1/run", req, &out); err != nil {
		return out, err
	}
	if out.SessionID == "" {
		return out, fmt.Errorf("%w: %s answers without a session", ErrUnreachable, c.path)
	}
	return out, nil
}

func (c *Client) ask(ctx context.Context, method, path string, body, out any) error {
	ctx, cancel := context.WithTimeout(ctx, 2*answerTimeout)
	defer cancel()
	res, err := c.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("reading the daemon's answer to %s %s: %w", method, path, err)
	case len(data) > maxAnswer:
		return fmt.Errorf("reading the daemon's answer to %s %s: larger than %d bytes", method, path, maxAnswer)
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("reading the daemon's answer to %s %s: %w", method, path, err)
	}
	return nil
}

// send returns an answer that is a success; its body is to be closed.
func (c *Client) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("writing the request %s %s: %w", method, path, err)
		}
		content = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://paddock"+path, content)
	if err != nil {
		return nil, fmt.Errorf("writing the request %s %s: %w", method, path, err)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close()
	var said errorLine
	data, err := io.ReadAll(io.LimitReader(res.Body, maxHeader))
	if err != nil || json.Unmarshal(data, &said) != nil || said.Error == "" {
		said.Error = fmt.Sprintf("the daemon answers %s to %s %s", res.Status, method, path)
	}
	return nil, &Error{res.StatusCode, said.Error}
}

// explain makes of what the HTTP client says what happened.
func (c *Client) explain(ctx context.Context, err error) error {
	var ours *unreachableError
	if errors.As(err, &ours) {
		return ours // without the method and the made-up address the HTTP client puts before it
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &unreachableError{c.path + " does not answer: " + err.Error()}
}
