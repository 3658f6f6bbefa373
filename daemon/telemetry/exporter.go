// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// SinkOTLP is the name of the exporter's sink in Counters.Sinks.
const SinkOTLP = "otlp"

// ExporterOptions say where events go and as whose. Zero values mean what the
// comments say.
type ExporterOptions struct {
	Endpoint string            // http(s)://host:port; /v1/logs is added. Empty: export nothing
	Headers  map[string]string // of each request; may be secret
	Resource map[string]string // attributes of the resource; service.name is "paddock" unless given
	Client   *http.Client      // default: own, 10 s per request, no redirects
	Log      *slog.Logger      // default slog.Default()

	Linger     time.Duration // how long the first event after a silence waits for company; default 250 ms, negative: not
	FirstRetry time.Duration // after the first failure in a row, then doubled; default 1 s
	LastRetry  time.Duration // between attempts at most, but for Retry-After; default 1 minute
}

// Limits of one request.
const (
	batchEvents = 512
	batchBytes  = 1 << 20
)

const (
	defaultLinger  = 250 * time.Millisecond
	noteTimeout    = time.Second // to book what arrived, when we are told to end
	requestTimeout = 10 * time.Second
	maxRetryAfter  = 15 * time.Minute // a receiver that asks for more is asked again all the same
)

// ExporterState is what an exporter does at present.
type ExporterState string

// States of an exporter.
const (
	ExporterOff     ExporterState = "off"     // no endpoint
	ExporterIdle    ExporterState = "idle"    // nothing sent yet
	ExporterSending ExporterState = "sending" // the last request succeeded
	ExporterFailing ExporterState = "failing" // the last request failed: see Error
)

// ExporterStatus is for people who want to know whether it works. How much
// waits is in Counters.Sinks.
type ExporterStatus struct {
	Endpoint string // without a password
	State    ExporterState
	Error    string    // why it fails
	Success  time.Time // the last one; zero: none
}

// Exporter sends the events of a store to an OTLP/HTTP receiver, in their order,
// each at least once. The store keeps how far it has come.
type Exporter struct {
	store    *Store
	options  ExporterOptions
	resource map[string]any

	mu      sync.Mutex
	target  *receiver // nil: none
	invalid error     // why there is none, though one is wanted
	wanted  bool
	renewed chan struct{} // closed when the above were replaced
	status  ExporterStatus
	stop    chan struct{} // closed by Shutdown
	cancel  context.CancelFunc
	done    chan struct{}
}

// NewExporter makes an exporter; nothing happens before Start.
func NewExporter(store *Store, o ExporterOptions) *Exporter {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.FirstRetry <= 0 {
		o.FirstRetry = time.Second
	}
	if o.LastRetry <= 0 {
		o.LastRetry = time.Minute
	}
	if o.Client == nil {
		o.Client = newClient()
	}
	if o.Linger == 0 {
		o.Linger = defaultLinger
	}
	e := &Exporter{store: store, options: o, resource: resourceAttrs(o.Resource), renewed: make(chan struct{}), stop: make(chan struct{})}
	e.set(o.Endpoint, o.Headers)
	return e
}

func resourceAttrs(in map[string]string) map[string]any {
	out := map[string]any{"service.name": "paddock"}
	for key, value := range in {
		if value != "" {
			out[key] = value
		}
	}
	return cleanAttrs(out)
}

func newClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConns: 2, IdleConnTimeout: time.Minute,
			TLSHandshakeTimeout: requestTimeout, ResponseHeaderTimeout: requestTimeout,
		},
		Timeout: requestTimeout,
		// Whoever we are sent on to would get our headers too.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Start begins to export. It goes on after ctx ends, until Shutdown: what is
// recorded on the way down is to be exported too.
func (e *Exporter) Start(ctx context.Context) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cancel, e.done = cancel, make(chan struct{})
	go e.run(ctx, e.done)
}

// Shutdown sends what is stored and ends, at the first failure or when ctx ends.
// What could not be sent is sent after the next Start. It returns only errors
// that need an answer, and being down is none: so far it never fails.
func (e *Exporter) Shutdown(ctx context.Context) error {
	e.mu.Lock()
	cancel, done := e.cancel, e.done
	select {
	case <-e.stop:
	default:
		close(e.stop)
	}
	e.mu.Unlock()
	if done == nil {
		return nil
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
	cancel()
	<-done
	e.options.Client.CloseIdleConnections()
	return nil
}

// Reconfigure changes where events go from now on. An empty endpoint ends the
// export. An invalid one is reported by Status, and events are kept until there
// is a valid one.
func (e *Exporter) Reconfigure(endpoint string, headers map[string]string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.set(endpoint, headers)
	close(e.renewed)
	e.renewed = make(chan struct{})
}

// set is called with e.mu held, or before anybody else knows e.
func (e *Exporter) set(endpoint string, headers map[string]string) {
	e.target, e.invalid, e.wanted = nil, nil, endpoint != ""
	e.status = ExporterStatus{State: ExporterOff, Success: e.status.Success}
	if !e.wanted {
		return
	}
	address, redacted, err := logsURL(endpoint)
	if err != nil {
		e.invalid = err
		return
	}
	e.status.State, e.status.Endpoint = ExporterIdle, redacted
	e.target = &receiver{
		url: address, redacted: redacted, headers: maps.Clone(headers), resource: e.resource,
		client: e.options.Client, now: time.Now,
	}
}

// Status returns whether it works.
func (e *Exporter) Status() ExporterStatus {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.status
}

// run exports to one configuration after the other.
func (e *Exporter) run(ctx context.Context, done chan struct{}) {
	defer close(done)
	for {
		e.mu.Lock()
		target, invalid, wanted, renewed := e.target, e.invalid, e.wanted, e.renewed
		e.mu.Unlock()
		if err := e.store.activate(ctx, SinkOTLP, wanted); err != nil && ctx.Err() == nil {
			e.options.Log.Error("the exporter cannot use its cursor", "error", err)
		}
		if target == nil {
			if invalid != nil {
				e.report(renewed, invalid)
			}
			select {
			case <-renewed:
				continue
			case <-e.stop:
				return
			case <-ctx.Done():
				return
			}
		}
		if !e.export(ctx, target, renewed) {
			return
		}
	}
}

// export sends until it shall end (false) or there is another configuration
// (true).
func (e *Exporter) export(ctx context.Context, target *receiver, renewed <-chan struct{}) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// A request to the old receiver must not keep events from the new one.
	go func() {
		select {
		case <-renewed:
			cancel()
		case <-ctx.Done():
		}
	}()
	var batch *delivery
	retry, failures := e.options.FirstRetry, 0
	for {
		stopping := closed(e.stop)
		// Looked at before reading, so that a commit in between is not missed.
		_, _, stored, _ := e.store.in.watch()
		var err error
		if batch == nil {
			batch, err = e.next(ctx, failures > 0)
		}
		if batch == nil && err == nil {
			if stopping {
				return false
			}
			if !e.await(ctx, stored) {
				return closed(renewed)
			}
			continue
		}
		if err == nil {
			err = e.deliver(ctx, target, batch)
		}
		if err == nil {
			batch, retry, failures = nil, e.options.FirstRetry, 0
			e.report(renewed, nil)
			continue
		}
		if ctx.Err() != nil {
			return closed(renewed)
		}
		e.report(renewed, err)
		if stopping || errors.Is(err, ErrClosed) {
			return false
		}
		if batch != nil && !batch.begun() {
			batch = nil // with others beside them it may be seen which events are to blame
		}
		if !e.pause(ctx, retry, err) {
			return closed(renewed)
		}
		retry, failures = min(2*retry, e.options.LastRetry), failures+1
	}
}

// deliver sends a batch and moves the cursor behind it.
func (e *Exporter) deliver(ctx context.Context, target *receiver, batch *delivery) error {
	if err := batch.send(ctx, target); err != nil {
		return err
	}
	// It arrived: that is to be booked even if we are told to end just now.
	booking, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(noteTimeout, cancel) })()
	return e.store.advance(booking, SinkOTLP, batch.from, batch.last(), batch.exported, batch.rejected)
}

// next reads the next batch, again after it failed; nil if there is nothing to send.
func (e *Exporter) next(ctx context.Context, again bool) (*delivery, error) {
	from := e.store.cursor(SinkOTLP)
	var events []Event
	size := 0
	err := e.store.scan(ctx, Query{After: from, Limit: batchEvents}, func(event Event, n int) bool {
		if size += n; size > batchBytes && len(events) > 0 {
			return false
		}
		events = append(events, event)
		return true
	})
	if err != nil || len(events) == 0 {
		return nil, err
	}
	return newDelivery(from, events, again), nil
}

// await waits for something new in the store, and a moment longer for what
// comes with it. It returns false when it shall not go on.
func (e *Exporter) await(ctx context.Context, stored <-chan struct{}) bool {
	select {
	case <-stored:
		return e.options.Linger < 0 || e.wait(ctx, e.options.Linger)
	case <-e.stop:
		return true
	case <-e.store.done:
		return false
	case <-ctx.Done():
		return false
	}
}

// pause waits before the next attempt, as long as the receiver asked for, or a
// random time around retry: a thousand machines must not come back at once.
func (e *Exporter) pause(ctx context.Context, retry time.Duration, cause error) bool {
	wait := retry/2 + rand.N(retry)
	var s *setback
	if errors.As(cause, &s) && s.after > 0 {
		wait = max(wait, min(s.after, maxRetryAfter))
	}
	return e.wait(ctx, wait)
}

// wait returns after a while, or at Shutdown, which wants one last attempt. It
// returns false when ctx ended.
func (e *Exporter) wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-e.stop:
		return true
	case <-ctx.Done():
		return false
	}
}

// report notes how the last attempt went, and logs when that is news.
func (e *Exporter) report(of <-chan struct{}, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if closed(of) {
		return // of a configuration that is not in force any more
	}
	before := e.status.State
	if err == nil {
		e.status.State, e.status.Error, e.status.Success = ExporterSending, "", time.Now()
		if before == ExporterFailing {
			e.options.Log.Info("events are exported again", "endpoint", e.status.Endpoint)
		}
		return
	}
	e.status.State, e.status.Error = ExporterFailing, err.Error()
	if before != ExporterFailing {
		e.options.Log.Warn("events cannot be exported; they are kept", "endpoint", e.status.Endpoint, "error", err)
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
