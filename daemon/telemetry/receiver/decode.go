// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// maxDepth is how deep messages may be nested: OTLP itself needs some ten.
const maxDepth = 48

var (
	errTooMany = errors.New("more objects in a request than are decoded at once: send smaller batches")
	errTooDeep = errors.New("objects nested too deep")
)

// unmarshal reads one request. What decoding would cost is known before it
// begins: two bytes of protobuf can become an object of a hundred.
func unmarshal(body []byte, asJSON bool, objects int, into proto.Message) error {
	if !asJSON {
		if err := weigh(into.ProtoReflect().Descriptor(), body, &objects, maxDepth); err != nil {
			return fmt.Errorf("reading OTLP protobuf: %w", err)
		}
		if err := proto.Unmarshal(body, into); err != nil {
			return fmt.Errorf("reading OTLP protobuf: %w", err)
		}
		return nil
	}
	if countObjects(body) > objects {
		return fmt.Errorf("reading OTLP JSON: %w", errTooMany)
	}
	// OTLP's JSON lets receivers ignore fields that they do not know.
	options := protojson.UnmarshalOptions{DiscardUnknown: true, RecursionLimit: 4 * maxDepth}
	if err := options.Unmarshal(body, into); err != nil {
		return fmt.Errorf("reading OTLP JSON: %w", err)
	}
	return nil
}

// weigh walks through a message without decoding it, and takes each message
// inside from what is left.
func weigh(of protoreflect.MessageDescriptor, b []byte, left *int, depth int) error {
	if *left--; *left < 0 {
		return errTooMany
	}
	if depth == 0 {
		return errTooDeep
	}
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(number, kind, b); n < 0 {
			return protowire.ParseError(n)
		}
		field := of.Fields().ByNumber(number)
		if kind == protowire.BytesType && field != nil {
			value, _ := protowire.ConsumeBytes(b)
			switch {
			case field.Message() != nil:
				if err := weigh(field.Message(), value, left, depth-1); err != nil {
					return err
				}
			case field.IsList(): // packed numbers, or strings
				*left -= len(value) / 64
			}
		}
		if field == nil {
			*left-- // kept aside by the decoder
		}
		b = b[n:]
	}
	return nil
}

// countObjects counts what JSON opens, outside of strings.
func countObjects(b []byte) int {
	n, inside := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inside && c == '\\':
			i++
		case c == '"':
			inside = !inside
		case !inside && (c == '{' || c == '['):
			n++
		}
	}
	return n
}

// hexID writes a trace or span ID. In OTLP's JSON they are hex, which the JSON
// of protobuf takes for base64: three quarters as many bytes, and no digit lost.
func hexID(id []byte) string {
	switch len(id) {
	case 0:
		return ""
	case 12, 24:
		return base64.StdEncoding.EncodeToString(id)
	}
	return hex.EncodeToString(id)
}
