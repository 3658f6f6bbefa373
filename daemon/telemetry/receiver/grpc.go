// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// Status codes of gRPC.
const (
	grpcOK                = 0
	grpcInvalidArgument   = 3
	grpcPermissionDenied  = 7
	grpcResourceExhausted = 8
	grpcUnimplemented     = 12
	grpcUnavailable       = 14
)

// serveGRPC is a unary method: one frame in, one frame out, a status in the
// trailer (gRPC over HTTP/2, in gRPC's own repository).
func (r *Receiver) serveGRPC(w http.ResponseWriter, req *http.Request, s signal) {
	kind := req.Header.Get("Content-Type")
	if kind != "application/grpc" && !strings.HasPrefix(kind, "application/grpc+proto") || req.ProtoMajor != 2 {
		r.refuseHTTP(w, req, true, &refused{http.StatusUnsupportedMediaType, telemetry.RefusedInvalid, "not gRPC: HTTP/2 and the content type application/grpc are needed"})
		return
	}
	answer, no := r.call(req, s)
	h := w.Header()
	h.Set("Content-Type", "application/grpc")
	h.Set("Trailer", "Grpc-Status, Grpc-Message")
	if no != nil {
		r.refusals.add(refusal{sender: senderOf(req), cause: no.cause, detail: no.why, count: 1})
		w.WriteHeader(http.StatusOK)
		h.Set("Grpc-Status", strconv.Itoa(grpcCode(no)))
		h.Set("Grpc-Message", percent(no.why))
		return
	}
	body, err := proto.Marshal(answer)
	if err != nil { // numbers and text can always be written
		body = nil
	}
	frame := make([]byte, 5, 5+len(body))
	binary.BigEndian.PutUint32(frame[1:], uint32(len(body)))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(append(frame, body...)) // a client that went away wants no answer
	h.Set("Grpc-Status", strconv.Itoa(grpcOK))
}

func (r *Receiver) call(req *http.Request, s signal) (proto.Message, *refused) {
	var head [5]byte
	if _, err := io.ReadFull(req.Body, head[:]); err != nil {
		return nil, &refused{http.StatusBadRequest, telemetry.RefusedInvalid, "reading the frame of a gRPC message: " + err.Error()}
	}
	size := int64(binary.BigEndian.Uint32(head[1:]))
	if size > r.config.Limits.Packed {
		return nil, r.tooLarge()
	}
	encoding := ""
	if head[0] == 1 {
		encoding = req.Header.Get("Grpc-Encoding")
		if encoding != "gzip" {
			return nil, &refused{http.StatusUnsupportedMediaType, telemetry.RefusedInvalid, fmt.Sprintf("gRPC encoding %.100q: send gzip, or nothing packed", encoding)}
		}
	}
	message := &exactly{from: req.Body, left: size}
	body, no := r.read(req, message, encoding)
	if no != nil {
		return nil, no
	}
	return r.take(req.Context(), senderOf(req), s, body, false)
}

// exactly reads so many bytes; fewer are an error.
type exactly struct {
	from io.Reader
	left int64
}

func (e *exactly) Read(b []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n, err := e.from.Read(b[:min(int64(len(b)), e.left)])
	if e.left -= int64(n); err == io.EOF && e.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func grpcCode(no *refused) int {
	switch no.code {
	case http.StatusForbidden:
		return grpcPermissionDenied
	case http.StatusRequestEntityTooLarge:
		// Not "resource exhausted", after which a client may send the same again.
		return grpcInvalidArgument
	case http.StatusTooManyRequests:
		return grpcResourceExhausted
	case http.StatusUnsupportedMediaType:
		return grpcUnimplemented
	case http.StatusServiceUnavailable:
		return grpcUnavailable
	}
	return grpcInvalidArgument
}

// percent encodes a message for the trailer.
func percent(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

// status is google.rpc.Status, which OTLP/HTTP sends with every refusal. Written
// field by field, since its Go package brings all of gRPC.
func status(no *refused, asJSON bool) []byte {
	if asJSON {
		b, err := json.Marshal(map[string]any{"code": grpcCode(no), "message": no.why})
		if err != nil {
			panic(err) // a number and a text can be written
		}
		return b
	}
	b := protowire.AppendTag(nil, 1, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(grpcCode(no)))
	b = protowire.AppendTag(b, 2, protowire.BytesType)
	return protowire.AppendString(b, strings.ToValidUTF8(no.why, "?"))
}
