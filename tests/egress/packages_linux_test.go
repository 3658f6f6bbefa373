// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-649e9bbc/paddock/tests/egress/rig"
)

// archive makes a zip of name, content, name, content...
func archive(t *testing.T, parts ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(parts); i += 2 {
		f, err := w.Create(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		_, _ = f.Write([]byte(parts[i+1]))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// registry serves one package of each kind, as npm, pip and go want it.
func registry(t *testing.T) http.Handler {
	t.Helper()
	mux := http.NewServeMux()
	serve := func(path, kind string, data []byte) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			_, _ = w.Write(data)
		})
	}
	wheel := archive(t, "pdk_test/__init__.py", "", "pdk_test-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: pdk-test\nVersion: 1.0\n",
		"pdk_test-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n", "pdk_test-1.0.dist-info/RECORD", "")
	serve("/simple/pdk-test/", "text/html", []byte(`<!DOCTYPE html><html><body><a href="/files/pdk_test-1.0-py3-none-any.whl">pdk_test-1.0-py3-none-any.whl</a></body></html>`))
	serve("/files/pdk_test-1.0-py3-none-any.whl", "application/zip", wheel)

	serve("/mod/pdk.test/m/@v/v1.0.0.info", "application/json", []byte(`{"Version":"v1.0.0","Time":"2024-01-01T00:00:00Z"}`))
	serve("/mod/pdk.test/m/@v/v1.0.0.mod", "text/plain", []byte("module pdk.test/m\n"))
	serve("/mod/pdk.test/m/@v/v1.0.0.zip", "application/zip", archive(t, "pdk.test/m@v1.0.0/go.mod", "module pdk.test/m\n", "pdk.test/m@v1.0.0/m.go", "package m\n"))

	var packed bytes.Buffer // an npm package with one file
	tarball(t, &packed, "package/package.json", `{"name":"pdk-test","version":"1.0.0"}`)
	sum := sha1.Sum(packed.Bytes())
	mux.HandleFunc("/npm/pdk-test", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"name":"pdk-test","dist-tags":{"latest":"1.0.0"},"versions":{"1.0.0":{"name":"pdk-test","version":"1.0.0","dist":{"tarball":"https://%s/npm/pdk-test.tgz","integrity":"sha1-%s"}}}}`,
			r.Host, base64.StdEncoding.EncodeToString(sum[:]))
	})
	serve("/npm/pdk-test.tgz", "application/octet-stream", packed.Bytes())
	return mux
}

// Package managers, each with what it downloads a package from.
func TestPackageManagers(t *testing.T) {
	clients := []client{
		{"npm", "npm", []string{"install", "--prefix", "{dir}", "--cache", "{dir}/cache", "--registry", "https://localhost:{https}/npm/", "--cafile", "{ca}", "--fetch-retries", "0", "--no-audit", "--no-fund", "--no-update-notifier", "pdk-test"}, "", "added 1 package", "access denied"},
		{"pip", "/usr/bin/python3", []string{"-m", "pip", "-vvv", "download", "--isolated", "--no-cache-dir", "--disable-pip-version-check", "--no-deps", "--retries", "0", "--dest", "{dir}", "--cert", "{ca}", "--index-url", "https://localhost:{https}/simple/", "pdk-test"}, "", "Successfully downloaded pdk-test", "ACCESS_DENIED"},
		{"go", "go", []string{"mod", "download", "-x", "pdk.test/m@v1.0.0"}, "", "# get https://localhost:{https}/mod/pdk.test/m/@v/v1.0.0.zip: 200 OK", "access denied"},
	}
	for _, requirements := range []string{allowing, denying} {
		authority := rig.NewAuthority(t)
		r := rig.New(t, rig.Options{Requirements: requirements, Nobody: true})
		at := r.Redirect(t, rig.Serve(t, registry(t), &tls.Config{Certificates: []tls.Certificate{authority.Certificate(t, "localhost")}, NextProtos: []string{"h2", "http/1.1"}}))
		for _, c := range clients {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				// The go command leaves a process behind that writes there, also when the directory is to be removed.
				settings := filepath.Join(dir, ".config/go/telemetry")
				if err := errors.Join(os.MkdirAll(settings, 0o755), os.WriteFile(filepath.Join(settings, "mode"), []byte("off"), 0o644)); err != nil {
					t.Fatal(err)
				}
				words := strings.NewReplacer("{dir}", dir, "{ca}", authority.File, "{https}", at[strings.LastIndexByte(at, ':')+1:])
				var args []string
				for _, a := range c.args {
					args = append(args, words.Replace(a))
				}
				ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
				defer cancel()
				cmd := exec.CommandContext(ctx, c.program, args...)
				cmd.Dir = dir
				cmd.Env = append(cleanEnv(), words.Replace("SSL_CERT_FILE={ca}"), words.Replace("GOPROXY=https://localhost:{https}/mod"), "GONOSUMDB=*", words.Replace("REQUESTS_CA_BUNDLE={ca}"), "GOFLAGS=-modcacherw",
					words.Replace("GOMODCACHE={dir}/mod"), words.Replace("GOPATH={dir}/gopath"), "GOTOOLCHAIN=local", words.Replace("HOME={dir}"))
				out, err := cmd.CombinedOutput()
				want := c.want
				if requirements == denying {
					want = c.denied
				}
				if (err == nil) != (requirements == allowing) || !strings.Contains(string(out), words.Replace(want)) {
					t.Errorf("%s %.300q: %v\n%.3000s\nwant %s", c.program, args, err, out, want)
				}
			})
		}
	}
}

// tarball writes a compressed archive with one file.
func tarball(t *testing.T, to io.Writer, name, content string) {
	t.Helper()
	zipped := gzip.NewWriter(to)
	w := tar.NewWriter(zipped)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write([]byte(content))
	if err := errors.Join(w.Close(), zipped.Close()); err != nil {
		t.Fatal(err)
	}
}
