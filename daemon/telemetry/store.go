// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// ErrClosed is returned once Close was called.
var ErrClosed = errors.New("the event store is closed")

// ErrFull is returned when as many events wait for the disk as may.
var ErrFull = errors.New("too many events wait to be stored")

// Options of a Store. The zero value is what the daemon uses.
type Options struct {
	MaxBytes  int64            // of events kept, about; default 1 GiB. Beyond it some go, see Store.bound
	MaxAge    time.Duration    // of an event; default 90 days, negative: any. Older ones go, some each minute
	MaxQueued int              // events that may wait for the disk; default 65536. Beyond it they are refused
	Gather    time.Duration    // how long an event may wait for company in its commit; default 20 ms, negative: not
	Now       func() time.Time // default time.Now
	Log       *slog.Logger     // default slog.Default()

	// Account is a file beside no other that is to outlive the process, on a file system that need not outlive the machine, and
	// Boot what is another one after each start of that. With them LostBefore has a number.
	Account, Boot string
}

const (
	defaultMaxBytes  = 1 << 30
	defaultMaxAge    = 90 * 24 * time.Hour
	defaultMaxQueued = 64 << 10
	defaultGather    = 20 * time.Millisecond
	maxQueuedBytes   = 32 << 20
)

func (o Options) withDefaults() Options {
	if o.MaxBytes <= 0 {
		o.MaxBytes = defaultMaxBytes
	}
	if o.MaxAge == 0 {
		o.MaxAge = defaultMaxAge
	}
	if o.MaxQueued <= 0 {
		o.MaxQueued = defaultMaxQueued
	}
	if o.Gather == 0 {
		o.Gather = defaultGather
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return o
}

// Store keeps events, in the order in which they came, in one SQLite file. It is
// safe for concurrent use. Only one process can have a directory open.
type Store struct {
	options Options
	path    string
	lock    *os.File
	in      *intake

	redactor *redactor
	account  *account
	lost     uint64 // by the process before, see LostBefore
	known    bool

	tally  tally         // the writer's
	shares shares        // the writer's
	swept  int64         // the writer's: up to this event there is nothing routine
	aged   time.Time     // the writer's: when it last looked for old events
	done   chan struct{} // closed when the writer has ended
	filled chan struct{} // closed when backfill has ended
	failed error         // why events were lost at the end; read after done

	idMu    sync.Mutex
	entropy *ulid.MonotonicEntropy

	dbMu sync.RWMutex
	db   *database // nil while it cannot be opened
}

// databaseFile is the name of the file inside the directory of a Store.
const databaseFile = "events.db"

// Open opens or makes the store in dir, which becomes readable for its owner
// only. A damaged database is set aside, what can be read of it kept, and the
// rest reported by an event. It is an error if another process has the store
// open, or if a newer Paddock wrote it.
func Open(ctx context.Context, dir string, o Options) (*Store, error) {
	o = o.withDefaults()
	s := &Store{
		options: o,
		path:    filepath.Join(dir, databaseFile),
		in:      newIntake(o.MaxQueued, maxQueuedBytes),
		done:    make(chan struct{}),
		filled:  make(chan struct{}),
		entropy: ulid.Monotonic(bufio.NewReader(rand.Reader), 0),
	}
	s.tally.reset()
	s.shares.reset()
	var err error
	if s.lock, err = lockDirectory(dir); err != nil {
		return nil, err
	}
	err = ctx.Err()
	if err == nil {
		var key []byte
		if key, err = redactionKey(dir); err == nil {
			s.redactor = newRedactor(key)
			err = s.open()
		}
	}
	if err == nil {
		if s.account, s.lost, s.known, err = openAccount(o.Account, o.Boot, s.Last()); err != nil {
			s.disconnect()
		}
	}
	if err != nil {
		s.lock.Close()
		return nil, fmt.Errorf("opening the event store %s: %w", s.path, err)
	}
	go s.write()
	go s.backfill()
	return s, nil
}

// Record hands events over to be stored, in this order and with nothing between
// them, and returns; Flush waits until they are. It never waits for the disk,
// for whoever calls it may be keeping a process: when more events wait than may,
// it refuses all of these with ErrFull. They are counted, and a gap event
// follows as soon as one can be stored. Whoever can wait asks Room first.
// What is recorded is recorded, even when ctx has ended.
//
// Attributes of other integer types become int64; any other type becomes text
// and is named by AttrConverted. Nothing of an Event is used after the return.
func (s *Store) Record(_ context.Context, events ...Event) error {
	if len(events) == 0 {
		return nil
	}
	var few [2]row
	rows := few[:min(len(events), len(few))]
	if len(events) > len(few) {
		rows = make([]row, len(events))
	}
	owed := 0
	for i := range events {
		if events[i].Owed {
			owed++
		}
	}
	for i := range events {
		var err error
		if rows[i], err = s.row(&events[i]); err != nil {
			s.account.owe(-owed)
			return fmt.Errorf("recording event %d of %d, %q: %w", i+1, len(events), events[i].Name, err)
		}
	}
	s.account.owe(len(rows) - owed)
	return s.in.put(rows)
}

// Owe counts n events that are going to be recorded, with Event.Owed, or are not after all if n is negative. What is owed and
// not stored when the process is killed is what LostBefore tells the next one.
func (s *Store) Owe(n int) { s.account.owe(n) }

// LostBefore returns how many events the process that had this store open before took and did not store. known is false
// where nobody can tell: without Options.Account, or when the machine was started anew.
func (s *Store) LostBefore() (n uint64, known bool) { return s.lost, s.known }

// Room waits until a quarter of the queue is free, or ctx ends. Those who ask for
// it before they record leave that quarter to those who cannot wait.
// While the database cannot be written it does not wait: nobody knows how long.
func (s *Store) Room(ctx context.Context) error { return s.in.room(ctx) }

// Flush returns when every event recorded before is durable. It fails at once
// when the database cannot be written.
func (s *Store) Flush(ctx context.Context) error { return s.in.flush(ctx) }

// Counters returns what the store counts.
func (s *Store) Counters() Counters {
	c := s.in.counters()
	c.Redacted = s.redactor.count.Load()
	return c
}

// Last returns the sequence number of the newest stored event, 0 if there was
// never one: Query.After for whoever wants only what comes next.
func (s *Store) Last() int64 {
	_, last, _, _ := s.in.watch()
	return last
}

// Changed returns a channel that is closed when the counters may be others: at
// the next commit or failure. Take it before looking at them.
func (s *Store) Changed() <-chan struct{} {
	_, _, changed, _ := s.in.watch()
	return changed
}

// Close stores what is queued, ends every Follow and closes the database. Its
// error says how many events could not be stored.
func (s *Store) Close() error {
	s.in.close()
	<-s.filled
	<-s.done
	s.disconnect()
	if s.options.Account != "" {
		_ = os.Remove(s.options.Account) // nothing was lost that failed does not tell
	}
	s.lock.Close()
	return s.failed
}

// newID writes an ID of the event at this time.
func (s *Store) newID(to []byte, at time.Time) error {
	s.idMu.Lock()
	defer s.idMu.Unlock()
	id, err := ulid.New(ulid.Timestamp(at), s.entropy)
	if errors.Is(err, ulid.ErrMonotonicOverflow) {
		// Two to the 80th in one millisecond, or an unlucky start: begin anew.
		s.entropy = ulid.Monotonic(bufio.NewReader(rand.Reader), 0)
		id, err = ulid.New(ulid.Timestamp(at), s.entropy)
	}
	if err == nil {
		err = id.MarshalTextTo(to)
	}
	if err != nil {
		return fmt.Errorf("making its ID: %w", err)
	}
	return nil
}
