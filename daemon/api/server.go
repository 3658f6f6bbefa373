// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Limits of one request. A client that takes longer is cut off; nobody else
// notices.
const (
	readTimeout  = 5 * time.Second
	writeTimeout = 10 * time.Second // for one piece of an answer
	maxHeader    = 16 << 10
	maxBody      = 1 << 20
)

// limits can be shortened by tests.
type limits struct{ read, write time.Duration }

// Server serves the API.
type Server struct {
	path    string
	backend Backend
	log     *slog.Logger
	limits  limits

	http   *http.Server
	socket *socket
	cancel context.CancelFunc
	done   chan struct{}
}

// NewServer makes a server for the socket at path. log gets what goes wrong
// with the socket; requests are not logged, or any user could fill the log.
func NewServer(path string, backend Backend, log *slog.Logger) *Server {
	return &Server{path: path, backend: backend, log: log, limits: limits{readTimeout, writeTimeout}}
}

// Start listens and serves until Shutdown; when ctx ends, those who follow
// events are cut off. The error is ErrRunning when another instance has the
// socket.
func (s *Server) Start(ctx context.Context) error {
	sock, err := listen(s.path)
	if err != nil {
		return err
	}
	s.socket = sock
	base, cancel := context.WithCancel(ctx)
	s.cancel, s.done = cancel, make(chan struct{})
	s.http = &http.Server{
		Handler:        s.routes(),
		ReadTimeout:    s.limits.read,
		MaxHeaderBytes: maxHeader,
		ErrorLog:       slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		BaseContext:    func(net.Listener) context.Context { return base },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
	}
	// One request a connection: an idle one would keep a place of its user.
	s.http.SetKeepAlivesEnabled(false)
	l := &peerListener{
		socket: sock, governed: s.backend.Governed, log: s.log,
		lingering: make(chan struct{}, maxLinger), places: map[place]int{},
	}
	go func() {
		defer close(s.done)
		defer l.work.Wait()
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("the API has stopped; restart the daemon", "socket", s.path, "error", err)
		}
	}()
	return nil
}

// Shutdown stops listening, ends what is followed, lets other requests finish
// and, when ctx ends first, cuts them off. It may be called without Start.
func (s *Server) Shutdown(ctx context.Context) error {
	if s.socket == nil {
		return nil
	}
	s.cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	<-s.done
	err = errors.Join(err, s.socket.close())
	s.socket = nil
	return err
}

type connKey struct{}

// connOf returns the connection a request came by.
func connOf(r *http.Request) *peerConn {
	return r.Context().Value(connKey{}).(*peerConn)
}
