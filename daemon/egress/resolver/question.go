// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
)

// question is what a client asked, as far as we go along with it.
type question struct {
	header dnsmessage.Header
	asked  dnsmessage.Question // as the client spelt it
	name   string              // canonical: policy.Host
	want   asked
	edns   bool // the client speaks EDNS
	size   int  // bytes of an answer that the client takes in a datagram
}

// Types of records that are answered, but for which dnsmessage has no name.
const (
	typeDS     = dnsmessage.Type(43)
	typeSSHFP  = dnsmessage.Type(44)
	typeDNSKEY = dnsmessage.Type(48)
	typeTLSA   = dnsmessage.Type(52)
	typeRRSIG  = dnsmessage.Type(46)
	typeNSEC   = dnsmessage.Type(47)
	typeNSEC3  = dnsmessage.Type(50)
	typeCAA    = dnsmessage.Type(257)
)

// smallTypes are answered for every name that policy does not deny: their answers are
// addresses and names, which bring in some data too, but that is what a client needs.
func smallType(t dnsmessage.Type) bool {
	switch t {
	case dnsmessage.TypeA, dnsmessage.TypeAAAA, dnsmessage.TypeCNAME, dnsmessage.TypePTR, dnsmessage.TypeSRV,
		dnsmessage.TypeSVCB, dnsmessage.TypeHTTPS, dnsmessage.TypeSOA, dnsmessage.TypeNS:
		return true
	}
	return false
}

// freeType are answered too for names that policy allows. Their answers can hold what
// somebody likes, in good measure: with an unfamiliar name, that is a way in for
// instructions and a way out for data. Keys and signatures are no better: a zone may call
// so what it likes.
func freeType(t dnsmessage.Type) bool {
	switch t {
	case dnsmessage.TypeTXT, dnsmessage.TypeMX, typeSSHFP, typeTLSA, typeCAA, typeDS, typeDNSKEY:
		return true
	}
	return false
}

// read understands a client's message, or says with which code it is answered. ok is
// false when there is nothing to be answered.
func read(raw []byte) (q question, code dnsmessage.RCode, ok bool) {
	var p dnsmessage.Parser
	h, err := p.Start(raw)
	if err != nil || h.Response {
		return q, 0, false // answering an answer makes two servers talk for ever
	}
	q.header = h
	q.size = 512
	if h.OpCode != 0 {
		return q, dnsmessage.RCodeNotImplemented, true
	}
	if q.asked, err = p.Question(); err != nil {
		return q, dnsmessage.RCodeFormatError, true
	}
	if _, err := p.Question(); err == nil {
		q.asked = dnsmessage.Question{}
		return q, dnsmessage.RCodeFormatError, true // two questions: nobody answers that
	}
	if p.SkipAllAnswers() != nil || p.SkipAllAuthorities() != nil {
		return q, dnsmessage.RCodeFormatError, true
	}
	q.want.checked, q.want.checking = h.AuthenticData, h.CheckingDisabled
	for {
		r, err := p.AdditionalHeader()
		if err != nil {
			break
		}
		if r.Type == dnsmessage.TypeOPT && !q.edns {
			q.edns = true
			q.size = min(max(int(r.Class), 512), 4096)
			q.want.dnssec = r.DNSSECAllowed()
			if version := r.TTL >> 16 & 0xff; version != 0 {
				return q, dnsmessage.RCodeFormatError, true
			}
		}
		if p.SkipAdditional() != nil {
			return q, dnsmessage.RCodeFormatError, true
		}
	}
	if q.asked.Class != dnsmessage.ClassINET {
		return q, dnsmessage.RCodeRefused, true // CHAOS tells of the server, ANY is for abuse
	}
	host, err := policy.ParseHost(q.asked.Name.String())
	if err != nil || host.Name() == "" {
		// The root, an address as a name, bytes that are in no name.
		return q, dnsmessage.RCodeNameError, true
	}
	q.name = host.Name()
	return q, dnsmessage.RCodeSuccess, true
}

// canonical is a name of an answer in the form of policy.Host; empty if it has none.
func canonical(n dnsmessage.Name) string {
	host, err := policy.ParseHost(n.String())
	if err != nil {
		return ""
	}
	return host.Name()
}

// under reports whether name is domain or below it.
func under(name, domain string) bool {
	return name == domain || strings.HasSuffix(name, "."+domain)
}
