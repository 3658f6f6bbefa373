// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func startExporters(t *testing.T, s *Store, sinks ...SinkConfig) *Exporters {
	t.Helper()
	e := NewExporters(s, ExporterOptions{
		Linger: -1, FirstRetry: time.Millisecond, LastRetry: 4 * time.Millisecond, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Resource: map[string]string{"service.version": "1.2.3", "host.name": "laptop", "os.type": "linux"},
	})
	e.Configure(sinks)
	e.Start(t.Context())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := e.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return e
}

// waitForSink waits until a sink's counters are as wanted.
func waitForSink(t *testing.T, s *Store, name, what string, ok func(SinkCounters) bool) {
	t.Helper()
	timeout := time.NewTimer(30 * time.Second)
	defer timeout.Stop()
	for {
		changed := s.Changed()
		c := s.Counters().Sinks[name]
		if ok(c) {
			return
		}
		select {
		case <-changed:
		case <-timeout.C:
			t.Fatalf("waiting for %s of %s: counters are %+v", what, name, c)
		}
	}
}

// lines reads JSON objects, one a line.
func lines(t *testing.T, r io.Reader) []map[string]any {
	t.Helper()
	var out []map[string]any
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		var o map[string]any
		if err := json.Unmarshal(scanner.Bytes(), &o); err != nil {
			t.Errorf("%q: %v", scanner.Text(), err)
			continue
		}
		out = append(out, o)
	}
	return out
}

func readLines(t *testing.T, file string) []map[string]any {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return lines(t, bytes.NewReader(data))
}

// One sink is down, others are not: each goes on by itself, and comes back to
// where it was.
func TestSinksDoNotWaitForEachOther(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	up, down := newSinkServer(t), newSinkServer(t)
	down.set(refuseWith(http.StatusServiceUnavailable))
	file := filepath.Join(t.TempDir(), "events.ndjson")
	sinks := []SinkConfig{{Endpoint: up.URL}, {Name: "second", Endpoint: down.URL}, {Name: "file", Format: FormatNDJSON, File: file}}
	e := startExporters(t, s, sinks...)
	record(t, s, numbered(1, 1000)...)
	waitForSink(t, s, SinkOTLP, "everything", exported(1000))
	waitForSink(t, s, "file", "everything", exported(1000))
	if c := s.Counters().Sinks["second"]; c.Exported != 0 || c.Waiting != 1000 {
		t.Errorf("the one that is down: %+v", c)
	}
	var seen []string
	for _, status := range e.Status() {
		seen = append(seen, status.Name)
		if status.Name == "second" && (status.State == ExporterSending || status.Waiting != 1000) {
			t.Errorf("the one that is down: %+v", status)
		}
	}
	if want := []string{"file", "otlp", "second"}; !slices.Equal(seen, want) {
		t.Errorf("sinks are %q, want %q", seen, want)
	}
	down.set(nil)
	waitForSink(t, s, "second", "everything", exported(1000))
	// Taken out, it gets nothing; back again, it goes on.
	e.Configure(sinks[:1])
	waitForSink(t, s, "second", "being off", func(c SinkCounters) bool { return !c.Active })
	record(t, s, numbered(1001, 1010)...)
	waitForSink(t, s, SinkOTLP, "the rest", exported(1010))
	e.Configure(sinks)
	waitForSink(t, s, "second", "the rest", exported(1010))
	if got, _ := down.got(); !slices.Equal(got, sequence(1, 1010)) {
		t.Errorf("the second got %d events", len(got))
	}
	checkIdentities(t, s)
}

// A sink that a file of before speaks of and the requirements do not any more.
func TestForgottenSinkIsNotWaitedFor(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, Options{})
	if err := s.activate(t.Context(), "gone", true); err != nil {
		t.Fatal(err)
	}
	startExporters(t, s)
	waitForSink(t, s, "gone", "being off", func(c SinkCounters) bool { return !c.Active })
}

func TestFileSink(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "events.ndjson")
	// What a crash left of a line.
	if err := os.WriteFile(file, []byte(`{"seq":1,"id`), 0o600); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, t.TempDir(), Options{})
	startExporters(t, s, SinkConfig{Name: "file", Format: FormatNDJSON, File: file})
	record(t, s, numbered(1, 3)...)
	waitForSink(t, s, "file", "three", exported(3))
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "\n")
	got := lines(t, strings.NewReader(rest))
	if len(got) != 3 {
		t.Fatalf("the file has %q", data)
	}
	stored := query(t, s, Query{})
	for i, o := range got {
		if o["id"] != stored[i].ID || o["name"] != NameProcessExec || o["resource"].(map[string]any)["host.name"] != "laptop" {
			t.Errorf("line %d is %v", i, o)
		}
	}
	// It is rotated away.
	if err := os.Rename(file, file+".1"); err != nil {
		t.Fatal(err)
	}
	record(t, s, numbered(4, 5)...)
	waitForSink(t, s, "file", "two more", exported(5))
	if got := readLines(t, file); len(got) != 2 {
		t.Errorf("the new file has %v", got)
	}
	// It is a link to somewhere else.
	other := filepath.Join(dir, "other")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, file); err != nil {
		t.Fatal(err)
	}
	if err := appendTo(file, []byte("x\n")); err == nil {
		t.Error("events were written through a symbolic link")
	}
}

func TestOCSF(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ocsf.ndjson")
	s := openStore(t, t.TempDir(), Options{})
	startExporters(t, s, SinkConfig{Name: "ocsf", Format: FormatOCSF, File: file})
	at := time.Date(2026, 11, 24, 1, 2, 3, 4e6, time.UTC)
	exec := execEvent(1, at)
	exec.Attrs[AttrDecision], exec.Attrs[AttrRule] = "forbidden", "git log"
	network := Event{Time: at, Name: NameNetworkDecision, Severity: Warn, Attrs: map[string]any{
		AttrProcessPID: 7, AttrDestinationAddress: "192.0.2.1", AttrDestinationPort: 443, AttrDecision: "deny", AttrDecisionEnforced: false, AttrNetworkTransport: "tcp",
	}}
	record(t, s, exec, network, Event{Name: NameTamper, Attrs: map[string]any{AttrTamperTarget: 1}}, Event{Name: "unheard.of"})
	waitForSink(t, s, "ocsf", "all", exported(4))
	got := readLines(t, file)
	if len(got) != 4 {
		t.Fatalf("the file has %v", got)
	}
	for i, want := range []map[string]any{
		{
			"class_uid": 1007.0, "category_uid": 1.0, "activity_id": 99.0, "type_uid": 100799.0, "time": float64(at.UnixMilli()), "severity_id": 1.0,
			"action_id": 2.0, "disposition_id": 2.0, "process.pid": 4001.0, "process.cmd_line": "git -c core.pager=cat log --oneline -n 1",
			"process.file.path": "/usr/bin/git", "process.parent_process.pid": 3999.0, "process.user.name": "dev", "actor.session.uid": exec.Session,
			"metadata.version": "1.8.0", "metadata.log_name": NameProcessExec, "metadata.correlation_uid": "call_0", "device.hostname": "laptop",
			"unmapped.paddock.mode": "enforce", "activity_name": NameProcessExec,
		},
		{
			"class_uid": 4001.0, "activity_id": 5.0, "type_uid": 400105.0, "dst_endpoint.ip": "192.0.2.1", "dst_endpoint.port": 443.0,
			"actor.process.pid": 7.0, "action_id": 3.0, "severity_id": 3.0, "connection_info.protocol_name": "tcp",
		},
		{"class_uid": 2004.0, "finding_info.title": NameTamper, "unmapped.paddock.tamper.target.pid": 1.0},
		{"class_uid": 0.0, "type_uid": 99.0, "activity_name": "unheard.of"},
	} {
		for path, value := range want {
			if have := dig(got[i], path); have != value {
				t.Errorf("event %d: %s is %v, want %v", i, path, have, value)
			}
		}
		for _, required := range []string{"category_uid", "class_uid", "activity_id", "type_uid", "time", "severity_id", "metadata.version", "metadata.product.name", "metadata.uid"} {
			if dig(got[i], required) == nil {
				t.Errorf("event %d: %s, which every class needs, is missing", i, required)
			}
		}
	}
}

// dig looks a dotted path up; below unmapped, names have dots of their own.
func dig(o map[string]any, path string) any {
	first, rest, more := strings.Cut(path, ".")
	if !more {
		return o[first]
	}
	inner, _ := o[first].(map[string]any)
	if first == "unmapped" {
		return inner[rest]
	}
	return dig(inner, rest)
}

// hec is a Splunk HTTP Event Collector as its documentation describes it.
type hec struct {
	mu      sync.Mutex
	events  []map[string]any
	busy    int           // so many answers more are 503
	refused chan struct{} // holds one; filled when a token was wrong
}

func (h *hec) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	answer := func(status, code int, text string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"text": text, "code": code})
	}
	body, err := gzip.NewReader(r.Body)
	switch {
	case r.URL.Path != "/services/collector/event":
		answer(404, 404, "The requested URL was not found on this server.")
	case r.Header.Get("Authorization") != "Splunk 0123-4567":
		answer(403, 4, "Invalid token")
		select {
		case h.refused <- struct{}{}:
		default:
		}
	case h.busy > 0:
		h.busy--
		answer(503, 9, "Server is busy")
	case err != nil:
		answer(400, 6, "Invalid data format")
	default:
		d := json.NewDecoder(body)
		for {
			var e map[string]any
			if err := d.Decode(&e); err != nil {
				break
			}
			h.events = append(h.events, e)
		}
		answer(200, 0, "Success")
	}
}

func TestSplunk(t *testing.T) {
	h := &hec{busy: 2, refused: make(chan struct{}, 1)}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	secrets := filepath.Join(t.TempDir(), "hec.headers")
	if err := os.WriteFile(secrets, []byte("# the token\nAuthorization: Splunk wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, t.TempDir(), Options{})
	startExporters(t, s, SinkConfig{Name: "siem", Format: FormatHEC, Endpoint: server.URL, HeadersFile: secrets})
	at := time.Date(2026, 11, 24, 1, 2, 3, 4e6, time.UTC)
	record(t, s, Event{Time: at, Name: NameProcessExec, Session: "S", Attrs: map[string]any{"n": 1}}, Event{Name: NameDaemonStop})
	// The token is put right while it runs, and that is all that it takes.
	<-h.refused
	if err := os.WriteFile(secrets, []byte("Authorization: Splunk 0123-4567\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	waitForSink(t, s, "siem", "both", exported(2))
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.events) != 2 {
		t.Fatalf("Splunk has %v", h.events)
	}
	first := h.events[0]
	if first["time"] != 1795482123.004 || first["host"] != "laptop" || first["sourcetype"] != "paddock:event" || dig(first, "event.name") != NameProcessExec ||
		first["fields"].(map[string]any)[AttrRecordUID] == nil {
		t.Errorf("the first event is %v", first)
	}
}

func TestHeadersFile(t *testing.T) {
	for text, want := range map[string]string{
		"Authorization Bearer x": "line 1 is no header", "a: b\n\nb c: d": "line 3 is no header", "a: b\x01": "control character",
	} {
		if _, err := parseHeaders("f", []byte(text)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "Bearer") {
			t.Errorf("%q: %v", text, err)
		}
	}
	file := filepath.Join(t.TempDir(), "headers")
	if err := os.WriteFile(file, []byte("a: b"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := readHeaders(file); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file that everybody can read: %v", err)
	}
}

func FuzzHeadersFile(f *testing.F) {
	f.Add([]byte("# x\nAuthorization: Bearer y\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		headers, err := parseHeaders("f", text)
		if err != nil {
			return
		}
		for name, values := range headers {
			if !isToken(name) || strings.ContainsAny(values[0], "\r\n") {
				t.Errorf("%q became %q: %q", text, name, values)
			}
		}
	})
}

// certificate makes a key and a certificate by ca, or by itself if that is nil,
// and writes both to files.
func certificate(t *testing.T, dir, name string, ca *tls.Certificate) (tls.Certificate, string, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: ca == nil, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	parent, signer := template, any(key)
	if ca != nil {
		parent, signer = ca.Leaf, ca.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile := filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	certPEM, keyPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	if err := os.WriteFile(certFile, certPEM, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(keyFile, keyPEM, 0o600); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return pair, certFile, keyFile
}

// Who takes events is known by its certificate, and knows us by ours.
func TestMutualTLS(t *testing.T) {
	dir := t.TempDir()
	ca, caFile, _ := certificate(t, dir, "ca", nil)
	server, _, _ := certificate(t, dir, "server", &ca)
	_, certFile, keyFile := certificate(t, dir, "client", &ca)
	stranger, strangerCA, _ := certificate(t, dir, "stranger", nil)
	_, badCert, badKey := certificate(t, dir, "bad", &stranger)

	sink := newSinkServer(t)
	roots := x509.NewCertPool()
	roots.AddCert(ca.Leaf)
	secure := httptest.NewUnstartedServer(sink.Config.Handler)
	secure.TLS = &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots}
	secure.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	secure.StartTLS()
	t.Cleanup(secure.Close)

	s := openStore(t, t.TempDir(), Options{})
	record(t, s, numbered(1, 3)...)
	good := SinkConfig{Name: "tls", Endpoint: secure.URL, CAFile: caFile, CertFile: certFile, KeyFile: keyFile}
	for name, c := range map[string]SinkConfig{
		"none of ours":        {Name: "tls", Endpoint: secure.URL, CAFile: caFile},
		"another's":           {Name: "tls", Endpoint: secure.URL, CAFile: caFile, CertFile: badCert, KeyFile: badKey},
		"not one we trust":    {Name: "tls", Endpoint: secure.URL, CAFile: strangerCA, CertFile: certFile, KeyFile: keyFile},
		"the machine's trust": {Name: "tls", Endpoint: secure.URL, CertFile: certFile, KeyFile: keyFile},
		"no such file":        {Name: "tls", Endpoint: secure.URL, CAFile: filepath.Join(dir, "none")},
	} {
		target, err := newTarget(c, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := target.post(t.Context(), query(t, s, Query{})); err == nil {
			t.Errorf("%s: events were sent", name)
		}
		target.close()
	}
	if got, _ := sink.got(); len(got) != 0 {
		t.Fatalf("it took %v", got)
	}
	startExporters(t, s, good)
	waitForSink(t, s, "tls", "all", exported(3))
	if err := os.Chmod(keyFile, 0o644); err != nil {
		t.Fatal(err)
	}
	target, err := newTarget(good, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := target.post(t.Context(), query(t, s, Query{})); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("with a key that everybody can read: %v", err)
	}
}
