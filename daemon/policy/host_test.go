// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"strconv"
	"strings"
	"testing"
)

func TestHostsHaveOneForm(t *testing.T) {
	for canonical, spellings := range map[string][]string{
		"example.com":           {"example.com", "EXAMPLE.com", "example.com.", "ExAmPlE.CoM.", "ｅｘａｍｐｌｅ．ｃｏｍ", "example。com"},
		"xn--bcher-kva.example": {"bücher.example", "BÜCHER.example", "xn--bcher-kva.example", "XN--bcher-kva.example", "bu\u0308cher.example"},
		"xn--fa-hia.de":         {"faß.de"},
		"_srv.example":          {"_srv.example", "_SRV.example."},
		"127.0.0.1":             {"127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "017700000001", "0177.0.0.01", "127.0.0.1.", "１２７.0.0.1", "::ffff:127.0.0.1", "[::ffff:7f00:1]", "64:ff9b::7f00:1", "[::ffff:127.0.0.1]"},
		"0.0.0.0":               {"0", "0.0.0.0", "0x", "00", "::ffff:0.0.0.0"},
		"169.254.169.254":       {"169.254.169.254", "0xa9fea9fe", "2852039166", "169.254.43518", "0251.0376.0251.0376"},
		"::1":                   {"::1", "[::1]", "0:0:0:0:0:0:0:1", "[0::1]"},
		"fe80::1":               {"fe80::1%eth0", "[fe80::1%eth0]", "FE80::1"},
	} {
		want, err := ParseHost(canonical)
		if err != nil || want.String() != canonical {
			t.Errorf("%q is read as %q, %v", canonical, want, err)
		}
		for _, s := range spellings {
			if got, err := ParseHost(s); err != nil || got != want {
				t.Errorf("%q is %q (%v), want %q", s, got, err, canonical)
			}
		}
	}
}

func TestWhatTwoProgramsReadDifferentlyIsNoHost(t *testing.T) {
	for _, s := range []string{
		"", ".", "..", "a..b", ".example.com", "example.com..", "allowed.example\x00.evil.example", "allowed.example\n", " example.com", "exa mple.com",
		"user@example.com", "evil.example#allowed.example", "allowed.example/evil", "allowed.example\\.evil.example", "a%2ecom", "example.com%00",
		"example.com:443", "[example.com]", "[127.0.0.1]", "[::1", "::1]", "[::1]x", "1.2.3.4.5", "256.256.256.256", "1.2.3.256", "0x1ffffffff", "4294967296",
		"08.8.8.8", "1.2.3.08", "1.2.3.x.4", "1..2", "example.1", "example.0x1", "127.0.0.1..", "a,b", "a;b", "*.example.com", "example.com\u200b/", "a\u2100b.example", "\xff.example",
		"xn--\u00fc.example", "xn--a.example.xn--", strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 127) + "example", strings.Repeat("a", 5000), "http://example.com", "1.2.3.+4",
	} {
		if got, err := ParseHost(s); err == nil {
			t.Errorf("%q is read as %q; it must be refused", s, got)
		}
	}
}

func TestHostAndPort(t *testing.T) {
	for s, want := range map[string]string{
		"example.com:443": "example.com 443", "EXAMPLE.com.:8443": "example.com 8443", "example.com": "example.com 80", "[::1]:22": "::1 22", "[::1]": "::1 80",
		"::1": "::1 80", "127.1:8080": "127.0.0.1 8080", "[::ffff:10.0.0.1]:1": "10.0.0.1 1",
	} {
		h, port, err := ParseHostPort(s, 80)
		if got := h.String() + " " + strconv.Itoa(int(port)); err != nil || got != want {
			t.Errorf("%q is %q (%v), want %q", s, got, err, want)
		}
	}
	for _, s := range []string{"example.com:", "example.com:0", "example.com:65536", "example.com:+1", "example.com:1:2", "[::1]:", "[::1]x:1", "[::1]:x", ":443", "example.com:443 ", "example.com:0x50", "example.com:٤"} {
		if h, port, err := ParseHostPort(s, 80); err == nil {
			t.Errorf("%q is read as %s port %d; it must be refused", s, h, port)
		}
	}
	if _, _, err := ParseHostPort("example.com", 0); err == nil {
		t.Error("a host without a port must be refused where none is implied")
	}
}

func FuzzParseHost(f *testing.F) {
	for _, s := range []string{"example.com", "bücher.example.", "0x7f.1", "[fe80::1%eth0]", "64:ff9b::a", "xn--bcher-kva.de", "ｅ．ｃｏｍ", "0177.1", "a\x00b", "xn--\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := ParseHost(s)
		if err != nil {
			return
		}
		again, err := ParseHost(h.String())
		if err != nil || again != h {
			t.Fatalf("%q is %q, which is %q (%v): the form is not canonical", s, h, again, err)
		}
		if strings.ContainsFunc(h.Name(), func(r rune) bool { return r > 0x7f || forbiddenInHost(r) || r >= 'A' && r <= 'Z' }) {
			t.Fatalf("%q gives the name %q", s, h.Name())
		}
		if strings.ContainsAny(s, "@/\\\x00 ") && !strings.Contains(s, "%") {
			t.Fatalf("%q is read as %q", s, h)
		}
	})
}
