// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"encoding/base64"
	"encoding/json"
	"strconv"

	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
)

// value makes an attribute's value of OTLP's: what an event cannot hold becomes
// JSON text, bytes become base64. nil is a value that is not there.
func value(v *common.AnyValue) any {
	switch v := v.GetValue().(type) {
	case *common.AnyValue_StringValue:
		return v.StringValue
	case *common.AnyValue_BoolValue:
		return v.BoolValue
	case *common.AnyValue_IntValue:
		return v.IntValue
	case *common.AnyValue_DoubleValue:
		return v.DoubleValue
	case *common.AnyValue_BytesValue:
		return base64.StdEncoding.EncodeToString(v.BytesValue)
	case *common.AnyValue_ArrayValue:
		return list(v.ArrayValue.GetValues())
	case *common.AnyValue_KvlistValue:
		return text(plain(&common.AnyValue{Value: v}))
	}
	return nil
}

func list(values []*common.AnyValue) any {
	out := make([]string, 0, len(values))
	for _, v := range values {
		s, ok := v.GetValue().(*common.AnyValue_StringValue)
		if !ok {
			return text(plain(&common.AnyValue{Value: &common.AnyValue_ArrayValue{ArrayValue: &common.ArrayValue{Values: values}}}))
		}
		out = append(out, s.StringValue)
	}
	return out
}

// plain is a value as encoding/json takes it.
func plain(v *common.AnyValue) any {
	switch v := v.GetValue().(type) {
	case *common.AnyValue_ArrayValue:
		out := make([]any, 0, len(v.ArrayValue.GetValues()))
		for _, one := range v.ArrayValue.GetValues() {
			out = append(out, plain(one))
		}
		return out
	case *common.AnyValue_KvlistValue:
		out := make(map[string]any, len(v.KvlistValue.GetValues()))
		for _, one := range v.KvlistValue.GetValues() {
			out[one.GetKey()] = plain(one.GetValue())
		}
		return out
	case *common.AnyValue_DoubleValue:
		return number(v.DoubleValue)
	}
	return value(v)
}

// number is a float, or the name of one that JSON does not have.
func number(f float64) any {
	if _, err := json.Marshal(f); err != nil {
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	return f
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil { // plain makes only what can be written
		return err.Error()
	}
	return string(b)
}

// size is about what a value takes in the store, in bytes.
func size(v any) int {
	switch v := v.(type) {
	case string:
		return len(v)
	case []string:
		n := 0
		for _, s := range v {
			n += len(s) + 3
		}
		return n
	}
	return 8
}
