// SPDX-License-Identifier: Apache-2.0

package receiver

import "sync"

// Limits of what agents may send. A zero field stands for its default.
type Limits struct {
	Packed      int64 // bytes of a request as it comes; default 4 MiB
	Unpacked    int64 // bytes of a request, uncompressed; default 8 MiB
	Objects     int   // messages inside a request: what decoding costs; default 200,000
	Record      int   // bytes of one record's attributes; default 256 KiB
	Attributes  int   // of one record; default 128
	Rate        int   // records a second of a session, over time; default 1,000
	Burst       int   // records of a session at once; default 20,000
	Volume      int   // bytes of records' attributes a second of a session, over time; default 1 MiB
	Store       int   // of those at once; default 64 MiB
	Names       int   // of records, metrics and spans that a session may use; default 1,000
	Keys        int   // names of attributes that a session may use; default 4,000
	Connections int   // of one session at a time; default 32
	Total       int   // connections; default 512
}

func (l Limits) withDefaults() Limits {
	for _, d := range []struct {
		field *int
		value int
	}{
		{&l.Objects, 200_000},
		{&l.Record, 256 << 10},
		{&l.Attributes, 128},
		{&l.Rate, 1000},
		{&l.Burst, 20_000},
		{&l.Volume, 1 << 20},
		{&l.Store, 64 << 20},
		{&l.Names, 1000},
		{&l.Keys, 4000},
		{&l.Connections, 32},
		{&l.Total, 512},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if l.Packed <= 0 {
		l.Packed = 4 << 20
	}
	if l.Unpacked <= 0 {
		l.Unpacked = 8 << 20
	}
	return l
}

// places counts connections: no session can take what the others need.
type places struct {
	limits Limits
	mu     sync.Mutex
	total  int
	of     map[string]int // by session; empty: of those not governed, together
}

func newPlaces(l Limits) *places { return &places{limits: l, of: map[string]int{}} }

func (p *places) take(session string) (free func(), ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.total >= p.limits.Total || p.of[session] >= p.limits.Connections {
		return nil, false
	}
	p.total++
	p.of[session]++
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.total--
		if p.of[session]--; p.of[session] == 0 {
			delete(p.of, session)
		}
	}), true
}
