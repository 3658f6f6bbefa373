// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	// maxAliases is how many CNAMEs are followed.
	maxAliases = 16
	// maxRecords is how many records of the asked type are given, and so how many
	// addresses are remembered. Nobody needs as many.
	maxRecords = 64
)

// answered is what of a server's message is given to the client.
type answered struct {
	message dnsmessage.Message
	// names are those the question leads through: the asked one, then its aliases.
	names     []string
	addresses []netip.Addr
	ttl       time.Duration // of the addresses: the shortest on the way to them
}

// sift takes from a server's message what belongs to the question: the chain of
// aliases from the asked name on, and the records of the asked type at its end. What
// a server adds without being asked is not believed.
func sift(q *question, m *dnsmessage.Message) answered {
	out := answered{names: []string{q.name}, ttl: longest}
	h := dnsmessage.Header{
		ID: q.header.ID, Response: true, RecursionDesired: q.header.RecursionDesired, RecursionAvailable: true,
		CheckingDisabled: q.header.CheckingDisabled, RCode: m.RCode, AuthenticData: m.AuthenticData,
	}
	aliases := map[string]*dnsmessage.Resource{}
	for i := range m.Answers {
		r := &m.Answers[i]
		if _, is := r.Body.(*dnsmessage.CNAMEResource); is && r.Header.Class == dnsmessage.ClassINET {
			if name := canonical(r.Header.Name); name != "" && aliases[name] == nil {
				aliases[name] = r
			}
		}
	}
	var answers []dnsmessage.Resource
	take := func(r dnsmessage.Resource) {
		r.Header.TTL = min(r.Header.TTL, uint32(longest/time.Second))
		answers = append(answers, r)
	}
	at := q.name
	for q.asked.Type != dnsmessage.TypeCNAME && len(out.names) <= maxAliases {
		alias := aliases[at]
		if alias == nil {
			break
		}
		to := canonical(alias.Body.(*dnsmessage.CNAMEResource).CNAME)
		if to == "" || slices.Contains(out.names, to) {
			break
		}
		take(*alias)
		out.ttl = min(out.ttl, time.Duration(alias.Header.TTL)*time.Second)
		out.names = append(out.names, to)
		at = to
	}
	records, written, owner := 0, dnsmessage.Name{}, ""
	for _, r := range m.Answers {
		if r.Header.Name != written { // mostly it is the same one
			written, owner = r.Header.Name, canonical(r.Header.Name)
		}
		if r.Header.Class != dnsmessage.ClassINET || !slices.Contains(out.names, owner) {
			continue
		}
		switch {
		case r.Header.Type == typeRRSIG && q.want.dnssec && signs(r, q.asked.Type):
		case r.Header.Type != q.asked.Type || owner != at:
			continue
		}
		if records++; records > maxRecords {
			h.AuthenticData = false // it is not what was signed
			break
		}
		switch body := r.Body.(type) {
		case *dnsmessage.AResource:
			out.addresses = append(out.addresses, netip.AddrFrom4(body.A))
			out.ttl = min(out.ttl, time.Duration(r.Header.TTL)*time.Second)
		case *dnsmessage.AAAAResource:
			out.addresses = append(out.addresses, netip.AddrFrom16(body.AAAA))
			out.ttl = min(out.ttl, time.Duration(r.Header.TTL)*time.Second)
		case *dnsmessage.HTTPSResource:
			changed, keep := plainService(&body.SVCBResource)
			h.AuthenticData = h.AuthenticData && !changed
			if !keep {
				continue
			}
		case *dnsmessage.SVCBResource:
			changed, keep := plainService(body)
			h.AuthenticData = h.AuthenticData && !changed
			if !keep {
				continue
			}
		}
		take(r)
	}
	out.message = dnsmessage.Message{Header: h, Questions: []dnsmessage.Question{q.asked}, Answers: answers}
	if len(answers) == len(out.names)-1 { // nothing, or aliases that lead to nothing: for how long
		had := false
		for _, r := range m.Authorities[:min(len(m.Authorities), maxRecords)] {
			soa := r.Header.Type == dnsmessage.TypeSOA && !had
			had = had || soa
			if soa || q.want.dnssec && (r.Header.Type == typeRRSIG || r.Header.Type == typeNSEC || r.Header.Type == typeNSEC3) {
				out.message.Authorities = append(out.message.Authorities, r)
			}
		}
	}
	return out
}

// signs reports whether an RRSIG covers a type: RFC 4034, 3.1.
func signs(r dnsmessage.Resource, t dnsmessage.Type) bool {
	body, ok := r.Body.(*dnsmessage.UnknownResource)
	if !ok || len(body.Data) < 2 {
		return false
	}
	covered := dnsmessage.Type(binary.BigEndian.Uint16(body.Data))
	return covered == t || covered == dnsmessage.TypeCNAME
}

// serviceKeys are those that are left in service records: which others a client must
// know, over what it may speak, and where.
var serviceKeys = []dnsmessage.SVCParamKey{
	dnsmessage.SVCParamMandatory, dnsmessage.SVCParamALPN, dnsmessage.SVCParamNoDefaultALPN, dnsmessage.SVCParamPort,
}

// plainService leaves in a service record (RFC 9460) what a connection over TCP needs. Of
// the other keys some hide its name (ECH) or lead around TCP (HTTP/3), some hold addresses,
// which nobody would have been given by name, and those nobody knows hold whatever somebody
// likes. A record that does not work without them is left out.
func plainService(r *dnsmessage.SVCBResource) (changed, keep bool) {
	if mandatory, ok := r.GetParam(dnsmessage.SVCParamMandatory); ok {
		if len(mandatory) == 0 || len(mandatory)%2 != 0 {
			return true, false
		}
		before := dnsmessage.SVCParamMandatory // which must not be in it; in order, each once
		for i := 0; i < len(mandatory); i += 2 {
			key := dnsmessage.SVCParamKey(binary.BigEndian.Uint16(mandatory[i:]))
			if key <= before || !slices.Contains(serviceKeys, key) {
				return true, false
			}
			before = key
		}
	}
	if alpn, ok := r.GetParam(dnsmessage.SVCParamALPN); ok {
		left, well := overTCP(alpn)
		_, only := r.GetParam(dnsmessage.SVCParamNoDefaultALPN)
		switch {
		case !well || len(left) == 0 && only:
			return true, false
		case len(left) == 0:
			changed = r.DeleteParam(dnsmessage.SVCParamALPN)
		case !bytes.Equal(left, alpn):
			r.SetParam(dnsmessage.SVCParamALPN, left)
			changed = true
		}
	}
	if none, ok := r.GetParam(dnsmessage.SVCParamNoDefaultALPN); ok && len(none) > 0 {
		return true, false
	}
	if port, ok := r.GetParam(dnsmessage.SVCParamPort); ok && len(port) != 2 {
		return true, false
	}
	n := len(r.Params)
	r.Params = slices.DeleteFunc(r.Params, func(p dnsmessage.SVCParam) bool { return !slices.Contains(serviceKeys, p.Key) })
	return changed || len(r.Params) != n, true
}

// overTCP leaves in a list of ALPN ids those of HTTP over TCP, each once: others are QUIC's,
// or anything; well is false for a list that cannot be read.
func overTCP(alpn []byte) (left []byte, well bool) {
	for len(alpn) > 0 {
		n := int(alpn[0])
		if n == 0 || n >= len(alpn) {
			return nil, false
		}
		switch id := alpn[:1+n]; string(id[1:]) {
		case "h2", "http/1.1", "http/1.0":
			if !bytes.Contains(left, id) {
				left = append(left, id...)
			}
		}
		alpn = alpn[1+n:]
	}
	return left, true
}

// reply is an answer of ours, without records.
func (q *question) reply(code dnsmessage.RCode) dnsmessage.Message {
	m := dnsmessage.Message{Header: dnsmessage.Header{
		ID: q.header.ID, Response: true, OpCode: q.header.OpCode, RecursionDesired: q.header.RecursionDesired,
		RecursionAvailable: true, CheckingDisabled: q.header.CheckingDisabled, RCode: code,
	}}
	if q.asked.Name.Length > 0 {
		m.Questions = []dnsmessage.Question{q.asked}
	}
	return m
}

// pack makes the bytes, at most limit of them: what does not fit is left out, and the
// client is told to ask again over TCP.
func (q *question) pack(m *dnsmessage.Message, limit int) ([]byte, error) {
	if q.edns {
		var opt dnsmessage.ResourceHeader
		if err := opt.SetEDNS0(ednsSize, m.RCode, q.want.dnssec); err != nil {
			return nil, err
		}
		m.Additionals = []dnsmessage.Resource{{Header: opt, Body: &dnsmessage.OPTResource{}}}
	}
	packed, err := m.Pack()
	if err != nil || len(packed) <= limit {
		return packed, err
	}
	short := *m
	short.Truncated = true
	short.Answers, short.Authorities = nil, nil
	return short.Pack()
}
