// SPDX-License-Identifier: Apache-2.0

package join

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// MaxAlert bounds an alert, in bytes.
const MaxAlert = 1 << 20

// clues are where alerts say what they are about, the most telling first: as
// Paddock's own events, OCSF, ECS, Microsoft Defender, Sysmon and Falco have it.
// A clue fits a field of that name wherever it stands.
var clues = []struct {
	kind  Kind
	paths []string
}{
	{KindEvent, []string{"log.record.uid", "metadata.uid"}},
	{KindCall, []string{"paddock.tool_call.id"}},
	{KindPID, []string{"process.pid", "proc.pid", "processid", "initiatingprocessid", "pid"}},
	{KindCommand, []string{
		"process.command_line", "process.cmd_line", "proc.cmdline", "processcommandline", "initiatingprocesscommandline",
		"commandline", "command_line", "cmdline",
	}},
	{KindHost, []string{
		"destination.domain", "dst_endpoint.hostname", "server.address", "remoteurl", "destination.ip", "dst_endpoint.ip",
		"destination.address", "remoteip", "destinationip", "fd.sip",
	}},
	{KindFile, []string{"file.path", "fd.name", "targetfilename", "filepath"}},
}

var alertTimes = []string{"@timestamp", "timestamp", "event.created", "evt.time", "time", "utctime"}

// ParseAlert finds what an alert of an endpoint security product is about: the
// subjects to try, the most telling first. The format is not asked for: a field
// counts by its name.
func ParseAlert(data []byte) ([]Subject, error) {
	if len(data) > MaxAlert {
		return nil, fmt.Errorf("reading an alert: more than %d bytes", MaxAlert)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var any any
	if err := d.Decode(&any); err != nil {
		return nil, fmt.Errorf("reading an alert: it is no JSON: %w", err)
	}
	fields := map[string]string{}
	if err := flatten(fields, "", any, 0); err != nil {
		return nil, fmt.Errorf("reading an alert: %w", err)
	}
	at := alertTime(fields)
	var out []Subject
	// An event of Paddock's, as `paddock events --json` prints it.
	if strings.HasPrefix(fields["name"], "paddock.") && fields["id"] != "" {
		out = append(out, Subject{Kind: KindEvent, Value: fields["id"]})
	}
	for _, c := range clues {
		for _, path := range c.paths {
			value := lookup(fields, path)
			if c.kind == KindHost && strings.Contains(value, "://") {
				_, value, _ = strings.Cut(value, "://")
				value, _, _ = strings.Cut(value, "/")
			}
			s := Subject{Kind: c.kind, Value: value, At: at}
			if s.Check() == nil {
				out = append(out, s)
				break
			}
		}
	}
	if len(out) == 0 {
		return nil, errors.New("reading an alert: no process, command, host, file or event in it (fields such as process.pid, process.command_line, destination.ip, file.path)")
	}
	return out, nil
}

const (
	maxAlertDepth  = 32
	maxAlertFields = 10_000
)

// flatten writes each value under the names that lead to it, joined by dots, in
// small letters. The first one of a name counts.
func flatten(into map[string]string, name string, v any, depth int) error {
	if depth > maxAlertDepth || len(into) > maxAlertFields {
		return fmt.Errorf("more than %d fields, or deeper than %d", maxAlertFields, maxAlertDepth)
	}
	switch v := v.(type) {
	case map[string]any:
		for key, inner := range v {
			key = strings.ToLower(key)
			if name != "" {
				key = name + "." + key
			}
			if err := flatten(into, key, inner, depth+1); err != nil {
				return err
			}
		}
	case []any:
		for _, inner := range v {
			if err := flatten(into, name, inner, depth+1); err != nil {
				return err
			}
		}
	case string:
		put(into, name, v)
	case json.Number:
		put(into, name, v.String())
	}
	return nil
}

func put(into map[string]string, name, value string) {
	if _, there := into[name]; !there {
		into[name] = value
	}
}

// lookup finds a field by the end of its name; the shortest name wins.
func lookup(fields map[string]string, path string) string {
	best := ""
	for name := range fields {
		if name == path || strings.HasSuffix(name, "."+path) {
			if best == "" || len(name) < len(best) || len(name) == len(best) && name < best {
				best = name
			}
		}
	}
	return fields[best]
}

func alertTime(fields map[string]string) time.Time {
	for _, path := range alertTimes {
		value := lookup(fields, path)
		if value == "" {
			continue
		}
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999"} {
			if at, err := time.Parse(layout, value); err == nil {
				return at
			}
		}
		if n, err := strconv.ParseFloat(value, 64); err == nil && n > 0 && !math.IsInf(n, 0) {
			// Seconds, milliseconds (OCSF) or nanoseconds (Falco), by their size.
			for n > 1e11 {
				n /= 1000
			}
			return time.Unix(int64(n), int64(n*1e9)%1e9).UTC()
		}
	}
	return time.Time{}
}

// ExplainFirst explains the first subject that an event is about.
func ExplainFirst(explain func(Subject) (*Story, error), subjects []Subject) (*Story, error) {
	var first error
	for _, s := range subjects {
		story, err := explain(s)
		if err == nil {
			return story, nil
		}
		if !errors.Is(err, ErrNothing) {
			return nil, err
		}
		if first == nil {
			first = err
		}
	}
	if first == nil {
		first = ErrNothing
	}
	return nil, first
}
