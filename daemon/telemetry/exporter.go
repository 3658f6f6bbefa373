// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"sync"
	"time"

	metrics "go.opentelemetry.io/proto/slim/otlp/metrics/v1"
)

// SinkOTLP is the name of the sink that is given none.
const SinkOTLP = "otlp"

// ExporterOptions say where events go and as whose. Zero values mean what the
// comments say.
type ExporterOptions struct {
	Sink     SinkConfig        // without an endpoint or a file: export nothing
	Resource map[string]string // attributes of the resource; service.name is "paddock" unless given
	Log      *slog.Logger      // default slog.Default()

	// Metrics makes what OTLP sinks get besides events, now and then: see Exporters. Nil: nothing.
	Metrics      func(context.Context) ([]*metrics.Metric, error)
	MetricsEvery time.Duration // default 1 minute

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

// Exporter sends the events of a store to one sink, in their order, each at least
// once. The store keeps how far it has come.
type Exporter struct {
	store    *Store
	options  ExporterOptions
	sink     string // its name, which stays the same
	resource map[string]any

	mu      sync.Mutex
	config  SinkConfig
	target  target        // nil: none
	invalid error         // why there is none, though one is wanted
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
	if o.Linger == 0 {
		o.Linger = defaultLinger
	}
	o.Sink.Name = cmp.Or(o.Sink.Name, SinkOTLP)
	e := &Exporter{
		store: store, options: o, sink: o.Sink.Name, resource: resourceAttrs(o.Resource), renewed: make(chan struct{}), stop: make(chan struct{}),
	}
	e.set(o.Sink)
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
	return nil
}

// Configure changes where events go from now on, and nothing if it is said again.
// Without an endpoint or a file it ends the export. An invalid one is reported by
// Status, and events are kept until there is a valid one. The name stays.
func (e *Exporter) Configure(c SinkConfig) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c.Name = e.sink
	if reflect.DeepEqual(c, e.config) {
		return
	}
	e.set(c)
	close(e.renewed)
	e.renewed = make(chan struct{})
}

// set is called with e.mu held, or before anybody else knows e.
func (e *Exporter) set(c SinkConfig) {
	e.config, e.target, e.invalid = c, nil, nil
	e.status = ExporterStatus{State: ExporterOff, Success: e.status.Success}
	if !c.wanted() {
		return
	}
	e.status.State = ExporterIdle
	e.target, e.invalid = newTarget(c, e.resource)
	if e.target != nil {
		e.status.Endpoint = e.target.name()
	}
}

func (e *Exporter) format() Format {
	e.mu.Lock()
	defer e.mu.Unlock()
	return cmp.Or(e.config.Format, FormatOTLP)
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
		target, invalid, wanted, renewed := e.target, e.invalid, e.config.wanted(), e.renewed
		e.mu.Unlock()
		if err := e.store.activate(ctx, e.sink, wanted); err != nil && ctx.Err() == nil {
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
		again := e.export(ctx, target, renewed)
		target.close()
		if !again {
			return
		}
	}
}

// export sends until it shall end (false) or there is another configuration
// (true).
func (e *Exporter) export(ctx context.Context, target target, renewed <-chan struct{}) bool {
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
func (e *Exporter) deliver(ctx context.Context, target target, batch *delivery) error {
	if err := batch.send(ctx, target); err != nil {
		return err
	}
	// It arrived: that is to be booked even if we are told to end just now.
	booking, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(noteTimeout, cancel) })()
	return e.store.advance(booking, e.sink, batch.last(), batch.exported, batch.rejected)
}

// next reads the next batch, again after it failed; nil if there is nothing to send.
func (e *Exporter) next(ctx context.Context, again bool) (*delivery, error) {
	var events []Event
	size := 0
	err := e.store.scan(ctx, Query{After: e.store.cursor(e.sink), Limit: batchEvents}, func(event Event, n int) bool {
		if size += n; size > batchBytes && len(events) > 0 {
			return false
		}
		events = append(events, event)
		return true
	})
	if err != nil || len(events) == 0 {
		return nil, err
	}
	return newDelivery(events, again), nil
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
			e.options.Log.Info("events are exported again", "sink", e.sink, "endpoint", e.status.Endpoint)
		}
		return
	}
	e.status.State, e.status.Error = ExporterFailing, err.Error()
	if before != ExporterFailing {
		e.options.Log.Warn("events cannot be exported; they are kept", "sink", e.sink, "endpoint", e.status.Endpoint, "error", err)
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
