// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	"google.golang.org/protobuf/proto"
)

// answerLimit is how much of an answer is read, in bytes.
const answerLimit = 1 << 20

// receiver takes events over HTTP: one configuration of an Exporter.
type receiver struct {
	config   SinkConfig
	url      string
	redacted string // without a password, for logs
	kind     string // Content-Type
	resource map[string]any
	encode   encoder
	client   *http.Client // nil: not made yet
	now      func() time.Time
	plain    bool // it does not take gzip
}

func newReceiver(c SinkConfig, resource map[string]any, encode encoder) (target, error) {
	r := &receiver{config: c, resource: resource, encode: encode, now: time.Now}
	var err error
	switch c.Format {
	case FormatHEC:
		r.kind = "application/json"
		r.url, r.redacted, err = address(c.Endpoint, "services", "collector", "event")
	case FormatNDJSON, FormatOCSF:
		r.kind = "application/x-ndjson"
		r.url, r.redacted, err = address(c.Endpoint)
	default:
		r.kind = "application/x-protobuf"
		r.url, r.redacted, err = address(c.Endpoint, "v1", "logs")
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (r *receiver) name() string { return r.redacted }

func (r *receiver) close() {
	if r.client != nil {
		r.client.CloseIdleConnections()
	}
}

// answer is what a receiver that took the request said.
type answer struct {
	rejected int64 // events it will not have; it does not say which
	message  string
}

// refusal is an answer that will be the same however often the same is sent.
type refusal struct{ reason string }

func (r *refusal) Error() string { return r.reason }

// setback is a failure that may pass.
type setback struct {
	err   error
	after time.Duration // what Retry-After asked for; 0: nothing
}

func (s *setback) Error() string { return s.err.Error() }
func (s *setback) Unwrap() error { return s.err }

// address makes the address that takes events out of an endpoint, as
// OTEL_EXPORTER_OTLP_ENDPOINT has it.
func address(endpoint string, path ...string) (full, redacted string, err error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", "", fmt.Errorf("the telemetry endpoint is no URL: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", "", fmt.Errorf("the telemetry endpoint %q must begin with http:// or https:// and name a host", u.Redacted())
	}
	if len(path) > 0 && !strings.HasSuffix(strings.TrimRight(u.Path, "/"), "/"+strings.Join(path, "/")) {
		u = u.JoinPath(path...)
	}
	u.Fragment = ""
	return u.String(), u.Redacted(), nil
}

// post sends events once. The error is a *refusal, a *setback, or the end of
// ctx.
func (r *receiver) post(ctx context.Context, events []Event) (answer, error) {
	body, err := r.encode(r.resource, events)
	if err != nil {
		return answer{}, &refusal{err.Error()}
	}
	if r.client == nil {
		if r.client, err = newClient(r.config); err != nil {
			return answer{}, &setback{err: err}
		}
	}
	a, status, err := r.try(ctx, body)
	if status == http.StatusUnsupportedMediaType && !r.plain {
		r.plain = true
		a, _, err = r.try(ctx, body)
	}
	if err != nil && ctx.Err() != nil {
		return answer{}, ctx.Err()
	}
	return a, err
}

func (r *receiver) try(ctx context.Context, body []byte) (answer, int, error) {
	if !r.plain {
		body = compress(body)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(body))
	if err != nil {
		return answer{}, 0, &setback{err: err}
	}
	for name, value := range r.config.Headers {
		req.Header.Set(name, value)
	}
	if r.config.HeadersFile != "" {
		more, err := readHeaders(r.config.HeadersFile)
		if err != nil {
			return answer{}, 0, &setback{err: err}
		}
		maps.Copy(req.Header, more)
	}
	req.Header.Set("Content-Type", r.kind)
	if !r.plain {
		req.Header.Set("Content-Encoding", "gzip")
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return answer{}, 0, &setback{err: r.hint(err)}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, answerLimit))
	if err != nil {
		return answer{}, 0, &setback{err: fmt.Errorf("reading the answer %s: %w", resp.Status, err)}
	}
	a, err := r.understand(resp, text)
	return a, resp.StatusCode, err
}

// hint says what a connection's end may mean. TLS 1.3 has a certificate refused when the request is on its way: whether
// the refusal is read before the end is seen is chance.
func (r *receiver) hint(err error) error {
	ended := errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF) ||
		strings.HasSuffix(err.Error(), "http2: client conn could not be established") // net/http has no name for it
	if r.config.CertFile != "" && ended {
		return fmt.Errorf("%w; the receiver may not accept the certificate %s", err, r.config.CertFile)
	}
	return err
}

// understand follows the OTLP specification 1.9, "OTLP/HTTP Response", but
// for one thing: only what is about the request itself is taken as final. A
// wrong password or path is put right one day, and until then nothing is lost.
func (r *receiver) understand(resp *http.Response, text []byte) (answer, error) {
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300:
		read := readAnswer
		if r.config.Format == FormatHEC {
			read = readHEC
		}
		a, err := read(resp.Header.Get("Content-Type"), text)
		if err != nil {
			return answer{}, &setback{err: fmt.Errorf("%s does not answer like a receiver of events: %w", r.redacted, err)}
		}
		return a, nil
	case code == http.StatusBadRequest, code == http.StatusRequestEntityTooLarge, code == http.StatusUnprocessableEntity:
		return answer{}, &refusal{resp.Status + explain(resp.Header.Get("Content-Type"), text)}
	default:
		err := errors.New(resp.Status + explain(resp.Header.Get("Content-Type"), text))
		return answer{}, &setback{err: err, after: retryAfter(resp.Header.Get("Retry-After"), r.now())}
	}
}

// readAnswer reads the body of a success. Some receivers send none, or JSON.
func readAnswer(contentType string, text []byte) (answer, error) {
	if len(text) == 0 {
		return answer{}, nil
	}
	kind, _, _ := mime.ParseMediaType(contentType)
	switch kind {
	case "application/x-protobuf":
		var in collector.ExportLogsServiceResponse
		if err := proto.Unmarshal(text, &in); err != nil {
			return answer{}, fmt.Errorf("reading its answer: %w", err)
		}
		return answer{in.GetPartialSuccess().GetRejectedLogRecords(), in.GetPartialSuccess().GetErrorMessage()}, nil
	case "application/json":
		var in struct {
			PartialSuccess struct {
				// A 64-bit number is text in protobuf's JSON, but not in everybody's.
				RejectedLogRecords json.RawMessage `json:"rejectedLogRecords"`
				ErrorMessage       string          `json:"errorMessage"`
			} `json:"partialSuccess"`
		}
		if err := json.Unmarshal(text, &in); err != nil {
			return answer{}, fmt.Errorf("reading its answer: %w", err)
		}
		a := answer{message: in.PartialSuccess.ErrorMessage}
		if digits := strings.Trim(string(in.PartialSuccess.RejectedLogRecords), `"`); digits != "" && digits != "null" {
			n, err := strconv.ParseInt(digits, 10, 64)
			if err != nil {
				return answer{}, fmt.Errorf("reading its answer: rejectedLogRecords: %w", err)
			}
			a.rejected = n
		}
		return a, nil
	case "text/html":
		// A portal, a login page: it says 200 to everything and keeps nothing.
		return answer{}, errors.New("its answer is a web page")
	}
	return answer{}, nil
}

// readHEC reads Splunk's answer to a success.
func readHEC(_ string, text []byte) (answer, error) {
	var in struct {
		Text string `json:"text"`
		Code *int   `json:"code"`
	}
	if err := json.Unmarshal(text, &in); err != nil || in.Code == nil {
		return answer{}, errors.New("its answer has no code, as Splunk's has")
	}
	if *in.Code != 0 {
		return answer{}, fmt.Errorf("code %d: %s", *in.Code, in.Text)
	}
	return answer{}, nil
}

// explain is what a receiver says of a failure, short enough for a log line.
func explain(contentType string, text []byte) string {
	const limit = 300
	kind, _, _ := mime.ParseMediaType(contentType)
	message := string(text)
	switch kind {
	case "application/x-protobuf":
		message = statusMessage(text)
	case "text/html":
		message = ""
	}
	message, _ = escape(strings.Join(strings.Fields(message), " "))
	if message == "" {
		return ""
	}
	message, _ = truncate(message, limit)
	return ": " + message
}

// retryAfter reads seconds or a date, as RFC 9110 10.2.3 has them; 0 if there
// is none, or none that makes sense.
func retryAfter(header string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

func compress(body []byte) []byte {
	var b bytes.Buffer
	b.Grow(len(body) / 4)
	w, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed) // which is a level
	_, _ = w.Write(body)                            // a bytes.Buffer never fails
	_ = w.Close()
	return b.Bytes()
}
